/** Batches of a queue's requests that were never made. */
import type { QueueBatch } from '../../main/ipc/contract.ts';
import { LATENCY_BUCKETS, MARK_INTERRUPT } from '../../main/ipc/contract.ts';

export interface Shape {
  /** ns from one request to the next, and from its being seen to its being shown used. */
  every?: number;
  took?: number;
  /** Types that come by turns. */
  types?: number;
}

/** So many requests from `from` on; every tenth fails. By default they overlap: 100 ns, one each 50 ns. */
export function batch(seq: number, from: number, count: number, shape: Shape = {}): QueueBatch {
  const { every = 50, took = 100, types = 2 } = shape;
  const times = new Float64Array(4 * count);
  const words = new Uint32Array(8 * count);
  for (let at = 0; at < count; at++) {
    const begin = from + every * at;
    times.set([begin, begin + took / 10, begin + (took * 9) / 10, begin + took], 4 * at);
    words.set([at, at, 512, 0, at % types, at % 10 === 0 ? 1 : 0, at, 0], 8 * at);
  }
  return {
    seq,
    from,
    to: from + every * count,
    done: { count, times, words },
    open: { count: 0, times: new Float64Array(), words: new Uint32Array() },
    markTimes: Float64Array.of(from),
    markWords: Uint32Array.of(MARK_INTERRUPT, 1),
    leftOut: 0,
    lost: 0,
    counters: { popped: 0, used: (seq + 1) * count, notifications: 0, interrupts: 0, suppressed: 0, inFlight: 0 },
    histogram: new Uint32Array(LATENCY_BUCKETS),
  };
}
