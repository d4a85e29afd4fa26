/**
 * The virtio-pci transport of one device, on the control thread (virtio 1.3, section 4.1): the registers behind its BARs,
 * modern and legacy. Its configuration space is pci-function.ts.
 *
 * A transitional device has both interfaces. Which one a driver uses shows at its first write; the other is shut until the
 * device is reset.
 */
import type { BarHandler } from '../../pci/bar.ts';
import type { ConfiguredQueue } from '../queue/configured-queue.ts';
import { VIRTIO_F_NOTIF_CONFIG_DATA, hasFeature } from '../spec/features.ts';
import * as reg from '../spec/pci.ts';
import { STATUS_ACKNOWLEDGE, STATUS_DRIVER } from '../spec/status.ts';
import type { InterruptSink, InterruptSpec } from './interrupt.ts';
import { PciInterrupt } from './pci-interrupt.ts';
import {
  LEGACY_ISR,
  LEGACY_QUEUE_NOTIFY,
  PCI_COMMON_OFFSET,
  PCI_DEVICE_OFFSET,
  PCI_ISR_OFFSET,
  PCI_NOTIFY_MULTIPLIER,
  PCI_NOTIFY_OFFSET,
  PCI_STRUCTURE_SIZE,
} from './pci-layout.ts';
import { VirtioTransport } from './transport.ts';
import type { TransportOptions } from './transport.ts';

/** What the transport asks of its PCI function. */
export interface PciTransportHost {
  /** Guest physical address of BAR 4, or of BAR 0 without it; null while it is nowhere. */
  readonly base: number | null;
  /** Entries of the MSI-X table; 0 without one. */
  readonly vectors: number;
  readonly msixEnabled: boolean;
  readonly busMaster: boolean;
  /** Sets Bus Master Enable on behalf of a driver that does not know of it. */
  setBusMaster(): void;
}

export interface PciTransportOptions extends TransportOptions {
  /** Input of the INTx line (core/pci/intx.ts). */
  intx: number;
  /** The interrupt controller's source for it. */
  irq: number;
  sink: InterruptSink;
  /** Which interfaces it has; at least one. */
  modern: boolean;
  legacy: boolean;
}

type Interface = 'modern' | 'legacy';

export class PciTransport extends VirtioTransport {
  readonly name = 'virtio-pci';
  readonly irq: number;
  readonly interrupt: PciInterrupt;
  protected readonly interruptSpec: InterruptSpec;
  readonly modernBar: BarHandler;
  readonly legacyBar: BarHandler;
  /** Set by the function before the device is plugged. */
  pciHost!: PciTransportHost;
  readonly #only: Interface | null;
  /** That the driver uses; null until it is known. */
  #interface: Interface | null;
  #deviceFeatureSelect = 0;
  #driverFeatureSelect = 0;

  constructor(options: PciTransportOptions) {
    const { memory, slot, intx, irq, sink, modern, legacy } = options;
    super(options, { legacy: !modern, initialQueueSize: null });
    this.irq = irq;
    this.#only = modern && legacy ? null : modern ? 'modern' : 'legacy';
    this.#interface = this.#only;
    this.interrupt = new PciInterrupt(memory.memory, slot, intx, sink);
    this.interruptSpec = { kind: 'pci', irq: intx };
    this.modernBar = {
      read: (offset, size) => this.#wait(() => this.#readModern(offset, size)),
      write: (offset, size, value) => this.#wait(() => this.#writeModern(offset, size, value >>> 0)),
    };
    this.legacyBar = {
      read: (offset, size) => this.#wait(() => this.#readLegacy(offset, size)),
      write: (offset, size, value) => this.#wait(() => this.#writeLegacy(offset, size, value >>> 0)),
    };
    this.#clearVectors();
  }

  get legacy(): boolean {
    return this.#interface === 'legacy';
  }

  /** 0: the driver uses the legacy interface; else 1. */
  get version(): number {
    return this.legacy ? 0 : 1;
  }

  get base(): number | null {
    return this.pciHost.base;
  }

  /** Does an access when none is being waited for. */
  #wait<T>(access: () => T | Promise<T>): T | Promise<T> {
    return this.whenFree(access) ?? access();
  }

  // ---- modern: BAR 4 ------------------------------------------------------------------------------------------------

  #readModern(offset: number, size: number): number {
    const structure = offset - (offset % PCI_STRUCTURE_SIZE);
    const at = offset % PCI_STRUCTURE_SIZE;
    switch (structure) {
      case PCI_COMMON_OFFSET:
        return this.#readCommon(at, size);
      case PCI_ISR_OFFSET:
        // Section 4.1.4.5: reading clears it.
        return at === 0 ? this.interrupt.take() : 0;
      case PCI_DEVICE_OFFSET:
        return this.readConfig(at, size);
    }
    return 0;
  }

  #writeModern(offset: number, size: number, value: number): void | Promise<void> {
    const structure = offset - (offset % PCI_STRUCTURE_SIZE);
    const at = offset % PCI_STRUCTURE_SIZE;
    switch (structure) {
      case PCI_COMMON_OFFSET:
        if (this.#uses('modern')) return this.#writeCommon(at, size, value);
        return;
      case PCI_DEVICE_OFFSET:
        return this.writeConfig(at, size, value);
      case PCI_NOTIFY_OFFSET:
        return this.hot.notify(value, Math.floor(at / PCI_NOTIFY_MULTIPLIER));
    }
  }

  #readCommon(offset: number, size: number): number {
    if (reg.COMMON_WIDTH[offset] !== size) {
      if (offset < reg.COMMON_SIZE) this.#badWidth('read', offset, size);
      return 0;
    }
    const { queue } = this;
    switch (offset) {
      case reg.COMMON_DEVICE_FEATURE_SELECT:
        return this.#deviceFeatureSelect;
      case reg.COMMON_DEVICE_FEATURE:
        return this.featureWordTo(false, this.#deviceFeatureSelect);
      case reg.COMMON_DRIVER_FEATURE_SELECT:
        return this.#driverFeatureSelect;
      case reg.COMMON_DRIVER_FEATURE:
        return this.driverFeatureWord(this.#driverFeatureSelect);
      case reg.COMMON_CONFIG_MSIX_VECTOR:
        return this.interrupt.configVector;
      case reg.COMMON_NUM_QUEUES:
        return this.queues.length;
      case reg.COMMON_DEVICE_STATUS:
        return this.statusRead();
      case reg.COMMON_CONFIG_GENERATION:
        return this.hot.configGeneration & 0xff;
      case reg.COMMON_QUEUE_SELECT:
        return this.queueSel;
      case reg.COMMON_QUEUE_MSIX_VECTOR:
        return queue ? this.interrupt.queueVector(queue.index) : reg.VIRTIO_MSI_NO_VECTOR;
    }
    return queue ? this.#readQueue(queue, offset) : 0;
  }

  #readQueue(queue: ConfiguredQueue, offset: number): number {
    switch (offset) {
      case reg.COMMON_QUEUE_SIZE:
        return queue.size;
      case reg.COMMON_QUEUE_ENABLE:
        return queue.enabled ? 1 : 0;
      case reg.COMMON_QUEUE_NOTIFY_OFF:
        return queue.index;
      case reg.COMMON_QUEUE_DESC:
        return queue.descriptor.low;
      case reg.COMMON_QUEUE_DESC + 4:
        return queue.descriptor.high;
      case reg.COMMON_QUEUE_DRIVER:
        return queue.driver.low;
      case reg.COMMON_QUEUE_DRIVER + 4:
        return queue.driver.high;
      case reg.COMMON_QUEUE_DEVICE:
        return queue.device.low;
      case reg.COMMON_QUEUE_DEVICE + 4:
        return queue.device.high;
      case reg.COMMON_QUEUE_NOTIF_CONFIG_DATA:
        return hasFeature(this.negotiated, VIRTIO_F_NOTIF_CONFIG_DATA) ? queue.index : 0;
    }
    // A queue reset that is going on makes this access wait: queue_reset reads 0 (section 2.6.1).
    return 0;
  }

  #writeCommon(offset: number, size: number, value: number): void | Promise<void> {
    if (reg.COMMON_WIDTH[offset] !== size) {
      if (offset < reg.COMMON_SIZE) this.#badWidth('written', offset, size);
      return;
    }
    switch (offset) {
      case reg.COMMON_DEVICE_FEATURE_SELECT:
        this.#deviceFeatureSelect = value;
        return;
      case reg.COMMON_DRIVER_FEATURE_SELECT:
        this.#driverFeatureSelect = value;
        return;
      case reg.COMMON_DRIVER_FEATURE:
        return this.writeDriverFeatures(this.#driverFeatureSelect, value);
      case reg.COMMON_CONFIG_MSIX_VECTOR:
        return this.#writeConfigVector(value);
      case reg.COMMON_DEVICE_STATUS:
        return this.writeStatus(value);
      case reg.COMMON_QUEUE_SELECT:
        this.queueSel = value;
        return;
      case reg.COMMON_QUEUE_SIZE:
        return this.configureQueue('queue_size', (queue) => (queue.size = value));
      case reg.COMMON_QUEUE_MSIX_VECTOR:
        return this.#writeQueueVector(value);
      case reg.COMMON_QUEUE_ENABLE:
        return this.#writeQueueEnable(value);
      case reg.COMMON_QUEUE_DESC:
        return this.configureQueue('queue_desc', (queue) => (queue.descriptor.low = value));
      case reg.COMMON_QUEUE_DESC + 4:
        return this.configureQueue('queue_desc', (queue) => (queue.descriptor.high = value));
      case reg.COMMON_QUEUE_DRIVER:
        return this.configureQueue('queue_driver', (queue) => (queue.driver.low = value));
      case reg.COMMON_QUEUE_DRIVER + 4:
        return this.configureQueue('queue_driver', (queue) => (queue.driver.high = value));
      case reg.COMMON_QUEUE_DEVICE:
        return this.configureQueue('queue_device', (queue) => (queue.device.low = value));
      case reg.COMMON_QUEUE_DEVICE + 4:
        return this.configureQueue('queue_device', (queue) => (queue.device.high = value));
      case reg.COMMON_QUEUE_RESET:
        return this.#writeQueueReset(value);
    }
    this.note(
      'register-access',
      `write to common configuration offset 0x${offset.toString(16)}, which is read-only (4.1.4.3)`,
    );
  }

  #writeQueueEnable(value: number): void {
    const { queue } = this;
    if (!queue)
      return this.note('queue-missing', `queue_enable written for queue ${this.queueSel}, which does not exist`);
    if (value !== 1) return this.note('register-access', `queue_enable written with ${value} (4.1.4.3.2); ignored`);
    if (!queue.enabled) this.enableQueue(queue);
  }

  #writeQueueReset(value: number): void | Promise<void> {
    const { queue } = this;
    const wait = this.resetQueue(value);
    if (queue && !queue.enabled) this.interrupt.setQueueVector(queue.index, reg.VIRTIO_MSI_NO_VECTOR);
    return wait?.then(() => this.interrupt.setQueueVector(queue!.index, reg.VIRTIO_MSI_NO_VECTOR));
  }

  #badWidth(what: string, offset: number, size: number): void {
    this.note(
      'register-access',
      `common configuration offset 0x${offset.toString(16)} ${what} with ${size} bytes (4.1.3.1); ignored`,
    );
  }

  // ---- vectors ------------------------------------------------------------------------------------------------------

  /** Section 4.1.5.1.2: a vector that there is not cannot be used, and reads back as none. */
  #vector(value: number): number {
    return value < this.pciHost.vectors ? value : reg.VIRTIO_MSI_NO_VECTOR;
  }

  #writeConfigVector(value: number): void {
    this.interrupt.configVector = this.#vector(value);
  }

  #writeQueueVector(value: number): void {
    const { queue } = this;
    if (!queue)
      return this.note('queue-missing', `queue_msix_vector written for queue ${this.queueSel}, which does not exist`);
    this.interrupt.setQueueVector(queue.index, this.#vector(value));
  }

  #clearVectors(): void {
    this.interrupt.configVector = reg.VIRTIO_MSI_NO_VECTOR;
    for (const { index } of this.queues) this.interrupt.setQueueVector(index, reg.VIRTIO_MSI_NO_VECTOR);
  }

  // ---- legacy: BAR 0 ------------------------------------------------------------------------------------------------

  get #legacyHeader(): number {
    return this.pciHost.msixEnabled ? reg.LEGACY_HEADER_MSIX : reg.LEGACY_HEADER;
  }

  #readLegacy(offset: number, size: number): number {
    const header = this.#legacyHeader;
    if (offset >= header) return this.readConfig(offset - header, size);
    return this.#readLegacyRegister(offset, size) % 2 ** (8 * size);
  }

  /** As wide as the register is, however it is read. */
  #readLegacyRegister(offset: number, size: number): number {
    const { queue } = this;
    switch (offset) {
      case reg.LEGACY_DEVICE_FEATURES:
        return this.featureWordTo(true, 0);
      case reg.LEGACY_DRIVER_FEATURES:
        return this.driverFeatureWord(0);
      case reg.LEGACY_QUEUE_ADDRESS:
        return queue?.pfn ?? 0;
      case reg.LEGACY_QUEUE_SIZE:
        return queue?.maxSize ?? 0;
      case reg.LEGACY_QUEUE_SELECT:
        return this.queueSel;
      case reg.LEGACY_DEVICE_STATUS:
        return this.statusRead();
      case LEGACY_ISR:
        return this.interrupt.take();
      case reg.LEGACY_CONFIG_VECTOR:
        return this.interrupt.configVector;
      case reg.LEGACY_QUEUE_VECTOR:
        return queue ? this.interrupt.queueVector(queue.index) : reg.VIRTIO_MSI_NO_VECTOR;
    }
    this.note('register-access', `legacy register ${offset}, which cannot be read, read with ${size} bytes (4.1.4.10)`);
    return 2 ** (8 * size) - 1;
  }

  #writeLegacy(offset: number, size: number, value: number): void | Promise<void> {
    if (!this.#uses('legacy')) return;
    const header = this.#legacyHeader;
    if (offset >= header) return this.writeConfig(offset - header, size, value);
    switch (offset) {
      case reg.LEGACY_DRIVER_FEATURES:
        return this.writeLegacyFeatures(value);
      case reg.LEGACY_QUEUE_ADDRESS:
        return this.writeQueuePfn(value, reg.LEGACY_QUEUE_PAGE);
      case reg.LEGACY_QUEUE_SELECT:
        this.queueSel = value;
        return;
      case LEGACY_QUEUE_NOTIFY:
        return this.hot.notify(value);
      case reg.LEGACY_DEVICE_STATUS:
        return this.#writeLegacyStatus(value & 0xff);
      case reg.LEGACY_CONFIG_VECTOR:
        return this.#writeConfigVector(value);
      case reg.LEGACY_QUEUE_VECTOR:
        return this.#writeQueueVector(value);
    }
    this.note(
      'register-access',
      `legacy register ${offset}, which cannot be written, written with ${size} bytes (4.1.4.10)`,
    );
  }

  #writeLegacyStatus(value: number): void | Promise<void> {
    // Linux before 2.6.34 never sets Bus Master Enable: as QEMU, it is taken from this.
    if (value === (STATUS_ACKNOWLEDGE | STATUS_DRIVER)) this.pciHost.setBusMaster();
    return this.writeStatus(value);
  }

  /** Whether the driver may use an interface; the first one that it writes to is the one it uses. */
  #uses(wanted: Interface): boolean {
    if (this.#interface === null) {
      this.#interface = wanted;
      for (const queue of this.queues) queue.legacy = this.legacy;
    }
    if (this.#interface === wanted) return true;
    this.note(
      'interface-mix',
      `the driver writes registers of the ${wanted} interface, but uses the other (1.3.1); ignored`,
    );
    return false;
  }

  // ---- what the function says ---------------------------------------------------------------------------------------

  protected override get mayRun(): boolean {
    return this.pciHost.busMaster;
  }

  /** Bus Master Enable has changed. */
  busMasterChanged(): void | Promise<void> {
    return this.#wait(() => this.mayRunChanged());
  }

  protected override resetState(): void {
    super.resetState();
    this.#interface = this.#only;
    for (const queue of this.queues) queue.legacy = this.legacy;
    this.#clearVectors();
  }

  override async machineReset(): Promise<void> {
    await super.machineReset();
    this.#deviceFeatureSelect = 0;
    this.#driverFeatureSelect = 0;
  }
}
