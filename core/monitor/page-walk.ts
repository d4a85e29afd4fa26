/**
 * Virtual addresses as a hart sees them (privileged spec, 12.3 to 12.6): the walk that "x", "memsave" and "info mem" make. It
 * reads and never writes: accessed and dirty bits stay as they are, and permissions do not matter to who looks.
 */
import type { MonitorTarget } from './target.ts';

const PTE_V = 1n;
const PTE_R = 2n;
const PTE_W = 4n;
const PTE_X = 8n;
const PTE_NAPOT = 1n << 63n;
/** satp.MODE to levels. */
const LEVELS: Readonly<Record<string, number>> = { 8: 3, 9: 4, 10: 5 };
const PAGE = 4096n;
const ENTRIES = 512n;
const PPN_MASK = (1n << 44n) - 1n;
/** Svnapot has one size: 64 KiB. */
const NAPOT_BITS = 4n;
const PRIV_M = 3;

/** Bits of a page table entry as "info mem" shows them. */
export const PTE_LETTERS = 'rwxugad';

export interface Translation {
  physical: bigint;
  /** Bytes up to the end of the page. */
  left: bigint;
}

/** Levels of page tables that the hart uses; 0: addresses are physical. Inside of halted() only, as all here. */
export function pagingLevels(target: MonitorTarget, hart: number): number {
  const { privilege, csrs } = target.hart(hart);
  const mode = (csrs.get('satp') ?? 0n) >> 60n;
  return privilege === PRIV_M ? 0 : (LEVELS[String(mode)] ?? 0);
}

/** null: no page is there. */
export function translate(target: MonitorTarget, hart: number, address: bigint): Translation | null {
  const levels = pagingLevels(target, hart);
  if (levels === 0) return { physical: address, left: 2n ** 64n - address };
  const bits = BigInt(12 + 9 * levels);
  // Addresses are sign-extended.
  if (BigInt.asUintN(64, BigInt.asIntN(Number(bits), address)) !== address) return null;
  let table = (target.hart(hart).csrs.get('satp')! & PPN_MASK) * PAGE;
  for (let level = levels - 1; level >= 0; level--) {
    const shift = BigInt(12 + 9 * level);
    const pte = entry(target, table, (address >> shift) & (ENTRIES - 1n));
    if (pte === null || (pte & PTE_V) === 0n || (pte & (PTE_R | PTE_W)) === PTE_W) return null;
    const ppn = (pte >> 10n) & PPN_MASK;
    if ((pte & (PTE_R | PTE_X)) === 0n) {
      table = ppn * PAGE;
      continue;
    }
    const napot = level === 0 && (pte & PTE_NAPOT) !== 0n;
    const size = 1n << (napot ? shift + NAPOT_BITS : shift);
    const offset = address & (size - 1n);
    return { physical: ((ppn * PAGE) & ~(size - 1n)) | offset, left: size - offset };
  }
  return null;
}

function entry(target: MonitorTarget, table: bigint, index: bigint): bigint | null {
  const bytes = target.readMemory(table + index * 8n, 8);
  return bytes === null ? null : new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
}

export interface Mapping {
  address: bigint;
  physical: bigint;
  size: bigint;
  /** As in "info mem", e.g. "rwx-gad". */
  attributes: string;
}

/**
 * The mapped ranges in order, neighbours with the same attributes and adjoining physical addresses put together, as QEMU does.
 *
 * @param limit entries to look at; a hostile table can be long
 */
export function mappings(target: MonitorTarget, hart: number, limit: number): { ranges: Mapping[]; complete: boolean } {
  const levels = pagingLevels(target, hart);
  const ranges: Mapping[] = [];
  let looked = 0;
  const walk = (table: bigint, level: number, base: bigint): boolean => {
    const bytes = target.readMemory(table, 4096);
    if (bytes === null) return true;
    const view = new DataView(bytes.buffer, bytes.byteOffset, 4096);
    const shift = BigInt(12 + 9 * level);
    for (let index = 0; index < 512; index++) {
      const pte = view.getBigUint64(index * 8, true);
      if ((pte & PTE_V) === 0n) continue;
      if (++looked > limit) return false;
      const address = base + (BigInt(index) << shift);
      const physical = ((pte >> 10n) & PPN_MASK) * PAGE;
      if ((pte & (PTE_R | PTE_W | PTE_X)) !== 0n) add(ranges, levels, address, physical, 1n << shift, pte);
      else if (level > 0 && !walk(physical, level - 1, address)) return false;
    }
    return true;
  };
  if (levels === 0) return { ranges, complete: true };
  const complete = walk((target.hart(hart).csrs.get('satp')! & PPN_MASK) * PAGE, levels - 1, 0n);
  return { ranges, complete };
}

function add(ranges: Mapping[], levels: number, at: bigint, physical: bigint, size: bigint, pte: bigint): void {
  const address = BigInt.asUintN(64, BigInt.asIntN(12 + 9 * levels, at));
  const attributes = [...PTE_LETTERS].map((letter, bit) => ((pte >> BigInt(bit + 1)) & 1n ? letter : '-')).join('');
  const last = ranges.at(-1);
  if (
    last !== undefined &&
    last.attributes === attributes &&
    last.address + last.size === address &&
    last.physical + last.size === physical
  ) {
    last.size += size;
  } else {
    ranges.push({ address, physical, size, attributes });
  }
}
