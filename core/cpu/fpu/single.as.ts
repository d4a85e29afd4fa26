/**
 * The exact single-precision operations, done in doubles and then rounded once more by narrow(). That is exact:
 * - every single is a normal double, and no result here overflows or underflows as a double;
 * - a product of singles (48 bits) is exact;
 * - a quotient or square root of singles that is not exact is further than 2^-50 of itself from every number of 25
 *   bits, that is from every single and every midpoint between two, of subnormals too: its rounding to 53 bits lies on
 *   the same side of all of them, and on none;
 * - a sum is rounded to odd (the last bit is set if anything was cut off), which loses nothing that a later rounding to
 *   51 or fewer bits could see.
 */
import {
  BOXED_NAN_S, FLAG_DZ, FLAG_NV, RM_RDN, SIGN_S,
  accrue, box, isNanS, isSignallingS, toBits, toDouble, toFloat,
} from './state.as';
import { narrow } from './round.as';

/** The canonical NaN as result of an operation on a and b; NV if one signals or neither is a NaN. */
function nan(a: u32, b: u32): u64 {
  if (isSignallingS(a) || isSignallingS(b) || !(isNanS(a) || isNanS(b))) accrue(FLAG_NV);
  return BOXED_NAN_S;
}

// @ts-ignore: decorator
@inline
function widen(bits: u32): f64 {
  return <f64>toFloat(bits);
}

/** Rounds x + y, both no NaN and not infinities of opposite signs. */
// @ts-ignore: decorator
@inline
function narrowSum(x: f64, y: f64, rm: i32): u64 {
  let sum = x + y;
  if (sum == 0) return rm == RM_RDN && (toBits(x) | toBits(y)) != 0 ? box(SIGN_S) : narrow(sum, rm);
  // TwoSum (Knuth): the rest is exact. It is NaN, and of no account, where the sum is infinite.
  const part = sum - x;
  const rest = x - (sum - part) + (y - part);
  if (rest < 0 || rest > 0) {
    const bits = toBits(sum);
    if ((bits & 1) == 0) sum = toDouble(rest > 0 == sum > 0 ? bits + 1 : bits - 1);
  }
  return narrow(sum, rm);
}

export function addExactS(a: u32, b: u32, rm: i32): u64 {
  const x = widen(a);
  const y = widen(b);
  const sum = x + y;
  return sum == sum ? narrowSum(x, y, rm) : nan(a, b);
}

export function mulExactS(a: u32, b: u32, rm: i32): u64 {
  const product = widen(a) * widen(b);
  return product == product ? narrow(product, rm) : nan(a, b);
}

export function divExactS(a: u32, b: u32, rm: i32): u64 {
  const x = widen(a);
  const y = widen(b);
  const quotient = x / y;
  if (quotient != quotient) return nan(a, b);
  if (y == 0 && abs(x) < Infinity) accrue(FLAG_DZ);
  return narrow(quotient, rm);
}

export function sqrtExactS(a: u32, rm: i32): u64 {
  const root = sqrt(widen(a));
  return root == root ? narrow(root, rm) : nan(a, a);
}

export function fmaExactS(a: u32, b: u32, c: u32, rm: i32): u64 {
  const product = widen(a) * widen(b);
  const addend = widen(c);
  const sum = product + addend;
  if (sum == sum) return narrowSum(product, addend, rm);
  // NV for 0 * infinity even if c is a quiet NaN.
  if (isNanS(a) || isNanS(b)) {
    if (isSignallingS(a) || isSignallingS(b) || isSignallingS(c)) accrue(FLAG_NV);
  } else if (product != product || !isNanS(c) || isSignallingS(c)) accrue(FLAG_NV);
  return BOXED_NAN_S;
}
