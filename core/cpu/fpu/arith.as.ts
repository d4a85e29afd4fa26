/**
 * Arithmetic of the "F" and "D" extensions: add, subtract, multiply, divide, square root and the fused multiply-adds.
 * Each takes raw registers and an effective rounding mode (0..4), returns the raw result and accrues flags in fpFlags.
 * An instruction in RNE with NX accrued already is the host's own operation and a look at its result; whatever that
 * look does not clear of every other flag, and all the rest, goes to the exact operation.
 */
import {
  BOX, FLAG_NX, HIDDEN_D, RM_RNE, SIGN_D, SIGN_S,
  boxFloat, fpFlags, isNative, isSafeD, isSafeS, toBits, toDouble, toFloat, unbox,
} from './state.as';
import { addExactD, divExactD, fmaExactD, mulExactD, sqrtExactD } from './double.as';
import { addExactS, divExactS, fmaExactS, mulExactS, sqrtExactS } from './single.as';

/** 1 if f64x2.relaxed_madd rounds once on this host (probeFma() has found so), else 0. */
export let fmaFused: i32 = 0;

/**
 * Finds out whether the host's relaxed multiply-add is fused, and has the double multiply-adds use it if so. To be
 * called once in each thread at start.
 * @returns fmaFused
 */
export function probeFma(): i32 {
  const ulp: f64 = 2.220446049250313e-16;
  fmaFused = <i32>(
    // (1 + u)^2 - (1 + 2u) = u^2, lost if the product is rounded.
    relaxedIs(1 + ulp, 1 + ulp, -1 - 2 * ulp, ulp * ulp) &&
    relaxedIs(1 - ulp, 1 + ulp, -1, -ulp * ulp) &&
    // The product alone overflows.
    relaxedIs(1.7976931348623157e308, 2, -1.7976931348623157e308, 1.7976931348623157e308) &&
    // The product alone is a midpoint: what decides is below it.
    relaxedIs(1 + ulp, 0.5 * ulp, 1, 1 + ulp)
  );
  return fmaFused;
}

/** For tests and for hosts without FMA: forces the exact path (0) or trusts the host (1). */
export function setFmaFused(fused: i32): void {
  fmaFused = fused;
}

// @ts-ignore: decorator
@inline
function relaxedFma(a: f64, b: f64, c: f64): f64 {
  return f64x2.extract_lane(f64x2.relaxed_madd(f64x2.splat(a), f64x2.splat(b), f64x2.splat(c)), 0);
}

/** True if relaxed multiply-add gives what only one rounding gives. */
function relaxedIs(a: f64, b: f64, c: f64, fused: f64): bool {
  return relaxedFma(a, b, c) == fused;
}

// ---- double -----------------------------------------------------------------------------------------------------

export function faddD(a: u64, b: u64, rm: i32): u64 {
  const sum = toDouble(a) + toDouble(b);
  // A subnormal sum is exact: a finite one raises nothing but NX.
  if (isNative(rm) && abs(sum) < Infinity) return toBits(sum);
  return addSlowD(a, b, sum, rm);
}

export function fsubD(a: u64, b: u64, rm: i32): u64 {
  const difference = toDouble(a) - toDouble(b);
  if (isNative(rm) && abs(difference) < Infinity) return toBits(difference);
  return addSlowD(a, b ^ SIGN_D, difference, rm);
}

/** While NX is clear: sums that are exact (of integers above all) are recognised by TwoSum. */
function addSlowD(a: u64, b: u64, sum: f64, rm: i32): u64 {
  if (rm == RM_RNE && abs(sum) < Infinity) {
    const x = toDouble(a);
    const y = toDouble(b);
    const part = sum - x;
    if (x - (sum - part) + (y - part) == 0) return toBits(sum);
  }
  return addExactD(a, b, rm);
}

export function fmulD(a: u64, b: u64, rm: i32): u64 {
  const product = toDouble(a) * toDouble(b);
  if (isNative(rm) && isSafeD(product)) return toBits(product);
  return mulSlowD(a, b, product, rm);
}

/** While NX is clear: products of at most 53 bits (of integers above all) are exact. */
function mulSlowD(a: u64, b: u64, product: f64, rm: i32): u64 {
  if (rm == RM_RNE && ctz(a | HIDDEN_D) + ctz(b | HIDDEN_D) > 52 && isSafeD(product)) return toBits(product);
  return mulExactD(a, b, rm);
}

export function fdivD(a: u64, b: u64, rm: i32): u64 {
  if (isNative(rm)) {
    const quotient = toDouble(a) / toDouble(b);
    if (isSafeD(quotient)) return toBits(quotient);
  }
  return divExactD(a, b, rm);
}

export function fsqrtD(a: u64, rm: i32): u64 {
  if (isNative(rm)) {
    const root = sqrt(toDouble(a));
    if (isSafeD(root)) return toBits(root);
  }
  return sqrtExactD(a, rm);
}

/** a * b + c. */
export function fmaddD(a: u64, b: u64, c: u64, rm: i32): u64 {
  if ((fmaFused & fpFlags & FLAG_NX) != 0 && rm == RM_RNE) {
    const result = relaxedFma(toDouble(a), toDouble(b), toDouble(c));
    if (isSafeD(result)) return toBits(result);
  }
  return fmaExactD(a, b, c, rm);
}

/** a * b - c. */
export function fmsubD(a: u64, b: u64, c: u64, rm: i32): u64 {
  return fmaddD(a, b, c ^ SIGN_D, rm);
}

/** -(a * b) + c. */
export function fnmsubD(a: u64, b: u64, c: u64, rm: i32): u64 {
  return fmaddD(a ^ SIGN_D, b, c, rm);
}

/** -(a * b) - c. */
export function fnmaddD(a: u64, b: u64, c: u64, rm: i32): u64 {
  return fmaddD(a ^ SIGN_D, b, c ^ SIGN_D, rm);
}

// ---- single -----------------------------------------------------------------------------------------------------

export function faddS(a: u64, b: u64, rm: i32): u64 {
  if (isNative(rm) && (a & b) >= BOX) {
    const sum = toFloat(<u32>a) + toFloat(<u32>b);
    if (abs(sum) < <f32>Infinity) return boxFloat(sum);
  }
  return addExactS(unbox(a), unbox(b), rm);
}

export function fsubS(a: u64, b: u64, rm: i32): u64 {
  if (isNative(rm) && (a & b) >= BOX) {
    const difference = toFloat(<u32>a) - toFloat(<u32>b);
    if (abs(difference) < <f32>Infinity) return boxFloat(difference);
  }
  return addExactS(unbox(a), unbox(b) ^ SIGN_S, rm);
}

export function fmulS(a: u64, b: u64, rm: i32): u64 {
  if (isNative(rm) && (a & b) >= BOX) {
    const product = toFloat(<u32>a) * toFloat(<u32>b);
    if (isSafeS(product)) return boxFloat(product);
  }
  return mulExactS(unbox(a), unbox(b), rm);
}

export function fdivS(a: u64, b: u64, rm: i32): u64 {
  if (isNative(rm) && (a & b) >= BOX) {
    const quotient = toFloat(<u32>a) / toFloat(<u32>b);
    if (isSafeS(quotient)) return boxFloat(quotient);
  }
  return divExactS(unbox(a), unbox(b), rm);
}

export function fsqrtS(a: u64, rm: i32): u64 {
  if (isNative(rm) && a >= BOX) {
    const root = sqrt(toFloat(<u32>a));
    if (isSafeS(root)) return boxFloat(root);
  }
  return sqrtExactS(unbox(a), rm);
}

/**
 * a * b + c. The product is exact as a double, and the sum rounded to a double, then to a single, is wrong only where
 * the double happens to be a midpoint of two singles.
 */
function fmaS(a: u32, b: u32, c: u32, rm: i32): u64 {
  if (isNative(rm)) {
    const sum = <f64>toFloat(a) * <f64>toFloat(b) + <f64>toFloat(c);
    const result = <f32>sum;
    if (isSafeS(result) && (toBits(sum) & 0x1fffffff) != 0x10000000) return boxFloat(result);
  }
  return fmaExactS(a, b, c, rm);
}

/** a * b + c. */
export function fmaddS(a: u64, b: u64, c: u64, rm: i32): u64 {
  return fmaS(unbox(a), unbox(b), unbox(c), rm);
}

/** a * b - c. */
export function fmsubS(a: u64, b: u64, c: u64, rm: i32): u64 {
  return fmaS(unbox(a), unbox(b), unbox(c) ^ SIGN_S, rm);
}

/** -(a * b) + c. */
export function fnmsubS(a: u64, b: u64, c: u64, rm: i32): u64 {
  return fmaS(unbox(a) ^ SIGN_S, unbox(b), unbox(c), rm);
}

/** -(a * b) - c. */
export function fnmaddS(a: u64, b: u64, c: u64, rm: i32): u64 {
  return fmaS(unbox(a) ^ SIGN_S, unbox(b), unbox(c) ^ SIGN_S, rm);
}
