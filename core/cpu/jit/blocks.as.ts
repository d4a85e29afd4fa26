/** A region's basic blocks as they lie in the translator's memory. Who fills in what: region.as.ts, then graph.as.ts. */
import { W_BLOCKS, W_CASES, W_ORDER } from './work.as';

export const MAX_BLOCKS = 480;

export const BLOCK_SIZE = 128;
/** u16 halfword of the first and of the last instruction. */
export const B_START = 0;
export const B_LAST = 2;
/** u8: END_*. */
export const B_END = 4;
/** u8: 1 when it is the head of a loop; u8: 1 when two forward edges meet in it. */
export const B_HEADER = 5;
export const B_MERGE = 6;
/** u8: a call in it (no register survives in a local), a call or system instruction (no register is dirty behind it). */
export const B_CALLS = 7;
export const B_CLEARS = 8;
/** i16: taken and fallthrough successors; -1: the edge leaves the region. */
export const B_TAKEN = 10;
export const B_NEXT = 12;
/** u16 place in reverse postorder; i16 immediate dominator; i16 first child and next sibling among merge nodes. */
export const B_ORDER = 14;
export const B_IDOM = 16;
export const B_CHILD = 18;
export const B_SIBLING = 20;
/** i32: distance from the entry of what the taken and the fallthrough edge lead to. */
export const B_TAKEN_AT = 24;
export const B_NEXT_AT = 28;
/** u64: read before written and before any call; written; written behind the last clear. */
export const B_USES = 32;
export const B_DEFS = 40;
export const B_AFTER = 48;
export const B_DIRTY_IN = 56;
export const B_LIVE_IN = 64;
export const B_LIVE_OUT = 72;
/** u16: forward edges to it so far. */
export const B_PREDS = 80;
/** u16 index of its first in W_CASES and number of observed targets of the indirect jump that ends it. */
export const B_CASES = 84;
export const B_CASE_COUNT = 86;
/** i16, END_LEAF: the block behind the call; -1: it is not in the region. */
export const B_CONTINUE = 88;

/** Goes on to B_NEXT. */
export const END_FALL = 0;
export const END_BRANCH = 1;
export const END_JUMP = 2;
export const END_JUMP_REG = 3;
/** The last instruction is left to the interpreter. */
export const END_LEAVE = 4;
/** Calls a leaf function that has been copied into the region: goes on to B_TAKEN, its first block, which comes back to B_CONTINUE. */
export const END_LEAF = 5;
/** Returns from such a function to B_TAKEN. */
export const END_LEAF_RETURN = 6;

// @ts-ignore: decorator
@inline
export function blockAt(index: i32): usize {
  return W_BLOCKS + index * BLOCK_SIZE;
}

/** Block of a case of an indirect jump; -1: that edge leaves the region. */
// @ts-ignore: decorator
@inline
export function caseBlock(block: usize, i: i32): i32 {
  return load<i16>(W_CASES + (<usize>(<i32>load<u16>(block, B_CASES) + i) << 2), 2);
}
/** Halfword of a case. */
export function caseHalfword(block: usize, i: i32): i32 {
  return load<u16>(W_CASES + (<usize>(<i32>load<u16>(block, B_CASES) + i) << 2));
}

// @ts-ignore: decorator
@inline
export function ordered(place: i32): i32 {
  return load<u16>(W_ORDER + (<usize>place << 1));
}
// @ts-ignore: decorator
@inline
export function placeOf(index: i32): i32 {
  return load<u16>(blockAt(index), B_ORDER);
}
