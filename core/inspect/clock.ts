/** The clock of events: nanoseconds that all threads agree on. */
import { monotonicNow } from '../engine.ts';

/**
 * A clock for this thread that shows ns since `epoch`. performance.now() is three times as fast as what threads share, and
 * runs as fast: it is set once.
 *
 * @param epoch ms of monotonicNow()
 */
export function eventClock(epoch: number): () => number {
  const offset = monotonicNow() - performance.now() - epoch;
  return () => (performance.now() + offset) * 1e6;
}
