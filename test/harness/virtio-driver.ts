/**
 * A driver for any virtio device on any transport: what Linux's drivers do, step by step (virtio 1.3, section 3.1). Transports
 * derive from it: MockDriver (mmio), PciMockDriver (PCI, legacy and modern).
 */
import type { GuestMemory } from '../../core/memory/guest-memory.ts';
import {
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_VERSION_1,
  featureMask,
  hasFeature,
} from '../../core/virtio/spec/features.ts';
import {
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
} from '../../core/virtio/spec/status.ts';
import type { GuestAllocator } from './guest.ts';
import type { IrqDouble } from './irq-double.ts';
import type { Buffer, MockQueue, UsedBuffer } from './mock-queue.ts';

export interface DriverBoard {
  readonly allocator: GuestAllocator;
  readonly irq: IrqDouble;
}

/** One whose guest RAM can be looked at. */
export interface MemoryBoard extends DriverBoard {
  readonly memory: GuestMemory;
}

export interface InitOptions {
  /** Feature bits to accept of those that are offered, besides VIRTIO_F_VERSION_1. Default: all that are offered. */
  features?: readonly number[];
  /** Feature bits not to accept. */
  without?: readonly number[];
  /** Entries of each queue. */
  queueSize?: number;
}

export abstract class VirtioDriver {
  /** The virtio slot (layout.ts). */
  abstract readonly slot: number;
  /** The interrupt controller's source. */
  abstract readonly irq: number;
  queues: MockQueue[] = [];
  offered = 0n;
  features = 0n;
  /** add() and submit() make indirect tables of what has several buffers. */
  indirect = false;

  /** Whether it speaks the legacy interface. */
  abstract isLegacy(): Promise<boolean>;
  /** What it does when it finds the device. */
  protected abstract found(): Promise<void>;
  abstract readConfig(offset: number, size: number): Promise<number>;
  abstract writeConfig(offset: number, size: number, value: number): Promise<void>;
  abstract status(): Promise<number>;
  abstract writeStatus(value: number): Promise<void>;
  /** @param words 32-bit words: 1 in legacy, 2 otherwise */
  abstract readFeatures(words: number): Promise<bigint>;
  abstract writeFeatures(features: bigint, words: number): Promise<void>;
  /** All queues that the device has. */
  abstract setUpQueues(size: number): Promise<void>;
  /** One of them: not in legacy. */
  abstract setUpQueue(index: number, size: number): Promise<MockQueue>;
  /** Section 2.6.1: the queue is set up anew. */
  abstract resetQueue(index: number, size: number): Promise<void>;
  /** Rings a doorbell with a value. */
  protected abstract writeNotify(queue: number, value: number): Promise<void>;
  /** What an interrupt handler does: reads and acknowledges. Returns ISR_* bits as they were. */
  abstract handleInterrupt(): Promise<number>;

  async addStatus(bits: number): Promise<void> {
    await this.writeStatus((await this.status()) | bits);
  }

  async reset(): Promise<void> {
    await this.writeStatus(0);
  }

  /** The whole sequence; the device is live afterwards. */
  async init(options: InitOptions = {}): Promise<this> {
    await this.negotiate(options);
    await this.setUpQueues(options.queueSize ?? 16);
    await this.addStatus(STATUS_DRIVER_OK);
    return this;
  }

  /** Up to FEATURES_OK, or in legacy to where it would be. */
  async negotiate({ features, without = [] }: InitOptions = {}): Promise<void> {
    const legacy = await this.isLegacy();
    await this.found();
    await this.reset();
    await this.addStatus(STATUS_ACKNOWLEDGE);
    await this.addStatus(STATUS_DRIVER);
    this.offered = await this.readFeatures(legacy ? 1 : 2);
    this.features = features
      ? this.offered & featureMask(...features, ...(legacy ? [] : [VIRTIO_F_VERSION_1]))
      : this.offered;
    this.features &= ~featureMask(...without);
    await this.writeFeatures(this.features, legacy ? 1 : 2);
    if (!legacy) await this.addStatus(STATUS_FEATURES_OK);
  }

  /** Rings the doorbell whether or not the device wants it. */
  async notify(queue: number): Promise<void> {
    const data = hasFeature(this.features, VIRTIO_F_NOTIFICATION_DATA) ? this.queues[queue].nextPosition : 0;
    await this.writeNotify(queue, queue + data * 2 ** 16);
  }

  /** Rings it if the device wants it; whether it did. */
  async kick(queue: MockQueue): Promise<boolean> {
    if (!queue.deviceWantsNotification()) return false;
    await this.notify(queue.index);
    return true;
  }

  /** Waits for the next used buffer of a queue. */
  async used(queue: MockQueue, milliseconds = 10_000): Promise<UsedBuffer> {
    const end = performance.now() + milliseconds;
    for (;;) {
      const used = queue.takeUsed();
      if (used) return used;
      if (performance.now() > end) throw new Error(`no used buffer in queue ${queue.index} after ${milliseconds} ms`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Makes a chain available, without telling the device; what a used buffer calls it. */
  add(queue: MockQueue, buffers: readonly Buffer[]): number {
    return this.indirect && buffers.length > 1 ? queue.addIndirect(buffers) : queue.add(buffers);
  }

  /** Makes a chain available, tells the device, waits until it is used. */
  async submit(queue: MockQueue, buffers: readonly Buffer[]): Promise<UsedBuffer> {
    this.add(queue, buffers);
    await this.kick(queue);
    return this.used(queue);
  }
}
