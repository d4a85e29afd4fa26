/**
 * IMSICs (RISC-V AIA 1.0, chapter 3): for each hart an interrupt file of M-mode and one of S-mode, 255 identities each. A
 * message-signalled interrupt is a 32-bit write to a file's page; the hart works with its files through CSRs.
 *
 * State is shared by all threads. A file's pending bits, and the recomputation of its output that follows from any change,
 * are under the file's lock; reads that need no more than one look go without it.
 */
import { CONTROL_BASE, CTL_HARTS, DEVICE_BASE, DEV_IMSIC, H_IRQ, MAX_HARTS } from '../worker/layout';
import { IMSIC_FILE_SIZE, IMSIC_IDS, IMSIC_M_PHYS, IMSIC_S_PHYS } from '../machine/virt-map';
import {
  IMSIC_F_ENABLED, IMSIC_F_PENDING, IMSIC_FILE_STRIDE, IMSIC_RAISED, IMSIC_RAISED_STRIDE,
} from './wired-layout';
import { hartBlock, lowerLines, raiseLines } from '../cpu/hart.as';
import { lock, unlock } from '../memory/lock.as';

/** The two files of a hart. */
export const FILE_M = 0;
export const FILE_S = 1;

// A file's page (3.5).
const SETEIPNUM_LE: u32 = 0;
const SETEIPNUM_BE: u32 = 4;

// Numbers of the registers behind mireg and sireg (3.8).
const REG_EIDELIVERY: u32 = 0x70;
const REG_EITHRESHOLD: u32 = 0x72;
const REG_EIP0: u32 = 0x80;
const REG_EIE0: u32 = 0xc0;

/** Bits that eithreshold has: those of an identity number. */
const IDENTITY_MASK: u64 = 0x7ff;
/** eidelivery: 0 or 1. */
const DELIVERY_MASK: u64 = 1;

/** mip bits of the outputs. */
const LINE_SEI = 1 << 9;
const LINE_MEI = 1 << 11;

// State: a block for each file, at DEVICE_BASE + DEV_IMSIC.
const STATE: usize = DEVICE_BASE + DEV_IMSIC;
const FILE_STRIDE: usize = IMSIC_FILE_STRIDE;
/** i32 lock; u32 eidelivery, eithreshold. */
const F_LOCK: usize = 0;
const F_DELIVERY: usize = 4;
const F_THRESHOLD: usize = 8;
/** Bit per identity, four doublewords each. */
const F_PENDING: usize = IMSIC_F_PENDING;
const F_ENABLED: usize = IMSIC_F_ENABLED;
const WORDS: u32 = (IMSIC_IDS + 1) / 64;

/** A word for each identity of each file: for people. */
const RAISED: usize = STATE + IMSIC_RAISED;
const STATE_END: usize = RAISED + MAX_HARTS * 2 * IMSIC_RAISED_STRIDE;

// @ts-ignore: decorator
@inline
function fileAt(hart: u32, level: u32): usize {
  return STATE + (<usize>hart * 2 + level) * FILE_STRIDE;
}

/** The pending and enabled identity of the highest priority, the threshold considered; 0 if none. */
function top(file: usize): u32 {
  const threshold = load<u32>(file + F_THRESHOLD);
  for (let word: u32 = 0; word < WORDS; word++) {
    const ready = atomic.load<u64>(file + F_PENDING + word * 8) & atomic.load<u64>(file + F_ENABLED + word * 8);
    if (ready == 0) continue;
    const identity = word * 64 + <u32>ctz<u64>(ready);
    return threshold == 0 || identity < threshold ? identity : 0;
  }
  return 0;
}

/** Drives the file's output. Its lock is held: nobody else touches this bit of H_IRQ. */
function update(file: usize): void {
  const index = (file - STATE) / FILE_STRIDE;
  const block = hartBlock(<i32>(index >> 1));
  const line = (index & 1) == FILE_S ? LINE_SEI : LINE_MEI;
  const high = load<u32>(file + F_DELIVERY) != 0 && top(file) != 0;
  if (high == ((atomic.load<i32>(block + H_IRQ) & line) != 0)) return;
  if (high) raiseLines(block, line);
  else lowerLines(block, line);
}

/** Makes an identity pending at a file; ignored when there is no such hart or identity. Any thread. */
export function imsicSend(hart: u32, level: u32, identity: u32): void {
  if (hart >= load<u32>(CONTROL_BASE + CTL_HARTS) || identity - 1 >= <u32>IMSIC_IDS) return;
  const file = fileAt(hart, level);
  const word = file + F_PENDING + <usize>(identity >> 6) * 8;
  const bit: u64 = <u64>1 << (identity & 63);
  // Pending already: whoever claims it from now on sees all that was written before this message.
  if ((atomic.load<u64>(word) & bit) != 0) return;
  const count = RAISED + (<usize>hart * 2 + level) * IMSIC_RAISED_STRIDE + <usize>identity * 4;
  lock(file + F_LOCK);
  store<u32>(count, load<u32>(count) + 1);
  atomic.or<u64>(word, bit);
  update(file);
  unlock(file + F_LOCK);
}

/** Whether hart `hart`'s file answers at an offset from IMSIC_M_PHYS or IMSIC_S_PHYS. */
// @ts-ignore: decorator
@inline
function hasFile(offset: u64): bool {
  return offset < <u64>min<u32>(load<u32>(CONTROL_BASE + CTL_HARTS), MAX_HARTS) * IMSIC_FILE_SIZE;
}

/** Whether an interrupt file's page is at a guest physical address. */
export function imsicAccepts(pa: u64): bool {
  return hasFile(pa - IMSIC_S_PHYS) || hasFile(pa - IMSIC_M_PHYS);
}

/** A 32-bit write at `pa` (a multiple of 4, imsicAccepts holds). Reads of the pages return 0. */
export function imsicWrite(pa: u64, value: u32): void {
  const isS = pa >= <u64>IMSIC_S_PHYS;
  const offset = <u32>(pa - (isS ? IMSIC_S_PHYS : IMSIC_M_PHYS));
  const register = offset % IMSIC_FILE_SIZE;
  if (register == SETEIPNUM_BE) value = bswap<u32>(value);
  else if (register != SETEIPNUM_LE) return;
  imsicSend(offset / IMSIC_FILE_SIZE, isS ? FILE_S : FILE_M, value);
}

// ---- the hart's own view ----------------------------------------------------------------------------------------

/** The identity that mtopei or stopei shows, 0 if none. */
export function imsicTop(hart: u32, level: u32): u32 {
  return top(fileAt(hart, level));
}

/** Clears an identity's pending bit (a write to mtopei or stopei); 0 does nothing. */
export function imsicClaim(hart: u32, level: u32, identity: u32): void {
  if (identity == 0) return;
  const file = fileAt(hart, level);
  lock(file + F_LOCK);
  atomic.and<u64>(file + F_PENDING + <usize>(identity >> 6) * 8, ~(<u64>1 << (identity & 63)));
  update(file);
  unlock(file + F_LOCK);
}

/** Whether there is a register of that number behind mireg and sireg on RV64: no odd ones among the arrays. */
export function imsicHas(register: u32): bool {
  return register >= REG_EIDELIVERY && register < 0x100 && (register < REG_EIP0 || (register & 1) == 0);
}

/** Address of the doubleword behind eip<k> or eie<k>, or 0 when it has no implemented identities: it is read-only zero. */
function arrayWord(file: usize, register: u32): usize {
  const word = (register & 0x3f) >> 1;
  if (word >= WORDS) return 0;
  return file + (register >= REG_EIE0 ? F_ENABLED : F_PENDING) + <usize>word * 8;
}

/** Reads a register (imsicHas holds); reserved ones are 0. */
export function imsicReadRegister(hart: u32, level: u32, register: u32): u64 {
  const file = fileAt(hart, level);
  if (register == REG_EIDELIVERY) return load<u32>(file + F_DELIVERY);
  if (register == REG_EITHRESHOLD) return load<u32>(file + F_THRESHOLD);
  if (register < REG_EIP0) return 0;
  const word = arrayWord(file, register);
  return word == 0 ? 0 : atomic.load<u64>(word);
}

/** Writes the bits of a register (imsicHas holds) that are in `mask`, the others being left as they are at that moment. */
export function imsicWriteRegister(hart: u32, level: u32, register: u32, value: u64, mask: u64): void {
  const file = fileAt(hart, level);
  lock(file + F_LOCK);
  if (register == REG_EIDELIVERY) {
    store<u32>(file + F_DELIVERY, <u32>(value & DELIVERY_MASK));
  } else if (register == REG_EITHRESHOLD) {
    store<u32>(file + F_THRESHOLD, <u32>(value & IDENTITY_MASK));
  } else if (register >= REG_EIP0) {
    const word = arrayWord(file, register);
    // Identity 0 does not exist.
    if ((register & 0x3f) == 0) mask &= ~(<u64>1);
    if (word != 0) atomic.store<u64>(word, (atomic.load<u64>(word) & ~mask) | (value & mask));
  }
  update(file);
  unlock(file + F_LOCK);
}

/** Power-on state: delivery off, nothing pending or enabled, locks free. Only while no hart and no I/O worker runs. */
export function imsicReset(): void {
  memory.fill(STATE, 0, STATE_END - STATE);
  for (let hart = 0; hart < MAX_HARTS; hart++) lowerLines(hartBlock(hart), LINE_SEI | LINE_MEI);
}
