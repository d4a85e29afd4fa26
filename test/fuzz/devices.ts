/** Devices on their transport against a driver gone mad: rings, registers and configuration; a second device looks on. */
import { expect } from 'vitest';

import { RngDevice } from '../../core/virtio/rng/device.ts';
import { VIRTIO_F_RING_PACKED, hasFeature } from '../../core/virtio/spec/features.ts';
import { STATUS_DEVICE_NEEDS_RESET } from '../../core/virtio/spec/status.ts';
import { HOST } from '../harness/guest.ts';
import { InThreadServer } from '../harness/in-thread-server.ts';
import type { VirtioBench } from '../harness/virtio-bench.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import type { Exercise } from '../virtio/exercises/exercise.ts';
import { Random } from './random.ts';
import { VALUES } from './wild-board.ts';
import { wildMmio } from './wild-mmio.ts';
import { wildPci } from './wild-pci.ts';
import { WildRing } from './wild-ring.ts';

/** Bytes at the end of RAM for the second device; what goes beyond the first one's part ends before. */
const APART = 65536;
/** A turn of the device takes no longer, milliseconds, however busy the host is. */
const TURN_MAX = 5000;
const QUEUE_SIZE = 8;
/** Of the queues when the device shows that it still works. */
const WORK_QUEUE_SIZE = 16;

export const TRANSPORTS = { mmio: wildMmio, pci: wildPci };

export interface DeviceFuzzResult {
  operations: number;
  /** How often the device said that it needs a reset, and why the last time. */
  offences: number;
  reason: string;
}

export interface DeviceFuzzOptions {
  bench: VirtioBench;
  exercise: Exercise;
  transport: keyof typeof TRANSPORTS;
  seed: number;
  operations: number;
}

export async function fuzzDevice(options: DeviceFuzzOptions): Promise<DeviceFuzzResult> {
  const { bench, exercise, transport, seed, operations } = options;
  const random = new Random(seed);
  const { memory, allocator, irq } = bench;
  const server = new InThreadServer(memory, irq, whyNoAddon ? HOST : hostSpec);
  const { device, work, close } = await exercise.make(bench);
  const board = await TRANSPORTS[transport]({
    board: bench,
    server,
    random,
    device,
    bystander: new RngDevice({ id: 'bystander' }),
    legacy: exercise.legacy !== false && random.oneIn(3),
    ring: { packed: random.oneIn(2), inOrder: random.oneIn(2), notificationData: true },
  });
  const { driver, calm, transport: wild, calmTransport } = board;

  // The bystander's queue and buffer lie where the other one's driver does not write.
  const reach = memory.ramSize - APART;
  allocator.reset(memory.end - APART / 2);
  await calm.init({ queueSize: 4 });
  const buffer = allocator.alloc(16);
  const checkBystander = async () => {
    calm.queues[0].add([{ address: buffer, length: 16, writable: true }]);
    await calm.notify(0);
    server.turn();
    expect(calm.queues[0].takeUsed()?.length).toBe(16);
    expect(calmTransport.error).toBeNull();
  };

  let done = 0;
  let offences = 0;
  let reason = '';
  while (done < operations) {
    allocator.reset();
    await driver.init({ queueSize: QUEUE_SIZE });
    const packed = hasFeature(driver.features, VIRTIO_F_RING_PACKED);
    const rings = driver.queues.map(({ areas, size }) => new WildRing({ memory, random, areas, size, packed, reach }));
    // Registers gone mad soon leave no queue that runs: so only now and then, or in a life of their own.
    const registers = random.oneIn(5);
    for (let life = 0; life < 500 && done < operations; life++, done++) {
      const choice = random.below(40);
      if (registers && random.oneIn(2)) {
        await board.access();
      } else if (choice < 32) {
        random.of(rings).write();
      } else if (choice < 36) {
        void board.notify(random.oneIn(20) ? random.next() : random.below(rings.length));
        const began = performance.now();
        server.turn();
        expect(performance.now() - began).toBeLessThan(TURN_MAX);
      } else if (choice < 38) {
        await driver.writeConfig(random.below(32) * 4, 4, random.of(VALUES));
        await driver.readConfig(random.below(140), random.of([1, 2, 4]));
      } else if (random.oneIn(10)) {
        await board.access();
      }
      if (wild.error !== null) {
        offences++;
        reason = wild.error;
        expect(reason).toMatch(/\(.*\d/);
        break;
      }
    }
    await checkBystander();
    await board.restore();
    await driver.reset();
    expect(wild.status & STATUS_DEVICE_NEEDS_RESET).toBe(0);
  }

  allocator.reset();
  await driver.init({ queueSize: WORK_QUEUE_SIZE });
  await serving(server, () => work(driver));
  await board.close();
  await close?.();
  return { operations: done, offences, reason };
}

/** Serves queues while something goes on. */
async function serving(server: InThreadServer, work: () => Promise<void>): Promise<void> {
  let over = false;
  const turns = (async () => {
    while (!over) {
      server.turn();
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  try {
    await work();
  } finally {
    over = true;
    await turns;
  }
}
