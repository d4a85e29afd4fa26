/** Captures: what a queue did is in the file, can be looked at without a guest, and done again. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { openDisk } from '../../core/block/open.ts';
import { monotonicNow } from '../../core/engine.ts';
import { createHost } from '../../core/host/node-host.ts';
import { CaptureFile } from '../../core/inspect/capture-format.ts';
import { captureBatches, capturedRequestView } from '../../core/inspect/capture-view.ts';
import { replay } from '../../core/inspect/replay.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '../../core/virtio/spec/blk.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { HOST } from '../harness/guest.ts';
import { VirtioBench } from '../harness/virtio-bench.ts';

const host = createHost(HOST);
let bench: VirtioBench;
let folder: string;
let file: string;
beforeAll(() => (bench = new VirtioBench()));
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringside-capture-'));
  file = join(folder, 'queue.capture');
});
afterEach(async () => {
  await bench.clear();
  rmSync(folder, { recursive: true });
});
afterAll(() => bench.close());

async function setUp() {
  const image = join(folder, 'disk.raw');
  writeFileSync(image, new Uint8Array(2 ** 20).fill(0x11));
  const before = join(folder, 'before.raw');
  copyFileSync(image, before);
  const { disk } = openDisk({ file: image, host, locking: 'off' });
  const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk }));
  await driver.init();
  const transport = bench.bus.transports.find(({ slot }) => slot === driver.slot)!;
  const start = (options: { limit?: number; keep?: number } = {}) =>
    transport.captureQueue(0, {
      file,
      limit: 2 ** 24,
      keep: 2 ** 20,
      epoch: monotonicNow(),
      header: {
        device: 'drive0',
        type: 'virtio-blk',
        queue: 0,
        name: 'requestq',
        epoch: Date.now(),
        ring: { format: 'split', size: 256 },
        profile: { purpose: 'requests', types: [], statuses: [], detail: 'sector' },
      },
      ...options,
    });
  return { image, before, transport, start, driver, blk: new BlkDriver(driver, bench.allocator) };
}

describe('a capture', () => {
  it('has the requests that were made while it went on, with their bytes', async () => {
    const { blk, start, transport, driver } = await setUp();
    await blk.read(0, 1);
    expect(await start()).toMatchObject({ requests: 0, error: null });
    await blk.write(3, new Uint8Array(1024).fill(0x77));
    expect((await blk.read(4, 1)).data[0]).toBe(0x77);
    await blk.read(5000, 1);
    await driver.init();
    await blk.flush();
    expect(await transport.captureQueue(0)).toMatchObject({ requests: 4, leftOut: 0 });
    const state = await transport.captureQueue(0, null);
    expect(state!.bytes).toBe(readFileSync(file).length);
    await blk.read(0, 1);
    expect(await transport.captureQueue(0)).toBe(null);

    const capture = await CaptureFile.open(file);
    expect(capture).toMatchObject({ count: 4, leftOut: 0, complete: true, header: { device: 'drive0' } });
    const batches = [...captureBatches(capture)];
    const words = batches.flatMap(({ done }) => [...done.words]);
    const times = batches.flatMap(({ done }) => [...done.times]);
    expect([0, 1, 2, 3].map((i) => [...words.slice(8 * i + 4, 8 * i + 7)])).toEqual([
      [VIRTIO_BLK_T_OUT, 0, 3],
      [VIRTIO_BLK_T_IN, 0, 4],
      [VIRTIO_BLK_T_IN, VIRTIO_BLK_S_IOERR, 5000],
      [4, 0, 0],
    ]);
    for (let i = 0; i < 4; i++) {
      const [available, popped, pushed, used] = times.slice(4 * i);
      expect(0 <= available && available <= popped && popped <= pushed && pushed <= used).toBe(true);
    }
    expect(batches.at(-1)!.histogram.reduce((sum, n) => sum + n)).toBe(4);
    const seen = capturedRequestView(capture, 1);
    expect(seen).toMatchObject({ index: 1, readableLength: 16, writableLength: 513 });
    expect(seen.writable.slice(0, 4)).toBe('7777');
    expect(seen.fields.find(({ name }) => name === 'status')?.value).toBe('VIRTIO_BLK_S_OK (0)');
    expect(() => capture.request(4)).toThrow('no request 4');
    capture.close();
  });

  it('keeps to its limits, and says what it left out', async () => {
    const { blk, start, transport } = await setUp();
    await start({ limit: 4096, keep: 32 });
    for (let i = 0; i < 100; i++) await blk.write(0, new Uint8Array(512));
    const state = (await transport.captureQueue(0, null))!;
    expect(state.bytes).toBeLessThanOrEqual(4096);
    expect(state.requests + state.leftOut).toBe(100);
    const capture = await CaptureFile.open(file);
    expect(capture).toMatchObject({ count: state.requests, leftOut: state.leftOut, complete: true });
    expect(capture.request(0)).toMatchObject({ readableLength: 528, readable: { length: 32 } });
    expect([...captureBatches(capture)].at(-1)!.leftOut).toBe(state.leftOut);
    capture.close();
  });

  it('replaces no file, and ends with its device', async () => {
    const { blk, start, driver } = await setUp();
    writeFileSync(file, 'mine');
    await expect(start()).rejects.toThrow('is there already');
    rmSync(file);
    await start();
    await blk.read(0, 1);
    await bench.bus.detach(driver.slot);
    const capture = await CaptureFile.open(file);
    expect(capture).toMatchObject({ count: 1, complete: true });
    capture.close();
  });
});

describe('a file', () => {
  it('that was cut off has what is whole', async () => {
    const { blk, start, transport } = await setUp();
    await start();
    for (let i = 0; i < 5; i++) await blk.read(i, 1);
    await transport.captureQueue(0, null);
    truncateSync(file, readFileSync(file).length - 20);
    const capture = await CaptureFile.open(file);
    expect(capture).toMatchObject({ count: 4, complete: false });
    capture.close();
  });

  it('that is no capture is refused', async () => {
    const { blk, start, transport } = await setUp();
    await start();
    await blk.read(0, 1);
    await blk.read(1, 1);
    await transport.captureQueue(0, null);
    const good = readFileSync(file);
    const header = good.readUInt32LE(12);
    const request = 16 + header + 8;
    const refused = async (why: string, change: (bytes: Buffer) => void) => {
      const bytes = Buffer.from(good);
      change(bytes);
      writeFileSync(file, bytes);
      await expect(CaptureFile.open(file), why).rejects.toMatchObject({
        kind: 'bad-image',
        message: expect.stringContaining(why) as string,
      });
    };
    await refused('begins otherwise', (bytes) => bytes.fill(0, 0, 4));
    await refused('version is 2', (bytes) => bytes.writeUInt32LE(2, 8));
    await refused('header is broken', (bytes) => bytes.writeUInt32LE(0xffff_ffff, 12));
    await refused('header is broken', (bytes) => bytes.write('[', 16));
    await refused('of kind 77', (bytes) => bytes.writeUInt32LE(77, 16 + header));
    await refused('is broken', (bytes) => bytes.writeUInt32LE(4, 20 + header));
    // Times with which a page could not draw: none, endless, backwards, and of a request done before the one before it.
    await refused('times of request 0', (bytes) => bytes.writeDoubleLE(NaN, request));
    await refused('times of request 0', (bytes) => bytes.writeDoubleLE(1e300, request + 24));
    await refused('times of request 0', (bytes) => bytes.writeDoubleLE(0, request + 24));
    await refused('times of request 1', (bytes) => bytes.writeDoubleLE(1e17, request + 24));
    await expect(CaptureFile.open(folder)).rejects.toThrow('not a file');
    await expect(CaptureFile.open(join(folder, 'none'))).rejects.toThrow('cannot be opened');
    // A request whose lengths do not add up.
    writeFileSync(file, good);
    const lie = Buffer.from(good);
    lie.writeUInt32LE(9999, 16 + header + 8 + 64 + 4);
    writeFileSync(file, lie);
    const capture = await CaptureFile.open(file);
    expect(() => capture.request(0)).toThrow('request 0 is broken');
    capture.close();
  });

  it('with any byte changed is read or refused, and nothing else', async () => {
    const { blk, start, transport } = await setUp();
    await start();
    await blk.write(0, new Uint8Array(512));
    await blk.read(0, 1);
    await transport.captureQueue(0, null);
    const good = readFileSync(file);
    for (let at = 0; at < good.length; at += 3) {
      const bytes = Buffer.from(good);
      bytes[at] ^= 0xff;
      writeFileSync(file, bytes);
      try {
        const capture = await CaptureFile.open(file);
        try {
          for (let i = 0; i < capture.count; i++) capturedRequestView(capture, i);
        } finally {
          capture.close();
        }
      } catch (error) {
        expect(error).toMatchObject({ kind: 'bad-image' });
      }
    }
  });
});

describe('a replay', () => {
  it('does the same on a copy of the image as it was, and finds what differs on another', async () => {
    const { blk, start, transport, before, image } = await setUp();
    await start();
    for (let i = 0; i < 40; i++) await blk.write(i * 3, new Uint8Array(1024).fill(i));
    for (let i = 0; i < 40; i++) await blk.read(i * 2, 4);
    await blk.read(99_999, 1);
    await transport.captureQueue(0, null);
    const capture = await CaptureFile.open(file);
    const copy = join(folder, 'copy.raw');
    copyFileSync(before, copy);
    const same = await replay({ capture, image: copy, host });
    expect(same).toMatchObject({ requests: 81, skipped: 0, different: 0, examples: [] });
    expect(readFileSync(copy).equals(readFileSync(image))).toBe(true);

    writeFileSync(copy, new Uint8Array(2 ** 20).fill(0x22));
    const other = await replay({ capture, image: copy, host });
    expect(other.different).toBeGreaterThan(0);
    expect(other.examples[0].detail).toContain('captured 17');
    const stopped = await replay({ capture, image: copy, host, progress: (done) => done < 32 });
    expect(stopped.requests).toBe(32);
    capture.close();
  });

  it('skips what was not kept whole', async () => {
    const { blk, start, transport, before } = await setUp();
    await start({ keep: 100 });
    await blk.write(0, new Uint8Array(512));
    await blk.flush();
    await transport.captureQueue(0, null);
    const capture = await CaptureFile.open(file);
    expect(await replay({ capture, image: before, host })).toMatchObject({ requests: 1, skipped: 1, different: 0 });
    capture.close();
  });
});
