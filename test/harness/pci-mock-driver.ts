/**
 * The driver for virtio-pci devices: Linux's virtio_pci_modern.c and virtio_pci_legacy.c, step by step (virtio 1.3, section
 * 4.1). It finds everything by the capabilities, as drivers must.
 *
 *     const bench = new PciBench();
 *     const driver = await bench.attach(device, { modern: true, legacy: true }, { interface: 'legacy', interrupts: 'msix' });
 *     await driver.init();
 *
 * is used as MockDriver is: both are VirtioDrivers.
 */
import * as pci from '../../core/pci/spec.ts';
import { ISR_CONFIG_CHANGE, ISR_USED_BUFFER } from '../../core/virtio/spec/mmio.ts';
import * as reg from '../../core/virtio/spec/pci.ts';
import { LEGACY_ISR, LEGACY_QUEUE_NOTIFY } from '../../core/virtio/transport/pci-layout.ts';
import { makeDriverQueue } from './mock-packed-queue.ts';
import type { MockQueue } from './mock-queue.ts';
import type { PciAccess } from './pci-enumerator.ts';
import { VirtioDriver } from './virtio-driver.ts';
import type { DriverBoard } from './virtio-driver.ts';

export interface PciDriverOptions {
  interface?: 'modern' | 'legacy';
  interrupts?: 'intx' | 'msix';
}

/** Of configuration changes; queue n has vector n + 1. */
export const CONFIG_VECTOR = 0;
/** Where vectors point: an address to which nobody listens but IrqDouble. Vector v has data MSI_DATA + v. */
export const MSI_ADDRESS = 0x2800_0000;
export const MSI_DATA = 0x100;

const LEGACY_BAR = 0;

/** A structure that a vendor capability points to. */
interface Structure {
  readonly capability: number;
  readonly bar: number;
  readonly offset: number;
}

export class PciMockDriver extends VirtioDriver {
  readonly slot: number;
  readonly irq: number;
  readonly access: PciAccess;
  readonly #board: DriverBoard;
  readonly #legacy: boolean;
  readonly #msix: boolean;
  #common!: Structure;
  #notify!: Structure;
  #isr!: Structure;
  #device!: Structure;
  #multiplier = 0;
  /** queue_notify_off of each queue. */
  #notifyOff: number[] = [];

  constructor(board: DriverBoard, access: PciAccess, slot: number, irq: number, options: PciDriverOptions = {}) {
    super();
    this.#board = board;
    this.access = access;
    this.slot = slot;
    this.irq = irq;
    this.#legacy = options.interface === 'legacy';
    this.#msix = options.interrupts === 'msix';
  }

  /** Enables the function, and finds its structures. The BARs have been placed. */
  async probe(): Promise<this> {
    await this.access.command(pci.PCI_COMMAND_MASTER);
    if (!this.#legacy) {
      this.#common = await this.#find(reg.VIRTIO_PCI_CAP_COMMON_CFG);
      this.#notify = await this.#find(reg.VIRTIO_PCI_CAP_NOTIFY_CFG);
      this.#isr = await this.#find(reg.VIRTIO_PCI_CAP_ISR_CFG);
      this.#device = await this.#find(reg.VIRTIO_PCI_CAP_DEVICE_CFG);
      this.#multiplier = await this.access.read(this.#notify.capability + reg.PCI_VIRTIO_NOTIFY_MULTIPLIER, 4);
    }
    if (this.#msix) await this.#enableMsix();
    return this;
  }

  async #find(type: number): Promise<Structure> {
    const { access } = this;
    const capability = await access.capability(
      pci.PCI_CAP_ID_VNDR,
      async (at) => (await access.read(at + reg.PCI_VIRTIO_CAP_TYPE, 1)) === type,
    );
    if (capability === 0) throw new Error(`the device has no structure of type ${type}`);
    const bar = await access.read(capability + reg.PCI_VIRTIO_CAP_BAR, 1);
    const offset = await access.read(capability + reg.PCI_VIRTIO_CAP_OFFSET, 4);
    return { capability, bar, offset };
  }

  async #enableMsix(): Promise<void> {
    const { access } = this;
    const at = await access.capability(pci.PCI_CAP_ID_MSIX);
    const flags = await access.read(at + pci.PCI_MSIX_FLAGS, 2);
    await access.write(at + pci.PCI_MSIX_FLAGS, 2, flags | pci.PCI_MSIX_FLAGS_ENABLE | pci.PCI_MSIX_FLAGS_MASKALL);
    const table = await access.read(at + pci.PCI_MSIX_TABLE, 4);
    for (let vector = 0; vector <= (flags & 0x7ff); vector++) {
      const entry = (table & ~7) + vector * pci.MSIX_ENTRY_SIZE;
      await access.writeBar(table & 7, entry + pci.MSIX_ENTRY_ADDRESS, 4, MSI_ADDRESS);
      await access.writeBar(table & 7, entry + pci.MSIX_ENTRY_ADDRESS + 4, 4, 0);
      await access.writeBar(table & 7, entry + pci.MSIX_ENTRY_DATA, 4, MSI_DATA + vector);
      await access.writeBar(table & 7, entry + pci.MSIX_ENTRY_CONTROL, 4, 0);
    }
    await access.write(at + pci.PCI_MSIX_FLAGS, 2, flags | pci.PCI_MSIX_FLAGS_ENABLE);
  }

  async readCommon(offset: number, size = reg.COMMON_WIDTH[offset]): Promise<number> {
    return this.access.readBar(this.#common.bar, this.#common.offset + offset, size);
  }

  async writeCommon(offset: number, value: number, size = reg.COMMON_WIDTH[offset]): Promise<void> {
    await this.access.writeBar(this.#common.bar, this.#common.offset + offset, size, value);
  }

  async readLegacy(offset: number, size: number): Promise<number> {
    return this.access.readBar(LEGACY_BAR, offset, size);
  }

  async writeLegacy(offset: number, size: number, value: number): Promise<void> {
    await this.access.writeBar(LEGACY_BAR, offset, size, value);
  }

  async isLegacy(): Promise<boolean> {
    return this.#legacy;
  }

  protected async found(): Promise<void> {}

  get #legacyConfig(): number {
    return this.#msix ? reg.LEGACY_HEADER_MSIX : reg.LEGACY_HEADER;
  }

  async readConfig(offset: number, size: number): Promise<number> {
    if (this.#legacy) return this.readLegacy(this.#legacyConfig + offset, size);
    return this.access.readBar(this.#device.bar, this.#device.offset + offset, size);
  }

  async writeConfig(offset: number, size: number, value: number): Promise<void> {
    if (this.#legacy) return this.writeLegacy(this.#legacyConfig + offset, size, value);
    await this.access.writeBar(this.#device.bar, this.#device.offset + offset, size, value);
  }

  async status(): Promise<number> {
    return this.#legacy ? this.readLegacy(reg.LEGACY_DEVICE_STATUS, 1) : this.readCommon(reg.COMMON_DEVICE_STATUS);
  }

  async writeStatus(value: number): Promise<void> {
    if (this.#legacy) await this.writeLegacy(reg.LEGACY_DEVICE_STATUS, 1, value);
    else await this.writeCommon(reg.COMMON_DEVICE_STATUS, value);
  }

  async readFeatures(words: number): Promise<bigint> {
    if (this.#legacy) return BigInt(await this.readLegacy(reg.LEGACY_DEVICE_FEATURES, 4));
    let features = 0n;
    for (let word = 0; word < words; word++) {
      await this.writeCommon(reg.COMMON_DEVICE_FEATURE_SELECT, word);
      features |= BigInt(await this.readCommon(reg.COMMON_DEVICE_FEATURE)) << BigInt(32 * word);
    }
    return features;
  }

  async writeFeatures(features: bigint, words: number): Promise<void> {
    if (this.#legacy) return this.writeLegacy(reg.LEGACY_DRIVER_FEATURES, 4, Number(features));
    for (let word = 0; word < words; word++) {
      await this.writeCommon(reg.COMMON_DRIVER_FEATURE_SELECT, word);
      await this.writeCommon(reg.COMMON_DRIVER_FEATURE, Number((features >> BigInt(32 * word)) & 0xffff_ffffn));
    }
  }

  async setUpQueues(size: number): Promise<void> {
    this.queues = [];
    this.#notifyOff = [];
    if (this.#legacy) return this.#setUpLegacyQueues();
    if (this.#msix) await this.writeCommon(reg.COMMON_CONFIG_MSIX_VECTOR, CONFIG_VECTOR);
    const count = await this.readCommon(reg.COMMON_NUM_QUEUES);
    for (let index = 0; index < count; index++) this.queues.push(await this.setUpQueue(index, size));
  }

  /** Section 4.1.5.1.3. */
  async setUpQueue(index: number, size: number): Promise<MockQueue> {
    const queue = makeDriverQueue(this.#board.allocator, this.features, { index, size });
    await this.writeCommon(reg.COMMON_QUEUE_SELECT, index);
    await this.writeCommon(reg.COMMON_QUEUE_SIZE, size);
    await this.#writeAddress(reg.COMMON_QUEUE_DESC, queue.areas.descriptorArea);
    await this.#writeAddress(reg.COMMON_QUEUE_DRIVER, queue.areas.driverArea);
    await this.#writeAddress(reg.COMMON_QUEUE_DEVICE, queue.areas.deviceArea);
    if (this.#msix) await this.writeCommon(reg.COMMON_QUEUE_MSIX_VECTOR, index + 1);
    this.#notifyOff[index] = await this.readCommon(reg.COMMON_QUEUE_NOTIFY_OFF);
    await this.writeCommon(reg.COMMON_QUEUE_ENABLE, 1);
    return queue;
  }

  async #writeAddress(low: number, address: number): Promise<void> {
    await this.writeCommon(low, address % 2 ** 32);
    await this.writeCommon(low + 4, Math.floor(address / 2 ** 32));
  }

  /** Section 4.1.5.1.3.1: with the sizes that the device has. */
  async #setUpLegacyQueues(): Promise<void> {
    if (this.#msix) await this.writeLegacy(reg.LEGACY_CONFIG_VECTOR, 2, CONFIG_VECTOR);
    for (let index = 0; ; index++) {
      await this.writeLegacy(reg.LEGACY_QUEUE_SELECT, 2, index);
      const size = await this.readLegacy(reg.LEGACY_QUEUE_SIZE, 2);
      if (size === 0) return;
      const legacyAlign = reg.LEGACY_QUEUE_PAGE;
      const queue = makeDriverQueue(this.#board.allocator, this.features, { index, size, legacyAlign });
      if (this.#msix) await this.writeLegacy(reg.LEGACY_QUEUE_VECTOR, 2, index + 1);
      await this.writeLegacy(reg.LEGACY_QUEUE_ADDRESS, 4, queue.areas.descriptorArea / reg.LEGACY_QUEUE_PAGE);
      this.queues.push(queue);
    }
  }

  async resetQueue(index: number, size: number): Promise<void> {
    await this.writeCommon(reg.COMMON_QUEUE_SELECT, index);
    await this.writeCommon(reg.COMMON_QUEUE_RESET, 1);
    while ((await this.readCommon(reg.COMMON_QUEUE_RESET)) !== 0) await new Promise((resolve) => setImmediate(resolve));
    this.queues[index] = await this.setUpQueue(index, size);
  }

  protected async writeNotify(queue: number, value: number): Promise<void> {
    if (this.#legacy) return this.writeLegacy(LEGACY_QUEUE_NOTIFY, 2, queue);
    const offset = this.#notify.offset + this.#notifyOff[queue] * this.#multiplier;
    await this.access.writeBar(this.#notify.bar, offset, value > 0xffff ? 4 : 2, value);
  }

  async readIsr(): Promise<number> {
    return this.#legacy ? this.readLegacy(LEGACY_ISR, 1) : this.access.readBar(this.#isr.bar, this.#isr.offset, 1);
  }

  /** With MSI-X the bits are made from the messages. */
  async handleInterrupt(): Promise<number> {
    if (!this.#msix) return this.readIsr();
    return this.#board.irq
      .takeMessages()
      .filter(({ address }) => address === MSI_ADDRESS)
      .reduce((bits, { data }) => bits | (data === MSI_DATA ? ISR_CONFIG_CHANGE : ISR_USED_BUFFER), 0);
  }
}
