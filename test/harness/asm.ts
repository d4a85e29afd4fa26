/** A small assembler made from the instruction table: one instruction to bits, and programs with labels. */
import type { Compressed, ImmField, Insn, Operands, RegField } from '../../core/cpu/isa/dsl.ts';
import { BY_NAME, COMPRESSED } from '../../core/cpu/isa/table.ts';

/** Operands of one instruction; what an instruction does not have is an error, what is left out is 0. */
export interface Fields {
  rd?: number;
  rs1?: number;
  rs2?: number;
  rs3?: number;
  /** Immediate as the table's field means it: bytes of distance, the value of lui's upper bits in place, a CSR number. */
  imm?: number;
  /** Rounding mode (bits 14..12); 7, dynamic, by default. */
  rm?: number;
  /** Acquire and release bits of atomics. */
  aqrl?: number;
  /** The five-bit immediate of csrrwi and its like. */
  uimm?: number;
}

export const DYNAMIC = 7;

const COMPRESSED_BY_NAME: ReadonlyMap<string, Compressed> = new Map(COMPRESSED.map((c) => [c.name, c]));

/** Register numbers by ABI name. */
export const X: Readonly<Record<string, number>> = Object.fromEntries(
  'zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6'
    .split(' ')
    .map((name, i) => [name, i]),
);

function registerBits(field: RegField, number: number, what: string): number {
  if ('fixed' in field) {
    if (number !== field.fixed) throw new RangeError(`${what} is always ${field.fixed}`);
    return 0;
  }
  const value = number - field.base;
  if (value < 0 || value >= 2 ** field.width) throw new RangeError(`${what}: register ${number} does not fit`);
  return value << field.lo;
}

/** Whether an immediate can be written in a field: range, and bits that the field has no place for. */
export function immFits(field: ImmField, value: number): boolean {
  const low = field.signed ? -(2 ** (field.width - 1)) : 0;
  const high = low + 2 ** field.width;
  return value >= low && value < high && (value & ~immMask(field)) === 0;
}

/** The bits of an immediate that a field has, sign bits included. */
export function immMask(field: ImmField): number {
  let mask = field.signed ? -(2 ** (field.width - 1)) | 0 : 0;
  for (const [hi, lo, at] of field.segments) mask |= (2 ** (hi - lo + 1) - 1) << at;
  return mask;
}

function immBits(field: ImmField, value: number, what: string): number {
  if (!immFits(field, value)) throw new RangeError(`${what}: immediate ${value} does not fit`);
  let bits = 0;
  for (const [hi, lo, at] of field.segments) bits |= ((value >> at) & (2 ** (hi - lo + 1) - 1)) << lo;
  return bits;
}

function operandBits(name: string, operands: Operands, fields: Fields): number {
  let bits = 0;
  for (const reg of ['rd', 'rs1', 'rs2', 'rs3'] as const) {
    const field = operands[reg];
    const number = fields[reg];
    if (field !== undefined)
      bits |= registerBits(field, number ?? ('fixed' in field ? field.fixed : field.base), `${name} ${reg}`);
    else if (number !== undefined) throw new RangeError(`${name} has no ${reg}`);
  }
  if (operands.imm !== undefined) bits |= immBits(operands.imm, fields.imm ?? 0, name);
  else if (fields.imm !== undefined) throw new RangeError(`${name} has no immediate`);
  return bits;
}

/** The instruction `name` of the table (32-bit or compressed), if there is one. */
export function lookUp(name: string): Insn | Compressed {
  const found = BY_NAME.get(name) ?? COMPRESSED_BY_NAME.get(name);
  if (found === undefined) throw new RangeError(`no instruction ${name}`);
  return found;
}

/** Bytes that an instruction takes. */
export const sizeOf = (insn: Insn | Compressed): 2 | 4 => ('base' in insn ? 2 : 4);

/** The bits of an instruction. @throws RangeError when an operand does not fit */
export function encode(name: string, fields: Fields = {}): number {
  const insn = lookUp(name);
  let bits = insn.match | operandBits(name, insn.operands, fields);
  if ('base' in insn) {
    if (insn.nonzero.some((mask) => (bits & mask) === 0)) throw new RangeError(`${name}: operand must not be 0`);
    return bits >>> 0;
  }
  if (insn.rm) bits |= (fields.rm ?? DYNAMIC) << 12;
  if (insn.ext === 'a') bits |= (fields.aqrl ?? 0) << 25;
  if (fields.uimm !== undefined) bits |= (fields.uimm & 31) << 15;
  return bits >>> 0;
}

/** A label, or a distance in bytes. */
export type Target = string | number;

type Item = { at: number; size: 2 | 4; name: string; fields: Fields; target?: Target; part?: 'hi' | 'lo' };

/**
 * A program under assembly. Instructions are appended in order; branch targets, and the addresses that `la` loads, may be
 * labels defined anywhere.
 */
export class Program {
  readonly origin: number;
  readonly #items: Item[] = [];
  readonly #data: { at: number; bytes: Uint8Array }[] = [];
  readonly #labels = new Map<string, number>();
  #at: number;

  /** @param origin guest address of the first byte */
  constructor(origin: number) {
    this.origin = origin;
    this.#at = origin;
  }

  get here(): number {
    return this.#at;
  }

  label(name: string): this {
    if (this.#labels.has(name)) throw new Error(`label ${name} is there twice`);
    this.#labels.set(name, this.#at);
    return this;
  }

  /** Address of a label. */
  address(name: string): number {
    const at = this.#labels.get(name);
    if (at === undefined) throw new Error(`no label ${name}`);
    return at;
  }

  /** One instruction; `target` for those that jump. */
  op(name: string, fields: Fields = {}, target?: Target): this {
    const size = sizeOf(lookUp(name));
    this.#items.push({ at: this.#at, size, name, fields, ...(target === undefined ? {} : { target }) });
    this.#at += size;
    return this;
  }

  /** rd <- a 64-bit constant. */
  li(rd: number, value: number | bigint): this {
    const v = BigInt.asIntN(64, BigInt(value));
    if (v >= -2048n && v < 2048n) return this.op('addi', { rd, imm: Number(v) });
    if (v === BigInt.asIntN(32, v)) {
      const low = Number(BigInt.asIntN(12, v));
      const high = (Number(v) - low) | 0;
      this.op('lui', { rd, imm: high });
      return low === 0 ? this : this.op('addiw', { rd, rs1: rd, imm: low });
    }
    const low = BigInt.asIntN(12, v);
    let rest = (v - low) >> 12n;
    let shift = 12;
    while ((rest & 1n) === 0n) {
      rest >>= 1n;
      shift++;
    }
    this.li(rd, BigInt.asIntN(64 - shift, rest)).op('slli', { rd, rs1: rd, imm: shift });
    return low === 0n ? this : this.op('addi', { rd, rs1: rd, imm: Number(low) });
  }

  /** rd <- address of a label (two instructions, relative to pc). */
  la(rd: number, label: string): this {
    this.#items.push({ at: this.#at, size: 4, name: 'auipc', fields: { rd }, target: label, part: 'hi' });
    this.#items.push({ at: this.#at + 4, size: 4, name: 'addi', fields: { rd, rs1: rd }, target: label, part: 'lo' });
    this.#at += 8;
    return this;
  }

  /** Raw bits. */
  half(...halves: number[]): this {
    for (const h of halves) this.bytes(Uint8Array.of(h & 255, (h >> 8) & 255));
    return this;
  }
  word(...words: number[]): this {
    for (const w of words) this.half(w & 0xffff, w >>> 16);
    return this;
  }
  quad(...quads: bigint[]): this {
    for (const q of quads) this.word(Number(BigInt.asIntN(32, q)), Number(BigInt.asIntN(32, q >> 32n)));
    return this;
  }
  bytes(bytes: Uint8Array): this {
    this.#data.push({ at: this.#at, bytes });
    this.#at += bytes.length;
    return this;
  }

  /** Zero bytes up to a multiple of `alignment`. */
  align(alignment: number): this {
    this.#at = Math.ceil(this.#at / alignment) * alignment;
    return this;
  }
  /** Goes on at an address behind this one. */
  org(address: number): this {
    if (address < this.#at) throw new RangeError(`already at 0x${this.#at.toString(16)}`);
    this.#at = address;
    return this;
  }

  #resolve(item: Item): Fields {
    const { target, fields, part, at } = item;
    if (target === undefined) return fields;
    if (typeof target === 'number') return { ...fields, imm: target };
    const distance = this.address(target) - (part === 'lo' ? at - 4 : at);
    if (part === undefined) return { ...fields, imm: distance };
    const low = (distance << 20) >> 20;
    return { ...fields, imm: part === 'lo' ? low : (distance - low) | 0 };
  }

  /** The program's bytes, from its origin. */
  assemble(): Uint8Array {
    const out = new Uint8Array(this.#at - this.origin);
    const view = new DataView(out.buffer);
    for (const item of this.#items) {
      const bits = encode(item.name, this.#resolve(item));
      if (item.size === 2) view.setUint16(item.at - this.origin, bits, true);
      else view.setUint32(item.at - this.origin, bits, true);
    }
    for (const { at, bytes } of this.#data) out.set(bytes, at - this.origin);
    return out;
  }
}
