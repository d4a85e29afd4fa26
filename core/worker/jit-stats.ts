/** What the JIT worker and the hart workers count, in memory of their own that the control thread reads. */

/** Counters of the JIT worker, f64 each. */
export const JIT_COUNTERS = [
  'regions',
  'translatedRegions',
  'translatedInstructions',
  'batches',
  'moduleBytes',
  'translateMs',
  'compileMs',
  'refused',
  'stale',
  'resent',
  'failedBatches',
  'flushes',
  'pages',
  'loadedRegions',
  'replayedRegions',
  'savedRegions',
] as const;
export type JitCounter = (typeof JIT_COUNTERS)[number];

/** A hart's stops: how many, the longest, how many records were attached and refused, then the histogram. */
const STOPS = 0;
const LONGEST = 1;
const ATTACHED = 2;
const NOT_ATTACHED = 3;
const BUCKETS = 4;
/** Bucket n: up to 2^((n + 1) / 4) us. */
const BUCKET_COUNT = 80;
const HART_WORDS = BUCKETS + BUCKET_COUNT;

export interface JitStopStatistics {
  count: number;
  /** ms. */
  max: number;
  /** ms, at most a fifth too much. */
  p99: number;
  /** Stops by how long they took: [upper bound in ms, how many], those that there were. */
  histogram: [number, number][];
}

export interface JitHartStatistics {
  /** Regions entered by the interpreter, and how many of those retired nothing. */
  entries: number;
  declined: number;
  /** Instructions retired in regions. */
  retired: number;
  attached: number;
  notAttached: number;
  /** How long the hart stood still to take translated code in. */
  stops: JitStopStatistics;
}

export type JitStatistics = Record<JitCounter, number> & { harts: JitHartStatistics[] };

export class JitStats {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Float64Array;

  constructor(harts: number, buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer((JIT_COUNTERS.length + harts * HART_WORDS) * 8);
    this.#words = new Float64Array(this.buffer);
  }

  /** One writer: the JIT worker. */
  add(counter: JitCounter, n: number): void {
    this.#words[JIT_COUNTERS.indexOf(counter)]! += n;
  }
  set(counter: JitCounter, n: number): void {
    this.#words[JIT_COUNTERS.indexOf(counter)] = n;
  }

  #hart(hart: number): number {
    return JIT_COUNTERS.length + hart * HART_WORDS;
  }

  /** One writer: the hart. */
  stopped(hart: number, ms: number): void {
    const at = this.#hart(hart);
    const words = this.#words;
    const bucket = Math.min(BUCKET_COUNT - 1, Math.max(0, Math.ceil(Math.log2(ms * 1000) * 4) - 1));
    words[at + STOPS]!++;
    words[at + BUCKETS + bucket]!++;
    if (ms > words[at + LONGEST]!) words[at + LONGEST] = ms;
  }
  attached(hart: number, done: boolean): void {
    this.#words[this.#hart(hart) + (done ? ATTACHED : NOT_ATTACHED)]!++;
  }

  counters(): Record<JitCounter, number> {
    return Object.fromEntries(JIT_COUNTERS.map((name, i) => [name, this.#words[i]!])) as Record<JitCounter, number>;
  }

  hart(hart: number): Pick<JitHartStatistics, 'attached' | 'notAttached' | 'stops'> {
    const at = this.#hart(hart);
    const words = this.#words;
    const count = words[at + STOPS]!;
    const histogram: [number, number][] = [];
    let p99 = 0;
    let seen = 0;
    for (let i = 0; i < BUCKET_COUNT; i++) {
      const n = words[at + BUCKETS + i]!;
      if (n === 0) continue;
      const bound = 2 ** ((i + 1) / 4) / 1000;
      histogram.push([bound, n]);
      if (seen < count * 0.99) p99 = bound;
      seen += n;
    }
    const max = words[at + LONGEST]!;
    return {
      attached: words[at + ATTACHED]!,
      notAttached: words[at + NOT_ATTACHED]!,
      stops: { count, max, p99: Math.min(p99, max), histogram },
    };
  }
}
