/**
 * What the whole floating-point unit shares: the accrued exception flags, the names of flags and rounding modes (RISC-V
 * unprivileged ISA, "F" extension, fcsr), NaN boxing and NaN tests. Everything works on raw bits: a double is its u64
 * image, a single is the u64 image of the f register that holds it.
 */

/** fflags bits. */
export const FLAG_NX: i32 = 1;
export const FLAG_UF: i32 = 2;
export const FLAG_OF: i32 = 4;
export const FLAG_DZ: i32 = 8;
export const FLAG_NV: i32 = 16;

/** Rounding modes (frm). The caller has resolved DYN and refused 5 and 6. */
export const RM_RNE: i32 = 0;
export const RM_RTZ: i32 = 1;
export const RM_RDN: i32 = 2;
export const RM_RUP: i32 = 3;
export const RM_RMM: i32 = 4;

/** Upper half of a register that holds a properly boxed single. */
export const BOX: u64 = 0xffffffff00000000;

export const SIGN_S: u32 = 0x80000000;
export const EXPONENT_S: u32 = 0x7f800000;
export const QUIET_S: u32 = 0x00400000;
export const NAN_S: u32 = 0x7fc00000;
export const BOXED_NAN_S: u64 = 0xffffffff7fc00000;
/** Least positive normal number. */
export const MIN_NORMAL_S: f32 = reinterpret<f32>(0x00800000);

export const SIGN_D: u64 = 0x8000000000000000;
export const EXPONENT_D: u64 = 0x7ff0000000000000;
export const FRACTION_D: u64 = 0x000fffffffffffff;
export const HIDDEN_D: u64 = 0x0010000000000000;
export const QUIET_D: u64 = 0x0008000000000000;
export const NAN_D: u64 = 0x7ff8000000000000;
export const ONE_D: u64 = 0x3ff0000000000000;
export const BIAS_D: i32 = 1023;
export const MIN_NORMAL_D: f64 = reinterpret<f64>(<u64>0x0010000000000000);

/**
 * Accrued exception flags (fflags) of the hart that this thread runs. The interpreter loads it from the hart block when
 * it starts and stores it back when it stops; every function here only ever sets bits.
 */
export let fpFlags: i32 = 0;

// @ts-ignore: decorator
@inline
export function setFpFlags(flags: i32): void {
  fpFlags = flags;
}

// @ts-ignore: decorator
@inline
export function accrue(flags: i32): void {
  fpFlags |= flags;
}

/** True if the mode is RNE and NX has accrued already: the native operation then needs only a look at its result. */
// @ts-ignore: decorator
@inline
export function isNative(rm: i32): bool {
  return (rm | (~fpFlags & FLAG_NX)) == 0;
}

// @ts-ignore: decorator
@inline
export function box(bits: u32): u64 {
  return BOX | <u64>bits;
}

// @ts-ignore: decorator
@inline
export function boxFloat(value: f32): u64 {
  return BOX | <u64>reinterpret<u32>(value);
}

/** Bits of the single in a register; canonical NaN if it is not properly boxed. */
// @ts-ignore: decorator
@inline
export function unbox(register: u64): u32 {
  return register >= BOX ? <u32>register : NAN_S;
}

// @ts-ignore: decorator
@inline
export function toFloat(bits: u32): f32 {
  return reinterpret<f32>(bits);
}

// @ts-ignore: decorator
@inline
export function toDouble(bits: u64): f64 {
  return reinterpret<f64>(bits);
}

// @ts-ignore: decorator
@inline
export function toBits(value: f64): u64 {
  return reinterpret<u64>(value);
}

// @ts-ignore: decorator
@inline
export function isNanS(bits: u32): bool {
  return bits << 1 > EXPONENT_S << 1;
}

// @ts-ignore: decorator
@inline
export function isSignallingS(bits: u32): bool {
  return isNanS(bits) && (bits & QUIET_S) == 0;
}

// @ts-ignore: decorator
@inline
export function isNanD(bits: u64): bool {
  return bits << 1 > EXPONENT_D << 1;
}

// @ts-ignore: decorator
@inline
export function isSignallingD(bits: u64): bool {
  return isNanD(bits) && (bits & QUIET_D) == 0;
}

/** DBL_MIN < |value| < infinity: no flag but NX can be due, in any operation that gave this. */
// @ts-ignore: decorator
@inline
export function isSafeD(value: f64): bool {
  const magnitude = abs(value);
  return magnitude > MIN_NORMAL_D && magnitude < Infinity;
}

/** FLT_MIN < |value| < infinity. */
// @ts-ignore: decorator
@inline
export function isSafeS(value: f32): bool {
  const magnitude = abs(value);
  return magnitude > MIN_NORMAL_S && magnitude < <f32>Infinity;
}
