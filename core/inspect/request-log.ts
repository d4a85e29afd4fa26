/**
 * Makes requests of a queue's events: from when the device saw them to when the driver could see them used. Bounded whatever
 * the guest does; what does not fit is counted.
 */
import {
  MARK_DROPPED,
  MARK_ENDED,
  MARK_FAULT,
  MARK_INJECTED,
  MARK_INTERRUPT,
  MARK_LOST,
  MARK_NOTIFIED,
  MARK_STARTED,
  MARK_STOPPED,
  MARK_SUPPRESSED,
  MAX_DONE,
  MAX_MARKS,
  MAX_OPEN,
  NO_CODE,
  REQUEST_TIMES,
  REQUEST_WORDS,
} from '../api/inspect.ts';
import type { RequestColumns } from '../api/inspect.ts';
import { LATENCY_BUCKETS, latencyBucket } from '../api/latency.ts';
import {
  EVENT_AVAILABLE,
  EVENT_ENDED,
  EVENT_FAULT,
  EVENT_INJECTED,
  EVENT_NOTIFIED,
  EVENT_POPPED,
  EVENT_PUBLISHED,
  EVENT_PUSHED,
  EVENT_STARTED,
  EVENT_STOPPED,
  INTERRUPT_DROPPED,
  INTERRUPT_SENT,
} from './event-ring.ts';
import type { RingEvent } from './event-ring.ts';

/** Of the times and words of a request (core/api/inspect.ts). */
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

/** Heads there are room for at first; buffer ids of packed rings go up to 2^16. */
const INITIAL_HEADS = 256;
const HEADS_MAX = 65536;

/** Rows of requests that grow up to a limit. */
class Rows {
  times = new Float64Array(REQUEST_TIMES * 64);
  words = new Uint32Array(REQUEST_WORDS * 64);
  count = 0;

  add(times: Float64Array, words: Uint32Array, row: number): void {
    if (REQUEST_TIMES * this.count === this.times.length) this.#grow();
    const [t, w] = [REQUEST_TIMES * this.count, REQUEST_WORDS * this.count];
    for (let i = 0; i < REQUEST_TIMES; i++) this.times[t + i] = times[REQUEST_TIMES * row + i];
    for (let i = 0; i < REQUEST_WORDS; i++) this.words[w + i] = words[REQUEST_WORDS * row + i];
    this.count++;
  }

  #grow(): void {
    this.times = grown(this.times, this.times.length * 2);
    this.words = grown(this.words, this.words.length * 2);
  }

  take(): RequestColumns {
    const { count } = this;
    this.count = 0;
    return {
      count,
      times: this.times.slice(0, REQUEST_TIMES * count),
      words: this.words.slice(0, REQUEST_WORDS * count),
    };
  }
}

function grown<T extends Float64Array | Uint32Array>(array: T, length: number): T {
  const larger = new (array.constructor as new (length: number) => T)(length);
  larger.set(array);
  return larger;
}

/** Heads in the order in which they are to be used. */
class HeadQueue {
  #heads = new Uint32Array(INITIAL_HEADS);
  #first = 0;
  #count = 0;

  push(head: number): void {
    if (this.#count === this.#heads.length) {
      // Never more than there are heads, unless a driver offers one twice; then the oldest are forgotten.
      if (this.#count >= HEADS_MAX) this.shift();
      else this.#grow();
    }
    this.#heads[(this.#first + this.#count) & (this.#heads.length - 1)] = head;
    this.#count++;
  }

  shift(): number | undefined {
    if (this.#count === 0) return undefined;
    const head = this.#heads[this.#first];
    this.#first = (this.#first + 1) & (this.#heads.length - 1);
    this.#count--;
    return head;
  }

  clear(): void {
    this.#first = this.#count = 0;
  }

  #grow(): void {
    const larger = new Uint32Array(this.#heads.length * 2);
    for (let i = 0; i < this.#count; i++) larger[i] = this.#heads[(this.#first + i) & (this.#heads.length - 1)];
    this.#heads = larger;
    this.#first = 0;
  }
}

export interface LoggedBatch {
  readonly done: RequestColumns;
  readonly open: RequestColumns;
  readonly markTimes: Float64Array;
  readonly markWords: Uint32Array;
  readonly leftOut: number;
  readonly lost: number;
}

export class RequestLog {
  readonly histogram = new Uint32Array(LATENCY_BUCKETS);
  /** Requests shown used of which their whole life is known. */
  completed = 0;
  readonly #inOrder: () => boolean;

  /** By head. */
  #times = new Float64Array(REQUEST_TIMES * INITIAL_HEADS);
  #words = new Uint32Array(REQUEST_WORDS * INITIAL_HEADS);
  /** 1: in flight. */
  #live = new Uint8Array(INITIAL_HEADS);
  readonly #order = new HeadQueue();
  /** When the device last saw that buffers were made available; NaN: not seen. */
  #seenAt = NaN;

  readonly #done = new Rows();
  readonly #open = new Rows();
  #marks = 0;
  #markTimes = new Float64Array(64);
  #markWords = new Uint32Array(2 * 64);
  #leftOut = 0;
  #lost = 0;
  /** Of the requests done, every `#stride`th is kept. */
  #stride = 1;
  #inBatch = 0;

  /** @param inOrder whether VIRTIO_F_IN_ORDER is negotiated: buffers are shown used in the order in which they were taken */
  constructor(inOrder: () => boolean) {
    this.#inOrder = inOrder;
  }

  /** Events were lost: what is in flight is not known any more. */
  lose(count: number, time: number): void {
    this.#lost += count;
    this.#forget();
    this.#mark(MARK_LOST, time, count);
  }

  add(event: RingEvent): void {
    switch (event.type) {
      case EVENT_AVAILABLE:
        this.#seenAt = event.time;
        break;
      case EVENT_POPPED:
        this.#popped(event);
        break;
      case EVENT_PUSHED:
        this.#pushed(event);
        break;
      case EVENT_PUBLISHED:
        this.#published(event);
        break;
      case EVENT_NOTIFIED:
        this.#mark(MARK_NOTIFIED, event.time, event.length);
        break;
      case EVENT_STARTED:
        this.#forget();
        this.#mark(MARK_STARTED, event.time, 0);
        break;
      case EVENT_ENDED:
        this.#forget();
        this.#mark(MARK_ENDED, event.time, 0);
        break;
      case EVENT_FAULT:
        this.#mark(MARK_FAULT, event.time, event.code);
        break;
      case EVENT_STOPPED:
        this.#mark(MARK_STOPPED, event.time, event.head);
        break;
      case EVENT_INJECTED:
        this.#mark(MARK_INJECTED, event.time, event.code);
        break;
    }
  }

  #forget(): void {
    this.#live.fill(0);
    this.#order.clear();
    this.#seenAt = NaN;
  }

  #popped({ head, time, position, length, code, detailLow, detailHigh }: RingEvent): void {
    if (head >= HEADS_MAX) return;
    if (head >= this.#live.length) this.#grow(head);
    const [t, w] = [REQUEST_TIMES * head, REQUEST_WORDS * head];
    const times = this.#times;
    const words = this.#words;
    times[t + AVAILABLE] = Number.isNaN(this.#seenAt) ? time : this.#seenAt;
    times[t + POPPED] = time;
    times[t + PUSHED] = NaN;
    times[t + USED] = NaN;
    words[w + HEAD] = head;
    words[w + POSITION] = position;
    words[w + LENGTH] = length;
    words[w + WRITTEN] = 0;
    words[w + TYPE] = code;
    words[w + STATUS] = NO_CODE;
    words[w + DETAIL_LOW] = detailLow;
    words[w + DETAIL_HIGH] = detailHigh;
    this.#live[head] = 1;
    if (this.#inOrder()) this.#order.push(head);
  }

  #pushed({ head, time, length, code }: RingEvent): void {
    if (head >= this.#live.length) return;
    if (this.#live[head] === 1) {
      this.#times[REQUEST_TIMES * head + PUSHED] = time;
      this.#words[REQUEST_WORDS * head + WRITTEN] = length;
      this.#words[REQUEST_WORDS * head + STATUS] = code;
    }
    if (!this.#inOrder()) this.#order.push(head);
  }

  #published({ time, length, code }: RingEvent): void {
    for (let i = 0; i < length; i++) {
      const head = this.#order.shift();
      // Taken before the watch began, or in what was lost.
      if (head === undefined || this.#live[head] === 0) continue;
      this.#live[head] = 0;
      this.#times[REQUEST_TIMES * head + USED] = time;
      this.histogram[latencyBucket(time - this.#times[REQUEST_TIMES * head + AVAILABLE])]++;
      this.completed++;
      if (this.#inBatch++ % this.#stride === 0 && this.#done.count < MAX_DONE)
        this.#done.add(this.#times, this.#words, head);
      else this.#leftOut++;
    }
    const mark = code === INTERRUPT_SENT ? MARK_INTERRUPT : code === INTERRUPT_DROPPED ? MARK_DROPPED : MARK_SUPPRESSED;
    this.#mark(mark, time, length);
  }

  #mark(kind: number, time: number, count: number): void {
    if (this.#marks === MAX_MARKS) return;
    if (this.#marks === this.#markTimes.length) {
      this.#markTimes = grown(this.#markTimes, 2 * this.#marks);
      this.#markWords = grown(this.#markWords, 4 * this.#marks);
    }
    this.#markTimes[this.#marks] = time;
    this.#markWords[2 * this.#marks] = kind;
    this.#markWords[2 * this.#marks + 1] = count;
    this.#marks++;
  }

  #grow(head: number): void {
    let heads = this.#live.length;
    while (heads <= head) heads *= 2;
    this.#times = grown(this.#times, REQUEST_TIMES * heads);
    this.#words = grown(this.#words, REQUEST_WORDS * heads);
    const live = new Uint8Array(heads);
    live.set(this.#live);
    this.#live = live;
  }

  /** What has come since the last time, in arrays of its own. */
  take(): LoggedBatch {
    this.#collectOpen();
    const batch = {
      done: this.#done.take(),
      open: this.#open.take(),
      markTimes: this.#markTimes.slice(0, this.#marks),
      markWords: this.#markWords.slice(0, 2 * this.#marks),
      leftOut: this.#leftOut,
      lost: this.#lost,
    };
    // What came last time is the best guess at what comes next.
    this.#stride = Math.max(1, Math.ceil(this.#inBatch / MAX_DONE));
    this.#marks = this.#leftOut = this.#lost = this.#inBatch = 0;
    return batch;
  }

  #collectOpen(): void {
    const heads: number[] = [];
    for (let head = 0; head < this.#live.length; head++) if (this.#live[head] === 1) heads.push(head);
    const since = (head: number): number => this.#times[REQUEST_TIMES * head + POPPED];
    heads.sort((a, b) => since(a) - since(b));
    for (const head of heads.slice(0, MAX_OPEN)) this.#open.add(this.#times, this.#words, head);
  }
}
