/**
 * What a running queue shows of itself while it runs: words in shared memory that its I/O worker writes and that the control
 * thread reads for the inspector (DESIGN: observation is part of the queue). The layout is in core/worker/layout.ts.
 */
import {
  QS_ERROR,
  QS_IN_FLIGHT,
  QS_INTERRUPTS,
  QS_LAST_AVAIL_IDX,
  QS_NOTIFICATIONS,
  QS_POPPED,
  QS_SUPPRESSED,
  QS_USED,
  QS_USED_IDX,
  QUEUE_STATS_BASE,
  QUEUE_STATS_SLOT_STRIDE,
  QUEUE_STATS_STRIDE,
} from '../../worker/layout.ts';

function blockOf(slot: number, queue: number): number {
  return QUEUE_STATS_BASE + slot * QUEUE_STATS_SLOT_STRIDE + queue * QUEUE_STATS_STRIDE;
}

export interface QueueStatsSnapshot {
  popped: number;
  used: number;
  notifications: number;
  interrupts: number;
  suppressed: number;
  lastAvailIdx: number;
  usedIdx: number;
  inFlight: number;
  /** A code of QUEUE_FAULTS, 0 for none. */
  error: number;
}

/** The writer's side: one per running queue. Plain stores: readers want a picture, not a ledger. */
export class QueueStats {
  readonly #counters: Float64Array<SharedArrayBuffer>;
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer, slot: number, queue: number) {
    const block = blockOf(slot, queue);
    this.#counters = new Float64Array(buffer, block, QUEUE_STATS_STRIDE / 8);
    this.#words = new Int32Array(buffer, block, QUEUE_STATS_STRIDE / 4);
    this.#words.fill(0);
  }

  popped(lastAvailIdx: number, inFlight: number): void {
    this.#counters[QS_POPPED / 8]++;
    this.#words[QS_LAST_AVAIL_IDX / 4] = lastAvailIdx;
    this.#words[QS_IN_FLIGHT / 4] = inFlight;
  }

  /** What was popped last has not been. */
  returned(lastAvailIdx: number, inFlight: number): void {
    this.#counters[QS_POPPED / 8]--;
    this.#words[QS_LAST_AVAIL_IDX / 4] = lastAvailIdx;
    this.#words[QS_IN_FLIGHT / 4] = inFlight;
  }

  used(count: number, usedIdx: number, inFlight: number): void {
    this.#counters[QS_USED / 8] += count;
    this.#words[QS_USED_IDX / 4] = usedIdx;
    this.#words[QS_IN_FLIGHT / 4] = inFlight;
  }

  notified(count: number): void {
    this.#counters[QS_NOTIFICATIONS / 8] += count;
  }

  interrupted(): void {
    this.#counters[QS_INTERRUPTS / 8]++;
  }

  suppressed(): void {
    this.#counters[QS_SUPPRESSED / 8]++;
  }

  started(lastAvailIdx: number, usedIdx: number): void {
    this.#words[QS_LAST_AVAIL_IDX / 4] = lastAvailIdx;
    this.#words[QS_USED_IDX / 4] = usedIdx;
  }

  failed(code: number): void {
    this.#words[QS_ERROR / 4] = code;
  }
}

/** A picture of a queue's counters. Any thread. */
export function readQueueStats(buffer: SharedArrayBuffer, slot: number, queue: number): QueueStatsSnapshot {
  const block = blockOf(slot, queue);
  const counters = new Float64Array(buffer, block, QUEUE_STATS_STRIDE / 8);
  const words = new Int32Array(buffer, block, QUEUE_STATS_STRIDE / 4);
  return {
    popped: counters[QS_POPPED / 8],
    used: counters[QS_USED / 8],
    notifications: counters[QS_NOTIFICATIONS / 8],
    interrupts: counters[QS_INTERRUPTS / 8],
    suppressed: counters[QS_SUPPRESSED / 8],
    lastAvailIdx: words[QS_LAST_AVAIL_IDX / 4],
    usedIdx: words[QS_USED_IDX / 4],
    inFlight: words[QS_IN_FLIGHT / 4],
    error: words[QS_ERROR / 4],
  };
}

/** Forgets what an earlier run of the queue left. */
export function clearQueueStats(buffer: SharedArrayBuffer, slot: number, queue: number): void {
  new Int32Array(buffer, blockOf(slot, queue), QUEUE_STATS_STRIDE / 4).fill(0);
}
