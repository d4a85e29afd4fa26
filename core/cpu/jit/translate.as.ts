/**
 * Regions to WebAssembly: begin(), addRegion() for each request, finish(): one module of a batch of regions at TRANSLATOR_OUT, and a
 * record for each that tells harts where it belongs.
 */
import { TYPE_LOOKUP, TYPE_REGION, TYPE_SECTION, TYPE_SECTION_SIZE } from '../generated/translate.as';
import { RAM_OFFSET } from '../../worker/layout';
import {
  FN_FIRST, RECORD_BYTES, RECORD_PA, RECORD_RANGES, REQUEST_WINDOW, TRANSLATOR_MARKS, TRANSLATOR_OUT, TRANSLATOR_OUT_SIZE,
} from './abi';
import { emitGuard, emitLookupBody, setWindowed } from './access.as';
import { entryCheck, FIRST_REGION } from './emit.as';
import { LOCAL_F64S, LOCAL_FIRST, LOCAL_I32S, LOCAL_I64S } from './locals';
import {
  END, IMPORT_MEMORY, IMPORT_TABLE, LIMITS_MINIMUM, LIMITS_SHARED, MAGIC_HIGH, MAGIC_LOW, SECTION_CODE, SECTION_CUSTOM,
  SECTION_ELEMENT, SECTION_FUNCTION, SECTION_IMPORT, SECTION_TYPE, TYPE_F64, TYPE_FUNCREF, TYPE_I32, TYPE_I64,
} from './opcodes';
import {
  clearMarks, hints, i32Const, op, out, patches, patchesFull, setBody, setFixedBlock, setHints, setOut, setPatches,
  uleb, uleb4,
} from './pen.as';
import * as r from './region.as';
import {
  W_ADDRESSES, W_FUNCTIONS, W_HINTS, W_LOCAL, W_PAGES, W_PATCHES, W_PATCHES_END, W_RECORDS, W_RECORDS_END,
} from './work.as';
import { emitRegion } from './control.as';
import { probeFma } from '../fpu/arith.as';

const MAX_REGIONS = 100;
/** Bodies are written behind room for the module's head. */
const BODIES: usize = TRANSLATOR_OUT + 0x40000;
const OUT_END: usize = TRANSLATOR_OUT + TRANSLATOR_OUT_SIZE;
/** No region comes near this. */
const BODY_LIMIT = 0x40000;
const PATCH_LIMIT = 0x12000;
const FUNCTION_SIZE = 16;

// ---- functions --------------------------------------------------------------------------------------------------

/** Numbers the locals of registers in use, and declares all. */
function declareLocals(): void {
  let next = LOCAL_FIRST;
  for (let rest = r.usedRegisters; rest != 0; rest &= rest - 1) {
    store<u8>(W_LOCAL + <usize>ctz(rest), <u8>next);
    next++;
  }
  const integer = <i32>popcnt(r.usedRegisters & 0xffffffff);
  const floating = <i32>popcnt(r.usedRegisters >> 32);
  // Groups of a count and a type; those of locals.ts first.
  op(3 + i32(integer > 0) + i32(floating > 0));
  op(LOCAL_I64S);
  op(TYPE_I64);
  op(LOCAL_I32S);
  op(TYPE_I32);
  op(LOCAL_F64S);
  op(TYPE_F64);
  if (integer > 0) {
    op(integer);
    op(TYPE_I64);
  }
  if (floating > 0) {
    op(floating);
    op(TYPE_F64);
  }
}

/** Opens what is preceded by its size, which closeSized fills in: a section, a function's body. @returns where it begins */
function openSized(): usize {
  const start = out;
  setOut(start + 4);
  return start;
}
function closeSized(start: usize): void {
  uleb4(start, <u32>(out - start - 4));
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
  setFixedBlock(block);
  probeFma();
  firstFn = fn;
  regions = 0;
  recordEnd = W_RECORDS;
  setOut(BODIES);
  setHints(W_HINTS);
  setPatches(W_PATCHES);
}

/** 1 while the batch takes another region of any size. */
export function room(): i32 {
  const bytes = out + BODY_LIMIT < OUT_END && patches() + PATCH_LIMIT < W_PATCHES_END;
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
  setWindowed(load<u64>(request, REQUEST_WINDOW) != 0);
  const fn = firstFn + regions;
  const record = functionAt(regions);
  const start = out;
  const firstHint = hints();
  const firstPatch = patches();
  openSized();
  setBody(out);
  clearMarks();
  store<u32>(record, <u32>start);
  store<u32>(record, <u32>hints(), 8);
  store<u32>(record, <u32>recordEnd, 12);
  declareLocals();
  if (r.pages & 2) emitGuard(-4096, (fn - FN_FIRST) << 3);
  if (r.pages & 4) emitGuard(4096, ((fn - FN_FIRST) << 3) + 4);
  entryCheck();
  emitRegion(FIRST_REGION + regions);
  if (patchesFull()) {
    setOut(start);
    setHints(firstHint);
    setPatches(firstPatch);
    return 0;
  }
  closeSized(start);
  store<u32>(record, <u32>(out - start), 4);
  writeRecord(fn);
  regions++;
  return regions;
}

/** Pairs at TRANSLATOR_MARKS for the region added last. */
export { markCount } from './pen.as';
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

function openSection(id: i32): usize {
  op(id);
  return openSized();
}

function text(at: usize, size: i32): void {
  uleb(size);
  memory.copy(out, at, size);
  setOut(out + size);
}

const NAME_ENV: usize = memory.data<u8>([0x65, 0x6e, 0x76]);
const NAME_MEMORY: usize = memory.data<u8>([0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79]);
const NAME_TABLE: usize = memory.data<u8>([0x74, 0x61, 0x62, 0x6c, 0x65]);
/** "metadata.code.branch_hint" */
const NAME_HINTS: usize = memory.data<u8>([
  0x6d, 0x65, 0x74, 0x61, 0x64, 0x61, 0x74, 0x61, 0x2e, 0x63, 0x6f, 0x64, 0x65, 0x2e, 0x62, 0x72, 0x61, 0x6e, 0x63, 0x68, 0x5f, 0x68, 0x69,
  0x6e, 0x74,
]);

/** The module's own function, through which its regions look up others. */
function emitLookupFunction(): void {
  const start = openSized();
  emitLookupBody();
  closeSized(start);
}

/** Makes patches distances in the module, into which the bodies move to `to`. */
function movePatches(to: usize): void {
  for (let at = W_PATCHES; at < patches(); at += 4) {
    const was: usize = load<u32>(at);
    store<u32>(at, <u32>((was < BODIES ? was : was - BODIES + to) - TRANSLATOR_OUT));
  }
}

/** u32 each: distances in the finished module of four-byte LEB128 numbers to which another hart's distance is to be added. */
export function patchesAt(): usize {
  return W_PATCHES;
}
export function patchCount(): i32 {
  return <i32>(patches() - W_PATCHES) >> 2;
}

/**
 * Puts the batch's module together.
 * @returns its size at TRANSLATOR_OUT, 0 when the batch is empty
 */
export function finish(): i32 {
  if (regions == 0) return 0;
  const bodiesEnd = out;
  setOut(TRANSLATOR_OUT);
  store<u32>(out, MAGIC_LOW);
  store<u32>(out, MAGIC_HIGH, 4);
  setOut(out + 8);

  let section = openSection(SECTION_TYPE);
  memory.copy(out, TYPE_SECTION, TYPE_SECTION_SIZE);
  setOut(out + TYPE_SECTION_SIZE);
  closeSized(section);

  section = openSection(SECTION_IMPORT);
  op(2);
  text(NAME_ENV, 3);
  text(NAME_MEMORY, 6);
  // A shared memory of at most 65536 pages. All that is below guest RAM is there, so constant addresses need no check.
  op(IMPORT_MEMORY);
  op(LIMITS_SHARED);
  uleb(RAM_OFFSET >> 16);
  uleb(65536);
  text(NAME_ENV, 3);
  text(NAME_TABLE, 5);
  op(IMPORT_TABLE);
  op(TYPE_FUNCREF);
  op(LIMITS_MINIMUM);
  uleb(0);
  closeSized(section);

  section = openSection(SECTION_FUNCTION);
  uleb(regions + 1);
  uleb(TYPE_LOOKUP);
  for (let i = 0; i < regions; i++) uleb(TYPE_REGION);
  closeSized(section);

  // Active segment: the module's regions take their places in the table.
  section = openSection(SECTION_ELEMENT);
  op(1);
  op(0);
  i32Const(firstFn);
  op(END);
  uleb(regions);
  for (let i = 0; i < regions; i++) uleb(FIRST_REGION + i);
  closeSized(section);

  section = openSection(SECTION_CUSTOM);
  text(NAME_HINTS, 25);
  uleb(regions);
  for (let i = 0; i < regions; i++) {
    const from: usize = load<u32>(functionAt(i), 8);
    const to: usize = i + 1 < regions ? <usize>load<u32>(functionAt(i + 1), 8) : hints();
    uleb(FIRST_REGION + i);
    uleb(<u32>(to - from) >> 3);
    for (let at = from; at < to; at += 8) {
      uleb(load<u32>(at));
      op(1);
      op(load<u8>(at, 4));
    }
  }
  closeSized(section);

  section = openSection(SECTION_CODE);
  uleb(regions + 1);
  emitLookupFunction();
  movePatches(out);
  memory.copy(out, BODIES, bodiesEnd - BODIES);
  setOut(out + (bodiesEnd - BODIES));
  closeSized(section);
  return <i32>(out - TRANSLATOR_OUT);
}
