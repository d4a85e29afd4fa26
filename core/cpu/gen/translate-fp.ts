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
const REINTERPRET_F64 = 'op(w.F64_REINTERPRET_I64);';
const I32_AND = 'op(w.I32_AND);';

/** The result is in LOCAL_FP: keep it if it is good, else have the helper compute it. `args`: emits the helper's operands. */
function checked(safe: boolean, args: string, helper: string): string {
  const inRange = `localGet(LOCAL_FP); op(w.F64_ABS); localGet(LOCAL_LIMIT); op(w.F64_LT);`;
  const normal = safe
    ? `localGet(LOCAL_FP); op(w.F64_ABS); f64Const(0x0010000000000000); op(w.F64_GT); ${I32_AND}`
    : '';
  return `if (load<u16>(slot, 8) == 0 || load<u16>(slot, 8) == 7) {
        ${inRange} ${normal}
        openLikely(w.TYPE_F64); localGet(LOCAL_FP); elseIf(); ${args} ${helper} ${REINTERPRET_F64} fpLimitReload(); closeIf();
      } else { ${args} ${helper} ${REINTERPRET_F64} fpLimitReload(); }
      setF(${RD});`;
}

const binary =
  (opcode: string, safe: boolean, fn: string): FpTemplate =>
  (call) =>
    `getF(${RS1}); getF(${RS2}); op(${opcode}); localSet(LOCAL_FP);
      ${checked(safe, `getReg(${RS1}); getReg(${RS2}); roundingMode(${MODE});`, call(fn))}`;

const unary =
  (opcode: string, fn: string): FpTemplate =>
  (call) =>
    `getF(${RS1}); op(${opcode}); localSet(LOCAL_FP);
      ${checked(true, `getReg(${RS1}); roundingMode(${MODE});`, call(fn))}`;

/** a * b + c with signs of the product and of c; used where relaxed_madd is fused (probeFma). */
const fused =
  (negateProduct: boolean, negateC: boolean, fn: string): FpTemplate =>
  (call) => {
    const splat = 'op2(w.PREFIX_SIMD, w.F64X2_SPLAT);';
    const a = `getF(${RS1}); ${negateProduct ? `op(w.F64_NEG);` : ''} ${splat}`;
    const c = `getF(${RS3}); ${negateC ? `op(w.F64_NEG);` : ''} ${splat}`;
    const args = `getReg(${RS1}); getReg(${RS2}); getReg(${RS3}); roundingMode(${MODE});`;
    return `if (fmaFused) {
      ${a} getF(${RS2}); ${splat} ${c} op2(w.PREFIX_SIMD, w.F64X2_RELAXED_MADD); op2(w.PREFIX_SIMD, w.F64X2_EXTRACT_LANE); op(0); localSet(LOCAL_FP);
      ${checked(true, args, call(fn))}
      } else { ${args} ${call(fn)} ${REINTERPRET_F64} fpLimitReload(); setF(${RD}); }`;
  };

/** Comparison: neither operand a NaN, or the helper decides (flags). */
const compare =
  (opcode: string, fn: string): FpTemplate =>
  (call) =>
    `getF(${RS1}); getF(${RS1}); op(w.F64_EQ); getF(${RS2}); getF(${RS2}); op(w.F64_EQ); ${I32_AND}
      openLikely(w.TYPE_I64); getF(${RS1}); getF(${RS2}); op(${opcode}); op(w.I64_EXTEND_I32_U);
      elseIf(); getReg(${RS1}); getReg(${RS2}); ${call(fn)} fpLimitReload(); closeIf();
      setReg(${RD});`;

/** Minimum and maximum: WebAssembly's agree with RISC-V's but for NaNs. */
const extreme =
  (opcode: string, fn: string): FpTemplate =>
  (call) =>
    `getF(${RS1}); getF(${RS1}); op(w.F64_EQ); getF(${RS2}); getF(${RS2}); op(w.F64_EQ); ${I32_AND}
      openLikely(w.TYPE_F64); getF(${RS1}); getF(${RS2}); op(${opcode});
      elseIf(); getReg(${RS1}); getReg(${RS2}); ${call(fn)} ${REINTERPRET_F64} fpLimitReload(); closeIf();
      setF(${RD});`;

/** Integer to double, which may be inexact. */
const fromInteger =
  (opcode: string, fn: string): FpTemplate =>
  (call) =>
    `getReg(${RS1}); op(${opcode}); localSet(LOCAL_FP);
      ${checked(false, `getReg(${RS1}); roundingMode(${MODE});`, call(fn))}`;

/** Double to signed integer, toward zero (mode 1): what is in range is at most inexact. \`truncate\`: trunc_sat's second byte. */
const toInteger =
  (bound: string, truncate: string, extend: string, fn: string): FpTemplate =>
  (call) =>
    `if (load<u16>(slot, 8) == 1) {
        getF(${RS1}); op(w.F64_ABS); localGet(LOCAL_LIMIT); f64Const(${bound}); op(w.F64_MIN); op(w.F64_LT);
        openLikely(w.TYPE_I64); getF(${RS1}); op2(w.PREFIX_MISC, ${truncate}); ${extend}
        elseIf(); getReg(${RS1}); roundingMode(${MODE}); ${call(fn)} fpLimitReload(); closeIf();
      } else { getReg(${RS1}); roundingMode(${MODE}); ${call(fn)} fpLimitReload(); }
      setReg(${RD});`;

export const FP_TEMPLATES: Record<string, FpTemplate> = {
  'fadd.d': binary('w.F64_ADD', false, 'faddD'),
  'fsub.d': binary('w.F64_SUB', false, 'fsubD'),
  'fmul.d': binary('w.F64_MUL', true, 'fmulD'),
  'fdiv.d': binary('w.F64_DIV', true, 'fdivD'),
  'fsqrt.d': unary('w.F64_SQRT', 'fsqrtD'),
  'fmadd.d': fused(false, false, 'fmaddD'),
  'fmsub.d': fused(false, true, 'fmsubD'),
  'fnmsub.d': fused(true, false, 'fnmsubD'),
  'fnmadd.d': fused(true, true, 'fnmaddD'),
  'feq.d': compare('w.F64_EQ', 'feqD'),
  'flt.d': compare('w.F64_LT', 'fltD'),
  'fle.d': compare('w.F64_LE', 'fleD'),
  'fmin.d': extreme('w.F64_MIN', 'fminD'),
  'fmax.d': extreme('w.F64_MAX', 'fmaxD'),
  'fcvt.d.l': fromInteger('w.F64_CONVERT_I64_S', 'fcvtDL'),
  'fcvt.d.lu': fromInteger('w.F64_CONVERT_I64_U', 'fcvtDLu'),
  'fcvt.w.d': toInteger('0x41e0000000000000', 'w.I32_TRUNC_SAT_F64_S', 'op(w.I64_EXTEND_I32_S);', 'fcvtWD'),
  'fcvt.l.d': toInteger('0x43e0000000000000', 'w.I64_TRUNC_SAT_F64_S', '', 'fcvtLD'),
  'fsgnj.d': () => `getF(${RS1}); getF(${RS2}); op(w.F64_COPYSIGN); setF(${RD});`,
  'fsgnjn.d': () => `getF(${RS1}); getF(${RS2}); op(w.F64_NEG); op(w.F64_COPYSIGN); setF(${RD});`,
  'fmv.d.x': () => `getReg(${RS1}); ${REINTERPRET_F64} setF(${RD});`,
  'fcvt.d.w': () => `getReg(${RS1}); op(w.I32_WRAP_I64); op(w.F64_CONVERT_I32_S); setF(${RD});`,
  'fcvt.d.wu': () => `getReg(${RS1}); op(w.I32_WRAP_I64); op(w.F64_CONVERT_I32_U); setF(${RD});`,
};
