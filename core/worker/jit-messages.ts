/** What passes between the control thread, the JIT worker and the hart workers. */
import type { MessagePort } from 'node:worker_threads';
import type { JitLogOptions } from './jit-log.ts';
import type { JitCache } from './jit-disk.ts';

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
