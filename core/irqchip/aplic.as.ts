/**
 * The APLIC of QEMU's virt board (RISC-V AIA 1.0, chapter 4): 96 sources, a root domain of M-mode and a child of S-mode,
 * both little-endian. Its registers and its wires, for all threads.
 *
 * A source is configured in one domain only: the root's sourcecfg says in which. A write to sourcecfg makes a
 * level-sensitive source pending when its rectified input is high (4.5.2 leaves that open), an edge-sensitive one never.
 */
import { CONTROL_BASE, CTL_HARTS, MAX_HARTS } from '../worker/layout';
import { APLIC_SOURCES } from '../machine/virt-map';
import { lock, unlock } from '../memory/lock.as';
import { claimInterrupt, deliver, idcAt, lowerAll, msiMode, sendMsi, topInterrupt } from './aplic-deliver.as';
import {
  APLIC_LOCK, bitOf, D_ENABLE, D_ENABLED, D_PENDING, D_SOURCECFG, D_TARGET, DOMAIN_M, DOMAIN_S, domainAt, IDC_DELIVERY,
  IDC_FORCE, IDC_THRESHOLD, implemented, IPRIO_MASK, isLevel, isPending, LEVEL, modeOf, MSI_CONFIG, RAISED, rectified,
  setPendingBit, SM_DETACHED, SM_EDGE1, SM_INACTIVE, SM_MASK, SOURCE_WORDS, SOURCECFG_D, sourcecfg, STATE_SIZE, TARGET_EIID_MASK,
  TARGET_HART_SHIFT, wordOf,
} from './aplic-state.as';

// Register map of a domain (4.5), offsets from its base.
const DOMAINCFG: u32 = 0;
const SOURCECFG_END: u32 = 0x1000;
const MMSIADDRCFG: u32 = 0x1bc0;
const MMSIADDRCFGH: u32 = 0x1bc4;
const SMSIADDRCFG: u32 = 0x1bc8;
const SMSIADDRCFGH: u32 = 0x1bcc;
const SETIP: u32 = 0x1c00;
const SETIPNUM: u32 = 0x1cdc;
const IN_CLRIP: u32 = 0x1d00;
const CLRIPNUM: u32 = 0x1ddc;
const SETIE: u32 = 0x1e00;
const SETIENUM: u32 = 0x1edc;
const CLRIE: u32 = 0x1f00;
const CLRIENUM: u32 = 0x1fdc;
export const SETIPNUM_LE: u32 = 0x2000;
const GENMSI: u32 = 0x3000;
const TARGET_END: u32 = 0x4000;
const IDC: u32 = 0x4000;
const IDC_STRIDE: u32 = 32;
const IDELIVERY: u32 = 0;
const IFORCE: u32 = 4;
const ITHRESHOLD: u32 = 8;
const TOPI: u32 = 0x18;
const CLAIMI: u32 = 0x1c;

const DOMAINCFG_FIXED: u32 = 0x80000000;
const DOMAINCFG_IE: u32 = 1 << 8;
const DOMAINCFG_DM: u32 = 1 << 2;
/** L, HHXS, LHXS, HHXW, LHXW, High Base PPN. */
const MMSIADDRCFGH_MASK: u32 = 0x9f77ffff;
const MMSIADDRCFGH_L: u32 = 0x80000000;
const SMSIADDRCFGH_MASK: u32 = 0x700fff;
const TARGET_HART_MASK: u32 = ~(((<u32>1) << TARGET_HART_SHIFT) - 1);

/** Index of the word that a register of an array stands for, or SOURCE_WORDS and more when it is none of them. */
// @ts-ignore: decorator
@inline
function wordIndex(offset: u32, array: u32): u32 {
  return (offset - array) >> 2;
}

// @ts-ignore: decorator
@inline
function hartCount(): u32 {
  return load<u32>(CONTROL_BASE + CTL_HARTS);
}

// ---- pending bits (4.7) -----------------------------------------------------------------------------------------

/** setip and setipnum. */
function trySet(at: usize, source: u32): void {
  const mode = modeOf(at, source);
  if (mode == SM_INACTIVE) return;
  if (isLevel(mode) && (!msiMode() || !rectified(at, source))) return;
  setPendingBit(at, source, true);
}

/** in_clrip and clripnum. */
function tryClear(at: usize, source: u32): void {
  if (isLevel(modeOf(at, source)) && !msiMode()) return;
  setPendingBit(at, source, false);
}

/** The rectified input of a source has changed. */
function follow(at: usize, source: u32): void {
  if (rectified(at, source)) setPendingBit(at, source, true);
  else if (isLevel(modeOf(at, source))) setPendingBit(at, source, false);
}

/** Lock held. */
function setLevel(source: u32, high: bool): void {
  const word = LEVEL + wordOf(source);
  const levels = load<u32>(word);
  if (((levels & bitOf(source)) != 0) == high) return;
  store<u32>(word, levels ^ bitOf(source));
  if (high) store<u32>(RAISED + <usize>source * 4, load<u32>(RAISED + <usize>source * 4) + 1);
  const domain = (sourcecfg(domainAt(DOMAIN_M), source) & SOURCECFG_D) != 0 ? DOMAIN_S : DOMAIN_M;
  const at = domainAt(domain);
  if (modeOf(at, source) < SM_EDGE1) return;
  const before = isPending(at, source);
  follow(at, source);
  if (isPending(at, source) != before) deliver(domain);
}

/** Sets the level of an interrupt source (1..96). Any thread. */
export function aplicSetLevel(irq: i32, high: bool): void {
  if (<u32>irq - 1 >= <u32>APLIC_SOURCES - 1) return;
  lock(APLIC_LOCK);
  setLevel(irq, high);
  unlock(APLIC_LOCK);
}

/** As plicFollow: makes a source's level that of an i32 atomic word, read under the lock. */
export function aplicFollow(irq: i32, word: usize): void {
  if (<u32>irq - 1 >= <u32>APLIC_SOURCES - 1) return;
  lock(APLIC_LOCK);
  setLevel(irq, atomic.load<i32>(word) != 0);
  unlock(APLIC_LOCK);
}

// ---- configuration ----------------------------------------------------------------------------------------------

function setSourcecfg(at: usize, source: u32, value: u32): void {
  const old = modeOf(at, source);
  store<u32>(at + D_SOURCECFG + <usize>source * 4, value);
  const mode = modeOf(at, source);
  const target = at + D_TARGET + <usize>source * 4;
  if (mode == SM_INACTIVE) {
    setPendingBit(at, source, false);
    const enabled = at + D_ENABLED + wordOf(source);
    store<u32>(enabled, load<u32>(enabled) & ~bitOf(source));
    store<u32>(target, 0);
    return;
  }
  // A priority number is never 0.
  if (old == SM_INACTIVE) store<u32>(target, msiMode() ? 0 : 1);
  if (isLevel(mode)) follow(at, source);
}

function writeSourcecfg(domain: u32, source: u32, value: u32): void {
  if (!implemented(domain, source)) return;
  if ((value & SOURCECFG_D) != 0) {
    // The root has one child, of index 0; the child has none.
    value = domain == DOMAIN_M ? SOURCECFG_D : 0;
  } else {
    value &= SM_MASK;
    if (value > SM_DETACHED && value < SM_EDGE1) value = SM_INACTIVE;
  }
  const wasDelegated = (sourcecfg(domainAt(DOMAIN_M), source) & SOURCECFG_D) != 0;
  setSourcecfg(domainAt(domain), source, value);
  if (domain == DOMAIN_M && wasDelegated && (value & SOURCECFG_D) == 0) {
    setSourcecfg(domainAt(DOMAIN_S), source, 0);
    deliver(DOMAIN_S);
  }
}

function writeTarget(at: usize, source: u32, value: u32): void {
  if (source >= <u32>APLIC_SOURCES || modeOf(at, source) == SM_INACTIVE) return;
  if (msiMode()) {
    value &= TARGET_HART_MASK | TARGET_EIID_MASK;
  } else {
    value &= TARGET_HART_MASK | IPRIO_MASK;
    if ((value & IPRIO_MASK) == 0) value |= 1;
  }
  store<u32>(at + D_TARGET + <usize>source * 4, value);
}

function writeMsiConfig(offset: u32, value: u32): void {
  if ((load<u32>(MSI_CONFIG + 4) & MMSIADDRCFGH_L) != 0) return;
  if (offset == MMSIADDRCFGH) value &= MMSIADDRCFGH_MASK;
  else if (offset == SMSIADDRCFGH) value &= SMSIADDRCFGH_MASK;
  store<u32>(MSI_CONFIG + (offset - MMSIADDRCFG), value);
}

// ---- registers --------------------------------------------------------------------------------------------------

function rectifiedWord(at: usize, word: u32): u32 {
  let bits: u32 = 0;
  for (let i: u32 = 0; i < 32; i++) if (rectified(at, word * 32 + i)) bits |= <u32>1 << i;
  return bits;
}

/** Lock held. */
function readIdc(domain: u32, offset: u32): u32 {
  const hart = (offset - IDC) / IDC_STRIDE;
  if (msiMode() || hart >= hartCount()) return 0;
  const at = domainAt(domain);
  switch ((offset - IDC) % IDC_STRIDE) {
    case IDELIVERY: return load<u32>(idcAt(at, hart) + IDC_DELIVERY);
    case IFORCE: return load<u32>(idcAt(at, hart) + IDC_FORCE);
    case ITHRESHOLD: return load<u32>(idcAt(at, hart) + IDC_THRESHOLD);
    case TOPI: return topInterrupt(at, hart);
    case CLAIMI: return claimInterrupt(domain, hart);
    default: return 0;
  }
}

/** Lock held. */
function readRegister(domain: u32, offset: u32): u32 {
  if (offset >= IDC) return readIdc(domain, offset);
  const at = domainAt(domain);
  if (offset == DOMAINCFG) {
    return DOMAINCFG_FIXED | (load<u32>(at + D_ENABLE) != 0 ? DOMAINCFG_IE : 0) | (msiMode() ? DOMAINCFG_DM : 0);
  }
  if (offset < SOURCECFG_END) {
    const source = offset >> 2;
    return source < <u32>APLIC_SOURCES ? sourcecfg(at, source) : 0;
  }
  if (offset >= MMSIADDRCFG && offset <= SMSIADDRCFGH) {
    return domain == DOMAIN_M && msiMode() ? load<u32>(MSI_CONFIG + (offset - MMSIADDRCFG)) : 0;
  }
  if (wordIndex(offset, SETIP) < SOURCE_WORDS) return load<u32>(at + D_PENDING + (offset - SETIP));
  if (wordIndex(offset, IN_CLRIP) < SOURCE_WORDS) return rectifiedWord(at, wordIndex(offset, IN_CLRIP));
  if (wordIndex(offset, SETIE) < SOURCE_WORDS) return load<u32>(at + D_ENABLED + (offset - SETIE));
  if (offset > GENMSI) {
    const source = (offset - GENMSI) >> 2;
    return source < <u32>APLIC_SOURCES ? load<u32>(at + D_TARGET + <usize>source * 4) : 0;
  }
  // genmsi is never busy, and nobody needs to know what was written to it.
  return 0;
}

/** A 32-bit read at `offset` (a multiple of 4) from a domain's base; 0 where there is no register. claimi claims. */
export function aplicRead(domain: u32, offset: u32): u32 {
  lock(APLIC_LOCK);
  const value = readRegister(domain, offset);
  unlock(APLIC_LOCK);
  return value;
}

/** Enable bits of the active sources among `bits` of a word. */
function setEnabled(at: usize, word: u32, bits: u32): void {
  let active: u32 = 0;
  for (let rest = bits; rest != 0; rest &= rest - 1) {
    const source = word * 32 + ctz<u32>(rest);
    if (modeOf(at, source) != SM_INACTIVE) active |= bitOf(source);
  }
  store<u32>(at + D_ENABLED + word * 4, load<u32>(at + D_ENABLED + word * 4) | active);
}

function clearEnabled(at: usize, word: u32, bits: u32): void {
  store<u32>(at + D_ENABLED + word * 4, load<u32>(at + D_ENABLED + word * 4) & ~bits);
}

/** Lock held. */
function writeIdc(domain: u32, offset: u32, value: u32): void {
  const hart = (offset - IDC) / IDC_STRIDE;
  if (msiMode() || hart >= hartCount()) return;
  const idc = idcAt(domainAt(domain), hart);
  switch ((offset - IDC) % IDC_STRIDE) {
    case IDELIVERY: store<u32>(idc + IDC_DELIVERY, value & 1); break;
    case IFORCE: store<u32>(idc + IDC_FORCE, value & 1); break;
    case ITHRESHOLD: store<u32>(idc + IDC_THRESHOLD, value & IPRIO_MASK); break;
    default: break;
  }
}

/** Lock held. */
function writeRegister(domain: u32, offset: u32, value: u32): void {
  if (offset >= IDC) {
    writeIdc(domain, offset, value);
    return;
  }
  const at = domainAt(domain);
  if (offset == DOMAINCFG) {
    store<u32>(at + D_ENABLE, value & DOMAINCFG_IE);
  } else if (offset < SOURCECFG_END) {
    writeSourcecfg(domain, offset >> 2, value);
  } else if (offset >= MMSIADDRCFG && offset <= SMSIADDRCFGH) {
    if (domain == DOMAIN_M && msiMode()) writeMsiConfig(offset, value);
  } else if (wordIndex(offset, SETIP) < SOURCE_WORDS) {
    for (; value != 0; value &= value - 1) trySet(at, wordIndex(offset, SETIP) * 32 + ctz<u32>(value));
  } else if (wordIndex(offset, IN_CLRIP) < SOURCE_WORDS) {
    for (; value != 0; value &= value - 1) tryClear(at, wordIndex(offset, IN_CLRIP) * 32 + ctz<u32>(value));
  } else if (wordIndex(offset, SETIE) < SOURCE_WORDS) {
    setEnabled(at, wordIndex(offset, SETIE), value);
  } else if (wordIndex(offset, CLRIE) < SOURCE_WORDS) {
    clearEnabled(at, wordIndex(offset, CLRIE), value);
  } else if (offset == GENMSI) {
    if (msiMode()) sendMsi(domain, value >> TARGET_HART_SHIFT, value & TARGET_EIID_MASK);
  } else if (offset > GENMSI && offset < TARGET_END) {
    writeTarget(at, (offset - GENMSI) >> 2, value);
  } else if (value < <u32>APLIC_SOURCES) {
    if (offset == SETIPNUM || offset == SETIPNUM_LE) trySet(at, value);
    else if (offset == CLRIPNUM) tryClear(at, value);
    else if (offset == SETIENUM) setEnabled(at, value >> 5, bitOf(value));
    else if (offset == CLRIENUM) clearEnabled(at, value >> 5, bitOf(value));
  }
}

/** A 32-bit write at `offset` (a multiple of 4) from a domain's base; ignored where there is no register. */
export function aplicWrite(domain: u32, offset: u32, value: u32): void {
  lock(APLIC_LOCK);
  writeRegister(domain, offset, value);
  deliver(domain);
  unlock(APLIC_LOCK);
}

/** Power-on state, all wires low, lock free. Only while no hart and no I/O worker runs. */
export function aplicReset(): void {
  memory.fill(APLIC_LOCK, 0, STATE_SIZE);
  for (let hart = 0; hart < MAX_HARTS; hart++) lowerAll(hart);
}

/** Delegates all sources to S-mode and tells where the IMSICs' pages are, as firmware does before it starts a kernel. */
export function aplicHandOver(machinePage: u32, supervisorPage: u32): void {
  for (let source: u32 = 1; source < <u32>APLIC_SOURCES; source++) writeSourcecfg(DOMAIN_M, source, SOURCECFG_D);
  if (!msiMode()) return;
  const harts = hartCount();
  const width = harts > 1 ? 32 - clz<u32>(harts - 1) : 0;
  writeMsiConfig(MMSIADDRCFG, machinePage);
  writeMsiConfig(SMSIADDRCFG, supervisorPage);
  writeMsiConfig(SMSIADDRCFGH, 0);
  writeMsiConfig(MMSIADDRCFGH, width << 12);
}
