/** Counters at a moment, and what they say of the time since another. */
export interface Counts<K> {
  /** ms. */
  readonly at: number;
  readonly values: ReadonlyMap<K, number>;
}

export const countsOf = <K>(at: number, values: Iterable<readonly [K, number]>): Counts<K> => ({
  at,
  values: new Map(values),
});

/** A second; what went back began anew. */
export function ratesBetween<K>(before: Counts<K>, now: Counts<K>): ReadonlyMap<K, number> {
  const seconds = (now.at - before.at) / 1000;
  return new Map([...now.values].map(([key, n]) => [key, Math.max(0, n - (before.values.get(key) ?? 0)) / seconds]));
}

export const noRates = <K>(): ReadonlyMap<K, number> => new Map<K, number>();
