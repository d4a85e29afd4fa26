/**
 * Floating-point instructions that the translator does with WebAssembly's own: the host's operation, and a look at the result.
 * LOCAL_LIMIT is Infinity while no flag but accrued ones can be due (frm RNE, NX set), else -1; whatever the look does not clear goes to the exact helper.
 * Sources: core/cpu/fpu/arith.as.ts, whose fast paths these are.
 */

/** Prints AssemblyScript that emits the instruction in \`slot\`. */
export type FpTemplate = (helperCall: (name: string) => string) => string;

const RD = 'load<u16>(slot, 2)';
const RS1 = 'load<u16>(slot, 4)';
const RS2 = 'load<u16>(slot, 6)';
const RS3 = 'load<u16>(slot, 10)';
const MODE = 'load<u16>(slot, 8)';
const REINTERPRET_F64 = 'op(0xbf);';

const F64 = {
  eq: 0x61,
  lt: 0x63,
  le: 0x65,
  gt: 0x64,
  abs: 0x99,
  neg: 0x9a,
  sqrt: 0x9f,
  add: 0xa0,
  sub: 0xa1,
  mul: 0xa2,
};
const F64_DIV = 0xa3;
const F64_MIN = 0xa4;
const F64_MAX = 0xa5;
const F64_COPYSIGN = 0xa6;
const I32_AND = 'op(0x71);';

/** The result is in LOCAL_FP: keep it if it is good, else have the helper compute it. `args`: emits the helper's operands. */
function checked(safe: boolean, args: string, helper: string): string {
  const inRange = `localGet(LOCAL_FP); op(${F64.abs}); localGet(LOCAL_LIMIT); op(${F64.lt});`;
  const normal = safe
    ? `localGet(LOCAL_FP); op(${F64.abs}); f64Const(0x0010000000000000); op(${F64.gt}); ${I32_AND}`
    : '';
  return `if (load<u16>(slot, 8) == 0 || load<u16>(slot, 8) == 7) {
        ${inRange} ${normal}
        openLikely(0x7c); localGet(LOCAL_FP); elseIf(); ${args} ${helper} ${REINTERPRET_F64} fpLimitReload(); closeIf();
      } else { ${args} ${helper} ${REINTERPRET_F64} fpLimitReload(); }
      setF(${RD});`;
}

const binary =
  (opcode: number, safe: boolean, fn: string): FpTemplate =>
  (call) =>
    `getF(${RS1}); getF(${RS2}); op(${opcode}); localSet(LOCAL_FP);
      ${checked(safe, `getReg(${RS1}); getReg(${RS2}); roundingMode(${MODE});`, call(fn))}`;

const unary =
  (opcode: number, fn: string): FpTemplate =>
  (call) =>
    `getF(${RS1}); op(${opcode}); localSet(LOCAL_FP);
      ${checked(true, `getReg(${RS1}); roundingMode(${MODE});`, call(fn))}`;

/** a * b + c with signs of the product and of c; used where relaxed_madd is fused (probeFma). */
const fused =
  (negateProduct: boolean, negateC: boolean, fn: string): FpTemplate =>
  (call) => {
    const splat = 'op2(0xfd, 20);';
    const a = `getF(${RS1}); ${negateProduct ? `op(${F64.neg});` : ''} ${splat}`;
    const c = `getF(${RS3}); ${negateC ? `op(${F64.neg});` : ''} ${splat}`;
    const args = `getReg(${RS1}); getReg(${RS2}); getReg(${RS3}); roundingMode(${MODE});`;
    return `if (fmaFused) {
      ${a} getF(${RS2}); ${splat} ${c} op2(0xfd, 0x107); op2(0xfd, 33); op(0); localSet(LOCAL_FP);
      ${checked(true, args, call(fn))}
      } else { ${args} ${call(fn)} ${REINTERPRET_F64} fpLimitReload(); setF(${RD}); }`;
  };

/** Comparison: neither operand a NaN, or the helper decides (flags). */
const compare =
  (opcode: number, fn: string): FpTemplate =>
  (call) =>
    `getF(${RS1}); getF(${RS1}); op(${F64.eq}); getF(${RS2}); getF(${RS2}); op(${F64.eq}); ${I32_AND}
      openLikely(0x7e); getF(${RS1}); getF(${RS2}); op(${opcode}); op(0xad);
      elseIf(); getReg(${RS1}); getReg(${RS2}); ${call(fn)} fpLimitReload(); closeIf();
      setReg(${RD});`;

/** Minimum and maximum: WebAssembly's agree with RISC-V's but for NaNs. */
const extreme =
  (opcode: number, fn: string): FpTemplate =>
  (call) =>
    `getF(${RS1}); getF(${RS1}); op(${F64.eq}); getF(${RS2}); getF(${RS2}); op(${F64.eq}); ${I32_AND}
      openLikely(0x7c); getF(${RS1}); getF(${RS2}); op(${opcode});
      elseIf(); getReg(${RS1}); getReg(${RS2}); ${call(fn)} ${REINTERPRET_F64} fpLimitReload(); closeIf();
      setF(${RD});`;

/** Integer to double, which may be inexact. */
const fromInteger =
  (opcode: number, fn: string): FpTemplate =>
  (call) =>
    `getReg(${RS1}); op(${opcode}); localSet(LOCAL_FP);
      ${checked(false, `getReg(${RS1}); roundingMode(${MODE});`, call(fn))}`;

/** Double to signed integer, toward zero (mode 1): what is in range is at most inexact. \`truncate\`: trunc_sat's second byte. */
const toInteger =
  (bound: string, truncate: number, extend: string, fn: string): FpTemplate =>
  (call) =>
    `if (load<u16>(slot, 8) == 1) {
        getF(${RS1}); op(${F64.abs}); localGet(LOCAL_LIMIT); f64Const(${bound}); op(${F64_MIN}); op(${F64.lt});
        openLikely(0x7e); getF(${RS1}); op2(0xfc, ${truncate}); ${extend}
        elseIf(); getReg(${RS1}); roundingMode(${MODE}); ${call(fn)} fpLimitReload(); closeIf();
      } else { getReg(${RS1}); roundingMode(${MODE}); ${call(fn)} fpLimitReload(); }
      setReg(${RD});`;

export const FP_TEMPLATES: Record<string, FpTemplate> = {
  'fadd.d': binary(F64.add, false, 'faddD'),
  'fsub.d': binary(F64.sub, false, 'fsubD'),
  'fmul.d': binary(F64.mul, true, 'fmulD'),
  'fdiv.d': binary(F64_DIV, true, 'fdivD'),
  'fsqrt.d': unary(F64.sqrt, 'fsqrtD'),
  'fmadd.d': fused(false, false, 'fmaddD'),
  'fmsub.d': fused(false, true, 'fmsubD'),
  'fnmsub.d': fused(true, false, 'fnmsubD'),
  'fnmadd.d': fused(true, true, 'fnmaddD'),
  'feq.d': compare(F64.eq, 'feqD'),
  'flt.d': compare(F64.lt, 'fltD'),
  'fle.d': compare(F64.le, 'fleD'),
  'fmin.d': extreme(F64_MIN, 'fminD'),
  'fmax.d': extreme(F64_MAX, 'fmaxD'),
  'fcvt.d.l': fromInteger(0xb9, 'fcvtDL'),
  'fcvt.d.lu': fromInteger(0xba, 'fcvtDLu'),
  'fcvt.w.d': toInteger('0x41e0000000000000', 2, 'op(0xac);', 'fcvtWD'),
  'fcvt.l.d': toInteger('0x43e0000000000000', 6, '', 'fcvtLD'),
  'fsgnj.d': () => `getF(${RS1}); getF(${RS2}); op(${F64_COPYSIGN}); setF(${RD});`,
  'fsgnjn.d': () => `getF(${RS1}); getF(${RS2}); op(${F64.neg}); op(${F64_COPYSIGN}); setF(${RD});`,
  'fmv.d.x': () => `getReg(${RS1}); ${REINTERPRET_F64} setF(${RD});`,
  'fcvt.d.w': () => `getReg(${RS1}); op(0xa7); op(0xb7); setF(${RD});`,
  'fcvt.d.wu': () => `getReg(${RS1}); op(0xa7); op(0xb8); setF(${RD});`,
};
