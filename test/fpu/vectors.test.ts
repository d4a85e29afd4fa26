/**
 * A small set of cases worked out by hand: what must hold wherever the tests run, and a guide to what the unit
 * promises.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { Engine } from './engine.ts';

const [RNE, RTZ, RDN, RUP, RMM] = [0, 1, 2, 3, 4];
const [NX, UF, OF, DZ, NV] = [1, 2, 4, 8, 16];

/** Operation, operands, mode, result, flags; registers in hex. */
type Case = [name: string, operands: string[], rm: number, result: string, flags: number];

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.build();
});

function check(cases: Case[]): void {
  for (const [name, operands, rm, result, flags] of cases) {
    const label = `${name} ${operands.join(' ')} rm ${rm}`;
    const words = operands.map((o) => BigInt(`0x${o}`));
    for (const before of [0, NX]) {
      const outcome = engine.call(name, words, rm, before);
      expect(`${label}: ${outcome.result.toString(16).padStart(16, '0')}`).toBe(`${label}: ${result}`);
      expect([label, outcome.flags]).toEqual([label, flags | before]);
    }
  }
}

const ONE = '3ff0000000000000';
const MINUS_ONE = 'bff0000000000000';
const NEXT_ONE = '3ff0000000000001';
const ZERO = '0000000000000000';
const MINUS_ZERO = '8000000000000000';
const INFINITE = '7ff0000000000000';
const MAX = '7fefffffffffffff';
const MIN_NORMAL = '0010000000000000';
const MIN_SUBNORMAL = '0000000000000001';
const NAN = '7ff8000000000000';
const SNAN = '7ff0000000000001';
/** 2^-53: half the last place of 1. */
const HALF_ULP = '3ca0000000000000';

const S_ONE = 'ffffffff3f800000';
const S_NAN = 'ffffffff7fc00000';
const S_SNAN = 'ffffffff7f800001';
const S_MAX = 'ffffffff7f7fffff';
const S_INFINITE = 'ffffffff7f800000';
const S_MIN_NORMAL = 'ffffffff00800000';
const S_ZERO = 'ffffffff00000000';
const UNBOXED_ONE = '000000003f800000';

describe('rounding', () => {
  test('a tie in each mode', () =>
    check([
      ['faddD', [ONE, HALF_ULP], RNE, ONE, NX],
      ['faddD', [ONE, HALF_ULP], RTZ, ONE, NX],
      ['faddD', [ONE, HALF_ULP], RDN, ONE, NX],
      ['faddD', [ONE, HALF_ULP], RUP, NEXT_ONE, NX],
      ['faddD', [ONE, HALF_ULP], RMM, NEXT_ONE, NX],
      ['faddD', [NEXT_ONE, HALF_ULP], RNE, '3ff0000000000002', NX],
      ['fsubD', [MINUS_ONE, HALF_ULP], RDN, 'bff0000000000001', NX],
      ['fsubD', [MINUS_ONE, HALF_ULP], RUP, MINUS_ONE, NX],
    ]));

  test('an exact zero is -0 only when rounding down', () =>
    check([
      ['fsubD', [ONE, ONE], RNE, ZERO, 0],
      ['fsubD', [ONE, ONE], RDN, MINUS_ZERO, 0],
      ['faddD', [MINUS_ZERO, MINUS_ZERO], RNE, MINUS_ZERO, 0],
      ['faddD', [ZERO, ZERO], RDN, ZERO, 0],
      ['fmaddD', [ONE, MINUS_ONE, ONE], RDN, MINUS_ZERO, 0],
      ['fsubS', [S_ONE, S_ONE], RDN, 'ffffffff80000000', 0],
    ]));

  test('a third and the root of two', () =>
    check([
      ['fdivD', [ONE, '4008000000000000'], RNE, '3fd5555555555555', NX],
      ['fdivD', [ONE, '4008000000000000'], RUP, '3fd5555555555556', NX],
      ['fsqrtD', ['4000000000000000'], RNE, '3ff6a09e667f3bcd', NX],
      ['fsqrtD', ['4000000000000000'], RDN, '3ff6a09e667f3bcc', NX],
      ['fsqrtD', ['4010000000000000'], RDN, '4000000000000000', 0],
      ['fdivS', [S_ONE, 'ffffffff40400000'], RNE, 'ffffffff3eaaaaab', NX],
      ['fsqrtS', ['ffffffff40000000'], RNE, 'ffffffff3fb504f3', NX],
    ]));

  test('a multiply-add rounds once', () =>
    check([
      // (1 + u)(1 + u) - (1 + 2u) = u^2, u = 2^-52 and 2^-23.
      ['fmsubD', [NEXT_ONE, NEXT_ONE, '3ff0000000000002'], RNE, '3970000000000000', 0],
      ['fmsubS', ['ffffffff3f800001', 'ffffffff3f800001', 'ffffffff3f800002'], RNE, 'ffffffff28800000', 0],
      ['fnmaddD', [ONE, ONE, ONE], RNE, 'c000000000000000', 0],
      ['fnmsubD', [ONE, ONE, ONE], RNE, ZERO, 0],
    ]));

  test('a single multiply-add whose double is a midpoint', () =>
    check([
      // (1 - 2^-23)(1 + 2^-23) 2^-24 + (1 + 2^-23): 2^-70 below a midpoint, and a double cannot tell.
      ['fmaddS', ['ffffffff3f7ffffe', 'ffffffff33800001', 'ffffffff3f800001'], RNE, 'ffffffff3f800001', NX],
      ['fmaddS', ['ffffffff3f7ffffe', 'ffffffff33800001', 'ffffffff3f800001'], RUP, 'ffffffff3f800002', NX],
      ['fmaddS', ['ffffffff3f7ffffe', 'ffffffff33800001', 'ffffffff3f800001'], RMM, 'ffffffff3f800001', NX],
    ]));
});

describe('flags', () => {
  test('overflow', () =>
    check([
      ['faddD', [MAX, MAX], RNE, INFINITE, OF | NX],
      ['faddD', [MAX, MAX], RTZ, MAX, OF | NX],
      ['fmulD', [MAX, 'c000000000000000'], RUP, 'ffefffffffffffff', OF | NX],
      ['faddS', [S_MAX, S_MAX], RNE, S_INFINITE, OF | NX],
      ['faddS', [S_MAX, S_MAX], RDN, S_MAX, OF | NX],
      ['fcvtSD', [MAX], RNE, S_INFINITE, OF | NX],
    ]));

  test('underflow is detected after rounding', () =>
    check([
      // MIN_NORMAL * (1 - 2^-53) has 53 bits: tiny, though it becomes MIN_NORMAL.
      ['fmulD', [MIN_NORMAL, '3fefffffffffffff'], RNE, MIN_NORMAL, UF | NX],
      ['fmulD', ['001fffffffffffff', '3fe0000000000000'], RNE, MIN_NORMAL, UF | NX],
      // MIN_NORMAL * (1 - 2^-104) would be MIN_NORMAL at any exponent range: not tiny.
      ['fmulD', ['0010000000000001', '3feffffffffffffe'], RNE, MIN_NORMAL, NX],
      ['fmulD', [MIN_NORMAL, '3fe0000000000000'], RNE, '0008000000000000', 0],
      ['fmulD', [MIN_SUBNORMAL, '3fe0000000000000'], RNE, ZERO, UF | NX],
      ['fmulD', [MIN_SUBNORMAL, '3fe0000000000000'], RUP, MIN_SUBNORMAL, UF | NX],
      ['fdivS', [S_MIN_NORMAL, 'ffffffff40400000'], RNE, 'ffffffff002aaaab', UF | NX],
      ['fsubD', ['0010000000000001', MIN_NORMAL], RNE, MIN_SUBNORMAL, 0],
    ]));

  test('invalid and division by zero', () =>
    check([
      ['fdivD', [ONE, MINUS_ZERO], RNE, 'fff0000000000000', DZ],
      ['fdivD', [ZERO, ZERO], RNE, NAN, NV],
      ['fdivD', [INFINITE, ZERO], RNE, INFINITE, 0],
      ['fsubD', [INFINITE, INFINITE], RNE, NAN, NV],
      ['fmulD', [INFINITE, ZERO], RNE, NAN, NV],
      ['fsqrtD', [MINUS_ONE], RNE, NAN, NV],
      ['fsqrtD', [MINUS_ZERO], RNE, MINUS_ZERO, 0],
      ['fmaddD', [INFINITE, ZERO, NAN], RNE, NAN, NV],
      ['fmaddS', [S_INFINITE, S_ZERO, S_NAN], RNE, S_NAN, NV],
      ['fdivS', [S_ONE, S_ZERO], RNE, S_INFINITE, DZ],
    ]));

  test('NaNs are canonical, and signal once', () =>
    check([
      ['faddD', ['fff8000000000123', ONE], RNE, NAN, 0],
      ['faddD', [SNAN, ONE], RNE, NAN, NV],
      ['fcvtDS', [S_SNAN], RNE, NAN, NV],
      ['fcvtSD', ['7ff8000000000123'], RNE, S_NAN, 0],
      ['fsqrtS', [S_SNAN], RNE, S_NAN, NV],
    ]));
});

describe('boxing', () => {
  test('a single that is not boxed is the canonical NaN', () =>
    check([
      ['faddS', [UNBOXED_ONE, S_ONE], RNE, S_NAN, 0],
      ['fsgnjS', [UNBOXED_ONE, 'ffffffffbf800000'], RNE, 'ffffffffffc00000', 0],
      ['fsgnjS', [S_ONE, '00000000bf800000'], RNE, S_ONE, 0],
      ['fminS', [UNBOXED_ONE, S_ONE], RNE, S_ONE, 0],
      ['fclassS', [UNBOXED_ONE], RNE, '0000000000000200', 0],
      ['fcvtWS', [UNBOXED_ONE], RNE, '000000007fffffff', NV],
    ]));
});

describe('minimum, comparison, classification', () => {
  test('minimumNumber, and minimum of Zfa', () =>
    check([
      ['fminD', [ZERO, MINUS_ZERO], RNE, MINUS_ZERO, 0],
      ['fmaxD', [MINUS_ZERO, ZERO], RNE, ZERO, 0],
      ['fminD', [NAN, ONE], RNE, ONE, 0],
      ['fmaxD', [ONE, SNAN], RNE, ONE, NV],
      ['fminmD', [NAN, ONE], RNE, NAN, 0],
      ['fmaxmD', [ONE, SNAN], RNE, NAN, NV],
    ]));

  test('only flt and fle signal on a quiet NaN', () =>
    check([
      ['feqD', [NAN, NAN], RNE, ZERO, 0],
      ['feqD', [SNAN, ONE], RNE, ZERO, NV],
      ['fltD', [NAN, ONE], RNE, ZERO, NV],
      ['fleD', [ONE, NAN], RNE, ZERO, NV],
      ['fltqD', [NAN, ONE], RNE, ZERO, 0],
      ['fleqD', [ONE, SNAN], RNE, ZERO, NV],
      ['fleD', [MINUS_ZERO, ZERO], RNE, MIN_SUBNORMAL, 0],
    ]));

  test('the ten classes', () =>
    [
      ...['fff0000000000000', MINUS_ONE, '8000000000000001', MINUS_ZERO, ZERO, MIN_SUBNORMAL, ONE, INFINITE, SNAN, NAN],
    ].forEach((value, bit) => check([['fclassD', [value], RNE, (1 << bit).toString(16).padStart(16, '0'), 0]])));
});

describe('conversion', () => {
  test('2.5 and -2.5 in each mode', () =>
    check([
      ['fcvtWD', ['4004000000000000'], RNE, '0000000000000002', NX],
      ['fcvtWD', ['4004000000000000'], RMM, '0000000000000003', NX],
      ['fcvtWD', ['4004000000000000'], RUP, '0000000000000003', NX],
      ['fcvtLD', ['c004000000000000'], RDN, 'fffffffffffffffd', NX],
      ['fcvtLD', ['c004000000000000'], RTZ, 'fffffffffffffffe', NX],
    ]));

  test('out of range: saturated, NV without NX', () =>
    check([
      ['fcvtWD', ['41dfffffffe00000'], RNE, '000000007fffffff', NV], // 2^31 - 0.5
      ['fcvtWD', ['41dfffffffe00000'], RTZ, '000000007fffffff', NX],
      ['fcvtWD', ['fff0000000000000'], RNE, 'ffffffff80000000', NV],
      ['fcvtWuD', ['41effffffff00000'], RTZ, 'ffffffffffffffff', NX], // 2^32 - 0.5
      ['fcvtWuD', [NAN], RNE, 'ffffffffffffffff', NV],
      ['fcvtLuD', ['bfe0000000000000'], RTZ, ZERO, NX], // -0.5
      ['fcvtLuD', [MINUS_ONE], RTZ, ZERO, NV],
      ['fcvtLD', ['43e0000000000000'], RNE, '7fffffffffffffff', NV], // 2^63
      ['fcvtLD', ['c3e0000000000000'], RNE, '8000000000000000', 0],
      ['fcvtLuS', ['ffffffff5f800000'], RNE, 'ffffffffffffffff', NV], // 2^64
    ]));

  test('from integers', () =>
    check([
      ['fcvtSW', ['0000000001000001'], RNE, 'ffffffff4b800000', NX], // 2^24 + 1
      ['fcvtSW', ['0000000001000001'], RUP, 'ffffffff4b800001', NX],
      ['fcvtSWu', ['00000000ffffffff'], RNE, 'ffffffff4f800000', NX],
      ['fcvtDL', ['7fffffffffffffff'], RNE, '43e0000000000000', NX],
      ['fcvtDL', ['7fffffffffffffff'], RTZ, '43dfffffffffffff', NX],
      ['fcvtDLu', ['ffffffffffffffff'], RNE, '43f0000000000000', NX],
      ['fcvtDL', ['8000000000000000'], RNE, 'c3e0000000000000', 0],
      ['fcvtDW', ['12345678ffffffff'], RNE, MINUS_ONE, 0],
    ]));

  test('modular, for JavaScript', () =>
    check([
      ['fcvtmodWD', ['41f0000000100000'], RNE, '0000000000000001', NV], // 2^32 + 1
      ['fcvtmodWD', ['c1e0000000000000'], RNE, 'ffffffff80000000', 0], // -2^31
      ['fcvtmodWD', ['4350000000000001'], RNE, '0000000000000004', NV], // 2^54 + 4
      ['fcvtmodWD', [INFINITE], RNE, ZERO, NV],
      ['fcvtmodWD', ['bff8000000000000'], RNE, 'ffffffffffffffff', NX], // -1.5
    ]));
});
