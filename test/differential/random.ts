/** Seeded randomness, and values that are likelier than chance to be interesting. */

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** sfc32 (Chris Doty-Humphrey). */
  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = 0x9e3779b9 | 0;
    this.#c = 0x243f6a88;
    this.#d = 1;
    for (let i = 0; i < 12; i++) this.u32();
  }

  u32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + t) | 0;
    return t >>> 0;
  }

  /** 0 .. n - 1. */
  below(n: number): number {
    return this.u32() % n;
  }
  /** low .. high, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }
  chance(p: number): boolean {
    return this.u32() < p * 2 ** 32;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }
}

const INTEGERS: readonly bigint[] = [
  0n,
  1n,
  2n,
  3n,
  -1n,
  -2n,
  7n,
  31n,
  32n,
  63n,
  64n,
  65n,
  127n,
  128n,
  255n,
  256n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x10000n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x100000000n,
  -0x80000000n,
  -0x80000001n,
  0x7fffffffffffffffn,
  -0x8000000000000000n,
  -0x7fffffffffffffffn,
  0x5555555555555555n,
  -0x5555555555555556n,
  0x0123456789abcdefn,
  0x8080808080808080n,
  0x0100000000000000n,
];

export function integer(random: Random): bigint {
  switch (random.below(6)) {
    case 0:
    case 1:
      return BigInt.asUintN(64, random.pick(INTEGERS));
    case 2:
      return BigInt(random.below(256));
    case 3:
      return BigInt.asUintN(64, BigInt(random.u32() | 0));
    case 4:
      return BigInt.asUintN(64, 1n << BigInt(random.below(64))) ^ BigInt(random.below(3));
    default:
      return random.u64();
  }
}

type Format = { exponent: bigint; fraction: bigint };
const SINGLE: Format = { exponent: 8n, fraction: 23n };
const DOUBLE: Format = { exponent: 11n, fraction: 52n };

/** A number of an IEEE format: special values, numbers of ordinary size, and the edges between classes. */
function floating(random: Random, { exponent: eBits, fraction: fBits }: Format): bigint {
  const eMax = (1n << eBits) - 1n;
  const bias = eMax >> 1n;
  const sign = BigInt(random.below(2)) << (eBits + fBits);
  const anyFraction = random.u64() & ((1n << fBits) - 1n);
  const smallFraction = random.chance(0.5) ? 0n : random.chance(0.5) ? 1n : (1n << fBits) - 1n;
  const put = (e: bigint, f: bigint): bigint => sign | (e << fBits) | f;
  switch (random.below(12)) {
    case 0:
      return put(0n, 0n);
    case 1:
      return put(eMax, 0n);
    // Quiet and signalling NaNs.
    case 2:
      return put(eMax, (1n << (fBits - 1n)) | (random.chance(0.5) ? 0n : anyFraction));
    case 3:
      return put(eMax, (anyFraction >> 1n) | 1n);
    case 4:
      return put(0n, random.chance(0.5) ? anyFraction : smallFraction | 1n);
    case 5:
      return put(random.chance(0.5) ? 1n : eMax - 1n, smallFraction);
    // Integers and halves near the bounds of conversions.
    case 6:
      return put(bias + BigInt(random.between(28, 66)), random.chance(0.5) ? smallFraction : anyFraction);
    case 7:
      return put(bias + BigInt(random.between(-2, 8)), anyFraction & ~((1n << (fBits - 6n)) - 1n));
    case 8:
    case 9:
      return put(bias + BigInt(random.between(-30, 30)), anyFraction);
    default:
      return put(random.u64() & eMax, anyFraction);
  }
}

const BOX = 0xffffffff00000000n;

/** Contents of a floating-point register: a double, a boxed single, a single whose box is broken, anything. */
export function floatRegister(random: Random): bigint {
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2:
      return floating(random, DOUBLE);
    case 3:
    case 4:
    case 5:
      return BOX | floating(random, SINGLE);
    case 6:
      return ((random.u64() << 32n) & BOX) | floating(random, SINGLE);
    default:
      return random.u64();
  }
}
