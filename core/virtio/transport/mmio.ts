/**
 * The virtio-mmio transport of one device, on the control thread: version 2 (virtio 1.3, section 4.2) and, by choice,
 * the legacy version 1 (section 4.2.4). What the driver does that the spec leaves open is done as QEMU does it.
 *
 * A register access that must wait for the I/O worker (a reset: the worker must have let go of the queues first) gives
 * a promise, and accesses that come meanwhile, from other harts, wait behind it. The control thread never blocks.
 */
import { errorLine } from '../../errors.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { IoErrorEvent } from '../backend/backend.ts';
import type { QueueServer } from '../backend/queue-server.ts';
import type { DeviceHost, VirtioDevice } from '../device.ts';
import type { ConfiguredQueue } from '../queue/configured-queue.ts';
import {
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
  featureMask,
  hasFeature,
} from '../spec/features.ts';
import * as reg from '../spec/mmio.ts';
import { STATUS_DEVICE_NEEDS_RESET, STATUS_DRIVER_OK, STATUS_FEATURES_OK } from '../spec/status.ts';
import { DeviceQueues } from './device-queues.ts';
import { writeStatus } from './device-status.ts';
import { featureProblem } from './feature-negotiation.ts';
import { HotWords } from './hot-words.ts';
import { InterruptLine } from './interrupt.ts';
import type { IrqSink } from './interrupt.ts';

const MODERN_FEATURES = featureMask(
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
  VIRTIO_F_RING_RESET,
);
/** Section 6.3. */
const LEGACY_FEATURES = featureMask(
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
);
/** Feature words that there are: bits 0..63. */
const FEATURE_WORDS = 2;
const ALL_ONES = 0xffff_ffff;

export interface MmioTransportOptions {
  memory: GuestMemory;
  slot: number;
  /** Source number at the interrupt controller. */
  irq: number;
  /** Version 1 instead of 2. */
  legacy: boolean;
  device: VirtioDevice;
  server: QueueServer;
  sink: IrqSink;
  /** Rules of the spec that the driver breaks, one line each. */
  note(message: string): void;
  event(event: IoErrorEvent): void;
}

export class MmioTransport implements DeviceHost {
  readonly slot: number;
  readonly irq: number;
  readonly legacy: boolean;
  readonly device: VirtioDevice;
  /** Bits of device and transport. */
  readonly offered: bigint;
  readonly #options: MmioTransportOptions;
  readonly #queues: DeviceQueues;
  readonly #line: InterruptLine;
  readonly #hot: HotWords;

  #status = 0;
  #driverFeatures = 0n;
  #negotiated = 0n;
  #error: string | null = null;
  #deviceFeaturesSel = 0;
  #driverFeaturesSel = 0;
  #queueSel = 0;
  /** Legacy: GuestPageSize. */
  #pageSize = 1;
  /** What accesses wait for. */
  #busy: Promise<void> | null = null;

  constructor(options: MmioTransportOptions) {
    const { memory, slot, irq, legacy, device, server, sink, note, event } = options;
    this.#options = options;
    this.slot = slot;
    this.irq = irq;
    this.legacy = legacy;
    this.device = device;
    this.offered = device.features | (legacy ? LEGACY_FEATURES : MODERN_FEATURES);
    this.#line = new InterruptLine(memory.memory, slot, irq, sink);
    this.#hot = new HotWords(memory.memory, slot);
    const failed = (reason: string) => this.needsReset(reason);
    this.#queues = new DeviceQueues({ memory, slot, legacy, device, server, hot: this.#hot, failed, note, event });
  }

  /** Resolves when the worker has the device's back end; rejected with a RingsideError when it cannot. */
  async plug(): Promise<void> {
    await this.#queues.plug(this.irq);
    this.device.host = this;
    this.#line.clear();
    this.#hot.plug(this.irq, this.queues.length, this.#options.server.waitBlock);
  }

  /** Resets the device and takes it from the worker. */
  async unplug(): Promise<void> {
    this.#hot.unplug();
    await this.reset();
    this.device.host = null;
    await this.#queues.unplug();
  }

  get queues(): readonly ConfiguredQueue[] {
    return this.#queues.all;
  }

  get version(): number {
    return this.legacy ? reg.MMIO_VERSION_LEGACY : reg.MMIO_VERSION_MODERN;
  }

  get status(): number {
    return this.#status;
  }

  get driverFeatures(): bigint {
    return this.#driverFeatures;
  }

  get negotiated(): bigint {
    return this.#negotiated;
  }

  get interruptStatus(): number {
    return this.#line.status;
  }

  /** Why DEVICE_NEEDS_RESET is set or FEATURES_OK was refused; null when neither. */
  get error(): string | null {
    return this.#error;
  }

  // ---- register accesses --------------------------------------------------------------------------------------------

  /**
   * @param offset 0..0x1ff, a multiple of `size`
   * @param size 1, 2 or 4 bytes
   * @returns the value, zero-extended
   */
  read(offset: number, size: number): number | Promise<number> {
    if (this.#busy) return this.#busy.then(() => this.read(offset, size));
    if (offset >= reg.MMIO_CONFIG) return this.device.config.read(offset - reg.MMIO_CONFIG, size);
    if (size !== 4) {
      this.#note(`register 0x${offset.toString(16)} read with ${size} bytes (4.2.2.2)`);
      return 0;
    }
    return this.#readRegister(offset);
  }

  /** As read(). A promise must be waited for before the hart goes on. */
  write(offset: number, size: number, value: number): void | Promise<void> {
    if (this.#busy) return this.#busy.then(() => this.write(offset, size, value));
    if (offset >= reg.MMIO_CONFIG) return this.#writeConfig(offset - reg.MMIO_CONFIG, size, value);
    if (size !== 4) return this.#note(`register 0x${offset.toString(16)} written with ${size} bytes (4.2.2.2)`);
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
        return featureWord(this.offered, this.#deviceFeaturesSel);
      case reg.MMIO_QUEUE_SIZE_MAX:
        return this.#queue?.maxSize ?? 0;
      case reg.MMIO_INTERRUPT_STATUS:
        return this.#line.status;
      case reg.MMIO_STATUS:
        return this.#status;
    }
    return this.legacy ? this.#readLegacy(offset) : this.#readModern(offset);
  }

  #readModern(offset: number): number {
    switch (offset) {
      case reg.MMIO_QUEUE_READY:
        return this.#queue?.enabled ? 1 : 0;
      case reg.MMIO_QUEUE_RESET:
        // A reset that is going on makes this access wait (section 2.6.1).
        return 0;
      case reg.MMIO_CONFIG_GENERATION:
        return this.#hot.configGeneration;
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
    if (offset === reg.MMIO_QUEUE_PFN) return this.#queue?.pfn ?? 0;
    return this.#badRead(offset);
  }

  #badRead(offset: number): number {
    this.#note(`read of register 0x${offset.toString(16)}, which cannot be read (4.2.2.2)`);
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
        return this.legacy ? this.#legacyDriverFeatures(value) : this.#writeDriverFeatures(value);
      case reg.MMIO_QUEUE_SEL:
        this.#queueSel = value;
        return;
      case reg.MMIO_QUEUE_SIZE:
        return this.#configureQueue('QueueSize', (queue) => (queue.size = value));
      case reg.MMIO_QUEUE_NOTIFY:
        return this.#hot.notify(value);
      case reg.MMIO_INTERRUPT_ACK:
        return this.#line.acknowledge(value);
      case reg.MMIO_STATUS:
        return this.#writeStatus(value & 0xff);
    }
    return this.legacy ? this.#writeLegacy(offset, value) : this.#writeModern(offset, value);
  }

  #writeModern(offset: number, value: number): void | Promise<void> {
    switch (offset) {
      case reg.MMIO_QUEUE_DESC_LOW:
        return this.#configureQueue('QueueDescLow', (queue) => (queue.descriptor.low = value));
      case reg.MMIO_QUEUE_DESC_HIGH:
        return this.#configureQueue('QueueDescHigh', (queue) => (queue.descriptor.high = value));
      case reg.MMIO_QUEUE_DRIVER_LOW:
        return this.#configureQueue('QueueDriverLow', (queue) => (queue.driver.low = value));
      case reg.MMIO_QUEUE_DRIVER_HIGH:
        return this.#configureQueue('QueueDriverHigh', (queue) => (queue.driver.high = value));
      case reg.MMIO_QUEUE_DEVICE_LOW:
        return this.#configureQueue('QueueDeviceLow', (queue) => (queue.device.low = value));
      case reg.MMIO_QUEUE_DEVICE_HIGH:
        return this.#configureQueue('QueueDeviceHigh', (queue) => (queue.device.high = value));
      case reg.MMIO_QUEUE_READY:
        return this.#writeQueueReady(value);
      case reg.MMIO_QUEUE_RESET:
        return this.#writeQueueReset(value);
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
        return this.#configureQueue('QueueAlign', (queue) => (queue.align = value));
      case reg.MMIO_QUEUE_PFN:
        return this.#writeQueuePfn(value);
    }
    return this.#badWrite(offset);
  }

  #badWrite(offset: number): void {
    this.#note(`write to register 0x${offset.toString(16)}, which cannot be written (4.2.2.2)`);
  }

  // ---- features and status ------------------------------------------------------------------------------------------

  #writeDriverFeatures(value: number): void {
    if (this.#status & STATUS_FEATURES_OK) {
      return this.#note('driver features written after FEATURES_OK (3.1.1); ignored');
    }
    if (this.#driverFeaturesSel >= FEATURE_WORDS) {
      if (value !== 0) this.#note(`driver features of word ${this.#driverFeaturesSel} written (2.2.1); ignored`);
      return;
    }
    this.#driverFeatures = withFeatureWord(this.#driverFeatures, this.#driverFeaturesSel, value);
  }

  /** Section 3.1.2: there is no FEATURES_OK, so features hold from when they are written. */
  #legacyDriverFeatures(value: number): void | Promise<void> {
    if (this.#driverFeaturesSel !== 0) {
      if (value !== 0) this.#note('legacy drivers have features 0 to 31 only (2.2.3); ignored');
      return;
    }
    this.#driverFeatures = BigInt(value);
    const problem = featureProblem(this.offered, this.#driverFeatures, this.device.featureInfo);
    if (problem) this.#note(`${problem}; only what was offered is taken`);
    this.#negotiated = this.#driverFeatures & this.offered;
    this.device.negotiated(this.#negotiated, true);
    const { running } = this.#queues;
    if (running.length === 0) return;
    return this.#hold(this.#queues.deactivate(running).then(() => this.#activate(running)));
  }

  #writeStatus(value: number): void | Promise<void> {
    if (value === 0) return this.reset();
    const { added, notes } = writeStatus(this.#status, value, this.legacy);
    for (const note of notes) this.#note(note);
    if (added & STATUS_FEATURES_OK && !this.#acceptFeatures()) {
      // Section 2.2.2: FEATURES_OK stays clear. Nor can the device go live with it.
      this.#status |= added & ~(STATUS_FEATURES_OK | STATUS_DRIVER_OK);
      return;
    }
    this.#status |= added;
    // A legacy driver's queues run already (section 3.1.2).
    if (added & STATUS_DRIVER_OK && !this.legacy) this.#activate(this.queues.filter(({ enabled }) => enabled));
  }

  #acceptFeatures(): boolean {
    const problem = featureProblem(this.offered, this.#driverFeatures, this.device.featureInfo);
    if (problem) {
      this.#error = `FEATURES_OK refused: ${problem}`;
      this.#note(this.#error);
      return false;
    }
    this.#error = null;
    this.#negotiated = this.#driverFeatures;
    this.device.negotiated(this.#negotiated, false);
    return true;
  }

  /** Section 2.1.2: the device cannot go on. Legacy drivers have no bit to see it by. */
  needsReset(reason: string): void {
    this.#error = reason;
    this.#note(`needs a reset: ${reason}`);
    if (this.legacy) return;
    this.#status |= STATUS_DEVICE_NEEDS_RESET;
    if (this.#status & STATUS_DRIVER_OK) this.#line.raise(reg.ISR_CONFIG_CHANGE);
  }

  /** Device reset (section 2.4). When it is done, the worker has let go of all queues. */
  reset(): void | Promise<void> {
    if (this.#busy) return this.#busy.then(() => this.reset());
    const { running } = this.#queues;
    if (running.length === 0) return this.#resetState();
    return this.#hold(this.#queues.deactivate(running).then(() => this.#resetState()));
  }

  /** Machine reset: also what a device reset leaves, because drivers (Linux) write it before they reset the device. */
  async machineReset(): Promise<void> {
    await this.reset();
    this.#deviceFeaturesSel = 0;
    this.#driverFeaturesSel = 0;
    this.#pageSize = 1;
  }

  #resetState(): void {
    this.#status = 0;
    this.#driverFeatures = 0n;
    this.#negotiated = 0n;
    this.#error = null;
    this.#queueSel = 0;
    this.#queues.reset();
    this.device.reset();
    this.#line.clear();
  }

  // ---- queues -------------------------------------------------------------------------------------------------------

  get #queue(): ConfiguredQueue | undefined {
    return this.queues[this.#queueSel];
  }

  #configureQueue(register: string, change: (queue: ConfiguredQueue) => void): void {
    const queue = this.#queue;
    if (!queue) return this.#note(`${register} written for queue ${this.#queueSel}, which does not exist`);
    if (queue.enabled) return this.#note(`${register} written while ${queue.name} is in use (4.2.2.2); ignored`);
    change(queue);
  }

  #writeQueueReady(value: number): void | Promise<void> {
    const queue = this.#queue;
    if (!queue) return this.#note(`QueueReady written for queue ${this.#queueSel}, which does not exist`);
    const ready = (value & 1) !== 0;
    if (ready === queue.enabled) return;
    queue.enabled = ready;
    if (ready) {
      if (this.#status & STATUS_DRIVER_OK) this.#activate([queue]);
      return;
    }
    if (queue.running) return this.#hold(this.#queues.deactivate([queue]).then(() => this.#restart(queue)));
  }

  /** Section 2.6.1. */
  #writeQueueReset(value: number): void | Promise<void> {
    const queue = this.#queue;
    if (!queue || !(value & 1)) return;
    if (!hasFeature(this.#negotiated, VIRTIO_F_RING_RESET)) {
      return this.#note('QueueReset written without VIRTIO_F_RING_RESET (4.2.2); ignored');
    }
    if (!queue.running) return queue.reset();
    return this.#hold(this.#queues.deactivate([queue]).then(() => queue.reset()));
  }

  /** A stopped queue begins anew when it is enabled again. */
  #restart(queue: ConfiguredQueue): void {
    queue.position = { availIdx: 0, usedIdx: 0 };
  }

  /** Legacy: sets the queue up and starts it, or stops it. */
  #writeQueuePfn(value: number): void | Promise<void> {
    const queue = this.#queue;
    if (!queue) return this.#note(`QueuePFN written for queue ${this.#queueSel}, which does not exist`);
    if (value === 0) {
      if (!queue.running) return queue.reset();
      return this.#hold(this.#queues.deactivate([queue]).then(() => queue.reset()));
    }
    if (queue.enabled) return this.#note(`QueuePFN written while ${queue.name} is in use (4.2.4); ignored`);
    queue.pfn = value;
    queue.pageSize = this.#pageSize;
    queue.enabled = true;
    // The driver may use it before DRIVER_OK (section 3.1.2).
    this.#activate([queue]);
  }

  #activate(queues: readonly ConfiguredQueue[]): void {
    if (!(this.#status & STATUS_DEVICE_NEEDS_RESET)) this.#queues.activate(queues, this.#negotiated);
  }

  // ---- the device's configuration space -----------------------------------------------------------------------------

  #writeConfig(offset: number, size: number, value: number): void | Promise<void> {
    if (!this.device.config.write(offset, size, value)) {
      return this.#note(`write of ${size} bytes to configuration offset ${offset}, which is read-only (2.5.1)`);
    }
    const wait = this.device.configWritten(offset, size);
    if (wait) return this.#hold(wait);
  }

  configChanged(): void {
    this.#hot.nextConfigGeneration();
    if (this.#status & STATUS_DRIVER_OK) this.#line.raise(reg.ISR_CONFIG_CHANGE);
  }

  async configureBackend(change: unknown): Promise<void> {
    await this.#options.server.configure(this.slot, change);
  }

  wakeBackend(): void {
    this.#options.server.wake();
  }

  // ---- waiting ------------------------------------------------------------------------------------------------------

  /** Makes this access, and those behind it, wait for `work`. */
  #hold(work: Promise<void>): Promise<void> {
    const done: Promise<void> = work
      .catch((error: unknown) => this.needsReset(errorLine(error)))
      .finally(() => {
        if (this.#busy === done) this.#busy = null;
      });
    this.#busy = done;
    return done;
  }

  #note(message: string): void {
    this.#options.note(message);
  }
}

function featureWord(features: bigint, word: number): number {
  if (word >= FEATURE_WORDS) return 0;
  return Number((features >> BigInt(32 * word)) & 0xffff_ffffn);
}

function withFeatureWord(features: bigint, word: number, value: number): bigint {
  const shift = BigInt(32 * word);
  return (features & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
}
