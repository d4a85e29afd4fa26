/** Keeps a driver that breaks rules by the million from filling logs: so many notes an interval, the rest counted. */

const NOTES = 10;
const INTERVAL_MS = 1000;

export class NoteLimiter {
  readonly #sink: (message: string) => void;
  readonly #now: () => number;
  #windowEnd = -Infinity;
  #left = 0;
  #dropped = 0;

  constructor(sink: (message: string) => void, now: () => number = () => performance.now()) {
    this.#sink = sink;
    this.#now = now;
  }

  note(message: string): void {
    const now = this.#now();
    if (now >= this.#windowEnd) {
      this.#windowEnd = now + INTERVAL_MS;
      this.#left = NOTES;
      if (this.#dropped > 0) this.#sink(`${this.#dropped} more notes like these were left out`);
      this.#dropped = 0;
    }
    if (this.#left === 0) {
      this.#dropped++;
      return;
    }
    this.#left--;
    this.#sink(message);
  }
}
