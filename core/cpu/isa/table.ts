/** THE instruction table: everything that knows instructions (interpreter, translator, disassembler, tests) reads it here. */
import { zba, zbb, zbc, zbs } from './bitmanip.ts';
import { compressed } from './compressed.ts';
import type { Compressed, Insn } from './dsl.ts';
import { fd, zfa } from './fp.ts';
import { rv64a, rv64i, rv64m, system } from './rv64i.ts';

export const INSTRUCTIONS: readonly Insn[] = [
  ...rv64i,
  ...system,
  ...rv64m,
  ...rv64a,
  ...fd,
  ...zfa,
  ...zba,
  ...zbb,
  ...zbc,
  ...zbs,
];
export const COMPRESSED: readonly Compressed[] = compressed;

export const BY_NAME: ReadonlyMap<string, Insn> = new Map(INSTRUCTIONS.map((i) => [i.name, i]));

/** Bits set, for "the more specific pattern first". */
const weight = (mask: number): number => mask.toString(2).replaceAll('0', '').length;

const wide = [...INSTRUCTIONS].sort((a, b) => weight(b.mask) - weight(a.mask));
const narrow = [...COMPRESSED].sort((a, b) => weight(b.mask) - weight(a.mask));

/** The 32-bit instruction that a word encodes, or null. */
export function decodeWide(word: number): Insn | null {
  return wide.find((i) => ((word & i.mask) ^ i.match) === 0) ?? null;
}

/** The 16-bit instruction that a halfword encodes, or null. */
export function decodeNarrow(half: number): Compressed | null {
  return narrow.find((i) => (half & i.mask) === i.match && i.nonzero.every((bits) => (half & bits) !== 0)) ?? null;
}

/** In matching order. */
export const DECODE_WIDE: readonly Insn[] = wide;
export const DECODE_NARROW: readonly Compressed[] = narrow;
