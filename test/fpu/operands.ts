/** Operand vectors: every combination of special values, and random ones where the interesting things happen. */
import type { Kind, Op } from './ops.ts';

/** Small fast generator (sfc32), seeded. */
export class Random {
  #a: number;
  #b = 0x9e3779b9;
  #c = 0x243f6a88;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed >>> 0;
    for (let i = 0; i < 20; i++) this.u32();
  }

  u32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + t) | 0;
    return t >>> 0;
  }

  below(n: number): number {
    return this.u32() % n;
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }
}

const ALL_ONES = 0xffffffff_ffffffffn;
const BOX = 0xffffffff_00000000n;

export function doubleBits(value: number): bigint {
  return new BigUint64Array(new Float64Array([value]).buffer)[0];
}

export function singleBits(value: number): bigint {
  return BOX | BigInt(new Uint32Array(new Float32Array([value]).buffer)[0]);
}

/** Powers of two around which integers, fractions, singles and doubles begin and end. */
const POWERS = [
  -1074, -1073, -1023, -1022, -1021, -538, -537, -151, -150, -149, -148, -127, -126, -125, -75, -54, -53, -52, -25, -24,
  -23, -2, -1, 0, 1, 2, 8, 22, 23, 24, 25, 30, 31, 32, 33, 51, 52, 53, 54, 62, 63, 64, 65, 83, 84, 85, 127, 128, 511,
  512, 1022, 1023,
];

/** Values at and next to a boundary, of both signs. */
function boundaries(step: (bits: bigint) => bigint[], toBits: (value: number) => bigint, values: number[]): bigint[] {
  return values.flatMap((value) => step(toBits(value)));
}

function withSigns(values: bigint[], sign: bigint): bigint[] {
  return [...new Set(values.flatMap((v) => [v, v ^ sign]))];
}

const SIGN_D = 1n << 63n;
const SIGN_S = 1n << 31n;
const HALVES = [
  1.5,
  2.5,
  3.5,
  2 ** 23 + 0.5,
  2 ** 31 - 0.5,
  2 ** 31 + 0.5,
  2 ** 32 - 0.5,
  0.1,
  1 / 3,
  3,
  5,
  7,
  10,
  100,
];

export const specialDoubles: bigint[] = withSigns(
  [
    0n,
    ...boundaries(
      (b) => [b - 1n, b, b + 1n],
      doubleBits,
      POWERS.map((p) => 2 ** p),
    ),
    ...HALVES.map(doubleBits),
    // Where conversion to single rounds, overflows, and becomes subnormal.
    ...boundaries((b) => [b - 1n, b, b + 1n], doubleBits, [
      ...[1 + 2 ** -24, 1 + 3 * 2 ** -24, (2 - 2 ** -24) * 2 ** 127, (2 - 2 ** -23) * 2 ** 127, 3 * 2 ** -150],
      ...[2 ** -126 * (1 - 2 ** -24), 2 ** -126 * (1 - 2 ** -25), 2 ** -126 * (1 - 2 ** -23), 1 + 2 ** -52],
    ]),
    0x7fefffff_ffffffffn,
    0x7ff00000_00000000n,
    0x7ff80000_00000000n,
    0x7ff80000_00000123n,
    0x7fffffff_ffffffffn,
    0x7ff00000_00000001n,
    0x7ff40000_00000000n,
  ],
  SIGN_D,
);

export const specialSingles: bigint[] = [
  ...withSigns(
    [
      BOX,
      ...boundaries(
        (b) => [b - 1n, b, b + 1n].filter((v) => v >= BOX),
        singleBits,
        POWERS.filter((p) => p >= -149 && p < 128).map((p) => 2 ** p),
      ),
      ...HALVES.map(singleBits),
      ...[0x7f7fffffn, 0x7f800000n, 0x7fc00000n, 0x7fc00123n, 0x7fffffffn, 0x7f800001n, 0x7fa00000n].map(
        (b) => BOX | b,
      ),
    ],
    SIGN_S,
  ),
  // Not boxed: doubles, and boxes with a bit missing.
  ...[
    0n,
    doubleBits(1),
    doubleBits(-2),
    0x7ff00000_00000001n,
    0x00000000_3f800000n,
    0xfffffffe_3f800000n,
    0x7fffffff_bf800000n,
  ],
];

export const specialIntegers: bigint[] = withSigns(
  [
    0n,
    ...Array.from({ length: 64 }, (_, i) => 1n << BigInt(i)).flatMap((p) => [p - 1n, p, p + 1n]),
    // Midpoints of the two formats.
    ...[24n, 25n, 31n, 40n, 63n].flatMap((top) =>
      [24n, 53n]
        .filter((p) => p <= top)
        .flatMap((p) => {
          const half = 1n << (top - p);
          return [half - 1n, half, half + 1n, 3n * half - 1n, 3n * half, 3n * half + 1n].map(
            (low) => (1n << top) + low,
          );
        }),
    ),
  ].map((v) => v & ALL_ONES),
  ALL_ONES,
);

const specials: Record<Kind, bigint[]> = { s: specialSingles, d: specialDoubles, x: specialIntegers };

function pack(vectors: bigint[]): Buffer {
  return Buffer.from(BigUint64Array.from(vectors).buffer);
}

/** Every combination of special operands, or a random choice of `limit` of them. */
export function specialVectors(op: Op, random: Random, limit: number): Buffer {
  const lists = op.operands.map((kind) => specials[kind]);
  const total = lists.reduce((product, list) => product * list.length, 1);
  const vectors: bigint[] = [];
  for (let n = 0; n < Math.min(total, limit); n++) {
    let index = n;
    for (const list of lists) {
      vectors.push(total <= limit ? list[index % list.length] : random.pick(list));
      index = Math.floor(index / list.length);
    }
  }
  return pack(vectors);
}

interface Format {
  fractionBits: number;
  exponentBits: number;
  toBits(value: number): bigint;
  toNumber(bits: bigint): number;
}

const formats: Record<'s' | 'd', Format> = {
  s: {
    fractionBits: 23,
    exponentBits: 8,
    toBits: singleBits,
    toNumber: (bits) => new Float32Array(new Uint32Array([Number(bits & 0xffffffffn)]).buffer)[0],
  },
  d: {
    fractionBits: 52,
    exponentBits: 11,
    toBits: doubleBits,
    toNumber: (bits) => new Float64Array(new BigUint64Array([bits]).buffer)[0],
  },
};

/** Fractions of few bits, of long runs of one bit, and of any bits. */
function fraction(format: Format, random: Random): bigint {
  const bits = BigInt(format.fractionBits);
  const mask = (1n << bits) - 1n;
  const any = random.u64() & mask;
  const cut = BigInt(random.below(format.fractionBits + 1));
  switch (random.below(5)) {
    case 0:
      return (any << cut) & mask;
    case 1:
      return mask ^ (random.u64() & ((1n << cut) - 1n));
    case 2:
      return (mask << cut) & mask;
    case 3:
      return 1n << (cut === 0n ? 0n : cut - 1n);
    default:
      return any;
  }
}

/** A value whose biased exponent is at or near `exponent` (clamped). */
function near(kind: 's' | 'd', exponent: number, random: Random): bigint {
  const format = formats[kind];
  const top = (1 << format.exponentBits) - 2;
  const clamped = BigInt(Math.max(0, Math.min(top, exponent)));
  const bits = (BigInt(random.below(2)) << BigInt(format.exponentBits)) | clamped;
  return (kind === 's' ? BOX : 0n) | (bits << BigInt(format.fractionBits)) | fraction(format, random);
}

function randomFloat(kind: 's' | 'd', random: Random): bigint {
  const format = formats[kind];
  const bias = (1 << (format.exponentBits - 1)) - 1;
  switch (random.below(8)) {
    case 0:
      return kind === 's' ? BOX | BigInt(random.u32()) : random.u64();
    case 1:
      return near(kind, random.below(4), random);
    case 2:
      return near(kind, 2 * bias - random.below(4), random);
    case 3:
      return format.toBits(random.below(2001) - 1000);
    case 4:
      // Around the integers' limits.
      return near(kind, bias + random.below(90) - 4, random);
    case 5:
      return near(kind, (bias >> 1) + random.below(8) - 4, random);
    case 6:
      return random.pick(specials[kind]);
    default:
      return near(kind, bias + random.below(2 * format.fractionBits) - format.fractionBits, random);
  }
}

function randomInteger(random: Random): bigint {
  const value = random.u64() >> BigInt(random.below(64));
  const shifted = random.below(2) ? (value << BigInt(random.below(64))) & ALL_ONES : value;
  return random.below(2) ? shifted : (~shifted + 1n) & ALL_ONES;
}

/**
 * A second or third operand that meets the first ones closely: cancellation, distant exponents, limits of the range.
 */
function companion(kind: 's' | 'd', before: bigint[], random: Random): bigint {
  const format = formats[kind];
  const first = before[0];
  const bias = (1 << (format.exponentBits - 1)) - 1;
  const exponent = Number((first >> BigInt(format.fractionBits)) & BigInt((1 << format.exponentBits) - 1));
  const product = before.length === 2 ? format.toNumber(before[0]) * format.toNumber(before[1]) : NaN;
  if (Number.isFinite(product)) {
    // The addend of a multiply-add: the product nearly cancelled, or some way off it.
    const rounded = format.toBits(-product);
    if (random.below(2)) return clampBits(kind, rounded + BigInt(random.below(9) - 4));
    const at = Number((rounded >> BigInt(format.fractionBits)) & BigInt((1 << format.exponentBits) - 1));
    return near(kind, at + random.below(4 * format.fractionBits) - 2 * format.fractionBits, random);
  }
  switch (random.below(4)) {
    case 0:
      return clampBits(kind, first + BigInt(random.below(9) - 4)) ^ (kind === 's' ? SIGN_S : SIGN_D);
    case 1:
      return near(kind, exponent + random.below(2 * format.fractionBits + 8) - format.fractionBits - 4, random);
    case 2:
      // Products and quotients at both ends of the range.
      return near(
        kind,
        random.pick([bias - exponent, 3 * bias - exponent, exponent + bias, exponent - bias]) + random.below(7) - 3,
        random,
      );
    default:
      return near(kind, bias - exponent - random.below(2 * format.fractionBits), random);
  }
}

function clampBits(kind: 's' | 'd', bits: bigint): bigint {
  return kind === 's' ? BOX | (bits & 0xffffffffn) : bits & ALL_ONES;
}

/** `count` random operand vectors. */
export function randomVectors(op: Op, random: Random, count: number): Buffer {
  const vectors: bigint[] = [];
  for (let n = 0; n < count; n++) {
    const vector: bigint[] = [];
    for (const kind of op.operands) {
      if (kind === 'x') vector.push(randomInteger(random));
      else if (vector.length > 0 && random.below(2)) vector.push(companion(kind, vector, random));
      else vector.push(randomFloat(kind, random));
    }
    vectors.push(...vector);
  }
  return pack(vectors);
}
