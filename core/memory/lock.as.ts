/**
 * A lock in shared memory for critical sections of a few dozen instructions. The word is 0 when free.
 * A waiter soon sleeps for a moment instead of spinning: there may be more harts than cores, and then the holder
 * needs the waiter's core to get on. The sleep is bounded, so the holder need not notify and no wake-up can be lost.
 */

const SPINS = 64;
const NAP_NS: i64 = 50000;

export function lock(word: usize): void {
  let spins = 0;
  while (atomic.cmpxchg<i32>(word, 0, 1) != 0) {
    if (++spins > SPINS) atomic.wait<i32>(word, 1, NAP_NS);
  }
}

export function unlock(word: usize): void {
  atomic.store<i32>(word, 0);
}
