/**
 * What becomes a region: the instructions that are reached from an entry without leaving three neighbouring pages and that the
 * interpreter has executed before, as basic blocks with their dominator tree, loops, and the registers that are live and dirty
 * at their edges.
 *
 * Addresses are halfword indices into the three pages' copy: 0..2047 the page before, 2048..4095 the entry's, 4096..6143 behind.
 */
import { decodeNarrow, decodeWide } from '../generated/decode.as';
import {
  KIND_ACCESS, KIND_BRANCH, KIND_FENCE, KIND_JUMP, KIND_JUMP_REG, KIND_LEAVE, KIND_PLAIN, KIND_SYSTEM, META,
} from '../generated/translate.as';
import { HART_BASE, HART_STRIDE } from '../../worker/layout';
import {
  JIT_EAGER, JIT_FLAGS, JIT_RING_STRIDE, JIT_RINGS, MAX_CASES, PAGE_COPY, PAGE_PA, PAGE_VERSION, SHADOW_CASES, SHADOW_REQUEST, TRANSLATOR_CASES,
} from './abi';
import {
  B_AFTER, B_CALLS, B_CASE_COUNT, B_CASES, B_CHILD, B_CLEARS, B_CONTINUE, B_DEFS, B_END, B_IDOM, B_LAST, B_NEXT, B_NEXT_AT,
  B_SIBLING, B_START, B_TAKEN, B_TAKEN_AT, B_USES, BLOCK_SIZE, blockAt, END_BRANCH, END_FALL, END_JUMP, END_JUMP_REG,
  END_LEAF, END_LEAF_RETURN, END_LEAVE, MAX_BLOCKS,
} from './blocks.as';
import { registerBit } from './emit.as';
import { flow, shape } from './graph.as';
import { H_JIT_TARGETS, TARGETS } from './targets.as';
import { HALFWORDS, W_ADDRESSES, W_BLOCK_OF, W_CASES, W_LEAF, W_PAGES, W_SLOTS, W_STACK, W_VISIT } from './work.as';

/** TurboFan is superlinear in the size of a function (research/jit.md). */
const MAX_INSNS = 800;
/** Instructions of a leaf function that is copied to where it is called. */
const MAX_LEAF = 40;

// W_VISIT. An instruction of the region; one that a block begins with.
const VISITED = 1;
const LEADER = 2;
/** The same for leaf functions that are copied into the region. */
const LEAF = 4;
const LEAF_LEADER = 8;
/** A call of one. */
const CALLS_LEAF = 16;
/** Looked at by the scan of a function that may be one. */
const SCANNED = 32;

// ---- the region -----------------------------------------------------------------------------------------------------
export let blockCount: i32 = 0;
export let insnCount: i32 = 0;
/** Halfword of the entry. */
export let entry: i32 = 0;
/** Registers that it touches. */
export let usedRegisters: u64 = 0;
export let hasAccess: bool = false;
export let hasFp: bool = false;
/** Pages it lies in: bit 0 own, 1 before, 2 behind; and the bytes covered in each. */
export let pages: i32 = 0;

let first: i32 = 0;
let end: i32 = 0;
/** Code pages of the hart that asked, in the order of the copy. */
let page0: usize = 0;
let page1: usize = 0;
let page2: usize = 0;
/** Hart block of the hart that asked; 0: the JIT worker, for a region that it has kept. Cases of indirect jumps so far. */
let hartOf: usize = 0;
let caseCount: i32 = 0;

// @ts-ignore: decorator
@inline
export function slotAt(h: i32): usize {
  return W_SLOTS + (<usize>h << 4);
}
// @ts-ignore: decorator
@inline
function metaOf(slot: usize): u32 {
  return load<u16>(META + (<usize>load<u16>(slot) << 1));
}
/** Whether a system instruction sees how many instructions have retired: what those that called its region have, only they know. */
function countsInstructions(slot: usize): bool {
  const insn = load<u32>(slot, 12);
  // SYSTEM, and not one of its instructions without a CSR.
  if ((insn & 127) != 0x73 || ((insn >> 12) & 7) == 0) return false;
  const csr = insn >> 20;
  // mcycle to mhpmcounter31, cycle to hpmcounter31 but time, mcountinhibit and mhpmevent.
  return (csr & ~31) == 0xb00 || ((csr & ~31) == 0xc00 && csr != 0xc01) || (csr & ~31) == 0x320;
}

export function kindAt(h: i32): i32 {
  const slot = slotAt(h);
  const kind = metaOf(slot) & 7;
  return kind == KIND_SYSTEM && countsInstructions(slot) ? KIND_LEAVE : kind;
}
export function usesFp(h: i32): bool {
  return (metaOf(slotAt(h)) & 0x100) != 0;
}
/** A plain load or store: log2 of its bytes plus 1, and 8 when it stores; else 0. */
// @ts-ignore: decorator
@inline
export function accessAt(h: i32): i32 {
  return <i32>((metaOf(slotAt(h)) >> 9) & 15);
}
/** Halfwords of the instruction. */
// @ts-ignore: decorator
@inline
export function lengthAt(h: i32): i32 {
  return metaOf(slotAt(h)) & 8 ? 2 : 1;
}
/** Distance in bytes from the entry. */
// @ts-ignore: decorator
@inline
export function distance(h: i32): i32 {
  return (h - entry) << 1;
}

/** x1 and x5 are the link registers of the calling convention's hints (unprivileged manual 2.5.1). */
// @ts-ignore: decorator
@inline
function isLink(offset: u32): bool {
  return offset == 8 || offset == 40;
}
/** A call that is made as one. */
export function isCall(h: i32): bool {
  const kind = kindAt(h);
  if (kind != KIND_JUMP && kind != KIND_JUMP_REG) return false;
  return isLink(load<u16>(slotAt(h), 2)) && !(load<u8>(W_VISIT + h) & CALLS_LEAF);
}
export function isReturn(h: i32): bool {
  const slot = slotAt(h);
  return load<u16>(slot, 2) == 0x100 && isLink(load<u16>(slot, 4)) && load<i32>(slot, 8) == 0;
}

export function readsOf(h: i32): u64 {
  const slot = slotAt(h);
  const meta = metaOf(slot);
  let mask: u64 = 0;
  if (meta & 32) mask |= registerBit(load<u16>(slot, 4));
  if (meta & 64) mask |= registerBit(load<u16>(slot, 6));
  if (meta & 128) mask |= registerBit(load<u16>(slot, 10));
  return mask;
}
export function writesOf(h: i32): u64 {
  const slot = slotAt(h);
  return metaOf(slot) & 16 ? registerBit(load<u16>(slot, 2)) : 0;
}

function pageOf(h: i32): usize {
  return h < 2048 ? page0 : h < 4096 ? page1 : page2;
}

/** Whether there is an instruction that the interpreter has come to; with JIT_EAGER any that may be one. */
function executed(h: i32): bool {
  if (<u32>h >= <u32>HALFWORDS) return false;
  const page = pageOf(h);
  if (page == 0) return false;
  return load<u16>(page + ((<usize>h & 2047) << 4)) != 0 || (load<i32>(JIT_FLAGS) & JIT_EAGER) != 0;
}

/** Decodes the instruction at h; false when part of it is out of reach. */
function decode(h: i32): bool {
  const low: u32 = load<u16>(W_PAGES + (<usize>h << 1));
  if ((low & 3) != 3) {
    decodeNarrow(slotAt(h), low, 0, false);
    return true;
  }
  if (h + 1 >= HALFWORDS || pageOf(h + 1) == 0) return false;
  decodeWide(slotAt(h), low | (<u32>load<u16>(W_PAGES + (<usize>(h + 1) << 1)) << 16), 0, false);
  return true;
}

/** Copies a code page's bytes and address to its place among the three; false when it has changed meanwhile. */
function copyPage(page: usize, version: u32, place: usize): bool {
  if (page == 0) return true;
  if (atomic.load<u32>(page + PAGE_VERSION) != version) return false;
  store<u64>(W_ADDRESSES + (place << 3), load<u64>(page, PAGE_PA));
  memory.copy(W_PAGES + (place << 12), page + PAGE_COPY, 4096);
  return atomic.load<u32>(page + PAGE_VERSION) == version;
}

// ---- discovery --------------------------------------------------------------------------------------------------

let stack: usize = W_STACK;

function visitLater(h: i32): void {
  const flags = load<u8>(W_VISIT + h);
  if (flags & LEADER) return;
  store<u8>(W_VISIT + h, flags | LEADER);
  store<u16>(stack, <u16>h);
  stack += 2;
}

function cover(h: i32): void {
  first = min(first, h);
  end = max(end, h + lengthAt(h));
}

/** Slot of the instruction at h in the hart's code page. */
function liveSlot(h: i32): u32 {
  return <u32>pageOf(h) + ((<u32>h & 2047) << 4);
}

const NO_TARGET = i32.MIN_VALUE;
let targetAt: i32 = 0;

/** The next place from targetAt on where the indirect jump at h has been seen to go, a halfword; NO_TARGET when there is no more. */
function nextTarget(h: i32): i32 {
  if (hartOf == 0) {
    const count = min<i32>(load<i32>(SHADOW_CASES), MAX_CASES);
    while (targetAt < count) {
      const pair = <usize>SHADOW_CASES + 4 + (<usize>targetAt << 2);
      targetAt++;
      if (load<u16>(pair) == h) return load<u16>(pair, 2);
    }
    return NO_TARGET;
  }
  const slot = liveSlot(h);
  while (targetAt < TARGETS) {
    const pair = hartOf + H_JIT_TARGETS + (<usize>targetAt << 3);
    targetAt++;
    if (load<u32>(pair) == slot) return h + (load<i32>(pair, 4) >> 1);
  }
  return NO_TARGET;
}

/** Where the indirect jump at h has been seen to go. */
function visitTargets(h: i32): void {
  targetAt = 0;
  for (let target = nextTarget(h); target != NO_TARGET; target = nextTarget(h)) if (executed(target)) visitLater(target);
}

/** Lists targets of the indirect jump at h that are in the region. */
function listCases(block: usize, h: i32): void {
  store<u16>(block, <u16>caseCount, B_CASES);
  targetAt = 0;
  for (let target = nextTarget(h); target != NO_TARGET && caseCount < MAX_CASES; target = nextTarget(h)) {
    if (<u32>target >= <u32>HALFWORDS || (load<u8>(W_VISIT + target) & (VISITED | LEADER)) != (VISITED | LEADER)) continue;
    store<i16>(W_CASES + (<usize>caseCount << 2), <i16>target);
    store<u16>(<usize>TRANSLATOR_CASES + (<usize>caseCount << 2), <u16>h, 4);
    store<u16>(<usize>TRANSLATOR_CASES + (<usize>caseCount << 2), <u16>target, 6);
    caseCount++;
  }
  store<u16>(block, <u16>(caseCount - load<u16>(block, B_CASES)), B_CASE_COUNT);
}

// ---- leaf functions -----------------------------------------------------------------------------------------------

/** Whether a leaf function may go on at h: in the entry's own page, so that no guard is needed for its sake. */
// @ts-ignore: decorator
@inline
function leafGoesOn(h: i32): bool {
  return h >> 11 == 1 && executed(h);
}

/** Looks at a function until it returns or leaves. @returns its instructions, at W_LEAF; -1: it cannot be copied */
function scan(target: i32, link: u32): i32 {
  const bottom = stack;
  const linkBit = registerBit(link);
  let count = 0;
  store<u16>(stack, <u16>target);
  stack += 2;
  while (stack != bottom) {
    stack -= 2;
    let h: i32 = load<u16>(stack);
    store<u8>(W_VISIT + h, load<u8>(W_VISIT + h) | LEAF_LEADER);
    while (!(load<u8>(W_VISIT + h) & SCANNED)) {
      if (count == MAX_LEAF || !decode(h)) {
        stack = bottom;
        return -1 - count;
      }
      store<u16>(W_LEAF + (<usize>count << 1), <u16>h);
      count++;
      store<u8>(W_VISIT + h, load<u8>(W_VISIT + h) | SCANNED);
      const slot = slotAt(h);
      const kind = kindAt(h);
      const next = h + lengthAt(h);
      const returns = kind == KIND_JUMP_REG && isReturn(h) && load<u16>(slot, 4) == link;
      const jumps = kind == KIND_JUMP && load<u16>(slot, 2) == 0x100;
      const others = kind == KIND_PLAIN || kind == KIND_ACCESS || kind == KIND_BRANCH || kind == KIND_FENCE;
      if (!(returns || jumps || others) || next > 4096 || (writesOf(h) & linkBit) != 0) {
        stack = bottom;
        return -1 - count;
      }
      if (returns) break;
      if (kind == KIND_BRANCH || jumps) {
        const to = h + (load<i32>(slot, 8) >> 1);
        if (leafGoesOn(to)) {
          store<u16>(stack, <u16>to);
          stack += 2;
        }
        if (jumps) break;
        if (leafGoesOn(next)) {
          store<u16>(stack, <u16>next);
          stack += 2;
        }
        break;
      }
      if (!leafGoesOn(next)) break;
      h = next;
    }
  }
  return count;
}

/** Whether the direct call at h is of a leaf function that is copied to it; its instructions then belong to the region. */
function takesLeaf(h: i32): bool {
  const slot = slotAt(h);
  if (kindAt(h) != KIND_JUMP || h >> 11 != 1) return false;
  const target = h + (load<i32>(slot, 8) >> 1);
  if (!leafGoesOn(target)) return false;
  const count = scan(target, load<u16>(slot, 2));
  const found = count >= 0 && insnCount + count <= MAX_INSNS;
  const seen = count < 0 ? -1 - count : count;
  for (let i = 0; i < seen; i++) {
    const at: i32 = load<u16>(W_LEAF + (<usize>i << 1));
    store<u8>(W_VISIT + at, (load<u8>(W_VISIT + at) & ~SCANNED) | (found ? LEAF : 0));
    if (found) cover(at);
  }
  if (!found) return false;
  insnCount += count;
  store<u8>(W_VISIT + h, load<u8>(W_VISIT + h) | CALLS_LEAF);
  return true;
}

// ---- discovery --------------------------------------------------------------------------------------------------

/** Marks what is reached from the entry. */
function discover(): void {
  stack = W_STACK;
  visitLater(entry);
  while (stack != W_STACK) {
    stack -= 2;
    let h: i32 = load<u16>(stack);
    for (;;) {
      const flags = load<u8>(W_VISIT + h);
      if (flags & VISITED) {
        store<u8>(W_VISIT + h, flags | LEADER);
        break;
      }
      if (insnCount >= MAX_INSNS || !decode(h)) break;
      store<u8>(W_VISIT + h, flags | VISITED);
      insnCount++;
      cover(h);
      const kind = kindAt(h);
      if (kind == KIND_LEAVE) break;
      const next = h + lengthAt(h);
      if (isCall(h)) {
        if (takesLeaf(h)) {
          if (executed(next)) visitLater(next);
          break;
        }
      } else {
        if (kind == KIND_BRANCH || kind == KIND_JUMP) {
          if (kind == KIND_JUMP && load<u16>(slotAt(h), 2) != 0x100) break;
          const target = h + (load<i32>(slotAt(h), 8) >> 1);
          if (executed(target)) visitLater(target);
          if (kind == KIND_JUMP) break;
          if (executed(next)) visitLater(next);
          break;
        }
        if (kind == KIND_JUMP_REG) {
          if (!isReturn(h)) visitTargets(h);
          break;
        }
      }
      if (!executed(next)) break;
      h = next;
    }
  }
}

/** Flags of what blocks are being made of: the region's own code, or a copy of a leaf function, which returns to a block. */
let member: u32 = VISITED;
let leader: u32 = LEADER;
let returnTo: i32 = -1;
let returnAt: i32 = 0;

// @ts-ignore: decorator
@inline
function isVisited(h: i32): bool {
  return <u32>h < <u32>HALFWORDS && (load<u8>(W_VISIT + h) & member) != 0;
}

/** Makes the block that begins at h. */
function makeBlock(start: i32): void {
  const block = blockAt(blockCount);
  memory.fill(block, 0, BLOCK_SIZE);
  store<u16>(W_BLOCK_OF + (<usize>start << 1), <u16>blockCount);
  blockCount++;
  store<u16>(block, <u16>start, B_START);
  store<i16>(block, -1, B_TAKEN);
  store<i16>(block, -1, B_NEXT);
  store<i16>(block, -1, B_IDOM);
  store<i16>(block, -1, B_CHILD);
  store<i16>(block, -1, B_SIBLING);
  let uses: u64 = 0;
  let defs: u64 = 0;
  let after: u64 = 0;
  let calls = false;
  let h = start;
  for (;;) {
    const kind = kindAt(h);
    const reads = readsOf(h);
    const writes = writesOf(h);
    usedRegisters |= reads | writes;
    if (kind == KIND_ACCESS) hasAccess = true;
    if (usesFp(h)) hasFp = true;
    if (!calls) uses |= reads & ~defs;
    defs |= writes;
    after |= writes;
    const next = h + lengthAt(h);
    let ends = false;
    if (isCall(h)) {
      calls = true;
      after = 0;
      store<u8>(block, 1, B_CALLS);
      store<u8>(block, 1, B_CLEARS);
    } else if (load<u8>(W_VISIT + h) & CALLS_LEAF) {
      store<u8>(block, END_LEAF, B_END);
      store<i32>(block, distance(h) + load<i32>(slotAt(h), 8), B_TAKEN_AT);
      ends = true;
    } else if (kind == KIND_SYSTEM) {
      after = 0;
      store<u8>(block, 1, B_CLEARS);
    } else if (kind == KIND_BRANCH || (kind == KIND_JUMP && load<u16>(slotAt(h), 2) == 0x100)) {
      store<u8>(block, kind == KIND_BRANCH ? END_BRANCH : END_JUMP, B_END);
      const offset = load<i32>(slotAt(h), 8);
      store<i32>(block, distance(h) + offset, B_TAKEN_AT);
      // Provisionally the halfword; link() makes it a block.
      const target = h + (offset >> 1);
      store<i16>(block, isVisited(target) ? <i16>target : -1, B_TAKEN);
      ends = true;
    } else if (kind == KIND_JUMP_REG && load<u16>(slotAt(h), 2) == 0x100) {
      if (member == LEAF) {
        store<u8>(block, END_LEAF_RETURN, B_END);
        store<i16>(block, <i16>returnTo, B_TAKEN);
        store<i32>(block, returnAt, B_TAKEN_AT);
      } else {
        store<u8>(block, END_JUMP_REG, B_END);
        if (!isReturn(h)) listCases(block, h);
      }
      ends = true;
    } else if (kind == KIND_LEAVE || kind == KIND_JUMP || kind == KIND_JUMP_REG) {
      store<u8>(block, END_LEAVE, B_END);
      ends = true;
    }
    store<i32>(block, (next - entry) << 1, B_NEXT_AT);
    const there = isVisited(next);
    if (ends || !there || load<u8>(W_VISIT + next) & leader) {
      const end = load<u8>(block, B_END);
      if (there && (end == END_FALL || end == END_BRANCH)) store<i16>(block, <i16>next, B_NEXT);
      break;
    }
    h = next;
  }
  store<u16>(block, <u16>h, B_LAST);
  store<u64>(block, uses, B_USES);
  store<u64>(block, defs, B_DEFS);
  store<u64>(block, after, B_AFTER);
}

/** Halfwords of successors become blocks, in the blocks from `from` on. */
function link(from: i32): void {
  for (let i = from; i < blockCount; i++) {
    const block = blockAt(i);
    const taken = load<i16>(block, B_TAKEN);
    if (taken >= 0 && load<u8>(block, B_END) != END_LEAF_RETURN) store<i16>(block, <i16>load<u16>(W_BLOCK_OF + (<usize>taken << 1)), B_TAKEN);
    const next = load<i16>(block, B_NEXT);
    if (next >= 0) store<i16>(block, <i16>load<u16>(W_BLOCK_OF + (<usize>next << 1)), B_NEXT);
  }
}

function linkCases(): void {
  for (let i = 0; i < caseCount; i++) {
    const at = W_CASES + (<usize>i << 2);
    store<i16>(at, <i16>load<u16>(W_BLOCK_OF + (<usize>load<u16>(at) << 1)), 2);
  }
}

/** Makes the blocks of a copy of the leaf function at `start`. @returns false: there is no room for them */
function copyLeaf(start: i32): bool {
  const from = blockCount;
  stack = W_STACK;
  store<u16>(stack, <u16>start);
  stack += 2;
  while (stack != W_STACK) {
    stack -= 2;
    const h: i32 = load<u16>(stack);
    const made: i32 = load<u16>(W_BLOCK_OF + (<usize>h << 1));
    if (made >= from && made < blockCount && load<u16>(blockAt(made), B_START) == <u16>h) continue;
    if (blockCount == MAX_BLOCKS) return false;
    const block = blockAt(blockCount);
    makeBlock(h);
    const next = load<i16>(block, B_NEXT);
    if (next >= 0) {
      store<u16>(stack, <u16>next);
      stack += 2;
    }
    const taken = load<i16>(block, B_TAKEN);
    if (taken >= 0 && load<u8>(block, B_END) != END_LEAF_RETURN) {
      store<u16>(stack, <u16>taken);
      stack += 2;
    }
  }
  link(from);
  return true;
}

/** Copies the leaf functions that the region calls to their calls. @returns false: there is no room for them */
function copyLeaves(): bool {
  const own = blockCount;
  // Copies use W_BLOCK_OF for blocks of their own.
  for (let i = 0; i < own; i++) {
    const block = blockAt(i);
    if (load<u8>(block, B_END) != END_LEAF) continue;
    const next = entry + (load<i32>(block, B_NEXT_AT) >> 1);
    store<i16>(block, isVisited(next) ? <i16>load<u16>(W_BLOCK_OF + (<usize>next << 1)) : -1, B_CONTINUE);
  }
  member = LEAF;
  leader = LEAF_LEADER;
  let room = true;
  for (let i = 0; i < own && room; i++) {
    const block = blockAt(i);
    if (load<u8>(block, B_END) != END_LEAF) continue;
    returnTo = load<i16>(block, B_CONTINUE);
    returnAt = load<i32>(block, B_NEXT_AT);
    store<i16>(block, <i16>blockCount, B_TAKEN);
    room = copyLeaf(entry + (load<i32>(block, B_TAKEN_AT) >> 1));
  }
  member = VISITED;
  leader = LEADER;
  return room;
}

/** Bytes covered in a page (0 before, 1 own, 2 behind) as first << 16 | end; 0: none. */
export function covered(page: i32): u32 {
  let low = -1;
  let high = 0;
  const from = max(first, page << 11);
  const to = min(end, (page + 1) << 11);
  for (let h = from; h < to; h++) {
    if (!isVisited(h)) continue;
    if (low < 0) low = h;
    high = h + lengthAt(h);
  }
  // The second half of an instruction that began in the page before.
  if (page > 0 && isVisited((page << 11) - 1) && lengthAt((page << 11) - 1) == 2) {
    low = page << 11;
    high = max(high, low + 1);
  }
  if (low < 0) return 0;
  return (<u32>((low & 2047) << 1) << 16) | <u32>((min(high, (page + 1) << 11) - (page << 11)) << 1);
}

/**
 * Builds the region of a request (abi.ts).
 * @returns false when there is nothing to translate there
 */
export function buildRegion(request: usize): bool {
  const va = load<u64>(request);
  page1 = load<u32>(request, 8);
  page0 = load<u32>(request, 12);
  page2 = load<u32>(request, 16);
  if (page1 == 0) return false;
  if (!copyPage(page1, load<u32>(request, 20), 1)) return false;
  if (!copyPage(page0, load<u32>(request, 24), 0)) page0 = 0;
  if (!copyPage(page2, load<u32>(request, 28), 2)) page2 = 0;
  entry = 2048 + <i32>((va & 4095) >> 1);
  memory.fill(W_VISIT, 0, HALFWORDS);
  insnCount = 0;
  blockCount = 0;
  caseCount = 0;
  const hart = (<u32>request - <u32>JIT_RINGS) / <u32>JIT_RING_STRIDE;
  hartOf = request == SHADOW_REQUEST ? 0 : <usize>HART_BASE + <usize>hart * HART_STRIDE;
  usedRegisters = 0;
  hasAccess = false;
  hasFp = false;
  first = HALFWORDS;
  end = 0;
  member = VISITED;
  if (!executed(entry)) return false;
  discover();
  if (!isVisited(entry)) return false;
  const kind = kindAt(entry);
  if (kind == KIND_LEAVE || (kind == KIND_JUMP && !isCall(entry) && load<u16>(slotAt(entry), 2) != 0x100)) return false;
  if (kind == KIND_JUMP_REG && !isCall(entry) && load<u16>(slotAt(entry), 2) != 0x100) return false;
  makeBlock(entry);
  for (let h = first; h < end; h++) {
    if (h == entry || (load<u8>(W_VISIT + h) & (VISITED | LEADER)) != (VISITED | LEADER)) continue;
    if (blockCount == MAX_BLOCKS) return false;
    makeBlock(h);
  }
  store<i32>(TRANSLATOR_CASES, caseCount);
  link(0);
  linkCases();
  if (!copyLeaves()) return false;
  member = VISITED | LEAF;
  blockCount = shape(blockCount);
  flow(blockCount);
  pages = 1 | (covered(0) ? 2 : 0) | (covered(2) ? 4 : 0);
  return true;
}
