/**
 * Regions to WebAssembly. Control flow is made structured from the dominator tree ("Beyond Relooper", Ramsey 2022): a merge node
 * follows the block that is closed around its dominator, a loop's head opens a loop, every other node stands where its one
 * predecessor branches to it.
 *
 * begin(), addRegion() for each request, finish(): one module of a batch of regions at TRANSLATOR_OUT.
 */
import {
  emitInsn, HELPER_JIT_GUARD, KIND_ACCESS, KIND_FENCE, KIND_JUMP_REG, KIND_SYSTEM, TYPE_JIT_GUARD, TYPE_LOOKUP, TYPE_REGION,
  TYPE_SECTION, TYPE_SECTION_SIZE,
} from '../generated/translate.as';
import { H_BARRIER, H_ITLB, RAM_OFFSET } from '../../worker/layout';
import {
  FN_FIRST, H_FETCH_CONTEXT, H_JIT_GUARDS, PAGE_JIT, PAGE_VERSION, RECORD_BYTES, RECORD_PA, RECORD_RANGES, TRANSLATOR_OUT,
  TRANSLATOR_OUT_SIZE,
} from './abi';
import { probeFma } from '../fpu/arith.as';
import * as e from './emit.as';
import { findGroups, groupOf, isFirst } from './groups.as';
import * as r from './region.as';
import {
  HALFWORDS, W_ADDRESSES, W_CHAIN, W_FUNCTIONS, W_HINTS, W_LABELS, W_LIVE, W_LOCAL, W_PAGES, W_PATCHES, W_PATCHES_END, W_RECORDS, W_RECORDS_END,
  W_STACK,
} from './work.as';

/** Function index of the module's own lookup; regions follow. */
const LOOKUP = 0;
const FIRST_REGION = 1;
const MAX_REGIONS = 100;
/** Bodies are written behind room for the module's head. */
const BODIES: usize = TRANSLATOR_OUT + 0x40000;
const OUT_END: usize = TRANSLATOR_OUT + TRANSLATOR_OUT_SIZE;
/** No region comes near this. */
const BODY_LIMIT = 0x40000;
const PATCH_LIMIT = 0x12000;
const FUNCTION_SIZE = 16;
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

let self: i32 = 0;
let fpChecked: bool = false;

/** State that locals hold beside registers, behind whatever may have changed it. */
function reloadState(): void {
  if (r.hasAccess) e.loadContext();
  if (r.hasFp) {
    e.loadLimit();
    e.i32Const(0);
    e.localSet(e.LOCAL_FS);
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
    e.localSet(e.LOCAL_VA);
  }
  e.pcConst(after);
  e.setReg(load<u16>(slot, 2));
  e.setRetired(e.retired + 1);
  e.writeBack(e.dirty);
  e.setDirty(0);
  if (!dynamic && !recursive) {
    e.pcConst(target);
    e.localSet(e.LOCAL_VA);
  }
  e.pushBlock();
  e.localGet(recursive ? e.LOCAL_PC : e.LOCAL_VA);
  e.localGet(e.LOCAL_DEPTH);
  e.i32Const(1);
  e.op(0x6a);
  if (recursive) {
    e.op(0x10);
    e.uleb(self);
  } else {
    e.emitLookup(LOOKUP);
    e.op(0x11);
    e.uleb(TYPE_REGION);
    e.op(0);
  }
  e.localTee(e.LOCAL_VA);
  e.pcConst(after);
  e.op(0x52);
  e.openUnlikely();
  e.addCount(e.retired);
  e.localGet(e.LOCAL_VA);
  e.op(0x0f);
  e.closeIf();
  e.reload(load<u64>(W_LIVE + (<usize>h << 3)));
  reloadState();
}

/** Notes at each call of a block which registers live on behind it. */
function noteLiveness(block: usize): void {
  let count = 0;
  const last: i32 = load<u16>(block, r.B_LAST);
  for (let h: i32 = load<u16>(block, r.B_START); ; h += r.lengthAt(h)) {
    store<u16>(W_STACK + (count << 1), <u16>h);
    count++;
    if (h == last) break;
  }
  let live = load<u64>(block, r.B_LIVE_OUT);
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
function openChain(h: i32, last: i32): void {
  let length = 0;
  let dirty = e.dirty;
  for (; ; h += r.lengthAt(h)) {
    const kind = r.kindAt(h);
    if (r.isCall(h) || kind == KIND_SYSTEM) break;
    if (kind == KIND_ACCESS && (length == 0 || load<u64>(W_CHAIN + (<usize>(length - 1) << 3)) != dirty)) {
      store<u64>(W_CHAIN + (<usize>length << 3), dirty);
      length++;
    }
    if (h == last) break;
    dirty |= r.writesOf(h);
  }
  e.openChain(length);
}

/** The block's instructions, without what ends it. */
function emitBody(block: usize): void {
  e.setDirty(load<u64>(block, r.B_DIRTY_IN));
  e.setRetired(0);
  fpChecked = false;
  if (load<u8>(block, r.B_CALLS)) noteLiveness(block);
  const end = load<u8>(block, r.B_END);
  const last: i32 = load<u16>(block, r.B_LAST);
  let h: i32 = load<u16>(block, r.B_START);
  findGroups(h, last);
  openChain(h, last);
  for (; ; h += r.lengthAt(h)) {
    if (h == last && end != r.END_FALL) break;
    const slot = r.slotAt(h);
    const at = r.distance(h);
    const kind = r.kindAt(h);
    if (r.isCall(h) || kind == KIND_SYSTEM) {
      e.closeChain();
      e.mark(at);
      if (kind == KIND_SYSTEM) {
        e.emitSystem(slot, at, at + (r.lengthAt(h) << 1));
        reloadState();
      } else emitCall(h);
      if (h != last) openChain(h + r.lengthAt(h), last);
    } else {
      e.mark(at);
      if (r.usesFp(h) && !fpChecked) {
        e.fpCheck(at);
        fpChecked = true;
      }
      const group = groupOf(h);
      if (group != 0 && isFirst(h)) e.emitGroupCheck(group, load<u16>(slot, 4));
      e.setGroup(group);
      if (kind == KIND_FENCE) e.emitFence(slot, H_BARRIER);
      else emitInsn(slot, at);
      e.setGroup(0);
      e.setRetired(e.retired + 1);
    }
    if (h == last) break;
  }
  e.closeChain();
}

/** Out of the region, to the region at a distance if there is one, else to the interpreter. */
function emitOut(at: i32): void {
  e.writeBack(e.dirty);
  e.addCount(e.retired);
  e.pcConst(at);
  e.localSet(e.LOCAL_VA);
  e.emitTailCall(LOOKUP);
}

function emitEdge(from: i32, to: i32, at: i32): void {
  if (to < 0) {
    emitOut(at);
    return;
  }
  e.settleCount();
  if (r.placeOf(to) <= r.placeOf(from)) {
    e.op(0x0c);
    e.uleb(labelDepth(LABEL_LOOP, to));
  } else if (load<u8>(r.blockAt(to), r.B_MERGE)) {
    e.op(0x0c);
    e.uleb(labelDepth(LABEL_BLOCK, to));
  } else emitTree(to);
}

/** A br_table over the observed targets of the address in LOCAL_VA; falls through when it is none of them. */
function emitCases(index: i32, block: usize): void {
  const cases: i32 = load<u16>(block, r.B_CASE_COUNT);
  let low = HALFWORDS;
  let high = -1;
  for (let i = 0; i < cases; i++) {
    if (r.caseBlock(block, i) < 0) continue;
    const h = r.caseHalfword(block, i);
    low = min(low, h);
    high = max(high, h);
  }
  if (high < 0 || high - low >= MAX_TABLE) return;
  e.settleCount();
  // Inside: the label of those that are none.
  e.op(0x02);
  e.op(0x40);
  pushLabel(LABEL_IF, 0);
  const size = high - low + 1;
  for (let i = 0; i < size; i++) store<u16>(W_STACK + (<usize>i << 1), 0);
  for (let i = 0; i < cases; i++) {
    const to = r.caseBlock(block, i);
    if (to < 0) continue;
    const depth = labelDepth(r.placeOf(to) <= r.placeOf(index) ? LABEL_LOOP : LABEL_BLOCK, to);
    store<u16>(W_STACK + (<usize>(r.caseHalfword(block, i) - low) << 1), <u16>depth);
  }
  e.localGet(e.LOCAL_VA);
  e.pcConst(r.distance(low));
  e.op(0x7d);
  e.localTee(e.LOCAL_VA);
  e.i64Const(size << 1);
  e.op(0x5a);
  e.hint(0);
  e.op(0x0d);
  e.uleb(0);
  e.localGet(e.LOCAL_VA);
  e.op(0xa7);
  e.i32Const(1);
  e.op(0x76);
  e.op(0x0e);
  e.uleb(size);
  for (let i = 0; i < size; i++) e.uleb(load<u16>(W_STACK + (<usize>i << 1)));
  e.uleb(0);
  labels--;
  e.closeIf();
  // LOCAL_VA became a distance from the lowest.
  e.localGet(e.LOCAL_VA);
  e.pcConst(r.distance(low));
  e.op(0x7c);
  e.localSet(e.LOCAL_VA);
}

function emitEnd(index: i32): void {
  const block = r.blockAt(index);
  const last: i32 = load<u16>(block, r.B_LAST);
  const slot = r.slotAt(last);
  const at = r.distance(last);
  const end = load<u8>(block, r.B_END);
  if (end != r.END_FALL) e.mark(at);
  if (end == r.END_LEAVE) {
    e.emitExit(at);
    return;
  }
  if (end == r.END_FALL) {
    emitEdge(index, load<i16>(block, r.B_NEXT), load<i32>(block, r.B_NEXT_AT));
    return;
  }
  if (end == r.END_JUMP_REG) {
    const returns = r.isReturn(last);
    emitInsn(slot, at);
    if (!returns) e.localSet(e.LOCAL_VA);
    e.setRetired(e.retired + 1);
    if (load<u16>(block, r.B_CASE_COUNT) != 0) emitCases(index, block);
    e.writeBack(e.dirty);
    e.addCount(e.retired);
    if (returns) e.op(0x0f);
    else e.emitTailCall(LOOKUP);
    return;
  }
  const taken = load<i16>(block, r.B_TAKEN);
  const takenAt = load<i32>(block, r.B_TAKEN_AT);
  if (end == r.END_JUMP) {
    e.setRetired(e.retired + 1);
    emitEdge(index, taken, takenAt);
    return;
  }
  // The count is settled before the branch, for both sides.
  const dirty = e.dirty;
  e.setRetired(e.retired + 1);
  e.settleCount();
  emitInsn(slot, at);
  if (taken < 0) e.openUnlikely();
  else e.openIf(0x40);
  pushLabel(LABEL_IF, 0);
  emitEdge(index, taken, takenAt);
  labels--;
  e.closeIf();
  e.setDirty(dirty);
  e.setRetired(0);
  emitEdge(index, load<i16>(block, r.B_NEXT), load<i32>(block, r.B_NEXT_AT));
}

/** A block with the merge nodes that follow it; `child`: the first of them. */
function emitWithin(index: i32, child: i32): void {
  if (child >= 0) {
    e.op(0x02);
    e.op(0x40);
    pushLabel(LABEL_BLOCK, child);
    emitWithin(index, load<i16>(r.blockAt(child), r.B_SIBLING));
    labels--;
    e.closeIf();
    emitTree(child);
    return;
  }
  const block = r.blockAt(index);
  if (load<u8>(block, r.B_HEADER)) {
    e.setDirty(load<u64>(block, r.B_DIRTY_IN));
    e.setRetired(0);
    e.pollCheck(r.distance(load<u16>(block, r.B_START)));
  }
  emitBody(block);
  emitEnd(index);
}

function emitTree(index: i32): void {
  const block = r.blockAt(index);
  if (load<u8>(block, r.B_HEADER)) {
    e.op(0x03);
    e.op(0x40);
    pushLabel(LABEL_LOOP, index);
    emitWithin(index, load<i16>(block, r.B_CHILD));
    labels--;
    e.closeIf();
  } else emitWithin(index, load<i16>(block, r.B_CHILD));
}

// ---- functions --------------------------------------------------------------------------------------------------

/** Numbers the locals of registers in use, and declares all. */
function declareLocals(): void {
  let next = e.LOCAL_FIRST;
  for (let rest = r.usedRegisters; rest != 0; rest &= rest - 1) {
    store<u8>(W_LOCAL + <usize>ctz(rest), <u8>next);
    next++;
  }
  const integer = <i32>popcnt(r.usedRegisters & 0xffffffff);
  const floating = <i32>popcnt(r.usedRegisters >> 32);
  e.op(3 + i32(integer > 0) + i32(floating > 0));
  e.op(4);
  e.op(0x7e);
  e.op(8);
  e.op(0x7f);
  e.op(2);
  e.op(0x7c);
  if (integer > 0) {
    e.op(integer);
    e.op(0x7e);
  }
  if (floating > 0) {
    e.op(floating);
    e.op(0x7c);
  }
}

/** Declines unless the page `delta` bytes from the entry's is there and as it was. `which`: 0 before, 1 behind. */
function emitGuard(delta: i32, which: i32, fn: i32): void {
  // LOCAL_VA = the page's address; LOCAL_ENTRY = its ITLB entry, relative to H_ITLB.
  e.localGet(e.LOCAL_PC);
  e.i64Const(-4096);
  e.op(0x83);
  e.i64Const(delta);
  e.op(0x7c);
  e.localTee(e.LOCAL_VA);
  e.i64Const(8);
  e.op(0x88);
  e.op(0xa7);
  e.i32Const(0x3ff0);
  e.op(0x71);
  e.addBase();
  e.localTee(e.LOCAL_ENTRY);
  e.blockAccess(0x29, 3, H_ITLB);
  e.localGet(e.LOCAL_VA);
  e.blockLoad(0x29, 3, H_FETCH_CONTEXT);
  e.op(0x84);
  e.op(0x51);
  e.openLikely(0x7f);
  e.localGet(e.LOCAL_ENTRY);
  e.blockAccess(0x28, 2, H_ITLB + 8);
  e.access(0x28, 2, PAGE_VERSION);
  e.blockLoad(0x28, 2, H_JIT_GUARDS);
  e.access(0x28, 2, ((fn - FN_FIRST) << 3) + (which << 2));
  e.op(0x46);
  e.elseIf();
  e.pushBlock();
  e.localGet(e.LOCAL_VA);
  e.blockLoad(0x28, 2, H_JIT_GUARDS);
  e.i32Const(((fn - FN_FIRST) << 3) + (which << 2));
  e.op(0x6a);
  e.callHelper(HELPER_JIT_GUARD, TYPE_JIT_GUARD);
  e.closeIf();
  e.op(0x45);
  e.openUnlikely();
  e.localGet(e.LOCAL_PC);
  e.op(0x0f);
  e.closeIf();
}

let firstFn: i32 = 0;
let regions: i32 = 0;
let recordEnd: usize = 0;

function functionAt(i: i32): usize {
  return W_FUNCTIONS + i * FUNCTION_SIZE;
}

/**
 * Starts a batch whose regions get numbers from firstFn on.
 * @param block the hart block of the one hart that will run them; 0: any may
 */
export function begin(fn: i32, block: i32): void {
  e.setFixedBlock(block);
  probeFma();
  firstFn = fn;
  regions = 0;
  recordEnd = W_RECORDS;
  e.setOut(BODIES);
  e.setHints(W_HINTS);
  e.setPatches(W_PATCHES);
}

/** 1 while the batch takes another region of any size. */
export function room(): i32 {
  const bytes = e.out + BODY_LIMIT < OUT_END && e.patches() + PATCH_LIMIT < W_PATCHES_END;
  return i32(regions < MAX_REGIONS && bytes && recordEnd + 0x4000 < W_RECORDS_END);
}

/** Guest instructions in the region added last. */
export function lastSize(): i32 {
  return r.insnCount;
}

function writeRecord(fn: i32): void {
  const at = recordEnd;
  memory.fill(at, 0, RECORD_BYTES);
  store<u32>(at, fn);
  store<u32>(at, <u32>((r.entry & 2047) << 1), 4);
  store<u32>(at, r.pages, 8);
  let bytes = at + RECORD_BYTES;
  for (let i = 0; i < 3; i++) {
    // Own, before, behind.
    const place = i == 0 ? 1 : i == 1 ? 0 : 2;
    const range = r.covered(place);
    if (range == 0) continue;
    store<u64>(at + (i << 3), load<u64>(W_ADDRESSES + (place << 3)), RECORD_PA);
    const from = range >> 16;
    const to = range & 0xffff;
    store<u16>(at + (i << 2), <u16>from, RECORD_RANGES);
    store<u16>(at + (i << 2), <u16>to, RECORD_RANGES + 2);
    memory.copy(bytes, W_PAGES + (place << 12) + from, to - from);
    bytes += to - from;
  }
  recordEnd = (bytes + 7) & ~7;
}

/**
 * Translates what a request (abi.ts) asks for.
 * @returns how many regions the batch has now; 0: there is nothing to translate there
 */
export function addRegion(request: usize): i32 {
  if (!r.buildRegion(request)) return 0;
  const fn = firstFn + regions;
  const record = functionAt(regions);
  const start = e.out;
  const firstHint = e.hints();
  const firstPatch = e.patches();
  self = FIRST_REGION + regions;
  // The body's size comes first, in four bytes.
  const body = start + 4;
  e.setOut(body);
  e.setBody(body);
  e.clearMarks();
  store<u32>(record, <u32>start);
  store<u32>(record, <u32>e.hints(), 8);
  store<u32>(record, <u32>recordEnd, 12);
  declareLocals();
  if (r.pages & 2) emitGuard(-4096, 0, fn);
  if (r.pages & 4) emitGuard(4096, 1, fn);
  e.entryCheck();
  e.setDirty(0);
  e.setRetired(0);
  e.reload(load<u64>(r.blockAt(0), r.B_LIVE_IN));
  reloadState();
  labels = 0;
  emitTree(0);
  e.op(0x00);
  e.op(0x0b);
  if (e.patchesFull()) {
    e.setOut(start);
    e.setHints(firstHint);
    e.setPatches(firstPatch);
    return 0;
  }
  e.uleb4(start, <u32>(e.out - body));
  store<u32>(record, <u32>(e.out - start), 4);
  writeRecord(fn);
  regions++;
  return regions;
}

/** Pairs at TRANSLATOR_MARKS for the region added last. */
export function markCount(): i32 {
  return e.markCount();
}
/** The local that holds a register (x 0..31, f 32..63) in the region added last; -1 when it uses it not. */
export function localOf(register: i32): i32 {
  return (r.usedRegisters >> register) & 1 ? load<u8>(W_LOCAL + register) : -1;
}

export function recordAt(i: i32): usize {
  return load<u32>(functionAt(i), 12);
}
export function recordSize(i: i32): i32 {
  return (i + 1 < regions ? <i32>load<u32>(functionAt(i + 1), 12) : <i32>recordEnd) - <i32>load<u32>(functionAt(i), 12);
}
/** Where the body of region i of the batch is (its size, four bytes, comes first), and its size. */
export function bodyAt(i: i32): usize {
  return load<u32>(functionAt(i));
}
export function bodySize(i: i32): i32 {
  return load<u32>(functionAt(i), 4);
}

// ---- the module -------------------------------------------------------------------------------------------------

/** Opens a section whose size is filled in by closeSection. */
function openSection(id: i32): usize {
  e.op(id);
  const at = e.out;
  e.setOut(at + 4);
  return at;
}
function closeSection(at: usize): void {
  e.uleb4(at, <u32>(e.out - at - 4));
}

function text(at: usize, size: i32): void {
  e.uleb(size);
  memory.copy(e.out, at, size);
  e.setOut(e.out + size);
}

const NAME_ENV: usize = memory.data<u8>([0x65, 0x6e, 0x76]);
const NAME_MEMORY: usize = memory.data<u8>([0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79]);
const NAME_TABLE: usize = memory.data<u8>([0x74, 0x61, 0x62, 0x6c, 0x65]);
/** "metadata.code.branch_hint" */
const NAME_HINTS: usize = memory.data<u8>([
  0x6d, 0x65, 0x74, 0x61, 0x64, 0x61, 0x74, 0x61, 0x2e, 0x63, 0x6f, 0x64, 0x65, 0x2e, 0x62, 0x72, 0x61, 0x6e, 0x63, 0x68, 0x5f, 0x68, 0x69,
  0x6e, 0x74,
]);

/** lookup(block, va): the region at va, if its page is in the instruction TLB; FN_MISS if there is none. */
function emitLookupFunction(): void {
  const start = e.out;
  const body = start + 4;
  e.setOut(body);
  // One i32: the ITLB entry.
  e.op(1);
  e.op(1);
  e.op(0x7f);
  e.localGet(1);
  e.i64Const(8);
  e.op(0x88);
  e.op(0xa7);
  e.i32Const(0x3ff0);
  e.op(0x71);
  e.addBase();
  e.localTee(2);
  e.blockAccess(0x29, 3, H_ITLB);
  e.localGet(1);
  e.i64Const(-4096);
  e.op(0x83);
  e.blockLoad(0x29, 3, H_FETCH_CONTEXT);
  e.op(0x84);
  e.op(0x51);
  e.openIf(0x7f);
  e.localGet(2);
  e.blockAccess(0x28, 2, H_ITLB + 8);
  e.localGet(1);
  e.op(0xa7);
  e.i32Const(4094);
  e.op(0x71);
  e.i32Const(1);
  e.op(0x74);
  e.op(0x6a);
  e.access(0x2f, 1, PAGE_JIT + 2);
  e.elseIf();
  e.i32Const(0);
  e.closeIf();
  e.op(0x0b);
  e.uleb4(start, <u32>(e.out - body));
}

/** Makes patches distances in the module, into which the bodies move to `to`. */
function movePatches(to: usize): void {
  for (let at = W_PATCHES; at < e.patches(); at += 4) {
    const was: usize = load<u32>(at);
    store<u32>(at, <u32>((was < BODIES ? was : was - BODIES + to) - TRANSLATOR_OUT));
  }
}

/** u32 each: distances in the finished module of four-byte LEB128 numbers to which another hart's distance is to be added. */
export function patchesAt(): usize {
  return W_PATCHES;
}
export function patchCount(): i32 {
  return <i32>(e.patches() - W_PATCHES) >> 2;
}

/**
 * Puts the batch's module together.
 * @returns its size at TRANSLATOR_OUT, 0 when the batch is empty
 */
export function finish(): i32 {
  if (regions == 0) return 0;
  const bodiesEnd = e.out;
  e.setOut(TRANSLATOR_OUT);
  store<u64>(e.out, 0x000000016d736100);
  e.setOut(e.out + 8);

  let section = openSection(1);
  memory.copy(e.out, TYPE_SECTION, TYPE_SECTION_SIZE);
  e.setOut(e.out + TYPE_SECTION_SIZE);
  closeSection(section);

  section = openSection(2);
  e.op(2);
  text(NAME_ENV, 3);
  text(NAME_MEMORY, 6);
  // A shared memory of at most 65536 pages. All that is below guest RAM is there, so constant addresses need no check.
  e.op(2);
  e.op(3);
  e.uleb(RAM_OFFSET >> 16);
  e.uleb(65536);
  text(NAME_ENV, 3);
  text(NAME_TABLE, 5);
  e.op(1);
  e.op(0x70);
  e.op(0);
  e.uleb(0);
  closeSection(section);

  section = openSection(3);
  e.uleb(regions + 1);
  e.uleb(TYPE_LOOKUP);
  for (let i = 0; i < regions; i++) e.uleb(TYPE_REGION);
  closeSection(section);

  // Active segment: the module's regions take their places in the table.
  section = openSection(9);
  e.op(1);
  e.op(0);
  e.i32Const(firstFn);
  e.op(0x0b);
  e.uleb(regions);
  for (let i = 0; i < regions; i++) e.uleb(FIRST_REGION + i);
  closeSection(section);

  section = openSection(0);
  text(NAME_HINTS, 25);
  e.uleb(regions);
  for (let i = 0; i < regions; i++) {
    const from: usize = load<u32>(functionAt(i), 8);
    const to: usize = i + 1 < regions ? <usize>load<u32>(functionAt(i + 1), 8) : e.hints();
    e.uleb(FIRST_REGION + i);
    e.uleb(<u32>(to - from) >> 3);
    for (let at = from; at < to; at += 8) {
      e.uleb(load<u32>(at));
      e.op(1);
      e.op(load<u8>(at, 4));
    }
  }
  closeSection(section);

  section = openSection(10);
  e.uleb(regions + 1);
  emitLookupFunction();
  movePatches(e.out);
  memory.copy(e.out, BODIES, bodiesEnd - BODIES);
  e.setOut(e.out + (bodiesEnd - BODIES));
  closeSection(section);
  return <i32>(e.out - TRANSLATOR_OUT);
}
