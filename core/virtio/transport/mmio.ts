/**
 * The virtio-mmio transport of one device, on the control thread: version 2 (virtio 1.3, section 4.2) and, by choice,
 * the legacy version 1 (section 4.2.4).
 */
import * as reg from '../spec/mmio.ts';
import { InterruptLine } from './interrupt.ts';
import type { InterruptSink, InterruptSpec } from './interrupt.ts';
import { VirtioTransport } from './transport.ts';
import type { TransportOptions } from './transport.ts';

const ALL_ONES = 0xffff_ffff;

export interface MmioTransportOptions extends TransportOptions {
  /** Guest physical address of the registers. */
  base: number;
  /** Source number at the interrupt controller. */
  irq: number;
  /** Version 1 instead of 2. */
  legacy: boolean;
  sink: InterruptSink;
}

export class MmioTransport extends VirtioTransport {
  readonly name = 'virtio-mmio';
  readonly base: number;
  readonly irq: number;
  readonly legacy: boolean;
  protected readonly interrupt: InterruptLine;
  protected readonly interruptSpec: InterruptSpec;
  #deviceFeaturesSel = 0;
  #driverFeaturesSel = 0;
  /** Legacy: GuestPageSize. */
  #pageSize = 1;

  constructor(options: MmioTransportOptions) {
    const { memory, slot, base, irq, legacy, sink } = options;
    super(options, { legacy, initialQueueSize: 0 });
    this.base = base;
    this.irq = irq;
    this.legacy = legacy;
    this.interrupt = new InterruptLine(memory.memory, slot, irq, sink);
    this.interruptSpec = { kind: 'line', irq };
  }

  get version(): number {
    return this.legacy ? reg.MMIO_VERSION_LEGACY : reg.MMIO_VERSION_MODERN;
  }

  // ---- register accesses --------------------------------------------------------------------------------------------

  /**
   * @param offset 0..0x1ff, a multiple of `size`
   * @param size 1, 2 or 4 bytes
   * @returns the value, zero-extended
   */
  read(offset: number, size: number): number | Promise<number> {
    const busy = this.whenFree(() => this.read(offset, size));
    if (busy) return busy;
    if (offset >= reg.MMIO_CONFIG) return this.readConfig(offset - reg.MMIO_CONFIG, size);
    if (size !== 4) {
      this.note('register-access', `register 0x${offset.toString(16)} read with ${size} bytes (4.2.2.2)`);
      return 0;
    }
    return this.#readRegister(offset);
  }

  /** As read(). A promise must be waited for before the hart goes on. */
  write(offset: number, size: number, value: number): void | Promise<void> {
    const busy = this.whenFree(() => this.write(offset, size, value));
    if (busy) return busy;
    if (offset >= reg.MMIO_CONFIG) return this.writeConfig(offset - reg.MMIO_CONFIG, size, value);
    if (size !== 4)
      return this.note('register-access', `register 0x${offset.toString(16)} written with ${size} bytes (4.2.2.2)`);
    return this.#writeRegister(offset, value >>> 0);
  }

  #readRegister(offset: number): number {
    switch (offset) {
      case reg.MMIO_MAGIC_VALUE:
        return reg.MMIO_MAGIC;
      case reg.MMIO_VERSION:
        return this.version;
      case reg.MMIO_DEVICE_ID:
        return this.device.virtioId;
      case reg.MMIO_VENDOR_ID:
        return reg.MMIO_VENDOR_QEMU;
      case reg.MMIO_DEVICE_FEATURES:
        return this.deviceFeatureWord(this.#deviceFeaturesSel);
      case reg.MMIO_QUEUE_SIZE_MAX:
        return this.queue?.maxSize ?? 0;
      case reg.MMIO_INTERRUPT_STATUS:
        return this.interruptStatus;
      case reg.MMIO_STATUS:
        return this.statusRead();
    }
    return this.legacy ? this.#readLegacy(offset) : this.#readModern(offset);
  }

  #readModern(offset: number): number {
    switch (offset) {
      case reg.MMIO_QUEUE_READY:
        return this.queue?.enabled ? 1 : 0;
      case reg.MMIO_QUEUE_RESET:
        // A reset that is going on makes this access wait (section 2.6.1).
        return 0;
      case reg.MMIO_CONFIG_GENERATION:
        return this.hot.configGeneration;
      // No device has shared memory regions (section 2.10): length and base of any are all ones.
      case reg.MMIO_SHM_LEN_LOW:
      case reg.MMIO_SHM_LEN_HIGH:
      case reg.MMIO_SHM_BASE_LOW:
      case reg.MMIO_SHM_BASE_HIGH:
        return ALL_ONES;
    }
    return this.#badRead(offset);
  }

  #readLegacy(offset: number): number {
    if (offset === reg.MMIO_QUEUE_PFN) return this.queue?.pfn ?? 0;
    return this.#badRead(offset);
  }

  #badRead(offset: number): number {
    this.note('register-access', `read of register 0x${offset.toString(16)}, which cannot be read (4.2.2.2)`);
    return 0;
  }

  #writeRegister(offset: number, value: number): void | Promise<void> {
    switch (offset) {
      case reg.MMIO_DEVICE_FEATURES_SEL:
        this.#deviceFeaturesSel = value;
        return;
      case reg.MMIO_DRIVER_FEATURES_SEL:
        this.#driverFeaturesSel = value;
        return;
      case reg.MMIO_DRIVER_FEATURES:
        return this.legacy
          ? this.#writeLegacyFeatures(value)
          : this.writeDriverFeatures(this.#driverFeaturesSel, value);
      case reg.MMIO_QUEUE_SEL:
        this.queueSel = value;
        return;
      case reg.MMIO_QUEUE_SIZE:
        return this.configureQueue('QueueSize', (queue) => (queue.size = value));
      case reg.MMIO_QUEUE_NOTIFY:
        return this.hot.notify(value);
      case reg.MMIO_INTERRUPT_ACK:
        return this.interrupt.acknowledge(value);
      case reg.MMIO_STATUS:
        return this.writeStatus(value & 0xff);
    }
    return this.legacy ? this.#writeLegacy(offset, value) : this.#writeModern(offset, value);
  }

  #writeModern(offset: number, value: number): void | Promise<void> {
    switch (offset) {
      case reg.MMIO_QUEUE_DESC_LOW:
        return this.configureQueue('QueueDescLow', (queue) => (queue.descriptor.low = value));
      case reg.MMIO_QUEUE_DESC_HIGH:
        return this.configureQueue('QueueDescHigh', (queue) => (queue.descriptor.high = value));
      case reg.MMIO_QUEUE_DRIVER_LOW:
        return this.configureQueue('QueueDriverLow', (queue) => (queue.driver.low = value));
      case reg.MMIO_QUEUE_DRIVER_HIGH:
        return this.configureQueue('QueueDriverHigh', (queue) => (queue.driver.high = value));
      case reg.MMIO_QUEUE_DEVICE_LOW:
        return this.configureQueue('QueueDeviceLow', (queue) => (queue.device.low = value));
      case reg.MMIO_QUEUE_DEVICE_HIGH:
        return this.configureQueue('QueueDeviceHigh', (queue) => (queue.device.high = value));
      case reg.MMIO_QUEUE_READY:
        return this.#writeQueueReady(value);
      case reg.MMIO_QUEUE_RESET:
        return this.resetQueue(value);
      case reg.MMIO_SHM_SEL:
        return;
    }
    return this.#badWrite(offset);
  }

  #writeLegacy(offset: number, value: number): void | Promise<void> {
    switch (offset) {
      case reg.MMIO_GUEST_PAGE_SIZE:
        // The lowest bit, as QEMU takes what is no power of 2.
        this.#pageSize = value === 0 ? 1 : (value & -value) >>> 0;
        return;
      case reg.MMIO_QUEUE_ALIGN:
        return this.configureQueue('QueueAlign', (queue) => (queue.align = value));
      case reg.MMIO_QUEUE_PFN:
        return this.writeQueuePfn(value, this.#pageSize);
    }
    return this.#badWrite(offset);
  }

  #badWrite(offset: number): void {
    this.note('register-access', `write to register 0x${offset.toString(16)}, which cannot be written (4.2.2.2)`);
  }

  /** Section 2.2.3. */
  #writeLegacyFeatures(value: number): void | Promise<void> {
    if (this.#driverFeaturesSel === 0) return this.writeLegacyFeatures(value);
    if (value !== 0) this.note('features-unoffered', 'legacy drivers have features 0 to 31 only (2.2.3); ignored');
  }

  #writeQueueReady(value: number): void | Promise<void> {
    const { queue } = this;
    if (!queue)
      return this.note('queue-missing', `QueueReady written for queue ${this.queueSel}, which does not exist`);
    const ready = (value & 1) !== 0;
    if (ready === queue.enabled) return;
    return ready ? this.enableQueue(queue) : this.disableQueue(queue);
  }

  /** Machine reset: also what a device reset leaves, because drivers (Linux) write it before they reset the device. */
  override async machineReset(): Promise<void> {
    await super.machineReset();
    this.#deviceFeaturesSel = 0;
    this.#driverFeaturesSel = 0;
    this.#pageSize = 1;
  }
}
