/** Taking traps (privileged manual 3.1.6 to 3.1.16 and 12.1). */
import {
  H_FAULT_TVAL, H_IRQ, H_MCAUSE, H_MEDELEG, H_MEPC, H_MIDELEG, H_MIE, H_MIP, H_MSTATUS, H_MTVAL, H_MTVEC, H_PC, H_PRIV, H_RES_ADDR, H_SCAUSE,
  H_SEPC, H_STAT_TRAPS, H_STVAL, H_STVEC,
} from '../worker/layout';
import { FILE_M, FILE_S } from '../irqchip/imsic.as';
import { refreshContexts } from './mmu.as';
import { firstMajor } from './priority.as';
import {
  clearFault, fault, MS_MIE, MS_MPIE, MS_MPP, MS_MPP_SHIFT, MS_SIE, MS_SPIE, MS_SPP, PRIV_M, PRIV_S,
} from './state.as';

const INTERRUPT: u64 = 0x8000000000000000;

/** mip as seen by everybody: what devices drive, and what software set. */
// @ts-ignore: decorator
@inline
export function pendingBits(block: usize): u64 {
  return <u64>atomic.load<i32>(block + H_IRQ) | load<u64>(block + H_MIP);
}

/** Enters the handler of `cause` (with the interrupt bit for interrupts). Sets H_PC and H_PRIV, refreshes contexts. */
export function enterTrap(block: usize, cause: u64, tval: u64, epc: u64): void {
  const priv = load<i32>(block + H_PRIV);
  // One context's reservation must not let another's SC succeed. Kernels see to that themselves, but not all of them.
  store<u64>(block + H_RES_ADDR, ~0);
  const number = cause & 63;
  const delegation = load<u64>(block + (cause & INTERRUPT ? H_MIDELEG : H_MEDELEG));
  let mstatus = load<u64>(block + H_MSTATUS);
  let vector: u64;
  if (priv != PRIV_M && (delegation >> number) & 1) {
    store<u64>(block + H_SCAUSE, cause);
    store<u64>(block + H_SEPC, epc);
    store<u64>(block + H_STVAL, tval);
    mstatus = (mstatus & ~(MS_SPIE | MS_SPP | MS_SIE)) | (mstatus & MS_SIE ? MS_SPIE : 0) | (priv == PRIV_S ? MS_SPP : 0);
    vector = load<u64>(block + H_STVEC);
    store<i32>(block + H_PRIV, PRIV_S);
  } else {
    store<u64>(block + H_MCAUSE, cause);
    store<u64>(block + H_MEPC, epc);
    store<u64>(block + H_MTVAL, tval);
    mstatus = (mstatus & ~(MS_MPIE | MS_MPP | MS_MIE)) | (mstatus & MS_MIE ? MS_MPIE : 0) | (<u64>priv << MS_MPP_SHIFT);
    vector = load<u64>(block + H_MTVEC);
    store<i32>(block + H_PRIV, PRIV_M);
  }
  store<u64>(block + H_MSTATUS, mstatus);
  const base = vector & ~(<u64>3);
  store<u64>(block + H_PC, (vector & 3) == 1 && cause & INTERRUPT ? base + (number << 2) : base);
  store<u64>(block + H_STAT_TRAPS, load<u64>(block + H_STAT_TRAPS) + 1);
  refreshContexts(block);
}

/** Takes the exception noted in `fault`. */
export function takeFault(block: usize, pc: u64): void {
  const cause = fault - 1;
  clearFault();
  enterTrap(block, cause, load<u64>(block + H_FAULT_TVAL), pc);
}

/** The interrupt to be taken now, as its number, or -1. */
export function nextInterrupt(block: usize): i32 {
  const pending = pendingBits(block) & load<u64>(block + H_MIE);
  if (pending == 0) return -1;
  const priv = load<i32>(block + H_PRIV);
  const mstatus = load<u64>(block + H_MSTATUS);
  const delegated = load<u64>(block + H_MIDELEG);
  if (priv != PRIV_M || mstatus & MS_MIE) {
    const ready = pending & ~delegated;
    if (ready != 0) return firstMajor(block, ready, FILE_M);
  }
  if (priv != PRIV_M && (priv != PRIV_S || mstatus & MS_SIE)) {
    const ready = pending & delegated;
    if (ready != 0) return firstMajor(block, ready, FILE_S);
  }
  return -1;
}

/** Takes an interrupt that is due, with H_PC as the interrupted address; false when there is none. */
export function takeInterrupt(block: usize): bool {
  const number = nextInterrupt(block);
  if (number < 0) return false;
  enterTrap(block, INTERRUPT | <u64>number, 0, load<u64>(block + H_PC));
  return true;
}
