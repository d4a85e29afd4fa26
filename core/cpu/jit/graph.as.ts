/** What follows from a region's edges: order, dominators, loops, and the registers that are live and dirty at its blocks' edges. */
import {
  B_AFTER, B_CALLS, B_CASE_COUNT, B_CASES, B_CHILD, B_CLEARS, B_DEFS, B_DIRTY_IN, B_HEADER, B_IDOM, B_LIVE_IN,
  B_LIVE_OUT, B_MERGE, B_NEXT, B_ORDER, B_PREDS, B_SIBLING, B_TAKEN, B_USES, blockAt, caseBlock, ordered, placeOf,
} from './blocks.as';
import { W_CASES, W_ORDER } from './work.as';

// ---- order, dominators, loops -----------------------------------------------------------------------------------

let orderNext: i32 = 0;

/** Postorder from the back of W_ORDER: what is left there is reverse postorder. */
function visitBlock(index: i32): void {
  const block = blockAt(index);
  store<u16>(block, 0xffff, B_ORDER);
  const taken = load<i16>(block, B_TAKEN);
  if (taken >= 0 && load<u16>(blockAt(taken), B_ORDER) == 0) visitBlock(taken);
  const next = load<i16>(block, B_NEXT);
  if (next >= 0 && load<u16>(blockAt(next), B_ORDER) == 0) visitBlock(next);
  for (let i = 0; i < <i32>load<u16>(block, B_CASE_COUNT); i++) {
    const to = caseBlock(block, i);
    if (load<u16>(blockAt(to), B_ORDER) == 0) visitBlock(to);
  }
  orderNext--;
  store<u16>(W_ORDER + (orderNext << 1), <u16>index);
}

function intersect(a: i32, b: i32): i32 {
  while (a != b) {
    while (placeOf(a) > placeOf(b)) a = load<i16>(blockAt(a), B_IDOM);
    while (placeOf(b) > placeOf(a)) b = load<i16>(blockAt(b), B_IDOM);
  }
  return a;
}

function dominates(a: i32, b: i32): bool {
  while (placeOf(b) > placeOf(a)) b = load<i16>(blockAt(b), B_IDOM);
  return a == b;
}

let changed: bool = false;

function dominateEdge(from: i32, to: i32): void {
  if (to <= 0) return;
  const block = blockAt(to);
  const old = load<i16>(block, B_IDOM);
  const better = old < 0 ? from : intersect(from, old);
  if (better == old) return;
  store<i16>(block, <i16>better, B_IDOM);
  changed = true;
}

/** An edge's part in loops and merges; false: it enters a loop elsewhere than at its head, and must leave the region. */
function classifyEdge(from: i32, to: i32): bool {
  const block = blockAt(to);
  if (placeOf(to) <= placeOf(from)) {
    if (!dominates(to, from)) return false;
    store<u8>(block, 1, B_HEADER);
    return true;
  }
  const preds = load<u16>(block, B_PREDS) + 1;
  store<u16>(block, <u16>preds, B_PREDS);
  if (preds > 1) store<u8>(block, 1, B_MERGE);
  return true;
}

/**
 * Orders the blocks that the first one leads to, and finds their dominators, loops and merge nodes. Edges that enter a loop elsewhere
 * than at its head leave the region from then on.
 * @returns how many blocks there are now
 */
export function shape(blockCount: i32): i32 {
  // Blocks nothing leads to (their only way was cut) keep order 0 and are not emitted; block 0 is the entry.
  orderNext = blockCount;
  visitBlock(0);
  const unreached = orderNext;
  const reached = blockCount - unreached;
  if (unreached > 0) memory.copy(W_ORDER, W_ORDER + (<usize>unreached << 1), <usize>reached << 1);
  for (let place = 0; place < reached; place++) store<u16>(blockAt(ordered(place)), <u16>place, B_ORDER);

  store<i16>(blockAt(0), 0, B_IDOM);
  do {
    changed = false;
    for (let place = 0; place < reached; place++) {
      const from = ordered(place);
      dominateEdge(from, load<i16>(blockAt(from), B_TAKEN));
      dominateEdge(from, load<i16>(blockAt(from), B_NEXT));
      const cases: i32 = load<u16>(blockAt(from), B_CASE_COUNT);
      for (let i = 0; i < cases; i++) dominateEdge(from, caseBlock(blockAt(from), i));
    }
  } while (changed);

  for (let place = 0; place < reached; place++) {
    const from = ordered(place);
    const block = blockAt(from);
    const taken = load<i16>(block, B_TAKEN);
    if (taken >= 0 && !classifyEdge(from, taken)) store<i16>(block, -1, B_TAKEN);
    const next = load<i16>(block, B_NEXT);
    if (next >= 0 && !classifyEdge(from, next)) store<i16>(block, -1, B_NEXT);
    const cases: i32 = load<u16>(block, B_CASE_COUNT);
    for (let i = 0; i < cases; i++) {
      const to = caseBlock(block, i);
      if (!classifyEdge(from, to)) store<i16>(W_CASES + (<usize>(<i32>load<u16>(block, B_CASES) + i) << 2), -1, 2);
      // A br_table needs a label even where it is the only way in.
      else if (placeOf(to) > placeOf(from)) store<u8>(blockAt(to), 1, B_MERGE);
    }
  }
  // Merge nodes under their dominators, the last in order first.
  for (let place = 1; place < reached; place++) {
    const index = ordered(place);
    const block = blockAt(index);
    if (load<u8>(block, B_MERGE) == 0) continue;
    const parent = blockAt(load<i16>(block, B_IDOM));
    store<i16>(block, load<i16>(parent, B_CHILD), B_SIBLING);
    store<i16>(parent, <i16>index, B_CHILD);
  }
  return reached;
}

// ---- registers --------------------------------------------------------------------------------------------------

function dirtyOut(block: usize): u64 {
  const after = load<u64>(block, B_AFTER);
  return load<u8>(block, B_CLEARS) ? after : after | load<u64>(block, B_DIRTY_IN);
}

function flowDirty(to: i32, mask: u64): void {
  if (to < 0) return;
  const block = blockAt(to);
  const old = load<u64>(block, B_DIRTY_IN);
  if ((old | mask) == old) return;
  store<u64>(block, old | mask, B_DIRTY_IN);
  changed = true;
}

function liveInOf(index: i32): u64 {
  return index < 0 ? 0 : load<u64>(blockAt(index), B_LIVE_IN);
}

/**
 * Which registers may be dirty, and which locals must be valid. Every way out of a block writes back what may be dirty, on whatever
 * path it came: what is dirty at a block's start counts as read there.
 */
export function flow(blockCount: i32): void {
  do {
    changed = false;
    for (let place = 0; place < blockCount; place++) {
      const block = blockAt(ordered(place));
      const mask = dirtyOut(block);
      flowDirty(load<i16>(block, B_TAKEN), mask);
      flowDirty(load<i16>(block, B_NEXT), mask);
      const cases: i32 = load<u16>(block, B_CASE_COUNT);
      for (let i = 0; i < cases; i++) flowDirty(caseBlock(block, i), mask);
    }
  } while (changed);
  do {
    changed = false;
    for (let place = blockCount - 1; place >= 0; place--) {
      const block = blockAt(ordered(place));
      let liveOut = liveInOf(load<i16>(block, B_TAKEN)) | liveInOf(load<i16>(block, B_NEXT));
      const cases: i32 = load<u16>(block, B_CASE_COUNT);
      for (let i = 0; i < cases; i++) liveOut |= liveInOf(caseBlock(block, i));
      store<u64>(block, liveOut, B_LIVE_OUT);
      let live = load<u64>(block, B_USES) | load<u64>(block, B_DIRTY_IN);
      if (!load<u8>(block, B_CALLS)) live |= liveOut & ~load<u64>(block, B_DEFS);
      if (live == load<u64>(block, B_LIVE_IN)) continue;
      store<u64>(block, live, B_LIVE_IN);
      changed = true;
    }
  } while (changed);
}
