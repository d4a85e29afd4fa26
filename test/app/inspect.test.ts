/** Watching a queue over the contract: tickets, batches, slow watchers, and what ends it. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { LATENCY_BUCKETS, latencyBucket, latencyBucketStart, latencyQuantile } from '../../core/api/latency.ts';
import type { QueueBatch } from '../../core/api/inspect.ts';
import { watchQueue } from '../../main/ipc/contract/inspect-client.ts';
import { decodeBatch, encodeBatch, MAX_UNACKNOWLEDGED } from '../../main/ipc/contract/inspect-frames.ts';
import { sampleCapture } from '../harness/sample-capture.ts';
import type { TestClient } from './doubles/app.ts';
import { TestApp, settings, until } from './doubles/app.ts';

function batchOf(seq: number, done = 2, open = 1): QueueBatch {
  const columns = (count: number) => ({
    count,
    times: Float64Array.from({ length: 4 * count }, (_, i) => (i % 4 === 3 ? NaN : i * 1000.5)),
    words: Uint32Array.from({ length: 8 * count }, (_, i) => 2 ** 32 - 1 - i),
  });
  return {
    seq,
    from: 10,
    to: 33e6,
    done: columns(done),
    open: columns(open),
    markTimes: Float64Array.of(5, 6),
    markWords: Uint32Array.of(1, 3, 2, 1),
    leftOut: 7,
    lost: 8,
    counters: { popped: 100, used: 99, notifications: 10, interrupts: 9, suppressed: 90, inFlight: 1 },
    histogram: new Uint32Array(LATENCY_BUCKETS).fill(3),
  };
}

describe('a batch on the wire', () => {
  it('comes out as it went in, wherever it stands in a larger buffer', () => {
    for (const [done, open] of [
      [0, 0],
      [3, 0],
      [1, 256],
    ]) {
      const batch = batchOf(4, done, open);
      const bytes = encodeBatch(batch);
      expect(decodeBatch(bytes)).toEqual(batch);
      const larger = new Uint8Array(bytes.length + 3);
      larger.set(bytes, 3);
      expect(decodeBatch(larger.subarray(3))).toEqual(batch);
    }
  });

  it('is refused when it is not one', () => {
    const bytes = encodeBatch(batchOf(1));
    expect(() => decodeBatch(new Uint8Array(7))).toThrow('too short');
    expect(() => decodeBatch(bytes.slice(0, -4))).toThrow('as long as it says');
    const version = bytes.slice();
    new Float64Array(version.buffer, 0, 1)[0] = 9;
    expect(() => decodeBatch(version)).toThrow('version 9');
    const rows = bytes.slice();
    new Float64Array(rows.buffer, 0, 5)[4] = 1e9;
    expect(() => decodeBatch(rows)).toThrow('bad header');
  });
});

describe('latencies', () => {
  it('have buckets that are found again, and quantiles to an eighth of an octave', () => {
    for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
      expect(latencyBucket(latencyBucketStart(bucket) * 1.0001)).toBe(bucket);
    }
    const buckets = new Uint32Array(LATENCY_BUCKETS);
    expect(latencyQuantile(buckets, 0.5)).toBe(null);
    for (let us = 1; us <= 1000; us++) buckets[latencyBucket(us * 1000)]++;
    for (const share of [0.5, 0.99, 0.999]) {
      expect(latencyQuantile(buckets, share)! / (share * 1e6)).toBeCloseTo(1, 0.9);
    }
    expect(latencyBucket(NaN)).toBe(0);
    expect(latencyBucket(1e18)).toBe(LATENCY_BUCKETS - 1);
  });
});

describe('a watch', () => {
  let app: TestApp;
  let client: TestClient;
  let id: string;
  beforeEach(async () => {
    app = await TestApp.create();
    client = app.connect();
    ({ id } = await client.call('vm.create', { settings: settings() }));
  });
  afterEach(() => app.close());

  it('needs a VM that is on, and a queue that there is', async () => {
    await expect(client.openQueue(id, 'rng0', 0)).rejects.toThrow('is off');
    await client.call('vm.start', { id });
    await expect(client.openQueue(id, 'rng1', 0)).rejects.toThrow('no queue 0 of "rng1"');
    await expect(client.openQueue(id, 'rng0', 1)).rejects.toThrow('no queue 1');
    await expect(
      client.call('inspect.control', { id, device: 'rng0', queue: -1, command: { op: 'pause' } }),
    ).rejects.toThrow('queue');
  });

  it('shows batches, to who keeps up all of them, and ends with the VM', async () => {
    await client.call('vm.start', { id });
    const { inspector } = app.machines.last;
    const { port, profile } = await client.openQueue(id, 'rng0', 0);
    expect(profile.purpose).toBe('buffers');
    const seen: number[] = [];
    let closed = false;
    watchQueue(port, { batch: ({ seq }) => seen.push(seq), closed: () => (closed = true) });
    const slow = await client.openQueue(id, 'rng0', 0);
    let got = 0;
    slow.port.onMessage(() => got++);
    for (let seq = 0; seq < 20; seq++) {
      inspector.show('rng0', 0, batchOf(seq));
      await until(() => seen.length === seq + 1);
    }
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(got).toBe(MAX_UNACKNOWLEDGED);
    expect(inspector.watchers('rng0', 0)).toBe(2);
    // Who acknowledges what never came loses the stream.
    for (let i = 0; i <= MAX_UNACKNOWLEDGED; i++) slow.port.send(Uint8Array.of(1));
    await until(() => inspector.watchers('rng0', 0) === 1);
    await client.call('vm.powerOff', { id });
    await until(() => closed);
  });

  it('ends when its stream or its client does', async () => {
    await client.call('vm.start', { id });
    const { inspector } = app.machines.last;
    const { port } = await client.openQueue(id, 'rng0', 0);
    watchQueue(port, { batch: () => {}, closed: () => {} })();
    await until(() => inspector.watchers('rng0', 0) === 0);
    const other = app.connect();
    await other.openQueue(id, 'rng0', 0);
    await other.call('inspect.watch', { id, device: 'rng0', queue: 0 });
    expect(inspector.watchers('rng0', 0)).toBe(2);
    other.close();
    await until(() => inspector.watchers('rng0', 0) === 0);
  });

  it('keeps what is done to a queue until it is cleared', async () => {
    await client.call('vm.start', { id });
    const control = (command: unknown) =>
      client.call('inspect.control', { id, device: 'rng0', queue: 0, command: command as { op: 'pause' } });
    expect(await control({ op: 'pause' })).toMatchObject({ paused: true, active: true });
    const injections = [{ id: 'a', kind: 'drop-interrupt' }];
    const state = await control({ op: 'rules', breakpoints: [{ id: 'b' }], injections });
    expect(state.injections).toEqual([
      { rule: { id: 'a', kind: 'drop-interrupt', count: null, probability: 1 }, hits: 0, left: null },
    ]);
    expect(state.breakpoints).toEqual([{ id: 'b', match: {}, hits: 0 }]);
    expect(await control({ op: 'clear' })).toMatchObject({ paused: false, active: false, breakpoints: [] });
    const twice = [{ id: 'a' }, { id: 'a' }];
    await expect(control({ op: 'rules', breakpoints: twice, injections: [] })).rejects.toThrow('same id');
    const odd = [{ id: 'a', match: { detail: { from: 2, to: 1 } } }];
    await expect(control({ op: 'rules', breakpoints: odd, injections: [] })).rejects.toThrow(
      'from must not be after to',
    );
  });

  it('shows bytes, findings and rules', async () => {
    await client.call('vm.start', { id });
    const { bytes } = await client.call('inspect.bytes', { id, address: '0x80000010', length: 4 });
    expect(bytes).toBe('10111213');
    await expect(client.call('inspect.bytes', { id, address: '80', length: 4 })).rejects.toThrow('hex');
    await expect(client.call('inspect.bytes', { id, address: '0x0', length: 1e6 })).rejects.toThrow('length');
    const { rules } = await client.call('inspect.rules', {});
    expect(rules.length).toBeGreaterThan(30);
    const { rule, section, severity, title } = rules[0];
    const finding = { rule, section, severity, title, count: 2, examples: [] };
    app.machines.last.inspector.found.set('rng0', [finding]);
    expect(await client.call('inspect.findings', { id, device: 'rng0', clear: true })).toEqual({ findings: [finding] });
    expect(await client.call('inspect.findings', { id, device: 'rng0' })).toEqual({ findings: [] });
  });

  it('plays a capture, as fast as it is taken, without a VM, and does it again', async () => {
    const file = path.join(app.home, 'a.capture');
    const count = 10_000;
    const header = sampleCapture(file, count);
    const { port, info } = await client.openCapture(file);
    expect(info).toEqual({ ...header, count, leftOut: 0, complete: true });
    let seen = 0;
    let ended = false;
    watchQueue(port, { batch: ({ done }) => (seen += done.count), closed: () => (ended = true) });
    await until(() => ended);
    expect(seen).toBe(count);
    const one = await client.call('inspect.capturedRequest', { file, index: 3 });
    expect(one.fields.find(({ name }) => name === 'sector')?.value).toBe('4');
    const [image, copy] = ['b.raw', 'c.raw'].map((name) => path.join(app.home, name));
    await writeFile(image, new Uint8Array(8192));
    const replayed = await client.call('inspect.replay', { file, image, copy });
    expect(replayed).toMatchObject({ requests: count, different: 0 });
    expect((await readFile(copy))[512]).toBe(0x41);
    expect((await readFile(image))[512]).toBe(0);
    await expect(client.call('inspect.replay', { file, image, copy })).rejects.toThrow('there already');
    await expect(client.call('inspect.openCapture', { file: image })).rejects.toThrow('not a capture');
  });

  it('begins and ends captures of queues and packets', async () => {
    await client.call('vm.start', { id });
    const capture = (action: { op: 'start'; file: string } | { op: 'stop' | 'state' }) =>
      client.call('inspect.capture', { id, device: 'rng0', queue: 0, action });
    expect(await capture({ op: 'state' })).toEqual({ capture: null });
    expect(await capture({ op: 'start', file: '/tmp/x' })).toMatchObject({ capture: { requests: 0 } });
    expect(await capture({ op: 'stop' })).toMatchObject({ capture: { requests: 0 } });
    const packets = (action: { op: 'start'; file: string } | { op: 'stop' | 'state' }) =>
      client.call('inspect.packets', { id, device: 'net0', action });
    const going = { packets: { device: 'net0', file: '/tmp/x.pcapng' } };
    expect(await packets({ op: 'start', file: '/tmp/x.pcapng' })).toEqual(going);
    expect(await packets({ op: 'state' })).toEqual(going);
    expect(await packets({ op: 'stop' })).toEqual({ packets: null });
  });

  it('says which queues anything is set on, or captures, and clears all at once', async () => {
    await client.call('vm.start', { id });
    const active = async () => (await client.call('inspect.active', { id })).queues;
    const queue = { id, device: 'rng0', queue: 0 };
    expect(await active()).toEqual([]);
    await client.call('inspect.control', { ...queue, command: { op: 'state' } });
    expect(await active()).toEqual([]);
    await client.call('inspect.control', { ...queue, command: { op: 'pause' } });
    await client.call('inspect.capture', { ...queue, action: { op: 'start', file: '/tmp/x' } });
    expect(await active()).toMatchObject([{ device: 'rng0', queue: 0, control: { paused: true }, capturing: true }]);
    await client.call('inspect.clearAll', { id });
    expect(await active()).toEqual([{ device: 'rng0', queue: 0, control: null, capturing: true }]);
    expect(await client.call('inspect.control', { ...queue, command: { op: 'state' } })).toMatchObject({
      paused: false,
    });
  });
});
