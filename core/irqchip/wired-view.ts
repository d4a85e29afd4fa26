/** Interrupts for people: looked at without the controller's lock, so a change may be half seen. */
import { APLIC_SOURCES, IMSIC_IDS, PLIC_SOURCES } from '../machine/virt-map.ts';
import { DEVICE_BASE, DEV_APLIC, DEV_IMSIC, DEV_PLIC } from '../worker/layout.ts';
import * as W from './wired-layout.ts';

export interface WiredSource {
  readonly number: number;
  readonly raised: number;
  readonly level: boolean;
  readonly pending: boolean;
  readonly claimed: boolean;
  readonly priority: number | null;
  /** e.g. "hart 0 S". */
  readonly enabledFor: readonly string[];
}

// Fields of the APLIC's registers (RISC-V AIA 1.0, 4.5.2 and 4.5.16).
const SOURCECFG_DELEGATE = 1 << 10;
const TARGET_HART_SHIFT = 18;
const TARGET_PRIORITY_MASK = 0xff;

/** Words of the core's own state, by linear address. */
type Load = (address: number) => number;

const bit = (load: Load, words: number, source: number): boolean =>
  ((load(words + (source >> 5) * 4) >>> (source & 31)) & 1) === 1;

/** Sources 1 to 95 of the PLIC. */
export function plicSources(load: Load, harts: number): WiredSource[] {
  const state = DEVICE_BASE + DEV_PLIC;
  const contexts = Array.from({ length: harts * 2 }, (_, context) => ({
    name: `hart ${context >> 1} ${context & 1 ? 'S' : 'M'}`,
    enable: state + W.PLIC_ENABLE + context * W.PLIC_ENABLE_STRIDE,
  }));
  return numbers(PLIC_SOURCES).map((number) => ({
    number,
    raised: load(state + W.PLIC_RAISED + number * 4) >>> 0,
    level: bit(load, state + W.PLIC_LEVEL, number),
    pending: bit(load, state + W.PLIC_PENDING, number),
    claimed: bit(load, state + W.PLIC_CLAIMED, number),
    priority: load(state + W.PLIC_PRIORITY + number * 4),
    enabledFor: contexts.filter(({ enable }) => bit(load, enable, number)).map(({ name }) => name),
  }));
}

/**
 * Sources 1 to 96 of the APLIC, in the domain that has them.
 *
 * @param messages it sends messages instead of driving wires: sources have no priority then
 */
export function aplicSources(load: Load, messages: boolean): WiredSource[] {
  const state = DEVICE_BASE + DEV_APLIC;
  const root = state + W.APLIC_DOMAIN;
  return numbers(APLIC_SOURCES).map((number) => {
    const delegated = (load(root + W.APLIC_D_SOURCECFG + number * 4) & SOURCECFG_DELEGATE) !== 0;
    const domain = delegated ? root + W.APLIC_DOMAIN_STRIDE : root;
    const target = load(domain + W.APLIC_D_TARGET + number * 4);
    const enabled = bit(load, domain + W.APLIC_D_ENABLED, number);
    return {
      number,
      raised: load(state + W.APLIC_RAISED + number * 4) >>> 0,
      level: bit(load, state + W.APLIC_LEVEL, number),
      pending: bit(load, domain + W.APLIC_D_PENDING, number),
      claimed: false,
      priority: messages ? null : target & TARGET_PRIORITY_MASK,
      enabledFor: enabled ? [`hart ${target >>> TARGET_HART_SHIFT} ${delegated ? 'S' : 'M'}`] : [],
    };
  });
}

/** An identity of an interrupt file. */
export interface MessageIdentity {
  readonly hart: number;
  readonly mode: 'M' | 'S';
  readonly identity: number;
  readonly raised: number;
  readonly pending: boolean;
  readonly enabled: boolean;
}

/** The identities of the IMSICs that have come, or that are enabled, file by file. */
export function imsicIdentities(load: Load, harts: number): MessageIdentity[] {
  const state = DEVICE_BASE + DEV_IMSIC;
  const found: MessageIdentity[] = [];
  for (let file = 0; file < harts * 2; file++) {
    const block = state + file * W.IMSIC_FILE_STRIDE;
    const counts = state + W.IMSIC_RAISED + file * W.IMSIC_RAISED_STRIDE;
    for (const identity of numbers(IMSIC_IDS + 1)) {
      const raised = load(counts + identity * 4) >>> 0;
      const enabled = bit(load, block + W.IMSIC_F_ENABLED, identity);
      if (raised === 0 && !enabled) continue;
      const pending = bit(load, block + W.IMSIC_F_PENDING, identity);
      found.push({ hart: file >> 1, mode: file & 1 ? 'S' : 'M', identity, raised, pending, enabled });
    }
  }
  return found;
}

/** Source 0 does not exist. */
function numbers(count: number): number[] {
  return Array.from({ length: count - 1 }, (_, index) => index + 1);
}
