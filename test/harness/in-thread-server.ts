/** Serves queues in the caller's thread, a turn at a time: what an I/O worker does, where a test can watch. */
import type { QueueCommand, QueueControl } from '../../core/api/inspect.ts';
import type { CaptureOptions, CaptureState } from '../../core/inspect/capture-writer.ts';
import type { ObservationSpec } from '../../core/inspect/queue-watch.ts';
import { createHost } from '../../core/host/node-host.ts';
import type { HostSpec } from '../../core/host/host.ts';
import type { GuestMemory } from '../../core/memory/guest-memory.ts';
import type { HeldBuffers, QueueId, QueueServer, QueueServerListener } from '../../core/virtio/backend/queue-server.ts';
import type { BackendInit } from '../../core/virtio/device.ts';
import type { RuleCount } from '../../core/virtio/lint/findings.ts';
import type { RunningQueueConfig } from '../../core/virtio/queue/running-queue.ts';
import type { InterruptSink, InterruptSpec } from '../../core/virtio/transport/interrupt.ts';
import { DeviceRunner } from '../../core/worker/device-runner.ts';
import type { DeactivateReply } from '../../core/worker/iothread-messages.ts';
import { TEST_BACKENDS } from './test-backends.ts';

export class InThreadServer implements QueueServer {
  readonly #memory: GuestMemory;
  readonly #sink: InterruptSink;
  readonly #host: HostSpec;
  readonly #runners = new Map<number, DeviceRunner>();

  constructor(memory: GuestMemory, sink: InterruptSink, host: HostSpec) {
    this.#memory = memory;
    this.#sink = sink;
    this.#host = host;
  }

  waitBlockOf(): number {
    return 0;
  }

  /** Serves what is to be served of all devices, once. */
  turn(): void {
    for (const runner of this.#runners.values()) runner.turn();
  }

  async attach(
    slot: number,
    interrupt: InterruptSpec,
    init: BackendInit,
    listener: QueueServerListener,
  ): Promise<void> {
    const runner = new DeviceRunner({
      memory: this.#memory,
      slot,
      type: init.type,
      interrupt,
      sink: this.#sink,
      host: createHost(this.#host),
      waitBlock: 0,
      send: (message) => {
        if (message.type === 'fault') listener.fault(message.queue, message.fault, message.detail);
        else if (message.type === 'event') listener.event(message.event);
      },
      make: (context) => TEST_BACKENDS[init.type](init.options, context),
    });
    this.#runners.set(slot, runner);
    return Promise.resolve();
  }

  async detach(slot: number): Promise<void> {
    this.#runners.get(slot)?.close();
    this.#runners.delete(slot);
    return Promise.resolve();
  }

  async activate(slot: number, queues: RunningQueueConfig[], activation: unknown): Promise<void> {
    this.#runners.get(slot)!.activate(queues, activation);
    return Promise.resolve();
  }

  async deactivate(slot: number, queues: number[] | null): Promise<DeactivateReply> {
    return Promise.resolve(this.#runners.get(slot)!.deactivate(queues));
  }

  async held(slot: number, queue: number): Promise<HeldBuffers | null> {
    return Promise.resolve(this.#runners.get(slot)!.held(queue));
  }

  async observe(slot: number, queue: QueueId, spec: ObservationSpec | null): Promise<void> {
    this.#runners.get(slot)!.observe(queue, spec);
    return Promise.resolve();
  }

  async control(slot: number, queue: QueueId, command: QueueCommand): Promise<QueueControl> {
    return Promise.resolve(this.#runners.get(slot)!.control(queue, command));
  }

  async capture(slot: number, queue: QueueId, options?: CaptureOptions | null): Promise<CaptureState | null> {
    return Promise.resolve(this.#runners.get(slot)!.capture(queue, options));
  }

  async findings(slot: number, clear: boolean): Promise<RuleCount[]> {
    return Promise.resolve(this.#runners.get(slot)!.findings(clear));
  }

  async configure(slot: number, change: unknown): Promise<void> {
    this.#runners.get(slot)!.configure(change);
    return Promise.resolve();
  }

  wake(): void {}
}
