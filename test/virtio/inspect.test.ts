/** Rings as the monitor shows them: live chains in their order, and nothing that is left over. */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { inspectQueue, inspectSlot } from '../../core/virtio/inspect.ts';
import type { InspectOptions, RingElement } from '../../core/virtio/inspect.ts';
import { ConfiguredQueue } from '../../core/virtio/queue/configured-queue.ts';
import { createRunningQueue } from '../../core/virtio/queue/create-queue.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { VIRTIO_BLK_T_IN } from '../../core/virtio/spec/blk.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { GuestAllocator, makeGuest } from '../harness/guest.ts';
import { makeDriverQueue } from '../harness/mock-packed-queue.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const memory = makeGuest(1);
const allocator = new GuestAllocator(memory);
const SIZE = 8;

function setUp(packed: boolean) {
  allocator.reset();
  const features = ringFeatureBits({ packed });
  const driver = makeDriverQueue(allocator, features, { index: 0, size: SIZE });
  const queue = new ConfiguredQueue(0, { name: 'q', maxSize: SIZE }, false);
  queue.size = SIZE;
  queue.enabled = true;
  for (const [register, address] of [
    [queue.descriptor, driver.areas.descriptorArea],
    [queue.driver, driver.areas.driverArea],
    [queue.device, driver.areas.deviceArea],
  ] as const) {
    register.low = address;
  }
  const device = createRunningQueue({
    memory,
    slot: 0,
    config: queue.runningConfig(features, 0),
    interrupt: () => {},
  });
  const options = (): InspectOptions => ({
    queue,
    memory,
    features,
    position: device.position,
    held: device.held(),
  });
  return { driver, device, options };
}

const buffer = (length: number, writable = false) => ({ address: allocator.alloc(length), length, writable });
const shape = ({ slot, head, state, descriptors, problem }: RingElement) => ({
  slot,
  head,
  state,
  lengths: descriptors.map(({ length }) => length),
  problem,
});

describe.each([false, true])('a ring, packed %s', (packed) => {
  it('shows what the device has and what it takes next, chains in order', () => {
    const { driver, device, options } = setUp(packed);
    const ids = [
      driver.add([buffer(1), buffer(2, true)]),
      driver.addIndirect([buffer(3), buffer(4), buffer(5, true)]),
      driver.add([buffer(6)]),
    ];
    const slots = packed ? [0, 2, 3] : [0, 1, 2];
    const lengths = [[1, 2], [3, 4, 5], [6]];
    device.pop();
    expect(inspectQueue(options()).map(shape)).toEqual(
      ids.map((head, i) => ({
        slot: slots[i],
        head,
        state: i === 0 ? 'in-flight' : 'available',
        lengths: lengths[i],
        problem: null,
      })),
    );
    const [first, second] = inspectQueue(options());
    expect(first.descriptors[1].flags).toContain('write');
    expect(second.descriptors.map(({ indirect, index }) => [indirect, index])).toEqual([
      [true, 0],
      [true, 1],
      [true, 2],
    ]);
    expect(inspectSlot(options(), null).head).toBe(ids[1]);
  });

  it('never takes what is left over for live', () => {
    const { driver, device, options } = setUp(packed);
    const long = driver.add([buffer(77)]);
    const held = device.pop()!;
    // Round and round, while the first one stays out: every slot has been written by then.
    for (let i = 0; i < 5 * SIZE; i++) {
      driver.add([buffer(1)]);
      device.push(device.pop()!, 0);
      device.flush();
      driver.takeUsed();
    }
    expect(inspectQueue(options()).map(shape)).toEqual([
      { slot: 0, head: long, state: 'in-flight', lengths: [77], problem: null },
    ]);
    for (let slot = 1; slot < SIZE; slot++) {
      expect(inspectSlot(options(), slot)).toMatchObject({ state: 'free', head: null, descriptors: [] });
    }
    device.push(held, 0);
    device.flush();
    expect(inspectQueue(options())).toEqual([]);
  });

  it('says what is wrong with a chain, and shows it as far as it goes', () => {
    const { driver, options } = setUp(packed);
    driver.add([buffer(8), { address: 16, length: 9 }]);
    const [element] = inspectQueue(options());
    expect(element.problem).toMatch(/buffer \[0x10, \+9\) is not in guest RAM \(outside-ram\)/);
    expect(element.descriptors.map(({ length }) => length)).toEqual([8, 9]);
  });
});

describe('a running device', () => {
  const bench = new VirtioBench();
  afterEach(() => bench.clear());
  afterAll(() => bench.close());

  it.each([false, true])('is asked what it has, packed %s', async (packed) => {
    const disk = FakeDisk.create();
    const ringFeatures = ringFeatureBits({ packed });
    const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk, werror: 'stop', rerror: 'stop' }), {
      ringFeatures,
    });
    await driver.init();
    const [transport] = bench.bus.transports;
    await expect(transport.inspectQueue(7)).rejects.toThrow('has not been set up');
    disk.fail('read', 'EIO');
    const { buffers } = new BlkDriver(driver, bench.allocator).prepare(VIRTIO_BLK_T_IN, 3, new Uint8Array(), 512);
    const id = driver.queues[0].add(buffers);
    await driver.notify(0);
    await until(() => bench.ioErrors.length > 0);
    const elements = await transport.inspectQueue(0);
    expect(elements.map(shape)).toEqual([
      { slot: 0, head: id, state: 'in-flight', lengths: [16, 512, 1], problem: null },
    ]);
    expect(await transport.inspectSlot(0, 1)).toMatchObject({ state: 'free' });
  });
});
