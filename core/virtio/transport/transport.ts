/**
 * What the transports of a virtio device have in common, on the control thread: status, feature negotiation, queues, reset
 * (virtio 1.3, sections 2.1 to 2.6 and 3.1). A transport decodes its registers and calls what is here. What the driver
 * does that the spec leaves open is done as QEMU does it.
 *
 * A register access that must wait for the I/O worker (a reset: the worker must have let go of the queues first) gives
 * a promise, and accesses that come meanwhile, from other harts, wait behind it. The control thread never blocks.
 */
import type { QueueCommand, QueueControl } from '../../api/inspect.ts';
import type { LintFinding } from '../../api/lint.ts';
import { RingsideError, errorLine } from '../../errors.ts';
import type { CaptureOptions, CaptureState } from '../../inspect/capture-writer.ts';
import type { ObservationSpec } from '../../inspect/queue-watch.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { IoErrorEvent } from '../backend/backend.ts';
import type { QueueServer } from '../backend/queue-server.ts';
import type { DeviceHost, VirtioDevice } from '../device.ts';
import type { ConfiguredQueue } from '../queue/configured-queue.ts';
import { inspectQueue, inspectSlot } from '../inspect.ts';
import type { InspectOptions, RingElement } from '../inspect.ts';
import { DriverLinter } from '../lint/driver-linter.ts';
import { mergeFindings } from '../lint/findings.ts';
import type { LintRule } from '../lint/rules.ts';
import { LEGACY_RING_FEATURES, MODERN_RING_FEATURES, ringFeatureBits } from '../queue/ring-features.ts';
import { VIRTIO_F_RING_RESET, hasFeature } from '../spec/features.ts';
import { STATUS_BITS, STATUS_DEVICE_NEEDS_RESET, STATUS_DRIVER_OK, STATUS_FEATURES_OK } from '../spec/status.ts';
import type { Trace } from '../../trace/trace.ts';
import { DeviceQueues } from './device-queues.ts';
import type { TransportKind } from './device-queues.ts';
import { writeStatus } from './device-status.ts';
import { featureProblem } from './feature-negotiation.ts';
import { HotWords } from './hot-words.ts';
import type { Interrupt, InterruptSpec } from './interrupt.ts';

/** A legacy driver has no more. */
const LEGACY_WORD = 0xffff_ffffn;
/** Feature words that there are: bits 0..63. */
export const FEATURE_WORDS = 2;

export interface TransportOptions {
  memory: GuestMemory;
  /** Of the shared words, 0..MAX_VIRTIO-1. */
  slot: number;
  device: VirtioDevice;
  server: QueueServer;
  /** Bits of transport and rings that are offered; those that a driver's interface does not know are left out (ringFeatureBits). */
  ringFeatures?: bigint;
  /** Rules of the spec that the driver breaks, one line each. */
  note(message: string): void;
  event(event: IoErrorEvent): void;
  trace?: Trace;
}

export abstract class VirtioTransport implements DeviceHost {
  /** As the inspector shows it, e.g. "virtio-mmio". */
  abstract readonly name: string;
  /** The guest physical address of its registers; null while they are nowhere. */
  abstract readonly base: number | null;
  /** The interrupt controller's source. */
  abstract readonly irq: number;
  /** Version of the interface. */
  abstract readonly version: number;
  /** Whether the driver uses the legacy interface (section 1.3.1), as far as is known. */
  abstract readonly legacy: boolean;
  protected abstract readonly interrupt: Interrupt;
  protected abstract readonly interruptSpec: InterruptSpec;

  readonly slot: number;
  readonly device: VirtioDevice;
  protected readonly options: TransportOptions;
  protected readonly hot: HotWords;
  readonly #queues: DeviceQueues;
  readonly #linter = new DriverLinter();
  readonly #ringFeatures: bigint;

  #status = 0;
  /** When each bit of the status was set, ms since 1970. */
  readonly #setAt = new Map<number, number>();
  #driverFeatures = 0n;
  #negotiated = 0n;
  #error: string | null = null;
  /** Selects the queue that queue registers are about. */
  protected queueSel = 0;
  /** What accesses wait for. */
  #busy: Promise<void> | null = null;

  constructor(options: TransportOptions, kind: TransportKind) {
    const { memory, slot, device, server, note, event, ringFeatures = ringFeatureBits() } = options;
    this.options = options;
    this.slot = slot;
    this.device = device;
    this.#ringFeatures = ringFeatures;
    this.hot = new HotWords(memory.memory, slot);
    const failed = (reason: string, rule?: LintRule, queue?: number) => {
      if (rule !== undefined) this.#linter.found(rule, queue ?? null, () => reason);
      this.needsReset(reason);
    };
    const found = (rule: LintRule, queue: number, detail: () => string) => this.found(rule, queue, detail);
    this.#queues = new DeviceQueues({ memory, slot, kind, device, server, hot: this.hot, failed, found, note, event });
  }

  /** Resolves when the worker has the device's back end; rejected with a RingsideError when it cannot. */
  async plug(): Promise<void> {
    await this.#queues.plug(this.interruptSpec);
    this.device.host = this;
    this.interrupt.clear();
    const { server } = this.options;
    this.hot.plug(
      this.interruptSpec.irq,
      this.queues.map(({ index }) => server.waitBlockOf(index)),
    );
  }

  /** Resets the device and takes it from the worker. */
  async unplug(): Promise<void> {
    this.hot.unplug();
    await this.reset();
    this.device.host = null;
    await this.#queues.unplug();
  }

  get queues(): readonly ConfiguredQueue[] {
    return this.#queues.all;
  }

  /** Bits of device and transport, as the driver's interface shows them. */
  get offered(): bigint {
    return this.offeredTo(this.legacy);
  }

  protected offeredTo(legacy: boolean): bigint {
    const { features } = this.device;
    if (legacy) return (features | (this.#ringFeatures & LEGACY_RING_FEATURES)) & LEGACY_WORD;
    return features | (this.#ringFeatures & MODERN_RING_FEATURES);
  }

  get status(): number {
    return this.#status;
  }

  /** As a driver reads it. */
  protected statusRead(): number {
    this.#linter.statusRead();
    return this.#status;
  }

  /** What the driver was found to do, most serious first; `clear`: and forgets it. */
  async findings(clear = false): Promise<LintFinding[]> {
    // A server that is gone has found what it has.
    const deep = await this.options.server.findings(this.slot, clear).catch(() => []);
    const all = mergeFindings([...this.#linter.findings.counts, ...deep]);
    if (clear) this.#linter.findings.clear();
    return all;
  }

  /** Counts a queue's notifications, modulo 2^32. */
  doorbell(queue: number): number {
    return this.hot.doorbell(queue);
  }

  /** The driver was found to break a rule of the linter. */
  found(rule: LintRule, queue: number, detail: () => string): void {
    this.#linter.found(rule, queue, detail);
  }

  get driverFeatures(): bigint {
    return this.#driverFeatures;
  }

  get negotiated(): bigint {
    return this.#negotiated;
  }

  /** The queue that the driver has selected. */
  get selectedQueue(): number {
    return this.queueSel;
  }

  get interruptStatus(): number {
    return this.interrupt.status;
  }

  /** Why DEVICE_NEEDS_RESET is set or FEATURES_OK was refused; null when neither. */
  get error(): string | null {
    return this.#error;
  }

  // ---- features and status ------------------------------------------------------------------------------------------

  /** 32 of the features that are offered; 0 for words that there are not. */
  protected deviceFeatureWord(word: number): number {
    return this.featureWordTo(this.legacy, word);
  }

  /** The same as one of the interfaces shows them. */
  protected featureWordTo(legacy: boolean, word: number): number {
    return featureWord(this.offeredTo(legacy), word);
  }

  protected driverFeatureWord(word: number): number {
    return featureWord(this.#driverFeatures, word);
  }

  protected writeDriverFeatures(word: number, value: number): void {
    if (this.#status & STATUS_FEATURES_OK) {
      return this.note('features-late', 'driver features written after FEATURES_OK (3.1.1); ignored');
    }
    if (word >= FEATURE_WORDS) {
      if (value !== 0) this.note('features-unoffered', `driver features of word ${word} written (2.2.1); ignored`);
      return;
    }
    this.#driverFeatures = withFeatureWord(this.#driverFeatures, word, value);
  }

  /** Section 3.1.2: there is no FEATURES_OK, so features hold from when they are written. */
  protected writeLegacyFeatures(value: number): void | Promise<void> {
    this.#driverFeatures = BigInt(value);
    const problem = featureProblem(this.offered, this.#driverFeatures, this.device.featureInfo);
    if (problem) this.note('features-unoffered', `${problem}; only what was offered is taken`);
    this.#negotiated = this.#driverFeatures & this.offered;
    this.device.negotiated(this.#negotiated, true);
    const { running } = this.#queues;
    if (running.length === 0) return;
    return this.hold(this.#queues.deactivate(running).then(() => this.activate(running)));
  }

  /** @param value 8 bits */
  protected writeStatus(value: number): void | Promise<void> {
    this.options.trace?.emit('virtio_set_status', `vdev ${this.device.id} val ${value}`);
    if (value === 0) return this.reset();
    this.#linter.statusWritten(this.#status, value, this.legacy, () => this.hot.doorbells(this.queues.length));
    const { added, notes } = writeStatus(this.#status, value, this.legacy);
    for (const note of notes) this.note('status-order', note);
    if (added & STATUS_FEATURES_OK && !this.#acceptFeatures()) {
      // Section 2.2.2: FEATURES_OK stays clear. Nor can the device go live with it.
      this.#setStatus(added & ~(STATUS_FEATURES_OK | STATUS_DRIVER_OK));
      return;
    }
    this.#setStatus(added);
    // A legacy driver's queues run already (section 3.1.2).
    if (added & STATUS_DRIVER_OK && !this.legacy) this.activate(this.queues.filter(({ enabled }) => enabled));
  }

  #setStatus(bits: number): void {
    for (const { bit, mask } of STATUS_BITS) if (bits & mask & ~this.#status) this.#setAt.set(bit, Date.now());
    this.#status |= bits;
  }

  /** When a bit of the status was set, ms since 1970; null while it is not. */
  statusSetAt(bit: number): number | null {
    return this.#setAt.get(bit) ?? null;
  }

  #acceptFeatures(): boolean {
    const problem = featureProblem(this.offered, this.#driverFeatures, this.device.featureInfo);
    if (problem) {
      this.#error = `FEATURES_OK refused: ${problem}`;
      this.note('features-unoffered', this.#error);
      return false;
    }
    this.#error = null;
    this.#linter.featuresAccepted(this.offered, this.#driverFeatures);
    this.#negotiated = this.#driverFeatures;
    this.device.negotiated(this.#negotiated, false);
    return true;
  }

  /** Section 2.1.2: the device cannot go on. Legacy drivers have no bit to see it by. */
  needsReset(reason: string): void {
    this.#error = reason;
    this.options.note(`needs a reset: ${reason}`);
    if (this.legacy) return;
    this.#setStatus(STATUS_DEVICE_NEEDS_RESET);
    if (this.#status & STATUS_DRIVER_OK) this.interrupt.configChange();
  }

  /** Device reset (section 2.4). When it is done, the worker has let go of all queues. */
  reset(): void | Promise<void> {
    const busy = this.whenFree(() => this.reset());
    if (busy) return busy;
    const { running } = this.#queues;
    if (running.length === 0) return this.resetState();
    return this.hold(this.#queues.deactivate(running).then(() => this.resetState()));
  }

  /** Entries that the selected queue can have; 0: there is none. */
  get queueSizeMax(): number {
    return this.queue?.maxSize ?? 0;
  }

  /** Whether harts serve the registers that they can serve by themselves, or have the control thread serve all. */
  serveHot(served: boolean): void {
    this.hot.serve(served);
  }

  /** Machine reset: also what a device reset leaves. */
  async machineReset(): Promise<void> {
    await this.reset();
  }

  protected resetState(): void {
    this.#status = 0;
    this.#setAt.clear();
    this.#driverFeatures = 0n;
    this.#negotiated = 0n;
    this.#error = null;
    this.queueSel = 0;
    this.#linter.reset(this.hot.doorbells(this.queues.length));
    this.#queues.reset();
    this.device.reset();
    this.interrupt.clear();
  }

  // ---- queues -------------------------------------------------------------------------------------------------------

  protected get queue(): ConfiguredQueue | undefined {
    return this.queues[this.queueSel];
  }

  /** The selected queue, if `register` may be written for it now; otherwise that is noted. */
  protected configureQueue(register: string, change: (queue: ConfiguredQueue) => void): void {
    const queue = this.queue;
    if (!queue)
      return this.note('queue-missing', `${register} written for queue ${this.queueSel}, which does not exist`);
    if (queue.enabled)
      return this.note('queue-busy', `${register} written while ${queue.name} is in use (4.2.2.2); ignored`);
    change(queue);
  }

  /** Makes the queue ready: it runs if the device is live, or else when it goes live. */
  protected enableQueue(queue: ConfiguredQueue): void {
    queue.enabled = true;
    if (this.#status & STATUS_DRIVER_OK) this.activate([queue]);
  }

  /** Takes readiness from the queue. It begins anew when it is enabled again. */
  protected disableQueue(queue: ConfiguredQueue): void | Promise<void> {
    queue.enabled = false;
    if (queue.running) return this.hold(this.#queues.deactivate([queue]).then(() => queue.restart()));
  }

  /** Takes a queue from the server; it keeps its place, and goes on when it is enabled again. */
  protected async stopQueue(queue: ConfiguredQueue): Promise<void> {
    queue.enabled = false;
    if (queue.running) await this.#queues.deactivate([queue]);
  }

  /** Section 2.6.1. */
  protected resetQueue(value: number): void | Promise<void> {
    const queue = this.queue;
    if (!queue || !(value & 1)) return;
    if (!hasFeature(this.#negotiated, VIRTIO_F_RING_RESET)) {
      return this.note('queue-reset', 'queue reset written without VIRTIO_F_RING_RESET (2.6.1); ignored');
    }
    return this.#clearQueue(queue);
  }

  #clearQueue(queue: ConfiguredQueue): void | Promise<void> {
    if (!queue.running) return queue.reset();
    return this.hold(this.#queues.deactivate([queue]).then(() => queue.reset()));
  }

  /** Legacy: sets the selected queue up and starts it, or stops it. */
  protected writeQueuePfn(value: number, pageSize: number): void | Promise<void> {
    const queue = this.queue;
    if (!queue)
      return this.note('queue-missing', `queue address written for queue ${this.queueSel}, which does not exist`);
    if (value === 0) return this.#clearQueue(queue);
    if (queue.enabled)
      return this.note('queue-busy', `queue address written while ${queue.name} is in use (2.7.2); ignored`);
    queue.pfn = value;
    queue.pageSize = pageSize;
    queue.enabled = true;
    // The driver may use it before DRIVER_OK (section 3.1.2).
    this.activate([queue]);
  }

  /** Whether the device may use its queues now, as far as the transport is concerned. */
  protected get mayRun(): boolean {
    return true;
  }

  /** mayRun has changed. */
  protected mayRunChanged(): void | Promise<void> {
    if (this.mayRun) {
      const live = this.legacy || (this.#status & STATUS_DRIVER_OK) !== 0;
      if (live) this.activate(this.queues.filter(({ enabled, running }) => enabled && !running));
      return;
    }
    const { running } = this.#queues;
    if (running.length > 0) return this.hold(this.#queues.deactivate(running));
  }

  protected activate(queues: readonly ConfiguredQueue[]): void {
    if (!this.mayRun) return;
    if (!(this.#status & STATUS_DEVICE_NEEDS_RESET)) this.#queues.activate(queues, this.#negotiated);
  }

  // ---- the device's configuration space -----------------------------------------------------------------------------

  protected readConfig(offset: number, size: number): number {
    this.#linter.configRead(offset, size, this.hot.configGeneration);
    return this.device.config.read(offset, size);
  }

  protected writeConfig(offset: number, size: number, value: number): void | Promise<void> {
    if (!this.device.config.write(offset, size, value)) {
      return this.note(
        'config-readonly',
        `write of ${size} bytes to configuration offset ${offset}, which is read-only (2.5.1)`,
      );
    }
    const wait = this.device.configWritten(offset, size);
    if (wait) return this.hold(wait);
  }

  configChanged(): void {
    this.hot.nextConfigGeneration();
    if (this.#status & STATUS_DRIVER_OK) this.interrupt.configChange();
  }

  /**
   * A slot of a queue's ring, read now, and what the device has of it.
   *
   * @param slot 0 to the queue's size - 1; null: what the device takes next
   * @throws RingsideError 'bad-state' when the queue cannot be looked at
   */
  async inspectSlot(index: number, slot: number | null): Promise<RingElement> {
    return inspectSlot(await this.inspection(index), slot);
  }

  /** All live chains of a queue's ring: what the device has, oldest first, then what it takes next. As inspectSlot(). */
  async inspectQueue(index: number): Promise<RingElement[]> {
    return inspectQueue(await this.inspection(index));
  }

  /**
   * A queue's ring, for who looks at it as a whole: where it is, and what the device has of it now.
   *
   * @throws RingsideError 'bad-state' when the queue cannot be looked at
   */
  async inspection(index: number): Promise<InspectOptions> {
    const { memory, server } = this.options;
    const queue = this.queues[index] as ConfiguredQueue | undefined;
    const running = queue?.running ? await server.held(this.slot, index) : null;
    const features = this.#negotiated;
    if (!queue?.enabled) {
      throw new RingsideError('bad-state', `Queue ${index} of ${this.device.id} has not been set up by the driver.`);
    }
    const problem = queue.problem(memory, features);
    if (problem)
      throw new RingsideError('bad-state', `Queue ${index} of ${this.device.id} cannot be read: ${problem}.`);
    const position = running?.position ?? queue.position;
    return { queue, memory, features, position, held: running?.chains ?? [] };
  }

  /** Lets events of a queue go into a ring, or nowhere; also when it runs later. @throws RangeError, RingsideError */
  async observeQueue(index: number, spec: ObservationSpec | null): Promise<void> {
    await this.options.server.observe(this.slot, { index, name: this.queueName(index) }, spec);
  }

  /** Stops, steps or disturbs a queue. @throws RingsideError */
  async controlQueue(index: number, command: QueueCommand): Promise<QueueControl> {
    return this.options.server.control(this.slot, { index, name: this.queueName(index) }, command);
  }

  /** Begins, ends or looks at the capture of a queue: see QueueServer. @throws RingsideError */
  async captureQueue(index: number, options?: CaptureOptions | null): Promise<CaptureState | null> {
    return this.options.server.capture(this.slot, { index, name: this.queueName(index) }, options);
  }

  /** What the device calls a queue, with what is negotiated. */
  queueName(index: number): string {
    return this.device.queueName(index, this.#negotiated);
  }

  async configureBackend(change: unknown): Promise<void> {
    await this.options.server.configure(this.slot, change);
  }

  wakeBackend(): void {
    this.options.server.wake();
  }

  // ---- waiting ------------------------------------------------------------------------------------------------------

  /** While an access is being waited for: does `access` behind it. Otherwise null: do it now. */
  protected whenFree<T>(access: () => T | Promise<T>): Promise<T> | null {
    return this.#busy === null ? null : this.#busy.then(access);
  }

  /** Makes this access, and those behind it, wait for `work`. */
  protected hold(work: Promise<void>): Promise<void> {
    const done: Promise<void> = work
      .catch((error: unknown) => this.needsReset(errorLine(error)))
      .finally(() => {
        if (this.#busy === done) this.#busy = null;
      });
    this.#busy = done;
    return done;
  }

  /** The driver broke a rule of the spec; one line says how. */
  protected note(rule: LintRule, message: string): void {
    this.#linter.found(rule, null, () => message);
    this.options.note(message);
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
