/** A hart's life outside the interpreter: interrupts, requests of other threads, sleeping, power-on. */
import {
  CONTROL_BASE, CTL_FIRMWARE, CTL_HARTS, CTL_RUN, FIRMWARE_SBI, H_F, H_FFLAGS, H_HSM, H_ID,
  H_INSTRET, H_IRQ, H_MBOX_STATE, H_MIE, H_PC, H_POLL, H_REMOTE_FENCE, H_RES_ADDR, H_SLEEPING, H_STAT_DECODED,
  H_STAT_MMIO, H_STAT_TLB_MISS, H_STAT_TRAPS, H_STAT_WFI, H_WAKE, H_X, MBOX_IDLE, RUN_RUNNING,
} from '../worker/layout';
import {
  HSM_STARTED, HSM_START_PENDING, HSM_STOPPED, HSM_SUSPENDED, sbiResetHart, sbiWake,
} from '../firmware/sbi-hart.as';
import { mtime, updateTimerLines } from './clock.as';
import { resetCode } from './code.as';
import { resetCsrs } from './csr.as';
import { serveFences } from './fence.as';
import { interpret, LEFT_WAIT } from './generated/interp.as';
import { H_JIT_MAIL } from './jit/abi';
import { probeFma } from './fpu/index.as';
import { hartBlock } from './hart.as';
import { refreshContexts, resetMmu } from './mmu.as';
import { clearFault } from './state.as';
import { pendingBits, takeInterrupt } from './trap.as';

/** Where the board's reset vector is. */
const RESET_PC: u64 = 0x1000;

// @ts-ignore: decorator
@inline
function running(): bool {
  return atomic.load<i32>(CONTROL_BASE + CTL_RUN) == RUN_RUNNING;
}

/** What ends a wfi: an interrupt that is pending and enabled in mie, whether or not it would be taken. */
function interruptWaits(block: usize): bool {
  return (pendingBits(block) & load<u64>(block + H_MIE)) != 0;
}

/** Sleeps until there is something to do. A bumped H_WAKE is never missed: it is read before the last look. */
function sleep(block: usize): void {
  for (;;) {
    const wake = atomic.load<i32>(block + H_WAKE);
    atomic.store<i32>(block + H_SLEEPING, 1);
    const hsm = atomic.load<i32>(block + H_HSM);
    const due = updateTimerLines(block);
    if (!running() || atomic.load<i32>(block + H_REMOTE_FENCE) != 0 || hsm == HSM_START_PENDING) break;
    if (atomic.load<i32>(block + H_JIT_MAIL) != 0) break;
    if (hsm != HSM_STOPPED && interruptWaits(block)) break;
    let timeout: i64 = -1;
    if (due != u64.MAX_VALUE && hsm != HSM_STOPPED) {
      const now = mtime();
      // A tick is 100 ns. An hour at most, so that the product stays far from overflow.
      timeout = due > now ? <i64>min<u64>(due - now, 36000000000) * 100 : 0;
    }
    atomic.wait<i32>(block + H_WAKE, wake, timeout);
  }
  atomic.store<i32>(block + H_SLEEPING, 0);
}

/** Why runHart returned: CTL_RUN is no longer RUN_RUNNING; H_JIT_MAIL is not 0. */
const RAN_STOPPED = 0;
const RAN_MAIL = 1;

/** Runs a hart until its thread has something else to do: RAN_*. */
export function runHart(hart: i32): i32 {
  const block = hartBlock(hart);
  probeFma();
  refreshContexts(block);
  let wait = false;
  for (;;) {
    // Cleared before anything is looked at: what comes later sets it again.
    atomic.store<i32>(block + H_POLL, 0);
    serveFences(block);
    if (!running()) break;
    if (atomic.load<i32>(block + H_JIT_MAIL) != 0) return RAN_MAIL;
    const hsm = atomic.load<i32>(block + H_HSM);
    if (hsm == HSM_START_PENDING || (hsm == HSM_SUSPENDED && interruptWaits(block))) {
      sbiWake(block);
      // It asks for fences of its own.
      serveFences(block);
      refreshContexts(block);
    } else if (wait || hsm != HSM_STARTED) {
      sleep(block);
      wait = false;
      continue;
    }
    takeInterrupt(block);
    wait = interpret(block, 0) == LEFT_WAIT;
  }
  return RAN_STOPPED;
}

/**
 * Takes the interrupt that is due, if any, then executes one instruction, by the interpreter; one that traps counts too.
 * On the hart's own thread while the machine is paused.
 * @returns 1; 0 when the hart is not started, and nothing has been executed
 */
export function stepHart(hart: i32): i32 {
  const block = hartBlock(hart);
  probeFma();
  refreshContexts(block);
  serveFences(block);
  if (atomic.load<i32>(block + H_HSM) != HSM_STARTED) return 0;
  takeInterrupt(block);
  // It stays set: runHart is to look at everything anew.
  atomic.store<i32>(block + H_POLL, 1);
  interpret(block, 1);
  return 1;
}

/** Power-on state of a hart. Only while it does not run. */
export function resetHart(hart: i32, boot: bool): void {
  const block = hartBlock(hart);
  memory.fill(block + H_X, 0, H_F + 256);
  store<i32>(block + H_ID, hart);
  store<i32>(block + H_FFLAGS, 0);
  store<u64>(block + H_INSTRET, 0);
  store<u64>(block + H_RES_ADDR, ~0);
  store<i32>(block + H_IRQ, 0);
  store<i32>(block + H_SLEEPING, 0);
  store<i32>(block + H_REMOTE_FENCE, 0);
  store<i32>(block + H_MBOX_STATE, MBOX_IDLE);
  store<u64>(block + H_STAT_TRAPS, 0);
  store<u64>(block + H_STAT_MMIO, 0);
  store<u64>(block + H_STAT_TLB_MISS, 0);
  store<u64>(block + H_STAT_DECODED, 0);
  store<u64>(block + H_STAT_WFI, 0);
  clearFault();
  resetCsrs(block);
  resetCode(block, hart, load<i32>(CONTROL_BASE + CTL_HARTS));
  store<u64>(block + H_PC, RESET_PC);
  atomic.store<i32>(block + H_HSM, HSM_STARTED);
  if (load<i32>(CONTROL_BASE + CTL_FIRMWARE) == FIRMWARE_SBI) sbiResetHart(block, hart, boot);
  resetMmu(block);
}
