/**
 * Control and status registers: what exists, who may touch it, which bits stick (privileged manual ch. 2, 3, 12).
 * `csrRead` and `csrWrite` report an access that must be an illegal instruction by returning false / setting csrIllegal.
 */
import {
  H_FRM, H_ID, H_INSTRET, H_MCAUSE, H_MCOUNTEREN, H_MCOUNTINHIBIT, H_MCYCLE_DELTA, H_MEDELEG, H_MENVCFG,
  H_MEPC, H_MIDELEG, H_MIE, H_MINSTRET_DELTA, H_MIP, H_MSCRATCH, H_MSTATUS, H_MTVAL, H_MTVEC, H_PMPADDR, H_PMPCFG, H_PRIV, H_SATP,
  H_SCAUSE, H_SCOUNTEREN, H_SENVCFG, H_SEPC, H_SSCRATCH, H_STIMECMP, H_STVAL, H_STVEC,
} from '../worker/layout';
import { lowerLines } from './hart.as';
import { aiaRead, aiaSelects, aiaWrite, hasAia, isAiaCsr, isMvip, mvipMask } from './csr-aia.as';
import { mtime, setStimecmp, updateTimerLines } from './clock.as';
import { fpFlags, setFpFlags } from './fpu/state.as';
import { flushSpaces } from './mmu.as';
import {
  ENV_ADUE, ENV_CBCFE, ENV_CBIE, ENV_CBZE, ENV_PBMTE, ENV_STCE, MS_FS, MS_MIE, MS_MPIE, MS_MPP, MS_MPP_SHIFT, MS_MPRV, MS_MXR, MS_SD,
  MS_SIE, MS_SPIE, MS_SPP, MS_SUM, MS_TSR, MS_TVM, MS_TW, MS_UXL_SXL, PRIV_M, PRIV_S, PRIV_U,
} from './state.as';
import { pendingBits } from './trap.as';

/** Set by csrRead and csrWrite when the register does not exist for this hart in this mode. */
export let csrIllegal: bool = false;
/**
 * Bits that the instruction means to change (csrrs and csrrc touch only those they name): an interrupt that another thread
 * raises between the read and the write must not be undone by the write.
 */
let touched: u64 = ~0;
export function setTouched(mask: u64): void {
  touched = mask;
}
/** Set by csrWrite when contexts or interrupts must be looked at again. */
export let csrRefresh: bool = false;

const SSTATUS_WRITE: u64 = MS_SIE | MS_SPIE | MS_SPP | MS_FS | MS_SUM | MS_MXR;
const SSTATUS_READ: u64 = SSTATUS_WRITE | MS_SD | 0x300000000;
const MSTATUS_WRITE: u64 = SSTATUS_WRITE | MS_MIE | MS_MPIE | MS_MPRV | MS_TVM | MS_TW | MS_TSR;

/** mip/mie bits: SSI 1, MSI 3, STI 5, MTI 7, SEI 9, MEI 11. */
const S_INTERRUPTS: u64 = 0x222;
const ALL_INTERRUPTS: u64 = 0xaaa;
const SSIP: u64 = 2;
const STIP: u64 = 0x20;

/** Exceptions that may be delegated (ecall from M, 11, may not). */
const MEDELEG_MASK: u64 = 0xb3ff;
/** Cycle, time, instret, hpmcounter3..31. */
const COUNTERS: u64 = 0xffffffff;
const PPN_MASK: u64 = 0xfffffffffff;
const PMPADDR_MASK: u64 = 0x3fffffffffffff;
const MENVCFG_MASK: u64 = 1 | ENV_CBIE | ENV_CBCFE | ENV_CBZE | ENV_ADUE | ENV_PBMTE | ENV_STCE;
const SENVCFG_MASK: u64 = 1 | ENV_CBIE | ENV_CBCFE | ENV_CBZE;
/** RV64, A C D F I M S U. */
const MISA: u64 = 0x8000000000000000 | 0x14112d;

/** mstatus as read: SD summarises FS. */
// @ts-ignore: decorator
@inline
export function mstatusValue(block: usize): u64 {
  const v = load<u64>(block + H_MSTATUS) | MS_UXL_SXL;
  return (v & MS_FS) == MS_FS ? v | MS_SD : v;
}

function illegal(): u64 {
  csrIllegal = true;
  return 0;
}

/** Whether a user-level counter may be read: mcounteren binds S and U, scounteren U (privileged manual 3.1.11, 12.1.5). */
function counterAllowed(block: usize, index: i32): bool {
  const priv = load<i32>(block + H_PRIV);
  const bit: u64 = <u64>1 << index;
  if (priv != PRIV_M && !(load<u64>(block + H_MCOUNTEREN) & bit)) return false;
  return priv != PRIV_U || (load<u64>(block + H_SCOUNTEREN) & bit) != 0;
}

/** stimecmp needs menvcfg.STCE and mcounteren.TM below M-mode (Sstc). */
function stimecmpAllowed(block: usize): bool {
  if (load<i32>(block + H_PRIV) == PRIV_M) return true;
  return (load<u64>(block + H_MENVCFG) & ENV_STCE) != 0 && (load<u64>(block + H_MCOUNTEREN) & 2) != 0;
}

/** satp traps in S-mode under mstatus.TVM. */
function satpAllowed(block: usize): bool {
  return !(load<i32>(block + H_PRIV) == PRIV_S && load<u64>(block + H_MSTATUS) & MS_TVM);
}

function fpOn(block: usize): bool {
  return (load<u64>(block + H_MSTATUS) & MS_FS) != 0;
}

/** mcountinhibit bits. */
const INHIBIT_CYCLE: u64 = 1;
const INHIBIT_INSTRET: u64 = 4;

/**
 * mcycle and minstret: one cycle an instruction. The instruction that reads does not count itself. A counter that is
 * inhibited has its value in the word that otherwise holds its distance from H_INSTRET.
 */
function counter(block: usize, inhibit: u64, delta: usize): u64 {
  const d = load<u64>(block + delta);
  return load<u64>(block + H_MCOUNTINHIBIT) & inhibit ? d : load<u64>(block + H_INSTRET) - 1 + d;
}
function cycles(block: usize): u64 {
  return counter(block, INHIBIT_CYCLE, H_MCYCLE_DELTA);
}
function instret(block: usize): u64 {
  return counter(block, INHIBIT_INSTRET, H_MINSTRET_DELTA);
}

/** The value that the next instruction reads. */
function setCounter(block: usize, inhibit: u64, delta: usize, value: u64): void {
  store<u64>(block + delta, load<u64>(block + H_MCOUNTINHIBIT) & inhibit ? value : value - load<u64>(block + H_INSTRET));
}

function writeCountInhibit(block: usize, value: u64): void {
  const c = cycles(block);
  const i = instret(block);
  const old = load<u64>(block + H_MCOUNTINHIBIT);
  store<u64>(block + H_MCOUNTINHIBIT, value & (INHIBIT_CYCLE | INHIBIT_INSTRET));
  // This instruction itself counts under the old setting.
  setCounter(block, INHIBIT_CYCLE, H_MCYCLE_DELTA, old & INHIBIT_CYCLE ? c : c + 1);
  setCounter(block, INHIBIT_INSTRET, H_MINSTRET_DELTA, old & INHIBIT_INSTRET ? i : i + 1);
}

/** Reads a CSR. H_INSTRET must be current. `csrIllegal` tells of failure. */
export function csrRead(block: usize, csr: i32): u64 {
  csrIllegal = false;
  if (load<i32>(block + H_PRIV) < ((csr >> 8) & 3)) return illegal();
  switch (csr) {
    case 0x001: return fpOn(block) ? fpFlags : illegal();
    case 0x002: return fpOn(block) ? load<u32>(block + H_FRM) : illegal();
    case 0x003: return fpOn(block) ? (load<u32>(block + H_FRM) << 5) | fpFlags : illegal();
    case 0xc00: return counterAllowed(block, 0) ? cycles(block) : illegal();
    case 0xc01: return counterAllowed(block, 1) ? mtime() : illegal();
    case 0xc02: return counterAllowed(block, 2) ? instret(block) : illegal();

    case 0x100: return mstatusValue(block) & SSTATUS_READ;
    case 0x104: return load<u64>(block + H_MIE) & load<u64>(block + H_MIDELEG);
    case 0x105: return load<u64>(block + H_STVEC);
    case 0x106: return load<u64>(block + H_SCOUNTEREN);
    case 0x10a: return load<u64>(block + H_SENVCFG);
    case 0x140: return load<u64>(block + H_SSCRATCH);
    case 0x141: return load<u64>(block + H_SEPC);
    case 0x142: return load<u64>(block + H_SCAUSE);
    case 0x143: return load<u64>(block + H_STVAL);
    case 0x144: return pendingBits(block) & load<u64>(block + H_MIDELEG);
    case 0x14d: return stimecmpAllowed(block) ? load<u64>(block + H_STIMECMP) : illegal();
    case 0x180: return satpAllowed(block) ? load<u64>(block + H_SATP) : illegal();

    case 0x300: return mstatusValue(block);
    case 0x301: return MISA;
    case 0x302: return load<u64>(block + H_MEDELEG);
    case 0x303: return load<u64>(block + H_MIDELEG);
    case 0x304: return load<u64>(block + H_MIE);
    case 0x305: return load<u64>(block + H_MTVEC);
    case 0x306: return load<u64>(block + H_MCOUNTEREN);
    case 0x30a: return load<u64>(block + H_MENVCFG);
    case 0x320: return load<u64>(block + H_MCOUNTINHIBIT);
    case 0x340: return load<u64>(block + H_MSCRATCH);
    case 0x341: return load<u64>(block + H_MEPC);
    case 0x342: return load<u64>(block + H_MCAUSE);
    case 0x343: return load<u64>(block + H_MTVAL);
    case 0x344: return pendingBits(block);
    case 0xb00: return cycles(block);
    case 0xb02: return instret(block);
    // mvendorid, marchid, mimpid, mconfigptr: not given.
    case 0xf11: case 0xf12: case 0xf13: case 0xf15: return 0;
    // tselect, tdata1..3, tinfo: there are no triggers (Sdtrig: tdata1.type 0).
    case 0x7a0: case 0x7a1: case 0x7a2: case 0x7a3: case 0x7a4: return 0;
    case 0xf14: return load<u32>(block + H_ID);
    default: break;
  }
  if (csr >= 0xc03 && csr <= 0xc1f) return counterAllowed(block, csr - 0xc00) ? 0 : illegal();
  // mhpmcounter3.. and mhpmevent3..: present, always zero.
  if ((csr >= 0xb03 && csr <= 0xb1f) || (csr >= 0x323 && csr <= 0x33f)) return 0;
  if (csr == 0x3a0 || csr == 0x3a2) return load<u64>(block + H_PMPCFG + (<usize>(csr & 2) << 2));
  if (csr >= 0x3b0 && csr <= 0x3bf) return load<u64>(block + H_PMPADDR + (<usize>(csr & 15) << 3));
  if (isAiaCsr(csr)) return hasAia() && aiaSelects(block, csr) ? aiaRead(block, csr) : illegal();
  return illegal();
}

/** FS becomes dirty with any write to FP state. */
// @ts-ignore: decorator
@inline
export function dirtyFp(block: usize): void {
  store<u64>(block + H_MSTATUS, load<u64>(block + H_MSTATUS) | MS_FS);
}

function writeMstatus(block: usize, value: u64, mask: u64): void {
  const old = load<u64>(block + H_MSTATUS);
  let next = (old & ~mask) | (value & mask);
  if (mask & MS_MPP) {
    // MPP is WARL: 2 is no mode.
    if (((next >> MS_MPP_SHIFT) & 3) == 2) next = (next & ~MS_MPP) | (old & MS_MPP);
  }
  store<u64>(block + H_MSTATUS, next);
  const changed = old ^ next;
  if (changed & (MS_MPRV | MS_MPP | MS_SUM | MS_MXR)) csrRefresh = true;
  // An interrupt that becomes enabled must be taken at once.
  if (changed & next & (MS_SIE | MS_MIE)) csrRefresh = true;
}

/** Only canonical modes stick: Bare, Sv39, Sv48, Sv57. Other modes leave satp unchanged. */
function writeSatp(block: usize, value: u64): void {
  const mode = value >> 60;
  if (mode != 0 && (mode < 8 || mode > 10)) return;
  store<u64>(block + H_SATP, mode == 0 ? 0 : value & (0xfffff00000000000 | PPN_MASK));
  csrRefresh = true;
}

function writePmpcfg(block: usize, first: i32, value: u64): void {
  for (let i = 0; i < 8; i++) {
    const at = block + H_PMPCFG + first + i;
    if (load<u8>(at) & 0x80) continue;
    let cfg = <u32>(value >> (i << 3)) & 0x9f;
    // W without R is reserved: it does not stick.
    if ((cfg & 3) == 2) cfg &= ~3;
    store<u8>(at, <u8>cfg);
  }
  flushSpaces(block, -1);
  csrRefresh = true;
}

function writePmpaddr(block: usize, i: i32, value: u64): void {
  if (load<u8>(block + H_PMPCFG + i) & 0x80) return;
  // A locked TOR entry locks the address below it too.
  if (i < 15 && (load<u8>(block + H_PMPCFG + i + 1) & 0x98) == 0x88) return;
  store<u64>(block + H_PMPADDR + (<usize>i << 3), value & PMPADDR_MASK);
  flushSpaces(block, -1);
  csrRefresh = true;
}

/** Bits of mip that software may write: with Sstc, STIP belongs to the comparator. */
function writeMip(block: usize, value: u64, mask: u64): void {
  if (load<u64>(block + H_MENVCFG) & ENV_STCE) mask &= ~STIP;
  mask &= touched;
  // SSIP raised by other harts (built-in SBI) is a line of its own until software writes the bit.
  if (mask & SSIP) lowerLines(block, <i32>SSIP);
  store<u64>(block + H_MIP, (load<u64>(block + H_MIP) & ~mask) | (value & mask));
  csrRefresh = true;
}

// @ts-ignore: decorator
@inline
function trapVector(value: u64): u64 {
  return value & 2 ? value & ~(<u64>3) : value;
}

/** Writes a CSR (`csrRead` of it has succeeded). `csrIllegal` and `csrRefresh` tell what came of it. */
export function csrWrite(block: usize, csr: i32, value: u64): void {
  csrIllegal = false;
  csrRefresh = false;
  if ((csr >> 10) == 3) {
    csrIllegal = true;
    return;
  }
  switch (csr) {
    case 0x001: setFpFlags(<i32>value & 31); dirtyFp(block); return;
    case 0x002: store<u32>(block + H_FRM, <u32>value & 7); dirtyFp(block); return;
    case 0x003: setFpFlags(<i32>value & 31); store<u32>(block + H_FRM, <u32>(value >> 5) & 7); dirtyFp(block); return;

    case 0x100: writeMstatus(block, value, SSTATUS_WRITE); return;
    case 0x104: {
      const mask = load<u64>(block + H_MIDELEG);
      store<u64>(block + H_MIE, (load<u64>(block + H_MIE) & ~mask) | (value & mask));
      csrRefresh = true;
      return;
    }
    case 0x105: store<u64>(block + H_STVEC, trapVector(value)); return;
    case 0x106: store<u64>(block + H_SCOUNTEREN, value & COUNTERS); return;
    case 0x10a: store<u64>(block + H_SENVCFG, value & SENVCFG_MASK); return;
    case 0x140: store<u64>(block + H_SSCRATCH, value); return;
    case 0x141: store<u64>(block + H_SEPC, value & ~(<u64>1)); return;
    case 0x142: store<u64>(block + H_SCAUSE, value); return;
    case 0x143: store<u64>(block + H_STVAL, value); return;
    case 0x144: writeMip(block, value, SSIP & load<u64>(block + H_MIDELEG)); return;
    case 0x14d: setStimecmp(block, value); csrRefresh = true; return;
    case 0x180: writeSatp(block, value); return;

    case 0x300: writeMstatus(block, value, MSTATUS_WRITE | MS_MPP); return;
    case 0x301: return;
    case 0x302: store<u64>(block + H_MEDELEG, value & MEDELEG_MASK); return;
    case 0x303: store<u64>(block + H_MIDELEG, value & S_INTERRUPTS); csrRefresh = true; return;
    case 0x304: store<u64>(block + H_MIE, value & ALL_INTERRUPTS); csrRefresh = true; return;
    case 0x305: store<u64>(block + H_MTVEC, trapVector(value)); return;
    case 0x306: store<u64>(block + H_MCOUNTEREN, value & COUNTERS); return;
    case 0x30a:
      store<u64>(block + H_MENVCFG, value & MENVCFG_MASK);
      updateTimerLines(block);
      flushSpaces(block, -1);
      csrRefresh = true;
      return;
    case 0x320: writeCountInhibit(block, value); return;
    case 0x340: store<u64>(block + H_MSCRATCH, value); return;
    case 0x341: store<u64>(block + H_MEPC, value & ~(<u64>1)); return;
    case 0x342: store<u64>(block + H_MCAUSE, value); return;
    case 0x343: store<u64>(block + H_MTVAL, value); return;
    case 0x344: writeMip(block, value, S_INTERRUPTS); return;
    case 0xb00: setCounter(block, INHIBIT_CYCLE, H_MCYCLE_DELTA, value); return;
    case 0xb02: setCounter(block, INHIBIT_INSTRET, H_MINSTRET_DELTA, value); return;
    default: break;
  }
  if (csr == 0x3a0 || csr == 0x3a2) writePmpcfg(block, (csr & 2) << 2, value);
  else if (csr >= 0x3b0 && csr <= 0x3bf) writePmpaddr(block, csr & 15, value);
  else if (isMvip(csr)) writeMip(block, value, mvipMask(block));
  else if (isAiaCsr(csr)) csrRefresh = aiaWrite(block, csr, value, touched);
}

/** CSR state of a hart at power-on, in M-mode (privileged manual 3.4). */
export function resetCsrs(block: usize): void {
  memory.fill(block + H_MSTATUS, 0, H_STIMECMP - H_MSTATUS);
  memory.fill(block + H_STIMECMP + 8, 0, 0x600 - H_STIMECMP - 8);
  store<i32>(block + H_FRM, 0);
  setFpFlags(0);
  store<i32>(block + H_PRIV, PRIV_M);
  // As on QEMU: hardware updates A and D, and page-based memory types are on, until M-mode says otherwise.
  store<u64>(block + H_MENVCFG, ENV_ADUE | ENV_PBMTE);
}
