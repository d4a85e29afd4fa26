/** One device on an I/O worker: its running queues, its doorbells, its back end. */
import type { Host } from '../host/host.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { BackendContext, VirtioBackend } from '../virtio/backend/backend.ts';
import type { HeldBuffers } from '../virtio/backend/queue-server.ts';
import { createRunningQueue } from '../virtio/queue/create-queue.ts';
import { QueueFault } from '../virtio/queue/queue-fault.ts';
import type { RunningQueue, RunningQueueConfig } from '../virtio/queue/running-queue.ts';
import { createInterrupt } from '../virtio/transport/create-interrupt.ts';
import type { Interrupt, InterruptSink, InterruptSpec } from '../virtio/transport/interrupt.ts';
import type { DeactivateReply, IoThreadMessage } from './iothread-messages.ts';
import { VIRTIO_BASE, VIRTIO_STRIDE, VQ_DOORBELL } from './layout.ts';

export interface DeviceRunnerOptions {
  memory: GuestMemory;
  slot: number;
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
  /** The doorbell word as last seen. */
  doorbell: number;
  /** To be served whatever the doorbell says. */
  due: boolean;
}

export class DeviceRunner {
  readonly #options: DeviceRunnerOptions;
  readonly #backend: VirtioBackend;
  readonly #interrupt: Interrupt;
  readonly #words: Int32Array<SharedArrayBuffer>;
  /** Running queues, by index. */
  #served: Served[] = [];

  constructor(options: DeviceRunnerOptions) {
    const { memory, slot, interrupt, sink, host, waitBlock, send } = options;
    this.#options = options;
    this.#interrupt = createInterrupt(memory.memory, slot, interrupt, sink);
    this.#words = new Int32Array(
      memory.memory.buffer as SharedArrayBuffer,
      VIRTIO_BASE + slot * VIRTIO_STRIDE,
      VIRTIO_STRIDE / 4,
    );
    this.#backend = options.make({
      memory,
      host,
      waitBlock,
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
      this.#served.push({ queue, doorbell: config.doorbell, due: true });
      return queue;
    });
    this.#backend.start(queues, activation);
    return null;
  }

  deactivate(indices: readonly number[] | null): DeactivateReply {
    const gone = this.#served.filter(({ queue }) => indices === null || indices.includes(queue.index));
    this.#served = this.#served.filter((served) => !gone.includes(served));
    // What was done stays done.
    for (const { queue } of gone) queue.flush();
    this.#backend.stop(gone.map(({ queue }) => queue.index));
    return gone.map(({ queue }) => ({ queue: queue.index, position: queue.position }));
  }

  held(index: number): HeldBuffers | null {
    const queue = this.#served.find((served) => served.queue.index === index)?.queue;
    return queue ? { position: queue.position, chains: queue.held() } : null;
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
    this.#backend.close?.();
  }

  get deadline(): number {
    return this.#served.length > 0 ? (this.#backend.deadline?.() ?? Infinity) : Infinity;
  }

  /**
   * Serves the queues whose doorbell has moved or that the back end says are due.
   *
   * @returns whether there is more to do at once
   */
  turn(): boolean {
    let more = false;
    for (const served of this.#served) {
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
      if (served.due) more = true;
    }
    return more;
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
