/**
 * Minimum and maximum, comparison, classification and sign injection of the "F", "D" and "Zfa" extensions. Raw
 * registers in and out; flags accrue in fpFlags. None of these rounds.
 */
import {
  BOXED_NAN_S, FLAG_NV, NAN_D, SIGN_D, SIGN_S,
  accrue, box, boxFloat, isNanD, isNanS, isSignallingD, isSignallingS, toBits, toDouble, toFloat, unbox,
} from './state.as';

/** NV if an operand signals. */
function signalD(a: u64, b: u64): void {
  if (isSignallingD(a) || isSignallingD(b)) accrue(FLAG_NV);
}

function signalS(a: u32, b: u32): void {
  if (isSignallingS(a) || isSignallingS(b)) accrue(FLAG_NV);
}

/** minimumNumber or maximumNumber where an operand is a NaN: the other one. */
function numberD(a: u64, b: u64): u64 {
  signalD(a, b);
  if (!isNanD(a)) return a;
  return isNanD(b) ? NAN_D : b;
}

function numberS(a: u32, b: u32): u64 {
  signalS(a, b);
  if (!isNanS(a)) return box(a);
  return isNanS(b) ? BOXED_NAN_S : box(b);
}

// ---- minimum, maximum: wasm's own order -0 below +0 and give NaN for NaN ------------------------------------------

export function fminD(a: u64, b: u64): u64 {
  const result = min<f64>(toDouble(a), toDouble(b));
  return result == result ? toBits(result) : numberD(a, b);
}

export function fmaxD(a: u64, b: u64): u64 {
  const result = max<f64>(toDouble(a), toDouble(b));
  return result == result ? toBits(result) : numberD(a, b);
}

/** Zfa: NaN if an operand is one. */
export function fminmD(a: u64, b: u64): u64 {
  const result = min<f64>(toDouble(a), toDouble(b));
  if (result == result) return toBits(result);
  signalD(a, b);
  return NAN_D;
}

/** Zfa: NaN if an operand is one. */
export function fmaxmD(a: u64, b: u64): u64 {
  const result = max<f64>(toDouble(a), toDouble(b));
  if (result == result) return toBits(result);
  signalD(a, b);
  return NAN_D;
}

export function fminS(a: u64, b: u64): u64 {
  const x = unbox(a);
  const y = unbox(b);
  const result = min<f32>(toFloat(x), toFloat(y));
  return result == result ? boxFloat(result) : numberS(x, y);
}

export function fmaxS(a: u64, b: u64): u64 {
  const x = unbox(a);
  const y = unbox(b);
  const result = max<f32>(toFloat(x), toFloat(y));
  return result == result ? boxFloat(result) : numberS(x, y);
}

/** Zfa: NaN if an operand is one. */
export function fminmS(a: u64, b: u64): u64 {
  const x = unbox(a);
  const y = unbox(b);
  const result = min<f32>(toFloat(x), toFloat(y));
  if (result == result) return boxFloat(result);
  signalS(x, y);
  return BOXED_NAN_S;
}

/** Zfa: NaN if an operand is one. */
export function fmaxmS(a: u64, b: u64): u64 {
  const x = unbox(a);
  const y = unbox(b);
  const result = max<f32>(toFloat(x), toFloat(y));
  if (result == result) return boxFloat(result);
  signalS(x, y);
  return BOXED_NAN_S;
}

// ---- comparison: 0 or 1 for an integer register; false with a NaN. feq and the q forms are quiet ------------------

export function feqD(a: u64, b: u64): u64 {
  if (toDouble(a) == toDouble(b)) return 1;
  signalD(a, b);
  return 0;
}

export function fltD(a: u64, b: u64): u64 {
  const x = toDouble(a);
  const y = toDouble(b);
  if (x < y) return 1;
  if (!(x >= y)) accrue(FLAG_NV);
  return 0;
}

export function fleD(a: u64, b: u64): u64 {
  const x = toDouble(a);
  const y = toDouble(b);
  if (x <= y) return 1;
  if (!(x > y)) accrue(FLAG_NV);
  return 0;
}

export function fltqD(a: u64, b: u64): u64 {
  if (toDouble(a) < toDouble(b)) return 1;
  signalD(a, b);
  return 0;
}

export function fleqD(a: u64, b: u64): u64 {
  if (toDouble(a) <= toDouble(b)) return 1;
  signalD(a, b);
  return 0;
}

export function feqS(a: u64, b: u64): u64 {
  const x = unbox(a);
  const y = unbox(b);
  if (toFloat(x) == toFloat(y)) return 1;
  signalS(x, y);
  return 0;
}

export function fltS(a: u64, b: u64): u64 {
  const x = toFloat(unbox(a));
  const y = toFloat(unbox(b));
  if (x < y) return 1;
  if (!(x >= y)) accrue(FLAG_NV);
  return 0;
}

export function fleS(a: u64, b: u64): u64 {
  const x = toFloat(unbox(a));
  const y = toFloat(unbox(b));
  if (x <= y) return 1;
  if (!(x > y)) accrue(FLAG_NV);
  return 0;
}

export function fltqS(a: u64, b: u64): u64 {
  const x = unbox(a);
  const y = unbox(b);
  if (toFloat(x) < toFloat(y)) return 1;
  signalS(x, y);
  return 0;
}

export function fleqS(a: u64, b: u64): u64 {
  const x = unbox(a);
  const y = unbox(b);
  if (toFloat(x) <= toFloat(y)) return 1;
  signalS(x, y);
  return 0;
}

// ---- classification -----------------------------------------------------------------------------------------------

/** Bits of fclass's result, of the negative side; the positive side mirrors them. */
const CLASS_INFINITE = 0;
const CLASS_NORMAL = 1;
const CLASS_SUBNORMAL = 2;
const CLASS_ZERO = 3;
const CLASS_SIGNALLING = 8;
const CLASS_QUIET = 9;

// @ts-ignore: decorator
@inline
function classify(negative: bool, nan: bool, quiet: bool, exponent: u32, top: u32, fraction: bool): u64 {
  if (nan) return 1 << (quiet ? CLASS_QUIET : CLASS_SIGNALLING);
  let kind = CLASS_NORMAL;
  if (exponent == top) kind = CLASS_INFINITE;
  else if (exponent == 0) kind = fraction ? CLASS_SUBNORMAL : CLASS_ZERO;
  return <u64>1 << (negative ? kind : 7 - kind);
}

export function fclassD(a: u64): u64 {
  return classify(<i64>a < 0, isNanD(a), !isSignallingD(a), <u32>(a >> 52) & 0x7ff, 0x7ff, a << 12 != 0);
}

export function fclassS(a: u64): u64 {
  const x = unbox(a);
  return classify(<i32>x < 0, isNanS(x), !isSignallingS(x), (x >> 23) & 0xff, 0xff, x << 9 != 0);
}

// ---- sign injection: of any bits, NaNs too; raises nothing ----------------------------------------------------------

export function fsgnjD(a: u64, b: u64): u64 {
  return (a & ~SIGN_D) | (b & SIGN_D);
}

export function fsgnjnD(a: u64, b: u64): u64 {
  return (a & ~SIGN_D) | (~b & SIGN_D);
}

export function fsgnjxD(a: u64, b: u64): u64 {
  return a ^ (b & SIGN_D);
}

export function fsgnjS(a: u64, b: u64): u64 {
  return box((unbox(a) & ~SIGN_S) | (unbox(b) & SIGN_S));
}

export function fsgnjnS(a: u64, b: u64): u64 {
  return box((unbox(a) & ~SIGN_S) | (~unbox(b) & SIGN_S));
}

export function fsgnjxS(a: u64, b: u64): u64 {
  return box(unbox(a) ^ (unbox(b) & SIGN_S));
}
