/**
 * Every device type over every transport and ring format, driven by the harness's own driver: real work, then the same
 * after a reset of the device and of each queue. What a device does is said in exercises/<device>.ts.
 */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

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
import { VirtioBench } from '../harness/virtio-bench.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import { EXERCISES } from './exercises/index.ts';

const ALL_RING_FEATURES = ringFeatureBits({ packed: true, inOrder: true, notificationData: true });

const bench = new VirtioBench({ regionMib: 2, ...(whyNoAddon ? {} : { host: hostSpec }) });
afterEach(() => bench.clear());
afterAll(() => bench.close());

const transports = [
  { transport: 'mmio legacy', legacy: true },
  { transport: 'mmio modern', legacy: false },
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
  describe.each(transports.filter(({ legacy }) => hasLegacy || !legacy))('over $transport', ({ legacy }) => {
    it.each(ringChoices(legacy))('works with rings $rings', async ({ without, indirect }) => {
      const { device, work, close } = await make(bench);
      const driver = await bench.attach(device, { legacy, ringFeatures: ALL_RING_FEATURES });
      driver.indirect = indirect;
      // Not a power of 2 where that may be.
      const queueSize = legacy || without.includes(VIRTIO_F_RING_PACKED) ? 16 : 13;
      const check = async () => {
        const edges = bench.irq.edges(driver.irq);
        const mark = bench.allocator.mark;
        await work(driver);
        bench.allocator.reset(mark);
        expect((await driver.status()) & STATUS_DEVICE_NEEDS_RESET).toBe(0);
        expect(bench.bus.snapshot()[0].error).toBeNull();
        expect(bench.irq.edges(driver.irq)).toBeGreaterThan(edges);
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
      const [{ queues }] = bench.bus.snapshot();
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
