/** What passes between the control thread, the JIT worker and the hart workers. */
import type { MessagePort } from 'node:worker_threads';
import type { JitLogOptions } from './jit-log.ts';

/** To a hart worker: a module whose start fills the table, and what to attach; either may be missing. Or: forget all regions. */
export type HartMail =
  | { kind: 'code'; module: WebAssembly.Module | null; records: Uint8Array[] }
  | { kind: 'flush'; first: number; end: number };

export interface JitWorkerData {
  memory: WebAssembly.Memory;
  harts: number;
  /** To each hart worker. */
  ports: MessagePort[];
  /** JitStats. */
  stats: SharedArrayBuffer;
  /** translator.wasm. */
  translator: WebAssembly.Module;
  limits: JitLimits;
  /** What is to be written down; null: nothing. */
  log: JitLogOptions | null;
  /** Where regions are kept; null: they are not. */
  cache: JitCache | null;
}

/** When the cache of translated code is emptied. */
export interface JitLimits {
  /** Bytes of modules. */
  moduleBytes: number;
  /** Regions; at most FN_LIMIT - FN_FIRST. */
  regions: number;
}

/** From the JIT worker to the control thread. */
export type JitReport = 'ready' | { message: string };

/** A hart worker's part in it. */
export interface HartJit {
  port: MessagePort;
  log: JitLogOptions | null;
  stats: SharedArrayBuffer;
}

/** Where regions are kept from one machine to the next. */
export interface JitCache {
  /** Made when it is not there; used only when it is the user's own and nobody else's (mode 0700). */
  folder: string;
  /** Names the guest: [0-9a-f]+. */
  guest: string;
  /** Bytes. */
  fileLimit?: number;
  folderLimit?: number;
}
