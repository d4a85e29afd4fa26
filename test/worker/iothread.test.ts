/** I/O workers: sleep, crash, refuse, end. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { ConfigSpace } from '../../core/virtio/config-space.ts';
import { VirtioDevice } from '../../core/virtio/device.ts';
import { VIRTIO_BLK_T_IN } from '../../core/virtio/spec/blk.ts';
import { STATUS_DEVICE_NEEDS_RESET } from '../../core/virtio/spec/status.ts';
import { IoThreadHandle } from '../../core/worker/iothread-handle.ts';
import { IOTHREAD_BASE, IOT_SLEEPING, IOT_WAKE } from '../../core/worker/layout.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { HOST } from '../harness/guest.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

/** A device whose back end the test's worker knows under this name. */
class OddDevice extends VirtioDevice {
  readonly type = 'odd';
  readonly virtioId = 42;
  readonly featureInfo = [];
  readonly features = 0n;
  readonly queues = [{ name: 'oddq', maxSize: 16 }];
  readonly config = new ConfigSpace(0, []);
  readonly backend;

  constructor(id: string, backend: string) {
    super(id);
    this.backend = { type: backend, options: null };
  }
}

let bench: VirtioBench;
beforeEach(() => {
  bench = new VirtioBench();
});
afterEach(() => bench.close());

const words = () => new Int32Array(bench.memory.memory.buffer as SharedArrayBuffer, IOTHREAD_BASE, 16);
const sleeping = () => Atomics.load(words(), IOT_SLEEPING / 4) === 1;

describe('an I/O worker', () => {
  it('sleeps when there is nothing to do, and wakes for doorbells', async () => {
    const driver = await (await bench.attach(new BlkDevice({ id: 'drive0', disk: FakeDisk.create() }))).init();
    const blk = new BlkDriver(driver, bench.allocator);
    for (let i = 0; i < 20; i++) {
      await until(sleeping);
      expect((await blk.read(0, 1)).status).toBe(0);
    }
    await until(sleeping);
    const before = Atomics.load(words(), IOT_WAKE / 4);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sleeping()).toBe(true);
    expect(Atomics.load(words(), IOT_WAKE / 4)).toBe(before);
  });

  it('loses no doorbell, however it is rung: 3000 single requests', async () => {
    const driver = await (await bench.attach(new BlkDevice({ id: 'drive0', disk: FakeDisk.create() }))).init();
    const blk = new BlkDriver(driver, bench.allocator);
    const { mark } = bench.allocator;
    for (let i = 0; i < 3000; i++) {
      await blk.read(i % 64, 1);
      bench.allocator.reset(mark);
    }
    expect(bench.bus.snapshot()[0].queues[0].counters).toMatchObject({ popped: 3000, used: 3000 });
  });

  it('that crashes is reported; its devices need a reset and say why; nothing hangs', async () => {
    const good = await (await bench.attach(new BlkDevice({ id: 'drive0', disk: FakeDisk.create() }))).init();
    // It crashes as soon as its queue runs.
    const bad = await (await bench.attach(new OddDevice('odd0', 'crasher'))).init();
    await until(() => bench.crashes.length > 0);
    expect(bench.crashes[0]).toMatchObject({
      kind: 'internal',
      message: 'I/O worker 0 has crashed: a bug in a back end. Reset or restart the VM.',
    });
    for (const driver of [bad, good]) {
      expect((await driver.status()) & STATUS_DEVICE_NEEDS_RESET).toBe(STATUS_DEVICE_NEEDS_RESET);
    }
    expect(bench.bus.snapshot().map(({ error }) => error)).toEqual([
      bench.crashes[0].message,
      bench.crashes[0].message,
    ]);
    await good.reset();
    expect(await good.status()).toBe(0);
    await good.init();
    await until(() => bench.bus.snapshot()[0].error !== null);
    await expect(bench.bus.pause()).rejects.toMatchObject({ kind: 'internal' });
    expect(bench.crashes).toHaveLength(1);
  });

  it('that crashes in the middle of a reset does not keep the guest waiting', async () => {
    const disk = FakeDisk.create();
    const driver = await (await bench.attach(new BlkDevice({ id: 'drive0', disk }))).init();
    const bad = await bench.attach(new OddDevice('odd0', 'crasher'));
    disk.shutGate();
    const blk = new BlkDriver(driver, bench.allocator);
    driver.queues[0].add(blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(), 512).buffers);
    await driver.notify(0);
    await until(() => disk.waiting);
    // Its queue runs when the gate opens.
    await bad.init();
    const reset = driver.reset();
    disk.openGate();
    await reset;
    expect(await driver.status()).toBe(0);
  });

  it('refuses a device that it does not know', async () => {
    await expect(bench.attach(new OddDevice('odd0', 'toString'))).rejects.toMatchObject({
      kind: 'internal',
      message: 'No I/O worker back end is called "toString".',
    });
    // The slot is free again.
    expect(await bench.bus.attach(new BlkDevice({ id: 'drive0', disk: FakeDisk.create() }))).toBe(7);
  });

  it('ends when told, after what it is doing; then refuses all', async () => {
    const disk = FakeDisk.create();
    const driver = await (await bench.attach(new BlkDevice({ id: 'drive0', disk }))).init();
    disk.shutGate();
    const blk = new BlkDriver(driver, bench.allocator);
    driver.queues[0].add(blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(), 512).buffers);
    await driver.notify(0);
    await until(() => disk.waiting);
    const closing = bench.iothread.close();
    disk.openGate();
    await closing;
    await bench.iothread.close();
    expect(driver.queues[0].takeUsed()).not.toBeNull();
    expect(bench.crashes).toEqual([]);
    await expect(bench.iothread.quiesce()).rejects.toMatchObject({ kind: 'bad-state' });
  });

  it('has an index of its own', () => {
    const make = (index: number) =>
      new IoThreadHandle({
        guest: bench.memory.handle,
        index,
        engine: null as never,
        host: HOST,
        onCrash: () => {},
      });
    expect(() => make(16)).toThrow(RangeError);
    expect(() => make(-1)).toThrow(RangeError);
  });
});
