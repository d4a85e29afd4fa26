/**
 * The exact double-precision operations: every operand, mode and flag. Multiplication, division and square root let the
 * host's own (correctly rounded) operation find the 53 leading bits from operands scaled to [1, 4), where nothing can
 * overflow or underflow, and then take the exact remainder modulo 2^64: it is less than 2^63, so nothing of it is lost.
 * Addition and fused multiply-add are done in integers.
 */
import {
  BIAS_D, EXPONENT_D, FLAG_DZ, FLAG_NV, FRACTION_D, HIDDEN_D, NAN_D, ONE_D, RM_RDN, SIGN_D,
  accrue, isNanD, isSignallingD, toBits, toDouble,
} from './state.as';
import { mulhu } from '../alu.as';
import { roundD, shiftRightJam } from './round.as';

const LEADING: u64 = 0x4000000000000000;

// @ts-ignore: decorator
@inline
function exponentOf(bits: u64): i32 {
  return <i32>(bits >> 52) & 0x7ff;
}

/** Left shift that brings the leading one of a subnormal's fraction to the hidden bit. */
// @ts-ignore: decorator
@inline
function normalShift(fraction: u64): i32 {
  return <i32>clz(fraction) - 11;
}

/** A significand with its leading one in place, as a double from [1, 2) times 2^power. */
// @ts-ignore: decorator
@inline
function scaled(significand: u64, power: i32): f64 {
  return toDouble((ONE_D + (<u64>power << 52)) | (significand & FRACTION_D));
}

/** The canonical NaN; NV as well if an operand signals or `invalid`. */
function nan(a: u64, b: u64, invalid: bool): u64 {
  if (invalid || isSignallingD(a) || isSignallingD(b)) accrue(FLAG_NV);
  return NAN_D;
}

/** Result of a + b = 0 from operands that are not two zeros of one sign. */
// @ts-ignore: decorator
@inline
function exactZero(rm: i32): u64 {
  return rm == RM_RDN ? SIGN_D : 0;
}

/**
 * Rounds an intermediate whose leading one is bit 62, or bit 61 where the 53 bits were rounded up to a power of two.
 */
// @ts-ignore: decorator
@inline
function roundNear(sign: u64, exponent: i32, significand: u64, rm: i32): u64 {
  if (significand < LEADING) return roundD(sign, exponent - 1, significand << 1, rm);
  return roundD(sign, exponent, significand, rm);
}

export function addExactD(a: u64, b: u64, rm: i32): u64 {
  if (a << 1 < b << 1) {
    const t = a;
    a = b;
    b = t;
  }
  let exponentA = exponentOf(a);
  let exponentB = exponentOf(b);
  if (exponentA == 0x7ff) {
    if (isNanD(a)) return nan(a, b, false);
    return exponentB == 0x7ff && a != b ? nan(a, b, true) : a;
  }
  // Hidden bits go to bit 61: one bit of room for the carry.
  let significandA = a & FRACTION_D;
  let significandB = b & FRACTION_D;
  if (exponentA != 0) significandA |= HIDDEN_D;
  else exponentA = 1;
  if (exponentB != 0) significandB |= HIDDEN_D;
  else exponentB = 1;
  significandA <<= 9;
  significandB = shiftRightJam(significandB << 9, exponentA - exponentB);
  let sum: u64;
  if (<i64>(a ^ b) < 0) {
    sum = significandA - significandB;
    if (sum == 0) return exactZero(rm);
  } else {
    sum = significandA + significandB;
    if (sum == 0) return a;
  }
  const shift = <i32>clz(sum) - 1;
  return roundD(a >> 63, exponentA + 1 - shift, sum << shift, rm);
}

export function mulExactD(a: u64, b: u64, rm: i32): u64 {
  const sign = (a ^ b) >> 63;
  let exponentA = exponentOf(a);
  let exponentB = exponentOf(b);
  let significandA = a & FRACTION_D;
  let significandB = b & FRACTION_D;
  if (exponentA == 0x7ff || exponentB == 0x7ff) {
    if (isNanD(a) || isNanD(b)) return nan(a, b, false);
    return a << 1 == 0 || b << 1 == 0 ? nan(a, b, true) : (sign << 63) | EXPONENT_D;
  }
  if (exponentA == 0) {
    if (significandA == 0) return sign << 63;
    const shift = normalShift(significandA);
    significandA <<= shift;
    exponentA = 1 - shift;
  } else significandA |= HIDDEN_D;
  if (exponentB == 0) {
    if (significandB == 0) return sign << 63;
    const shift = normalShift(significandB);
    significandB <<= shift;
    exponentB = 1 - shift;
  } else significandB |= HIDDEN_D;

  // a * b = near * 2^scale + rest in units of both last places, |rest| <= 2^(scale-1), scale 52 or 53.
  const product = toBits(scaled(significandA, 0) * scaled(significandB, 0));
  const carry = exponentOf(product) - BIAS_D;
  const near = (product & FRACTION_D) | HIDDEN_D;
  const scale = 52 + carry;
  const rest = <i64>(significandA * significandB - (near << scale));
  const shift = scale - 10;
  const tail = (rest >> shift) | <i64>((rest >> shift) << shift != rest);
  return roundNear(sign, exponentA + exponentB - BIAS_D + carry, (near << 10) + <u64>tail, rm);
}

export function divExactD(a: u64, b: u64, rm: i32): u64 {
  const sign = (a ^ b) >> 63;
  let exponentA = exponentOf(a);
  let exponentB = exponentOf(b);
  let significandA = a & FRACTION_D;
  let significandB = b & FRACTION_D;
  if (exponentA == 0x7ff || exponentB == 0x7ff) {
    if (isNanD(a) || isNanD(b)) return nan(a, b, false);
    if (exponentA == exponentB) return nan(a, b, true);
    return (sign << 63) | (exponentA == 0x7ff ? EXPONENT_D : 0);
  }
  if (exponentB == 0) {
    if (significandB == 0) {
      if (a << 1 == 0) return nan(a, b, true);
      accrue(FLAG_DZ);
      return (sign << 63) | EXPONENT_D;
    }
    const shift = normalShift(significandB);
    significandB <<= shift;
    exponentB = 1 - shift;
  } else significandB |= HIDDEN_D;
  if (exponentA == 0) {
    if (significandA == 0) return sign << 63;
    const shift = normalShift(significandA);
    significandA <<= shift;
    exponentA = 1 - shift;
  } else significandA |= HIDDEN_D;

  // a * 2^scale = near * b + rest, |rest| <= b/2. A quotient is never half way between two doubles: the sign of the
  // rest is all that rounding needs.
  const quotient = toBits(scaled(significandA, 0) / scaled(significandB, 0));
  const borrow = exponentOf(quotient) - BIAS_D;
  const near = (quotient & FRACTION_D) | HIDDEN_D;
  const rest = <i64>((significandA << (52 - borrow)) - near * significandB);
  const tail = <u64>(rest >> 63) | <u64>(rest != 0);
  return roundNear(sign, exponentA - exponentB + BIAS_D + borrow, (near << 10) + tail, rm);
}

export function sqrtExactD(a: u64, rm: i32): u64 {
  let exponent = exponentOf(a);
  let significand = a & FRACTION_D;
  if (isNanD(a)) return nan(a, a, false);
  if (a << 1 == 0 || a == EXPONENT_D) return a;
  if (<i64>a < 0) return nan(a, a, true);
  if (exponent == 0) {
    const shift = normalShift(significand);
    significand <<= shift;
    exponent = 1 - shift;
  } else significand |= HIDDEN_D;

  // a * 2^(52+odd) = near^2 + rest, |rest| <= near. As with quotients there are no half-way cases.
  exponent -= BIAS_D;
  const odd = exponent & 1;
  const near = (toBits(sqrt(scaled(significand, odd))) & FRACTION_D) | HIDDEN_D;
  const rest = <i64>((significand << (52 + odd)) - near * near);
  const tail = <u64>(rest >> 63) | <u64>(rest != 0);
  return roundNear(0, (exponent >> 1) + BIAS_D, (near << 10) + tail, rm);
}

/** a * b + c where an operand is infinite or NaN. NV for 0 * infinity even if c is a quiet NaN (RISC-V "F" 20.6). */
function fmaSpecialD(a: u64, b: u64, c: u64): u64 {
  if (isNanD(a) || isNanD(b)) return nan(a, b, isSignallingD(c));
  if (exponentOf(a) == 0x7ff || exponentOf(b) == 0x7ff) {
    if (a << 1 == 0 || b << 1 == 0) return nan(a, b, true);
    if (isNanD(c)) return nan(c, c, false);
    const product = ((a ^ b) & SIGN_D) | EXPONENT_D;
    return exponentOf(c) == 0x7ff && c != product ? nan(a, b, true) : product;
  }
  return isNanD(c) ? nan(c, c, false) : c;
}

export function fmaExactD(a: u64, b: u64, c: u64, rm: i32): u64 {
  let exponentA = exponentOf(a);
  let exponentB = exponentOf(b);
  let exponentC = exponentOf(c);
  if (exponentA == 0x7ff || exponentB == 0x7ff || exponentC == 0x7ff) return fmaSpecialD(a, b, c);
  let sign = (a ^ b) >> 63;
  let significandA = a & FRACTION_D;
  let significandB = b & FRACTION_D;
  let significandC = c & FRACTION_D;
  if (a << 1 == 0 || b << 1 == 0) {
    return c << 1 == 0 && sign != c >> 63 ? exactZero(rm) : c;
  }
  if (exponentA == 0) {
    const shift = normalShift(significandA);
    significandA <<= shift;
    exponentA = 1 - shift;
  } else significandA |= HIDDEN_D;
  if (exponentB == 0) {
    const shift = normalShift(significandB);
    significandB <<= shift;
    exponentB = 1 - shift;
  } else significandB |= HIDDEN_D;

  // 128-bit fixed point high:low. The leading one of the product is bit 125 or 126, that of c is bit 125.
  significandA <<= 10;
  significandB <<= 11;
  let high = mulhu(significandA, significandB);
  let low = significandA * significandB;
  let exponent = exponentA + exponentB - BIAS_D;
  if (c << 1 != 0) {
    if (exponentC == 0) {
      const shift = normalShift(significandC);
      significandC <<= shift;
      exponentC = 1 - shift;
    } else significandC |= HIDDEN_D;
    let highC = significandC << 9;
    let lowC: u64 = 0;
    // Bits are jammed only where the exponents differ so much that at most two leading bits can cancel.
    const distance = exponent - exponentC;
    if (distance > 0) {
      if (distance < 64) {
        lowC = highC << (64 - distance);
        highC >>= distance;
      } else {
        lowC = shiftRightJam(highC, distance - 64);
        highC = 0;
      }
    } else if (distance < 0) {
      exponent = exponentC;
      if (distance > -64) {
        low = (high << (64 + distance)) | shiftRightJam(low, -distance);
        high >>= -distance;
      } else {
        low = shiftRightJam(high, -64 - distance) | <u64>(low != 0);
        high = 0;
      }
    }
    if (sign == c >> 63) {
      low += lowC;
      high += highC + <u64>(low < lowC);
    } else if (high > highC || (high == highC && low >= lowC)) {
      high -= highC + <u64>(low < lowC);
      low -= lowC;
    } else {
      sign ^= 1;
      high = highC - high - <u64>(lowC < low);
      low = lowC - low;
    }
  }
  if (high == 0) {
    if (low == 0) return exactZero(rm);
    high = low;
    low = 0;
    exponent -= 64;
  }
  // Bring the leading one to bit 62 of high.
  const shift = <i32>clz(high) - 1;
  if (shift < 0) {
    high = (high >> 1) | (high & 1) | <u64>(low != 0);
  } else if (shift == 0) {
    high |= <u64>(low != 0);
  } else {
    high = (high << shift) | (low >> (64 - shift)) | <u64>(low << shift != 0);
  }
  return roundD(sign, exponent + 1 - shift, high, rm);
}
