/** Running split queues by themselves, in this thread (virtio 1.3, section 2.7). */
import { beforeEach, describe, expect, it } from 'vitest';

import { RAM_SIZE_MAX } from '../../core/memory/create.ts';
import { CHAIN_MAX } from '../../core/virtio/queue/descriptor-chain.ts';
import type { QueueFaultKind } from '../../core/virtio/queue/queue-fault.ts';
import { readQueueStats } from '../../core/virtio/queue/queue-stats.ts';
import type { RunningQueueConfig } from '../../core/virtio/queue/running-queue.ts';
import { SplitQueue } from '../../core/virtio/queue/split-queue.ts';
import {
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
} from '../../core/virtio/spec/split-ring.ts';
import { GuestAllocator, makeGuest } from '../harness/guest.ts';
import { MockQueue } from '../harness/mock-queue.ts';
import { popped, serve } from './running-queues.ts';

const SLOT = 3;
const memory = makeGuest(16);
const allocator = new GuestAllocator(memory);
let interrupts = 0;

beforeEach(() => {
  allocator.reset();
  interrupts = 0;
});

type Options = Partial<Pick<RunningQueueConfig, 'indirect' | 'eventIdx' | 'notifyOnEmpty'>> & {
  size?: number;
  /** Where both rings begin. */
  start?: number;
};

function makeQueue({ size = 8, indirect = true, eventIdx = false, notifyOnEmpty = false, start = 0 }: Options = {}) {
  const driver = new MockQueue(allocator, { index: 1, size, eventIdx, start });
  const device = new SplitQueue({
    memory,
    slot: SLOT,
    config: {
      index: 1,
      size,
      ...driver.areas,
      packed: false,
      indirect,
      eventIdx,
      inOrder: false,
      notifyOnEmpty,
      position: { availIdx: start, usedIdx: start },
      doorbell: 0,
    },
    interrupt: () => interrupts++,
  });
  return { driver, device };
}

const stats = () => readQueueStats(memory.memory.buffer as SharedArrayBuffer, SLOT, 1);
const buffer = (length = 16, writable = false) => ({ address: allocator.alloc(length), length, writable });

describe('buffers', () => {
  it('come in the order in which they were made available, and go back with their length', () => {
    const { driver, device } = makeQueue();
    expect(device.pop()).toBeNull();
    const heads = [driver.add([buffer()]), driver.add([buffer(), buffer(32, true)])];
    const first = popped(device);
    const second = popped(device);
    expect(device.pop()).toBeNull();
    expect([first.head, second.head]).toEqual(heads);
    expect([second.readable.length, second.writable.length]).toEqual([16, 32]);
    expect(device.inFlight).toBe(2);
    device.push(second, 32);
    device.push(first, 0);
    expect(driver.takeUsed()).toBeNull();
    device.flush();
    expect(driver.takeUsed()).toEqual({ id: heads[1], length: 32 });
    expect(driver.takeUsed()).toEqual({ id: heads[0], length: 0 });
    expect(device.inFlight).toBe(0);
  });

  it('are views of guest RAM, by any cut', () => {
    const { driver, device } = makeQueue();
    const [a, b] = [buffer(10, true), buffer(1000, true)];
    driver.add([a, b]);
    const { writable } = popped(device);
    expect(writable.copyIn(5, Uint8Array.of(1, 2, 3, 4, 5, 6, 7))).toBe(7);
    expect(memory.read(a.address + 5, 5)).toEqual(Uint8Array.of(1, 2, 3, 4, 5));
    expect(memory.read(b.address, 2)).toEqual(Uint8Array.of(6, 7));
    expect(writable.views(5, 7).map((view) => [...view])).toEqual([
      [1, 2, 3, 4, 5],
      [6, 7],
    ]);
    const large = new Uint8Array(900).fill(9);
    expect(writable.copyIn(200, large)).toBe(810);
    expect(memory.readU8(b.address + 999)).toBe(9);
    expect(writable.copyOut(1009, new Uint8Array(8))).toBe(1);
    expect(writable.copyOut(2000, new Uint8Array(8))).toBe(0);
    writable.putByte(9, 77);
    expect(memory.readU8(a.address + 9)).toBe(77);
    expect(() => writable.views(1000, 11)).toThrow(RangeError);
    expect(() => writable.putByte(1010, 0)).toThrow(RangeError);
  });

  it('may be as many segments as a chain can have', () => {
    const { driver, device } = makeQueue({ size: 8 });
    driver.addIndirect(Array.from({ length: CHAIN_MAX }, (_, i) => buffer(4, i >= 500)));
    const chain = popped(device);
    expect([chain.readable.count, chain.writable.count]).toEqual([500, CHAIN_MAX - 500]);
    expect(chain.writable.length).toBe(4 * (CHAIN_MAX - 500));
  });

  it('go on across the end of the 16-bit index', () => {
    const { driver, device } = makeQueue({ size: 4, start: 0xfffd });
    for (let i = 0; i < 10; i++) {
      driver.add([buffer()]);
      driver.add([buffer()]);
      serve(device, i);
      serve(device, i);
      expect(driver.takeUsed()?.length).toBe(i);
      expect(driver.takeUsed()?.length).toBe(i);
    }
    expect(device.position).toEqual({ availIdx: (0xfffd + 20) & 0xffff, usedIdx: (0xfffd + 20) & 0xffff });
  });
});

describe('the largest RAM', () => {
  it('is served up to its last byte, with linear addresses up to 2^32', () => {
    const large = makeGuest(RAM_SIZE_MAX / 2 ** 20);
    const top = new GuestAllocator(large);
    top.reset(large.end - 4096);
    const driver = new MockQueue(top, { index: 0, size: 8 });
    const position = { availIdx: 0, usedIdx: 0 };
    const features = { packed: false, indirect: true, eventIdx: false, inOrder: false, notifyOnEmpty: false };
    const device = new SplitQueue({
      memory: large,
      slot: SLOT,
      config: { index: 0, size: 8, ...driver.areas, ...features, position, doorbell: 0 },
      interrupt: () => interrupts++,
    });
    driver.addIndirect([
      { address: large.end - 100, length: 50 },
      { address: large.end - 50, length: 50, writable: true },
    ]);
    const chain = popped(device);
    large.writeU8(large.end - 51, 0x51);
    const last = new Uint8Array(1);
    chain.readable.copyOut(49, last);
    expect(last[0]).toBe(0x51);
    chain.writable.copyIn(0, new Uint8Array(50).fill(7));
    chain.writable.putByte(49, 8);
    expect([large.readU8(large.end - 2), large.readU8(large.end - 1)]).toEqual([7, 8]);
    device.push(chain, 50);
    device.flush();
    expect(driver.takeUsed()?.length).toBe(50);
  });
});

describe('indirect descriptors (2.7.5.3)', () => {
  it.each([
    ['alone', 0, 0],
    ['after direct ones', 2, 0],
    ['in a table at an odd address', 0, 1],
    ['in a table at a multiple of 2', 1, 2],
  ])('are followed %s', (_how, direct, tableOffset) => {
    const { driver, device } = makeQueue();
    const buffers = [buffer(1), buffer(2), buffer(3), buffer(4, true), buffer(5, true)];
    const head = driver.addIndirect(buffers, { direct, tableOffset });
    const chain = popped(device);
    expect(chain.head).toBe(head);
    expect([chain.readable.count, chain.readable.length]).toEqual([3, 6]);
    expect([chain.writable.count, chain.writable.length]).toEqual([2, 9]);
  });
});

describe('notifications to the driver (2.7.7)', () => {
  it('are sent once a batch, and not when the driver says so', () => {
    const { driver, device } = makeQueue();
    for (let i = 0; i < 3; i++) driver.add([buffer()]);
    for (let i = 0; i < 3; i++) device.push(popped(device), 0);
    device.flush();
    device.flush();
    expect(interrupts).toBe(1);
    driver.suppressInterrupts(true);
    driver.add([buffer()]);
    serve(device);
    expect(interrupts).toBe(1);
    expect(stats()).toMatchObject({ popped: 4, used: 4, interrupts: 1, suppressed: 1, usedIdx: 4, lastAvailIdx: 4 });
  });

  it('ignore the flag with event indices', () => {
    const { driver, device } = makeQueue({ eventIdx: true });
    driver.suppressInterrupts(true);
    driver.setUsedEvent(0);
    driver.add([buffer()]);
    serve(device);
    expect(interrupts).toBe(1);
  });

  it.each([0, 1, 5, 0x7fff, 0xfff8, 0xfffe, 0xffff])(
    'come exactly when the entry used_event is written, from index %i on',
    (start) => {
      for (let distance = 0; distance < 6; distance++) {
        for (let batch = 1; batch <= 4; batch++) {
          interrupts = 0;
          allocator.reset();
          const { driver, device } = makeQueue({ size: 16, eventIdx: true, start });
          driver.setUsedEvent(start + distance);
          let written = 0;
          while (written < 8) {
            for (let i = 0; i < batch; i++) driver.add([buffer()]);
            for (let i = 0; i < batch; i++) device.push(popped(device), 0);
            device.flush();
            const covered = distance < written + batch;
            expect(interrupts, `entry ${distance}, ${written} + ${batch} written`).toBe(covered ? 1 : 0);
            written += batch;
          }
        }
      }
    },
  );

  it('with VIRTIO_F_NOTIFY_ON_EMPTY come though suppressed when the queue has run dry (6.3)', () => {
    const { driver, device } = makeQueue({ notifyOnEmpty: true });
    driver.suppressInterrupts(true);
    driver.add([buffer()]);
    driver.add([buffer()]);
    serve(device);
    expect(interrupts).toBe(0);
    serve(device);
    expect(interrupts).toBe(1);
  });
});

describe('notifications from the driver (2.7.10)', () => {
  it.each([
    ['flags', false],
    ['event index', true],
  ])('are switched by %s', (_how, eventIdx) => {
    const { driver, device } = makeQueue({ eventIdx });
    driver.add([buffer()]);
    expect(driver.deviceWantsNotification()).toBe(true);
    device.disableNotifications();
    serve(device);
    driver.add([buffer()]);
    expect(driver.deviceWantsNotification()).toBe(false);
    serve(device);
    expect(device.enableNotifications()).toBe(false);
    driver.add([buffer()]);
    expect(driver.deviceWantsNotification()).toBe(true);
    driver.add([buffer()]);
    expect(device.enableNotifications()).toBe(true);
  });

  it('are asked for across the end of the 16-bit index', () => {
    const { driver, device } = makeQueue({ eventIdx: true, start: 0xfffe });
    for (let i = 0; i < 5; i++) {
      expect(device.enableNotifications()).toBe(false);
      driver.add([buffer()]);
      expect(driver.deviceWantsNotification()).toBe(true);
      driver.add([buffer()]);
      expect(driver.deviceWantsNotification()).toBe(false);
      serve(device);
      serve(device);
      driver.takeUsed();
      driver.takeUsed();
    }
  });
});

describe('a driver that breaks the rules', () => {
  const NEXT = VIRTQ_DESC_F_NEXT;
  const WRITE = VIRTQ_DESC_F_WRITE;
  const INDIRECT = VIRTQ_DESC_F_INDIRECT;
  const RAM = memory.end - memory.ramSize;
  type Setup = (driver: MockQueue) => void;

  const direct =
    (...descriptors: [address: number, length: number, flags: number, next?: number][]): Setup =>
    (driver) => {
      for (const [i, [address, length, flags, next = i + 1]] of descriptors.entries()) {
        driver.writeDescriptor(driver.areas.descriptorArea, i, { address, length, flags, next });
      }
      driver.offer(0);
    };
  /** Descriptor 0 refers to a table of the given ones. */
  const indirect =
    (...descriptors: [address: number, length: number, flags: number, next?: number][]): Setup =>
    (driver) => {
      const table = allocator.alloc(descriptors.length * VIRTQ_DESC_SIZE);
      for (const [i, [address, length, flags, next = i + 1]] of descriptors.entries()) {
        driver.writeDescriptor(table, i, { address, length, flags, next });
      }
      direct([table, descriptors.length * VIRTQ_DESC_SIZE, INDIRECT])(driver);
    };

  it.each<[string, QueueFaultKind, Setup]>([
    ['jumps with the index', 'index-jump', (driver) => driver.setAvailIdx(9)],
    ['takes the index back', 'index-jump', (driver) => driver.setAvailIdx(0xffff)],
    ['offers a head that does not exist', 'bad-head', (driver) => driver.offer(8)],
    ['chains to a descriptor that does not exist', 'bad-next', direct([RAM, 1, NEXT, 8])],
    ['chains a descriptor to itself', 'loop', direct([RAM, 1, NEXT, 0])],
    ['chains in a circle', 'loop', direct([RAM, 1, NEXT, 1], [RAM, 1, NEXT, 2], [RAM, 1, NEXT, 0])],
    ['gives an empty buffer', 'zero-length', direct([RAM, 0, 0])],
    ['gives a buffer below RAM', 'outside-ram', direct([RAM - 1, 2, 0])],
    ['gives a buffer at the linear address of our own state', 'outside-ram', direct([0x100000, 16, WRITE])],
    ['gives a buffer that begins at the end of RAM', 'outside-ram', direct([memory.end, 1, WRITE])],
    ['gives a buffer that ends behind RAM', 'outside-ram', direct([memory.end - 8, 9, WRITE])],
    ['gives a buffer that wraps around 2^32', 'outside-ram', direct([RAM, 0xffff_ffff, WRITE])],
    ['puts readable behind writable', 'bad-order', direct([RAM, 1, WRITE | NEXT], [RAM, 1, 0])],
    ['sets INDIRECT and NEXT', 'indirect-and-next', direct([RAM, 16, INDIRECT | NEXT])],
    ['gives an empty table', 'bad-indirect-table', direct([RAM, 0, INDIRECT])],
    ['gives a table of half a descriptor', 'bad-indirect-table', direct([RAM, 24, INDIRECT])],
    ['gives a table that ends behind RAM', 'outside-ram', direct([memory.end - 16, 32, INDIRECT])],
    ['puts a table into a table', 'indirect-in-indirect', indirect([RAM, 16, INDIRECT])],
    ['leaves a table by its end', 'bad-next', indirect([RAM, 1, NEXT])],
    ['loops in a table', 'loop', indirect([RAM, 1, NEXT, 1], [RAM, 1, NEXT, 0])],
    [
      'makes a chain longer than a device need take',
      'too-long',
      (driver) =>
        indirect(...Array.from({ length: CHAIN_MAX + 1 }, () => [RAM, 1, NEXT] as [number, number, number]))(driver),
    ],
  ])('%s: %s', (_what, kind, setup) => {
    const { driver, device } = makeQueue();
    setup(driver);
    expect(() => device.pop()).toThrow(expect.objectContaining({ name: 'QueueFault', kind }));
  });

  it('gives an address above 2^53, whatever its low bits', () => {
    const { driver, device } = makeQueue();
    driver.writeDescriptor(driver.areas.descriptorArea, 0, { address: 0, length: 16, flags: 0, next: 0 });
    memory.writeU64(driver.areas.descriptorArea, 0xffff_ffff_8000_0000n);
    driver.offer(0);
    expect(() => device.pop()).toThrow(expect.objectContaining({ kind: 'outside-ram' }));
  });

  it('uses indirect descriptors that were not negotiated', () => {
    const { driver, device } = makeQueue({ indirect: false });
    driver.addIndirect([buffer()]);
    expect(() => device.pop()).toThrow(expect.objectContaining({ kind: 'indirect-not-negotiated' }));
  });

  it('makes chains of more than 2^32 bytes', () => {
    const { driver, device } = makeQueue();
    const whole = { address: RAM, length: memory.ramSize, writable: true };
    driver.addIndirect(Array.from({ length: 2 ** 32 / memory.ramSize + 1 }, () => whole));
    expect(() => device.pop()).toThrow(expect.objectContaining({ kind: 'too-long' }));
  });

  it('makes more available than the queue holds', () => {
    const { driver, device } = makeQueue({ size: 4 });
    driver.add([buffer()]);
    for (let i = 0; i < 3; i++) driver.offer(0);
    for (let i = 0; i < 4; i++) device.pop();
    driver.offer(0);
    expect(() => device.pop()).toThrow(expect.objectContaining({ kind: 'too-many-in-flight' }));
  });
});
