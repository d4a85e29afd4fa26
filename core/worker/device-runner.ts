/** One device on an I/O worker: its running queues, its doorbells, its back end. */
import type { QueueCommand, QueueControl } from '../api/inspect.ts';
import type { Host } from '../host/host.ts';
import type { CaptureOptions, CaptureState } from '../inspect/capture-writer.ts';
import { QueueLinter } from '../inspect/queue-linter.ts';
import { QueueWatch } from '../inspect/queue-watch.ts';
import type { ObservationSpec } from '../inspect/queue-watch.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { QueueId } from '../virtio/backend/queue-server.ts';
import type { BackendContext, VirtioBackend } from '../virtio/backend/backend.ts';
import type { HeldBuffers } from '../virtio/backend/queue-server.ts';
import { queueDecoder } from '../virtio/decoders.ts';
import type { RuleCount } from '../virtio/lint/findings.ts';
import { createRunningQueue } from '../virtio/queue/create-queue.ts';
import { QueueFault } from '../virtio/queue/queue-fault.ts';
import type { RunningQueue, RunningQueueConfig } from '../virtio/queue/running-queue.ts';
import { CallInterrupt } from '../virtio/transport/call-interrupt.ts';
import { createInterrupt } from '../virtio/transport/create-interrupt.ts';
import type { Interrupt, InterruptSink, InterruptSpec } from '../virtio/transport/interrupt.ts';
import type { DeactivateReply, IoThreadMessage } from './iothread-messages.ts';
import { IOT_MAX_BATCH, VIRTIO_BASE, VIRTIO_STRIDE, VQ_DOORBELL } from './layout.ts';

export interface DeviceRunnerOptions {
  memory: GuestMemory;
  slot: number;
  /** The device's type, e.g. "virtio-blk". */
  type: string;
  interrupt: InterruptSpec;
  sink: InterruptSink;
  host: Host;
  /** Linear address of the worker's wait block. */
  waitBlock: number;
  send(message: IoThreadMessage): void;
  make(context: BackendContext): VirtioBackend;
}

interface Served {
  readonly queue: RunningQueue;
  readonly config: RunningQueueConfig;
  /** The doorbell word as last seen. */
  doorbell: number;
  /** To be served whatever the doorbell says. */
  due: boolean;
  /** Somebody watches it. */
  watch: QueueWatch | null;
}

export class DeviceRunner {
  readonly #options: DeviceRunnerOptions;
  readonly #backend: VirtioBackend;
  readonly #interrupt: Interrupt;
  readonly #words: Int32Array<SharedArrayBuffer>;
  /** Running queues, by index. */
  #served: Served[] = [];
  /** Queues that somebody watches, by index, whether they run or not. */
  readonly #watches = new Map<number, QueueWatch>();
  /** What was found while somebody watched, by queue. */
  readonly #linters = new Map<number, QueueLinter>();

  constructor(options: DeviceRunnerOptions) {
    const { memory, slot, interrupt, sink, host, waitBlock, send } = options;
    this.#options = options;
    const maxBatch = new Int32Array(memory.memory.buffer as SharedArrayBuffer, waitBlock + IOT_MAX_BATCH, 1);
    this.#interrupt = createInterrupt(memory.memory, slot, interrupt, sink, host);
    this.#words = new Int32Array(
      memory.memory.buffer as SharedArrayBuffer,
      VIRTIO_BASE + slot * VIRTIO_STRIDE,
      VIRTIO_STRIDE / 4,
    );
    this.#backend = options.make({
      memory,
      host,
      waitBlock,
      get maxBatch() {
        return waitBlock === 0 ? 0 : Atomics.load(maxBatch, 0);
      },
      now: () => performance.now(),
      report: (event) => send({ type: 'event', slot, event }),
    });
  }

  activate(configs: readonly RunningQueueConfig[], activation: unknown): null {
    const { memory, slot } = this.#options;
    const queues = configs.map((config) => {
      const interrupt = () => this.#interrupt.usedBuffer(config.index);
      const queue = createRunningQueue({ memory, slot, config, interrupt });
      // Due: buffers may be available that were rung for before.
      const served: Served = { queue, config, doorbell: config.doorbell, due: true, watch: null };
      this.#served.push(served);
      const watch = this.#watches.get(config.index);
      if (watch) this.#attach(served, watch);
      return queue;
    });
    this.#backend.start(queues, activation);
    return null;
  }

  deactivate(indices: readonly number[] | null): DeactivateReply {
    const gone = this.#served.filter(({ queue }) => indices === null || indices.includes(queue.index));
    this.#served = this.#served.filter((served) => !gone.includes(served));
    // What was done stays done.
    for (const { queue, watch } of gone) {
      watch?.ending();
      queue.flush();
    }
    this.#backend.stop(gone.map(({ queue }) => queue.index));
    return gone.map(({ queue }) => ({ queue: queue.index, position: queue.position }));
  }

  held(index: number): HeldBuffers | null {
    const queue = this.#served.find((served) => served.queue.index === index)?.queue;
    return queue ? { position: queue.position, chains: queue.held() } : null;
  }

  /** Events of a queue go into a ring from now on, or nowhere; also when it runs later. */
  observe(queue: QueueId, spec: ObservationSpec | null): null {
    this.#watch(queue, (watch) => watch.observe(spec));
    return null;
  }

  control(queue: QueueId, command: QueueCommand): QueueControl {
    const state = this.#watch(queue, (watch) => watch.control(command));
    // What stood still may go on. Who only looks must not be what wakes a device that its driver has not notified.
    const served = this.#served.find((each) => each.queue.index === queue.index);
    if (served && command.op !== 'state') served.due = true;
    return state;
  }

  /** Begins (options), ends (null) or only looks at (undefined) the capture of a queue. @throws RingsideError 'io' */
  capture(queue: QueueId, options: CaptureOptions | null | undefined): CaptureState | null {
    if (options === undefined) return this.#watches.get(queue.index)?.captured ?? null;
    return this.#watch(queue, (watch) => {
      if (options === null) return watch.endCapture();
      watch.capture(options);
      return watch.captured;
    });
  }

  /** What drivers of the device have been found to do while somebody watched, and forgets it. */
  findings(clear: boolean): RuleCount[] {
    const counts = [...this.#linters.values()].flatMap((linter) => linter.counts);
    if (clear) for (const linter of this.#linters.values()) linter.clear();
    return counts;
  }

  #watch<T>({ index, name }: QueueId, change: (watch: QueueWatch) => T): T {
    const served = this.#served.find(({ queue }) => queue.index === index);
    const linter = this.#linters.get(index) ?? new QueueLinter();
    this.#linters.set(index, linter);
    const watch = this.#watches.get(index) ?? new QueueWatch(queueDecoder(this.#options.type, name), linter);
    this.#watches.set(index, watch);
    if (served && served.watch === null) this.#attach(served, watch);
    const result = change(watch);
    if (served) {
      this.#detachIdle(served);
    } else if (watch.idle) {
      this.#watches.delete(index);
    }
    return result;
  }

  #attach(served: Served, watch: QueueWatch): void {
    served.watch = watch;
    served.queue.watch(watch);
    const { queue, config } = served;
    // What a queue is for may depend on the features.
    const decoder = queueDecoder(this.#options.type, config.name ?? '');
    this.#linters.get(queue.index)?.started(this.#options.memory, config, decoder);
    watch.started(queue, queue.position.availIdx, decoder);
  }

  #detachIdle(served: Served): void {
    if (!served.watch?.idle) return;
    served.queue.watch(null);
    served.watch = null;
    this.#watches.delete(served.queue.index);
  }

  /** The eventfd that stands for a queue's interrupts. */
  setCall(queue: number, fd: number | null): void {
    if (this.#interrupt instanceof CallInterrupt) this.#interrupt.setCall(queue, fd);
  }

  /** Notifications that came by a descriptor. */
  kicked(queue: number, count: number): void {
    Atomics.add(this.#words, VQ_DOORBELL / 4 + queue, count);
  }

  configure(change: unknown): null {
    this.#backend.configure?.(change);
    return null;
  }

  resumed(): void {
    for (const served of this.#served) served.due = true;
    this.#backend.resumed?.();
  }

  close(): void {
    this.deactivate(null);
    for (const watch of this.#watches.values()) watch.endCapture();
    this.#backend.close?.();
  }

  get deadline(): number {
    if (this.#served.length === 0) return Infinity;
    let deadline = this.#backend.deadline?.() ?? Infinity;
    if (this.#watches.size > 0) {
      for (const { watch } of this.#served) if (watch) deadline = Math.min(deadline, watch.deadline);
    }
    return deadline;
  }

  /**
   * Serves the queues whose doorbell has moved or that the back end says are due.
   *
   * @returns whether there is more to do at once
   */
  turn(): boolean {
    let more = false;
    for (const served of this.#served) {
      if (served.watch !== null) this.#serveWatched(served, served.watch);
      const doorbell = this.#doorbell(served.queue.index);
      if (doorbell !== served.doorbell) {
        served.queue.countNotifications((doorbell - served.doorbell) >>> 0);
        served.doorbell = doorbell;
      } else if (!served.due && !this.#backend.isDue?.(served.queue.index)) {
        continue;
      }
      try {
        served.due = this.#backend.serve(served.queue.index);
      } catch (error) {
        this.#fault(served.queue, error);
        return false;
      }
      // A gate may have answered requests by itself.
      if (served.watch !== null) served.queue.flush();
      if (served.due) more = true;
    }
    return more;
  }

  #serveWatched(served: Served, watch: QueueWatch): void {
    watch.serve();
    served.queue.flush();
    this.#detachIdle(served);
  }

  /** The driver broke a rule: the device does nothing more until it is reset (section 2.1.2). */
  #fault(queue: RunningQueue, error: unknown): void {
    if (!(error instanceof QueueFault)) throw error;
    queue.recordFault(error.code);
    this.deactivate(null);
    const { slot, send } = this.#options;
    send({ type: 'fault', slot, queue: queue.index, fault: error.kind, detail: error.message });
  }

  #doorbell(queue: number): number {
    return Atomics.load(this.#words, VQ_DOORBELL / 4 + queue);
  }
}
