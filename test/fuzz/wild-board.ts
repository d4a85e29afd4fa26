/** What the device fuzzer needs of a transport: the fuzzed device and a bystander on it, and accesses gone mad. */
import type { RingFeatures } from '../../core/virtio/queue/ring-features.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import type { VirtioDevice } from '../../core/virtio/device.ts';
import type { VirtioTransport } from '../../core/virtio/transport/transport.ts';
import type { InThreadServer } from '../harness/in-thread-server.ts';
import type { MemoryBoard, VirtioDriver } from '../harness/virtio-driver.ts';
import type { Random } from './random.ts';

/** What is likely to hit something in a register. */
export const VALUES = [0, 1, 2, 3, 4, 8, 11, 15, 64, 128, 4096, RAM_BASE, RAM_BASE / 4096, 0xffff_ffff];

export interface WildBoardOptions {
  board: MemoryBoard;
  server: InThreadServer;
  random: Random;
  device: VirtioDevice;
  bystander: VirtioDevice;
  /** The device is to be driven through its legacy interface. */
  legacy: boolean;
  ring: Partial<RingFeatures>;
}

export interface WildBoard {
  readonly transport: VirtioTransport;
  readonly driver: VirtioDriver;
  readonly calmTransport: VirtioTransport;
  readonly calm: VirtioDriver;
  /** Rings a doorbell of the device, if the driver has not lost it. */
  notify(queue: number): void | Promise<void>;
  /** One access to whatever is no configuration space of the device. */
  access(): Promise<void>;
  /** What firmware does: the driver finds the device where it was. */
  restore(): Promise<void>;
  close(): Promise<void>;
}
