/** Encoding formats of the unprivileged manual (chapter "RV32I", figure "base instruction formats") as table builders. */
import { add, f, imm, IMM_B, IMM_I, IMM_J, IMM_S, IMM_U, SHAMT5, SHAMT6, rs1, rs2, x } from './dsl.ts';
import type { Insn, Operands, RegField, Stmt } from './dsl.ts';

export const OP = {
  LOAD: 0x03,
  LOAD_FP: 0x07,
  MISC_MEM: 0x0f,
  OP_IMM: 0x13,
  AUIPC: 0x17,
  OP_IMM_32: 0x1b,
  STORE: 0x23,
  STORE_FP: 0x27,
  AMO: 0x2f,
  OP: 0x33,
  LUI: 0x37,
  OP_32: 0x3b,
  MADD: 0x43,
  MSUB: 0x47,
  NMSUB: 0x4b,
  NMADD: 0x4f,
  OP_FP: 0x53,
  BRANCH: 0x63,
  JALR: 0x67,
  JAL: 0x6f,
  SYSTEM: 0x73,
} as const;

type Extra = Partial<Pick<Insn, 'rm' | 'fp' | 'syntax'>>;

export function insn(
  ext: string,
  name: string,
  mask: number,
  match: number,
  operands: Operands,
  syntax: string,
  body: Stmt[],
  extra: Extra = {},
): Insn {
  if ((match & ~mask) !== 0) throw new Error(`${name}: match outside mask`);
  return { name, ext, mask: mask >>> 0, match: match >>> 0, operands, syntax, body, rm: false, fp: 'no', ...extra };
}

const F3 = 0x7000;
const F7 = 0xfe000000;

export const R = (ext: string, name: string, opcode: number, f3: number, f7: number, ...body: Stmt[]): Insn =>
  insn(
    ext,
    name,
    F7 | F3 | 0x7f,
    (f7 << 25) | (f3 << 12) | opcode,
    { rd: x(7), rs1: x(15), rs2: x(20) },
    'rd,rs1,rs2',
    body,
  );

export const I = (ext: string, name: string, opcode: number, f3: number, ...body: Stmt[]): Insn =>
  insn(ext, name, F3 | 0x7f, (f3 << 12) | opcode, { rd: x(7), rs1: x(15), imm: IMM_I }, 'rd,rs1,imm', body);

/** Shift by an immediate: six bits (funct6) or, for the W forms, five (funct7). */
export const SH6 = (ext: string, name: string, opcode: number, f3: number, f6: number, ...body: Stmt[]): Insn =>
  insn(
    ext,
    name,
    0xfc000000 | F3 | 0x7f,
    (f6 << 26) | (f3 << 12) | opcode,
    { rd: x(7), rs1: x(15), imm: SHAMT6 },
    'rd,rs1,imm',
    body,
  );
export const SH5 = (ext: string, name: string, opcode: number, f3: number, f7: number, ...body: Stmt[]): Insn =>
  insn(
    ext,
    name,
    F7 | F3 | 0x7f,
    (f7 << 25) | (f3 << 12) | opcode,
    { rd: x(7), rs1: x(15), imm: SHAMT5 },
    'rd,rs1,imm',
    body,
  );

/** One register in, one out: rs2 field (and funct7) are opcode. */
export const R1 = (ext: string, name: string, opcode: number, f3: number, f12: number, ...body: Stmt[]): Insn =>
  insn(ext, name, 0xfff00000 | F3 | 0x7f, (f12 << 20) | (f3 << 12) | opcode, { rd: x(7), rs1: x(15) }, 'rd,rs1', body);

export const LOAD = (ext: string, name: string, f3: number, bytes: 1 | 2 | 4 | 8, signed: boolean): Insn =>
  insn(ext, name, F3 | 0x7f, (f3 << 12) | OP.LOAD, { rd: x(7), rs1: x(15), imm: IMM_I }, 'rd,imm(rs1)', [
    loadStmt(bytes, signed),
  ]);

export const STORE = (ext: string, name: string, f3: number, bytes: 1 | 2 | 4 | 8): Insn =>
  insn(ext, name, F3 | 0x7f, (f3 << 12) | OP.STORE, { rs1: x(15), rs2: x(20), imm: IMM_S }, 'rs2,imm(rs1)', [
    storeStmt(bytes),
  ]);

export const B = (ext: string, name: string, f3: number, body: Stmt): Insn =>
  insn(ext, name, F3 | 0x7f, (f3 << 12) | OP.BRANCH, { rs1: x(15), rs2: x(20), imm: IMM_B }, 'rs1,rs2,imm', [body]);

export const U = (ext: string, name: string, opcode: number, ...body: Stmt[]): Insn =>
  insn(ext, name, 0x7f, opcode, { rd: x(7), imm: IMM_U }, 'rd,imm', body);

export const J = (ext: string, name: string, opcode: number, ...body: Stmt[]): Insn =>
  insn(ext, name, 0x7f, opcode, { rd: x(7), imm: IMM_J }, 'rd,imm', body);

/** A system instruction: everything is in the engine function. */
export const SYS = (
  ext: string,
  name: string,
  mask: number,
  match: number,
  fn: string,
  syntax = '',
  operands: Operands = {},
): Insn => insn(ext, name, mask, match, operands, syntax, [{ s: 'system', fn }]);

// ---- floating point -------------------------------------------------------------------------------------------

type FpOperands = { rd: 'x' | 'f'; rs1: 'x' | 'f'; rs2?: 'f' };
const reg = (file: 'x' | 'f', lo: number): RegField => (file === 'x' ? x(lo) : f(lo));

/**
 * OP-FP with a fixed funct7; `f3` null means the field is a rounding mode; `rs2` a number means that the field is opcode.
 */
export function FP(
  ext: string,
  name: string,
  f7: number,
  f3: number | null,
  rs2: number | 'f',
  files: FpOperands,
  ...body: Stmt[]
): Insn {
  const mask = F7 | 0x7f | (f3 === null ? 0 : F3) | (rs2 === 'f' ? 0 : 0x1f00000);
  const match = (f7 << 25) | OP.OP_FP | (f3 === null ? 0 : f3 << 12) | (rs2 === 'f' ? 0 : rs2 << 20);
  const operands: Operands = { rd: reg(files.rd, 7), rs1: reg(files.rs1, 15) };
  let syntax = 'rd,rs1';
  if (rs2 === 'f') {
    operands.rs2 = f(20);
    syntax += ',rs2';
  }
  return insn(ext, name, mask, match, operands, f3 === null ? `${syntax},rm` : syntax, body, {
    rm: f3 === null,
    fp: 'write',
  });
}

export const R4 = (ext: string, name: string, opcode: number, fmt: number, ...body: Stmt[]): Insn =>
  insn(
    ext,
    name,
    0x0600007f,
    (fmt << 25) | opcode,
    { rd: f(7), rs1: f(15), rs2: f(20), rs3: f(27) },
    'rd,rs1,rs2,rs3,rm',
    body,
    {
      rm: true,
      fp: 'write',
    },
  );

export const FLOAD = (ext: string, name: string, f3: number, bytes: 4 | 8): Insn =>
  insn(
    ext,
    name,
    F3 | 0x7f,
    (f3 << 12) | OP.LOAD_FP,
    { rd: f(7), rs1: x(15), imm: IMM_I },
    'rd,imm(rs1)',
    [loadStmt(bytes, false, bytes === 4)],
    { fp: 'write' },
  );

export const FSTORE = (ext: string, name: string, f3: number, bytes: 4 | 8): Insn =>
  insn(
    ext,
    name,
    F3 | 0x7f,
    (f3 << 12) | OP.STORE_FP,
    { rs1: x(15), rs2: f(20), imm: IMM_S },
    'rs2,imm(rs1)',
    [storeStmt(bytes)],
    { fp: 'read' },
  );

function loadStmt(bytes: 1 | 2 | 4 | 8, signed: boolean, box = false): Stmt {
  return { s: 'load', bytes, signed, box, addr: add(rs1, imm) };
}
function storeStmt(bytes: 1 | 2 | 4 | 8): Stmt {
  return { s: 'store', bytes, addr: add(rs1, imm), value: rs2 };
}
