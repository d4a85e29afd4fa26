/** F, D (unprivileged manual ch. 21, 22) and Zfa (ch. 23). Functions named in calls are those of core/cpu/fpu. */
import { call, f, i64, imm, immField, or, rm, rs1, rs2, rs3, set, sext32, wrap } from './dsl.ts';
import type { Expr, Insn } from './dsl.ts';
import { FLOAD, FP, FSTORE, insn, OP, R4 } from './formats.ts';

const FFF = { rd: 'f', rs1: 'f', rs2: 'f' } as const;
const FF = { rd: 'f', rs1: 'f' } as const;
const XFF = { rd: 'x', rs1: 'f', rs2: 'f' } as const;
const XF = { rd: 'x', rs1: 'f' } as const;
const FX = { rd: 'f', rs1: 'x' } as const;
const box = (e: Expr): Expr => or(e, i64(0xffffffff00000000n));

/** Both formats; `fmt` 0 is single, 1 is double, and the engine's functions end in S or D. */
function both(make: (suffix: 's' | 'd', S: 'S' | 'D', fmt: 0 | 1, ext: 'f' | 'd') => Insn[]): Insn[] {
  return [...make('s', 'S', 0, 'f'), ...make('d', 'D', 1, 'd')];
}

export const fd: Insn[] = [
  FLOAD('f', 'flw', 2, 4),
  FLOAD('d', 'fld', 3, 8),
  FSTORE('f', 'fsw', 2, 4),
  FSTORE('d', 'fsd', 3, 8),
  ...both((s, S, fmt, ext) => [
    R4(ext, `fmadd.${s}`, OP.MADD, fmt, set(call(`fmadd${S}`, rs1, rs2, rs3, rm))),
    R4(ext, `fmsub.${s}`, OP.MSUB, fmt, set(call(`fmsub${S}`, rs1, rs2, rs3, rm))),
    R4(ext, `fnmsub.${s}`, OP.NMSUB, fmt, set(call(`fnmsub${S}`, rs1, rs2, rs3, rm))),
    R4(ext, `fnmadd.${s}`, OP.NMADD, fmt, set(call(`fnmadd${S}`, rs1, rs2, rs3, rm))),
    FP(ext, `fadd.${s}`, 0x00 | fmt, null, 'f', FFF, set(call(`fadd${S}`, rs1, rs2, rm))),
    FP(ext, `fsub.${s}`, 0x04 | fmt, null, 'f', FFF, set(call(`fsub${S}`, rs1, rs2, rm))),
    FP(ext, `fmul.${s}`, 0x08 | fmt, null, 'f', FFF, set(call(`fmul${S}`, rs1, rs2, rm))),
    FP(ext, `fdiv.${s}`, 0x0c | fmt, null, 'f', FFF, set(call(`fdiv${S}`, rs1, rs2, rm))),
    FP(ext, `fsqrt.${s}`, 0x2c | fmt, null, 0, FF, set(call(`fsqrt${S}`, rs1, rm))),
    FP(ext, `fsgnj.${s}`, 0x10 | fmt, 0, 'f', FFF, set(call(`fsgnj${S}`, rs1, rs2))),
    FP(ext, `fsgnjn.${s}`, 0x10 | fmt, 1, 'f', FFF, set(call(`fsgnjn${S}`, rs1, rs2))),
    FP(ext, `fsgnjx.${s}`, 0x10 | fmt, 2, 'f', FFF, set(call(`fsgnjx${S}`, rs1, rs2))),
    FP(ext, `fmin.${s}`, 0x14 | fmt, 0, 'f', FFF, set(call(`fmin${S}`, rs1, rs2))),
    FP(ext, `fmax.${s}`, 0x14 | fmt, 1, 'f', FFF, set(call(`fmax${S}`, rs1, rs2))),
    FP(ext, `fle.${s}`, 0x50 | fmt, 0, 'f', XFF, set(call(`fle${S}`, rs1, rs2))),
    FP(ext, `flt.${s}`, 0x50 | fmt, 1, 'f', XFF, set(call(`flt${S}`, rs1, rs2))),
    FP(ext, `feq.${s}`, 0x50 | fmt, 2, 'f', XFF, set(call(`feq${S}`, rs1, rs2))),
    FP(ext, `fclass.${s}`, 0x70 | fmt, 1, 0, XF, set(call(`fclass${S}`, rs1))),
    FP(ext, `fcvt.w.${s}`, 0x60 | fmt, null, 0, XF, set(call(`fcvtW${S}`, rs1, rm))),
    FP(ext, `fcvt.wu.${s}`, 0x60 | fmt, null, 1, XF, set(call(`fcvtWu${S}`, rs1, rm))),
    FP(ext, `fcvt.l.${s}`, 0x60 | fmt, null, 2, XF, set(call(`fcvtL${S}`, rs1, rm))),
    FP(ext, `fcvt.lu.${s}`, 0x60 | fmt, null, 3, XF, set(call(`fcvtLu${S}`, rs1, rm))),
    FP(ext, `fcvt.${s}.w`, 0x68 | fmt, null, 0, FX, set(call(`fcvt${S}W`, rs1, rm))),
    FP(ext, `fcvt.${s}.wu`, 0x68 | fmt, null, 1, FX, set(call(`fcvt${S}Wu`, rs1, rm))),
    FP(ext, `fcvt.${s}.l`, 0x68 | fmt, null, 2, FX, set(call(`fcvt${S}L`, rs1, rm))),
    FP(ext, `fcvt.${s}.lu`, 0x68 | fmt, null, 3, FX, set(call(`fcvt${S}Lu`, rs1, rm))),
  ]),
  FP('d', 'fcvt.s.d', 0x20, null, 1, FF, set(call('fcvtSD', rs1, rm))),
  FP('d', 'fcvt.d.s', 0x21, null, 0, FF, set(call('fcvtDS', rs1, rm))),
  FP('f', 'fmv.x.w', 0x70, 0, 0, XF, set(sext32(rs1))),
  FP('f', 'fmv.w.x', 0x78, 0, 0, FX, set(box(rs1))),
  FP('d', 'fmv.x.d', 0x71, 0, 0, XF, set(rs1)),
  FP('d', 'fmv.d.x', 0x79, 0, 0, FX, set(rs1)),
];

/** Index of fli's constant: the rs1 field. */
const FLI_FIELD = immField(false, 5, [19, 15, 0]);
const fli = (name: string, f7: number, fn: string): Insn =>
  insn(
    'zfa',
    name,
    0xfff0707f,
    (f7 << 25) | (1 << 20) | OP.OP_FP,
    { rd: f(7), imm: FLI_FIELD },
    'rd,imm',
    [set(call(fn, wrap(imm)))],
    { fp: 'write' },
  );

export const zfa: Insn[] = [
  fli('fli.s', 0x78, 'fliS'),
  fli('fli.d', 0x79, 'fliD'),
  ...both((s, S, fmt) => [
    FP('zfa', `fminm.${s}`, 0x14 | fmt, 2, 'f', FFF, set(call(`fminm${S}`, rs1, rs2))),
    FP('zfa', `fmaxm.${s}`, 0x14 | fmt, 3, 'f', FFF, set(call(`fmaxm${S}`, rs1, rs2))),
    FP('zfa', `fround.${s}`, 0x20 | fmt, null, 4, FF, set(call(`fround${S}`, rs1, rm))),
    FP('zfa', `froundnx.${s}`, 0x20 | fmt, null, 5, FF, set(call(`froundnx${S}`, rs1, rm))),
    FP('zfa', `fleq.${s}`, 0x50 | fmt, 4, 'f', XFF, set(call(`fleq${S}`, rs1, rs2))),
    FP('zfa', `fltq.${s}`, 0x50 | fmt, 5, 'f', XFF, set(call(`fltq${S}`, rs1, rs2))),
  ]),
  insn(
    'zfa',
    'fcvtmod.w.d',
    0xfff0707f,
    (0x61 << 25) | (8 << 20) | (1 << 12) | OP.OP_FP,
    { rd: { file: 'x', lo: 7, width: 5, base: 0 }, rs1: f(15) },
    'rd,rs1,rtz',
    [set(call('fcvtmodWD', rs1))],
    { fp: 'write' },
  ),
];
