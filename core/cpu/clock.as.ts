/**
 * The board's clock: mtime, the timer lines (MTIP from mtimecmp, STIP from Sstc's stimecmp), and the clock worker's
 * side of it. One lock covers every recomputation of a timer line, so that a line always ends up as its newest compare
 * value says, whoever else was recomputing it.
 */
import {
  CONTROL_BASE, CTL_CLOCK_DEADLINE, CTL_CLOCK_WAKE, CTL_HARTS, DEVICE_BASE, DEV_ACLINT, MAX_HARTS,
  H_IRQ, H_MENVCFG, H_MTIMECMP, H_STIMECMP,
} from '../worker/layout';
import { hartBlock, lowerLines, raiseLines, readMtime } from './hart.as';
import { lock, unlock } from '../memory/lock.as';

const LOCK: usize = DEVICE_BASE + DEV_ACLINT;
/** u64 atomic: what writes to the mtime register have added to the host's clock, modulo 2^64. */
const MTIME_OFFSET: usize = DEVICE_BASE + DEV_ACLINT + 8;

/** mip bits of the timer lines. */
const LINE_STI = 1 << 5;
const LINE_MTI = 1 << 7;
/** menvcfg.STCE: stimecmp drives STIP (Sstc). */
const MENVCFG_STCE: u64 = 1 << 63;
/** A compare value, or a deadline, that never comes. */
const NEVER: u64 = u64.MAX_VALUE;

/** mtime as the guest sees it (CSR time, ACLINT mtime): ticks of 100 ns. */
export function mtime(): u64 {
  return readMtime() + atomic.load<u64>(MTIME_OFFSET);
}

// @ts-ignore: decorator
@inline
function driveLine(block: usize, line: i32, high: bool): void {
  if (high == ((atomic.load<i32>(block + H_IRQ) & line) != 0)) return;
  if (high) raiseLines(block, line);
  else lowerLines(block, line);
}

/**
 * Makes a hart's timer lines agree with its compare values. Call it after writing menvcfg; setMtimecmp and setStimecmp
 * do it themselves. Returns the mtime at which a line that is low now must rise (NEVER if none). Any thread.
 */
export function updateTimerLines(block: usize): u64 {
  lock(LOCK);
  const time = mtime();
  const machine = atomic.load<u64>(block + H_MTIMECMP);
  // Without STCE the comparator is off and STIP belongs to M-mode software (H_MIP).
  const supervisor = (atomic.load<u64>(block + H_MENVCFG) & MENVCFG_STCE) != 0 ? atomic.load<u64>(block + H_STIMECMP) : NEVER;
  driveLine(block, LINE_MTI, machine <= time);
  driveLine(block, LINE_STI, supervisor <= time);
  unlock(LOCK);
  return min(machine > time ? machine : NEVER, supervisor > time ? supervisor : NEVER);
}

/** Tells the clock worker of a deadline (mtime), if it would sleep past it. The compare value must be stored before. */
export function clockArm(deadline: u64): void {
  if (deadline >= atomic.load<u64>(CONTROL_BASE + CTL_CLOCK_DEADLINE)) return;
  atomic.add<i32>(CONTROL_BASE + CTL_CLOCK_WAKE, 1);
  atomic.notify(CONTROL_BASE + CTL_CLOCK_WAKE, -1);
}

/** Writes a hart's mtimecmp. Any thread. */
export function setMtimecmp(block: usize, value: u64): void {
  atomic.store<u64>(block + H_MTIMECMP, value);
  clockArm(updateTimerLines(block));
}

/** Writes a hart's stimecmp (Sstc). Any thread. */
export function setStimecmp(block: usize, value: u64): void {
  atomic.store<u64>(block + H_STIMECMP, value);
  clockArm(updateTimerLines(block));
}

/** Writes mtime: all harts' time steps. */
export function setMtime(value: u64): void {
  // Under the lock, so that no line is being computed from the old time when this returns.
  lock(LOCK);
  atomic.store<u64>(MTIME_OFFSET, value - readMtime());
  unlock(LOCK);
  const harts = load<i32>(CONTROL_BASE + CTL_HARTS);
  for (let hart = 0; hart < harts; hart++) updateTimerLines(hartBlock(hart));
  // Time may have moved either way: the clock worker's own deadline is no longer the same instant of the host's clock.
  atomic.add<i32>(CONTROL_BASE + CTL_CLOCK_WAKE, 1);
  atomic.notify(CONTROL_BASE + CTL_CLOCK_WAKE, -1);
}

/** Updates all harts' timer lines; the next deadline. */
function scan(): u64 {
  let next = NEVER;
  const harts = min(load<i32>(CONTROL_BASE + CTL_HARTS), MAX_HARTS);
  for (let hart = 0; hart < harts; hart++) next = min(next, updateTimerLines(hartBlock(hart)));
  return next;
}

/**
 * One turn of the clock worker: raises what is due, publishes and returns the next deadline in mtime (all ones: none).
 * The worker's loop: wake = load(CTL_CLOCK_WAKE); deadline = clockTick(); wait on CTL_CLOCK_WAKE while it equals `wake`,
 * until the deadline. Nothing is lost: a compare value written before the deadline was published is seen by the scan
 * behind it, one written later sees the deadline and bumps CTL_CLOCK_WAKE.
 */
export function clockTick(): u64 {
  let next = scan();
  while (true) {
    atomic.store<u64>(CONTROL_BASE + CTL_CLOCK_DEADLINE, next);
    const again = scan();
    if (again >= next) return next;
    next = again;
  }
}

/** Time starts at the host's clock again, no timer is set, the lock is free. Only while no hart and no clock worker runs. */
export function clockReset(): void {
  atomic.store<i32>(LOCK, 0);
  atomic.store<u64>(MTIME_OFFSET, 0);
  for (let hart = 0; hart < MAX_HARTS; hart++) {
    const block = hartBlock(hart);
    atomic.store<u64>(block + H_MTIMECMP, NEVER);
    atomic.store<u64>(block + H_STIMECMP, NEVER);
    lowerLines(block, LINE_STI | LINE_MTI);
  }
}
