/**
 * Where a device's queues are served, as the transport sees it: an I/O worker of ours; later a vhost-user daemon or the
 * host kernel. Nothing here waits: the control thread is never blocked by a server.
 */
import type { QueueCommand, QueueControl } from '../../api/inspect.ts';
import type { CaptureOptions, CaptureState } from '../../inspect/capture-writer.ts';
import type { ObservationSpec } from '../../inspect/queue-watch.ts';
import type { BackendInit } from '../device.ts';
import type { RuleCount } from '../lint/findings.ts';
import type { QueueFaultKind } from '../queue/queue-fault.ts';
import type { HeldChain, QueuePosition, RunningQueueConfig } from '../queue/running-queue.ts';
import type { InterruptSpec } from '../transport/interrupt.ts';
import type { BackendEvent } from './backend.ts';

export interface QueueServerListener {
  /**
   * A driver broke a rule. The worker that found it has let go of all queues of the device that it ran; others, where there
   * are several, have to be told.
   */
  fault(queue: number, fault: QueueFaultKind, detail: string): void;
  event(event: BackendEvent): void;
  /** The worker has crashed: nothing serves its queues any more. Others go on, as for fault(). */
  lost(error: Error): void;
}

/** A queue of a device, with its name in the device's list. */
export interface QueueId {
  readonly index: number;
  readonly name: string;
}

export interface HeldBuffers {
  readonly position: QueuePosition;
  readonly chains: readonly HeldChain[];
}

/** Promises are rejected with a RingsideError when the server refuses or is gone. */
export interface QueueServer {
  /** Linear address of the wait block (IOT_*) that whoever rings a queue's doorbell wakes; 0 when there is none. */
  waitBlockOf(queue: number): number;
  attach(slot: number, interrupt: InterruptSpec, backend: BackendInit, listener: QueueServerListener): Promise<void>;
  detach(slot: number): Promise<void>;
  activate(slot: number, queues: RunningQueueConfig[], activation: unknown): Promise<void>;
  /**
   * When it resolves the server touches neither the queues nor the buffers in them any more.
   *
   * @param queues null for all of the device
   * @returns where the queues that ran have stopped
   */
  deactivate(slot: number, queues: number[] | null): Promise<{ queue: number; position: QueuePosition }[]>;
  /** The buffers that it has of a queue, and where it stands in the ring; null when it does not run the queue. */
  held(slot: number, queue: number): Promise<HeldBuffers | null>;
  /** When it resolves, requests made available from then on are served by the new parameters. */
  configure(slot: number, change: unknown): Promise<void>;
  /** Events of the queue go into a ring from now on, whenever it runs; null: nobody watches it any more. */
  observe(slot: number, queue: QueueId, spec: ObservationSpec | null): Promise<void>;
  /** Stops, steps or disturbs the queue; what is set stays until it is cleared, whether the queue runs or not. */
  control(slot: number, queue: QueueId, command: QueueCommand): Promise<QueueControl>;
  /**
   * Begins to write a queue's requests to a file (options), ends it (null), or only says how it stands.
   *
   * @returns how it stands; null when there is none
   */
  capture(slot: number, queue: QueueId, options?: CaptureOptions | null): Promise<CaptureState | null>;
  /** What the device's driver was found to do while somebody watched; `clear`: and forgets it. */
  findings(slot: number, clear: boolean): Promise<RuleCount[]>;
  /** Makes it look at its doorbells and byte rings. */
  wake(): void;
}
