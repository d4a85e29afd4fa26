/**
 * A region's control flow, made structured from the dominator tree ("Beyond Relooper", Ramsey 2022): a merge node follows the block
 * that is closed around its dominator, a loop's head opens a loop, every other node stands where its one predecessor branches to it.
 */
import { emitInsn, KIND_ACCESS, KIND_FENCE, KIND_JUMP_REG, KIND_SYSTEM, TYPE_REGION } from '../generated/translate.as';
import { emitGroupCheck, setGroup } from './access.as';
import * as b from './blocks.as';
import {
  addCount, closeChain, dirty, emitExit, emitFence, emitLookup, emitSystem, emitTailCall, fpCheck, loadContext, loadLimit,
  openChain, pcConst, pollCheck, reload, retired, setDirty, setReg, setRetired, settleCount, writeBack,
} from './emit.as';
import { findGroups, groupOf, isFirst } from './groups.as';
import { LOCAL_DEPTH, LOCAL_FS, LOCAL_PC, LOCAL_VA } from './locals';
import {
  BLOCK, BR, BR_IF, BR_TABLE, CALL, CALL_INDIRECT, END, I32_ADD, I32_SHR_U, I32_WRAP_I64, I64_ADD, I64_GE_U, I64_NE,
  I64_SUB, LOOP, RETURN, TYPE_VOID, UNREACHABLE,
} from './opcodes';
import {
  closeIf, hint, i32Const, i64Const, localGet, localSet, localTee, mark, op, openIf, openUnlikely, pushBlock, uleb,
} from './pen.as';
import * as r from './region.as';
import { HALFWORDS, W_CHAIN, W_LABELS, W_LIVE, W_STACK } from './work.as';

/** Halfwords that a br_table spans at most. */
const MAX_TABLE = 2048;

// ---- labels -----------------------------------------------------------------------------------------------------

const LABEL_IF = 0;
const LABEL_BLOCK = 1;
const LABEL_LOOP = 2;

let labels: i32 = 0;

function pushLabel(kind: i32, block: i32): void {
  store<u16>(W_LABELS + (labels << 2), <u16>kind);
  store<u16>(W_LABELS + (labels << 2), <u16>block, 2);
  labels++;
}

function labelDepth(kind: i32, block: i32): i32 {
  for (let i = labels - 1; i >= 0; i--) {
    const at = W_LABELS + (i << 2);
    if (load<u16>(at) == kind && load<u16>(at, 2) == block) return labels - 1 - i;
  }
  return unreachable();
}

// ---- blocks -----------------------------------------------------------------------------------------------------

/** Function index of the region itself, for calls of its own entry. */
let self: i32 = 0;
let fpChecked: bool = false;

/** State that locals hold beside registers, behind whatever may have changed it. */
function reloadState(): void {
  if (r.hasAccess) loadContext();
  if (r.hasFp) {
    loadLimit();
    i32Const(0);
    localSet(LOCAL_FS);
  }
  fpChecked = false;
}

function emitCall(h: i32): void {
  const slot = r.slotAt(h);
  const at = r.distance(h);
  const after = at + (r.lengthAt(h) << 1);
  const dynamic = r.kindAt(h) == KIND_JUMP_REG;
  const target = at + load<i32>(slot, 8);
  const recursive = !dynamic && target == 0;
  if (dynamic) {
    emitInsn(slot, at);
    localSet(LOCAL_VA);
  }
  pcConst(after);
  setReg(load<u16>(slot, 2));
  setRetired(retired + 1);
  writeBack(dirty);
  setDirty(0);
  if (!dynamic && !recursive) {
    pcConst(target);
    localSet(LOCAL_VA);
  }
  pushBlock();
  localGet(recursive ? LOCAL_PC : LOCAL_VA);
  localGet(LOCAL_DEPTH);
  i32Const(1);
  op(I32_ADD);
  if (recursive) {
    op(CALL);
    uleb(self);
  } else {
    emitLookup();
    op(CALL_INDIRECT);
    uleb(TYPE_REGION);
    op(0);
  }
  localTee(LOCAL_VA);
  pcConst(after);
  op(I64_NE);
  openUnlikely();
  addCount(retired);
  localGet(LOCAL_VA);
  op(RETURN);
  closeIf();
  reload(load<u64>(W_LIVE + (<usize>h << 3)));
  reloadState();
}

/** Notes at each call of a block which registers live on behind it. */
function noteLiveness(block: usize): void {
  let count = 0;
  const last: i32 = load<u16>(block, b.B_LAST);
  for (let h: i32 = load<u16>(block, b.B_START); ; h += r.lengthAt(h)) {
    store<u16>(W_STACK + (count << 1), <u16>h);
    count++;
    if (h == last) break;
  }
  let live = load<u64>(block, b.B_LIVE_OUT);
  while (count > 0) {
    count--;
    const h: i32 = load<u16>(W_STACK + (count << 1));
    if (r.isCall(h)) {
      store<u64>(W_LIVE + (<usize>h << 3), live);
      live = 0;
    }
    live = (live & ~r.writesOf(h)) | r.readsOf(h);
  }
}

/** Opens the chain of faults for the instructions from h up to the next that leaves nothing dirty. */
function openChainAt(h: i32, last: i32): void {
  let length = 0;
  let held = dirty;
  for (; ; h += r.lengthAt(h)) {
    const kind = r.kindAt(h);
    if (r.isCall(h) || kind == KIND_SYSTEM) break;
    if (kind == KIND_ACCESS && (length == 0 || load<u64>(W_CHAIN + (<usize>(length - 1) << 3)) != held)) {
      store<u64>(W_CHAIN + (<usize>length << 3), held);
      length++;
    }
    if (h == last) break;
    held |= r.writesOf(h);
  }
  openChain(length);
}

/** The block's instructions, without what ends it. */
function emitBody(block: usize): void {
  setDirty(load<u64>(block, b.B_DIRTY_IN));
  setRetired(0);
  fpChecked = false;
  if (load<u8>(block, b.B_CALLS)) noteLiveness(block);
  const end = load<u8>(block, b.B_END);
  const last: i32 = load<u16>(block, b.B_LAST);
  let h: i32 = load<u16>(block, b.B_START);
  findGroups(h, last);
  openChainAt(h, last);
  for (; ; h += r.lengthAt(h)) {
    if (h == last && end != b.END_FALL) break;
    const slot = r.slotAt(h);
    const at = r.distance(h);
    const kind = r.kindAt(h);
    if (r.isCall(h) || kind == KIND_SYSTEM) {
      closeChain();
      mark(at);
      if (kind == KIND_SYSTEM) {
        emitSystem(slot, at, at + (r.lengthAt(h) << 1));
        reloadState();
      } else emitCall(h);
      if (h != last) openChainAt(h + r.lengthAt(h), last);
    } else {
      mark(at);
      if (r.usesFp(h) && !fpChecked) {
        fpCheck(at);
        fpChecked = true;
      }
      const group = groupOf(h);
      if (group != 0 && isFirst(h)) emitGroupCheck(group, load<u16>(slot, 4));
      setGroup(group);
      if (kind == KIND_FENCE) emitFence(slot);
      else emitInsn(slot, at);
      setGroup(0);
      setRetired(retired + 1);
    }
    if (h == last) break;
  }
  closeChain();
}

/** Out of the region, to the region at a distance if there is one, else to the interpreter. */
function emitOut(at: i32): void {
  writeBack(dirty);
  addCount(retired);
  pcConst(at);
  localSet(LOCAL_VA);
  emitTailCall();
}

function emitEdge(from: i32, to: i32, at: i32): void {
  if (to < 0) {
    emitOut(at);
    return;
  }
  settleCount();
  if (b.placeOf(to) <= b.placeOf(from)) {
    op(BR);
    uleb(labelDepth(LABEL_LOOP, to));
  } else if (load<u8>(b.blockAt(to), b.B_MERGE)) {
    op(BR);
    uleb(labelDepth(LABEL_BLOCK, to));
  } else emitTree(to);
}

/** A br_table over the observed targets of the address in LOCAL_VA; falls through when it is none of them. */
function emitCases(index: i32, block: usize): void {
  const cases: i32 = load<u16>(block, b.B_CASE_COUNT);
  let low = HALFWORDS;
  let high = -1;
  for (let i = 0; i < cases; i++) {
    if (b.caseBlock(block, i) < 0) continue;
    const h = b.caseHalfword(block, i);
    low = min(low, h);
    high = max(high, h);
  }
  if (high < 0 || high - low >= MAX_TABLE) return;
  settleCount();
  // Inside: the label of those that are none.
  op(BLOCK);
  op(0x40);
  pushLabel(LABEL_IF, 0);
  const size = high - low + 1;
  for (let i = 0; i < size; i++) store<u16>(W_STACK + (<usize>i << 1), 0);
  for (let i = 0; i < cases; i++) {
    const to = b.caseBlock(block, i);
    if (to < 0) continue;
    const depth = labelDepth(b.placeOf(to) <= b.placeOf(index) ? LABEL_LOOP : LABEL_BLOCK, to);
    store<u16>(W_STACK + (<usize>(b.caseHalfword(block, i) - low) << 1), <u16>depth);
  }
  localGet(LOCAL_VA);
  pcConst(r.distance(low));
  op(I64_SUB);
  localTee(LOCAL_VA);
  i64Const(size << 1);
  op(I64_GE_U);
  hint(0);
  op(BR_IF);
  uleb(0);
  localGet(LOCAL_VA);
  op(I32_WRAP_I64);
  i32Const(1);
  op(I32_SHR_U);
  op(BR_TABLE);
  uleb(size);
  for (let i = 0; i < size; i++) uleb(load<u16>(W_STACK + (<usize>i << 1)));
  uleb(0);
  labels--;
  closeIf();
  // LOCAL_VA became a distance from the lowest.
  localGet(LOCAL_VA);
  pcConst(r.distance(low));
  op(I64_ADD);
  localSet(LOCAL_VA);
}

function emitEnd(index: i32): void {
  const block = b.blockAt(index);
  const last: i32 = load<u16>(block, b.B_LAST);
  const slot = r.slotAt(last);
  const at = r.distance(last);
  const end = load<u8>(block, b.B_END);
  if (end != b.END_FALL) mark(at);
  if (end == b.END_LEAVE) {
    emitExit(at);
    return;
  }
  if (end == b.END_FALL) {
    emitEdge(index, load<i16>(block, b.B_NEXT), load<i32>(block, b.B_NEXT_AT));
    return;
  }
  if (end == b.END_JUMP_REG) {
    const returns = r.isReturn(last);
    emitInsn(slot, at);
    if (!returns) localSet(LOCAL_VA);
    setRetired(retired + 1);
    if (load<u16>(block, b.B_CASE_COUNT) != 0) emitCases(index, block);
    writeBack(dirty);
    addCount(retired);
    if (returns) op(RETURN);
    else emitTailCall();
    return;
  }
  const taken = load<i16>(block, b.B_TAKEN);
  const takenAt = load<i32>(block, b.B_TAKEN_AT);
  if (end == b.END_LEAF) {
    pcConst(at + (r.lengthAt(last) << 1));
    setReg(load<u16>(slot, 2));
  }
  if (end == b.END_JUMP || end == b.END_LEAF || end == b.END_LEAF_RETURN) {
    setRetired(retired + 1);
    emitEdge(index, taken, takenAt);
    return;
  }
  // The count is settled before the branch, for both sides.
  const held = dirty;
  setRetired(retired + 1);
  settleCount();
  emitInsn(slot, at);
  if (taken < 0) openUnlikely();
  else openIf(TYPE_VOID);
  pushLabel(LABEL_IF, 0);
  emitEdge(index, taken, takenAt);
  labels--;
  closeIf();
  setDirty(held);
  setRetired(0);
  emitEdge(index, load<i16>(block, b.B_NEXT), load<i32>(block, b.B_NEXT_AT));
}

/** A block with the merge nodes that follow it; `child`: the first of them. */
function emitWithin(index: i32, child: i32): void {
  if (child >= 0) {
    op(BLOCK);
    op(0x40);
    pushLabel(LABEL_BLOCK, child);
    emitWithin(index, load<i16>(b.blockAt(child), b.B_SIBLING));
    labels--;
    closeIf();
    emitTree(child);
    return;
  }
  const block = b.blockAt(index);
  if (load<u8>(block, b.B_HEADER)) {
    setDirty(load<u64>(block, b.B_DIRTY_IN));
    setRetired(0);
    pollCheck(r.distance(load<u16>(block, b.B_START)));
  }
  emitBody(block);
  emitEnd(index);
}

function emitTree(index: i32): void {
  const block = b.blockAt(index);
  if (load<u8>(block, b.B_HEADER)) {
    op(LOOP);
    op(0x40);
    pushLabel(LABEL_LOOP, index);
    emitWithin(index, load<i16>(block, b.B_CHILD));
    labels--;
    closeIf();
  } else emitWithin(index, load<i16>(block, b.B_CHILD));
}

/** Emits the region that region.as.ts has built, as function `index` of the module, behind what its entry checks. */
export function emitRegion(index: i32): void {
  self = index;
  labels = 0;
  setDirty(0);
  setRetired(0);
  reload(load<u64>(b.blockAt(0), b.B_LIVE_IN));
  reloadState();
  emitTree(0);
  // Every way ends in a branch or leaves.
  op(UNREACHABLE);
  op(END);
}
