/**
 * Address translation: the data TLB, the page walk, contexts.
 *
 * A TLB entry's tag is the virtual page number with a context number in bits 3..11 (below the page offset, above the
 * alignment bits that make misaligned accesses miss). A context stands for (address space, privilege, SUM, MXR): changing
 * any of these changes the context, so satp writes and traps flush nothing, and sfence.vma retires context numbers.
 */
import {
  CONTROL_BASE, CTL_RAM_SIZE, H_DTLB, H_GLOBALS, H_ITLB, H_MENVCFG, H_MSTATUS, H_NEXT_CONTEXT, H_PMPCFG, H_PRIV, H_SATP, H_SPACES,
  H_STAT_TLB_MISS, H_SUPER_RANGE, MROM_BASE, RAM_OFFSET,
} from '../worker/layout';
import { H_DATA_CONTEXT, H_FETCH_CONTEXT, H_WINDOW } from './jit/abi';
import { pmpAllows, pmpPageExecutable, pmpRights, PMP_PARTIAL } from './pmp.as';
import {
  accessFault, ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE, CAUSE_LOAD_ACCESS, CAUSE_LOAD_MISALIGNED, CAUSE_STORE_ACCESS,
  CAUSE_STORE_MISALIGNED, ENV_ADUE, ENV_PBMTE, fault, MS_MPP_SHIFT, MS_MPRV, MS_MXR, MS_SUM, pageFault, PRIV_M, PRIV_S, PRIV_U, raise,
} from './state.as';
import { mmioFault, mmioRead, mmioWrite } from '../memory/mmio.as';

export const RAM_PA: u64 = 0x80000000;
const MROM_PA: u64 = 0x1000;
const MROM_END: u64 = 0x10000;

const TLB_MASK = 4095;
/** In an entry of the data TLB: u32, globalKey of when it was made when the page is global, else 0. */
const TLB_GLOBAL = 20;
const ITLB_ENTRIES = 1024;
const SPACE_SIZE = 80;
const SPACES = 64;
const MAX_CONTEXT = 511;

// Page table entry bits (privileged manual 12.3).
const PTE_V = 1;
const PTE_R = 2;
const PTE_W = 4;
const PTE_X = 8;
const PTE_U = 16;
const PTE_G = 32;
const PTE_A = 64;
const PTE_D = 128;
const PTE_PPN_MASK: u64 = 0x3ffffffffffc00;
const PTE_RESERVED: u64 = 0x1fc0000000000000;
const PTE_PBMT: u64 = 0x6000000000000000;
const PTE_N: u64 = 0x8000000000000000;

/**
 * Context (already shifted) and privilege of data accesses; context of fetches. Refreshed by refreshContexts, which also puts
 * the contexts into the hart block for translated code.
 */
export let dataContext: u64 = 0;
export let dataPriv: i32 = 0;
export let fetchContext: u64 = 0;

/** Results of walk() beside the physical address: rights for the TLB (1 R, 2 W, 4 X), the page's size, whether it is global. */
let walkRights: i32 = 0;
let walkSize: u64 = 0;
let walkIsGlobal: bool = false;
/** What an entry of a global page must have beside its page number to serve data accesses in any address space: see resolve(). */
let globalKey: u32 = 0;
/** The same for fetches: see fetchPage() in code.as.ts. */
export let globalFetchKey: u32 = 0;
/** After translateFetch(): whether the page is global. */
export let fetchIsGlobal: bool = false;

/** Physical address of the last access that turned out not to be RAM. */
export let devicePa: u64 = 0;

// @ts-ignore: decorator
@inline
export function ramSize(): u64 {
  return load<u64>(CONTROL_BASE + CTL_RAM_SIZE);
}

/** Linear address of RAM (or boot ROM, for reads and fetches), 0 when there is none at [pa, pa + size). */
export function linearAddress(pa: u64, size: u64, access: i32): usize {
  const offset = pa - RAM_PA;
  if (pa >= RAM_PA && offset < ramSize() && size <= ramSize() - offset) return <usize>RAM_OFFSET + <usize>offset;
  if (access != ACCESS_STORE && pa >= MROM_PA && pa < MROM_END && size <= MROM_END - pa) return <usize>MROM_BASE + <usize>(pa - MROM_PA);
  return 0;
}

// ---- contexts -------------------------------------------------------------------------------------------------

function flushEverything(block: usize): void {
  memory.fill(block + H_DTLB, 0, (TLB_MASK + 1) * 32);
  memory.fill(block + H_ITLB, 0, ITLB_ENTRIES * 16);
  memory.fill(block + H_SPACES, 0, SPACES * SPACE_SIZE);
  store<i32>(block + H_NEXT_CONTEXT, 1);
  forgetSuperpages(block);
}

function forgetSuperpages(block: usize): void {
  const at = block + H_SUPER_RANGE;
  store<u64>(at, ~0);
  store<u64>(at, 0, 8);
  store<u64>(at, ~0, 16);
  store<u64>(at, 0, 24);
}

function noteSuperpage(block: usize, va: u64, size: u64): void {
  const at = block + H_SUPER_RANGE + (<i64>va < 0 ? 0 : 16);
  const first = va & ~(size - 1);
  const last = first + (size - 1);
  if (first < load<u64>(at)) store<u64>(at, first);
  if (last > load<u64>(at, 8)) store<u64>(at, last, 8);
}

function newContext(block: usize): i32 {
  const n = load<i32>(block + H_NEXT_CONTEXT);
  if (n > MAX_CONTEXT) return 0;
  store<i32>(block + H_NEXT_CONTEXT, n + 1);
  return n;
}

/** The context number of (space key, mode), shifted into place; 0 when numbers have run out. */
function contextOf(block: usize, key: u64, mode: i32): u64 {
  const hash = <i32>((key * 0x9e3779b97f4a7c15) >> 58);
  const space = block + H_SPACES + hash * SPACE_SIZE;
  // The key is stored plus one, so that zeroed memory is nobody's.
  if (load<u64>(space) != key + 1) {
    memory.fill(space, 0, SPACE_SIZE);
    store<u64>(space, key + 1);
  }
  const at = space + 8 + (<usize>mode << 2);
  let n = load<i32>(at);
  if (n == 0) {
    n = newContext(block);
    store<i32>(at, n);
  }
  return <u64>n << 3;
}

// @ts-ignore: decorator
@inline
function modeIndex(priv: i32): i32 {
  return priv == PRIV_M ? 2 : priv;
}

/** What entries of global pages are known by in all address spaces of a mode. Never 0: without translation there are none. */
function keyOfGlobals(block: usize, satp: u64, mode: i32): u32 {
  const translation = satp >> 60 == 0 ? 15 : <u32>(satp >> 60);
  return (load<u32>(block + H_GLOBALS) << 8) | (translation << 4) | <u32>mode;
}

/** No access, and no group of them (jit/groups.as.ts), is longer than this: what begins in the window ends in RAM. */
const WINDOW_MARGIN = 520;

/** Whether PMP gives M-mode all of RAM, however it is accessed. */
function allOfRam(block: usize): bool {
  const none = (load<u64>(block + H_PMPCFG) | load<u64>(block + H_PMPCFG, 8)) == 0;
  return none || pmpRights(block, RAM_PA, ramSize(), PRIV_M) == 7;
}

/** Recomputes the contexts after a change of privilege, mstatus, satp or PMP. */
export function refreshContexts(block: usize): void {
  const priv = load<i32>(block + H_PRIV);
  const mstatus = load<u64>(block + H_MSTATUS);
  const satp = load<u64>(block + H_SATP);
  const data = priv == PRIV_M && mstatus & MS_MPRV ? <i32>((mstatus >> MS_MPP_SHIFT) & 3) : priv;
  dataPriv = data;
  const bits = data == PRIV_M ? 0 : (mstatus & MS_SUM ? 4 : 0) | (mstatus & MS_MXR ? 8 : 0);
  for (;;) {
    const d = contextOf(block, data == PRIV_M ? 0 : satp, modeIndex(data) | bits);
    const x = contextOf(block, priv == PRIV_M ? 0 : satp, modeIndex(priv));
    if (d != 0 && x != 0) {
      dataContext = d;
      globalKey = keyOfGlobals(block, data == PRIV_M ? 0 : satp, modeIndex(data) | bits);
      globalFetchKey = keyOfGlobals(block, priv == PRIV_M ? 0 : satp, modeIndex(priv));
      fetchContext = x;
      store<u64>(block + H_DATA_CONTEXT, d);
      store<u64>(block + H_FETCH_CONTEXT, x);
      store<u64>(block + H_WINDOW, data == PRIV_M && allOfRam(block) ? ramSize() - WINDOW_MARGIN : 0);
      return;
    }
    flushEverything(block);
  }
}

/** sfence.vma without an address; asid < 0: every address space. The caller refreshes contexts. */
export function flushSpaces(block: usize, asid: i64): void {
  if (asid < 0) {
    // With an ASID, global mappings stay (privileged manual 12.2.1).
    const globals = load<u32>(block + H_GLOBALS) + 1;
    store<u32>(block + H_GLOBALS, globals);
    // 24 bits of it are in the keys: what is left of the last time round must not be taken for new.
    if ((globals & 0xffffff) == 0) memory.fill(block + H_DTLB, 0, (TLB_MASK + 1) * 32);
    memory.fill(block + H_SPACES, 0, SPACES * SPACE_SIZE);
    forgetSuperpages(block);
    return;
  }
  for (let i = 0; i < SPACES; i++) {
    const space = block + H_SPACES + i * SPACE_SIZE;
    const key = load<u64>(space);
    if (key != 0 && (((key - 1) >> 44) & 0xffff) == <u64>asid) memory.fill(space, 0, SPACE_SIZE);
  }
}

/** sfence.vma of one page, in every address space. */
export function flushPage(block: usize, va: u64): void {
  const range = block + H_SUPER_RANGE + (<i64>va < 0 ? 0 : 16);
  if (va >= load<u64>(range) && va <= load<u64>(range, 8)) {
    flushSpaces(block, -1);
    return;
  }
  const d = block + H_DTLB + (<usize>((va >> 12) & TLB_MASK) << 5);
  store<u64>(d, 0);
  store<u64>(d, 0, 8);
  store<u32>(d, 0, TLB_GLOBAL);
  store<u64>(block + H_ITLB + (<usize>((va >> 12) & (ITLB_ENTRIES - 1)) << 4), 0);
}

/** Power-on state of the TLBs. */
export function resetMmu(block: usize): void {
  flushEverything(block);
  refreshContexts(block);
}

// ---- the page walk --------------------------------------------------------------------------------------------

function fail(block: usize, cause: i32, va: u64): u64 {
  raise(block, cause, va);
  return 0;
}

/** Whether a leaf PTE's bits permit the access. */
// @ts-ignore: decorator
@inline
function permitted(pte: u64, access: i32, priv: i32, mstatus: u64): bool {
  if (pte & PTE_U) {
    if (priv == PRIV_S && (access == ACCESS_FETCH || !(mstatus & MS_SUM))) return false;
  } else if (priv == PRIV_U) return false;
  if (access == ACCESS_FETCH) return (pte & PTE_X) != 0;
  if (access == ACCESS_STORE) return (pte & PTE_W) != 0;
  return (pte & PTE_R) != 0 || ((pte & PTE_X) != 0 && (mstatus & MS_MXR) != 0);
}

/**
 * Virtual to physical (privileged manual 12.3.2), raising the fault when there is one. Sets walkRights to all that the page
 * allows without another walk (a clean page does not include W) and walkSize.
 */
function walk(block: usize, va: u64, access: i32, priv: i32): u64 {
  const satp = load<u64>(block + H_SATP);
  const mode = <i32>(satp >> 60);
  if (priv == PRIV_M || mode == 0) {
    walkRights = 7;
    walkSize = 4096;
    walkIsGlobal = false;
    return va;
  }
  const levels = mode - 5;
  const unused = 64 - (12 + 9 * levels);
  if ((<i64>(va << unused)) >> unused != <i64>va) return fail(block, pageFault(access), va);
  const mstatus = load<u64>(block + H_MSTATUS);
  const menvcfg = load<u64>(block + H_MENVCFG);
  let table = (satp & 0xfffffffffff) << 12;
  let global: u64 = 0;
  for (let level = levels - 1; level >= 0; level--) {
    const pteAddress = table + (((va >> (12 + 9 * level)) & 511) << 3);
    const at = linearAddress(pteAddress, 8, ACCESS_STORE);
    if (at == 0 || !pmpAllows(block, pteAddress, 8, ACCESS_LOAD, PRIV_S)) return fail(block, accessFault(access), va);
    const pte = atomic.load<u64>(at);
    if (!(pte & PTE_V) || (pte & (PTE_R | PTE_W)) == PTE_W) return fail(block, pageFault(access), va);
    if (pte & PTE_RESERVED) return fail(block, pageFault(access), va);
    const pbmt = pte & PTE_PBMT;
    if (pbmt == PTE_PBMT || (pbmt != 0 && !(menvcfg & ENV_PBMTE))) return fail(block, pageFault(access), va);
    global |= pte & PTE_G;
    const ppn = (pte & PTE_PPN_MASK) >> 10;
    if (!(pte & (PTE_R | PTE_X))) {
      if (pte & (PTE_U | PTE_A | PTE_D | PTE_N | PTE_PBMT)) return fail(block, pageFault(access), va);
      table = ppn << 12;
      continue;
    }
    if (!permitted(pte, access, priv, mstatus)) return fail(block, pageFault(access), va);
    let size = <u64>1 << (12 + 9 * level);
    let base = ppn << 12;
    if (pte & PTE_N) {
      // Svnapot: 64 KiB only.
      if (level != 0 || (ppn & 15) != 8) return fail(block, pageFault(access), va);
      size = 65536;
      base &= ~(<u64>65535);
    } else if (base & (size - 1)) return fail(block, pageFault(access), va);
    const want = pte | PTE_A | (access == ACCESS_STORE ? PTE_D : 0);
    if (want != pte) {
      if (!(menvcfg & ENV_ADUE)) return fail(block, pageFault(access), va);
      if (!pmpAllows(block, pteAddress, 8, ACCESS_STORE, PRIV_S)) return fail(block, accessFault(access), va);
      if (atomic.cmpxchg<u64>(at, pte, want) != pte) {
        level++;
        continue;
      }
    }
    let rights = 0;
    if (permitted(pte, ACCESS_LOAD, priv, mstatus)) rights |= 1;
    if (want & PTE_D && permitted(pte, ACCESS_STORE, priv, mstatus)) rights |= 2;
    if (permitted(pte, ACCESS_FETCH, priv, mstatus)) rights |= 4;
    walkRights = rights;
    walkSize = size;
    walkIsGlobal = global != 0;
    if (size > 4096) noteSuperpage(block, va, size);
    return base | (va & (size - 1));
  }
  return fail(block, pageFault(access), va);
}

/** Set by translateFetch: parts of the page may not be executed, so each instruction in it must be checked. */
export let fetchIsPartial: bool = false;

/** The page that is fetched from is known to be executable as a whole. */
export function noteWholePage(): void {
  fetchIsPartial = false;
}

/** Physical address of a halfword to be fetched, checked for execution; `fault` tells of failure. */
export function translateFetch(block: usize, va: u64, priv: i32): u64 {
  const pa = walk(block, va, ACCESS_FETCH, priv);
  if (fault) return 0;
  const pagePa = pa & ~(<u64>4095);
  // Code is predecoded by pages: what PMP says of the page as a whole is all that need be asked, as a rule.
  const got = pmpRights(block, pagePa, 4096, priv);
  fetchIsGlobal = walkIsGlobal;
  fetchIsPartial = (got & PMP_PARTIAL) != 0 && !pmpPageExecutable(block, pagePa, priv);
  const allowed = fetchIsPartial ? pmpAllows(block, pa, 2, ACCESS_FETCH, priv) : (got & (4 | PMP_PARTIAL)) != 0;
  if (!allowed) return fail(block, accessFault(ACCESS_FETCH), va);
  return pa;
}

// ---- data accesses --------------------------------------------------------------------------------------------

/**
 * Linear address of an access that does not cross a page, filling the TLB. 0: either `fault` is set, or the address is a
 * device's (devicePa).
 */
function resolve(block: usize, va: u64, size: u64, access: i32): usize {
  const entry = block + H_DTLB + (<usize>((va >> 12) & TLB_MASK) << 5);
  const tag = (va & ~(<u64>4095)) | dataContext;
  const side: usize = access == ACCESS_STORE ? 8 : 0;
  if (load<u64>(entry + side) == tag) return <usize>va + load<u32>(entry, 16);
  // A global page: the entry is as good in this address space as in the one that it was made in.
  const other = load<u64>(entry + side);
  if (load<u32>(entry, TLB_GLOBAL) == globalKey && other != 0 && (other ^ va) >> 12 == 0) {
    if (load<u64>(entry) != 0) store<u64>(entry, tag);
    if (load<u64>(entry, 8) != 0) store<u64>(entry, tag, 8);
    return <usize>va + load<u32>(entry, 16);
  }
  store<u64>(block + H_STAT_TLB_MISS, load<u64>(block + H_STAT_TLB_MISS) + 1);

  const pa = walk(block, va, access, dataPriv);
  if (fault) return 0;
  const pagePa = pa & ~(<u64>4095);
  const pmp = pmpRights(block, pagePa, 4096, dataPriv);
  if (pmp & PMP_PARTIAL) {
    if (!pmpAllows(block, pa, size, access, dataPriv)) {
      fail(block, accessFault(access), va);
      return 0;
    }
  } else {
    // PMP rights are R 1, W 2, X 4, as walkRights.
    if (!(pmp & (access == ACCESS_STORE ? 2 : 1))) {
      fail(block, accessFault(access), va);
      return 0;
    }
    const page = linearAddress(pagePa, 4096, ACCESS_LOAD);
    if (page != 0) {
      const rights = walkRights & pmp;
      const writable = (rights & 2) != 0 && pagePa >= RAM_PA;
      store<u64>(entry, rights & 1 ? tag : 0);
      store<u64>(entry, writable ? tag : 0, 8);
      store<u32>(entry, <u32>page - <u32>(va & ~(<u64>4095)), 16);
      store<u32>(entry, walkIsGlobal ? globalKey : 0, TLB_GLOBAL);
      store<u64>(entry, pagePa, 24);
    }
  }
  const at = linearAddress(pa, size, access);
  if (at == 0) devicePa = pa;
  return at;
}

/** A load that missed the TLB's fast path: refill, device, misaligned, page crossing. Zero-extended. */
export function loadSlow(block: usize, va: u64, size: i32): u64 {
  if (va & <u64>(size - 1)) return loadMisaligned(block, va, size);
  const at = resolve(block, va, size, ACCESS_LOAD);
  if (at != 0) {
    switch (size) {
      case 1: return load<u8>(at);
      case 2: return load<u16>(at);
      case 4: return load<u32>(at);
      default: return load<u64>(at);
    }
  }
  if (fault) return 0;
  const value = mmioRead(block, devicePa, size);
  if (mmioFault) raise(block, CAUSE_LOAD_ACCESS, va);
  return value;
}

function loadMisaligned(block: usize, va: u64, size: i32): u64 {
  const first = 4096 - <i32>(va & 4095);
  if (first >= size) {
    const at = resolve(block, va, size, ACCESS_LOAD);
    if (at != 0) return size == 2 ? load<u16>(at) : size == 4 ? load<u32>(at) : load<u64>(at);
    // Nothing but RAM takes misaligned accesses. It is not for firmware to emulate them either, so: access faults.
    if (!fault) raise(block, CAUSE_LOAD_ACCESS, va);
    return 0;
  }
  const low = resolve(block, va, first, ACCESS_LOAD);
  if (fault) return 0;
  const high = resolve(block, va + first, size - first, ACCESS_LOAD);
  if (fault) return 0;
  if (low == 0 || high == 0) {
    raise(block, CAUSE_LOAD_ACCESS, low == 0 ? va : va + first);
    return 0;
  }
  let value: u64 = 0;
  for (let i = 0; i < size; i++) value |= <u64>load<u8>(i < first ? low + i : high + (i - first)) << (i << 3);
  return value;
}

/** A store that missed the TLB's fast path. */
export function storeSlow(block: usize, va: u64, size: i32, value: u64): void {
  if (va & <u64>(size - 1)) {
    storeMisaligned(block, va, size, value);
    return;
  }
  const at = resolve(block, va, size, ACCESS_STORE);
  if (at != 0) {
    switch (size) {
      case 1: store<u8>(at, <u8>value); return;
      case 2: store<u16>(at, <u16>value); return;
      case 4: store<u32>(at, <u32>value); return;
      default: store<u64>(at, value); return;
    }
  }
  if (fault) return;
  mmioWrite(block, devicePa, size, value);
  if (mmioFault) raise(block, CAUSE_STORE_ACCESS, va);
}

function storeMisaligned(block: usize, va: u64, size: i32, value: u64): void {
  const first = 4096 - <i32>(va & 4095);
  if (first >= size) {
    const at = resolve(block, va, size, ACCESS_STORE);
    if (at == 0) {
      if (!fault) raise(block, CAUSE_STORE_ACCESS, va);
    } else if (size == 2) store<u16>(at, <u16>value);
    else if (size == 4) store<u32>(at, <u32>value);
    else store<u64>(at, value);
    return;
  }
  // Both pages are resolved before a byte is written: a fault on the second leaves the first untouched.
  const low = resolve(block, va, first, ACCESS_STORE);
  if (fault) return;
  const high = resolve(block, va + first, size - first, ACCESS_STORE);
  if (fault) return;
  if (low == 0 || high == 0) {
    raise(block, CAUSE_STORE_ACCESS, low == 0 ? va : va + first);
    return;
  }
  for (let i = 0; i < size; i++) store<u8>(i < first ? low + i : high + (i - first), <u8>(value >> (i << 3)));
}

/** Linear address for an atomic access (AMO, LR, SC); 0 with `fault` set. Misaligned atomics and atomics on devices fault. */
export function atomicAddress(block: usize, va: u64, size: i32, access: i32): usize {
  if (va & <u64>(size - 1)) {
    raise(block, access == ACCESS_LOAD ? CAUSE_LOAD_MISALIGNED : CAUSE_STORE_MISALIGNED, va);
    return 0;
  }
  const at = resolve(block, va, size, access);
  if (at == 0 && !fault) raise(block, accessFault(access), va);
  return at;
}

/** For cache-block operations: linear address of [va, va + 64), aligned by the caller. 0: fault set, or a device. */
export function blockAddress(block: usize, va: u64, access: i32): usize {
  return resolve(block, va, 64, access);
}
