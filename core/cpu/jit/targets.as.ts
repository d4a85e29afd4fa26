/**
 * Where indirect jumps went while they were interpreted: pairs of a jump's slot and the distance to its target, in a table of the
 * hart that forgets what collides. The translator makes br_tables of them.
 */

/** Offset in the hart block; TARGETS pairs of u32 slot address, i32 distance in bytes. */
export const H_JIT_TARGETS = 0x60000;
export const TARGETS = 4096;
/** Further than a region reaches. */
const REACH = 8192;

/** Notes where the indirect jump at `slot` goes. */
export function noteTarget(block: usize, slot: usize, distance: i64): void {
  if (distance >= REACH || distance <= -REACH) return;
  const hash = ((<u32>slot >> 4) * 0x9e3779b1) ^ (<u32>distance * 0x85ebca6b);
  const pair = block + H_JIT_TARGETS + ((<usize>hash >> 20) << 3);
  store<u32>(pair, <u32>slot);
  store<i32>(pair, <i32>distance, 4);
}
