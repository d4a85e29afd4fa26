/** A device's queues between the transport, which configures them, and the server that runs them. */
import { errorLine } from '../../errors.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { IoErrorEvent } from '../backend/backend.ts';
import type { QueueServer } from '../backend/queue-server.ts';
import type { VirtioDevice } from '../device.ts';
import type { LintRule } from '../lint/rules.ts';
import { ConfiguredQueue } from '../queue/configured-queue.ts';
import { QUEUE_FAULTS } from '../queue/queue-fault.ts';
import type { QueueFaultKind } from '../queue/queue-fault.ts';
import { clearQueueStats } from '../queue/queue-stats.ts';
import { VIRTIO_F_RING_PACKED, hasFeature } from '../spec/features.ts';
import { VIRTQ_USED_FLAGS } from '../spec/split-ring.ts';
import type { HotWords } from './hot-words.ts';
import type { InterruptSpec } from './interrupt.ts';

/** How the transport's registers differ. */
export interface TransportKind {
  /** Entries of a queue whose size a modern driver has not written; null: those it can have at most. */
  initialQueueSize: number | null;
  /** Whether the first driver is a legacy one. */
  legacy: boolean;
}

export interface DeviceQueuesOptions {
  memory: GuestMemory;
  slot: number;
  kind: TransportKind;
  device: VirtioDevice;
  server: QueueServer;
  hot: HotWords;
  /** The device cannot go on, and why; with the rule that the driver broke, if it did. */
  failed(reason: string, rule?: LintRule, queue?: number): void;
  /** The driver broke a rule, and the device goes on. */
  found(rule: LintRule, queue: number, detail: () => string): void;
  note(message: string): void;
  event(event: IoErrorEvent): void;
}

export class DeviceQueues {
  readonly all: readonly ConfiguredQueue[];
  readonly #options: DeviceQueuesOptions;
  /** Negotiated when queues were last activated. */
  #features = 0n;

  constructor(options: DeviceQueuesOptions) {
    this.#options = options;
    const { legacy, initialQueueSize } = options.kind;
    this.all = options.device.queues.map((spec, index) => new ConfiguredQueue(index, spec, legacy, initialQueueSize));
  }

  /** Those that the server has. */
  get running(): ConfiguredQueue[] {
    return this.all.filter(({ running }) => running);
  }

  /** Resolves when the server has the device's back end; rejected with a RingsideError when it cannot. */
  async plug(interrupt: InterruptSpec): Promise<void> {
    const { server, slot, device, failed, event } = this.#options;
    await server.attach(slot, interrupt, device.backend, {
      fault: (queue, fault, detail) => this.#fault(queue, fault, detail),
      event: (happened) => {
        if (happened.kind === 'device') device.backendEvent(happened.detail);
        else event(happened);
      },
      lost: (error) => {
        if (this.running.length === 0) return;
        failed(errorLine(error));
        this.#abandon();
      },
    });
    this.reset();
  }

  async unplug(): Promise<void> {
    // A server that is gone has let go already.
    await this.#options.server.detach(this.#options.slot).catch(() => {});
  }

  /** Hands queues to the server. What is wrong with one fails the device. */
  activate(queues: readonly ConfiguredQueue[], features: bigint): void {
    const { memory, slot, device, server, hot, failed } = this.#options;
    this.#features = features;
    for (const queue of queues) {
      const problem = queue.problem(memory, features);
      if (problem) {
        return failed(`queue ${this.#nameOf(queue.index)} cannot run: ${problem}`, 'queue-setup', queue.index);
      }
    }
    if (queues.length === 0) return;
    for (const { index, position, areas } of queues) {
      // Section 2.7.10.1, of a ring that is new.
      if (position !== null || hasFeature(features, VIRTIO_F_RING_PACKED)) continue;
      const flags = memory.loadU16(areas.deviceArea + VIRTQ_USED_FLAGS);
      if (flags !== 0) this.#options.found('used-flags', index, () => `flags of the used ring are ${flags}`);
    }
    const configs = queues.map((queue) => ({
      ...queue.runningConfig(features, hot.doorbell(queue.index)),
      name: device.queueName(queue.index, features),
    }));
    const activation = device.activation(
      features,
      queues.map(({ index }) => index),
    );
    for (const queue of queues) queue.running = true;
    // Not waited for: what the driver rings for before it runs, it finds when it starts.
    server.activate(slot, configs, activation).catch((error: unknown) => {
      failed(errorLine(error));
      this.#abandon();
    });
  }

  /** Takes queues back, and with them where they stopped. Never rejected. */
  async deactivate(queues: readonly ConfiguredQueue[]): Promise<void> {
    try {
      await this.#letGo(queues);
    } catch (error) {
      this.#options.note(errorLine(error));
    }
  }

  /** Rejected by a server that is gone; the queues are free then too. */
  async #letGo(queues: readonly ConfiguredQueue[]): Promise<void> {
    const { server, slot } = this.#options;
    const indices = queues.map(({ index }) => index);
    try {
      for (const { queue, position } of await server.deactivate(slot, indices)) this.all[queue].position = position;
    } finally {
      this.#stopped(queues);
    }
  }

  /** The device does nothing more (section 2.1.2): takes back what other workers than the one with the problem have. */
  #abandon(): void {
    // Why it stops has been said. They count as running until they are free, so that a reset waits for it.
    this.#letGo(this.running).catch(() => {});
  }

  /** None of them runs. */
  reset(): void {
    const { memory, slot } = this.#options;
    for (const queue of this.all) {
      queue.reset();
      clearQueueStats(memory.memory.buffer as SharedArrayBuffer, slot, queue.index);
    }
  }

  #stopped(queues: readonly ConfiguredQueue[]): void {
    for (const queue of queues) queue.running = false;
  }

  #fault(index: number, fault: QueueFaultKind, detail: string): void {
    const { section } = QUEUE_FAULTS[fault];
    this.#options.failed(`queue ${this.#nameOf(index)}: ${detail} (${fault}, ${section})`, fault, index);
    this.#abandon();
  }

  #nameOf(index: number): string {
    return `${index} (${this.#options.device.queueName(index, this.#features)})`;
  }
}
