/** The disassembler: a reading of the instruction table. Its notation is that of the manuals and of GNU binutils without aliases. */
import type { Compressed, Insn, RegField } from './dsl.ts';
import { readImm, readReg } from './dsl.ts';
import { csrName } from './csr-names.ts';
import { decodeNarrow, decodeWide } from './table.ts';

/** Names of the calling convention, by number. */
export const X_NAMES =
  'zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6'.split(' ');
export const F_NAMES = (
  'ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ' +
  'ft8 ft9 ft10 ft11'
).split(' ');
const ROUNDING = ['rne', 'rtz', 'rdn', 'rup', 'rmm', '5', '6', 'dyn'];
const DYNAMIC = 7;
/** Conversions that never round: assemblers write rne, and it is left out. */
const EXACT = new Set(['fcvt.d.w', 'fcvt.d.wu', 'fcvt.d.s']);
/** fence's sets, from bit 3 to bit 0. */
const FENCE_SET = 'iorw';
/** The constants of fli (Zfa, table "immediate values"). */
const FLI = [
  '-1.0',
  'min',
  '1.52587890625e-05',
  '3.0517578125e-05',
  '0.00390625',
  '0.0078125',
  '0.0625',
  '0.125',
  '0.25',
  '0.3125',
  '0.375',
  '0.4375',
  '0.5',
  '0.625',
  '0.75',
  '0.875',
  '1.0',
  '1.25',
  '1.5',
  '1.75',
  '2.0',
  '2.5',
  '3.0',
  '4.0',
  '8.0',
  '16.0',
  '128.0',
  '256.0',
  '32768.0',
  '65536.0',
  'inf',
  'nan',
];

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

export interface Disassembled {
  /** Bytes that the instruction takes: 2 or 4. */
  length: 2 | 4;
  /** Name in the instruction table, or null when it is no instruction we know. */
  name: string | null;
  /** Mnemonic, a blank, operands. */
  text: string;
}

function register(field: RegField | undefined, word: number): string {
  if (field === undefined) return '?';
  const number = readReg(field, word);
  return (field.file === 'f' ? F_NAMES[number] : X_NAMES[number]) ?? '?';
}

function fenceSet(bits: number): string {
  return bits === 0 ? '0' : [...FENCE_SET].filter((_, i) => (bits >> (3 - i)) & 1).join('');
}

/** The statements of the instruction that this one stands for tell whether its immediate is a distance. */
function hasTarget(insn: Insn | Compressed): boolean {
  if ('base' in insn) return insn.base === 'jal' || insn.base === 'beq' || insn.base === 'bne';
  return insn.body.some((s) => s.s === 'branch' || s.s === 'jump');
}

function immediate(insn: Insn | Compressed, word: number, address: bigint): string {
  const field = insn.operands.imm;
  if (field === undefined) return '?';
  const value = readImm(field, word);
  if (hasTarget(insn)) return hex(BigInt.asUintN(64, address + BigInt(value)));
  if (insn.name === 'lui' || insn.name === 'auipc') return hex(value >>> 12);
  if (insn.name === 'c.lui') return hex((value >> 12) & 0xfffff);
  if (insn.name.startsWith('fli.')) return FLI[value] ?? String(value);
  const isShift = !field.signed && !insn.syntax.includes('(') && insn.name !== 'c.addi4spn';
  return isShift ? hex(value) : String(value);
}

function mnemonic(insn: Insn | Compressed, word: number): string {
  if ('base' in insn || insn.ext !== 'a') return insn.name;
  return insn.name + ['', '.rl', '.aq', '.aqrl'][(word >>> 25) & 3];
}

function operands(insn: Insn | Compressed, word: number, address: bigint): string {
  if (insn.name === 'fence') return `${fenceSet((word >>> 24) & 15)},${fenceSet((word >>> 20) & 15)}`;
  const text = insn.syntax.replaceAll(/[a-z]+\d?/g, (token) => {
    switch (token) {
      case 'rd':
      case 'rs1':
      case 'rs2':
      case 'rs3':
        return register(insn.operands[token], word);
      case 'imm':
        return immediate(insn, word, address);
      case 'csr':
        return csrName((word >>> 20) & 0xfff) ?? hex((word >>> 20) & 0xfff);
      case 'uimm':
        return String((word >>> 15) & 31);
      case 'rm':
        return ROUNDING[(word >>> 12) & 7] ?? '?';
      default:
        return token;
    }
  });
  if ('base' in insn || !insn.rm) return text;
  // The dynamic mode is what everybody means who does not say another.
  const mode = (word >>> 12) & 7;
  return mode === DYNAMIC || (mode === 0 && EXACT.has(insn.name)) ? text.slice(0, text.lastIndexOf(',')) : text;
}

/**
 * Disassembles one instruction.
 * @param word 32 bits from `address` on; only the low 16 count if it is compressed
 * @param address guest virtual address, from which branch targets are reckoned
 */
export function disassemble(word: number, address: bigint): Disassembled {
  const length = (word & 3) === 3 ? 4 : 2;
  const bits = length === 4 ? word >>> 0 : word & 0xffff;
  const insn = length === 4 ? decodeWide(bits) : decodeNarrow(bits);
  if (insn === null) return { length, name: null, text: length === 4 ? `.word ${hex(bits)}` : `.half ${hex(bits)}` };
  return { length, name: insn.name, text: `${mnemonic(insn, bits)} ${operands(insn, bits, address)}`.trimEnd() };
}
