/** Drivers that do anything at all. Seeded: a failure prints the seed and the smallest counterexample. */
import { Worker } from 'node:worker_threads';

import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { Chardev } from '../../core/chardev/chardev.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { ConsoleDevice } from '../../core/virtio/console/device.ts';
import type { VirtioDevice } from '../../core/virtio/device.ts';
import { CHAIN_MAX } from '../../core/virtio/queue/descriptor-chain.ts';
import type { DescriptorChain } from '../../core/virtio/queue/descriptor-chain.ts';
import { QueueFault } from '../../core/virtio/queue/queue-fault.ts';
import { createRunningQueue } from '../../core/virtio/queue/create-queue.ts';
import { startPosition } from '../../core/virtio/queue/running-queue.ts';
import { SplitQueue } from '../../core/virtio/queue/split-queue.ts';
import { RngDevice } from '../../core/virtio/rng/device.ts';
import { VIRTIO_BLK_S_OK } from '../../core/virtio/spec/blk.ts';
import { MMIO_CONFIG, MMIO_SIZE, MMIO_STATUS } from '../../core/virtio/spec/mmio.ts';
import { PVIRTQ_DESC_F_AVAIL } from '../../core/virtio/spec/packed-ring.ts';
import {
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
  availRingBytes,
  usedRingBytes,
} from '../../core/virtio/spec/split-ring.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { GuestAllocator, makeGuest } from '../harness/guest.ts';
import { MockDriver } from '../harness/mock-driver.ts';
import type { Descriptor } from '../harness/mock-queue.ts';
import type { ScribblerData } from '../harness/ring-scribbler.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const SEED = 20_240_611;
const SIZE = 8;
const RAM = 1 << 20;

const memory = makeGuest(1);
const allocator = new GuestAllocator(memory);

/** Where a buffer may be: mostly in RAM, around its ends, or anywhere in 64 bits. */
const address = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: RAM_BASE, max: RAM_BASE + RAM - 1 }).map(BigInt) },
  { weight: 2, arbitrary: fc.integer({ min: -64, max: 64 }).map((by) => BigInt(RAM_BASE + RAM + by)) },
  { weight: 1, arbitrary: fc.integer({ min: -64, max: 64 }).map((by) => BigInt(RAM_BASE + by)) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
);
const length = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 1, max: 4096 }) },
  { weight: 2, arbitrary: fc.constantFrom(16, 32, 48, 64, 128) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
);
const flags = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(0, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT),
  },
  { weight: 2, arbitrary: fc.constantFrom(VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_NEXT) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff }) },
);
const descriptor = fc.record({
  address,
  length,
  flags,
  next: fc.oneof({ weight: 8, arbitrary: fc.nat(SIZE) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
});
type WildDescriptor = Omit<Descriptor, 'address'> & { address: bigint };

function writeDescriptor(table: number, index: number, { address, length, flags, next }: WildDescriptor): void {
  const at = table + index * VIRTQ_DESC_SIZE;
  memory.writeU64(at, address);
  memory.writeU32(at + 8, length);
  memory.writeU16(at + 12, flags);
  memory.writeU16(at + 14, next);
}

interface Reference {
  readable: [bigint, number][];
  writable: [bigint, number][];
}

/** The rules of sections 2.7.4 and 2.7.5, written once more and slowly; null for a chain that breaks one. */
function referenceParse(table: number, head: number): Reference | null {
  const result: Reference = { readable: [], writable: [] };
  const inRam = (at: bigint, bytes: number) => at >= BigInt(RAM_BASE) && at + BigInt(bytes) <= BigInt(RAM_BASE + RAM);
  let [entries, index, indirect, seen, total] = [SIZE, head, false, 0, 0];
  for (;;) {
    if (index >= entries || ++seen > entries) return null;
    const at = table + index * VIRTQ_DESC_SIZE;
    const [where, bytes, flags] = [memory.readU64(at), memory.readU32(at + 8), memory.readU16(at + 12)];
    if (bytes === 0 || !inRam(where, bytes)) return null;
    if (flags & VIRTQ_DESC_F_INDIRECT) {
      if (indirect || flags & VIRTQ_DESC_F_NEXT || bytes % VIRTQ_DESC_SIZE !== 0) return null;
      [table, entries, index, indirect, seen] = [Number(where), bytes / VIRTQ_DESC_SIZE, 0, true, 0];
      continue;
    }
    total += bytes;
    if (total > 2 ** 32 || result.readable.length + result.writable.length === CHAIN_MAX) return null;
    if (flags & VIRTQ_DESC_F_WRITE) result.writable.push([where, bytes]);
    else if (result.writable.length > 0) return null;
    else result.readable.push([where, bytes]);
    if (!(flags & VIRTQ_DESC_F_NEXT)) return result;
    index = memory.readU16(at + 14);
  }
}

/**
 * Takes chains for a second while another thread rewrites words of the ring: each that is taken lies in RAM, and its length is that of
 * its parts.
 */
async function tornReads(
  words: ScribblerData['words'],
  { take, taken }: { take(): DescriptorChain | null; taken(chain: DescriptorChain): void },
): Promise<void> {
  const control = new SharedArrayBuffer(8);
  const data: ScribblerData = { guest: memory.handle, control, words };
  const worker = new Worker(new URL('../harness/ring-scribbler.ts', import.meta.url), { workerData: data });
  const rounds = new Int32Array(control);
  await until(() => Atomics.load(rounds, 1) > 0);
  const [low, high] = [memory.linear(RAM_BASE, 0), memory.linear(RAM_BASE, 0) + RAM];
  let [good, refused] = [0, 0];
  const [end, limit] = [performance.now() + 1000, performance.now() + 50_000];
  // On a busy host the other thread's turn may be long in coming.
  while (performance.now() < end || ((good <= 100 || refused <= 100) && performance.now() < limit)) {
    try {
      const chain = take();
      if (!chain) continue;
      for (const part of [chain.readable, chain.writable]) {
        const views = part.length > 0 ? part.views(0, part.length) : [];
        expect(views.reduce((sum, view) => sum + view.length, 0)).toBe(part.length);
        for (const view of views) {
          if (view.byteOffset < low || view.byteOffset + view.length > high) throw new Error('a buffer outside RAM');
        }
        for (const { address, length } of part.ranges()) {
          if (length === 0 || !memory.contains(address, length)) throw new Error('a buffer outside RAM');
        }
      }
      taken(chain);
      good++;
    } catch (error) {
      if (!(error instanceof QueueFault)) throw error;
      refused++;
    }
  }
  Atomics.store(rounds, 0, 1);
  await worker.terminate();
  expect(good).toBeGreaterThan(100);
  expect(refused).toBeGreaterThan(100);
}

describe('a split queue', () => {
  function makeQueue() {
    const areas = {
      descriptorArea: allocator.alloc(SIZE * VIRTQ_DESC_SIZE),
      driverArea: allocator.alloc(availRingBytes(SIZE), 2),
      deviceArea: allocator.alloc(usedRingBytes(SIZE), 4),
    };
    const config = {
      index: 0,
      size: SIZE,
      ...areas,
      packed: false,
      indirect: true,
      eventIdx: true,
      inOrder: false,
      notifyOnEmpty: false,
      doorbell: 0,
    };
    const queue = new SplitQueue({
      memory,
      slot: 0,
      config: { ...config, position: { availIdx: 0, usedIdx: 0 } },
      interrupt: () => {},
    });
    return { areas, queue };
  }

  it('takes a chain exactly when it keeps the rules, and then as it is', () => {
    let valid = 0;
    fc.assert(
      fc.property(
        fc.array(descriptor, { minLength: SIZE, maxLength: SIZE }),
        fc.array(descriptor, { minLength: 4, maxLength: 4 }),
        fc.nat({ max: SIZE - 1 }),
        fc.boolean(),
        (direct, table, head, useTable) => {
          allocator.reset();
          const { areas, queue } = makeQueue();
          const indirectTable = allocator.alloc(4 * VIRTQ_DESC_SIZE);
          for (const [i, entry] of direct.entries()) writeDescriptor(areas.descriptorArea, i, entry);
          for (const [i, entry] of table.entries()) {
            writeDescriptor(indirectTable, i, { ...entry, next: entry.next % 5 });
          }
          if (useTable) {
            writeDescriptor(areas.descriptorArea, head, {
              address: BigInt(indirectTable),
              length: 4 * VIRTQ_DESC_SIZE,
              flags: VIRTQ_DESC_F_INDIRECT,
              next: 0,
            });
          }
          memory.writeU16(areas.driverArea + 4, head);
          memory.storeU16(areas.driverArea + 2, 1);
          const expected = referenceParse(areas.descriptorArea, head);
          if (!expected) {
            expect(() => queue.pop()).toThrow(QueueFault);
            return;
          }
          valid++;
          const chain = queue.pop();
          for (const part of ['readable', 'writable'] as const) {
            const segments = chain![part];
            expect(segments.count).toBe(expected[part].length);
            // Views end where descriptors end.
            const views = segments.length > RAM ? [] : segments.views(0, segments.length);
            expect(views.map((view) => [BigInt(view.byteOffset), view.length])).toEqual(
              segments.length > RAM
                ? []
                : expected[part].map(([at, bytes]) => [BigInt(memory.linear(Number(at), bytes)), bytes]),
            );
          }
        },
      ),
      { seed: SEED, numRuns: 5000, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: false },
    );
    // Else the property would say little.
    expect(valid).toBeGreaterThan(200);
  });

  it('survives rings of noise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 512, maxLength: 512 }), (noise) => {
        allocator.reset();
        const { areas, queue } = makeQueue();
        memory.write(areas.descriptorArea, noise);
        try {
          for (let chain = queue.pop(); chain; chain = queue.pop()) {
            queue.push(chain, 1);
            queue.flush();
          }
        } catch (error) {
          expect(error).toBeInstanceOf(QueueFault);
        }
      }),
      { seed: SEED, numRuns: 3000, interruptAfterTimeLimit: 10_000, markInterruptAsFailure: false },
    );
  });

  it('reads each value once: buffers are inside RAM though descriptors change under its eyes', async () => {
    allocator.reset();
    const { areas, queue } = makeQueue();
    const table = allocator.alloc(2 * VIRTQ_DESC_SIZE);
    const word = (at: number, ...values: number[]) => ({ address: at, values });
    const flagsAndNext = (flags: number, next: number) => flags | (next << 16);
    const words = [
      word(areas.descriptorArea, RAM_BASE, 0, table, RAM_BASE + RAM - 4),
      word(areas.descriptorArea + 4, 0, 0, 0, 0, 0xffff_ffff),
      word(areas.descriptorArea + 8, 16, 0xffff_ffff, 32, 0, 8),
      word(
        areas.descriptorArea + 12,
        flagsAndNext(VIRTQ_DESC_F_NEXT, 1),
        flagsAndNext(VIRTQ_DESC_F_INDIRECT, 0),
        flagsAndNext(VIRTQ_DESC_F_WRITE, 0xffff),
        flagsAndNext(VIRTQ_DESC_F_NEXT, 0xffff),
      ),
      word(areas.descriptorArea + 16, RAM_BASE, 0x100000),
      word(areas.descriptorArea + 24, 64, 0x7fff_ffff),
      word(table, RAM_BASE + 4096, 16),
      word(table + 8, 512, 0xffff_fff0),
      word(table + 12, 0, flagsAndNext(VIRTQ_DESC_F_NEXT, 1), flagsAndNext(VIRTQ_DESC_F_NEXT, 2)),
    ];
    let idx = 1;
    await tornReads(words, {
      take() {
        memory.writeU16(areas.driverArea + 4 + 2 * ((idx - 1) & (SIZE - 1)), 0);
        memory.storeU16(areas.driverArea + 2, idx & 0xffff);
        return queue.pop()!;
      },
      taken(chain) {
        queue.push(chain, 0);
        queue.flush();
        idx++;
      },
    });
  });
});

describe('a packed queue', () => {
  it('reads each value once: buffers are inside RAM though descriptors change under its eyes', async () => {
    allocator.reset();
    const areas = {
      descriptorArea: allocator.alloc(2 * VIRTQ_DESC_SIZE),
      driverArea: allocator.alloc(4),
      deviceArea: allocator.alloc(4),
    };
    const table = allocator.alloc(2 * VIRTQ_DESC_SIZE);
    const idAndFlags = (flags: number) => (7 | ((flags | PVIRTQ_DESC_F_AVAIL) << 16)) >>> 0;
    const word = (at: number, ...values: number[]) => ({ address: at, values });
    const words = [
      word(areas.descriptorArea, RAM_BASE, 0, table, RAM_BASE + RAM - 4),
      word(areas.descriptorArea + 4, 0, 0, 0, 0, 0xffff_ffff),
      word(areas.descriptorArea + 8, 16, 0xffff_ffff, 32, 0, 8),
      word(
        areas.descriptorArea + 12,
        idAndFlags(0),
        idAndFlags(VIRTQ_DESC_F_NEXT),
        idAndFlags(VIRTQ_DESC_F_INDIRECT),
        idAndFlags(VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT),
        0,
      ),
      word(areas.descriptorArea + 16, RAM_BASE, 0x100000),
      word(areas.descriptorArea + 24, 64, 0x7fff_ffff),
      word(areas.descriptorArea + 28, idAndFlags(VIRTQ_DESC_F_WRITE), idAndFlags(VIRTQ_DESC_F_NEXT), 0),
      word(table, RAM_BASE + 4096, 16),
      word(table + 8, 512, 0xffff_fff0),
      word(table + 16, RAM_BASE),
      word(table + 24, 64, 0),
    ];
    const features = { packed: true, indirect: true, eventIdx: false, inOrder: false, notifyOnEmpty: false };
    const queueAt = { index: 0, size: 2, ...areas, ...features, position: startPosition(true), doorbell: 0 };
    await tornReads(words, {
      // A queue of its own for each: it is at the start of the ring.
      take: () => createRunningQueue({ memory, slot: 0, config: queueAt, interrupt: () => {} }).pop(),
      taken: ({ head }) => expect(head).toBe(7),
    });
  });
});

describe.each(['modern', 'legacy'] as const)('a device on a real I/O worker, %s', (version) => {
  const bench = new VirtioBench({ mib: 1, legacy: version === 'legacy' });
  afterEach(() => bench.clear());
  afterAll(() => bench.close());

  const disk = FakeDisk.create();
  const devices: [string, () => VirtioDevice][] = [
    ['virtio-blk', () => new BlkDevice({ id: 'drive0', disk, werror: 'report' })],
    [
      'virtio-console',
      () => {
        const device = new ConsoleDevice({ id: 'console0', maxPorts: 3 });
        for (const [index, isConsole] of [true, false].entries()) {
          void device.addPort({ isConsole, chardev: new Chardev({ memory: bench.memory.memory, index: index + 1 }) });
        }
        return device;
      },
    ],
    ['virtio-rng', () => new RngDevice({ id: 'rng0' })],
  ];

  it.each(devices)('%s survives noise in its queues, and works again after a reset', async (_type, make) => {
    const driver = await bench.attach(make());
    await fc.assert(
      fc.asyncProperty(
        fc.array(descriptor, { minLength: SIZE, maxLength: SIZE }),
        fc.array(fc.nat(SIZE), { minLength: 1, maxLength: SIZE }),
        fc.nat(3),
        async (descriptors, heads, extra) => {
          bench.allocator.reset();
          await driver.init({ queueSize: SIZE });
          for (const queue of driver.queues) {
            for (const [i, { address: at, ...rest }] of descriptors.entries()) {
              queue.writeDescriptor(queue.areas.descriptorArea, i, {
                address: Number(at & 0xffff_ffff_ffffn),
                ...rest,
              });
            }
            for (const head of heads) queue.offer(head);
            if (extra === 3) queue.setAvailIdx(queue.availIdx + 1000);
            await driver.notify(queue.index);
          }
        },
      ),
      { seed: SEED, numRuns: 150, interruptAfterTimeLimit: 5000, markInterruptAsFailure: false },
    );
    expect(bench.crashes).toEqual([]);
    bench.allocator.reset();
    await driver.init({ queueSize: SIZE });
    expect((await driver.status()) & 0x40).toBe(0);
    if (driver.queues.length > 1) return;
    if ((await driver.read(8)) === 2) {
      expect((await new BlkDriver(driver, bench.allocator).read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
    } else {
      const at = bench.allocator.alloc(16);
      expect((await driver.submit(driver.queues[0], [{ address: at, length: 16, writable: true }])).length).toBe(16);
    }
  });

  it.each(devices)('%s survives any sequence of register accesses', async (_type, make) => {
    const driver = await bench.attach(make());
    const value = fc.oneof(
      fc.constantFrom(0, 1, 2, 3, 4, 8, 11, 15, 64, 128, RAM_BASE, RAM_BASE / 4096, 4096, 0xffff_ffff),
      fc.nat(0xffff_ffff),
    );
    const access = fc.record({
      offset: fc.oneof(
        { weight: 6, arbitrary: fc.nat(MMIO_CONFIG / 4 - 1).map((word) => word * 4) },
        { weight: 1, arbitrary: fc.nat(MMIO_SIZE - 1) },
        { weight: 2, arbitrary: fc.constant(MMIO_STATUS) },
      ),
      size: fc.oneof({ weight: 6, arbitrary: fc.constant(4) }, { weight: 1, arbitrary: fc.constantFrom(1, 2) }),
      write: fc.boolean(),
      value,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(access, { maxLength: 40 }), async (accesses) => {
        for (const { offset, size, write, value } of accesses) {
          const at = offset - (offset % size);
          // Not waited for by turns: several harts may be at it.
          if (write) void driver.write(at, value, size);
          else expect(await driver.read(at, size)).toBeLessThan(2 ** (8 * size));
        }
        for (const snapshot of bench.bus.snapshot()) expect(snapshot.queues.length).toBeGreaterThan(0);
      }),
      { seed: SEED, numRuns: 300, interruptAfterTimeLimit: 5000, markInterruptAsFailure: false },
    );
    expect(bench.crashes).toEqual([]);
    bench.allocator.reset();
    await driver.init({ queueSize: SIZE });
    expect((await driver.status()) & 0x40).toBe(0);
  });

  it('has a worker that goes on while a driver keeps a queue full', async () => {
    const greedy = await (await bench.attach(new RngDevice({ id: 'rng0' }))).init({ queueSize: 1024 });
    const [queue] = greedy.queues;
    const at = bench.allocator.alloc(16);
    const other = new MockDriver(bench, await bench.bus.attach(new BlkDevice({ id: 'drive0', disk })));
    await other.init({ queueSize: SIZE });
    for (let i = 0; i < 1024; i++) queue.add([{ address: at, length: 16, writable: true }]);
    await greedy.notify(0);
    expect((await new BlkDriver(other, bench.allocator).read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
  });
});
