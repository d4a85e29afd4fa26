/**
 * Groups of loads and stores off one base register: one look at the TLB serves them all, when they lie in one page and are aligned.
 * A group's local holds the linear address of its lowest access, or 0 when each must look for itself.
 */
import { LOCAL_GROUPS } from './locals';
import { accessAt, isCall, kindAt, lengthAt, slotAt, writesOf } from './region.as';
import { registerBit } from './emit.as';
import { KIND_SYSTEM } from '../generated/translate.as';
import { W_GROUP_OF, W_GROUPS } from './work.as';

/** Groups that may be open at once: so many locals. */
const GROUPS = 4;
/** No access of a group is further than this behind its lowest. */
const MAX_SPAN = 512;

// A group: u8 its local, u8 log2 of the largest access, u8 1 when it stores; i32 lowest offset, i32 bytes from there to its end.
const GROUP_SIZE = 16;
export const G_LOCAL = 0;
export const G_ALIGN = 1;
export const G_STORES = 2;
export const G_LOW = 4;
export const G_SPAN = 8;

let groups: i32 = 0;

/** The group of the access at h, 0 when it is in none. */
export function groupOf(h: i32): usize {
  const index: usize = load<u8>(W_GROUP_OF + h);
  return index == 0 ? 0 : W_GROUPS + index * GROUP_SIZE;
}

/** Whether the access at h is the first of its group, which then looks at the TLB. */
export function isFirst(h: i32): bool {
  return load<u16>(groupOf(h), 12) == <u16>h;
}

/** Whether h ends what can share a translation: what it calls may change the address space. */
// @ts-ignore: decorator
@inline
function isBarrier(h: i32): bool {
  return isCall(h) || kindAt(h) == KIND_SYSTEM;
}

/** Tries to make a group that begins with the access at h. @returns the halfword of its last access, -1 if there is none */
function gather(h: i32, last: i32, group: usize, index: i32): i32 {
  const base = load<u16>(slotAt(h), 4);
  const baseBit = registerBit(base);
  if (baseBit == 0) return -1;
  let low = 0;
  let high = 0;
  let align = 0;
  let stores = false;
  let count = 0;
  let final = -1;
  for (let i = h; ; i += lengthAt(i)) {
    if (isBarrier(i)) break;
    const access = accessAt(i);
    const slot = slotAt(i);
    if (access != 0 && load<u16>(slot, 4) == base && load<u8>(W_GROUP_OF + i) == 0) {
      const size = 1 << ((access & 7) - 1);
      const offset = load<i32>(slot, 8);
      const newLow = count == 0 ? offset : min(low, offset);
      const newHigh = count == 0 ? offset + size : max(high, offset + size);
      const newAlign = max(align, size);
      // All are aligned when the lowest is, if their distances from it are multiples of their sizes.
      const others = count == 0 || ((low - newLow) & (align - 1)) == 0;
      if (newHigh - newLow <= MAX_SPAN && others && ((offset - newLow) & (size - 1)) == 0) {
        low = newLow;
        high = newHigh;
        align = newAlign;
        if (access & 8) stores = true;
        count++;
        final = i;
        store<u8>(W_GROUP_OF + i, <u8>index);
      }
    }
    if (i == last || (writesOf(i) & baseBit) != 0) break;
  }
  if (count < 2) {
    if (final >= 0) store<u8>(W_GROUP_OF + final, 0);
    return -1;
  }
  store<u8>(group, <u8>align, G_ALIGN);
  store<u8>(group, u8(stores), G_STORES);
  store<i32>(group, low, G_LOW);
  store<i32>(group, high - low, G_SPAN);
  store<u16>(group, <u16>h, 12);
  return final;
}

/** Finds the groups of a block's instructions from h to last. */
export function findGroups(h: i32, last: i32): void {
  groups = 0;
  for (let i = h; ; i += lengthAt(i)) {
    store<u8>(W_GROUP_OF + i, 0);
    if (i == last) break;
  }
  // When each local is free again.
  let free0 = -1;
  let free1 = -1;
  let free2 = -1;
  let free3 = -1;
  for (let i = h; ; i += lengthAt(i)) {
    if (accessAt(i) != 0 && load<u8>(W_GROUP_OF + i) == 0 && groups < 250) {
      const local = free0 < i ? 0 : free1 < i ? 1 : free2 < i ? 2 : free3 < i ? 3 : GROUPS;
      if (local < GROUPS) {
        const group = W_GROUPS + (groups + 1) * GROUP_SIZE;
        const final = gather(i, last, group, groups + 1);
        if (final >= 0) {
          groups++;
          store<u8>(group, <u8>(LOCAL_GROUPS + local), G_LOCAL);
          if (local == 0) free0 = final;
          else if (local == 1) free1 = final;
          else if (local == 2) free2 = final;
          else free3 = final;
        }
      }
    }
    if (i == last) break;
  }
}
