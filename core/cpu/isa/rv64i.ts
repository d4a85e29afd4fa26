/** RV64I, Zifencei, Zicsr and the privileged instructions (unprivileged manual ch. 2, 4, 6, 7; privileged manual 3.3, 12.2). */
import {
  add,
  and,
  call,
  eq,
  geS,
  geU,
  i64,
  imm,
  ltS,
  ltU,
  ne,
  op,
  or,
  pc,
  rs1,
  rs2,
  select,
  set,
  sext32,
  shl,
  shrS,
  shrU,
  sub,
  wrap,
  extS,
  extU,
  xor,
  immField,
  x,
} from './dsl.ts';
import type { Expr, Insn } from './dsl.ts';
import { B, I, insn, J, LOAD, OP, R, SH5, SH6, STORE, SYS, U } from './formats.ts';

const bool = (e: Expr): Expr => extU(e);
const addw = (a: Expr, b: Expr): Expr => sext32(add(a, b));
const shift32 = (name: 'i32.shl' | 'i32.shr_s' | 'i32.shr_u', a: Expr, b: Expr): Expr =>
  extS(op(name, wrap(a), wrap(b)));

export const rv64i: Insn[] = [
  U('i', 'lui', OP.LUI, set(imm)),
  U('i', 'auipc', OP.AUIPC, set(add(pc, imm))),
  J('i', 'jal', OP.JAL, { s: 'jump' }),
  { ...I('i', 'jalr', OP.JALR, 0, { s: 'jumpReg', target: and(add(rs1, imm), i64(-2)) }), syntax: 'rd,imm(rs1)' },

  B('i', 'beq', 0, { s: 'branch', cond: eq(rs1, rs2) }),
  B('i', 'bne', 1, { s: 'branch', cond: ne(rs1, rs2) }),
  B('i', 'blt', 4, { s: 'branch', cond: ltS(rs1, rs2) }),
  B('i', 'bge', 5, { s: 'branch', cond: geS(rs1, rs2) }),
  B('i', 'bltu', 6, { s: 'branch', cond: ltU(rs1, rs2) }),
  B('i', 'bgeu', 7, { s: 'branch', cond: geU(rs1, rs2) }),

  LOAD('i', 'lb', 0, 1, true),
  LOAD('i', 'lh', 1, 2, true),
  LOAD('i', 'lw', 2, 4, true),
  LOAD('i', 'ld', 3, 8, true),
  LOAD('i', 'lbu', 4, 1, false),
  LOAD('i', 'lhu', 5, 2, false),
  LOAD('i', 'lwu', 6, 4, false),
  STORE('i', 'sb', 0, 1),
  STORE('i', 'sh', 1, 2),
  STORE('i', 'sw', 2, 4),
  STORE('i', 'sd', 3, 8),

  I('i', 'addi', OP.OP_IMM, 0, set(add(rs1, imm))),
  I('i', 'slti', OP.OP_IMM, 2, set(bool(ltS(rs1, imm)))),
  I('i', 'sltiu', OP.OP_IMM, 3, set(bool(ltU(rs1, imm)))),
  I('i', 'xori', OP.OP_IMM, 4, set(xor(rs1, imm))),
  I('i', 'ori', OP.OP_IMM, 6, set(or(rs1, imm))),
  I('i', 'andi', OP.OP_IMM, 7, set(and(rs1, imm))),
  SH6('i', 'slli', OP.OP_IMM, 1, 0x00, set(shl(rs1, imm))),
  SH6('i', 'srli', OP.OP_IMM, 5, 0x00, set(shrU(rs1, imm))),
  SH6('i', 'srai', OP.OP_IMM, 5, 0x10, set(shrS(rs1, imm))),
  I('i', 'addiw', OP.OP_IMM_32, 0, set(addw(rs1, imm))),
  SH5('i', 'slliw', OP.OP_IMM_32, 1, 0x00, set(shift32('i32.shl', rs1, imm))),
  SH5('i', 'srliw', OP.OP_IMM_32, 5, 0x00, set(shift32('i32.shr_u', rs1, imm))),
  SH5('i', 'sraiw', OP.OP_IMM_32, 5, 0x20, set(shift32('i32.shr_s', rs1, imm))),

  R('i', 'add', OP.OP, 0, 0x00, set(add(rs1, rs2))),
  R('i', 'sub', OP.OP, 0, 0x20, set(sub(rs1, rs2))),
  R('i', 'sll', OP.OP, 1, 0x00, set(shl(rs1, rs2))),
  R('i', 'slt', OP.OP, 2, 0x00, set(bool(ltS(rs1, rs2)))),
  R('i', 'sltu', OP.OP, 3, 0x00, set(bool(ltU(rs1, rs2)))),
  R('i', 'xor', OP.OP, 4, 0x00, set(xor(rs1, rs2))),
  R('i', 'srl', OP.OP, 5, 0x00, set(shrU(rs1, rs2))),
  R('i', 'sra', OP.OP, 5, 0x20, set(shrS(rs1, rs2))),
  R('i', 'or', OP.OP, 6, 0x00, set(or(rs1, rs2))),
  R('i', 'and', OP.OP, 7, 0x00, set(and(rs1, rs2))),
  R('i', 'addw', OP.OP_32, 0, 0x00, set(addw(rs1, rs2))),
  R('i', 'subw', OP.OP_32, 0, 0x20, set(sext32(sub(rs1, rs2)))),
  R('i', 'sllw', OP.OP_32, 1, 0x00, set(shift32('i32.shl', rs1, rs2))),
  R('i', 'srlw', OP.OP_32, 5, 0x00, set(shift32('i32.shr_u', rs1, rs2))),
  R('i', 'sraw', OP.OP_32, 5, 0x20, set(shift32('i32.shr_s', rs1, rs2))),

  // Zicond
  R('zicond', 'czero.eqz', OP.OP, 5, 0x07, set(select(eq(rs2, i64(0)), i64(0), rs1))),
  R('zicond', 'czero.nez', OP.OP, 7, 0x07, set(select(ne(rs2, i64(0)), i64(0), rs1))),
];

/** CSR number in the I immediate's place, and the five-bit immediate of the csr..i forms. */
const CSR_FIELD = immField(false, 12, [31, 20, 0]);
const csr = (name: string, f3: number): Insn =>
  SYS('zicsr', name, 0x707f, (f3 << 12) | OP.SYSTEM, 'execCsr', f3 & 4 ? 'rd,csr,uimm' : 'rd,csr,rs1', {
    rd: x(7),
    ...(f3 & 4 ? {} : { rs1: x(15) }),
    imm: CSR_FIELD,
  });

export const system: Insn[] = [
  SYS('i', 'fence', 0x707f, 0x0000000f, 'execFence', ''),
  SYS('zifencei', 'fence.i', 0x707f, 0x0000100f, 'execFenceI', ''),
  SYS('i', 'ecall', 0xffffffff, 0x00000073, 'execEcall'),
  SYS('i', 'ebreak', 0xffffffff, 0x00100073, 'execEbreak'),
  csr('csrrw', 1),
  csr('csrrs', 2),
  csr('csrrc', 3),
  csr('csrrwi', 5),
  csr('csrrsi', 6),
  csr('csrrci', 7),
  SYS('priv', 'sret', 0xffffffff, 0x10200073, 'execSret'),
  SYS('priv', 'mret', 0xffffffff, 0x30200073, 'execMret'),
  SYS('priv', 'wfi', 0xffffffff, 0x10500073, 'execWfi'),
  SYS('priv', 'sfence.vma', 0xfe007fff, 0x12000073, 'execSfenceVma', 'rs1,rs2', { rs1: x(15), rs2: x(20) }),
  SYS('svinval', 'sinval.vma', 0xfe007fff, 0x16000073, 'execSfenceVma', 'rs1,rs2', { rs1: x(15), rs2: x(20) }),
  SYS('svinval', 'sfence.w.inval', 0xffffffff, 0x18000073, 'execSfenceInval'),
  SYS('svinval', 'sfence.inval.ir', 0xffffffff, 0x18100073, 'execSfenceInval'),
  SYS('zicbom', 'cbo.inval', 0xfff07fff, 0x0000200f, 'execCbo', '(rs1)', { rs1: x(15) }),
  SYS('zicbom', 'cbo.clean', 0xfff07fff, 0x0010200f, 'execCbo', '(rs1)', { rs1: x(15) }),
  SYS('zicbom', 'cbo.flush', 0xfff07fff, 0x0020200f, 'execCbo', '(rs1)', { rs1: x(15) }),
  SYS('zicboz', 'cbo.zero', 0xfff07fff, 0x0040200f, 'execCbo', '(rs1)', { rs1: x(15) }),
];

const AMO = (
  name: string,
  f5: number,
  amo: 'swap' | 'add' | 'and' | 'or' | 'xor' | 'min' | 'max' | 'minu' | 'maxu',
): Insn[] =>
  ([4, 8] as const).map((bytes) =>
    insn(
      'a',
      `${name}.${bytes === 4 ? 'w' : 'd'}`,
      0xf800707f,
      (f5 << 27) | (bytes === 4 ? 0x2000 : 0x3000) | OP.AMO,
      { rd: x(7), rs1: x(15), rs2: x(20) },
      'rd,rs2,(rs1)',
      [{ s: 'amo', op: amo, bytes }],
    ),
  );

export const rv64a: Insn[] = [
  ...([4, 8] as const).flatMap((bytes): Insn[] => {
    const suffix = bytes === 4 ? 'w' : 'd';
    const f3 = bytes === 4 ? 0x2000 : 0x3000;
    return [
      insn('a', `lr.${suffix}`, 0xf9f0707f, (2 << 27) | f3 | OP.AMO, { rd: x(7), rs1: x(15) }, 'rd,(rs1)', [
        { s: 'loadReserved', bytes },
      ]),
      insn(
        'a',
        `sc.${suffix}`,
        0xf800707f,
        (3 << 27) | f3 | OP.AMO,
        { rd: x(7), rs1: x(15), rs2: x(20) },
        'rd,rs2,(rs1)',
        [{ s: 'storeConditional', bytes }],
      ),
    ];
  }),
  ...AMO('amoswap', 1, 'swap'),
  ...AMO('amoadd', 0, 'add'),
  ...AMO('amoxor', 4, 'xor'),
  ...AMO('amoand', 12, 'and'),
  ...AMO('amoor', 8, 'or'),
  ...AMO('amomin', 16, 'min'),
  ...AMO('amomax', 20, 'max'),
  ...AMO('amominu', 24, 'minu'),
  ...AMO('amomaxu', 28, 'maxu'),
];

const mulh = (fn: string): Expr => call(fn, rs1, rs2);

/** M: division by zero and overflow have defined results (unprivileged manual 13.2). */
import { bind, i32, mul, when, eqz } from './dsl.ts';
import type { Stmt } from './dsl.ts';

const MIN64 = i64(-(2n ** 63n));

function div64(signed: boolean, rem: boolean): Stmt[] {
  const operator = `i64.${rem ? 'rem' : 'div'}_${signed ? 's' : 'u'}` as const;
  const onZero = rem ? rs1 : i64(-1);
  const quotient = op(operator, rs1, rs2);
  if (!signed || rem) return [set(when(eqz(rs2), onZero, quotient))];
  const overflow = op('i32.and', eq(rs1, MIN64), eq(rs2, i64(-1)));
  return [set(when(eqz(rs2), onZero, when(overflow, MIN64, quotient)))];
}

function div32(signed: boolean, rem: boolean): Stmt[] {
  const operator = `i32.${rem ? 'rem' : 'div'}_${signed ? 's' : 'u'}` as const;
  const a = bind(wrap(rs1));
  const b = bind(wrap(rs2));
  const onZero = rem ? a.value : i32(-1);
  let quotient = op(operator, a.value, b.value);
  if (signed && !rem) {
    const overflow = op('i32.and', op('i32.eq', a.value, i32(-(2 ** 31))), op('i32.eq', b.value, i32(-1)));
    quotient = when(overflow, i32(-(2 ** 31)), quotient);
  }
  return [a.stmt, b.stmt, set(extS(when(op('i32.eqz', b.value), onZero, quotient)))];
}

export const rv64m: Insn[] = [
  R('m', 'mul', OP.OP, 0, 1, set(mul(rs1, rs2))),
  R('m', 'mulh', OP.OP, 1, 1, set(mulh('mulh'))),
  R('m', 'mulhsu', OP.OP, 2, 1, set(mulh('mulhsu'))),
  R('m', 'mulhu', OP.OP, 3, 1, set(mulh('mulhu'))),
  R('m', 'div', OP.OP, 4, 1, ...div64(true, false)),
  R('m', 'divu', OP.OP, 5, 1, ...div64(false, false)),
  R('m', 'rem', OP.OP, 6, 1, ...div64(true, true)),
  R('m', 'remu', OP.OP, 7, 1, ...div64(false, true)),
  R('m', 'mulw', OP.OP_32, 0, 1, set(extS(op('i32.mul', wrap(rs1), wrap(rs2))))),
  R('m', 'divw', OP.OP_32, 4, 1, ...div32(true, false)),
  R('m', 'divuw', OP.OP_32, 5, 1, ...div32(false, false)),
  R('m', 'remw', OP.OP_32, 6, 1, ...div32(true, true)),
  R('m', 'remuw', OP.OP_32, 7, 1, ...div32(false, true)),
];
