/**
 * Where the APLIC's state is, and what its registers' fields mean (RISC-V AIA 1.0, chapter 4). Two interrupt domains: the
 * root, of M-mode, which all wires come to, and its child, of S-mode, which sees the sources that the root delegates.
 * State is shared by all threads; the APLIC's lock guards all of it.
 */
import { DEVICE_BASE, DEV_APLIC } from '../worker/layout';
import { APLIC_SOURCES } from '../machine/virt-map';
import {
  APLIC_DOMAIN, APLIC_DOMAIN_STRIDE, APLIC_D_ENABLED, APLIC_D_PENDING, APLIC_D_SOURCECFG, APLIC_D_TARGET, APLIC_LEVEL,
  APLIC_RAISED,
} from './wired-layout';

export const DOMAIN_M: u32 = 0;
export const DOMAIN_S: u32 = 1;
export const DOMAINS: u32 = 2;

const STATE: usize = DEVICE_BASE + DEV_APLIC;
export const APLIC_LOCK: usize = STATE;
/** u32 each: mmsiaddrcfg, mmsiaddrcfgh, smsiaddrcfg, smsiaddrcfgh. The root's; the child has none. */
export const MSI_CONFIG: usize = STATE + 0x10;
/** Bit per source: what the wires say. */
export const LEVEL: usize = STATE + APLIC_LEVEL;
/** A word per source: for people. */
export const RAISED: usize = STATE + APLIC_RAISED;
export const STATE_SIZE: usize = <usize>APLIC_DOMAIN + <usize>DOMAINS * <usize>APLIC_DOMAIN_STRIDE;

// Of a domain.
/** u32: domaincfg.IE. */
export const D_ENABLE: usize = 0;
/** Bit per source. */
export const D_PENDING: usize = APLIC_D_PENDING;
export const D_ENABLED: usize = APLIC_D_ENABLED;
/** Four u32 for each hart: idelivery, iforce, ithreshold. */
export const D_IDC: usize = 0x40;
export const IDC_DELIVERY: usize = 0;
export const IDC_FORCE: usize = 4;
export const IDC_THRESHOLD: usize = 8;
/** u32 for each source, with room for all whose bits are in a word. */
export const D_SOURCECFG: usize = APLIC_D_SOURCECFG;
export const D_TARGET: usize = APLIC_D_TARGET;

export const SOURCE_WORDS: u32 = (APLIC_SOURCES + 31) / 32;

// sourcecfg (4.5.2).
export const SOURCECFG_D: u32 = 1 << 10;
export const SM_MASK: u32 = 7;
export const SM_INACTIVE: u32 = 0;
export const SM_DETACHED: u32 = 1;
export const SM_EDGE1: u32 = 4;
export const SM_EDGE0: u32 = 5;
export const SM_LEVEL1: u32 = 6;
export const SM_LEVEL0: u32 = 7;

// target (4.5.16). Three bits of priority, as on QEMU's board.
export const TARGET_HART_SHIFT: u32 = 18;
export const TARGET_EIID_MASK: u32 = 0x7ff;
export const IPRIO_MASK: u32 = 7;

export function domainAt(domain: u32): usize {
  return STATE + APLIC_DOMAIN + <usize>domain * <usize>APLIC_DOMAIN_STRIDE;
}

// @ts-ignore: decorator
@inline
export function wordOf(source: u32): usize {
  return <usize>(source >> 5) << 2;
}
// @ts-ignore: decorator
@inline
export function bitOf(source: u32): u32 {
  return <u32>1 << (source & 31);
}

export function sourcecfg(at: usize, source: u32): u32 {
  return load<u32>(at + D_SOURCECFG + <usize>source * 4);
}

/** The source mode in a domain; SM_INACTIVE also where it is delegated, not delegated to this one, or does not exist. */
export function modeOf(at: usize, source: u32): u32 {
  const config = sourcecfg(at, source);
  return (config & SOURCECFG_D) != 0 ? SM_INACTIVE : config & SM_MASK;
}

// @ts-ignore: decorator
@inline
export function isLevel(mode: u32): bool {
  return mode >= SM_LEVEL1;
}

/** Whether a source may be configured in the domain: the child has those that the root delegates to it. */
export function implemented(domain: u32, source: u32): bool {
  if (source - 1 >= <u32>APLIC_SOURCES - 1) return false;
  return domain == DOMAIN_M || (sourcecfg(domainAt(DOMAIN_M), source) & SOURCECFG_D) != 0;
}

/** The rectified input value (4.5.2). */
export function rectified(at: usize, source: u32): bool {
  const mode = modeOf(at, source);
  if (mode < SM_EDGE1) return false;
  const high = (load<u32>(LEVEL + wordOf(source)) & bitOf(source)) != 0;
  return high != ((mode & 1) != 0);
}

export function isPending(at: usize, source: u32): bool {
  return (load<u32>(at + D_PENDING + wordOf(source)) & bitOf(source)) != 0;
}

export function setPendingBit(at: usize, source: u32, pending: bool): void {
  const word = at + D_PENDING + wordOf(source);
  const bits = load<u32>(word);
  store<u32>(word, pending ? bits | bitOf(source) : bits & ~bitOf(source));
}
