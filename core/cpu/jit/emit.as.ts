/**
 * The translator's pen: WebAssembly bytes at a cursor, the region's locals, and the pieces that every instruction is made of.
 * What a helper needs of the current instruction (distance from the entry, what has been retired, what is dirty) is kept here.
 */
import {
  H_DTLB, H_FRM, H_INSTRET, H_MSTATUS, H_POLL,
} from '../../worker/layout';
import {
  FN_HELPERS, H_DATA_CONTEXT, H_FP_LIMIT, H_JIT_FAULT, H_JIT_TAG, JIT_FLAGS, JIT_MARKS, MAX_DEPTH, TRANSLATOR_MARKS, TRANSLATOR_MARKS_SIZE,
} from './abi';
import {
  HELPER_JIT_FP_LIMIT, HELPER_JIT_LOAD, HELPER_JIT_STORE, HELPER_JIT_SYSTEM, TYPE_JIT_FP_LIMIT, TYPE_JIT_LOAD, TYPE_JIT_STORE,
  TYPE_JIT_SYSTEM, TYPE_REGION,
} from '../generated/translate.as';
import { MS_FS } from '../state.as';
import { G_ALIGN, G_LOCAL, G_LOW, G_SPAN, G_STORES } from './groups.as';
import {
  LOCAL_BLOCK, LOCAL_COUNT, LOCAL_DC, LOCAL_DEPTH, LOCAL_ENTRY, LOCAL_FS, LOCAL_LIMIT, LOCAL_PC, LOCAL_TAG, LOCAL_TEMP, LOCAL_VA,
} from './locals';
import { W_CHAIN, W_HINTS, W_HINTS_END, W_LOCAL, W_PATCHES, W_PATCHES_END } from './work.as';

export * from './locals';

const F64_LOAD = 0x2b;
const I64_LOAD = 0x29;
const I32_LOAD = 0x28;
const I64_STORE = 0x37;
const F64_STORE = 0x39;
const VOID = 0x40;

/** Cursor, and where the current function's body begins (hints count from there). */
export let out: usize = 0;
let bodyStart: usize = 0;
let hintEnd: usize = 0;

export function setOut(at: usize): void {
  out = at;
}
export function setBody(at: usize): void {
  bodyStart = at;
}
export function setHints(at: usize): void {
  hintEnd = at;
}
export function hints(): usize {
  return hintEnd;
}

// ---- marks ------------------------------------------------------------------------------------------------------

let markEnd: usize = TRANSLATOR_MARKS;

export function clearMarks(): void {
  markEnd = TRANSLATOR_MARKS;
}
export function markCount(): i32 {
  return <i32>(markEnd - TRANSLATOR_MARKS) >> 3;
}
/** Here begins what becomes of the instruction at a distance from the entry. */
export function mark(at: i32): void {
  if (!(load<i32>(JIT_FLAGS) & JIT_MARKS) || markEnd == TRANSLATOR_MARKS + TRANSLATOR_MARKS_SIZE) return;
  store<u32>(markEnd, <u32>(out - bodyStart));
  store<i32>(markEnd, at, 4);
  markEnd += 8;
}

// ---- bytes ------------------------------------------------------------------------------------------------------

// @ts-ignore: decorator
@inline
export function op(code: i32): void {
  store<u8>(out++, <u8>code);
}

export function uleb(value: u32): void {
  while (value >= 0x80) {
    store<u8>(out++, <u8>(value | 0x80));
    value >>= 7;
  }
  store<u8>(out++, <u8>value);
}

export function sleb(value: i64): void {
  for (;;) {
    const low = <u8>(value & 0x7f);
    value >>= 7;
    if ((value == 0 && (low & 0x40) == 0) || (value == -1 && (low & 0x40) != 0)) {
      store<u8>(out++, low);
      return;
    }
    store<u8>(out++, low | 0x80);
  }
}

/** A number below 2^28 in four bytes, for places that are filled in later. */
export function uleb4(at: usize, value: u32): void {
  store<u8>(at, <u8>(value | 0x80));
  store<u8>(at, <u8>((value >> 7) | 0x80), 1);
  store<u8>(at, <u8>((value >> 14) | 0x80), 2);
  store<u8>(at, <u8>((value >> 21) & 0x7f), 3);
}

/** An instruction with a prefix byte. */
export function op2(prefix: i32, code: u32): void {
  op(prefix);
  uleb(code);
}

export function localGet(index: i32): void {
  op(0x20);
  uleb(index);
}
export function localSet(index: i32): void {
  op(0x21);
  uleb(index);
}
export function localTee(index: i32): void {
  op(0x22);
  uleb(index);
}
export function i32Const(value: i32): void {
  op(0x41);
  sleb(value);
}
export function i64Const(value: i64): void {
  op(0x42);
  sleb(value);
}
export function f64Const(bits: u64): void {
  op(0x44);
  store<u64>(out, bits);
  out += 8;
}

/** A load or store; the address is on the stack. */
export function access(code: i32, align: i32, offset: u32): void {
  op(code);
  uleb(align);
  uleb(offset);
}

/** The block of the one hart that will run the code; 0: any hart's, whose block is the first parameter. */
let fixedBlock: u32 = 0;

export function setFixedBlock(block: u32): void {
  fixedBlock = block;
}

/**
 * Where numbers made of fixedBlock are: hart blocks lie between 2^22 and 2^27, so each is four bytes of LEB128 whatever the hart, and
 * the module of another hart differs in these alone.
 */
let patchEnd: usize = W_PATCHES;

export function patches(): usize {
  return patchEnd;
}
export function setPatches(at: usize): void {
  patchEnd = at;
}
export function patchesFull(): bool {
  return patchEnd >= W_PATCHES_END;
}
function notePatch(): void {
  if (patchEnd >= W_PATCHES_END) return;
  store<u32>(patchEnd, <u32>out);
  patchEnd += 4;
}
/** Pushes the hart block's address. */
export function pushBlock(): void {
  if (fixedBlock == 0) {
    localGet(LOCAL_BLOCK);
    return;
  }
  op(0x41);
  notePatch();
  sleb(fixedBlock);
}
/** Pushes what accesses to the hart block (blockAccess) take as their address. */
export function pushBase(): void {
  if (fixedBlock != 0) i32Const(0);
  else localGet(LOCAL_BLOCK);
}
/** An i32 on the stack, an offset in the hart block, becomes an address for blockAccess. */
export function addBase(): void {
  if (fixedBlock != 0) return;
  localGet(LOCAL_BLOCK);
  op(0x6a);
}
export function blockAccess(code: i32, align: i32, offset: u32): void {
  op(code);
  uleb(align);
  if (fixedBlock != 0) notePatch();
  uleb(fixedBlock + offset);
}

/** Loads a word of the hart block. */
export function blockLoad(code: i32, align: i32, offset: u32): void {
  pushBase();
  blockAccess(code, align, offset);
}

// ---- structure --------------------------------------------------------------------------------------------------

export function hint(likely: i32): void {
  if (hintEnd + 8 > W_HINTS_END) return;
  store<u32>(hintEnd, <u32>(out - bodyStart));
  store<u32>(hintEnd, likely, 4);
  hintEnd += 8;
}

export function openIf(type: i32): void {
  op(0x04);
  op(type);
}
/** An `if` whose condition is nearly always true. */
export function openLikely(type: i32): void {
  hint(1);
  openIf(type);
}
export function openUnlikely(): void {
  hint(0);
  openIf(VOID);
}
export function elseIf(): void {
  op(0x05);
}
export function closeIf(): void {
  op(0x0b);
}

// ---- the current instruction ------------------------------------------------------------------------------------

/** Registers whose local is newer than the hart block, one bit a register (x 0..31, f 32..63). */
export let dirty: u64 = 0;
/** Instructions retired since LOCAL_COUNT was last brought up to date. */
export let retired: i32 = 0;

export function setDirty(mask: u64): void {
  dirty = mask;
}
export function setRetired(count: i32): void {
  retired = count;
}

/** Bit of a register by its offset in the hart block; 0 for x0 and the sink. */
export function registerBit(offset: u32): u64 {
  if (offset >= 0x200) return (<u64>1 << 32) << ((offset - 0x200) >> 3);
  if (offset == 0 || offset >= 0x100) return 0;
  return <u64>1 << (offset >> 3);
}

// @ts-ignore: decorator
@inline
function localOf(bit: i32): i32 {
  return load<u8>(W_LOCAL + bit);
}

/** Pushes a register as i64. */
export function getReg(offset: u32): void {
  if (offset == 0) {
    i64Const(0);
    return;
  }
  if (offset >= 0x200) {
    localGet(localOf(32 + ((offset - 0x200) >> 3)));
    op(0xbd);
    return;
  }
  localGet(localOf(offset >> 3));
}
export function getF(offset: u32): void {
  localGet(localOf(32 + ((offset - 0x200) >> 3)));
}
/** Pops an i64 into a register. */
export function setReg(offset: u32): void {
  if (offset == 0x100) {
    op(0x1a);
    return;
  }
  dirty |= registerBit(offset);
  if (offset >= 0x200) {
    op(0xbf);
    localSet(localOf(32 + ((offset - 0x200) >> 3)));
    return;
  }
  localSet(localOf(offset >> 3));
}
export function setF(offset: u32): void {
  dirty |= registerBit(offset);
  localSet(localOf(32 + ((offset - 0x200) >> 3)));
}

/** Pushes the address at a distance from the entry. */
export function pcConst(at: i32): void {
  localGet(LOCAL_PC);
  if (at == 0) return;
  i64Const(at);
  op(0x7c);
}

/** Pushes an effective rounding mode; the floating-point check has seen to it that frm is a valid one. */
export function roundingMode(mode: i32): void {
  if (mode != 7) i32Const(mode);
  else blockLoad(I32_LOAD, 2, H_FRM);
}

export function writeBack(mask: u64): void {
  for (let rest = mask; rest != 0; rest &= rest - 1) {
    const bit = <i32>ctz(rest);
    pushBase();
    localGet(localOf(bit));
    if (bit < 32) blockAccess(I64_STORE, 3, bit << 3);
    else blockAccess(F64_STORE, 3, 0x200 + ((bit - 32) << 3));
  }
}

export function reload(mask: u64): void {
  for (let rest = mask; rest != 0; rest &= rest - 1) {
    const bit = <i32>ctz(rest);
    if (bit < 32) blockLoad(I64_LOAD, 3, bit << 3);
    else blockLoad(F64_LOAD, 3, 0x200 + ((bit - 32) << 3));
    localSet(localOf(bit));
  }
}

/** H_INSTRET += LOCAL_COUNT + more. */
export function addCount(more: i32): void {
  pushBase();
  blockLoad(I64_LOAD, 3, H_INSTRET);
  localGet(LOCAL_COUNT);
  op(0x7c);
  if (more != 0) {
    i64Const(more);
    op(0x7c);
  }
  blockAccess(I64_STORE, 3, H_INSTRET);
}

/** LOCAL_COUNT += what has been retired in this block. */
export function settleCount(): void {
  if (retired == 0) return;
  localGet(LOCAL_COUNT);
  i64Const(retired);
  op(0x7c);
  localSet(LOCAL_COUNT);
  retired = 0;
}

/** All state to the hart block, then the region returns the address at a distance from its entry. */
export function emitExit(at: i32): void {
  writeBack(dirty);
  addCount(retired);
  pcConst(at);
  op(0x0f);
}

// ---- ways out on a fault ------------------------------------------------------------------------------------------
//
// Between two points at which nothing is dirty the set of dirty registers only grows. So the ways out of all accesses in between are
// one chain: each enters it where what is dirty there has to be written, and falls through to the rest.

/** Different sets of dirty registers at accesses of the open chain, and the one that is current. */
let chainLength: i32 = 0;
let chainAt: i32 = 0;

/** Opens a chain for accesses whose dirty sets (u64 each) have been put at W_CHAIN. */
export function openChain(length: i32): void {
  chainLength = length;
  chainAt = 0;
  for (let i = 0; i <= length && length > 0; i++) {
    op(0x02);
    op(VOID);
  }
}

export function closeChain(): void {
  if (chainLength == 0) return;
  op(0x0c);
  uleb(chainLength);
  for (let i = chainLength - 1; i >= 0; i--) {
    closeIf();
    const below = i > 0 ? load<u64>(W_CHAIN + (<usize>(i - 1) << 3)) : 0;
    writeBack(load<u64>(W_CHAIN + (<usize>i << 3)) & ~below);
  }
  pushBase();
  blockLoad(I64_LOAD, 3, H_INSTRET);
  localGet(LOCAL_COUNT);
  op(0x7c);
  localGet(LOCAL_TEMP);
  i32Const(16);
  op(0x76);
  op(0xad);
  op(0x7c);
  blockAccess(I64_STORE, 3, H_INSTRET);
  localGet(LOCAL_PC);
  localGet(LOCAL_TEMP);
  op(0xc1);
  op(0xac);
  op(0x7c);
  i64Const(1);
  op(0x84);
  op(0x0f);
  closeIf();
  chainLength = 0;
}

/**
 * Behind a helper that may have raised an exception for the instruction at `at`.
 * @param nested labels that are open inside the chain's
 */
export function faultCheck(at: i32, nested: i32): void {
  while (load<u64>(W_CHAIN + (<usize>chainAt << 3)) != dirty) chainAt++;
  i32Const((retired << 16) | (at & 0xffff));
  localSet(LOCAL_TEMP);
  blockLoad(I32_LOAD, 2, H_JIT_FAULT);
  hint(0);
  op(0x0d);
  uleb(chainLength - 1 - chainAt + nested);
}

export function callHelper(index: i32, type: i32): void {
  i32Const(FN_HELPERS + index);
  op(0x11);
  uleb(type);
  op(0);
}

export function loadContext(): void {
  blockLoad(I64_LOAD, 3, H_DATA_CONTEXT);
  localSet(LOCAL_DC);
}
export function loadLimit(): void {
  blockLoad(F64_LOAD, 3, H_FP_LIMIT);
  localSet(LOCAL_LIMIT);
}
/** Behind an arithmetic helper: flags may have accrued. */
export function fpLimitReload(): void {
  pushBlock();
  callHelper(HELPER_JIT_FP_LIMIT, TYPE_JIT_FP_LIMIT);
  loadLimit();
}

/** Leaves before the first floating-point instruction of a block when FS is not Dirty or frm is invalid. */
export function fpCheck(at: i32): void {
  localGet(LOCAL_FS);
  op(0x45);
  openUnlikely();
  blockLoad(I64_LOAD, 3, H_MSTATUS);
  i64Const(MS_FS);
  op(0x83);
  i64Const(MS_FS);
  op(0x52);
  blockLoad(I32_LOAD, 2, H_FRM);
  i32Const(4);
  op(0x4b);
  op(0x72);
  openUnlikely();
  emitExit(at);
  closeIf();
  i32Const(1);
  localSet(LOCAL_FS);
  closeIf();
}

/** Leaves at `at` when the hart is wanted elsewhere. */
export function pollCheck(at: i32): void {
  blockLoad(I32_LOAD, 2, H_POLL);
  openUnlikely();
  emitExit(at);
  closeIf();
}

/** On entry: the same, and no deeper than MAX_DEPTH. Nothing has been loaded yet. */
export function entryCheck(): void {
  blockLoad(I32_LOAD, 2, H_POLL);
  localGet(LOCAL_DEPTH);
  i32Const(MAX_DEPTH);
  op(0x4a);
  op(0x72);
  openUnlikely();
  localGet(LOCAL_PC);
  op(0x0f);
  closeIf();
}

// ---- memory -----------------------------------------------------------------------------------------------------

/** The address (i64) is on the stack: pushes whether its TLB entry is there. Leaves LOCAL_VA and LOCAL_ENTRY. */
function tlbCheck(bytes: i32, side: i32): void {
  localTee(LOCAL_VA);
  op(0xa7);
  i32Const(7);
  op(0x76);
  i32Const(0x1ffe0);
  op(0x71);
  addBase();
  localTee(LOCAL_ENTRY);
  blockAccess(I64_LOAD, 3, H_DTLB + side);
  localTee(LOCAL_TAG);
  localGet(LOCAL_VA);
  i64Const(<i64>~(<u64>(0xfff ^ (bytes - 1))));
  op(0x83);
  localGet(LOCAL_DC);
  op(0x84);
  op(0x51);
}

/** Pushes the linear address. */
function linear(): void {
  localGet(LOCAL_VA);
  op(0xa7);
  localGet(LOCAL_ENTRY);
  blockAccess(I32_LOAD, 2, H_DTLB + 16);
  op(0x6a);
}

/** The group (groups.as.ts) of the current access; 0: it looks at the TLB itself. */
let group: usize = 0;

export function setGroup(whose: usize): void {
  group = whose;
}
/** Whether the current access needs no address: its group knows it. */
export function groupOpen(): bool {
  return group != 0;
}

/** Looks at the TLB for a group whose base register is at an offset in the hart block: its local becomes a linear address or 0. */
export function emitGroupCheck(whose: usize, base: u32): void {
  const align = <i32>load<u8>(whose, G_ALIGN);
  const low = load<i32>(whose, G_LOW);
  const span = load<i32>(whose, G_SPAN);
  getReg(base);
  if (low != 0) {
    i64Const(low);
    op(0x7c);
  }
  tlbCheck(align, load<u8>(whose, G_STORES) ? 8 : 0);
  if (span > align) {
    localGet(LOCAL_VA);
    op(0xa7);
    i32Const(4095);
    op(0x71);
    i32Const(4096 - span);
    op(0x4d);
    op(0x71);
  }
  openLikely(0x7f);
  linear();
  elseIf();
  keepTag();
  i32Const(0);
  closeIf();
  localSet(load<u8>(whose, G_LOCAL));
}

/** Begins an access: pushes whether it is quick, and opens the likely `if` in which the linear address is pushed. */
function beginAccess(bytes: i32, side: i32, type: i32): void {
  if (group != 0) localGet(load<u8>(group, G_LOCAL));
  else tlbCheck(bytes, side);
  openLikely(type);
  if (group != 0) localGet(load<u8>(group, G_LOCAL));
  else linear();
}
/** Distance of the access from the linear address that beginAccess has pushed. */
function accessOffset(slot: usize): u32 {
  return group != 0 ? <u32>(load<i32>(slot, 8) - load<i32>(group, G_LOW)) : 0;
}
/**
 * Uses the tag once more where it costs nothing: V8 14 emits a load that it folds into a comparison a second time.
 */
function keepTag(): void {
  pushBase();
  localGet(LOCAL_TAG);
  blockAccess(I64_STORE, 3, H_JIT_TAG);
}

/** Pushes the virtual address in the unlikely half. */
function slowAddress(slot: usize): void {
  if (group == 0) {
    localGet(LOCAL_VA);
    return;
  }
  getReg(load<u16>(slot, 4));
  if (load<i32>(slot, 8) == 0) return;
  i64Const(load<i32>(slot, 8));
  op(0x7c);
}

function log2(bytes: i32): i32 {
  return bytes == 8 ? 3 : bytes == 4 ? 2 : bytes - 1;
}

function loadCode(bytes: i32, isSigned: bool): i32 {
  if (bytes == 8) return I64_LOAD;
  if (bytes == 4) return 0x35;
  if (bytes == 2) return 0x33;
  return 0x31;
}

export function emitLoad(slot: usize, at: i32, bytes: i32, isSigned: bool, box: bool): void {
  const rd = load<u16>(slot, 2);
  const whole = rd >= 0x200 && bytes == 8;
  beginAccess(bytes, 0, whole ? 0x7c : 0x7e);
  const offset = accessOffset(slot);
  if (whole) access(F64_LOAD, 3, offset);
  else {
    access(loadCode(bytes, isSigned), log2(bytes), offset);
    if (isSigned && bytes != 8) op(bytes == 4 ? 0xc4 : bytes == 2 ? 0xc3 : 0xc2);
  }
  elseIf();
  if (group == 0) keepTag();
  pushBlock();
  slowAddress(slot);
  i32Const(bytes);
  callHelper(HELPER_JIT_LOAD, TYPE_JIT_LOAD);
  if (isSigned && bytes != 8) op(bytes == 4 ? 0xc4 : bytes == 2 ? 0xc3 : 0xc2);
  if (whole) op(0xbf);
  faultCheck(at, 1);
  closeIf();
  if (whole) {
    setF(rd);
    return;
  }
  if (box) {
    i64Const(<i64>0xffffffff00000000);
    op(0x84);
  }
  setReg(rd);
}

export function emitStore(slot: usize, at: i32, bytes: i32): void {
  const rs2 = load<u16>(slot, 6);
  const whole = rs2 >= 0x200 && bytes == 8;
  beginAccess(bytes, 8, VOID);
  const offset = accessOffset(slot);
  if (whole) {
    getF(rs2);
    access(F64_STORE, 3, offset);
  } else {
    getReg(rs2);
    access(bytes == 8 ? I64_STORE : bytes == 4 ? 0x3e : bytes == 2 ? 0x3d : 0x3c, log2(bytes), offset);
  }
  elseIf();
  if (group == 0) keepTag();
  pushBlock();
  slowAddress(slot);
  i32Const(bytes);
  getReg(rs2);
  callHelper(HELPER_JIT_STORE, TYPE_JIT_STORE);
  faultCheck(at, 1);
  closeIf();
}

/** Operands of an atomic helper. */
export function beginAtomic(slot: usize): void {
  pushBlock();
  getReg(load<u16>(slot, 4));
  getReg(load<u16>(slot, 6));
}
export function endAtomic(slot: usize, at: i32): void {
  localSet(LOCAL_VA);
  faultCheck(at, 0);
  localGet(LOCAL_VA);
  setReg(load<u16>(slot, 2));
}

/** A CSR instruction or the like, done by the engine; `after`: distance of the next instruction. */
export function emitSystem(slot: usize, at: i32, after: i32): void {
  writeBack(dirty);
  addCount(retired + 1);
  i64Const(0);
  localSet(LOCAL_COUNT);
  pushBlock();
  i32Const(load<i32>(slot, 12));
  pcConst(at);
  callHelper(HELPER_JIT_SYSTEM, TYPE_JIT_SYSTEM);
  localTee(LOCAL_TEMP);
  openUnlikely();
  localGet(LOCAL_TEMP);
  i32Const(1);
  op(0x46);
  openIf(VOID);
  pcConst(after);
  op(0x0f);
  closeIf();
  // It has not retired.
  addCount(-1);
  pcConst(at);
  i64Const(1);
  op(0x84);
  op(0x0f);
  closeIf();
  dirty = 0;
  retired = 0;
  const rd = load<u16>(slot, 2);
  reload(registerBit(rd));
  i32Const(0);
  localSet(LOCAL_FS);
}

/** A read-modify-write of a word nobody else touches is V8's cheapest full barrier. */
export function emitFence(slot: usize, barrierOffset: u32): void {
  // pause is a fence with an empty successor set (Zihintpause).
  if (((load<u32>(slot, 12) >> 20) & 15) == 0) return;
  pushBase();
  i32Const(1);
  op(0xfe);
  uleb(0x1e);
  uleb(2);
  if (fixedBlock != 0) notePatch();
  uleb(fixedBlock + barrierOffset);
  op(0x1a);
}

/** Tail call of the region at the address in LOCAL_VA, through the table. */
export function emitTailCall(lookup: i32): void {
  pushBlock();
  localGet(LOCAL_VA);
  localGet(LOCAL_DEPTH);
  emitLookup(lookup);
  op(0x13);
  uleb(TYPE_REGION);
  op(0);
}

export function emitLookup(lookup: i32): void {
  pushBlock();
  localGet(LOCAL_VA);
  op(0x10);
  uleb(lookup);
}
