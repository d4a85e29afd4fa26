/** What the control thread and an I/O worker say to each other; everything survives structured clone. */
import type { MessagePort } from 'node:worker_threads';

import type { QueueCommand } from '../api/inspect.ts';
import type { HostSpec } from '../host/host.ts';
import type { CaptureOptions } from '../inspect/capture-writer.ts';
import type { ObservationSpec } from '../inspect/queue-watch.ts';
import type { BackendEvent } from '../virtio/backend/backend.ts';
import type { QueueId } from '../virtio/backend/queue-server.ts';
import type { BackendInit } from '../virtio/device.ts';
import type { QueueFaultKind } from '../virtio/queue/queue-fault.ts';
import type { QueuePosition, RunningQueueConfig } from '../virtio/queue/running-queue.ts';
import type { InterruptSpec } from '../virtio/transport/interrupt.ts';
import type { GuestMemoryHandle } from '../memory/guest-memory.ts';

/** workerData of an I/O worker. */
export interface IoThreadData {
  readonly guest: GuestMemoryHandle;
  /** Which wait block is its own, 0..MAX_IOTHREADS-1. */
  readonly index: number;
  readonly port: MessagePort;
  /** The engine's module; its interrupt controller is driven from this thread too. */
  readonly engine: WebAssembly.Module;
  readonly host: HostSpec;
}

/** workerData of an I/O worker that sleeps on descriptors, for drivers in other processes. */
export interface PollingWorkerData {
  readonly guest: GuestMemoryHandle;
  readonly index: number;
  readonly port: MessagePort;
  /** An eventfd: whoever wakes the worker rings it. */
  readonly wakeFd: number;
  readonly host: HostSpec;
}

/** Each is answered by a reply with the same `seq`. */
export type IoThreadRequest =
  /** A device is plugged in: makes its back end. */
  | { op: 'attach'; slot: number; interrupt: InterruptSpec; backend: BackendInit }
  | { op: 'detach'; slot: number }
  /** Queues run from now on. */
  | { op: 'activate'; slot: number; queues: RunningQueueConfig[]; activation: unknown }
  /** Lets go of the given queues (null: all of the device). The reply has the positions of those that ran. */
  | { op: 'deactivate'; slot: number; queues: number[] | null }
  /** Asks for the buffers that the device has of a queue. */
  | { op: 'held'; slot: number; queue: number }
  | { op: 'observe'; slot: number; queue: QueueId; spec: ObservationSpec | null }
  | { op: 'control'; slot: number; queue: QueueId; command: QueueCommand }
  | { op: 'capture'; slot: number; queue: QueueId; options: CaptureOptions | null | undefined }
  | { op: 'findings'; slot: number; clear: boolean }
  | { op: 'configure'; slot: number; change: unknown }
  /** Which eventfds stand for a queue's notifications and interrupts; null: none, left out: as before. */
  | { op: 'ring-fds'; slot: number; queue: number; kick?: number | null; call?: number | null }
  /** Tell once ('ready') when a descriptor can be read, or written. */
  | { op: 'watch-fd'; fd: number; write: boolean }
  | { op: 'unwatch-fd'; fd: number }
  /** Nothing of guest RAM is touched from the reply on, until 'resume'. */
  | { op: 'quiesce' }
  | { op: 'resume' }
  | { op: 'quit' };

export type NumberedRequest = IoThreadRequest & { seq: number };

/** Where deactivated queues stopped. */
export type DeactivateReply = { queue: number; position: QueuePosition }[];

export type IoThreadMessage =
  | { type: 'reply'; seq: number; value: unknown }
  | { type: 'refusal'; seq: number; kind: string; message: string }
  /** A driver broke a rule: the worker has stopped all queues of the device. */
  | { type: 'fault'; slot: number; queue: number; fault: QueueFaultKind; detail: string }
  | { type: 'event'; slot: number; event: BackendEvent }
  /** A descriptor that was watched is ready, or broken. */
  | { type: 'ready'; fd: number }
  /** A queue's kick descriptor is of no use; one line says why. */
  | { type: 'kick-lost'; slot: number; queue: number; why: string };
