/**
 * Every device type over every transport and ring format, driven by the harness's own driver: real work, then the same
 * after a reset of the device and of each queue. What a device does is said in exercises/<device>.ts.
 */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import type { VirtioDevice } from '../../core/virtio/device.ts';
import { VIRTIO_DEVICE_TYPES } from '../../core/virtio/device-types.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  hasFeature,
} from '../../core/virtio/spec/features.ts';
import { STATUS_DEVICE_NEEDS_RESET } from '../../core/virtio/spec/status.ts';
import { PciBench } from '../harness/pci-bench.ts';
import { VirtioBench } from '../harness/virtio-bench.ts';
import type { VirtioDriver } from '../harness/virtio-driver.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import { EXERCISES } from './exercises/index.ts';

const ALL_RINGS = { packed: true, inOrder: true, notificationData: true };
const ALL_RING_FEATURES = ringFeatureBits(ALL_RINGS);

const options = { regionMib: 2, ...(whyNoAddon ? {} : { host: hostSpec }) };
const mmio = new VirtioBench(options);
const pci = new PciBench(options);
afterEach(() => Promise.all([mmio.clear(), pci.clear()]));
afterAll(() => Promise.all([mmio.close(), pci.close()]));

interface TransportChoice {
  transport: string;
  /** By the legacy interface. */
  legacy: boolean;
  bench: VirtioBench | PciBench;
  attach(device: VirtioDevice): Promise<VirtioDriver>;
  /** Interrupts so far. */
  interrupts(driver: VirtioDriver): number;
}

function overMmio(legacy: boolean): TransportChoice {
  return {
    transport: legacy ? 'mmio legacy' : 'mmio modern',
    legacy,
    bench: mmio,
    attach: (device) => mmio.attach(device, { legacy, ringFeatures: ALL_RING_FEATURES }),
    interrupts: ({ irq }) => mmio.irq.edges(irq),
  };
}

function overPci(
  transport: string,
  interfaces: { modern: boolean; legacy: boolean },
  driver: { interface: 'modern' | 'legacy'; interrupts: 'intx' | 'msix' },
): TransportChoice {
  return {
    transport,
    legacy: driver.interface === 'legacy',
    bench: pci,
    attach: (device) => pci.attach(device, { ...interfaces, ring: ALL_RINGS }, driver),
    interrupts: ({ irq }) => (driver.interrupts === 'intx' ? pci.irq.edges(irq) : pci.irq.messages),
  };
}

const transports = [
  overMmio(true),
  overMmio(false),
  overPci('pci legacy, INTx', { modern: false, legacy: true }, { interface: 'legacy', interrupts: 'intx' }),
  overPci('pci transitional, MSI-X', { modern: true, legacy: true }, { interface: 'legacy', interrupts: 'msix' }),
  overPci('pci modern, INTx', { modern: true, legacy: false }, { interface: 'modern', interrupts: 'intx' }),
  overPci('pci modern, MSI-X', { modern: true, legacy: false }, { interface: 'modern', interrupts: 'msix' }),
];

/** What the driver does not accept of the rings' features, by what is left. */
const OPTIONAL = [
  { name: 'packed', bits: [VIRTIO_F_RING_PACKED] },
  { name: 'indirect', bits: [VIRTIO_F_INDIRECT_DESC] },
  { name: 'event index', bits: [VIRTIO_F_EVENT_IDX] },
  { name: 'in order', bits: [VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA] },
];

interface Rings {
  rings: string;
  without: number[];
  indirect: boolean;
}

function ringChoices(legacy: boolean): Rings[] {
  const choices = OPTIONAL.filter(({ name }) => !legacy || name === 'indirect' || name === 'event index');
  return Array.from({ length: 2 ** choices.length }, (_, set) => {
    const taken = choices.filter((_choice, i) => (set >> i) & 1);
    const left = choices.filter((choice) => !taken.includes(choice));
    const format = taken.some(({ name }) => name === 'packed') ? [] : ['split'];
    return {
      rings: [...format, ...taken.map(({ name }) => name)].join(', '),
      without: left.flatMap(({ bits }) => bits),
      indirect: taken.some(({ name }) => name === 'indirect'),
    };
  });
}

it('has an exercise for each device type', () => {
  const exercised = EXERCISES.map(({ base }) => base);
  expect(VIRTIO_DEVICE_TYPES.map(({ base }) => base).filter((base) => !exercised.includes(base))).toEqual([]);
});

describe.each(EXERCISES.filter(({ addon }) => !addon || !whyNoAddon))('$base', ({ make, legacy: hasLegacy = true }) => {
  describe.each(transports.filter(({ legacy }) => hasLegacy || !legacy))('over $transport', (transport) => {
    const { legacy, bench } = transport;
    it.each(ringChoices(legacy))('works with rings $rings', async ({ without, indirect }) => {
      const { device, work, close } = await make(bench);
      const driver = await transport.attach(device);
      driver.indirect = indirect;
      // Not a power of 2 where that may be.
      const queueSize = legacy || without.includes(VIRTIO_F_RING_PACKED) ? 16 : 13;
      const check = async () => {
        const interrupts = transport.interrupts(driver);
        const mark = bench.allocator.mark;
        await work(driver);
        bench.allocator.reset(mark);
        expect((await driver.status()) & STATUS_DEVICE_NEEDS_RESET).toBe(0);
        expect(bench.snapshot()[0].error).toBeNull();
        expect(transport.interrupts(driver)).toBeGreaterThan(interrupts);
        await driver.handleInterrupt();
      };
      for (const _ of ['first', 'after a reset']) {
        bench.allocator.reset();
        await driver.init({ without, queueSize });
        expect(without.filter((bit) => hasFeature(driver.features, bit))).toEqual([]);
        await check();
      }
      if (hasFeature(driver.features, VIRTIO_F_RING_RESET)) {
        for (const { index } of driver.queues) await driver.resetQueue(index, queueSize);
        await check();
      }
      const [{ queues }] = bench.snapshot();
      for (const { counters, error } of queues.slice(0, 2)) {
        expect(error).toBeNull();
        expect(counters.popped).toBeGreaterThan(0);
        expect(counters.used).toBeLessThanOrEqual(counters.popped);
      }
      await bench.clear();
      await close?.();
      expect(bench.crashes).toEqual([]);
    });
  });
});
