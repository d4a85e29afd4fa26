/**
 * Every device type against each rule of the rings that a driver can break, on its transports: the device says that it needs
 * a reset, the log says why, and after the reset it does its work. What a device does is said in exercises/<device>.ts.
 */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import type { VirtioDevice } from '../../core/virtio/device.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import { VIRTIO_F_RING_PACKED } from '../../core/virtio/spec/features.ts';
import {
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
} from '../../core/virtio/spec/split-ring.ts';
import { STATUS_DEVICE_NEEDS_RESET } from '../../core/virtio/spec/status.ts';
import type { GuestAllocator } from '../harness/guest.ts';
import { MockPackedQueue } from '../harness/mock-packed-queue.ts';
import type { MockQueue } from '../harness/mock-queue.ts';
import { PciBench } from '../harness/pci-bench.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';
import type { VirtioDriver } from '../harness/virtio-driver.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import { EXERCISES } from './exercises/index.ts';

const QUEUE_SIZE = 8;
/** Milliseconds until a device notices, on a host that is very busy. */
const LIMIT = 60_000;
const TIMEOUT = 300_000;

interface Descriptor {
  address: number;
  length: number;
  flags?: number;
  /** Split rings; by default the one behind it. */
  next?: number;
}

/** Makes descriptors available from the first one on, whatever they are. */
function offer(queue: MockQueue, descriptors: readonly Descriptor[]): void {
  const whole = descriptors.map((descriptor, i) => ({ flags: 0, next: i + 1, ...descriptor }));
  if (queue instanceof MockPackedQueue) return queue.offerDescriptors(whole, 0);
  for (const [i, descriptor] of whole.entries()) queue.writeDescriptor(queue.areas.descriptorArea, i, descriptor);
  queue.offer(0);
}

interface Offence {
  rule: string;
  /** Of rings of one format only. */
  only?: 'split' | 'packed';
  /** @param good address of 64 bytes of RAM */
  commit(queue: MockQueue, good: number, allocator: GuestAllocator): void;
}

const [NEXT, WRITE, INDIRECT] = [VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VIRTQ_DESC_F_INDIRECT];
const OFFENCES: readonly Offence[] = [
  {
    rule: 'a buffer that ends behind guest memory',
    commit: (queue, _good, { memory }) => offer(queue, [{ address: RAM_BASE + memory.size - 8, length: 16 }]),
  },
  { rule: 'a buffer at 2^63', commit: (queue) => offer(queue, [{ address: 2 ** 63, length: 16 }]) },
  { rule: 'a buffer of no bytes', commit: (queue, address) => offer(queue, [{ address, length: 0 }]) },
  {
    rule: 'a readable buffer behind a writable one',
    commit: (queue, address) =>
      offer(queue, [
        { address, length: 16, flags: WRITE | NEXT },
        { address, length: 16 },
      ]),
  },
  {
    rule: 'an indirect table of one and a half descriptors',
    commit: (queue, address) => offer(queue, [{ address, length: 24, flags: INDIRECT }]),
  },
  {
    rule: 'an indirect table behind guest memory',
    commit: (queue, _good, { memory }) =>
      offer(queue, [{ address: RAM_BASE + memory.size, length: 32, flags: INDIRECT }]),
  },
  {
    rule: 'an indirect descriptor that goes on',
    commit: (queue, address) =>
      offer(queue, [
        { address, length: 32, flags: INDIRECT | NEXT },
        { address, length: 16 },
      ]),
  },
  {
    rule: 'an indirect table in an indirect table',
    only: 'split',
    commit(queue, address, allocator) {
      const table = allocator.alloc(VIRTQ_DESC_SIZE);
      queue.writeDescriptor(table, 0, { address, length: 32, flags: INDIRECT, next: 0 });
      offer(queue, [{ address: table, length: VIRTQ_DESC_SIZE, flags: INDIRECT }]);
    },
  },
  {
    rule: 'a chain without end',
    only: 'split',
    commit: (queue, address) => offer(queue, [{ address, length: 16, flags: NEXT, next: 0 }]),
  },
  {
    rule: 'a chain that leaves the table',
    only: 'split',
    commit: (queue, address) => offer(queue, [{ address, length: 16, flags: NEXT, next: QUEUE_SIZE }]),
  },
  { rule: 'a head that there is not', only: 'split', commit: (queue) => queue.offer(QUEUE_SIZE) },
  {
    rule: 'more available buffers than the ring has',
    only: 'split',
    commit: (queue) => queue.setAvailIdx(queue.availIdx + QUEUE_SIZE + 1),
  },
  {
    rule: 'a list of which only the beginning is available',
    only: 'packed',
    commit: (queue, address) => offer(queue, [{ address, length: 16, flags: NEXT }]),
  },
];

const options = { regionMib: 2, ...(whyNoAddon ? {} : { host: hostSpec }) };
const mmio = new VirtioBench(options);
const pci = new PciBench(options);
afterEach(() => Promise.all([mmio.clear(), pci.clear()]));
afterAll(() => Promise.all([mmio.close(), pci.close()]));

const ringFeatures = ringFeatureBits({ packed: true });
interface Setting {
  setting: string;
  format: 'split' | 'packed';
  legacy: boolean;
  bench: VirtioBench | PciBench;
  attach(device: VirtioDevice): Promise<VirtioDriver>;
}
const onMmio = { legacy: false, bench: mmio, attach: (device: VirtioDevice) => mmio.attach(device, { ringFeatures }) };
const onPci = {
  legacy: false,
  bench: pci,
  attach: (device: VirtioDevice) => pci.attach(device, { ring: { packed: true } }, { interrupts: 'msix' }),
};
const SETTINGS: readonly Setting[] = [
  { ...onMmio, setting: 'mmio, split rings', format: 'split' },
  { ...onPci, setting: 'PCI, packed rings', format: 'packed' },
  { ...onPci, setting: 'PCI, split rings', format: 'split' },
  {
    ...onMmio,
    setting: 'mmio legacy',
    format: 'split',
    legacy: true,
    attach: (one) => mmio.attach(one, { legacy: true }),
  },
];

describe.each(EXERCISES.filter(({ addon }) => !addon || !whyNoAddon))('$base', ({ make, legacy: hasLegacy = true }) => {
  it.each(SETTINGS.filter(({ legacy }) => hasLegacy || !legacy))(
    'over $setting says what the driver did, and works again after a reset',
    { timeout: TIMEOUT },
    async ({ bench, attach, format, legacy }) => {
      const { device, work, close } = await make(bench);
      const driver = await attach(device);
      const without = format === 'packed' ? [] : [VIRTIO_F_RING_PACKED];
      for (const { rule, only, commit } of OFFENCES) {
        if (only && only !== format) continue;
        bench.allocator.reset();
        await driver.init({ without, queueSize: QUEUE_SIZE });
        // On all queues: a device does not look into all of them before there is something for the driver.
        for (const queue of driver.queues) {
          commit(queue, bench.allocator.alloc(64), bench.allocator);
          await driver.notify(queue.index);
        }
        await until(() => bench.snapshot()[0].error !== null, `an answer to ${rule}`, LIMIT);
        expect(bench.snapshot()[0].error, rule).toMatch(/\(.*\d/);
        // Only so many a second are logged.
        expect(bench.notes.join('\n')).toMatch(/needs a reset: .*\(.*\d/);
        if (!legacy) expect((await driver.status()) & STATUS_DEVICE_NEEDS_RESET, rule).not.toBe(0);

        bench.allocator.reset();
        await driver.init({ without, queueSize: 16 });
        expect((await driver.status()) & STATUS_DEVICE_NEEDS_RESET).toBe(0);
        await work(driver);
        expect(bench.snapshot()[0].error, `after ${rule}`).toBeNull();
      }
      await bench.clear();
      await close?.();
      expect(bench.crashes).toEqual([]);
    },
  );
});
