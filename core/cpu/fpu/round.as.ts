/**
 * Rounding of exact intermediate results to double and single in all five modes, with flags. An intermediate is a sign,
 * a biased exponent and a 63-bit significand whose leading one is bit 62; whatever lies below bit 0 is or-ed into bit 0
 * ("jammed"): all that rounding wants to know of it is that it is not zero.
 */
import {
  BIAS_D, FLAG_NX, FLAG_OF, FLAG_UF, FRACTION_D, HIDDEN_D, MIN_NORMAL_S, RM_RDN, RM_RMM, RM_RNE, RM_RUP,
  accrue, box, boxFloat, toBits,
} from './state.as';

const TOP: u64 = 0x8000000000000000;

/** Bits of an intermediate below the last place of a double, and of a single. */
const EXTRA_D: i32 = 10;
const EXTRA_S: i32 = 39;

/** Shifts right by any count >= 0, or-ing what falls off into bit 0. */
// @ts-ignore: decorator
@inline
export function shiftRightJam(value: u64, count: i32): u64 {
  if (count > 63) return <u64>(value != 0);
  return (value >> count) | <u64>((value >> count) << count != value);
}

/** What to add to an intermediate so that cutting off its extra bits rounds it (RNE: ties are put right afterwards). */
// @ts-ignore: decorator
@inline
function increment(negative: u64, rm: i32, extra: i32): u64 {
  if (rm == RM_RNE || rm == RM_RMM) return <u64>1 << (extra - 1);
  return rm == (negative ? RM_RDN : RM_RUP) ? (<u64>1 << extra) - 1 : 0;
}

/**
 * Rounds (-1)^sign * significand/2^62 * 2^(exponent-1023) to a double. `exponent` may have any value; the leading one
 * of `significand` is bit 62. Tininess is detected after rounding.
 */
export function roundD(sign: u64, exponent: i32, significand: u64, rm: i32): u64 {
  const add = increment(sign, rm, EXTRA_D);
  if (<u32>(exponent - 1) >= 0x7fd) {
    if (exponent <= 0) {
      // Tiny, unless rounding to full precision would carry into the least normal number.
      const tiny = exponent < 0 || significand + add < TOP;
      significand = shiftRightJam(significand, 1 - exponent);
      exponent = 1;
      if (tiny && (significand & ((<u64>1 << EXTRA_D) - 1)) != 0) accrue(FLAG_UF);
    } else if (exponent > 0x7fe || significand + add >= TOP) {
      accrue(FLAG_OF | FLAG_NX);
      return (sign << 63) | (0x7ff0000000000000 - <u64>(add == 0));
    }
  }
  const rest = significand & ((<u64>1 << EXTRA_D) - 1);
  let bits = (significand + add) >> EXTRA_D;
  if (rest != 0) {
    accrue(FLAG_NX);
    if (rest == <u64>1 << (EXTRA_D - 1) && rm == RM_RNE) bits &= ~1;
  }
  // The hidden bit is added to the exponent field: it makes 1 of a normal number's 0, and so does a carry.
  return (sign << 63) | ((<u64>(exponent - 1) << 52) + bits);
}

/** Rounds (-1)^sign * significand/2^62 * 2^(exponent-127) to a boxed single; as roundD. */
export function roundS(sign: u32, exponent: i32, significand: u64, rm: i32): u64 {
  const add = increment(<u64>sign, rm, EXTRA_S);
  if (<u32>(exponent - 1) >= 0xfd) {
    if (exponent <= 0) {
      const tiny = exponent < 0 || significand + add < TOP;
      significand = shiftRightJam(significand, 1 - exponent);
      exponent = 1;
      if (tiny && (significand & ((<u64>1 << EXTRA_S) - 1)) != 0) accrue(FLAG_UF);
    } else if (exponent > 0xfe || significand + add >= TOP) {
      accrue(FLAG_OF | FLAG_NX);
      return box((sign << 31) | (0x7f800000 - <u32>(add == 0)));
    }
  }
  const rest = significand & ((<u64>1 << EXTRA_S) - 1);
  let bits = <u32>((significand + add) >> EXTRA_S);
  if (rest != 0) {
    accrue(FLAG_NX);
    if (rest == <u64>1 << (EXTRA_S - 1) && rm == RM_RNE) bits &= ~1;
  }
  return box((sign << 31) | ((<u32>(exponent - 1) << 23) + bits));
}

/**
 * Rounds any double but a NaN to a boxed single, with flags. Infinities and zeros keep their sign and accrue nothing.
 */
export function narrow(value: f64, rm: i32): u64 {
  const magnitude = abs(value);
  // Neither tiny nor beyond the greatest single.
  if (rm == RM_RNE && magnitude > <f64>MIN_NORMAL_S && magnitude <= <f64>f32.MAX_VALUE) {
    const single = <f32>value;
    accrue(<i32>(<f64>single != value));
    return boxFloat(single);
  }
  if (value == 0 || magnitude == Infinity) return boxFloat(<f32>value);
  const bits = toBits(value);
  const exponent = <i32>(bits >> 52) & 0x7ff;
  // A subnormal double is far below every single: without its leading one in place it still shifts to a bare sticky
  // bit.
  const significand = (bits & FRACTION_D) | (exponent != 0 ? HIDDEN_D : 0);
  return roundS(<u32>(bits >> 63), exponent - BIAS_D + 127, significand << EXTRA_D, rm);
}
