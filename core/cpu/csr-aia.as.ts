/**
 * The CSRs of Smaia and Ssaia (RISC-V AIA 1.0, chapter 2), on harts that have an IMSIC. mvien is read-only zero, so there
 * are no virtual interrupts, and mvip's bits are aliases of mip's (5.3).
 */
import {
  CONTROL_BASE, CTL_IRQCHIP, H_ID, H_IRQ, H_MENVCFG, H_MIDELEG, H_MIE, H_MIP, H_MIPRIO, H_MISELECT, H_SIPRIO, H_SISELECT,
  IRQCHIP_IMSIC,
} from '../worker/layout';
import {
  FILE_M, FILE_S, imsicClaim, imsicHas, imsicReadRegister, imsicTop, imsicWriteRegister,
} from '../irqchip/imsic.as';
import { topMajor } from './priority.as';
import { ENV_STCE } from './state.as';

const CSR_SISELECT = 0x150;
const CSR_SIREG = 0x151;
const CSR_STOPEI = 0x15c;
const CSR_MVIEN = 0x308;
const CSR_MVIP = 0x309;
const CSR_MISELECT = 0x350;
const CSR_MIREG = 0x351;
const CSR_MTOPEI = 0x35c;
const CSR_STOPI = 0xdb0;
const CSR_MTOPI = 0xfb0;

/** Bits of miselect and siselect that stick. */
const SELECT_MASK: u64 = 0x1ff;
/** The iprio array behind mireg and sireg: on RV64 only even numbers, eight interrupts each. */
const IPRIO0: u32 = 0x30;
const IPRIO15: u32 = 0x3f;
/** iprio0 and iprio2 hold the interrupts that the harts have; the others are read-only zero. */
const IPRIO_IMPLEMENTED: u32 = 4;
/** Bytes of the array that can be set, by interrupt: M-mode's are all but MEI, S-mode's those that may be delegated but SEI. */
const MIPRIO_INTERRUPTS: u64 = (1 << 1) | (1 << 3) | (1 << 5) | (1 << 7) | (1 << 9);
const SIPRIO_INTERRUPTS: u64 = (1 << 1) | (1 << 5);

const SSIP: u64 = 1 << 1;
const STIP: u64 = 1 << 5;
const SEIP: u64 = 1 << 9;

/** What mtopei or stopei showed last: a write in the same instruction claims that. */
let shown: u32 = 0;

/** Whether the hart has the AIA's CSRs. */
// @ts-ignore: decorator
@inline
export function hasAia(): bool {
  return load<i32>(CONTROL_BASE + CTL_IRQCHIP) == IRQCHIP_IMSIC;
}

/** Whether a number is one of the AIA's CSRs. */
export function isAiaCsr(csr: i32): bool {
  switch (csr) {
    case CSR_SISELECT: case CSR_SIREG: case CSR_STOPEI: case CSR_STOPI: case CSR_MVIEN: case CSR_MVIP: case CSR_MISELECT:
    case CSR_MIREG: case CSR_MTOPEI: case CSR_MTOPI: return true;
    default: return false;
  }
}

// @ts-ignore: decorator
@inline
function hartOf(block: usize): u32 {
  return load<u32>(block + H_ID);
}

// @ts-ignore: decorator
@inline
function levelOf(csr: i32): u32 {
  return (csr & 0x200) != 0 ? FILE_M : FILE_S;
}

function selected(block: usize, level: u32): u32 {
  return <u32>load<u64>(block + (level == FILE_M ? H_MISELECT : H_SISELECT));
}

/** Whether mireg or sireg leads somewhere. Reserved numbers are illegal, but for those among the interrupt file's. */
export function aiaSelects(block: usize, csr: i32): bool {
  if (csr != CSR_MIREG && csr != CSR_SIREG) return true;
  const number = selected(block, levelOf(csr));
  if (number >= IPRIO0 && number <= IPRIO15) return (number & 1) == 0;
  return imsicHas(number);
}

/** The bytes of an iprio register that can be set, as a mask. */
function iprioMask(block: usize, level: u32, register: u32): u64 {
  const interrupts = level == FILE_M ? MIPRIO_INTERRUPTS : SIPRIO_INTERRUPTS & load<u64>(block + H_MIDELEG);
  let mask: u64 = 0;
  for (let i: u64 = 0; i < 8; i++) {
    if ((interrupts >> (<u64>(register - IPRIO0) * 4 + i)) & 1) mask |= <u64>0xff << (i * 8);
  }
  return mask;
}

// @ts-ignore: decorator
@inline
function iprioAt(block: usize, level: u32, register: u32): usize {
  return block + (level == FILE_M ? H_MIPRIO : H_SIPRIO) + <usize>(register - IPRIO0) * 4;
}

function readSelected(block: usize, level: u32): u64 {
  const number = selected(block, level);
  if (number > IPRIO15) return imsicReadRegister(hartOf(block), level, number);
  if (number >= IPRIO0 + IPRIO_IMPLEMENTED) return 0;
  return load<u64>(iprioAt(block, level, number)) & iprioMask(block, level, number);
}

function writeSelected(block: usize, level: u32, value: u64, touched: u64): void {
  const number = selected(block, level);
  if (number > IPRIO15) {
    imsicWriteRegister(hartOf(block), level, number, value, touched);
  } else if (number < IPRIO0 + IPRIO_IMPLEMENTED) {
    const at = iprioAt(block, level, number);
    const mask = iprioMask(block, level, number);
    store<u64>(at, (load<u64>(at) & ~mask) | (value & mask));
  }
}

/** Bits of mip that software may write, each of which has its alias in mvip. */
export function mvipMask(block: usize): u64 {
  return (load<u64>(block + H_MENVCFG) & ENV_STCE) != 0 ? SSIP | SEIP : SSIP | STIP | SEIP;
}

/** Reads a CSR of the AIA (hasAia, isAiaCsr and aiaSelects hold). */
export function aiaRead(block: usize, csr: i32): u64 {
  const level = levelOf(csr);
  switch (csr) {
    case CSR_MISELECT: case CSR_SISELECT: return selected(block, level);
    case CSR_MIREG: case CSR_SIREG: return readSelected(block, level);
    case CSR_MTOPEI: case CSR_STOPEI:
      shown = imsicTop(hartOf(block), level);
      return (<u64>shown << 16) | shown;
    case CSR_MTOPI: case CSR_STOPI: {
      const delegated = load<u64>(block + H_MIDELEG);
      const pending = (<u64>atomic.load<i32>(block + H_IRQ) | load<u64>(block + H_MIP)) & load<u64>(block + H_MIE);
      return topMajor(block, level == FILE_M ? pending & ~delegated : pending & delegated, level);
    }
    case CSR_MVIP:
      // SSIP that another hart has raised is a line until software writes it; SEIP is the software-writable bit alone.
      return (load<u64>(block + H_MIP) | (<u64>atomic.load<i32>(block + H_IRQ) & SSIP)) & mvipMask(block);
    default: return 0;
  }
}

/**
 * Writes a CSR of the AIA that aiaRead has just read in the same instruction; `touched` are the bits that the instruction
 * means to change. mvip is csr.as's to write.
 * @returns whether an interrupt may have become pending, or another one the first
 */
export function aiaWrite(block: usize, csr: i32, value: u64, touched: u64): bool {
  const level = levelOf(csr);
  switch (csr) {
    case CSR_MISELECT: store<u64>(block + H_MISELECT, value & SELECT_MASK); return false;
    case CSR_SISELECT: store<u64>(block + H_SISELECT, value & SELECT_MASK); return false;
    case CSR_MIREG: case CSR_SIREG: writeSelected(block, level, value, touched); return true;
    case CSR_MTOPEI: case CSR_STOPEI: imsicClaim(hartOf(block), level, shown); return false;
    default: return false;
  }
}

/** mvip, whose bits are mip's. */
export function isMvip(csr: i32): bool {
  return csr == CSR_MVIP;
}
