/**
 * The I/O worker's half of a virtio device. One back end serves all queues of its device; the worker's loop calls it and
 * no other thread does.
 */
import type { Host } from '../../host/host.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { RunningQueue } from '../queue/running-queue.ts';

/** What a back end may use. */
export interface BackendContext {
  readonly memory: GuestMemory;
  readonly host: Host;
  /** Linear address of this worker's wait block (IOT_*): whoever has work for the back end bumps IOT_WAKE. */
  readonly waitBlock: number;
  /** Completed requests that the user wants to be shown at once at most (aio-max-batch); 0: as the back end likes. */
  readonly maxBatch: number;
  /** Tells the control thread something about the device. Structured-clonable. */
  report(event: BackendEvent): void;
  /** Monotonic, milliseconds. */
  now(): number;
}

/** An I/O request of a block device has failed (QEMU: BLOCK_IO_ERROR). */
export interface IoErrorEvent {
  readonly kind: 'io-error';
  readonly operation: 'read' | 'write';
  /** What was done about it; 'stop' asks the control thread to pause the VM and keeps the request for its resumption. */
  readonly action: 'report' | 'ignore' | 'stop';
  readonly noSpace: boolean;
  /** One line. */
  readonly message: string;
  /** Errors not reported since the last event, to keep a storm off the control thread. */
  readonly unreported: number;
}

/** What the worker's half tells the control thread's half, VirtioDevice.backendEvent(). */
export interface DeviceEvent {
  readonly kind: 'device';
  /** The device type's own. */
  readonly detail: unknown;
}

export type BackendEvent = IoErrorEvent | DeviceEvent;

export interface VirtioBackend {
  /** The queues run from now on. Queues may be added later (re-enabled after a queue reset). */
  start(queues: readonly RunningQueue[], activation: unknown): void;

  /** The given queues are gone: drop every chain of theirs that is still held. */
  stop(queues: readonly number[]): void;

  /**
   * Serves one queue, a bounded amount of work at a time.
   *
   * @returns whether there is more to do at once
   * @throws QueueFault when the driver broke a rule
   */
  serve(queue: number): boolean;

  /**
   * Whether a queue is to be served though its doorbell has not moved: a byte ring has data or room, time has come.
   * Asked every turn of the loop.
   */
  isDue?(queue: number): boolean;

  /** When isDue() may come to be so by time alone, in milliseconds of now(); Infinity for never. */
  deadline?(): number;

  /** The VM runs again after a pause: retry what was kept. */
  resumed?(): void;

  /** New parameters from the control thread's half. */
  configure?(change: unknown): void;

  /** The device is unplugged. */
  close?(): void;
}

export type BackendFactory = (options: unknown, context: BackendContext) => VirtioBackend;
