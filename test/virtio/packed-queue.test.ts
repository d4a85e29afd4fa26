/** Running packed queues by themselves, in this thread (virtio 1.3, section 2.8), and in-order use of both ring formats. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

import { createRunningQueue } from '../../core/virtio/queue/create-queue.ts';
import { CHAIN_MAX } from '../../core/virtio/queue/descriptor-chain.ts';
import type { DescriptorChain } from '../../core/virtio/queue/descriptor-chain.ts';
import type { QueueFaultKind } from '../../core/virtio/queue/queue-fault.ts';
import { readQueueStats } from '../../core/virtio/queue/queue-stats.ts';
import { startPosition } from '../../core/virtio/queue/running-queue.ts';
import { PACKED_START, PVIRTQ_EVENT_FLAGS, advance, passedEvent } from '../../core/virtio/spec/packed-ring.ts';
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from '../../core/virtio/spec/split-ring.ts';
import { GuestAllocator, makeGuest } from '../harness/guest.ts';
import { MockPackedQueue } from '../harness/mock-packed-queue.ts';
import { MockQueue } from '../harness/mock-queue.ts';
import { popped, serve } from './running-queues.ts';

const SLOT = 4;
const memory = makeGuest(16);
const allocator = new GuestAllocator(memory);
let interrupts = 0;

beforeEach(() => {
  allocator.reset();
  interrupts = 0;
});

interface Options {
  size?: number;
  packed?: boolean;
  indirect?: boolean;
  eventIdx?: boolean;
  inOrder?: boolean;
}

function makeQueue({ size = 8, packed = true, indirect = true, eventIdx = false, inOrder = false }: Options = {}) {
  const options = { index: 1, size, eventIdx, inOrder };
  const driver = packed ? new MockPackedQueue(allocator, options) : new MockQueue(allocator, options);
  const device = createRunningQueue({
    memory,
    slot: SLOT,
    config: {
      ...options,
      ...driver.areas,
      packed,
      indirect,
      notifyOnEmpty: false,
      position: startPosition(packed),
      doorbell: 0,
    },
    interrupt: () => interrupts++,
  });
  return { driver, device };
}

const packedQueue = (options: Options = {}) => {
  const { driver, device } = makeQueue(options);
  return { driver: driver as MockPackedQueue, device };
};

const stats = () => readQueueStats(memory.memory.buffer as SharedArrayBuffer, SLOT, 1);
const buffer = (length = 16, writable = false) => ({ address: allocator.alloc(length), length, writable });

describe('buffers of a packed ring', () => {
  it('go back by their id, in any order, once they are published', () => {
    const { driver, device } = packedQueue();
    expect(device.pop()).toBeNull();
    const ids = [driver.add([buffer()]), driver.add([buffer(), buffer(32, true)]), driver.add([buffer(8, true)])];
    const chains = [popped(device), popped(device), popped(device)];
    expect(device.pop()).toBeNull();
    expect(chains.map(({ head }) => head)).toEqual(ids);
    expect(chains.map(({ slots }) => slots)).toEqual([1, 2, 1]);
    expect([chains[1].readable.length, chains[1].writable.length]).toEqual([16, 32]);
    for (const i of [2, 1, 0]) device.push(chains[i], 8 * i);
    expect(driver.takeUsed()).toBeNull();
    device.flush();
    for (const i of [2, 1, 0]) expect(driver.takeUsed()).toEqual({ id: ids[i], length: 8 * i });
    expect(driver.takeUsed()).toBeNull();
    expect(driver.freeDescriptors).toBe(8);
  });

  it.each([1, 2, 3, 5, 7, 8, 100])('go round a ring of %d, with chains across its end', (size) => {
    const { driver, device } = packedQueue({ size });
    for (let i = 0; i < 5 * size + 3; i++) {
      const parts = 1 + (i % Math.min(size, 3));
      const buffers = Array.from({ length: parts }, () => buffer(4, true));
      const id = driver.add(buffers);
      const chain = popped(device);
      expect(chain.writable.ranges()).toEqual(buffers.map(({ address, length }) => ({ address, length })));
      device.push(chain, 4 * parts);
      device.flush();
      expect(driver.takeUsed()).toEqual({ id, length: 4 * parts });
      allocator.reset(driver.areas.deviceArea + 64);
    }
    expect(device.isEmpty()).toBe(true);
  });

  it('may fill the ring', () => {
    const { driver, device } = packedQueue({ size: 5 });
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5; i++) driver.add([buffer()]);
      const chains = Array.from({ length: 5 }, () => popped(device));
      expect(device.isEmpty()).toBe(true);
      expect(device.inFlight).toBe(5);
      for (const chain of chains.toReversed()) device.push(chain, 0);
      device.flush();
      expect(Array.from({ length: 5 }, () => driver.takeUsed())).not.toContain(null);
    }
  });

  it.each([
    ['in an aligned table', 0],
    ['in a table at an odd address', 1],
    ['in a table at a multiple of 4', 4],
  ])('are found %s (2.8.7)', (_where, tableOffset) => {
    const { driver, device } = packedQueue();
    const id = driver.addIndirect([buffer(1), buffer(2), buffer(3), buffer(4, true)], { tableOffset });
    const chain = popped(device);
    expect([chain.head, chain.slots]).toEqual([id, 1]);
    expect([chain.readable.count, chain.readable.length, chain.writable.length]).toEqual([3, 6, 4]);
  });

  it('may be as many segments as a chain can have', () => {
    const { driver, device } = packedQueue();
    driver.addIndirect(Array.from({ length: CHAIN_MAX }, () => buffer(1)));
    expect(popped(device).readable.count).toBe(CHAIN_MAX);
    driver.addIndirect(Array.from({ length: CHAIN_MAX + 1 }, () => buffer(1)));
    expect(() => device.pop()).toThrow(expect.objectContaining({ kind: 'too-long' }));
  });

  it('are all known while the device has them', () => {
    const { driver, device } = packedQueue();
    const [a, b] = [buffer(5), buffer(6, true)];
    driver.add([buffer()]);
    const id = driver.add([a, b]);
    serve(device);
    popped(device);
    const range = ({ address, length }: { address: number; length: number }) => ({ address, length });
    expect(device.held()).toEqual([
      { head: id, position: PACKED_START + 1, slots: 2, readable: [range(a)], writable: [range(b)] },
    ]);
  });

  it('begin again where the queue was stopped', () => {
    const { driver, device } = packedQueue({ size: 3 });
    for (let i = 0; i < 4; i++) {
      driver.add([buffer()]);
      serve(device);
      driver.takeUsed();
    }
    expect(device.position).toEqual({ availIdx: 1, usedIdx: 1 });
    const again = createRunningQueue({
      memory,
      slot: SLOT,
      config: {
        index: 1,
        size: 3,
        ...driver.areas,
        packed: true,
        indirect: false,
        eventIdx: false,
        inOrder: false,
        notifyOnEmpty: false,
        position: device.position,
        doorbell: 0,
      },
      interrupt: () => interrupts++,
    });
    const id = driver.add([buffer(), buffer()]);
    serve(again);
    expect(driver.takeUsed()?.id).toBe(id);
  });
});

describe('any driver and any device', () => {
  const operation = fc.oneof(
    fc.record({ op: fc.constant('add' as const), parts: fc.integer({ min: 1, max: 4 }), indirect: fc.boolean() }),
    fc.record({ op: fc.constant('pop' as const) }),
    fc.record({ op: fc.constant('push' as const), which: fc.nat(), written: fc.nat(3) }),
    fc.record({ op: fc.constant('flush' as const) }),
    fc.record({ op: fc.constant('take' as const) }),
  );

  it.each([
    { packed: true, inOrder: false },
    { packed: true, inOrder: true },
    { packed: false, inOrder: false },
    { packed: false, inOrder: true },
  ])('exchange each buffer once, packed $packed, in order $inOrder', ({ packed, inOrder }) => {
    fc.assert(
      fc.property(
        packed ? fc.integer({ min: 1, max: 9 }) : fc.constantFrom(1, 2, 4, 8),
        fc.array(operation, { maxLength: 80 }),
        (size, operations) => {
          allocator.reset();
          const { driver, device } = makeQueue({ size, packed, inOrder });
          const added: number[] = [];
          const held: DescriptorChain[] = [];
          /** What was pushed, in the order in which the driver is to see it, and how much of it. */
          const lengths = new Map<number, number>();
          const pushed: number[] = [];
          const order: number[] = [];
          let seen = 0;
          let visible = 0;
          for (const step of operations) {
            if (step.op === 'add') {
              const slots = step.indirect ? 1 : step.parts;
              if (driver.freeDescriptors < slots) continue;
              const buffers = Array.from({ length: step.parts }, () => buffer(1, true));
              added.push(step.indirect ? driver.addIndirect(buffers) : driver.add(buffers));
            } else if (step.op === 'pop') {
              const chain = device.pop();
              expect(chain?.head).toBe(added.shift());
              if (!chain) continue;
              held.push(chain);
              order.push(chain.head);
            } else if (step.op === 'push') {
              if (held.length === 0) continue;
              const [chain] = held.splice(step.which % held.length, 1);
              const written = Math.min(step.written, chain.writable.length);
              lengths.set(chain.head, written);
              pushed.push(chain.head);
              device.push(chain, written);
            } else if (step.op === 'flush') {
              device.flush();
              visible = pushed.length;
              while (inOrder && visible > 0 && !order.slice(0, visible).every((id) => pushed.includes(id))) visible--;
              if (inOrder) visible = order.findIndex((id, i) => i >= visible || !lengths.has(id));
              if (visible < 0) visible = order.length;
            } else {
              const used = driver.takeUsed();
              const expected = seen < visible ? (inOrder ? order : pushed)[seen++] : undefined;
              expect(used?.id).toBe(expected);
              if (!used) continue;
              expect(used.length).toBe(lengths.get(used.id));
              lengths.delete(used.id);
              // Ids are used again: what is done is forgotten.
              if (inOrder) order.shift();
              pushed.splice(pushed.indexOf(used.id), 1);
              seen--;
              visible--;
            }
          }
        },
      ),
      { seed: 20_250_301, numRuns: 2000, interruptAfterTimeLimit: 10_000, markInterruptAsFailure: false },
    );
  });
});

describe('in-order use (2.7.9, 2.8.8)', () => {
  it.each([true, false])('marks a run of wholly used buffers with one entry, packed %s', (packed) => {
    const { driver, device } = makeQueue({ packed, inOrder: true });
    const ids = [4, 4, 4, 4].map((length) => driver.add([buffer(length, true)]));
    const chains = ids.map(() => popped(device));
    for (const i of [3, 1, 2]) device.push(chains[i], i === 1 ? 2 : 4);
    device.flush();
    expect(driver.takeUsed()).toBeNull();
    expect(interrupts).toBe(0);
    device.push(chains[0], 4);
    device.flush();
    expect(interrupts).toBe(1);
    // The second was not filled: it ends a run, and its length is told.
    const ring = driver.areas[packed ? 'descriptorArea' : 'deviceArea'];
    const entry = (i: number) => (packed ? memory.readU16(ring + 16 * i + 12) : memory.readU32(ring + 4 + 8 * i));
    expect([entry(0), entry(2)]).toEqual([ids[1], ids[3]]);
    const lengths = [4, 2, 4, 4];
    for (const [i, id] of ids.entries()) expect(driver.takeUsed()).toEqual({ id, length: lengths[i] });
    expect(device.inFlight).toBe(0);
  });
});

describe('used buffer notifications (2.8.10)', () => {
  it('are sent once a batch, and not when the driver says so', () => {
    const { driver, device } = packedQueue();
    for (let i = 0; i < 3; i++) driver.add([buffer()]);
    for (let i = 0; i < 3; i++) device.push(popped(device), 0);
    device.flush();
    device.flush();
    expect(interrupts).toBe(1);
    driver.suppressInterrupts(true);
    driver.add([buffer()]);
    serve(device);
    expect(interrupts).toBe(1);
    expect(stats()).toMatchObject({ popped: 4, used: 4, interrupts: 1, suppressed: 1 });
    expect(stats()).toMatchObject({ usedIdx: PACKED_START + 4, lastAvailIdx: PACKED_START + 4 });
  });

  it('are sent for reserved flags, and for an event that was not negotiated', () => {
    const { driver, device } = packedQueue();
    for (const flags of [2, 3, 0xfffc]) {
      memory.writeU16(driver.areas.driverArea + PVIRTQ_EVENT_FLAGS, flags);
      driver.add([buffer()]);
      serve(device);
    }
    expect(interrupts).toBe(3);
  });

  it('are sent when the descriptor that the driver names is used, in its round', () => {
    const { driver, device } = packedQueue({ size: 3, eventIdx: true });
    const sent: boolean[] = [];
    for (let i = 0; i < 12; i++) {
      // Offset 1 of the second round: the fifth of all.
      driver.setUsedEvent(1);
      driver.add([buffer()]);
      const before = interrupts;
      serve(device);
      driver.takeUsed();
      sent.push(interrupts > before);
    }
    // And each second round from then on.
    expect(sent.map((yes, i) => (yes ? i : -1)).filter((i) => i >= 0)).toEqual([4, 10]);
  });

  it('are those that counting one by one gives', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.nat(40), fc.nat(0xffff), fc.nat(12), (size, from, wild, by) => {
        const event = (wild & PACKED_START) | ((wild & (PACKED_START - 1)) % size);
        const moved = Math.min(by, size);
        let position = PACKED_START;
        for (let i = 0; i < from; i++) position = advance(position, 1, size);
        let expected = false;
        for (let i = 0; i < moved; i++) {
          expected ||= position === event;
          position = advance(position, 1, size);
        }
        expect(passedEvent(event, position, moved, size)).toBe(expected);
      }),
      { seed: 7, numRuns: 5000 },
    );
  });
});

describe('available buffer notifications (2.8.10)', () => {
  it('are wanted when the device waits, and not while it serves', () => {
    const { driver, device } = packedQueue();
    device.disableNotifications();
    driver.add([buffer()]);
    expect(driver.deviceWantsNotification()).toBe(false);
    expect(device.enableNotifications()).toBe(true);
    serve(device);
    expect(device.enableNotifications()).toBe(false);
    driver.add([buffer()]);
    expect(driver.deviceWantsNotification()).toBe(true);
  });

  it('are wanted for the next descriptor only, with event indices', () => {
    const { driver, device } = packedQueue({ size: 3, eventIdx: true });
    for (let i = 0; i < 7; i++) {
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

describe('what a driver must not do', () => {
  const good = () => ({ ...buffer(), flags: 0 });
  type Bad = [QueueFaultKind, string, (driver: MockPackedQueue) => void, Options?];
  const table = () => allocator.alloc(32);
  it.each<Bad>([
    ['zero-length', 'descriptor 0 has length 0', (d) => d.offerDescriptors([{ ...good(), length: 0 }], 0)],
    ['outside-ram', 'not in guest RAM', (d) => d.offerDescriptors([{ ...good(), address: 0x1000 }], 0)],
    ['outside-ram', 'not in guest RAM', (d) => d.offerDescriptors([{ ...good(), length: 0xffff_ffff }], 0)],
    [
      'bad-order',
      'device-readable buffer after',
      (d) => d.offerDescriptors([{ ...good(), flags: VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT }, good()], 0),
    ],
    [
      'partial-chain',
      'goes on at 1, which is not available',
      (d) => d.offerDescriptors([{ ...good(), flags: VIRTQ_DESC_F_NEXT }], 0),
    ],
    [
      'loop',
      'more than 8 descriptors',
      (d) =>
        d.offerDescriptors(
          Array.from({ length: 8 }, () => ({ ...good(), flags: VIRTQ_DESC_F_NEXT })),
          0,
        ),
    ],
    [
      'indirect-not-negotiated',
      'without the feature',
      (d) => d.offerDescriptors([{ address: table(), length: 32, flags: VIRTQ_DESC_F_INDIRECT }], 0),
      { indirect: false },
    ],
    [
      'indirect-and-next',
      'in a list',
      (d) =>
        d.offerDescriptors(
          [{ address: table(), length: 32, flags: VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_NEXT }, good()],
          0,
        ),
    ],
    [
      'indirect-and-next',
      'in a list',
      (d) =>
        d.offerDescriptors(
          [
            { ...good(), flags: VIRTQ_DESC_F_NEXT },
            { address: table(), length: 32, flags: VIRTQ_DESC_F_INDIRECT },
          ],
          0,
        ),
    ],
    [
      'bad-indirect-table',
      'of 24 bytes',
      (d) => d.offerDescriptors([{ address: table(), length: 24, flags: VIRTQ_DESC_F_INDIRECT }], 0),
    ],
    [
      'outside-ram',
      'indirect table',
      (d) => d.offerDescriptors([{ address: memory.end - 16, length: 32, flags: VIRTQ_DESC_F_INDIRECT }], 0),
    ],
  ])('%s: %s', (kind, message, offend, options) => {
    const { driver, device } = packedQueue(options);
    offend(driver);
    expect(() => device.pop()).toThrow(expect.objectContaining({ kind, message: expect.stringContaining(message) }));
  });

  it('too-many-in-flight: makes descriptors available that the device has', () => {
    const { driver, device } = packedQueue({ size: 2 });
    driver.offerDescriptors([good(), good()], 0);
    popped(device);
    popped(device);
    driver.offerDescriptors([good()], 0);
    expect(() => device.pop()).toThrow(expect.objectContaining({ kind: 'too-many-in-flight' }));
  });
});
