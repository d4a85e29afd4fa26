/** Latency histograms: buckets whose bounds grow by an eighth of an octave, so any quantile is right to about 6 %. */

/** Buckets for a doubling. */
const STEPS = 8;
/** The first bucket ends here, ns. */
const FIRST = 128;
const FIRST_LOG = Math.log2(FIRST);
/** Up to about 150 s; the last bucket takes what is longer. */
export const LATENCY_BUCKETS = 30 * STEPS + 1;

/** Where a latency of `ns` is counted. */
export function latencyBucket(ns: number): number {
  if (!(ns >= FIRST)) return 0;
  const bucket = 1 + Math.floor((Math.log2(ns) - FIRST_LOG) * STEPS);
  return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/** The least latency, ns, that a bucket counts. Bucket 0 begins at 0. */
export function latencyBucketStart(bucket: number): number {
  return bucket === 0 ? 0 : FIRST * 2 ** ((bucket - 1) / STEPS);
}

/**
 * The latency, ns, below which a share of the requests stays; null when none were counted.
 *
 * @param share e.g. 0.99
 */
export function latencyQuantile(buckets: ArrayLike<number>, share: number): number | null {
  let total = 0;
  for (let i = 0; i < buckets.length; i++) total += buckets[i];
  if (total === 0) return null;
  let left = Math.max(1, Math.ceil(total * share));
  for (let i = 0; i < buckets.length; i++) {
    left -= buckets[i];
    if (left <= 0) return (latencyBucketStart(i) + latencyBucketStart(i + 1)) / 2;
  }
  return latencyBucketStart(buckets.length - 1);
}
