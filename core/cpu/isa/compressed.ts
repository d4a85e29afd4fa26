/** C with D (unprivileged manual ch. 27): each entry names the instruction it stands for. */
import { f, fc, immField, x, xc, xfix } from './dsl.ts';
import type { Compressed, ImmField, Operands } from './dsl.ts';

function c(
  name: string,
  base: string,
  mask: number,
  match: number,
  syntax: string,
  operands: Operands,
  ...nonzero: number[]
): Compressed {
  return { name, ext: 'c', mask, match, base, operands, syntax, nonzero };
}
const u = (width: number, ...s: [number, number, number][]): ImmField => immField(false, width, ...s);
const s = (width: number, ...sg: [number, number, number][]): ImmField => immField(true, width, ...sg);
const F3 = 0xe003;
const ZERO: ImmField = u(1);

const LW_OFF = u(7, [12, 10, 3], [6, 6, 2], [5, 5, 6]);
const LD_OFF = u(8, [12, 10, 3], [6, 5, 6]);
const IMM6 = s(6, [12, 12, 5], [6, 2, 0]);
const SHAMT = u(6, [12, 12, 5], [6, 2, 0]);
const J_OFF = s(12, [12, 12, 11], [8, 8, 10], [10, 9, 8], [6, 6, 7], [7, 7, 6], [2, 2, 5], [11, 11, 4], [5, 3, 1]);
const B_OFF = s(9, [12, 12, 8], [6, 5, 6], [2, 2, 5], [11, 10, 3], [4, 3, 1]);
const LWSP = u(8, [12, 12, 5], [6, 4, 2], [3, 2, 6]);
const LDSP = u(9, [12, 12, 5], [6, 5, 3], [4, 2, 6]);
const SWSP = u(8, [12, 9, 2], [8, 7, 6]);
const SDSP = u(9, [12, 10, 3], [9, 7, 6]);
const RD = 0x0f80;
const RS2 = 0x007c;
const IMM_BITS = 0x107c;

export const compressed: Compressed[] = [
  // Quadrant 0
  c(
    'c.addi4spn',
    'addi',
    F3,
    0x0000,
    'rd,sp,imm',
    { rd: xc(2), rs1: xfix(2), imm: u(10, [12, 11, 4], [10, 7, 6], [6, 6, 2], [5, 5, 3]) },
    0x1fe0,
  ),
  c('c.fld', 'fld', F3, 0x2000, 'rd,imm(rs1)', { rd: fc(2), rs1: xc(7), imm: LD_OFF }),
  c('c.lw', 'lw', F3, 0x4000, 'rd,imm(rs1)', { rd: xc(2), rs1: xc(7), imm: LW_OFF }),
  c('c.ld', 'ld', F3, 0x6000, 'rd,imm(rs1)', { rd: xc(2), rs1: xc(7), imm: LD_OFF }),
  c('c.fsd', 'fsd', F3, 0xa000, 'rs2,imm(rs1)', { rs2: fc(2), rs1: xc(7), imm: LD_OFF }),
  c('c.sw', 'sw', F3, 0xc000, 'rs2,imm(rs1)', { rs2: xc(2), rs1: xc(7), imm: LW_OFF }),
  c('c.sd', 'sd', F3, 0xe000, 'rs2,imm(rs1)', { rs2: xc(2), rs1: xc(7), imm: LD_OFF }),
  // Quadrant 1
  c('c.addi', 'addi', F3, 0x0001, 'rd,imm', { rd: x(7), rs1: x(7), imm: IMM6 }),
  c('c.addiw', 'addiw', F3, 0x2001, 'rd,imm', { rd: x(7), rs1: x(7), imm: IMM6 }, RD),
  c('c.li', 'addi', F3, 0x4001, 'rd,imm', { rd: x(7), rs1: xfix(0), imm: IMM6 }),
  c(
    'c.addi16sp',
    'addi',
    0xef83,
    0x6101,
    'sp,imm',
    { rd: xfix(2), rs1: xfix(2), imm: s(10, [12, 12, 9], [4, 3, 7], [5, 5, 6], [2, 2, 5], [6, 6, 4]) },
    IMM_BITS,
  ),
  c('c.lui', 'lui', F3, 0x6001, 'rd,imm', { rd: x(7), imm: s(18, [12, 12, 17], [6, 2, 12]) }, IMM_BITS),
  c('c.srli', 'srli', 0xec03, 0x8001, 'rd,imm', { rd: xc(7), rs1: xc(7), imm: SHAMT }),
  c('c.srai', 'srai', 0xec03, 0x8401, 'rd,imm', { rd: xc(7), rs1: xc(7), imm: SHAMT }),
  c('c.andi', 'andi', 0xec03, 0x8801, 'rd,imm', { rd: xc(7), rs1: xc(7), imm: IMM6 }),
  c('c.sub', 'sub', 0xfc63, 0x8c01, 'rd,rs2', { rd: xc(7), rs1: xc(7), rs2: xc(2) }),
  c('c.xor', 'xor', 0xfc63, 0x8c21, 'rd,rs2', { rd: xc(7), rs1: xc(7), rs2: xc(2) }),
  c('c.or', 'or', 0xfc63, 0x8c41, 'rd,rs2', { rd: xc(7), rs1: xc(7), rs2: xc(2) }),
  c('c.and', 'and', 0xfc63, 0x8c61, 'rd,rs2', { rd: xc(7), rs1: xc(7), rs2: xc(2) }),
  c('c.subw', 'subw', 0xfc63, 0x9c01, 'rd,rs2', { rd: xc(7), rs1: xc(7), rs2: xc(2) }),
  c('c.addw', 'addw', 0xfc63, 0x9c21, 'rd,rs2', { rd: xc(7), rs1: xc(7), rs2: xc(2) }),
  c('c.j', 'jal', F3, 0xa001, 'imm', { rd: xfix(0), imm: J_OFF }),
  c('c.beqz', 'beq', F3, 0xc001, 'rs1,imm', { rs1: xc(7), rs2: xfix(0), imm: B_OFF }),
  c('c.bnez', 'bne', F3, 0xe001, 'rs1,imm', { rs1: xc(7), rs2: xfix(0), imm: B_OFF }),
  // Quadrant 2
  c('c.slli', 'slli', F3, 0x0002, 'rd,imm', { rd: x(7), rs1: x(7), imm: SHAMT }),
  c('c.fldsp', 'fld', F3, 0x2002, 'rd,imm(sp)', { rd: f(7), rs1: xfix(2), imm: LDSP }),
  c('c.lwsp', 'lw', F3, 0x4002, 'rd,imm(sp)', { rd: x(7), rs1: xfix(2), imm: LWSP }, RD),
  c('c.ldsp', 'ld', F3, 0x6002, 'rd,imm(sp)', { rd: x(7), rs1: xfix(2), imm: LDSP }, RD),
  c('c.ebreak', 'ebreak', 0xffff, 0x9002, '', {}),
  c('c.jr', 'jalr', 0xf07f, 0x8002, 'rs1', { rd: xfix(0), rs1: x(7), imm: ZERO }, RD),
  c('c.jalr', 'jalr', 0xf07f, 0x9002, 'rs1', { rd: xfix(1), rs1: x(7), imm: ZERO }, RD),
  c('c.mv', 'add', 0xf003, 0x8002, 'rd,rs2', { rd: x(7), rs1: xfix(0), rs2: x(2) }, RS2),
  c('c.add', 'add', 0xf003, 0x9002, 'rd,rs2', { rd: x(7), rs1: x(7), rs2: x(2) }, RS2),
  c('c.fsdsp', 'fsd', F3, 0xa002, 'rs2,imm(sp)', { rs2: f(2), rs1: xfix(2), imm: SDSP }),
  c('c.swsp', 'sw', F3, 0xc002, 'rs2,imm(sp)', { rs2: x(2), rs1: xfix(2), imm: SWSP }),
  c('c.sdsp', 'sd', F3, 0xe002, 'rs2,imm(sp)', { rs2: x(2), rs1: xfix(2), imm: SDSP }),
];
