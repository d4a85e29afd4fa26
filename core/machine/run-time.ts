/** For how long a guest has run: the time of its clock. */
import { monotonicNow } from '../engine.ts';

export class RunTime {
  /** Before the current run, ms; and when that began. */
  #before = 0;
  #since: number | null = null;

  /** ms. */
  get elapsed(): number {
    return this.#before + (this.#since === null ? 0 : monotonicNow() - this.#since);
  }

  /** The guest runs: what its clock counts from, ms of monotonicNow(). */
  begin(): number {
    this.#since = monotonicNow();
    return this.#since - this.#before;
  }

  /** It stands. */
  end(): void {
    this.#before = this.elapsed;
    this.#since = null;
  }

  /** As at power-on. */
  reset(): void {
    this.#before = 0;
  }
}
