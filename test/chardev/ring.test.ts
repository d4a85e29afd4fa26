/** Byte rings and the control thread's end of a character device. */
import { Worker } from 'node:worker_threads';

import { beforeEach, describe, expect, it, vi } from 'vitest';

import { Chardev } from '../../core/chardev/chardev.ts';
import { RingReader, RingWriter, inRingBase, outRingBase } from '../../core/chardev/ring.ts';
import { CHARDEV_BASE, CHARDEV_STRIDE, RING_HEAD, RING_SIZE, RING_TAIL } from '../../core/worker/layout.ts';

const memory = new WebAssembly.Memory({ initial: 128, maximum: 128, shared: true });
const buffer = memory.buffer as SharedArrayBuffer;
const pattern = (length: number, seed = 0) => Uint8Array.from({ length }, (_, i) => (i * 13 + seed) & 0xff);

beforeEach(() => new Uint8Array(buffer, CHARDEV_BASE, CHARDEV_STRIDE).fill(0));

describe('a ring', () => {
  const base = outRingBase(0);
  const ends = () => ({ writer: new RingWriter(buffer, base), reader: new RingReader(buffer, base) });

  it('takes what there is room for, and gives it in order', () => {
    const { writer, reader } = ends();
    expect(writer.write(pattern(RING_SIZE + 1))).toBe(RING_SIZE);
    expect(writer.write(pattern(1))).toBe(0);
    const out = new Uint8Array(2 * RING_SIZE);
    expect(reader.read(out)).toBe(RING_SIZE);
    expect(Buffer.compare(out.subarray(0, RING_SIZE), pattern(RING_SIZE))).toBe(0);
    expect(reader.read(out)).toBe(0);
  });

  it('wraps around its end, and its counters around 2^32', () => {
    const words = new Int32Array(buffer, base, 2);
    words[RING_HEAD / 4] = words[RING_TAIL / 4] = -5;
    const { writer, reader } = ends();
    for (let i = 0; i < 10; i++) {
      expect(writer.write(pattern(20_000, i))).toBe(20_000);
      expect(writer.room).toBe(RING_SIZE - 20_000);
      const out = new Uint8Array(20_000);
      expect(reader.read(out)).toBe(20_000);
      expect(Buffer.compare(out, pattern(20_000, i))).toBe(0);
    }
  });

  it('wakes its reader once', () => {
    const { writer, reader } = ends();
    writer.write(pattern(1));
    expect(writer.takeWantData()).toBe(false);
    expect(reader.wantData()).toBe(true);
    reader.read(new Uint8Array(8));
    expect(reader.wantData()).toBe(false);
    writer.write(pattern(1));
    expect(writer.takeWantData()).toBe(true);
    expect(writer.takeWantData()).toBe(false);
  });

  it('wakes its writer when it is worth it', () => {
    const { writer, reader } = ends();
    expect(writer.wantRoom()).toBe(true);
    writer.write(pattern(RING_SIZE));
    expect(writer.wantRoom()).toBe(false);
    reader.read(new Uint8Array(RING_SIZE / 2 - 1));
    expect(reader.takeWantRoom()).toBe(false);
    reader.read(new Uint8Array(1));
    expect(reader.takeWantRoom()).toBe(true);
    expect(reader.takeWantRoom()).toBe(false);
  });

  it('is there for 16 devices', () => {
    expect(() => outRingBase(16)).toThrow(RangeError);
    expect(() => inRingBase(-1)).toThrow(RangeError);
    expect(inRingBase(15)).toBeLessThan(CHARDEV_BASE + 16 * CHARDEV_STRIDE);
  });

  it('carries bytes between threads, both sleeping when they must', async () => {
    const total = 3_000_000;
    const source = `
      const { parentPort, workerData: { buffer, base, url, total } } = require('node:worker_threads');
      import(url).then(({ RingWriter }) => {
        const ring = new RingWriter(buffer, base);
        const wake = new Int32Array(buffer, 0, 2);
        const chunk = new Uint8Array(9999);
        for (let sent = 0; sent < total; ) {
          const seen = Atomics.load(wake, 0);
          const length = Math.min(chunk.length, total - sent);
          for (let i = 0; i < length; i++) chunk[i] = (sent + i) % 251;
          const taken = ring.write(chunk.subarray(0, length));
          sent += taken;
          if (taken > 0 && ring.takeWantData()) { Atomics.add(wake, 1, 1); Atomics.notify(wake, 1); }
          if (taken < length && !ring.wantRoom()) Atomics.wait(wake, 0, seen, 5000);
        }
        parentPort.postMessage('sent');
      });`;
    const url = new URL('../../core/chardev/ring.ts', import.meta.url).href;
    const worker = new Worker(source, { eval: true, workerData: { buffer, base, url, total } });
    const failed = new Promise((_, reject) => worker.once('error', reject));
    const reader = new RingReader(buffer, base);
    const wake = new Int32Array(buffer, 0, 2);
    const out = new Uint8Array(5000);
    const read = async () => {
      for (let received = 0; received < total;) {
        const seen = Atomics.load(wake, 1);
        const count = reader.read(out);
        for (let i = 0; i < count; i++) {
          if (out[i] !== (received + i) % 251) throw new Error(`byte ${received + i} is ${out[i]}`);
        }
        received += count;
        if (count > 0 && reader.takeWantRoom()) {
          Atomics.add(wake, 0, 1);
          Atomics.notify(wake, 0);
        }
        if (count === 0 && !reader.wantData()) {
          const wait = Atomics.waitAsync(wake, 1, seen, 5000);
          if (wait.async && (await wait.value) === 'timed-out') throw new Error('nobody woke the reader');
        }
      }
    };
    await Promise.race([read(), failed]);
    await worker.terminate();
  });
});

describe('a chardev', () => {
  // Each test has one of its own: two ends of the same kind on one ring would take from one another.
  let index = 0;
  beforeEach(() => index++);
  const guest = () => ({
    out: new RingWriter(buffer, outRingBase(index)),
    in: new RingReader(buffer, inRingBase(index)),
  });
  const next = () => new Promise((resolve) => setImmediate(resolve));

  it('holds output until somebody listens', async () => {
    const { out } = guest();
    const chardev = new Chardev({ memory, index });
    out.write(Buffer.from('boot'));
    chardev.drain();
    expect(out.room).toBe(RING_SIZE - 4);
    const onData = vi.fn();
    chardev.onData = onData;
    await next();
    expect(onData.mock.calls.map(([bytes]) => Buffer.from(bytes).toString())).toEqual(['boot']);
    expect(chardev.onData).toBe(onData);
  });

  it('gives copies, which stay as they are', () => {
    const { out } = guest();
    const chardev = new Chardev({ memory, index });
    const got: Uint8Array[] = [];
    chardev.onData = (bytes) => got.push(bytes);
    out.write(pattern(RING_SIZE));
    chardev.drain();
    out.write(new Uint8Array(RING_SIZE));
    chardev.drain();
    expect(Buffer.compare(got[0], pattern(RING_SIZE))).toBe(0);
  });

  it('wakes a guest that waits for room, and for each input', () => {
    const { out } = guest();
    const wakeGuest = vi.fn();
    const chardev = new Chardev({ memory, index, wakeGuest });
    chardev.onData = () => {};
    out.write(new Uint8Array(RING_SIZE));
    expect(out.wantRoom()).toBe(false);
    chardev.drain();
    expect(wakeGuest).toHaveBeenCalledTimes(1);
    chardev.write(pattern(3));
    expect(wakeGuest).toHaveBeenCalledTimes(2);
  });

  it('takes input as there is room, and says when there is again', () => {
    const ends = guest();
    const chardev = new Chardev({ memory, index });
    const onRoom = vi.fn();
    chardev.onRoom = onRoom;
    expect(chardev.write(pattern(RING_SIZE + 10))).toBe(RING_SIZE);
    expect(chardev.room).toBe(0);
    chardev.drain();
    expect(onRoom).not.toHaveBeenCalled();
    ends.in.read(new Uint8Array(RING_SIZE / 2));
    expect(ends.in.takeWantRoom()).toBe(true);
    chardev.drain();
    chardev.drain();
    expect(onRoom).toHaveBeenCalledTimes(1);
  });

  it('leaves the event loop its turn, however much the guest writes', async () => {
    const { out } = guest();
    const chardev = new Chardev({ memory, index });
    let calls = 0;
    chardev.onData = () => {
      calls++;
      out.write(pattern(1));
    };
    out.write(pattern(1));
    chardev.drain();
    expect(calls).toBe(1);
    await next();
    await next();
    expect(calls).toBeGreaterThan(1);
    chardev.onData = null;
  });
});
