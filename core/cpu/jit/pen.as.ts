/**
 * The translator's pen: WebAssembly bytes at a cursor, branch hints, and accesses to the hart block, whose address is a constant in the
 * code or its first parameter.
 */
import { JIT_FLAGS, JIT_MARKS, TRANSLATOR_MARKS, TRANSLATOR_MARKS_SIZE } from './abi';
import { LOCAL_BLOCK } from './locals';
import {
  ELSE, END, F64_CONST, I32_ADD, I32_CONST, I64_CONST, IF, LOCAL_GET, LOCAL_SET, LOCAL_TEE, TYPE_VOID,
} from './opcodes';
import { W_HINTS_END, W_PATCHES, W_PATCHES_END } from './work.as';

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
  op(LOCAL_GET);
  uleb(index);
}
export function localSet(index: i32): void {
  op(LOCAL_SET);
  uleb(index);
}
export function localTee(index: i32): void {
  op(LOCAL_TEE);
  uleb(index);
}
export function i32Const(value: i32): void {
  op(I32_CONST);
  sleb(value);
}
export function i64Const(value: i64): void {
  op(I64_CONST);
  sleb(value);
}
export function f64Const(bits: u64): void {
  op(F64_CONST);
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
  op(I32_CONST);
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
  op(I32_ADD);
}
/** The immediates of an access to the hart block. */
export function blockImmediates(align: i32, offset: u32): void {
  uleb(align);
  if (fixedBlock != 0) notePatch();
  uleb(fixedBlock + offset);
}
export function blockAccess(code: i32, align: i32, offset: u32): void {
  op(code);
  blockImmediates(align, offset);
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
  op(IF);
  op(type);
}
/** An `if` whose condition is nearly always true. */
export function openLikely(type: i32): void {
  hint(1);
  openIf(type);
}
export function openUnlikely(): void {
  hint(0);
  openIf(TYPE_VOID);
}
export function elseIf(): void {
  op(ELSE);
}
export function closeIf(): void {
  op(END);
}
