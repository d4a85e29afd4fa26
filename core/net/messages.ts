/** What the control thread and the network worker say to each other; everything survives structured clone. */
import type { NetdevEvent } from './endpoint.ts';
import type { CaptureOptions } from './capture.ts';
import type { NicRings } from './nic-rings.ts';

/** workerData of the network worker. */
export interface NetWorkerData {
  readonly memory: WebAssembly.Memory;
  readonly doorbell: SharedArrayBuffer;
}

/** What makes a back end in the worker: `type` is a key of its registry (backends/registry.ts). */
export interface NetBackendInit {
  readonly type: string;
  readonly options: unknown;
}

/** Each is answered by a reply with the same `seq`. */
export type NetRequest =
  /** The reply comes when the back end is ready. */
  | { op: 'add'; id: string; backend: NetBackendInit }
  | { op: 'remove'; id: string }
  /** A network card is plugged in, or out (null). */
  | { op: 'nic'; id: string; rings: NicRings | null }
  | { op: 'link'; id: string; up: boolean }
  /** The reply is the back end's info. */
  | { op: 'info'; id: string }
  | { op: 'capture'; id: string; number: number; options: CaptureOptions }
  | { op: 'end-capture'; id: string; number: number }
  | { op: 'quit' };

export type NumberedNetRequest = NetRequest & { seq: number };

export type NetMessage =
  | { type: 'reply'; seq: number; value: unknown }
  | { type: 'refusal'; seq: number; kind: string; message: string }
  | { type: 'event'; id: string; event: NetdevEvent };
