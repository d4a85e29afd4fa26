/**
 * How the APLIC's domains reach the harts: by wire (4.8) or by messages to their IMSICs (4.9). Which of the two is the
 * board's choice, as in QEMU: domaincfg.DM is read-only. The APLIC's lock is held throughout.
 */
import { CONTROL_BASE, CTL_HARTS, CTL_IRQCHIP, H_IRQ, IRQCHIP_IMSIC } from '../worker/layout';
import { IMSIC_FILE_SIZE } from '../machine/virt-map';
import { hartBlock, lowerLines, raiseLines } from '../cpu/hart.as';
import {
  bitOf, D_ENABLE, D_ENABLED, D_IDC, D_PENDING, D_TARGET, DOMAIN_M, domainAt, IDC_DELIVERY, IDC_FORCE, IDC_THRESHOLD,
  IPRIO_MASK, isLevel, modeOf, MSI_CONFIG, setPendingBit, SOURCE_WORDS, TARGET_EIID_MASK, TARGET_HART_SHIFT, wordOf,
} from './aplic-state.as';
import { imsicAccepts, imsicWrite } from './imsic.as';

/** mip bits of the outputs. */
const LINE_SEI = 1 << 9;
const LINE_MEI = 1 << 11;

// mmsiaddrcfgh (4.5.3), and LHXS in smsiaddrcfgh.
const HHXS_SHIFT: u32 = 24;
const LHXS_SHIFT: u32 = 20;
const HHXW_SHIFT: u32 = 16;
const LHXW_SHIFT: u32 = 12;
const HIGH_PPN_MASK: u32 = 0xfff;

// @ts-ignore: decorator
@inline
export function msiMode(): bool {
  return load<i32>(CONTROL_BASE + CTL_IRQCHIP) == IRQCHIP_IMSIC;
}

export function idcAt(at: usize, hart: u32): usize {
  return at + D_IDC + (<usize>hart << 4);
}

/** What a hart's topi shows (4.8.1.4). */
export function topInterrupt(at: usize, hart: u32): u32 {
  let best: u32 = 0;
  const threshold = load<u32>(idcAt(at, hart) + IDC_THRESHOLD);
  let bestPriority = threshold == 0 ? IPRIO_MASK + 1 : threshold;
  for (let word: u32 = 0; word < SOURCE_WORDS; word++) {
    let ready = load<u32>(at + D_PENDING + word * 4) & load<u32>(at + D_ENABLED + word * 4);
    for (; ready != 0; ready &= ready - 1) {
      const source = word * 32 + ctz<u32>(ready);
      const target = load<u32>(at + D_TARGET + <usize>source * 4);
      if (target >> TARGET_HART_SHIFT != hart || (target & IPRIO_MASK) >= bestPriority) continue;
      best = source;
      bestPriority = target & IPRIO_MASK;
    }
  }
  return best == 0 ? 0 : (best << 16) | bestPriority;
}

function driveHarts(domain: u32, at: usize): void {
  const line = domain == DOMAIN_M ? LINE_MEI : LINE_SEI;
  const harts = load<u32>(CONTROL_BASE + CTL_HARTS);
  for (let hart: u32 = 0; hart < harts; hart++) {
    const idc = idcAt(at, hart);
    const high =
      load<u32>(at + D_ENABLE) != 0 && load<u32>(idc + IDC_DELIVERY) != 0 &&
      (load<u32>(idc + IDC_FORCE) != 0 || topInterrupt(at, hart) != 0);
    const block = hartBlock(hart);
    if (high == ((atomic.load<i32>(block + H_IRQ) & line) != 0)) continue;
    if (high) raiseLines(block, line);
    else lowerLines(block, line);
  }
}

/** Where messages to a hart go (4.9.1): harts have the same index in both domains, and no guest interrupt files. */
function msiAddress(domain: u32, hart: u32): u64 {
  const shape = load<u32>(MSI_CONFIG + 4);
  const config = domain == DOMAIN_M ? MSI_CONFIG : MSI_CONFIG + 8;
  const high = load<u32>(config + 4);
  const base = (<u64>(high & HIGH_PPN_MASK) << 32) | load<u32>(config);
  const lowWidth = (shape >> LHXW_SHIFT) & 15;
  const group = (hart >> lowWidth) & ((1 << ((shape >> HHXW_SHIFT) & 7)) - 1);
  const index = hart & ((1 << lowWidth) - 1);
  const ppn = base | (<u64>group << (((shape >> HHXS_SHIFT) & 31) + 12)) | (<u64>index << ((high >> LHXS_SHIFT) & 7));
  return ppn * IMSIC_FILE_SIZE;
}

/** Sends a message to where the registers say; it is lost when no interrupt file is there. */
export function sendMsi(domain: u32, hart: u32, eiid: u32): void {
  const address = msiAddress(domain, hart);
  if (imsicAccepts(address)) imsicWrite(address, eiid);
}

function forwardAll(domain: u32, at: usize): void {
  if (load<u32>(at + D_ENABLE) == 0) return;
  for (let word: u32 = 0; word < SOURCE_WORDS; word++) {
    let ready = load<u32>(at + D_PENDING + word * 4) & load<u32>(at + D_ENABLED + word * 4);
    for (; ready != 0; ready &= ready - 1) {
      const source = word * 32 + ctz<u32>(ready);
      const target = load<u32>(at + D_TARGET + <usize>source * 4);
      setPendingBit(at, source, false);
      sendMsi(domain, target >> TARGET_HART_SHIFT, target & TARGET_EIID_MASK);
    }
  }
}

/** After any change of a domain: its outputs are as its registers say, or its messages are out. */
export function deliver(domain: u32): void {
  const at = domainAt(domain);
  if (msiMode()) forwardAll(domain, at);
  else driveHarts(domain, at);
}

/** A read of claimi (4.8.1.5): a pending bit that is no copy of a level goes. */
export function claimInterrupt(domain: u32, hart: u32): u32 {
  const at = domainAt(domain);
  const topi = topInterrupt(at, hart);
  if (topi == 0) {
    store<u32>(idcAt(at, hart) + IDC_FORCE, 0);
  } else {
    const source = topi >> 16;
    if (isLevel(modeOf(at, source))) return topi;
    store<u32>(at + D_PENDING + wordOf(source), load<u32>(at + D_PENDING + wordOf(source)) & ~bitOf(source));
  }
  deliver(domain);
  return topi;
}

/** All outputs low. */
export function lowerAll(hart: i32): void {
  lowerLines(hartBlock(hart), LINE_SEI | LINE_MEI);
}
