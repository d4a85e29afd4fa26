/** The built-in SBI's part in a hart's life: the state in which it starts, and its coming out of stop and suspend. */
import {
  CONTROL_BASE, CTL_ENTRY, CTL_FDT_ADDR, DEVICE_BASE, DEV_SBI, FENCE_I, FENCE_VMA,
  H_F, H_FAULT, H_FFLAGS, H_FRM, H_HSM, H_HSM_ADDR, H_HSM_ARG, H_ID, H_INSTRET, H_IRQ, H_MCAUSE, H_MCOUNTEREN,
  H_MCOUNTINHIBIT, H_MCYCLE_DELTA, H_MEDELEG, H_MENVCFG, H_MEPC, H_MIDELEG, H_MIE, H_MINSTRET_DELTA, H_MIP, H_MSCRATCH,
  H_MSTATUS, H_MTIMECMP, H_MTVAL, H_MTVEC, H_PC, H_PMPADDR, H_PMPCFG, H_PRIV, H_REMOTE_FENCE, H_RES_ADDR, H_SATP,
  H_SCAUSE, H_SCOUNTEREN, H_SENVCFG, H_SEPC, H_SSCRATCH, H_STIMECMP, H_STVAL, H_STVEC, H_X,
} from '../worker/layout';
import { updateTimerLines } from '../cpu/clock.as';
import {
  CAUSE_ECALL_U, CAUSE_FETCH_PAGE, CAUSE_LOAD_PAGE, CAUSE_STORE_PAGE, ENV_ADUE, ENV_CBCFE, ENV_CBIE, ENV_CBZE,
  ENV_PBMTE, ENV_STCE, MS_MPRV, MS_SIE, MS_SPIE, MS_UXL_SXL, PRIV_S,
} from '../cpu/state.as';

/** HSM states (SBI 2.0, table 12), the values of H_HSM. */
export const HSM_STARTED = 0;
export const HSM_STOPPED = 1;
export const HSM_START_PENDING = 2;
export const HSM_SUSPENDED = 4;

// Private state at DEVICE_BASE + DEV_SBI.
const STATE: usize = DEVICE_BASE + DEV_SBI;
/** Guards the transitions of H_HSM that other harts make, and CTL_EXIT. */
export const SBI_LOCK: usize = STATE;
/** Per hart, 16 bytes: i32 whether its suspend is non-retentive, i32 mask of locked FWFT features. */
const PER_HART: usize = STATE + 64;
export const P_NON_RETENTIVE: usize = 0;
export const P_FWFT_LOCKED: usize = 4;

/** Supervisor software, timer and external interrupts: all that S-mode can take. */
const S_INTERRUPTS: u64 = (1 << 1) | (1 << 5) | (1 << 9);
/** Every exception but ecalls from S and M: there is nobody in M-mode to take any. */
const S_EXCEPTIONS: u64 =
  ((1 << (CAUSE_ECALL_U + 1)) - 1) | (1 << CAUSE_FETCH_PAGE) | (1 << CAUSE_LOAD_PAGE) | (1 << CAUSE_STORE_PAGE);
/** cycle, time, instret. */
const COUNTERS: u64 = 7;
const MS_FS_INITIAL: u64 = 1 << 13;
/** pmpcfg: naturally aligned power of two, all rights; with pmpaddr all ones: everything. */
const PMP_ALL: u8 = 0x1f;
const PMPADDR_ALL: u64 = (1 << 54) - 1;
const PMP_ENTRIES = 16;
const NOTHING: u64 = u64.MAX_VALUE;

export function perHart(block: usize): usize {
  return PER_HART + (<usize>load<i32>(block + H_ID) << 4);
}

/** Supervisor mode at `pc` with what the HSM extension promises (SBI 2.0, table 8): MMU off, interrupts off, a0, a1. */
function enterSupervisor(block: usize, pc: u64, opaque: u64): void {
  store<i32>(block + H_PRIV, PRIV_S);
  store<u64>(block + H_PC, pc);
  store<u64>(block + H_X + 80, <u64>load<i32>(block + H_ID));
  store<u64>(block + H_X + 88, opaque);
  store<u64>(block + H_SATP, 0);
  store<u64>(block + H_MSTATUS, load<u64>(block + H_MSTATUS) & ~(MS_SIE | MS_SPIE | MS_MPRV));
  store<u64>(block + H_MIE, 0);
  store<u64>(block + H_STVEC, pc & ~3);
  store<u64>(block + H_SSCRATCH, 0);
  store<u64>(block + H_RES_ADDR, NOTHING);
  // Code and translations that were cached when the hart ran last may be out of date.
  atomic.or<i32>(block + H_REMOTE_FENCE, FENCE_I | FENCE_VMA);
}

/**
 * Power-on state of a hart under the built-in SBI, H_ID being set: S-mode with everything delegated and allowed, PMP
 * open. With `boot` it starts at CTL_ENTRY with a0 = hart id, a1 = CTL_FDT_ADDR, else it is stopped until another hart
 * starts it. TLBs and predecoded code are the CPU's to reset (H_REMOTE_FENCE asks for it). Only while no hart runs.
 */
export function sbiResetHart(block: usize, hart: i32, boot: bool): void {
  store<i32>(block + H_ID, hart);
  memory.fill(block + H_X, 0, 32 * 8);
  memory.fill(block + H_F, 0, 32 * 8);
  store<i32>(block + H_FFLAGS, 0);
  store<i32>(block + H_FRM, 0);
  store<u64>(block + H_INSTRET, 0);
  store<i32>(block + H_FAULT, -1);
  resetCsrs(block);
  memory.fill(perHart(block), 0, 16);
  atomic.store<i32>(SBI_LOCK, 0);
  atomic.store<i32>(block + H_IRQ, 0);
  atomic.store<u64>(block + H_MTIMECMP, NOTHING);
  atomic.store<u64>(block + H_STIMECMP, NOTHING);
  updateTimerLines(block);
  enterSupervisor(block, load<u64>(CONTROL_BASE + CTL_ENTRY), load<u64>(CONTROL_BASE + CTL_FDT_ADDR));
  atomic.store<i32>(block + H_HSM, boot ? HSM_STARTED : HSM_STOPPED);
}

function resetCsrs(block: usize): void {
  store<u64>(block + H_MSTATUS, MS_UXL_SXL | MS_FS_INITIAL);
  store<u64>(block + H_MIP, 0);
  store<u64>(block + H_MIDELEG, S_INTERRUPTS);
  store<u64>(block + H_MEDELEG, S_EXCEPTIONS);
  store<u64>(block + H_MTVEC, 0);
  store<u64>(block + H_MEPC, 0);
  store<u64>(block + H_MCAUSE, 0);
  store<u64>(block + H_MTVAL, 0);
  store<u64>(block + H_MSCRATCH, 0);
  store<u64>(block + H_MCOUNTEREN, COUNTERS);
  store<u64>(block + H_SCOUNTEREN, COUNTERS);
  store<u64>(block + H_MCOUNTINHIBIT, 0);
  store<u64>(block + H_MCYCLE_DELTA, 0);
  store<u64>(block + H_MINSTRET_DELTA, 0);
  atomic.store<u64>(block + H_MENVCFG, ENV_STCE | ENV_PBMTE | ENV_ADUE | ENV_CBZE | ENV_CBCFE | ENV_CBIE);
  store<u64>(block + H_SENVCFG, 0);
  store<u64>(block + H_SEPC, 0);
  store<u64>(block + H_SCAUSE, 0);
  store<u64>(block + H_STVAL, 0);
  memory.fill(block + H_PMPCFG, 0, PMP_ENTRIES);
  memory.fill(block + H_PMPADDR, 0, PMP_ENTRIES * 8);
  store<u8>(block + H_PMPCFG, PMP_ALL);
  store<u64>(block + H_PMPADDR, PMPADDR_ALL);
}

/**
 * Takes a hart out of stop or suspend, called by the hart itself when sbiCall returned SBI_STOP or it is stopped at
 * reset: when H_HSM is start pending, or when it is suspended and (mip & mie) is not 0. It then runs on at H_PC, in the
 * state the HSM extension says; the caller recomputes what it derives from privilege, satp and mstatus.
 */
export function sbiWake(block: usize): void {
  const state = atomic.load<i32>(block + H_HSM);
  if (state == HSM_START_PENDING || (state == HSM_SUSPENDED && load<i32>(perHart(block) + P_NON_RETENTIVE) != 0)) {
    enterSupervisor(block, load<u64>(block + H_HSM_ADDR), load<u64>(block + H_HSM_ARG));
  }
  if (state != HSM_STOPPED) atomic.store<i32>(block + H_HSM, HSM_STARTED);
}
