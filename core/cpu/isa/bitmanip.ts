/** Zba, Zbb, Zbc, Zbs (unprivileged manual, chapter "B"). */
import {
  add,
  and,
  call,
  extS,
  extU,
  geS,
  geU,
  i64,
  imm,
  ltS,
  ltU,
  not,
  op,
  or,
  rs1,
  rs2,
  select,
  set,
  shl,
  shrU,
  wrap,
  xor,
  zext32,
} from './dsl.ts';
import type { Expr, Insn } from './dsl.ts';
import { OP, R, R1, SH5, SH6 } from './formats.ts';

const shadd = (n: number, a: Expr): Expr => add(rs2, shl(a, i64(n)));
const bit = (index: Expr): Expr => shl(i64(1), index);
/** Counting operators of 32 bits give an i32 that is never negative. */
const count32 = (name: 'i32.clz' | 'i32.ctz' | 'i32.popcnt'): Expr => extU(op(name, wrap(rs1)));
const rot32 = (name: 'i32.rotl' | 'i32.rotr', by: Expr): Expr => extS(op(name, wrap(rs1), wrap(by)));

export const zba: Insn[] = [
  R('zba', 'sh1add', OP.OP, 2, 0x10, set(shadd(1, rs1))),
  R('zba', 'sh2add', OP.OP, 4, 0x10, set(shadd(2, rs1))),
  R('zba', 'sh3add', OP.OP, 6, 0x10, set(shadd(3, rs1))),
  R('zba', 'add.uw', OP.OP_32, 0, 0x04, set(shadd(0, zext32(rs1)))),
  R('zba', 'sh1add.uw', OP.OP_32, 2, 0x10, set(shadd(1, zext32(rs1)))),
  R('zba', 'sh2add.uw', OP.OP_32, 4, 0x10, set(shadd(2, zext32(rs1)))),
  R('zba', 'sh3add.uw', OP.OP_32, 6, 0x10, set(shadd(3, zext32(rs1)))),
  SH6('zba', 'slli.uw', OP.OP_IMM_32, 1, 0x02, set(shl(zext32(rs1), imm))),
];

export const zbb: Insn[] = [
  R('zbb', 'andn', OP.OP, 7, 0x20, set(and(rs1, not(rs2)))),
  R('zbb', 'orn', OP.OP, 6, 0x20, set(or(rs1, not(rs2)))),
  R('zbb', 'xnor', OP.OP, 4, 0x20, set(not(xor(rs1, rs2)))),
  R1('zbb', 'clz', OP.OP_IMM, 1, 0x600, set(op('i64.clz', rs1))),
  R1('zbb', 'ctz', OP.OP_IMM, 1, 0x601, set(op('i64.ctz', rs1))),
  R1('zbb', 'cpop', OP.OP_IMM, 1, 0x602, set(op('i64.popcnt', rs1))),
  R1('zbb', 'sext.b', OP.OP_IMM, 1, 0x604, set(op('i64.extend8_s', rs1))),
  R1('zbb', 'sext.h', OP.OP_IMM, 1, 0x605, set(op('i64.extend16_s', rs1))),
  R1('zbb', 'clzw', OP.OP_IMM_32, 1, 0x600, set(count32('i32.clz'))),
  R1('zbb', 'ctzw', OP.OP_IMM_32, 1, 0x601, set(count32('i32.ctz'))),
  R1('zbb', 'cpopw', OP.OP_IMM_32, 1, 0x602, set(count32('i32.popcnt'))),
  R1('zbb', 'zext.h', OP.OP_32, 4, 0x080, set(and(rs1, i64(0xffff)))),
  R('zbb', 'max', OP.OP, 6, 0x05, set(select(geS(rs1, rs2), rs1, rs2))),
  R('zbb', 'maxu', OP.OP, 7, 0x05, set(select(geU(rs1, rs2), rs1, rs2))),
  R('zbb', 'min', OP.OP, 4, 0x05, set(select(ltS(rs1, rs2), rs1, rs2))),
  R('zbb', 'minu', OP.OP, 5, 0x05, set(select(ltU(rs1, rs2), rs1, rs2))),
  R('zbb', 'rol', OP.OP, 1, 0x30, set(op('i64.rotl', rs1, rs2))),
  R('zbb', 'ror', OP.OP, 5, 0x30, set(op('i64.rotr', rs1, rs2))),
  SH6('zbb', 'rori', OP.OP_IMM, 5, 0x18, set(op('i64.rotr', rs1, imm))),
  R('zbb', 'rolw', OP.OP_32, 1, 0x30, set(rot32('i32.rotl', rs2))),
  R('zbb', 'rorw', OP.OP_32, 5, 0x30, set(rot32('i32.rotr', rs2))),
  SH5('zbb', 'roriw', OP.OP_IMM_32, 5, 0x30, set(rot32('i32.rotr', imm))),
  R1('zbb', 'orc.b', OP.OP_IMM, 5, 0x287, set(call('orcB', rs1))),
  R1('zbb', 'rev8', OP.OP_IMM, 5, 0x6b8, set(call('rev8', rs1))),
];

export const zbc: Insn[] = [
  R('zbc', 'clmul', OP.OP, 1, 0x05, set(call('clmul', rs1, rs2))),
  R('zbc', 'clmulh', OP.OP, 3, 0x05, set(call('clmulh', rs1, rs2))),
  R('zbc', 'clmulr', OP.OP, 2, 0x05, set(call('clmulr', rs1, rs2))),
];

export const zbs: Insn[] = [
  R('zbs', 'bclr', OP.OP, 1, 0x24, set(and(rs1, not(bit(rs2))))),
  SH6('zbs', 'bclri', OP.OP_IMM, 1, 0x12, set(and(rs1, not(bit(imm))))),
  R('zbs', 'bext', OP.OP, 5, 0x24, set(and(shrU(rs1, rs2), i64(1)))),
  SH6('zbs', 'bexti', OP.OP_IMM, 5, 0x12, set(and(shrU(rs1, imm), i64(1)))),
  R('zbs', 'binv', OP.OP, 1, 0x34, set(xor(rs1, bit(rs2)))),
  SH6('zbs', 'binvi', OP.OP_IMM, 1, 0x1a, set(xor(rs1, bit(imm)))),
  R('zbs', 'bset', OP.OP, 1, 0x14, set(or(rs1, bit(rs2)))),
  SH6('zbs', 'bseti', OP.OP_IMM, 1, 0x0a, set(or(rs1, bit(imm)))),
];
