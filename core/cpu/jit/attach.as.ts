/** Putting regions into a hart's code pages and taking them out again; on the hart's own thread, outside guest code. */
import { FN_FIRST, FN_LIMIT, H_JIT_GUARDS, JIT_RECORD_SIZE, JIT_RECORDS, PAGE_COPY, PAGE_HEAT, PAGE_JIT, PAGE_STRIDE, PAGE_VERSION, RECORD_BYTES, RECORD_PA, RECORD_RANGES } from './abi';
import { H_CODE_START } from '../../worker/layout';
import { findPage } from '../code.as';
import { OP_JIT } from '../generated/decode.as';
import { hartBlock } from '../hart.as';

/** Where a hart notes the slot that a region's entry is in. */
// @ts-ignore: decorator
@inline
function place(block: usize, fn: i32): usize {
  return <usize>load<u32>(block + H_JIT_GUARDS) + (FN_LIMIT - FN_FIRST) * 8 + (<usize>(fn - FN_FIRST) << 2);
}

function same(a: usize, b: usize, size: usize): bool {
  for (let i: usize = 0; i < size; i++) if (load<u8>(a + i) != load<u8>(b + i)) return false;
  return true;
}

/** The slot's own handler comes back. */
function release(slot: usize, jit: usize): void {
  store<u16>(slot, <u16>load<u32>(jit));
  store<u32>(jit, 0);
}

/**
 * Makes the region of the attach record at JIT_RECORDS + hart * JIT_RECORD_SIZE be entered on this hart.
 * @returns 1; 0 when the hart does not have its code predecoded, or has other code there
 */
export function jitAttach(hart: i32): i32 {
  const block = hartBlock(hart);
  const record = <usize>JIT_RECORDS + <usize>hart * JIT_RECORD_SIZE;
  const fn = load<i32>(record);
  const entry = load<u32>(record, 4) & 4094;
  const used = load<u32>(record, 8);
  let bytes = record + RECORD_BYTES;
  let own: usize = 0;
  let before: u32 = 0;
  let behind: u32 = 0;
  for (let i: usize = 0; i < 3; i++) {
    if (!(used & (1 << <u32>i))) continue;
    const page = findPage(block, load<u64>(record + (i << 3), RECORD_PA));
    if (page == 0) return 0;
    const first: usize = load<u16>(record + (i << 2), RECORD_RANGES);
    const size = <usize>load<u16>(record + (i << 2), RECORD_RANGES + 2) - first;
    if (!same(bytes, page + PAGE_COPY + first, size)) return 0;
    bytes += size;
    if (i == 0) own = page;
    else if (i == 1) before = load<u32>(page, PAGE_VERSION);
    else behind = load<u32>(page, PAGE_VERSION);
  }
  if (own == 0) return 0;
  const guards = <usize>load<u32>(block + H_JIT_GUARDS) + (<usize>(fn - FN_FIRST) << 3);
  store<u32>(guards, before);
  store<u32>(guards, behind, 4);
  const slot = own + (<usize>entry << 3);
  const jit = own + PAGE_JIT + (<usize>entry << 1);
  const had = load<u32>(jit);
  // One that was there before goes; it can be called by other regions still.
  const handler: u32 = had != 0 ? had & 0xffff : load<u16>(slot);
  store<u32>(jit, (<u32>fn << 16) | handler);
  store<u16>(slot, OP_JIT);
  store<u16>(own + PAGE_HEAT + <usize>entry, 0);
  store<u32>(place(block, fn), <u32>slot);
  return 1;
}

/** Takes the region at an entry of a code page out. It may be asked for again. */
export function jitDetach(page: usize, entry: usize): void {
  const jit = page + PAGE_JIT + (entry << 1);
  if (load<u32>(jit) == 0) return;
  release(page + (entry << 3), jit);
  store<u16>(page + PAGE_HEAT + entry, 0);
}

/** Takes all regions out of a hart's code pages. */
export function jitDetachAll(hart: i32): void {
  const block = hartBlock(hart);
  const start: usize = load<u32>(block + H_CODE_START);
  for (let fn = FN_FIRST; fn < FN_LIMIT; fn++) {
    const at = place(block, fn);
    const slot: usize = load<u32>(at);
    if (slot == 0) continue;
    store<u32>(at, 0);
    const offset = (slot - start) % PAGE_STRIDE;
    const page = slot - offset;
    // The page may have been given to other code since, or the entry to another region.
    if (load<u32>(page + PAGE_JIT + (offset >> 2)) >> 16 == <u32>fn) jitDetach(page, offset >> 3);
  }
}
