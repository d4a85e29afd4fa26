/** Physical memory protection: 16 entries, granularity 4 bytes (privileged manual 3.7). */
import { H_PMPADDR, H_PMPCFG } from '../worker/layout';
import { ACCESS_FETCH, ACCESS_STORE, PRIV_M } from './state.as';

export const PMP_ENTRIES = 16;
const PMP_R = 1;
const PMP_W = 2;
const PMP_X = 4;
const PMP_LOCK = 0x80;

/** Bit set in pmpPage's result when the page is not covered by one entry alone, so that it must not be cached. */
export const PMP_PARTIAL = 8;

/** Bounds of an entry, left in these by entryRange. */
let rangeStart: u64 = 0;
let rangeEnd: u64 = 0;

// @ts-ignore: decorator
@inline
function config(block: usize, i: i32): i32 {
  return load<u8>(block + H_PMPCFG + i);
}

/** Sets rangeStart/rangeEnd (exclusive, bytes); false when the entry is off or empty. */
function entryRange(block: usize, i: i32): bool {
  const mode = (config(block, i) >> 3) & 3;
  if (mode == 0) return false;
  const addr = load<u64>(block + H_PMPADDR + (<usize>i << 3));
  if (mode == 1) {
    rangeStart = i == 0 ? 0 : load<u64>(block + H_PMPADDR + (<usize>(i - 1) << 3)) << 2;
    rangeEnd = addr << 2;
  } else if (mode == 2) {
    rangeStart = addr << 2;
    rangeEnd = rangeStart + 4;
  } else {
    const ones = ctz(~addr);
    const bits = <u64>ones + 3;
    rangeStart = (addr & ~((<u64>1 << ones) - 1)) << 2;
    // pmpaddr has 54 bits, so a NAPOT entry spans at most 2^57 bytes.
    rangeEnd = rangeStart + (<u64>1 << bits);
  }
  return rangeStart < rangeEnd;
}

/** Rights (PMP_R|W|X) of `priv` under a config byte: M-mode is bound by locked entries only. */
// @ts-ignore: decorator
@inline
function rights(cfg: i32, priv: i32): i32 {
  return priv == PRIV_M && !(cfg & PMP_LOCK) ? PMP_R | PMP_W | PMP_X : cfg & 7;
}

/** Rights over [pa, pa + size): PMP_R|W|X bits, and PMP_PARTIAL when the range isn't decided by one entry as a whole. */
export function pmpRights(block: usize, pa: u64, size: u64, priv: i32): i32 {
  const end = pa + size;
  for (let i = 0; i < PMP_ENTRIES; i++) {
    if (!entryRange(block, i)) continue;
    if (end <= rangeStart || pa >= rangeEnd) continue;
    if (pa >= rangeStart && end <= rangeEnd) return rights(config(block, i), priv);
    // The lowest-numbered matching entry must match all bytes of an access, else the access fails.
    return PMP_PARTIAL;
  }
  return priv == PRIV_M ? PMP_R | PMP_W | PMP_X : 0;
}

/**
 * Whether all of a page may be executed though no single entry decides that. "No" also where an entry without X is hidden by
 * another: then it is only slow.
 */
export function pmpPageExecutable(block: usize, pa: u64, priv: i32): bool {
  const end = pa + 4096;
  for (let i = 0; i < PMP_ENTRIES; i++) {
    if (!entryRange(block, i)) continue;
    if (end <= rangeStart || pa >= rangeEnd) continue;
    if (!(rights(config(block, i), priv) & PMP_X)) return false;
    if (pa >= rangeStart && end <= rangeEnd) return true;
  }
  return priv == PRIV_M;
}

/** Whether an access of `size` bytes is allowed. */
export function pmpAllows(block: usize, pa: u64, size: u64, access: i32, priv: i32): bool {
  const got = pmpRights(block, pa, size, priv);
  const want = access == ACCESS_FETCH ? PMP_X : access == ACCESS_STORE ? PMP_W : PMP_R;
  return (got & want) != 0;
}
