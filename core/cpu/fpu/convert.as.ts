/**
 * Conversions of the "F" and "D" extensions and rounding to integral values, modular conversion and constants of "Zfa".
 * Raw registers in and out; flags accrue in fpFlags. An integer operand is the whole register; the W and Wu forms look
 * at its low half. A single is looked at as the double of the same value throughout.
 */
import {
  BIAS_D, BOXED_NAN_S, EXPONENT_D, FLAG_NV, FLAG_NX, FRACTION_D, HIDDEN_D, NAN_D, RM_RDN, RM_RMM, RM_RNE, RM_RTZ,
  RM_RUP,
  accrue, box, boxFloat, isNative, isSafeS, isSignallingD, isSignallingS, toBits, toDouble, toFloat, unbox,
} from './state.as';
import { narrow, roundD, roundS } from './round.as';

// @ts-ignore: decorator
@inline
function widen(a: u64): f64 {
  return <f64>toFloat(unbox(a));
}

/** x rounded to an integral value, sign of zero kept. */
function integral(x: f64, rm: i32): f64 {
  if (rm == RM_RTZ) return trunc(x);
  if (rm == RM_RNE) return nearest(x);
  if (rm == RM_RDN) return floor(x);
  if (rm == RM_RUP) return ceil(x);
  const whole = trunc(x);
  return abs(x - whole) >= 0.5 ? whole + copysign<f64>(1, x) : whole;
}

// ---- to integers: out of range and NaN saturate with NV (and no NX) -----------------------------------------------

const TWO_31: f64 = 2147483648;
const TWO_32: f64 = 4294967296;
// Written as floats: 9223372036854775808 would be taken for an i64, and negative.
const TWO_63: f64 = 9.223372036854775808e18;
const TWO_64: f64 = 1.8446744073709552e19;

function toW(x: f64, rm: i32): u64 {
  const whole = rm == RM_RTZ ? trunc(x) : integral(x, rm);
  if (whole >= -TWO_31 && whole < TWO_31) {
    accrue(<i32>(whole != x));
    return <u64><i64><i32>whole;
  }
  accrue(FLAG_NV);
  return x < 0 ? <u64><i64>i32.MIN_VALUE : <u64>i32.MAX_VALUE;
}

function toWu(x: f64, rm: i32): u64 {
  const whole = rm == RM_RTZ ? trunc(x) : integral(x, rm);
  if (whole >= 0 && whole < TWO_32) {
    accrue(<i32>(whole != x));
    return <u64><i64><i32><u32>whole;
  }
  accrue(FLAG_NV);
  return x < 0 ? 0 : u64.MAX_VALUE;
}

function toL(x: f64, rm: i32): u64 {
  const whole = rm == RM_RTZ ? trunc(x) : integral(x, rm);
  if (whole >= -TWO_63 && whole < TWO_63) {
    accrue(<i32>(whole != x));
    return <u64><i64>whole;
  }
  accrue(FLAG_NV);
  return x < 0 ? <u64>i64.MIN_VALUE : <u64>i64.MAX_VALUE;
}

function toLu(x: f64, rm: i32): u64 {
  const whole = rm == RM_RTZ ? trunc(x) : integral(x, rm);
  if (whole >= 0 && whole < TWO_64) {
    accrue(<i32>(whole != x));
    return <u64>whole;
  }
  accrue(FLAG_NV);
  return x < 0 ? 0 : u64.MAX_VALUE;
}

export function fcvtWD(a: u64, rm: i32): u64 {
  return toW(toDouble(a), rm);
}

/** uint32, sign-extended to the register as all 32-bit results are. */
export function fcvtWuD(a: u64, rm: i32): u64 {
  return toWu(toDouble(a), rm);
}

export function fcvtLD(a: u64, rm: i32): u64 {
  return toL(toDouble(a), rm);
}

export function fcvtLuD(a: u64, rm: i32): u64 {
  return toLu(toDouble(a), rm);
}

export function fcvtWS(a: u64, rm: i32): u64 {
  return toW(widen(a), rm);
}

/** uint32, sign-extended to the register as all 32-bit results are. */
export function fcvtWuS(a: u64, rm: i32): u64 {
  return toWu(widen(a), rm);
}

export function fcvtLS(a: u64, rm: i32): u64 {
  return toL(widen(a), rm);
}

export function fcvtLuS(a: u64, rm: i32): u64 {
  return toLu(widen(a), rm);
}

// ---- from integers: only NX is ever due -----------------------------------------------------------------------------

/** Bits from the first to the last one of an integer. Not of 0. */
// @ts-ignore: decorator
@inline
function span(magnitude: u64): i32 {
  return 64 - <i32>clz(magnitude) - <i32>ctz(magnitude);
}

/** An intermediate's exponent and significand for roundD and roundS: the leading one of the integer goes to bit 62. */
// @ts-ignore: decorator
@inline
function leading(magnitude: u64): u64 {
  const shift = <i32>clz(magnitude) - 1;
  return shift < 0 ? (magnitude >> 1) | (magnitude & 1) : magnitude << shift;
}

function integerD(negative: bool, magnitude: u64, rm: i32): u64 {
  return roundD(<u64>negative, BIAS_D + 63 - <i32>clz(magnitude), leading(magnitude), rm);
}

function integerS(negative: bool, magnitude: u64, rm: i32): u64 {
  return roundS(<u32>negative, 127 + 63 - <i32>clz(magnitude), leading(magnitude), rm);
}

/** Exact. */
export function fcvtDW(a: u64, rm: i32): u64 {
  return toBits(<f64><i32>a);
}

/** Exact. */
export function fcvtDWu(a: u64, rm: i32): u64 {
  return toBits(<f64><u32>a);
}

export function fcvtDL(a: u64, rm: i32): u64 {
  const magnitude = <u64>abs<i64>(a);
  if (isNative(rm) || magnitude == 0 || span(magnitude) <= 53) return toBits(<f64><i64>a);
  return integerD(<i64>a < 0, magnitude, rm);
}

export function fcvtDLu(a: u64, rm: i32): u64 {
  if (isNative(rm) || a == 0 || span(a) <= 53) return toBits(<f64>a);
  return integerD(false, a, rm);
}

export function fcvtSL(a: u64, rm: i32): u64 {
  const magnitude = <u64>abs<i64>(a);
  if (isNative(rm) || magnitude == 0 || span(magnitude) <= 24) return boxFloat(<f32><i64>a);
  return integerS(<i64>a < 0, magnitude, rm);
}

export function fcvtSLu(a: u64, rm: i32): u64 {
  if (isNative(rm) || a == 0 || span(a) <= 24) return boxFloat(<f32>a);
  return integerS(false, a, rm);
}

export function fcvtSW(a: u64, rm: i32): u64 {
  if (isNative(rm)) return boxFloat(<f32><i32>a);
  return narrow(<f64><i32>a, rm);
}

export function fcvtSWu(a: u64, rm: i32): u64 {
  if (isNative(rm)) return boxFloat(<f32><u32>a);
  return narrow(<f64><u32>a, rm);
}

// ---- between the two formats ----------------------------------------------------------------------------------------

/** Double to single. */
export function fcvtSD(a: u64, rm: i32): u64 {
  const x = toDouble(a);
  if (isNative(rm)) {
    const single = <f32>x;
    if (isSafeS(single)) return boxFloat(single);
  }
  if (x == x) return narrow(x, rm);
  if (isSignallingD(a)) accrue(FLAG_NV);
  return BOXED_NAN_S;
}

/** Single to double: exact. */
export function fcvtDS(a: u64, rm: i32): u64 {
  const x = widen(a);
  if (x == x) return toBits(x);
  if (isSignallingS(unbox(a))) accrue(FLAG_NV);
  return NAN_D;
}

// ---- Zfa -----------------------------------------------------------------------------------------------------------

/** Rounds to an integral value; does not accrue NX. */
export function froundD(a: u64, rm: i32): u64 {
  const x = toDouble(a);
  if (x == x) return toBits(integral(x, rm));
  if (isSignallingD(a)) accrue(FLAG_NV);
  return NAN_D;
}

/** As froundD, and raises NX where the operand was not integral. */
export function froundnxD(a: u64, rm: i32): u64 {
  const result = froundD(a, rm);
  accrue(<i32>(toDouble(result) != toDouble(a)) & <i32>(result != NAN_D));
  return result;
}

/** Rounds to an integral value; does not accrue NX. */
export function froundS(a: u64, rm: i32): u64 {
  const x = widen(a);
  if (x == x) return boxFloat(<f32>integral(x, rm));
  if (isSignallingS(unbox(a))) accrue(FLAG_NV);
  return BOXED_NAN_S;
}

/** As froundS, and raises NX where the operand was not integral. */
export function froundnxS(a: u64, rm: i32): u64 {
  const result = froundS(a, rm);
  accrue(<i32>(toFloat(<u32>result) != toFloat(unbox(a))) & <i32>(result != BOXED_NAN_S));
  return result;
}

/** fcvtmod.w.d: truncates, keeps the low 32 bits, sign-extends. Flags as fcvt.w.d; 0 for infinities and NaN. */
export function fcvtmodWD(a: u64): u64 {
  const x = toDouble(a);
  const whole = trunc(x);
  accrue(whole >= -TWO_31 && whole < TWO_31 ? <i32>(whole != x) : FLAG_NV);
  if (abs(whole) < TWO_63) return <u64><i64><i32><i64>whole;
  // All 53 bits are at 2^11 or above. From 2^84 on nothing is left below 2^32.
  const shift = (<i32>(a >> 52) & 0x7ff) - BIAS_D - 52;
  if (shift > 31) return 0;
  const low = <i32>((a & FRACTION_D) | HIDDEN_D) << shift;
  return <u64><i64>(<i64>a < 0 ? -low : low);
}

/** Upper halves of fli.s's singles, by rs1. */
const CONSTANTS = memory.data<u16>([
  0xbf80, 0x0080, 0x3780, 0x3800, 0x3b80, 0x3c00, 0x3d80, 0x3e00,
  0x3e80, 0x3ea0, 0x3ec0, 0x3ee0, 0x3f00, 0x3f20, 0x3f40, 0x3f60,
  0x3f80, 0x3fa0, 0x3fc0, 0x3fe0, 0x4000, 0x4020, 0x4040, 0x4080,
  0x4100, 0x4180, 0x4300, 0x4380, 0x4700, 0x4780, 0x7f80, 0x7fc0,
]);
const FLI_MIN_NORMAL = 1;
const FLI_NAN = 31;

/** The constant numbered `index` (0..31), as a single. */
export function fliS(index: i32): u64 {
  return box(<u32>load<u16>(CONSTANTS + (<usize>(index & 31) << 1)) << 16);
}

/** The constant numbered `index` (0..31), as a double. */
export function fliD(index: i32): u64 {
  if (index == FLI_MIN_NORMAL) return HIDDEN_D;
  if (index == FLI_NAN) return NAN_D;
  return toBits(<f64>toFloat(<u32>fliS(index)));
}
