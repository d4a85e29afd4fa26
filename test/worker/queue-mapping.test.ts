/** Queues of one device on several I/O workers. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { BlkDevice } from '../../core/virtio/blk/device.ts';
import type { BlkDeviceOptions } from '../../core/virtio/blk/device.ts';
import { iothreadsOfQueues } from '../../core/virtio/queue-mapping.ts';
import {
  BLK_CONFIG_WRITEBACK,
  VIRTIO_BLK_SECTOR_SIZE,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '../../core/virtio/spec/blk.ts';
import { STATUS_DEVICE_NEEDS_RESET } from '../../core/virtio/spec/status.ts';
import { VIRTIO_BASE, VIRTIO_STRIDE, VQ_DOORBELL_IOTHREAD } from '../../core/worker/layout.ts';
import { BlkDriver, UNTOUCHED } from '../harness/blk-driver.ts';
import type { BlkAnswer } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import type { MockDriver } from '../harness/mock-driver.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const QUEUES = 4;
/** Queues 0 and 3 on worker 0, 1 on worker 1, 2 on worker 2. */
const WORKERS = [0, 1, 2, 0];

const OPTIONS = { iothreads: 3, mib: 32 };

let bench: VirtioBench;
beforeAll(() => {
  bench = new VirtioBench(OPTIONS);
});
afterEach(() => bench.clear());
afterAll(() => bench.close());

interface Plugged {
  disk: FakeDisk;
  driver: MockDriver;
  blk: BlkDriver;
}

async function plug(options: Partial<BlkDeviceOptions> = {}, iothread: readonly number[] = WORKERS): Promise<Plugged> {
  const disk = FakeDisk.create();
  const device = new BlkDevice({ id: 'drive0', disk, queues: QUEUES, ...options });
  const driver = await (await bench.attach(device, { iothread })).init();
  return { disk, driver, blk: new BlkDriver(driver, bench.allocator) };
}

const sector = (seed: number): Uint8Array => new Uint8Array(VIRTIO_BLK_SECTOR_SIZE).fill(seed);
const NOTHING = new Uint8Array();

async function write({ driver, blk }: Plugged, queue: number, at: number, data: Uint8Array): Promise<BlkAnswer> {
  const { buffers, answer } = blk.prepare(VIRTIO_BLK_T_OUT, at, data, 0);
  return answer((await driver.submit(driver.queues[queue], buffers)).length);
}

async function read({ driver, blk }: Plugged, queue: number, at: number): Promise<BlkAnswer> {
  const { buffers, answer } = blk.prepare(VIRTIO_BLK_T_IN, at, NOTHING, VIRTIO_BLK_SECTOR_SIZE);
  return answer((await driver.submit(driver.queues[queue], buffers)).length);
}

/** Makes a read available and rings; its status, at any time. */
async function begin({ driver, blk }: Plugged, queue: number): Promise<() => number> {
  const { buffers, answer } = blk.prepare(VIRTIO_BLK_T_IN, 0, NOTHING, VIRTIO_BLK_SECTOR_SIZE);
  driver.queues[queue].add(buffers);
  await driver.notify(queue);
  return () => answer(0).status;
}

const used = (): number[] => bench.snapshot()[0].queues.map(({ counters }) => counters.used);

describe('a device with its queues on several workers', () => {
  it('serves each queue on its own, all on one disk', async () => {
    const plugged = await plug();
    const words = new Int32Array(bench.memory.memory.buffer, VIRTIO_BASE + plugged.driver.slot * VIRTIO_STRIDE);
    const wakes = Array.from({ length: QUEUES }, (_, queue) => words[VQ_DOORBELL_IOTHREAD / 4 + queue]);
    expect(wakes).toEqual(WORKERS.map((worker) => bench.iothreads[worker].waitBlockOf()));

    const { mark } = bench.allocator;
    for (let round = 0; round < 50; round++) {
      bench.allocator.reset(mark);
      const all = Array.from({ length: QUEUES }, (_, queue) => queue);
      await Promise.all(all.map((queue) => write(plugged, queue, queue, sector(4 * round + queue))));
      // What one wrote another reads.
      const answers = await Promise.all(all.map((queue) => read(plugged, queue, (queue + 1) % QUEUES)));
      expect(answers.map(({ data }) => data[0])).toEqual(
        all.map((queue) => (4 * round + ((queue + 1) % QUEUES)) & 255),
      );
    }
    expect(used()).toEqual([100, 100, 100, 100]);
  });

  it('is reset when all of them have let go', async () => {
    const plugged = await plug();
    const { disk, driver } = plugged;
    disk.shutGate();
    const status = await begin(plugged, 2);
    await until(() => disk.waiting);
    let done = false;
    const reset = driver.reset().then(() => (done = true));
    // The workers without anything to do have answered long before.
    await bench.iothreads[0].quiesce();
    await bench.iothreads[1].quiesce();
    expect(done).toBe(false);
    disk.openGate();
    await reset;
    expect(status()).toBe(VIRTIO_BLK_S_OK);
    await Promise.all([bench.iothreads[0].resume(), bench.iothreads[1].resume()]);
    await driver.init();
    for (let queue = 0; queue < QUEUES; queue++) expect((await read(plugged, queue, 0)).status).toBe(VIRTIO_BLK_S_OK);
  });

  it('stops on all of them when the driver breaks a rule on one', async () => {
    const plugged = await plug();
    const { driver } = plugged;
    expect((await read(plugged, 1, 0)).status).toBe(VIRTIO_BLK_S_OK);
    // No room for a status byte.
    driver.queues[2].add([{ address: bench.allocator.alloc(16), length: 16 }]);
    await driver.notify(2);
    await until(() => bench.snapshot()[0].error !== null);
    expect(bench.snapshot()[0].error).toMatch(/^queue 2 \(requestq3\): .* no room for the status/);
    // As if it came behind the reset that it must wait for: whoever serves it first lets go of it first.
    await bench.bus.pause();
    await bench.bus.resume();
    const statuses = await Promise.all([0, 1, 2, 3].map((queue) => begin(plugged, queue)));
    await bench.bus.pause();
    await bench.bus.resume();
    expect(statuses.map((status) => status())).toEqual(statuses.map(() => UNTOUCHED));
    expect((await driver.status()) & STATUS_DEVICE_NEEDS_RESET).toBe(STATUS_DEVICE_NEEDS_RESET);
    await driver.reset();
    await driver.init();
    for (let queue = 0; queue < QUEUES; queue++) expect((await read(plugged, queue, 0)).status).toBe(VIRTIO_BLK_S_OK);
    expect(bench.snapshot()[0].error).toBeNull();
  });

  it('touches nothing while the machine is paused, and goes on after it', async () => {
    const plugged = await plug();
    await bench.bus.pause();
    const statuses = await Promise.all([0, 1, 2, 3].map((queue) => begin(plugged, queue)));
    // A worker that obeyed no pause would have served it before it answers this.
    await Promise.all(bench.iothreads.map((iothread) => iothread.quiesce()));
    expect(statuses.map((status) => status())).toEqual(statuses.map(() => UNTOUCHED));
    await bench.bus.resume();
    await until(() => statuses.every((status) => status() === VIRTIO_BLK_S_OK));
  });

  it('tries requests that stopped the machine again, on the worker that has them', async () => {
    const plugged = await plug({ rerror: 'stop' });
    plugged.disk.fail('read', 'EIO');
    const status = await begin(plugged, 1);
    await until(() => bench.ioErrors.length > 0);
    expect((await read(plugged, 2, 0)).status).toBe(VIRTIO_BLK_S_OK);
    expect(status()).toBe(UNTOUCHED);
    await bench.bus.pause();
    await bench.bus.resume();
    await until(() => status() === VIRTIO_BLK_S_OK);
  });

  it('has one queue reset while others go on', async () => {
    const plugged = await plug();
    const { driver, disk } = plugged;
    await driver.resetQueue(1, 16);
    for (let queue = 0; queue < QUEUES; queue++) expect((await read(plugged, queue, 0)).status).toBe(VIRTIO_BLK_S_OK);
    disk.shutGate();
    const status = await begin(plugged, 1);
    await until(() => disk.waiting);
    let done = false;
    const reset = driver.resetQueue(1, 16).then(() => (done = true));
    await bench.iothreads[0].quiesce();
    await bench.iothreads[0].resume();
    expect(done).toBe(false);
    disk.openGate();
    await reset;
    expect(status()).toBe(VIRTIO_BLK_S_OK);
    expect((await read(plugged, 1, 0)).status).toBe(VIRTIO_BLK_S_OK);
  });

  it('writes through on all of them when the driver says so', async () => {
    const plugged = await plug();
    const { disk, driver } = plugged;
    await driver.writeConfig(BLK_CONFIG_WRITEBACK, 1, 0);
    for (let queue = 0; queue < QUEUES; queue++) await write(plugged, queue, queue, sector(queue));
    expect(disk.count('flush')).toBe(QUEUES);
  });

  it('is on none when one of them cannot take it', async () => {
    const device = new BlkDevice({ id: 'drive0', disk: FakeDisk.create(), queues: QUEUES });
    Object.defineProperty(device, 'backend', { value: { type: 'picky', options: null } });
    await expect(bench.attach(device, { iothread: WORKERS })).rejects.toMatchObject({ kind: 'internal' });
    const plugged = await plug();
    expect((await read(plugged, 2, 0)).status).toBe(VIRTIO_BLK_S_OK);
  });

  it('lets go of all when one of them crashes', async () => {
    const plugged = await plug();
    // The bench is of no use after this; it is the last one.
    const bad = new BlkDevice({ id: 'bad0', disk: FakeDisk.create() });
    Object.defineProperty(bad, 'backend', { value: { type: 'crasher', options: null } });
    await (await bench.attach(bad, { iothread: 1 })).init();
    await until(() => bench.crashes.length > 0);
    const errors = bench.snapshot().map(({ error }) => error);
    expect(errors).toEqual([bench.crashes[0].message, bench.crashes[0].message]);
    // Those behind a worker that lives are free too: it answers this when it has obeyed.
    for (const index of [0, 2]) await bench.iothreads[index].quiesce();
    for (const index of [0, 2]) await bench.iothreads[index].resume();
    const status = await begin(plugged, 2);
    await bench.iothreads[2].quiesce();
    await bench.iothreads[2].resume();
    expect(status()).toBe(UNTOUCHED);
    await plugged.driver.reset();
    expect(await plugged.driver.status()).toBe(0);
  });
});

describe('iothread-vq-mapping', () => {
  const a = { iothread: 'a' };
  const b = { iothread: 'b' };

  it('gives queues in turn, or as it says', () => {
    expect(iothreadsOfQueues([a], 2)).toEqual(['a', 'a']);
    expect(iothreadsOfQueues([a, b], 5)).toEqual(['a', 'b', 'a', 'b', 'a']);
    expect(
      iothreadsOfQueues(
        [
          { ...a, vqs: [2, 0] },
          { ...b, vqs: [1] },
        ],
        3,
      ),
    ).toEqual(['a', 'b', 'a']);
    expect(
      iothreadsOfQueues(
        [
          { ...a, vqs: [0] },
          { ...b, vqs: [] },
        ],
        1,
      ),
    ).toEqual(['a']);
  });

  it.each([
    ['iothread "a" is there twice', [a, a]],
    ['either all items must have vqs or none', [{ ...a, vqs: [0, 1] }, b]],
    [
      'iothread "b": there is no queue 2: the device has 2',
      [
        { ...a, vqs: [0, 1] },
        { ...b, vqs: [2] },
      ],
    ],
    [
      'queue 1 is given to "a" and to "b"',
      [
        { ...a, vqs: [0, 1] },
        { ...b, vqs: [1] },
      ],
    ],
    [
      'queue 1 has no iothread',
      [
        { ...a, vqs: [0] },
        { ...b, vqs: [] },
      ],
    ],
  ])('refuses: %s', (problem, mapping) => {
    expect(() => iothreadsOfQueues(mapping, 2)).toThrow(
      expect.objectContaining({ kind: 'bad-option', message: `iothread-vq-mapping: ${problem}` }),
    );
  });
});
