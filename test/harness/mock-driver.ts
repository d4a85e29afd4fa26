/** The driver for virtio-mmio devices: Linux's virtio_mmio.c, step by step (sections 3.1.1 and 4.2.3). */
import { VIRTIO_IRQ, VIRTIO_PHYS, VIRTIO_SLOT_SIZE } from '../../core/machine/virt-map.ts';
import * as reg from '../../core/virtio/spec/mmio.ts';
import { makeDriverQueue } from './mock-packed-queue.ts';
import type { MockQueue } from './mock-queue.ts';
import { VirtioDriver } from './virtio-driver.ts';
import type { DriverBoard } from './virtio-driver.ts';
import type { VirtioMmioBus } from '../../core/virtio/mmio-bus.ts';

export interface Board extends DriverBoard {
  readonly bus: VirtioMmioBus;
}

const PAGE = 4096;

export class MockDriver extends VirtioDriver {
  readonly slot: number;
  readonly #board: Board;
  readonly #base: number;

  constructor(board: Board, slot: number) {
    super();
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

  async isLegacy(): Promise<boolean> {
    return (await this.version()) === reg.MMIO_VERSION_LEGACY;
  }

  protected async found(): Promise<void> {
    // Linux writes it when it finds the device, before the first reset, and never again.
    if (await this.isLegacy()) await this.write(reg.MMIO_GUEST_PAGE_SIZE, PAGE);
  }

  async status(): Promise<number> {
    return this.read(reg.MMIO_STATUS);
  }

  async writeStatus(value: number): Promise<void> {
    await this.write(reg.MMIO_STATUS, value);
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

  async setUpQueues(size: number): Promise<void> {
    this.queues = [];
    const legacy = await this.isLegacy();
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

  async resetQueue(index: number, size: number): Promise<void> {
    await this.write(reg.MMIO_QUEUE_SEL, index);
    await this.write(reg.MMIO_QUEUE_RESET, 1);
    while ((await this.read(reg.MMIO_QUEUE_RESET)) !== 0) await new Promise((resolve) => setImmediate(resolve));
    this.queues[index] = await this.setUpQueue(index, size);
  }

  protected async writeNotify(_queue: number, value: number): Promise<void> {
    await this.write(reg.MMIO_QUEUE_NOTIFY, value);
  }

  async handleInterrupt(): Promise<number> {
    const status = await this.read(reg.MMIO_INTERRUPT_STATUS);
    if (status !== 0) await this.write(reg.MMIO_INTERRUPT_ACK, status);
    return status;
  }
}
