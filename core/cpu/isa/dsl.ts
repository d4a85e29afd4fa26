/**
 * The language in which the instruction table is written. An instruction is its encoding, its operands and its meaning;
 * the meaning is a list of statements over typed expressions whose operators are WebAssembly's, so that the
 * interpreter (printed as AssemblyScript) and the translator (emitted as WebAssembly) are both made from it.
 */

export type Type = 'i32' | 'i64';
export type RegisterOperand = 'rd' | 'rs1' | 'rs2' | 'rs3';

/** Unary and binary WebAssembly operators that a meaning may use; the value is [operand type, result type]. */
export const OPERATORS = {
  'i64.add': ['i64', 'i64'],
  'i64.sub': ['i64', 'i64'],
  'i64.mul': ['i64', 'i64'],
  'i64.and': ['i64', 'i64'],
  'i64.or': ['i64', 'i64'],
  'i64.xor': ['i64', 'i64'],
  'i64.shl': ['i64', 'i64'],
  'i64.shr_s': ['i64', 'i64'],
  'i64.shr_u': ['i64', 'i64'],
  'i64.rotl': ['i64', 'i64'],
  'i64.rotr': ['i64', 'i64'],
  'i64.div_s': ['i64', 'i64'],
  'i64.div_u': ['i64', 'i64'],
  'i64.rem_s': ['i64', 'i64'],
  'i64.rem_u': ['i64', 'i64'],
  'i64.clz': ['i64', 'i64'],
  'i64.ctz': ['i64', 'i64'],
  'i64.popcnt': ['i64', 'i64'],
  'i64.extend8_s': ['i64', 'i64'],
  'i64.extend16_s': ['i64', 'i64'],
  'i64.extend32_s': ['i64', 'i64'],
  'i64.eq': ['i64', 'i32'],
  'i64.ne': ['i64', 'i32'],
  'i64.lt_s': ['i64', 'i32'],
  'i64.lt_u': ['i64', 'i32'],
  'i64.ge_s': ['i64', 'i32'],
  'i64.ge_u': ['i64', 'i32'],
  'i64.eqz': ['i64', 'i32'],
  'i32.wrap_i64': ['i64', 'i32'],
  'i64.extend_i32_s': ['i32', 'i64'],
  'i64.extend_i32_u': ['i32', 'i64'],
  'i32.add': ['i32', 'i32'],
  'i32.sub': ['i32', 'i32'],
  'i32.mul': ['i32', 'i32'],
  'i32.shl': ['i32', 'i32'],
  'i32.shr_s': ['i32', 'i32'],
  'i32.shr_u': ['i32', 'i32'],
  'i32.rotl': ['i32', 'i32'],
  'i32.rotr': ['i32', 'i32'],
  'i32.div_s': ['i32', 'i32'],
  'i32.div_u': ['i32', 'i32'],
  'i32.rem_s': ['i32', 'i32'],
  'i32.rem_u': ['i32', 'i32'],
  'i32.clz': ['i32', 'i32'],
  'i32.ctz': ['i32', 'i32'],
  'i32.popcnt': ['i32', 'i32'],
  'i32.and': ['i32', 'i32'],
  'i32.or': ['i32', 'i32'],
  'i32.eqz': ['i32', 'i32'],
  'i32.eq': ['i32', 'i32'],
} as const satisfies Record<string, readonly [Type, Type]>;
export type Operator = keyof typeof OPERATORS;

export type Expr =
  | { k: 'reg'; type: 'i64'; reg: RegisterOperand }
  /** The immediate operand, sign- or zero-extended as its field says. */
  | { k: 'imm'; type: 'i64' }
  /** The effective rounding mode, i32 0..4. */
  | { k: 'rm'; type: 'i32' }
  /** Address of this instruction / of the next one. */
  | { k: 'pc'; type: 'i64' }
  | { k: 'next'; type: 'i64' }
  | { k: 'const'; type: Type; value: bigint }
  | { k: 'op'; type: Type; op: Operator; a: Expr[] }
  /** cond ? a : b; both are evaluated, so neither may trap. */
  | { k: 'select'; type: Type; cond: Expr; a: Expr; b: Expr }
  /** cond ? a : b; only the chosen side is evaluated. */
  | { k: 'if'; type: Type; cond: Expr; a: Expr; b: Expr }
  /** A pure engine function (it may accrue FP flags, it cannot trap). */
  | { k: 'call'; type: Type; fn: string; a: Expr[] }
  | { k: 'tmp'; type: Type; id: number };

export type AmoOp = 'swap' | 'add' | 'and' | 'or' | 'xor' | 'min' | 'max' | 'minu' | 'maxu';

export type Stmt =
  | { s: 'let'; id: number; e: Expr }
  | { s: 'set'; e: Expr }
  /** rd <- memory. `box`: NaN-box a single. */
  | { s: 'load'; bytes: 1 | 2 | 4 | 8; signed: boolean; box: boolean; addr: Expr }
  | { s: 'store'; bytes: 1 | 2 | 4 | 8; addr: Expr; value: Expr }
  /** pc <- pc + imm when the condition holds. */
  | { s: 'branch'; cond: Expr }
  /** rd <- next when link; pc <- pc + imm. */
  | { s: 'jump' }
  /** rd <- next; pc <- target (computed before rd is written). */
  | { s: 'jumpReg'; target: Expr }
  | { s: 'amo'; op: AmoOp; bytes: 4 | 8 }
  | { s: 'loadReserved'; bytes: 4 | 8 }
  | { s: 'storeConditional'; bytes: 4 | 8 }
  /**
   * An engine function fn(block, insn, pc) that may trap or change the machine's mode. It returns SYS_NEXT (go on after
   * the instruction), SYS_REFRESH (state cached by the interpreter changed; go on after the instruction) or SYS_PC (go on at H_PC).
   */
  | { s: 'system'; fn: string };

/** A register field: `width` bits at bit `lo`, plus `base`; or a fixed register. */
export type RegField =
  { file: 'x' | 'f'; lo: number; width: number; base: number } | { file: 'x' | 'f'; fixed: number };

/** Segments [from bit hi, to bit lo, placed at bit], value's width in bits, signed or not. */
export type ImmField = { segments: [number, number, number][]; width: number; signed: boolean };

export type Operands = {
  rd?: RegField;
  rs1?: RegField;
  rs2?: RegField;
  rs3?: RegField;
  imm?: ImmField;
};

export type Insn = {
  name: string;
  /** Extension, as in riscv,isa-extensions. */
  ext: string;
  mask: number;
  match: number;
  operands: Operands;
  /** How the disassembler writes the operands, e.g. "rd,imm(rs1)". */
  syntax: string;
  body: Stmt[];
  /** Uses a rounding mode from bits 14..12. */
  rm: boolean;
  /** Touches floating-point state: 'read' needs FS on, 'write' also makes it dirty. */
  fp: 'no' | 'read' | 'write';
};

/** A compressed instruction is another spelling of a base one. */
export type Compressed = {
  name: string;
  ext: string;
  mask: number;
  match: number;
  /** The instruction it stands for. */
  base: string;
  operands: Operands;
  syntax: string;
  /** Fields that must not be zero (as a mask over the 16 bits); all-zero there means reserved or another instruction. */
  nonzero: number[];
};

// ---- expressions ----------------------------------------------------------------------------------------------

export const rs1: Expr = { k: 'reg', type: 'i64', reg: 'rs1' };
export const rs2: Expr = { k: 'reg', type: 'i64', reg: 'rs2' };
export const rs3: Expr = { k: 'reg', type: 'i64', reg: 'rs3' };
/** The old value of rd (only where an instruction reads it). */
export const imm: Expr = { k: 'imm', type: 'i64' };
export const rm: Expr = { k: 'rm', type: 'i32' };
export const pc: Expr = { k: 'pc', type: 'i64' };

export function op(name: Operator, ...a: Expr[]): Expr {
  const [operand, result] = OPERATORS[name];
  for (const e of a) if (e.type !== operand) throw new Error(`${name} takes ${operand}, got ${e.type}`);
  return { k: 'op', type: result, op: name, a };
}
export const i64 = (value: bigint | number): Expr => ({ k: 'const', type: 'i64', value: BigInt(value) });
export const i32 = (value: number): Expr => ({ k: 'const', type: 'i32', value: BigInt(value) });
export const call = (fn: string, ...a: Expr[]): Expr => ({ k: 'call', type: 'i64', fn, a });
export const select = (cond: Expr, a: Expr, b: Expr): Expr => ({ k: 'select', type: a.type, cond, a, b });
/** Like select, but the side not chosen is not evaluated (division). */
export const when = (cond: Expr, a: Expr, b: Expr): Expr => ({ k: 'if', type: a.type, cond, a, b });

const binary = (name: Operator) => (a: Expr, b: Expr) => op(name, a, b);
const unary = (name: Operator) => (a: Expr) => op(name, a);
export const add = binary('i64.add');
export const sub = binary('i64.sub');
export const mul = binary('i64.mul');
export const and = binary('i64.and');
export const or = binary('i64.or');
export const xor = binary('i64.xor');
/** Shift counts are taken modulo the width, as WebAssembly and RISC-V both do. */
export const shl = binary('i64.shl');
export const shrS = binary('i64.shr_s');
export const shrU = binary('i64.shr_u');
export const eq = binary('i64.eq');
export const ne = binary('i64.ne');
export const ltS = binary('i64.lt_s');
export const ltU = binary('i64.lt_u');
export const geS = binary('i64.ge_s');
export const geU = binary('i64.ge_u');
export const eqz = unary('i64.eqz');
export const wrap = unary('i32.wrap_i64');
export const extS = unary('i64.extend_i32_s');
export const extU = unary('i64.extend_i32_u');
export const sext32 = unary('i64.extend32_s');
export const zext32 = (a: Expr): Expr => and(a, i64(0xffffffffn));
export const not = (a: Expr): Expr => xor(a, i64(-1));

// ---- statements -----------------------------------------------------------------------------------------------

export const set = (e: Expr): Stmt => ({ s: 'set', e });
let tmpCount = 0;
/** Names a value used more than once. */
export function bind(e: Expr): { stmt: Stmt; value: Expr } {
  const id = tmpCount++;
  return { stmt: { s: 'let', id, e }, value: { k: 'tmp', type: e.type, id } };
}

// ---- operand fields -------------------------------------------------------------------------------------------

export const x = (lo: number): RegField => ({ file: 'x', lo, width: 5, base: 0 });
export const f = (lo: number): RegField => ({ file: 'f', lo, width: 5, base: 0 });
/** The three-bit register fields of compressed instructions: x8..x15 / f8..f15. */
export const xc = (lo: number): RegField => ({ file: 'x', lo, width: 3, base: 8 });
export const fc = (lo: number): RegField => ({ file: 'f', lo, width: 3, base: 8 });
export const xfix = (fixed: number): RegField => ({ file: 'x', fixed });

export const immField = (signed: boolean, width: number, ...segments: [number, number, number][]): ImmField => ({
  segments,
  width,
  signed,
});
export const IMM_I = immField(true, 12, [31, 20, 0]);
export const IMM_S = immField(true, 12, [31, 25, 5], [11, 7, 0]);
export const IMM_B = immField(true, 13, [31, 31, 12], [7, 7, 11], [30, 25, 5], [11, 8, 1]);
export const IMM_U = immField(true, 32, [31, 12, 12]);
export const IMM_J = immField(true, 21, [31, 31, 20], [19, 12, 12], [20, 20, 11], [30, 21, 1]);
export const SHAMT6 = immField(false, 6, [25, 20, 0]);
export const SHAMT5 = immField(false, 5, [24, 20, 0]);
/** The CSR number, or whatever else system functions want: they take the instruction word itself. */

/** Value of an immediate field in an instruction word. */
export function readImm(field: ImmField, insn: number): number {
  let v = 0;
  for (const [hi, lo, at] of field.segments) v |= ((insn >>> lo) & (2 ** (hi - lo + 1) - 1)) << at;
  if (field.signed && field.width < 32 && (v >> (field.width - 1)) & 1) v -= 2 ** field.width;
  return field.signed ? v | 0 : v;
}

/** Register number in an instruction word. */
export function readReg(field: RegField, insn: number): number {
  if ('fixed' in field) return field.fixed;
  return ((insn >>> field.lo) & (2 ** field.width - 1)) + field.base;
}
