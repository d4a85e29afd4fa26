/**
 * Code pages: guest pages of instructions, predecoded into slots on demand.
 *
 * A code page behaves as an instruction cache line of 4 KiB: it holds a copy of the guest page, and instructions are
 * decoded from the copy. fence.i starts a new epoch; a page of an older epoch is compared with memory before it is used
 * again, and dropped when it differs. That makes fence.i cheap (an unchanged page costs a compare) and needs no
 * watching of stores, by any hart or device.
 *
 * Layout of a code page: 2050 slots of 16 bytes (one a halfword, two sentinels), the copy, meta data, then what the translator
 * wants to know of each halfword (jit/abi.ts).
 * Slot: u16 handler, u16 rd, u16 rs1, u16 rs2 (offsets into the hart block), i32 immediate, u32 instruction word.
 */
import {
  CODE_BASE, CODE_SIZE, H_CODE_COUNT, H_CODE_DIR, H_CODE_NEXT, H_CODE_START, H_EPOCH, H_ITLB, H_PAGE_VERSION,
  H_PRIV, H_STAT_DECODED,
} from '../worker/layout';
import {
  CODE_DIR_ENTRIES, FN_FIRST, FN_LIMIT, H_JIT_GUARDS, PAGE_COPY, PAGE_HEAT, PAGE_JIT, PAGE_STRIDE, PAGE_VERSION,
} from './jit/abi';
import { announcePage } from './jit/request.as';
import { decodeNarrow, decodeWide, OP_PAGE_END, OP_STRADDLE } from './generated/decode.as';
import { fetchContext, fetchIsGlobal, fetchIsPartial, globalFetchKey, linearAddress, noteWholePage, translateFetch } from './mmu.as';
import { pmpAllows } from './pmp.as';
import { ACCESS_FETCH, CAUSE_FETCH_ACCESS, fault, raise } from './state.as';

const ITLB_ENTRIES = 1024;
/** In an entry of the instruction TLB: u32, globalFetchKey of when it was made when the page is global, else 0. */
const ITLB_GLOBAL = 12;
const DIR_ENTRIES = CODE_DIR_ENTRIES;
const SLOTS_SIZE = 2050 * 16;
const COPY = PAGE_COPY;
const META_PA = COPY + 4096;
const META_EPOCH = META_PA + 8;
/** Guards of regions, then the slot in which each region's entry is (0: none): u32 a region. */
const GUARDS_SIZE = (FN_LIMIT - FN_FIRST) * 12;

/** Empties the code cache of a hart and sets its share of the space. */
export function resetCode(block: usize, hart: i32, harts: i32): void {
  const share = (<u32>CODE_SIZE / harts) & ~63;
  const guards = <u32>CODE_BASE + share * hart;
  store<u32>(block + H_JIT_GUARDS, guards);
  memory.fill(guards, 0, GUARDS_SIZE);
  store<u32>(block + H_CODE_START, guards + GUARDS_SIZE);
  store<i32>(block + H_CODE_COUNT, min<i32>((share - GUARDS_SIZE) / PAGE_STRIDE, DIR_ENTRIES));
  store<i32>(block + H_CODE_NEXT, 0);
  store<i32>(block + H_EPOCH, 1);
  memory.fill(block + H_CODE_DIR, 0, DIR_ENTRIES * 4);
  memory.fill(block + H_ITLB, 0, ITLB_ENTRIES * 16);
  const count = load<i32>(block + H_CODE_COUNT);
  for (let i = 0; i < count; i++) {
    const page = load<u32>(block + H_CODE_START) + <u32>i * PAGE_STRIDE;
    // The translator may be reading the page. No request is for version 0.
    atomic.store<u32>(page + PAGE_VERSION, 0);
    store<u64>(page, ~0, META_PA);
  }
}

/** What is cached must be compared with memory before it is entered in the instruction TLB again. */
export function staleEpoch(block: usize): void {
  store<i32>(block + H_EPOCH, load<i32>(block + H_EPOCH) + 1);
}

/** fence.i: what is cached must be compared with memory before it is used again. */
export function newEpoch(block: usize): void {
  staleEpoch(block);
  memory.fill(block + H_ITLB, 0, ITLB_ENTRIES * 16);
}

function emptyPage(block: usize, page: usize, source: usize): void {
  // A version is never used again, whatever becomes of the hart: regions tell by it whether a page is what they were made of.
  const version = load<u32>(block + H_PAGE_VERSION) + 1;
  store<u32>(block + H_PAGE_VERSION, version == 0 ? 1 : version);
  // The translator may be reading the page: it looks at the version before and behind.
  atomic.store<u32>(page + PAGE_VERSION, version == 0 ? 1 : version);
  memory.fill(page, 0, SLOTS_SIZE);
  memory.fill(page + PAGE_JIT, 0, PAGE_STRIDE - PAGE_JIT);
  store<u16>(page, OP_PAGE_END, 2048 * 16);
  store<u16>(page, OP_PAGE_END, 2049 * 16);
  memory.copy(page + COPY, source, 4096);
}

function unchanged(page: usize, source: usize): bool {
  for (let i: usize = 0; i < 4096; i += 32) {
    const difference =
      (load<u64>(page + i, COPY) ^ load<u64>(source + i)) |
      (load<u64>(page + i, COPY + 8) ^ load<u64>(source + i, 8)) |
      (load<u64>(page + i, COPY + 16) ^ load<u64>(source + i, 16)) |
      (load<u64>(page + i, COPY + 24) ^ load<u64>(source + i, 24));
    if (difference) return false;
  }
  return true;
}

/** The code page of a physical page, whose bytes are at `source`. */
function codePage(block: usize, pa: u64, source: usize): usize {
  const dir = block + H_CODE_DIR + (<usize>((pa >> 12) & (DIR_ENTRIES - 1)) << 2);
  const epoch = load<i32>(block + H_EPOCH);
  let page: usize = load<u32>(dir);
  if (page != 0 && load<u64>(page, META_PA) == pa) {
    if (load<i32>(page, META_EPOCH) != epoch) {
      store<i32>(page, epoch, META_EPOCH);
      if (!unchanged(page, source)) {
        emptyPage(block, page, source);
        announcePage(block, page);
      }
    }
    return page;
  }
  // Reuse the page that was made longest ago; nothing may go on pointing to it.
  const n = load<i32>(block + H_CODE_NEXT);
  store<i32>(block + H_CODE_NEXT, n + 1 == load<i32>(block + H_CODE_COUNT) ? 0 : n + 1);
  page = load<u32>(block + H_CODE_START) + <u32>n * PAGE_STRIDE;
  const old = load<u64>(page, META_PA);
  if (old != ~0) {
    const oldDir = block + H_CODE_DIR + (<usize>((old >> 12) & (DIR_ENTRIES - 1)) << 2);
    if (load<u32>(oldDir) == <u32>page) store<u32>(oldDir, 0);
    for (let i = 0; i < ITLB_ENTRIES; i++) {
      const entry = block + H_ITLB + (<usize>i << 4);
      if (load<u32>(entry, 8) == <u32>page) store<u64>(entry, 0);
    }
  }
  emptyPage(block, page, source);
  store<u64>(page, pa, META_PA);
  store<i32>(page, epoch, META_EPOCH);
  store<u32>(dir, <u32>page);
  announcePage(block, page);
  return page;
}

/**
 * Slots of the page that holds `va`, through a translation; 0 with `fault` set. Called when the instruction TLB misses. With
 * `fetchIsPartial` set only what lies at `va` may be used: see decodeAlone.
 */
export function fetchPage(block: usize, va: u64): usize {
  const entry = block + H_ITLB + (<usize>((va >> 12) & (ITLB_ENTRIES - 1)) << 4);
  const tag = (va & ~(<u64>4095)) | fetchContext;
  const other = load<u64>(entry);
  if (load<u32>(entry, ITLB_GLOBAL) == globalFetchKey && other != 0 && (other ^ va) >> 12 == 0) {
    // A global page, entered in another address space.
    const known: usize = load<u32>(entry, 8);
    if (load<i32>(known, META_EPOCH) == load<i32>(block + H_EPOCH)) {
      store<u64>(entry, tag);
      noteWholePage();
      return known;
    }
  }
  const pa = translateFetch(block, va, load<i32>(block + H_PRIV));
  if (fault) return 0;
  const pagePa = pa & ~(<u64>4095);
  const source = linearAddress(pagePa, 4096, ACCESS_FETCH);
  if (source == 0) {
    raise(block, CAUSE_FETCH_ACCESS, va);
    return 0;
  }
  const page = codePage(block, pagePa, source);
  if (fetchIsPartial) return page;
  store<u64>(entry, tag);
  store<u32>(entry, <u32>page, 8);
  store<u32>(entry, fetchIsGlobal ? globalFetchKey : 0, ITLB_GLOBAL);
  return page;
}

/** The code page of a guest physical page if the hart has one, else 0; it may be of an older epoch. */
export function findPage(block: usize, pa: u64): usize {
  const page: usize = load<u32>(block + H_CODE_DIR + (<usize>((pa >> 12) & (DIR_ENTRIES - 1)) << 2));
  return page != 0 && load<u64>(page, META_PA) == pa ? page : 0;
}

/** The code page at `va` if the instruction TLB has it, else 0. */
// @ts-ignore: decorator
@inline
export function cachedPage(block: usize, va: u64): usize {
  const entry = block + H_ITLB + (<usize>((va >> 12) & (ITLB_ENTRIES - 1)) << 4);
  return load<u64>(entry) == ((va & ~(<u64>4095)) | fetchContext) ? <usize>load<u32>(entry, 8) : 0;
}

/** Decodes the instruction at a slot of a code page (never a scratch slot). */
export function decodeSlot(block: usize, slot: usize, page: usize): void {
  store<u64>(block + H_STAT_DECODED, load<u64>(block + H_STAT_DECODED) + 1);
  const offset = <i32>(slot - page) >> 3;
  const low: u32 = load<u16>(page + offset, COPY);
  if ((low & 3) != 3) decodeNarrow(slot, low, offset, true);
  else if (offset == 4094) store<u16>(slot, OP_STRADDLE);
  else decodeWide(slot, low | (<u32>load<u16>(page + offset + 2, COPY) << 16), offset, true);
}

/**
 * Decodes the instruction whose halves lie in two pages into the scratch slots; false with `fault` set when the second
 * half cannot be fetched.
 */
export function decodeStraddling(block: usize, scratch: usize, pc: u64, page: usize): bool {
  const low: u32 = load<u16>(page + 4094, COPY);
  const va = pc + 2;
  let next = cachedPage(block, va);
  if (next == 0) next = fetchPage(block, va);
  if (next == 0) return false;
  decodeWide(scratch, low | (<u32>load<u16>(next, COPY) << 16), 0, false);
  store<u16>(scratch, OP_PAGE_END, 32);
  return true;
}

/**
 * Decodes the one instruction at `pc` into a scratch slot, for a page of which only parts may be executed (its first halfword
 * may); false with `fault` set when the rest of it may not.
 */
export function decodeAlone(block: usize, scratch: usize, pc: u64, page: usize): bool {
  const offset = <usize>(pc & 4095);
  const low: u32 = load<u16>(page + offset, COPY);
  if ((low & 3) != 3) {
    decodeNarrow(scratch, low, 0, false);
    store<u16>(scratch, OP_PAGE_END, 16);
    return true;
  }
  if (offset == 4094) return decodeStraddling(block, scratch, pc, page);
  if (!pmpAllows(block, load<u64>(page, META_PA) + offset + 2, 2, ACCESS_FETCH, load<i32>(block + H_PRIV))) {
    raise(block, CAUSE_FETCH_ACCESS, pc + 2);
    return false;
  }
  decodeWide(scratch, low | (<u32>load<u16>(page + offset + 2, COPY) << 16), 0, false);
  store<u16>(scratch, OP_PAGE_END, 32);
  return true;
}
