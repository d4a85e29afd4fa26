/** Memory in regions: the TLB checks of loads, stores and groups of them, atomics, and what is looked up in the instruction TLB. */
import {
  HELPER_JIT_GUARD, HELPER_JIT_LOAD, HELPER_JIT_STORE, TYPE_JIT_GUARD, TYPE_JIT_LOAD, TYPE_JIT_STORE,
} from '../generated/translate.as';
import { H_DTLB, H_ITLB, RAM_OFFSET } from '../../worker/layout';
import { FN_MISS, H_FETCH_CONTEXT, H_JIT_GUARDS, H_JIT_TAG, H_WINDOW, PAGE_JIT, PAGE_VERSION } from './abi';
import { LOCAL_DC, LOCAL_ENTRY, LOCAL_PC, LOCAL_TAG, LOCAL_VA } from './locals';
import {
  END, F64_LOAD, F64_REINTERPRET_I64, F64_STORE, I32_ADD, I32_AND, I32_EQ, I32_EQZ, I32_LE_U, I32_LOAD, I32_LOAD16_U,
  I32_SHL, I32_SHR_U, I32_WRAP_I64, I64_ADD, I64_AND, I64_EQ, I64_EXTEND16_S, I64_EXTEND32_S, I64_EXTEND8_S, I64_LOAD,
  I64_LOAD16_U, I64_LOAD32_U, I64_LOAD8_U, I64_LT_U, I64_OR, I64_STORE, I64_STORE16, I64_STORE32, I64_STORE8, I64_SUB, RETURN,
  TYPE_F64, TYPE_I32, TYPE_I64, TYPE_VOID,
} from './opcodes';
import { RAM_PA } from '../mmu.as';
import { callHelper, faultCheck, getF, getReg, setF, setReg } from './emit.as';
import { G_ALIGN, G_LOCAL, G_LOW, G_SPAN, G_STORES } from './groups.as';
import {
  access, addBase, blockAccess, blockLoad, closeIf, elseIf, i32Const, i64Const, localGet, localSet, localTee, op,
  openIf, openLikely, openUnlikely, pushBase, pushBlock,
} from './pen.as';

// ---- the window -------------------------------------------------------------------------------------------------

/** Accesses of this region look whether they are in the window (H_WINDOW) before they look at the TLB. */
let windowed = false;

export function setWindowed(whether: bool): void {
  windowed = whether;
}

/** The address (i64) is on the stack: pushes whether it is in the window. Leaves LOCAL_VA. */
function windowCheck(): void {
  localTee(LOCAL_VA);
  i64Const(RAM_PA);
  op(I64_SUB);
  blockLoad(I64_LOAD, 3, H_WINDOW);
  op(I64_LT_U);
}

/** Pushes the linear address of what is in the window. */
function windowLinear(): void {
  localGet(LOCAL_VA);
  op(I32_WRAP_I64);
  i32Const(<i32>(<u32>RAM_OFFSET - <u32>RAM_PA));
  op(I32_ADD);
}

// ---- the data TLB -----------------------------------------------------------------------------------------------

/** The address (i64) is on the stack: pushes whether its TLB entry is there. Leaves LOCAL_VA and LOCAL_ENTRY. */
function tlbCheck(bytes: i32, side: i32): void {
  localTee(LOCAL_VA);
  op(I32_WRAP_I64);
  i32Const(7);
  op(I32_SHR_U);
  i32Const(0x1ffe0);
  op(I32_AND);
  addBase();
  localTee(LOCAL_ENTRY);
  blockAccess(I64_LOAD, 3, H_DTLB + side);
  localTee(LOCAL_TAG);
  localGet(LOCAL_VA);
  i64Const(<i64>~(<u64>(0xfff ^ (bytes - 1))));
  op(I64_AND);
  localGet(LOCAL_DC);
  op(I64_OR);
  op(I64_EQ);
}

/** Pushes the linear address. */
function linear(): void {
  localGet(LOCAL_VA);
  op(I32_WRAP_I64);
  localGet(LOCAL_ENTRY);
  blockAccess(I32_LOAD, 2, H_DTLB + 16);
  op(I32_ADD);
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
    op(I64_ADD);
  }
  if (windowed) {
    windowCheck();
    openLikely(TYPE_I32);
    windowLinear();
    elseIf();
    localGet(LOCAL_VA);
  }
  tlbCheck(align, load<u8>(whose, G_STORES) ? 8 : 0);
  if (span > align) {
    localGet(LOCAL_VA);
    op(I32_WRAP_I64);
    i32Const(4095);
    op(I32_AND);
    i32Const(4096 - span);
    op(I32_LE_U);
    op(I32_AND);
  }
  openLikely(TYPE_I32);
  linear();
  elseIf();
  keepTag();
  i32Const(0);
  closeIf();
  if (windowed) closeIf();
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
/** Uses the tag once more where it costs nothing: V8 14 emits a load that it folds into a comparison a second time. */
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
  op(I64_ADD);
}

function log2(bytes: i32): i32 {
  return bytes == 8 ? 3 : bytes == 4 ? 2 : bytes - 1;
}

/** Loads extend with zeros; see emitExtend. */
function loadCode(bytes: i32): i32 {
  if (bytes == 8) return I64_LOAD;
  if (bytes == 4) return I64_LOAD32_U;
  if (bytes == 2) return I64_LOAD16_U;
  return I64_LOAD8_U;
}

function storeCode(bytes: i32): i32 {
  if (bytes == 8) return I64_STORE;
  if (bytes == 4) return I64_STORE32;
  if (bytes == 2) return I64_STORE16;
  return I64_STORE8;
}

/** Sign extension of what has been loaded, apart from the load: V8 14 emits a load that it folds into another operation twice. */
function emitExtend(bytes: i32): void {
  if (bytes == 4) op(I64_EXTEND32_S);
  else if (bytes == 2) op(I64_EXTEND16_S);
  else if (bytes == 1) op(I64_EXTEND8_S);
}

/** Loads from the linear address on the stack. */
function loadFrom(bytes: i32, isSigned: bool, whole: bool, offset: u32): void {
  if (whole) {
    access(F64_LOAD, 3, offset);
    return;
  }
  access(loadCode(bytes), log2(bytes), offset);
  if (isSigned) emitExtend(bytes);
}

export function emitLoad(slot: usize, at: i32, bytes: i32, isSigned: bool, box: bool): void {
  const rd = load<u16>(slot, 2);
  const whole = rd >= 0x200 && bytes == 8;
  const type = whole ? TYPE_F64 : TYPE_I64;
  const window = windowed && group == 0;
  if (window) {
    windowCheck();
    openLikely(type);
    windowLinear();
    loadFrom(bytes, isSigned, whole, 0);
    elseIf();
    localGet(LOCAL_VA);
  }
  beginAccess(bytes, 0, type);
  loadFrom(bytes, isSigned, whole, accessOffset(slot));
  elseIf();
  if (group == 0) keepTag();
  pushBlock();
  slowAddress(slot);
  i32Const(bytes);
  callHelper(HELPER_JIT_LOAD, TYPE_JIT_LOAD);
  if (isSigned) emitExtend(bytes);
  if (whole) op(F64_REINTERPRET_I64);
  faultCheck(at, window ? 2 : 1);
  closeIf();
  if (window) closeIf();
  if (whole) {
    setF(rd);
    return;
  }
  if (box) {
    i64Const(<i64>0xffffffff00000000);
    op(I64_OR);
  }
  setReg(rd);
}

/** Stores a register at the linear address on the stack. */
function storeTo(bytes: i32, rs2: u32, whole: bool, offset: u32): void {
  if (whole) {
    getF(rs2);
    access(F64_STORE, 3, offset);
  } else {
    getReg(rs2);
    access(storeCode(bytes), log2(bytes), offset);
  }
}

export function emitStore(slot: usize, at: i32, bytes: i32): void {
  const rs2 = load<u16>(slot, 6);
  const whole = rs2 >= 0x200 && bytes == 8;
  const window = windowed && group == 0;
  if (window) {
    windowCheck();
    openLikely(TYPE_VOID);
    windowLinear();
    storeTo(bytes, rs2, whole, 0);
    elseIf();
    localGet(LOCAL_VA);
  }
  beginAccess(bytes, 8, TYPE_VOID);
  storeTo(bytes, rs2, whole, accessOffset(slot));
  elseIf();
  if (group == 0) keepTag();
  pushBlock();
  slowAddress(slot);
  i32Const(bytes);
  getReg(rs2);
  callHelper(HELPER_JIT_STORE, TYPE_JIT_STORE);
  faultCheck(at, window ? 2 : 1);
  closeIf();
  if (window) closeIf();
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

// ---- the instruction TLB ----------------------------------------------------------------------------------------

/**
 * Pushes whether the instruction TLB has the page of the address in a local, whose entry it leaves in another.
 * @param va holds an i64
 * @param entry an i32
 */
function fetchCheck(va: i32, entry: i32): void {
  localGet(va);
  op(I32_WRAP_I64);
  i32Const(8);
  op(I32_SHR_U);
  i32Const(0x3ff0);
  op(I32_AND);
  addBase();
  localTee(entry);
  blockAccess(I64_LOAD, 3, H_ITLB);
  localGet(va);
  i64Const(-4096);
  op(I64_AND);
  blockLoad(I64_LOAD, 3, H_FETCH_CONTEXT);
  op(I64_OR);
  op(I64_EQ);
}

/** Declines unless the page `delta` bytes from the entry's is there and as it was. `guard`: offset of its version in the guard table. */
export function emitGuard(delta: i32, guard: i32): void {
  localGet(LOCAL_PC);
  i64Const(-4096);
  op(I64_AND);
  i64Const(delta);
  op(I64_ADD);
  localSet(LOCAL_VA);
  fetchCheck(LOCAL_VA, LOCAL_ENTRY);
  openLikely(TYPE_I32);
  localGet(LOCAL_ENTRY);
  blockAccess(I32_LOAD, 2, H_ITLB + 8);
  access(I32_LOAD, 2, PAGE_VERSION);
  blockLoad(I32_LOAD, 2, H_JIT_GUARDS);
  access(I32_LOAD, 2, guard);
  op(I32_EQ);
  elseIf();
  pushBlock();
  localGet(LOCAL_VA);
  blockLoad(I32_LOAD, 2, H_JIT_GUARDS);
  i32Const(guard);
  op(I32_ADD);
  callHelper(HELPER_JIT_GUARD, TYPE_JIT_GUARD);
  closeIf();
  op(I32_EQZ);
  openUnlikely();
  localGet(LOCAL_PC);
  op(RETURN);
  closeIf();
}

/** Body of lookup(block, va): the region at va, if its page is in the instruction TLB; FN_MISS if there is none. */
export function emitLookupBody(): void {
  const va = 1;
  const entry = 2;
  // Locals: one group of one i32, the entry.
  op(1);
  op(1);
  op(TYPE_I32);
  fetchCheck(va, entry);
  openIf(TYPE_I32);
  localGet(entry);
  blockAccess(I32_LOAD, 2, H_ITLB + 8);
  localGet(va);
  op(I32_WRAP_I64);
  i32Const(4094);
  op(I32_AND);
  i32Const(1);
  op(I32_SHL);
  op(I32_ADD);
  access(I32_LOAD16_U, 1, PAGE_JIT + 2);
  elseIf();
  i32Const(FN_MISS);
  closeIf();
  op(END);
}
