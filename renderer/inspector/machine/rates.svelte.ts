/** How often a second something happens that is only counted. For a component: it lives as long as that does. */
import { countsOf, noRates, ratesBetween } from './counts.ts';
import type { Counts } from './counts.ts';

const RATE_MS = 1000;

export class InterruptRates<K> {
  #rates = $state.raw<ReadonlyMap<K, number>>(noRates<K>());
  /** At least 1. */
  readonly busiest = $derived(Math.max(1, ...this.#rates.values()));

  /** @param counts as they are now */
  constructor(counts: () => readonly (readonly [K, number])[]) {
    $effect(() => {
      let before: Counts<K> | null = null;
      const timer = setInterval(() => {
        const now = countsOf(performance.now(), counts());
        if (before !== null) this.#rates = ratesBetween(before, now);
        before = now;
      }, RATE_MS);
      return () => clearInterval(timer);
    });
  }

  of(key: K): number {
    return this.#rates.get(key) ?? 0;
  }
}
