/**
 * What a disk device has done (QEMU: block/accounting.c), in memory that the I/O workers and the control thread share. Each
 * queue has counters of its own, which only the worker that serves it writes. They count from the device's beginning on,
 * through resets.
 */

export const BLK_OPERATIONS = ['read', 'write', 'flush', 'unmap'] as const;
export type BlkOperation = (typeof BLK_OPERATIONS)[number];

export interface BlkOperationStatistics {
  /** Requests that succeeded, the bytes that they were about, and what they took, ns. */
  readonly operations: number;
  readonly bytes: number;
  readonly time: number;
  /** Requests that the host has refused, and that were none for this disk. */
  readonly failed: number;
  readonly invalid: number;
}

export type BlkStatistics = Readonly<Record<BlkOperation, BlkOperationStatistics>> & {
  /** Behind the last byte that was ever written. */
  readonly highestWrite: number;
};

// Of an operation, f64 each.
const OPERATIONS = 0;
const BYTES = 1;
const TIME = 2;
const FAILED = 3;
const INVALID = 4;
const OPERATION_WORDS = 5;
// Of a queue.
const HIGHEST_WRITE = BLK_OPERATIONS.length * OPERATION_WORDS;
const QUEUE_WORDS = HIGHEST_WRITE + 1;

const NS_PER_MS = 1e6;

export function createBlkCounters(queues: number): SharedArrayBuffer {
  return new SharedArrayBuffer(8 * QUEUE_WORDS * queues);
}

/** The counters of one queue. */
export class BlkCounters {
  readonly #words: Float64Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer, queue: number) {
    this.#words = new Float64Array(buffer, 8 * QUEUE_WORDS * queue, QUEUE_WORDS);
  }

  /** @param time ms */
  done(operation: BlkOperation, bytes: number, time: number): void {
    const words = this.#words;
    const at = wordOf(operation);
    words[at + OPERATIONS]++;
    words[at + BYTES] += bytes;
    words[at + TIME] += time;
  }

  wroteUpTo(end: number): void {
    if (end > this.#words[HIGHEST_WRITE]) this.#words[HIGHEST_WRITE] = end;
  }

  /** @param time ms */
  failed(operation: BlkOperation, time: number): void {
    const at = wordOf(operation);
    this.#words[at + FAILED]++;
    this.#words[at + TIME] += time;
  }

  invalid(operation: BlkOperation): void {
    this.#words[wordOf(operation) + INVALID]++;
  }
}

function wordOf(operation: BlkOperation): number {
  switch (operation) {
    case 'read':
      return 0;
    case 'write':
      return OPERATION_WORDS;
    case 'flush':
      return 2 * OPERATION_WORDS;
    case 'unmap':
      return 3 * OPERATION_WORDS;
  }
}

/** Of all queues. */
export function readBlkStatistics(buffer: SharedArrayBuffer): BlkStatistics {
  const words = new Float64Array(buffer);
  const queues = Array.from({ length: words.length / QUEUE_WORDS }, (_, queue) => queue * QUEUE_WORDS);
  const sum = (at: number): number => queues.reduce((total, queue) => total + words[queue + at], 0);
  const operation = (name: BlkOperation): BlkOperationStatistics => {
    const at = wordOf(name);
    return {
      operations: sum(at + OPERATIONS),
      bytes: sum(at + BYTES),
      time: Math.round(sum(at + TIME) * NS_PER_MS),
      failed: sum(at + FAILED),
      invalid: sum(at + INVALID),
    };
  };
  return {
    read: operation('read'),
    write: operation('write'),
    flush: operation('flush'),
    unmap: operation('unmap'),
    highestWrite: queues.reduce((most, queue) => Math.max(most, words[queue + HIGHEST_WRITE]), 0),
  };
}
