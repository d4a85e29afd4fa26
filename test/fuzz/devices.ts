/** Devices on their transport against a driver gone mad: rings, registers and configuration; a second device looks on. */
import { expect } from 'vitest';

import { VIRTIO_PHYS, VIRTIO_SLOT_SIZE } from '../../core/machine/virt-map.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import { RngDevice } from '../../core/virtio/rng/device.ts';
import { VIRTIO_F_RING_PACKED, hasFeature } from '../../core/virtio/spec/features.ts';
import * as reg from '../../core/virtio/spec/mmio.ts';
import { STATUS_DEVICE_NEEDS_RESET } from '../../core/virtio/spec/status.ts';
import { MmioTransport } from '../../core/virtio/transport/mmio.ts';
import { InThreadServer } from '../harness/in-thread-server.ts';
import { MockDriver } from '../harness/mock-driver.ts';
import type { Board } from '../harness/mock-driver.ts';
import type { VirtioBench } from '../harness/virtio-bench.ts';
import { HOST } from '../harness/guest.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import type { Exercise } from '../virtio/exercises/exercise.ts';
import { Random } from './random.ts';
import { WildRing } from './wild-ring.ts';

const VALUES = [0, 1, 2, 3, 4, 8, 11, 15, 64, 128, 4096, RAM_BASE, RAM_BASE / 4096, 0xffff_ffff];
/** Bytes at the end of RAM for the second device; what goes beyond the first one's part ends before. */
const APART = 65536;
/** A turn of the device takes no longer, milliseconds, however busy the host is. */
const TURN_MAX = 5000;

export interface DeviceFuzzResult {
  operations: number;
  /** How often the device said that it needs a reset, and why the last time. */
  offences: number;
  reason: string;
}

export interface DeviceFuzzOptions {
  bench: VirtioBench;
  exercise: Exercise;
  seed: number;
  operations: number;
}

export async function fuzzDevice({ bench, exercise, seed, operations }: DeviceFuzzOptions): Promise<DeviceFuzzResult> {
  const random = new Random(seed);
  const { memory, allocator, irq } = bench;
  const server = new InThreadServer(memory, irq, whyNoAddon ? HOST : hostSpec);
  const { device, close } = await exercise.make(bench);
  const transports = [device, new RngDevice({ id: 'bystander' })].map(
    (plugged, slot) =>
      new MmioTransport({
        memory,
        slot,
        base: VIRTIO_PHYS + slot * VIRTIO_SLOT_SIZE,
        irq: 1 + slot,
        legacy: slot === 0 && exercise.legacy !== false && random.oneIn(3),
        ringFeatures: ringFeatureBits({ packed: random.oneIn(2), inOrder: random.oneIn(2), notificationData: true }),
        device: plugged,
        server,
        sink: irq,
        note: () => {},
        event: () => {},
      }),
  );
  for (const transport of transports) await transport.plug();
  const [wild, calm] = transports;
  const bus = {
    read: (address: number, size: number) => transports[slotOf(address)].read(address % VIRTIO_SLOT_SIZE, size),
    write: (address: number, size: number, value: number) =>
      transports[slotOf(address)].write(address % VIRTIO_SLOT_SIZE, size, value),
  };
  const board = { bus, allocator, irq } as unknown as Board;
  const driver = new MockDriver(board, 0);

  // The bystander's queue and buffer lie where the other one's driver does not write.
  const reach = memory.ramSize - APART;
  allocator.reset(memory.end - APART / 2);
  const bystander = await new MockDriver(board, 1).init({ queueSize: 4 });
  const buffer = allocator.alloc(16);
  const checkBystander = () => {
    bystander.queues[0].add([{ address: buffer, length: 16, writable: true }]);
    void bystander.notify(0);
    server.turn();
    expect(bystander.queues[0].takeUsed()?.length).toBe(16);
    expect(calm.error).toBeNull();
  };

  let done = 0;
  let offences = 0;
  let reason = '';
  while (done < operations) {
    allocator.reset();
    await driver.init({ queueSize: 8 });
    const packed = hasFeature(driver.features, VIRTIO_F_RING_PACKED);
    const rings = driver.queues.map(({ areas, size }) => new WildRing({ memory, random, areas, size, packed, reach }));
    for (let life = 0; life < 500 && done < operations; life++, done++) {
      const choice = random.below(40);
      if (choice < 32) {
        random.of(rings).write();
      } else if (choice < 36) {
        void driver.write(reg.MMIO_QUEUE_NOTIFY, random.oneIn(20) ? random.next() : random.below(rings.length));
        const began = performance.now();
        server.turn();
        expect(performance.now() - began).toBeLessThan(TURN_MAX);
      } else if (choice < 38) {
        await driver.writeConfig(random.below(32) * 4, 4, random.of(VALUES));
        await driver.readConfig(random.below(140), random.of([1, 2, 4]));
      } else if (random.oneIn(10)) {
        const size = random.oneIn(6) ? random.of([1, 2]) : 4;
        const offset = random.below(reg.MMIO_CONFIG / size) * size;
        await driver.write(offset, random.oneIn(2) ? random.of(VALUES) : random.next(), size);
        await driver.read(offset, size);
      }
      if (wild.error !== null) {
        offences++;
        reason = wild.error;
        expect(reason).toMatch(/\(.*\d/);
        break;
      }
    }
    checkBystander();
    await driver.reset();
    expect(wild.status & STATUS_DEVICE_NEEDS_RESET).toBe(0);
  }
  for (const transport of transports) await transport.unplug();
  await close?.();
  return { operations: done, offences, reason };
}

function slotOf(address: number): number {
  return Math.floor((address - VIRTIO_PHYS) / VIRTIO_SLOT_SIZE);
}
