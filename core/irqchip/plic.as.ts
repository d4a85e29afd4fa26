/**
 * SiFive PLIC as on QEMU's virt board: 95 level-triggered sources, priorities 0..7, an M and an S context for each hart
 * (hart h: M is context 2h, S is 2h + 1). RISC-V PLIC specification 1.0.0; where QEMU departs from it, this follows
 * QEMU, because the board's software was written on QEMU: the threshold also hides sources from a claim, and a
 * completion is accepted from a context that does not enable the source.
 *
 * State is shared by all threads. Every change and the recomputation of the contexts' outputs that follows from it
 * happen under one lock: the last one to recompute has seen every change.
 */
import { CONTROL_BASE, CTL_HARTS, DEVICE_BASE, DEV_PLIC, MAX_HARTS, H_IRQ } from '../worker/layout';
import { PLIC_SOURCES } from '../machine/virt-map';
import {
  PLIC_CLAIMED, PLIC_ENABLE, PLIC_ENABLE_STRIDE, PLIC_LEVEL, PLIC_PENDING, PLIC_PRIORITY, PLIC_RAISED, PLIC_STATE_SIZE,
  PLIC_THRESHOLD,
} from './wired-layout';
import { hartBlock, lowerLines, raiseLines } from '../cpu/hart.as';
import { lock, unlock } from '../memory/lock.as';

// Register map (PLIC specification, chapter 3), offsets from the PLIC's base.
const PRIORITY_OFFSET: u32 = 0x0;
const PENDING_OFFSET: u32 = 0x1000;
const ENABLE_OFFSET: u32 = 0x2000;
const ENABLE_STRIDE: u32 = 0x80;
const CONTEXT_OFFSET: u32 = 0x200000;
const CONTEXT_STRIDE: u32 = 0x1000;
const CONTEXT_THRESHOLD: u32 = 0;
const CONTEXT_CLAIM: u32 = 4;

const PRIORITY_MASK: u32 = 7;
const WORDS: u32 = PLIC_SOURCES / 32;

/** mip bit numbers of the outputs. */
const LINE_SEI = 1 << 9;
const LINE_MEI = 1 << 11;

// State: u32 words at DEVICE_BASE + DEV_PLIC.
const STATE: usize = DEVICE_BASE + DEV_PLIC;
const LOCK: usize = STATE;
/** Bit per source, WORDS words each: input level, pending, being served (between claim and completion). */
const LEVEL: usize = STATE + PLIC_LEVEL;
const PENDING: usize = STATE + PLIC_PENDING;
const CLAIMED: usize = STATE + PLIC_CLAIMED;
/** A word per source. */
const PRIORITY: usize = STATE + PLIC_PRIORITY;
/** A word per context. */
const THRESHOLD: usize = STATE + PLIC_THRESHOLD;
/** WORDS words per context. */
const ENABLE: usize = STATE + PLIC_ENABLE;
/** A word per source: for people. */
const RAISED: usize = STATE + PLIC_RAISED;

// @ts-ignore: decorator
@inline
function contextCount(): u32 {
  return min<u32>(load<u32>(CONTROL_BASE + CTL_HARTS), MAX_HARTS) * 2;
}

/** The source that a context would claim now: highest priority above its threshold, lowest number; 0 if none. */
function bestSource(context: u32): u32 {
  let best: u32 = 0;
  let bestPriority = load<u32>(THRESHOLD + context * 4);
  for (let word: u32 = 0; word < WORDS; word++) {
    let candidates =
      load<u32>(PENDING + word * 4) & ~load<u32>(CLAIMED + word * 4) & load<u32>(ENABLE + context * PLIC_ENABLE_STRIDE + word * 4);
    while (candidates != 0) {
      const source = word * 32 + ctz<u32>(candidates);
      const priority = load<u32>(PRIORITY + source * 4);
      if (priority > bestPriority) {
        best = source;
        bestPriority = priority;
      }
      candidates &= candidates - 1;
    }
  }
  return best;
}

/** Drives every context's output. Lock held: nobody else touches these bits of H_IRQ. */
function update(): void {
  const contexts = contextCount();
  for (let context: u32 = 0; context < contexts; context++) {
    const block = hartBlock(context >> 1);
    const line = (context & 1) != 0 ? LINE_SEI : LINE_MEI;
    const high = bestSource(context) != 0;
    if (high == ((atomic.load<i32>(block + H_IRQ) & line) != 0)) continue;
    if (high) raiseLines(block, line);
    else lowerLines(block, line);
  }
}

/** Lock held. */
function setLevel(source: u32, high: bool): void {
  const word: usize = (source >> 5) * 4;
  const bit: u32 = <u32>1 << (source & 31);
  const levels = load<u32>(LEVEL + word);
  if (((levels & bit) != 0) == high) return;
  if (!high) {
    // A request that has been latched stays pending until it is claimed.
    store<u32>(LEVEL + word, levels & ~bit);
    return;
  }
  store<u32>(LEVEL + word, levels | bit);
  store<u32>(RAISED + source * 4, load<u32>(RAISED + source * 4) + 1);
  // The gateway is shut between claim and completion; the completion looks at the level again.
  if ((load<u32>(CLAIMED + word) & bit) != 0) return;
  store<u32>(PENDING + word, load<u32>(PENDING + word) | bit);
  update();
}

/** Sets the level of an interrupt source (1..95). Any thread. For a level that mirrors a shared word: plicFollow. */
export function plicSetLevel(irq: i32, level: i32): void {
  if (<u32>irq - 1 >= <u32>PLIC_SOURCES - 1) return;
  lock(LOCK);
  setLevel(irq, level != 0);
  unlock(LOCK);
}

/**
 * Makes a source's level that of an i32 atomic word (high when it is not 0). Call it after each change of the word from
 * or to 0, from whichever thread made it: the word is read under the PLIC's lock, so however such calls interleave the
 * level ends up right. plicSetLevel would not do: between a thread's change and its call another one's may come.
 */
export function plicFollow(irq: i32, word: usize): void {
  if (<u32>irq - 1 >= <u32>PLIC_SOURCES - 1) return;
  lock(LOCK);
  setLevel(irq, atomic.load<i32>(word) != 0);
  unlock(LOCK);
}

function claim(context: u32): u32 {
  const source = bestSource(context);
  if (source == 0) return 0;
  const word: usize = (source >> 5) * 4;
  const bit: u32 = <u32>1 << (source & 31);
  store<u32>(PENDING + word, load<u32>(PENDING + word) & ~bit);
  store<u32>(CLAIMED + word, load<u32>(CLAIMED + word) | bit);
  update();
  return source;
}

function complete(source: u32): void {
  if (source >= <u32>PLIC_SOURCES) return;
  const word: usize = (source >> 5) * 4;
  const bit: u32 = <u32>1 << (source & 31);
  const claimed = load<u32>(CLAIMED + word);
  if ((claimed & bit) == 0) return;
  store<u32>(CLAIMED + word, claimed & ~bit);
  if ((load<u32>(LEVEL + word) & bit) == 0) return;
  store<u32>(PENDING + word, load<u32>(PENDING + word) | bit);
  update();
}

/** A 32-bit read at `offset` (a multiple of 4) from the PLIC's base; 0 where there is no register. Reading claims. */
export function plicRead(offset: u32): u32 {
  if (offset < <u32>PLIC_SOURCES * 4) return load<u32>(PRIORITY + PRIORITY_OFFSET + offset);
  if (offset - PENDING_OFFSET < WORDS * 4) return atomic.load<u32>(PENDING + (offset - PENDING_OFFSET));
  if (offset < ENABLE_OFFSET) return 0;
  if (offset < CONTEXT_OFFSET) {
    const context = (offset - ENABLE_OFFSET) / ENABLE_STRIDE;
    const byte = (offset - ENABLE_OFFSET) % ENABLE_STRIDE;
    if (context >= contextCount() || byte >= WORDS * 4) return 0;
    return load<u32>(ENABLE + context * PLIC_ENABLE_STRIDE + byte);
  }
  const context = (offset - CONTEXT_OFFSET) / CONTEXT_STRIDE;
  if (context >= contextCount()) return 0;
  const register = (offset - CONTEXT_OFFSET) % CONTEXT_STRIDE;
  if (register == CONTEXT_THRESHOLD) return load<u32>(THRESHOLD + context * 4);
  if (register != CONTEXT_CLAIM) return 0;
  lock(LOCK);
  const source = claim(context);
  unlock(LOCK);
  return source;
}

/** Lock held. */
function writeRegister(offset: u32, value: u32): void {
  if (offset < <u32>PLIC_SOURCES * 4) {
    if (offset == 0) return; // Source 0 does not exist.
    store<u32>(PRIORITY + PRIORITY_OFFSET + offset, value & PRIORITY_MASK);
    update();
    return;
  }
  if (offset < ENABLE_OFFSET) return; // The pending bits are read-only.
  if (offset < CONTEXT_OFFSET) {
    const context = (offset - ENABLE_OFFSET) / ENABLE_STRIDE;
    const byte = (offset - ENABLE_OFFSET) % ENABLE_STRIDE;
    if (context >= contextCount() || byte >= WORDS * 4) return;
    store<u32>(ENABLE + context * PLIC_ENABLE_STRIDE + byte, byte == 0 ? value & ~1 : value);
    update();
    return;
  }
  const context = (offset - CONTEXT_OFFSET) / CONTEXT_STRIDE;
  if (context >= contextCount()) return;
  const register = (offset - CONTEXT_OFFSET) % CONTEXT_STRIDE;
  if (register == CONTEXT_THRESHOLD) {
    store<u32>(THRESHOLD + context * 4, value & PRIORITY_MASK);
    update();
  } else if (register == CONTEXT_CLAIM) {
    complete(value);
  }
}

/** A 32-bit write at `offset` (a multiple of 4) from the PLIC's base; ignored where there is no register. */
export function plicWrite(offset: u32, value: u32): void {
  lock(LOCK);
  writeRegister(offset, value);
  unlock(LOCK);
}

/** Power-on state, all levels low, lock free. Only while no hart and no I/O worker runs. */
export function plicReset(): void {
  memory.fill(STATE, 0, PLIC_STATE_SIZE);
  for (let hart = 0; hart < MAX_HARTS; hart++) lowerLines(hartBlock(hart), LINE_SEI | LINE_MEI);
}
