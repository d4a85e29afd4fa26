/**
 * What regions are made of beside memory accesses: guest registers in locals, counting, ways out, checks, helpers. What a piece must
 * know of the current instruction (what has been retired before it, what is dirty) is kept here.
 */
import {
  HELPER_JIT_FP_LIMIT, HELPER_JIT_SYSTEM, TYPE_JIT_FP_LIMIT, TYPE_JIT_SYSTEM, TYPE_REGION,
} from '../generated/translate.as';
import { H_BARRIER, H_FRM, H_INSTRET, H_MSTATUS, H_POLL } from '../../worker/layout';
import { FN_HELPERS, H_DATA_CONTEXT, H_FP_LIMIT, H_JIT_FAULT, MAX_DEPTH } from './abi';
import { MS_FS } from '../state.as';
import { LOCAL_COUNT, LOCAL_DC, LOCAL_DEPTH, LOCAL_FS, LOCAL_LIMIT, LOCAL_PC, LOCAL_TEMP, LOCAL_VA } from './locals';
import {
  BLOCK, BR, BR_IF, CALL, CALL_INDIRECT, DROP, F64_LOAD, F64_REINTERPRET_I64, F64_STORE, I32_ATOMIC_RMW_ADD, I32_EQ,
  I32_EQZ, I32_EXTEND16_S, I32_GT_S, I32_GT_U, I32_LOAD, I32_OR, I32_SHR_U, I64_ADD, I64_AND, I64_EXTEND_I32_S,
  I64_EXTEND_I32_U, I64_LOAD, I64_NE, I64_OR, I64_REINTERPRET_F64, I64_STORE, PREFIX_ATOMIC, RETURN,
  RETURN_CALL_INDIRECT, TYPE_VOID,
} from './opcodes';
import {
  blockAccess, blockImmediates, blockLoad, closeIf, hint, i32Const, i64Const, localGet, localSet, localTee, op, op2,
  openIf, openUnlikely, out, pushBase, pushBlock, uleb,
} from './pen.as';
import { W_CHAIN, W_LOCAL } from './work.as';

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
    op(I64_REINTERPRET_F64);
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
    op(DROP);
    return;
  }
  dirty |= registerBit(offset);
  if (offset >= 0x200) {
    op(F64_REINTERPRET_I64);
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
  op(I64_ADD);
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

/** Pushes the operands of storing H_INSTRET + LOCAL_COUNT, to which more may be added. */
function beginCount(): void {
  pushBase();
  blockLoad(I64_LOAD, 3, H_INSTRET);
  localGet(LOCAL_COUNT);
  op(I64_ADD);
}

/** H_INSTRET += LOCAL_COUNT + more. */
export function addCount(more: i32): void {
  beginCount();
  if (more != 0) {
    i64Const(more);
    op(I64_ADD);
  }
  blockAccess(I64_STORE, 3, H_INSTRET);
}

/** LOCAL_COUNT += what has been retired in this block. */
export function settleCount(): void {
  if (retired == 0) return;
  localGet(LOCAL_COUNT);
  i64Const(retired);
  op(I64_ADD);
  localSet(LOCAL_COUNT);
  retired = 0;
}

/** Returns the address on the stack as that of an instruction with an exception pending. */
function returnFault(): void {
  i64Const(1);
  op(I64_OR);
  op(RETURN);
}

/** All state to the hart block, then the region returns the address at a distance from its entry. */
export function emitExit(at: i32): void {
  writeBack(dirty);
  addCount(retired);
  pcConst(at);
  op(RETURN);
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
    op(BLOCK);
    op(TYPE_VOID);
  }
}

export function closeChain(): void {
  if (chainLength == 0) return;
  op(BR);
  uleb(chainLength);
  for (let i = chainLength - 1; i >= 0; i--) {
    closeIf();
    const below = i > 0 ? load<u64>(W_CHAIN + (<usize>(i - 1) << 3)) : 0;
    writeBack(load<u64>(W_CHAIN + (<usize>i << 3)) & ~below);
  }
  beginCount();
  localGet(LOCAL_TEMP);
  i32Const(16);
  op(I32_SHR_U);
  op(I64_EXTEND_I32_U);
  op(I64_ADD);
  blockAccess(I64_STORE, 3, H_INSTRET);
  localGet(LOCAL_PC);
  localGet(LOCAL_TEMP);
  op(I32_EXTEND16_S);
  op(I64_EXTEND_I32_S);
  op(I64_ADD);
  returnFault();
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
  op(BR_IF);
  uleb(chainLength - 1 - chainAt + nested);
}

export function callHelper(index: i32, type: i32): void {
  i32Const(FN_HELPERS + index);
  op(CALL_INDIRECT);
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
  op(I32_EQZ);
  openUnlikely();
  blockLoad(I64_LOAD, 3, H_MSTATUS);
  i64Const(MS_FS);
  op(I64_AND);
  i64Const(MS_FS);
  op(I64_NE);
  blockLoad(I32_LOAD, 2, H_FRM);
  i32Const(4);
  op(I32_GT_U);
  op(I32_OR);
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
  op(I32_GT_S);
  op(I32_OR);
  openUnlikely();
  localGet(LOCAL_PC);
  op(RETURN);
  closeIf();
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
  op(I32_EQ);
  openIf(TYPE_VOID);
  pcConst(after);
  op(RETURN);
  closeIf();
  // It has not retired.
  addCount(-1);
  pcConst(at);
  returnFault();
  closeIf();
  dirty = 0;
  retired = 0;
  const rd = load<u16>(slot, 2);
  reload(registerBit(rd));
}

/** A read-modify-write of a word nobody else touches is V8's cheapest full barrier. */
export function emitFence(slot: usize): void {
  // pause is a fence with an empty successor set (Zihintpause).
  if (((load<u32>(slot, 12) >> 20) & 15) == 0) return;
  pushBase();
  i32Const(1);
  op2(PREFIX_ATOMIC, I32_ATOMIC_RMW_ADD);
  blockImmediates(2, H_BARRIER);
  op(DROP);
}

/** Function index of the module's own lookup (access.as.ts); regions follow. */
export const LOOKUP = 0;
export const FIRST_REGION = 1;

/** Tail call of the region at the address in LOCAL_VA, through the table. */
export function emitTailCall(): void {
  pushBlock();
  localGet(LOCAL_VA);
  localGet(LOCAL_DEPTH);
  emitLookup();
  op(RETURN_CALL_INDIRECT);
  uleb(TYPE_REGION);
  op(0);
}

export function emitLookup(): void {
  pushBlock();
  localGet(LOCAL_VA);
  op(CALL);
  uleb(LOOKUP);
}
