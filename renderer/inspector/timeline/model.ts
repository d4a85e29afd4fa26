/**
 * What has been seen of a queue, as the timeline draws it: requests in the order in which they were done, in arrays that are
 * overwritten from the oldest on, so that memory stays flat however long one looks.
 */
import { LATENCY_BUCKETS, NO_CODE, REQUEST_TIMES, REQUEST_WORDS, latencyBucket } from '../../../main/ipc/contract.ts';
import type { QueueBatch, QueueCounters, RequestColumns } from '../../../main/ipc/contract.ts';

/** Requests, marks and moments that are kept; powers of two. At 50,000 requests a second the first are five seconds. */
export const REQUESTS = 2 ** 18;
const MARKS = 2 ** 16;
const MOMENTS = 2 ** 14;
/** Rows for bars that overlap; more of them share the last one. */
export const LANES = 64;

// Columns of a request (core/api/inspect.ts).
const AVAILABLE = 0;
const POPPED = 1;
const PUSHED = 2;
const USED = 3;
const HEAD = 0;
const POSITION = 1;
const LENGTH = 2;
const WRITTEN = 3;
const TYPE = 4;
const STATUS = 5;
const DETAIL_LOW = 6;
const DETAIL_HIGH = 7;

export interface SeenRequest {
  /** ns: seen available, taken, done, shown used; NaN: not yet. */
  available: number;
  popped: number;
  pushed: number;
  used: number;
  head: number;
  /** In the ring: an index modulo 2^16; of a packed ring an offset and the wrap counter. */
  position: number;
  /** Bytes of its buffers, and written by the device. */
  length: number;
  written: number;
  /** null: it has none. */
  type: number | null;
  status: number | null;
  detail: number;
  lane: number;
}

export interface Filter {
  /** Types that are hidden. */
  hidden: readonly number[];
  /** ns. */
  slowerThan: number;
  /** Of the detail, both included; null: any. */
  detail: { from: number; to: number } | null;
  errorsOnly: boolean;
}

export const EVERYTHING: Filter = { hidden: [], slowerThan: 0, detail: null, errorsOnly: false };

export class TimelineModel {
  /** Requests that are kept. */
  readonly #capacity: number;
  /** 4 and 8 for each, at (index & mask). */
  readonly times: Float64Array;
  readonly words: Uint32Array;
  readonly lanes: Uint8Array;
  /** Requests that have come; those from `first` on are kept. */
  count = 0;
  /** Rows in use. */
  laneCount = 1;
  /** The longest that a request took, ns: how far before a time one that ends after it may begin. */
  longest = 0;

  readonly markTimes = new Float64Array(MARKS);
  readonly markKinds = new Uint8Array(MARKS);
  markCount = 0;

  /** At the end of each batch: time, and counters that go up, and in flight. */
  readonly moments = new Float64Array(MOMENTS * 6);
  momentCount = 0;

  open: RequestColumns = { count: 0, times: new Float64Array(0), words: new Uint32Array(0) };
  histogram: Uint32Array = new Uint32Array(LATENCY_BUCKETS);
  counters: QueueCounters | null = null;
  /** ns: what is known reaches from here to here. */
  begin = NaN;
  end = 0;
  leftOut = 0;
  lost = 0;
  /** Batches that this page was too slow for. */
  missed = 0;

  #seq = -1;
  readonly #laneEnds = new Float64Array(LANES);

  /** @param capacity requests that are kept, a power of two */
  constructor(capacity = REQUESTS) {
    this.#capacity = capacity;
    this.times = new Float64Array(capacity * REQUEST_TIMES);
    this.words = new Uint32Array(capacity * REQUEST_WORDS);
    this.lanes = new Uint8Array(capacity);
  }

  get first(): number {
    return Math.max(0, this.count - this.#capacity);
  }

  add(batch: QueueBatch): void {
    if (this.#seq >= 0 && batch.seq > this.#seq + 1) this.missed += batch.seq - this.#seq - 1;
    this.#seq = batch.seq;
    if (Number.isNaN(this.begin)) this.begin = batch.from;
    for (let at = 0; at < batch.done.count; at++) this.#addRequest(batch.done, at);
    for (let at = 0; at < batch.markTimes.length; at++) {
      const place = this.markCount++ & (MARKS - 1);
      this.markTimes[place] = batch.markTimes[at];
      this.markKinds[place] = batch.markWords[2 * at];
    }
    const { popped: _, used, notifications, interrupts, suppressed, inFlight } = batch.counters;
    const at = (this.momentCount++ & (MOMENTS - 1)) * 6;
    this.moments.set([batch.to, used, notifications, interrupts, suppressed, inFlight], at);
    this.counters = batch.counters;
    this.open = batch.open;
    this.histogram = batch.histogram;
    this.leftOut += batch.leftOut;
    this.lost += batch.lost;
    this.end = Math.max(this.end, batch.to);
  }

  #addRequest({ times, words }: RequestColumns, row: number): void {
    const place = this.count++ & (this.#capacity - 1);
    const [t, w] = [row * REQUEST_TIMES, row * REQUEST_WORDS];
    for (let i = 0; i < REQUEST_TIMES; i++) this.times[place * REQUEST_TIMES + i] = times[t + i];
    for (let i = 0; i < REQUEST_WORDS; i++) this.words[place * REQUEST_WORDS + i] = words[w + i];
    const [start, end] = [times[t + AVAILABLE], times[t + USED]];
    this.longest = Math.max(this.longest, end - start);
    // The first row that is free by then.
    let lane = 0;
    while (lane < LANES - 1 && this.#laneEnds[lane] > start) lane++;
    this.#laneEnds[lane] = end;
    this.lanes[place] = lane;
    if (lane >= this.laneCount) this.laneCount = lane + 1;
  }

  request(index: number): SeenRequest {
    const place = index & (this.#capacity - 1);
    return { ...seen(this.times, this.words, place), lane: this.lanes[place] };
  }

  /** The first kept request that was used at `time` or later. */
  find(time: number): number {
    let [low, high] = [this.first, this.count];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.times[(middle & (this.#capacity - 1)) * REQUEST_TIMES + USED] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Each request of which something is between two times, with its place in the arrays. */
  visit(from: number, to: number, filter: Filter, look: (place: number, index: number) => void): void {
    const last = to + this.longest;
    for (let index = this.find(from); index < this.count; index++) {
      const place = index & (this.#capacity - 1);
      const t = place * REQUEST_TIMES;
      if (this.times[t + USED] > last) return;
      if (this.times[t + AVAILABLE] > to || !this.#passes(place, filter)) continue;
      look(place, index);
    }
  }

  #passes(place: number, { hidden, slowerThan, detail, errorsOnly }: Filter): boolean {
    const w = place * REQUEST_WORDS;
    if (hidden.includes(this.words[w + TYPE])) return false;
    if (errorsOnly && !isError(this.words[w + STATUS])) return false;
    const t = place * REQUEST_TIMES;
    if (slowerThan > 0 && this.times[t + USED] - this.times[t + AVAILABLE] < slowerThan) return false;
    if (detail === null) return true;
    const value = this.words[w + DETAIL_LOW] + this.words[w + DETAIL_HIGH] * 2 ** 32;
    return value >= detail.from && value <= detail.to;
  }

  /** Latencies of what was done between two times: see latencyQuantile(). */
  latencies(from: number, to: number, filter: Filter): Uint32Array {
    const buckets = new Uint32Array(LATENCY_BUCKETS);
    this.visit(from, to, filter, (place) => {
      const t = place * REQUEST_TIMES;
      if (this.times[t + USED] > to) return;
      buckets[latencyBucket(this.times[t + USED] - this.times[t + AVAILABLE])]++;
    });
    return buckets;
  }

  /** Moments between two times, and the ones just outside: [time, used, notifications, interrupts, suppressed, in flight]. */
  momentsBetween(from: number, to: number): Float64Array[] {
    const found: Float64Array[] = [];
    const oldest = Math.max(0, this.momentCount - MOMENTS);
    for (let index = this.momentCount - 1; index >= oldest; index--) {
      const at = (index & (MOMENTS - 1)) * 6;
      const moment = this.moments.subarray(at, at + 6);
      if (moment[0] <= to || found.length === 0) found.push(moment);
      if (moment[0] < from) break;
    }
    return found.reverse();
  }

  /** What happens a second between two times; null when there is nothing to tell it from. */
  rates(
    from: number,
    to: number,
  ): { used: number; notifications: number; interrupts: number; suppressed: number } | null {
    const moments = this.momentsBetween(from, to);
    const [first, last] = [moments[0], moments.at(-1)];
    if (first === undefined || last === undefined || last[0] <= first[0]) return null;
    const seconds = (last[0] - first[0]) / 1e9;
    // A queue that was reset begins again at 0.
    const rate = (at: number) => Math.max(0, last[at] - first[at]) / seconds;
    return { used: rate(1), notifications: rate(2), interrupts: rate(3), suppressed: rate(4) };
  }
}

/** The row of some columns as a request. */
export function seen(times: Float64Array, words: Uint32Array, row: number): SeenRequest {
  const [t, w] = [row * REQUEST_TIMES, row * REQUEST_WORDS];
  const code = (value: number) => (value === NO_CODE ? null : value);
  return {
    available: times[t + AVAILABLE],
    popped: times[t + POPPED],
    pushed: times[t + PUSHED],
    used: times[t + USED],
    head: words[w + HEAD],
    position: words[w + POSITION],
    length: words[w + LENGTH],
    written: words[w + WRITTEN],
    type: code(words[w + TYPE]),
    status: code(words[w + STATUS]),
    detail: words[w + DETAIL_LOW] + words[w + DETAIL_HIGH] * 2 ** 32,
    lane: 0,
  };
}

/** Devices whose requests end with a status call success 0. */
export function isError(status: number): boolean {
  return status !== NO_CODE && status !== 0;
}
