/** Access to hart blocks, and the one way to signal a hart. Shared by every AssemblyScript file of the engine. */
import {
  CONTROL_BASE, CTL_ATTENTION, HART_BASE, HART_STRIDE,
  H_IRQ, H_POLL, H_SLEEPING, H_WAKE,
} from '../worker/layout';

/** Monotonic host clock in milliseconds, the same in every thread. */
// @ts-ignore: decorator
@external('env', 'now')
export declare function now(): f64;

/** Linear address of a hart's block. */
// @ts-ignore: decorator
@inline
export function hartBlock(hart: i32): usize {
  return <usize>HART_BASE + <usize>hart * HART_STRIDE;
}

/** Makes a hart leave its fast loop soon, and wakes it if it sleeps. Any thread. */
export function kickHart(block: usize): void {
  atomic.store<i32>(block + H_POLL, 1);
  // Always bump: a hart about to sleep compares this word, so no kick is lost between its last look and its wait.
  atomic.add<i32>(block + H_WAKE, 1);
  if (atomic.load<i32>(block + H_SLEEPING) != 0) atomic.notify(block + H_WAKE, -1);
}

/** Drives interrupt lines high (bit numbers of mip). Any thread. */
export function raiseLines(block: usize, mask: i32): void {
  if ((atomic.or<i32>(block + H_IRQ, mask) & mask) != mask) kickHart(block);
}

/** Drives interrupt lines low. Any thread. */
export function lowerLines(block: usize, mask: i32): void {
  atomic.and<i32>(block + H_IRQ, ~mask);
}

/** Asks the control thread to look at mailboxes, rings and exits. Any thread. */
export function callControl(): void {
  atomic.add<i32>(CONTROL_BASE + CTL_ATTENTION, 1);
  atomic.notify(CONTROL_BASE + CTL_ATTENTION, -1);
}

/** mtime: ticks of 100 ns (10 MHz, as on QEMU's virt board). */
export function readMtime(): u64 {
  return <u64>((now() - load<f64>(CONTROL_BASE + 16)) * 10000.0);
}
