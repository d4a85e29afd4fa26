/** A driver for any virtio-mmio device: what Linux's virtio_mmio.c does, step by step (sections 3.1.1 and 4.2.3). */
import { VIRTIO_IRQ, VIRTIO_PHYS, VIRTIO_SLOT_SIZE } from '../../core/machine/virt-map.ts';
import {
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_VERSION_1,
  featureMask,
  hasFeature,
} from '../../core/virtio/spec/features.ts';
import * as reg from '../../core/virtio/spec/mmio.ts';
import {
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
} from '../../core/virtio/spec/status.ts';
import type { GuestAllocator } from './guest.ts';
import type { IrqDouble } from './irq-double.ts';
import { makeDriverQueue } from './mock-packed-queue.ts';
import type { Buffer, MockQueue, UsedBuffer } from './mock-queue.ts';
import type { VirtioMmioBus } from '../../core/virtio/mmio-bus.ts';

export interface Board {
  readonly bus: VirtioMmioBus;
  readonly allocator: GuestAllocator;
  readonly irq: IrqDouble;
}

export interface InitOptions {
  /** Feature bits to accept of those that are offered, besides VIRTIO_F_VERSION_1. Default: all that are offered. */
  features?: readonly number[];
  /** Feature bits not to accept. */
  without?: readonly number[];
  /** Entries of each queue. */
  queueSize?: number;
}

const PAGE = 4096;

export class MockDriver {
  readonly slot: number;
  queues: MockQueue[] = [];
  offered = 0n;
  features = 0n;
  /** add() and submit() make indirect tables of what has several buffers. */
  indirect = false;
  readonly #board: Board;
  readonly #base: number;

  constructor(board: Board, slot: number) {
    this.#board = board;
    this.slot = slot;
    this.#base = VIRTIO_PHYS + slot * VIRTIO_SLOT_SIZE;
  }

  get irq(): number {
    return VIRTIO_IRQ + this.slot;
  }

  async read(offset: number, size = 4): Promise<number> {
    return this.#board.bus.read(this.#base + offset, size);
  }

  async write(offset: number, value: number, size = 4): Promise<void> {
    await this.#board.bus.write(this.#base + offset, size, value);
  }

  async readConfig(offset: number, size: number): Promise<number> {
    return this.read(reg.MMIO_CONFIG + offset, size);
  }

  async writeConfig(offset: number, size: number, value: number): Promise<void> {
    return this.write(reg.MMIO_CONFIG + offset, value, size);
  }

  async version(): Promise<number> {
    return this.read(reg.MMIO_VERSION);
  }

  async status(): Promise<number> {
    return this.read(reg.MMIO_STATUS);
  }

  async addStatus(bits: number): Promise<void> {
    await this.write(reg.MMIO_STATUS, (await this.status()) | bits);
  }

  async reset(): Promise<void> {
    await this.write(reg.MMIO_STATUS, 0);
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
    const legacy = (await this.version()) === reg.MMIO_VERSION_LEGACY;
    // Linux writes it when it finds the device, before the first reset, and never again.
    if (legacy) await this.write(reg.MMIO_GUEST_PAGE_SIZE, PAGE);
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

  async readFeatures(words: number): Promise<bigint> {
    let features = 0n;
    for (let word = 0; word < words; word++) {
      await this.write(reg.MMIO_DEVICE_FEATURES_SEL, word);
      features |= BigInt(await this.read(reg.MMIO_DEVICE_FEATURES)) << BigInt(32 * word);
    }
    return features;
  }

  async writeFeatures(features: bigint, words: number): Promise<void> {
    for (let word = 0; word < words; word++) {
      await this.write(reg.MMIO_DRIVER_FEATURES_SEL, word);
      await this.write(reg.MMIO_DRIVER_FEATURES, Number((features >> BigInt(32 * word)) & 0xffff_ffffn));
    }
  }

  /** All queues that the device has. */
  async setUpQueues(size: number): Promise<void> {
    this.queues = [];
    const legacy = (await this.version()) === reg.MMIO_VERSION_LEGACY;
    for (let index = 0; ; index++) {
      await this.write(reg.MMIO_QUEUE_SEL, index);
      if ((await this.read(reg.MMIO_QUEUE_SIZE_MAX)) === 0) return;
      this.queues.push(legacy ? await this.#setUpLegacyQueue(index, size) : await this.setUpQueue(index, size));
    }
  }

  /** Section 4.2.3.2. */
  async setUpQueue(index: number, size: number): Promise<MockQueue> {
    const queue = makeDriverQueue(this.#board.allocator, this.features, { index, size });
    await this.write(reg.MMIO_QUEUE_SEL, index);
    await this.write(reg.MMIO_QUEUE_SIZE, size);
    await this.writeQueueAreas(queue);
    await this.write(reg.MMIO_QUEUE_READY, 1);
    return queue;
  }

  async writeQueueAreas({ areas }: Pick<MockQueue, 'areas'>): Promise<void> {
    await this.#writeAddress(reg.MMIO_QUEUE_DESC_LOW, areas.descriptorArea);
    await this.#writeAddress(reg.MMIO_QUEUE_DRIVER_LOW, areas.driverArea);
    await this.#writeAddress(reg.MMIO_QUEUE_DEVICE_LOW, areas.deviceArea);
  }

  async #writeAddress(low: number, address: number): Promise<void> {
    await this.write(low, address % 2 ** 32);
    await this.write(low + 4, Math.floor(address / 2 ** 32));
  }

  /** Section 4.2.4. */
  async #setUpLegacyQueue(index: number, size: number): Promise<MockQueue> {
    const queue = makeDriverQueue(this.#board.allocator, this.features, { index, size, legacyAlign: PAGE });
    await this.write(reg.MMIO_QUEUE_SIZE, size);
    await this.write(reg.MMIO_QUEUE_ALIGN, PAGE);
    await this.write(reg.MMIO_QUEUE_PFN, queue.areas.descriptorArea / PAGE);
    return queue;
  }

  /** Rings the doorbell whether or not the device wants it. */
  async notify(queue: number): Promise<void> {
    const data = hasFeature(this.features, VIRTIO_F_NOTIFICATION_DATA) ? this.queues[queue].nextPosition : 0;
    await this.write(reg.MMIO_QUEUE_NOTIFY, queue + data * 2 ** 16);
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

  /** Section 2.6.1: the queue is set up anew. */
  async resetQueue(index: number, size: number): Promise<void> {
    await this.write(reg.MMIO_QUEUE_SEL, index);
    await this.write(reg.MMIO_QUEUE_RESET, 1);
    while ((await this.read(reg.MMIO_QUEUE_RESET)) !== 0) await new Promise((resolve) => setImmediate(resolve));
    this.queues[index] = await this.setUpQueue(index, size);
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

  /** What an interrupt handler does: reads and acknowledges. Returns InterruptStatus as it was. */
  async handleInterrupt(): Promise<number> {
    const status = await this.read(reg.MMIO_INTERRUPT_STATUS);
    if (status !== 0) await this.write(reg.MMIO_INTERRUPT_ACK, status);
    return status;
  }
}
