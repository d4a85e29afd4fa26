/** Numbers that are quick to make and the same for the same seed. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** 0 to 2^32 - 1. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state;
  }

  /** 0 to n - 1. */
  below(n: number): number {
    return this.next() % n;
  }

  oneIn(n: number): boolean {
    return this.next() % n === 0;
  }

  of<T>(values: readonly T[]): T {
    return values[this.next() % values.length];
  }
}
