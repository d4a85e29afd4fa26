/**
 * The Zfa operations written down as its specification puts them, on exact integers: what Debian's qemu does not know
 * has to be compared with something slow and plain. A finite value is mantissa * 2^exponent.
 */
import type { Outcome } from './engine.ts';

export const NX = 1;
export const NV = 16;

interface Value {
  negative: boolean;
  nan: boolean;
  signalling: boolean;
  infinite: boolean;
  mantissa: bigint;
  exponent: number;
}

interface Format {
  fractionBits: number;
  exponentBits: number;
  /** What is or-ed into a register that holds the format. */
  box: bigint;
  nan: bigint;
}

const SINGLE: Format = { fractionBits: 23, exponentBits: 8, box: 0xffffffff_00000000n, nan: 0xffffffff_7fc00000n };
const DOUBLE: Format = { fractionBits: 52, exponentBits: 11, box: 0n, nan: 0x7ff80000_00000000n };

const formatOf = (name: string): Format => (name.endsWith('S') ? SINGLE : DOUBLE);

function decode(register: bigint, { fractionBits, exponentBits, box, nan }: Format): Value {
  const bits = (register & box) === box ? register & ~box : nan & ~box;
  const fraction = bits & ((1n << BigInt(fractionBits)) - 1n);
  const top = (1 << exponentBits) - 1;
  const field = Number(bits >> BigInt(fractionBits)) & top;
  const special = field === top;
  return {
    negative: bits >> BigInt(fractionBits + exponentBits) === 1n,
    nan: special && fraction !== 0n,
    signalling: special && fraction !== 0n && fraction >> BigInt(fractionBits - 1) === 0n,
    infinite: special && fraction === 0n,
    mantissa: field === 0 ? fraction : fraction | (1n << BigInt(fractionBits)),
    exponent: Math.max(field, 1) - (top >> 1) - fractionBits,
  };
}

/** Register image of an integer that the format can hold. */
function encodeInteger(negative: boolean, magnitude: bigint, { fractionBits, exponentBits, box }: Format): bigint {
  const sign = negative ? 1n << BigInt(fractionBits + exponentBits) : 0n;
  if (magnitude === 0n) return box | sign;
  const length = magnitude.toString(2).length;
  const bias = (1 << (exponentBits - 1)) - 1;
  const shift = BigInt(fractionBits + 1 - length);
  const significand = shift >= 0n ? magnitude << shift : magnitude >> -shift;
  return box | sign | ((BigInt(bias + length - 2) << BigInt(fractionBits)) + significand);
}

/** Numerator and (positive) denominator of a finite value. */
function rational({ negative, mantissa, exponent }: Value): [bigint, bigint] {
  const signed = negative ? -mantissa : mantissa;
  return exponent >= 0 ? [signed << BigInt(exponent), 1n] : [signed, 1n << BigInt(-exponent)];
}

/** -1, 0 or 1. */
function order(a: Value, b: Value): number {
  if (a.infinite || b.infinite) {
    const rank = (v: Value): number => (v.infinite ? (v.negative ? -1 : 1) : 0);
    return Math.sign(rank(a) - rank(b));
  }
  const [an, ad] = rational(a);
  const [bn, bd] = rational(b);
  const difference = an * bd - bn * ad;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** Magnitude of a value rounded to an integer, and whether that lost anything. */
function roundMagnitude(value: Value, rm: number): [bigint, boolean] {
  const [numerator, denominator] = rational({ ...value, negative: false });
  const floor = numerator / denominator;
  const rest = numerator % denominator;
  if (rest === 0n) return [floor, false];
  const half = 2n * rest - denominator;
  const up = [
    half > 0n || (half === 0n && (floor & 1n) === 1n), // RNE
    false, // RTZ
    value.negative, // RDN
    !value.negative, // RUP
    half >= 0n, // RMM
  ][rm];
  return [up ? floor + 1n : floor, true];
}

function round(register: bigint, rm: number, format: Format, exact: boolean): Outcome {
  const value = decode(register, format);
  if (value.nan) return { result: format.nan, flags: value.signalling ? NV : 0 };
  if (value.infinite) return { result: register, flags: 0 };
  const [magnitude, inexact] = roundMagnitude(value, rm);
  return { result: encodeInteger(value.negative, magnitude, format), flags: exact && inexact ? NX : 0 };
}

/** minimum (sign -1) or maximum (sign 1) of IEEE 754-2019. */
function extreme(a: bigint, b: bigint, sign: number, format: Format): Outcome {
  const x = decode(a, format);
  const y = decode(b, format);
  if (x.nan || y.nan) return { result: format.nan, flags: x.signalling || y.signalling ? NV : 0 };
  const zeros = Number(y.negative) - Number(x.negative);
  return { result: (order(x, y) || zeros) === sign ? a : b, flags: 0 };
}

function compare(a: bigint, b: bigint, format: Format, holds: (order: number) => boolean): Outcome {
  const x = decode(a, format);
  const y = decode(b, format);
  if (x.nan || y.nan) return { result: 0n, flags: x.signalling || y.signalling ? NV : 0 };
  return { result: holds(order(x, y)) ? 1n : 0n, flags: 0 };
}

function convertModular(a: bigint): Outcome {
  const value = decode(a, DOUBLE);
  if (value.nan || value.infinite) return { result: 0n, flags: NV };
  const [magnitude, inexact] = roundMagnitude(value, 1);
  const integer = value.negative ? -magnitude : magnitude;
  const low = BigInt.asIntN(32, integer);
  return { result: BigInt.asUintN(64, low), flags: low !== integer ? NV : inexact ? NX : 0 };
}

/** What an operation of Zfa gives, by the name of the engine's function. Flags start clear. */
export function zfa(name: string, operands: bigint[], rm: number): Outcome {
  const format = formatOf(name);
  const [a, b] = operands;
  switch (name.slice(0, -1)) {
    case 'fminm':
      return extreme(a, b, -1, format);
    case 'fmaxm':
      return extreme(a, b, 1, format);
    case 'fltq':
      return compare(a, b, format, (o) => o < 0);
    case 'fleq':
      return compare(a, b, format, (o) => o <= 0);
    case 'fround':
      return round(a, rm, format, false);
    case 'froundnx':
      return round(a, rm, format, true);
    case 'fcvtmodW':
      return convertModular(a);
    default:
      throw new Error(`no such operation of Zfa: ${name}`);
  }
}
