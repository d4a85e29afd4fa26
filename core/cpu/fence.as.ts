/** Fences that harts ask of one another (H_REMOTE_FENCE): the hart that serves them, and the one that waits. */
import {
  CONTROL_BASE, CTL_RUN, FENCE_I, FENCE_VMA, H_ID, H_IS_PARKED, H_POLL, H_REMOTE_FENCE, H_SLEEPING, RUN_QUIT,
} from '../worker/layout';
import { newEpoch } from './code.as';
import { hartBlock } from './hart.as';
import { flushSpaces, refreshContexts } from './mmu.as';

/** How long a hart that waits for a fence sleeps between looks, after the first SPINS. */
const NAP_NS: i64 = 50000;
const SPINS = 1000;

/** Serves the fences that are asked of a hart, on its own thread, outside guest code. */
export function serveFences(block: usize): void {
  const bits = atomic.load<i32>(block + H_REMOTE_FENCE);
  if (bits == 0) return;
  if (bits & FENCE_VMA) flushSpaces(block, -1);
  if (bits & FENCE_I) newEpoch(block);
  refreshContexts(block);
  // What was asked for meanwhile stays. Whoever waits may go on now, not when it looks next.
  atomic.and<i32>(block + H_REMOTE_FENCE, ~bits);
  atomic.notify(block + H_REMOTE_FENCE, -1);
}

/**
 * Whether a target's fence is as good as done: it is done, or the target cannot run guest code before it has served it.
 * A hart that sleeps (wfi, stopped) or is parked clears that flag first and then looks at its fences: either it sees our
 * bits or we see it awake.
 */
// @ts-ignore: decorator
@inline
function fenced(target: usize, bits: i32): bool {
  return (
    (atomic.load<i32>(target + H_REMOTE_FENCE) & bits) == 0 ||
    atomic.load<i32>(target + H_SLEEPING) != 0 ||
    atomic.load<i32>(target + H_IS_PARKED) != 0
  );
}

/**
 * Has each hart of a mask (bit number = hart id) do FENCE_* `bits`, and waits until they have, the calling hart included.
 * It serves its own fences while it waits, so harts that fence one another do not wait for ever.
 */
export function remoteFence(block: usize, harts: u64, bits: i32): void {
  for (let rest = harts; rest != 0; rest &= rest - 1) {
    const target = hartBlock(<i32>ctz<u64>(rest));
    atomic.or<i32>(target + H_REMOTE_FENCE, bits);
    // Asks it to look if it runs. If it sleeps, let it: it looks when it wakes.
    atomic.store<i32>(target + H_POLL, 1);
  }
  serveFences(block);
  for (let rest = harts & ~((<u64>1) << load<i32>(block + H_ID)); rest != 0; rest &= rest - 1) {
    const target = hartBlock(<i32>ctz<u64>(rest));
    for (let looks = 0; !fenced(target, bits); looks++) {
      serveFences(block);
      if (looks < SPINS) continue;
      if (atomic.load<i32>(CONTROL_BASE + CTL_RUN) == RUN_QUIT) return;
      atomic.wait<i32>(target + H_REMOTE_FENCE, atomic.load<i32>(target + H_REMOTE_FENCE) | bits, NAP_NS);
    }
  }
}
