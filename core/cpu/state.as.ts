/** What the engine's files share about the running hart: pending faults, trap codes, mstatus bits. */
import { H_FAULT_TVAL } from '../worker/layout';

/** Cause of the exception to be taken, plus one; 0: none. One hart a thread, so a WebAssembly global serves. */
export let fault: i32 = 0;

/** Notes an exception; the interpreter takes it with the current instruction's address. */
export function raise(block: usize, cause: i32, tval: u64): void {
  fault = cause + 1;
  store<u64>(block + H_FAULT_TVAL, tval);
}

export function clearFault(): void {
  fault = 0;
}

// Exception causes (privileged manual, table "mcause values after trap").
export const CAUSE_FETCH_ACCESS = 1;
export const CAUSE_ILLEGAL = 2;
export const CAUSE_BREAKPOINT = 3;
export const CAUSE_LOAD_MISALIGNED = 4;
export const CAUSE_LOAD_ACCESS = 5;
export const CAUSE_STORE_MISALIGNED = 6;
export const CAUSE_STORE_ACCESS = 7;
export const CAUSE_ECALL_U = 8;
export const CAUSE_FETCH_PAGE = 12;
export const CAUSE_LOAD_PAGE = 13;
export const CAUSE_STORE_PAGE = 15;

// Kinds of access.
export const ACCESS_LOAD = 0;
export const ACCESS_STORE = 1;
export const ACCESS_FETCH = 2;

/** Access-fault and page-fault cause of a kind of access. */
// @ts-ignore: decorator
@inline
export function accessFault(access: i32): i32 {
  return access == ACCESS_FETCH ? CAUSE_FETCH_ACCESS : access == ACCESS_STORE ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS;
}
// @ts-ignore: decorator
@inline
export function pageFault(access: i32): i32 {
  return access == ACCESS_FETCH ? CAUSE_FETCH_PAGE : access == ACCESS_STORE ? CAUSE_STORE_PAGE : CAUSE_LOAD_PAGE;
}

export const PRIV_U = 0;
export const PRIV_S = 1;
export const PRIV_M = 3;

// mstatus fields (privileged manual 3.1.6).
export const MS_SIE: u64 = 1 << 1;
export const MS_MIE: u64 = 1 << 3;
export const MS_SPIE: u64 = 1 << 5;
export const MS_MPIE: u64 = 1 << 7;
export const MS_SPP: u64 = 1 << 8;
export const MS_MPP: u64 = 3 << 11;
export const MS_MPP_SHIFT: u64 = 11;
export const MS_FS: u64 = 3 << 13;
export const MS_MPRV: u64 = 1 << 17;
export const MS_SUM: u64 = 1 << 18;
export const MS_MXR: u64 = 1 << 19;
export const MS_TVM: u64 = 1 << 20;
export const MS_TW: u64 = 1 << 21;
export const MS_TSR: u64 = 1 << 22;
export const MS_UXL_SXL: u64 = 0xa00000000;
export const MS_SD: u64 = 1 << 63;

// menvcfg / senvcfg fields (privileged manual 3.1.18).
export const ENV_CBIE: u64 = 3 << 4;
export const ENV_CBCFE: u64 = 1 << 6;
export const ENV_CBZE: u64 = 1 << 7;
export const ENV_ADUE: u64 = 1 << 61;
export const ENV_PBMTE: u64 = 1 << 62;
export const ENV_STCE: u64 = 1 << 63;

// What a system function tells the interpreter.
export const SYS_NEXT = 0;
/** Go on after the instruction, but state the interpreter caches (mode, address space, interrupts) may have changed. */
export const SYS_REFRESH = 1;
/** Go on at H_PC, likewise. */
export const SYS_PC = 2;
/** `fault` is set. */
export const SYS_FAULT = 3;
/** Leave the interpreter after the instruction (wfi, hart stopped, machine exit). */
export const SYS_LEAVE = 4;
