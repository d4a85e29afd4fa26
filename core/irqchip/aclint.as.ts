/**
 * ACLINT in the layout of SiFive's CLINT: MSWI (a software interrupt word for each hart), then MTIMER (mtimecmp for each
 * hart, mtime). RISC-V ACLINT specification 1.0-rc4; what 32-bit halves do is QEMU's.
 */
import { CONTROL_BASE, CTL_HARTS, H_IRQ, H_MTIMECMP } from '../worker/layout';
import { hartBlock, lowerLines, raiseLines } from '../cpu/hart.as';
import { mtime, setMtime, setMtimecmp } from '../cpu/clock.as';

// Offsets from the ACLINT's base.
const MTIMER_OFFSET: u32 = 0x4000;
const MTIME_OFFSET: u32 = 0xbff8;
const MTIMER_END: u32 = 0xc000;

/** mip bit of the MSWI line. */
const LINE_MSI = 1 << 3;

const LOW_HALF: u64 = 0xffffffff;

/** Whether the ACLINT takes an access of this size at this offset: MSWI 4 bytes, MTIMER 4 or 8, nothing behind it. */
export function aclintAccepts(offset: u32, size: i32): bool {
  if (offset < MTIMER_OFFSET) return size == 4;
  return offset < MTIMER_END && (size == 4 || size == 8);
}

// @ts-ignore: decorator
@inline
function hartCount(): u32 {
  return load<u32>(CONTROL_BASE + CTL_HARTS);
}

/** Reads a register (aclintAccepts holds, offset is a multiple of size); 0 where there is none. */
export function aclintRead(offset: u32, size: i32): u64 {
  if (offset < MTIMER_OFFSET) {
    if (offset >> 2 >= hartCount()) return 0;
    return (atomic.load<i32>(hartBlock(offset >> 2) + H_IRQ) & LINE_MSI) != 0 ? 1 : 0;
  }
  let value: u64;
  if ((offset & ~7) == MTIME_OFFSET) {
    value = mtime();
  } else {
    const hart = (offset - MTIMER_OFFSET) >> 3;
    if (hart >= hartCount()) return 0;
    value = atomic.load<u64>(hartBlock(hart) + H_MTIMECMP);
  }
  if (size == 8) return value;
  return (offset & 4) != 0 ? value >> 32 : value & LOW_HALF;
}

// @ts-ignore: decorator
@inline
function merge(old: u64, offset: u32, value: u64): u64 {
  return (offset & 4) != 0 ? (old & LOW_HALF) | (value << 32) : (old & ~LOW_HALF) | (value & LOW_HALF);
}

/** Writes a register (aclintAccepts holds, offset is a multiple of size); ignored where there is none. */
export function aclintWrite(offset: u32, size: i32, value: u64): void {
  if (offset < MTIMER_OFFSET) {
    if (offset >> 2 >= hartCount()) return;
    if ((value & 1) != 0) raiseLines(hartBlock(offset >> 2), LINE_MSI);
    else lowerLines(hartBlock(offset >> 2), LINE_MSI);
    return;
  }
  if ((offset & ~7) == MTIME_OFFSET) {
    setMtime(size == 8 ? value : merge(mtime(), offset, value));
    return;
  }
  const hart = (offset - MTIMER_OFFSET) >> 3;
  if (hart >= hartCount()) return;
  const block = hartBlock(hart);
  setMtimecmp(block, size == 8 ? value : merge(atomic.load<u64>(block + H_MTIMECMP), offset, value));
}
