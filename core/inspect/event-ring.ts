/**
 * The ring of a watched queue's recent events, in shared memory: an I/O worker writes, the control thread reads. It exists
 * while somebody watches. The writer never waits; a reader that comes too late finds out how much it has missed.
 *
 * Layout: HEADER_BYTES, whose first u32 (atomic) counts the events ever written, modulo 2^32; then the events, EVENT_BYTES each:
 * f64 time, ns on the clock of the ring; u32 type in bits 0 to 7 and code above; u32 head; u32 position; u32 length; u32 x 2 detail.
 */

/** A queue runs from now on, at `position`. What was in flight before is forgotten. */
export const EVENT_STARTED = 1;
/** The queue does not run any more. */
export const EVENT_ENDED = 2;
/** The driver's available buffer notifications were seen; `length` of them. */
export const EVENT_NOTIFIED = 3;
/** The device has seen buffers made available: `length` ring entries from `position` on. */
export const EVENT_AVAILABLE = 4;
/** A chain was taken: head, position, bytes of its buffers, and what the device's decoder says. */
export const EVENT_POPPED = 5;
/** The device is done with a chain: head, bytes written, and the status as the code. */
export const EVENT_PUSHED = 6;
/** The driver can see `length` used buffers; the code is what became of the interrupt, INTERRUPT_*. */
export const EVENT_PUBLISHED = 7;
/** The driver broke a rule: a code of QUEUE_FAULTS. */
export const EVENT_FAULT = 8;
/** The queue stands still for whoever watches; the code is STOP_*, `head` is the chain it stopped at. */
export const EVENT_STOPPED = 9;
/** Something was injected; the code is INJECTED_*. */
export const EVENT_INJECTED = 10;

export const INTERRUPT_SENT = 1;
export const INTERRUPT_SUPPRESSED = 0;
/** Injected: it was wanted, and not sent. */
export const INTERRUPT_DROPPED = 2;

export const HEADER_BYTES = 64;
export const EVENT_BYTES = 32;
/** Of an event, in 32-bit words. */
const EVENT_WORDS = EVENT_BYTES / 4;
const TYPE_AND_CODE = 2;
const HEAD = 3;
const POSITION = 4;
const LENGTH = 5;
const DETAIL_LOW = 6;
const DETAIL_HIGH = 7;

/**
 * Events that a reader leaves alone at the writer's heels: their words may be overwritten before the count says so, as far as
 * a processor's store buffer reaches.
 */
const MARGIN = 64;
/** Events of a ring by default: a tenth of a second of 50,000 requests a second, three events each. */
export const DEFAULT_CAPACITY = 16384;
const WRAP = 2 ** 32;

export function createEventRing(capacity = DEFAULT_CAPACITY): SharedArrayBuffer {
  if (capacity <= MARGIN || !Number.isInteger(Math.log2(capacity)))
    throw new RangeError(`no ring of ${capacity} events`);
  return new SharedArrayBuffer(HEADER_BYTES + capacity * EVENT_BYTES);
}

export class EventWriter {
  readonly #times: Float64Array<SharedArrayBuffer>;
  readonly #words: Uint32Array<SharedArrayBuffer>;
  readonly #mask: number;
  readonly #now: () => number;
  #written: number;

  /** @param now ns, the same clock for all who write or read times of the ring */
  constructor(ring: SharedArrayBuffer, now: () => number) {
    this.#times = new Float64Array(ring);
    this.#words = new Uint32Array(ring);
    this.#mask = (ring.byteLength - HEADER_BYTES) / EVENT_BYTES - 1;
    this.#now = now;
    // Goes on where an earlier run of the queue has stopped.
    this.#written = Atomics.load(this.#words, 0);
  }

  /**
   * @param time when it happened, if that is known: looking at the clock is most of what an event costs
   * @returns when it happened
   */
  record(
    type: number,
    code: number,
    head: number,
    position: number,
    length: number,
    detail = 0,
    time = this.#now(),
  ): number {
    const at = HEADER_BYTES + (this.#written & this.#mask) * EVENT_BYTES;
    const words = this.#words;
    const word = at / 4;
    this.#times[at / 8] = time;
    words[word + TYPE_AND_CODE] = type | (code << 8);
    words[word + HEAD] = head;
    words[word + POSITION] = position;
    words[word + LENGTH] = length;
    words[word + DETAIL_LOW] = detail;
    words[word + DETAIL_HIGH] = detail < WRAP ? 0 : detail / WRAP;
    this.#written = (this.#written + 1) >>> 0;
    Atomics.store(words, 0, this.#written);
    return time;
  }
}

/** One event, as a reader's cursor shows it. */
export interface RingEvent {
  readonly time: number;
  readonly type: number;
  readonly code: number;
  readonly head: number;
  readonly position: number;
  readonly length: number;
  readonly detailLow: number;
  readonly detailHigh: number;
}

export class EventReader {
  readonly #ring: SharedArrayBuffer;
  readonly #shared: Uint32Array<SharedArrayBuffer>;
  readonly #capacity: number;
  /** A copy of what was read last. */
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #times: Float64Array<ArrayBuffer>;
  #next: number;

  constructor(ring: SharedArrayBuffer) {
    this.#ring = ring;
    this.#shared = new Uint32Array(ring);
    this.#capacity = (ring.byteLength - HEADER_BYTES) / EVENT_BYTES;
    const copy = new ArrayBuffer(this.#capacity * EVENT_BYTES);
    this.#words = new Uint32Array(copy);
    this.#times = new Float64Array(copy);
    this.#next = Atomics.load(this.#shared, 0);
  }

  /**
   * Reads what was written since the last time.
   *
   * @param lost called first, if events were overwritten before they could be read, with their number
   * @param event called for each of the others, oldest first; the object is reused
   */
  read(event: (event: RingEvent) => void, lost: (count: number) => void): void {
    const usable = this.#capacity - MARGIN;
    let from = this.#next;
    const written = Atomics.load(this.#shared, 0);
    let count = (written - from) >>> 0;
    let missed = 0;
    if (count > usable) {
      missed = count - usable;
      from = (from + missed) >>> 0;
      count = usable;
    }
    this.#copy(from, count);
    // What the writer has come to meanwhile may be half of one and half of another.
    const since = (Atomics.load(this.#shared, 0) - from) >>> 0;
    const torn = Math.min(count, Math.max(0, since - usable));
    missed += torn;
    this.#next = written;
    if (missed > 0) lost(missed);
    const cursor = this.#cursor;
    for (let i = torn; i < count; i++) {
      const word = i * EVENT_WORDS;
      const words = this.#words;
      cursor.time = this.#times[word / 2];
      cursor.type = words[word + TYPE_AND_CODE] & 0xff;
      cursor.code = words[word + TYPE_AND_CODE] >>> 8;
      cursor.head = words[word + HEAD];
      cursor.position = words[word + POSITION];
      cursor.length = words[word + LENGTH];
      cursor.detailLow = words[word + DETAIL_LOW];
      cursor.detailHigh = words[word + DETAIL_HIGH];
      event(cursor);
    }
  }

  readonly #cursor = { time: 0, type: 0, code: 0, head: 0, position: 0, length: 0, detailLow: 0, detailHigh: 0 };

  #copy(from: number, count: number): void {
    const start = from & (this.#capacity - 1);
    const first = Math.min(count, this.#capacity - start);
    const at = HEADER_BYTES / 4;
    this.#words.set(new Uint32Array(this.#ring, 4 * (at + start * EVENT_WORDS), first * EVENT_WORDS));
    if (count > first)
      this.#words.set(new Uint32Array(this.#ring, 4 * at, (count - first) * EVENT_WORDS), first * EVENT_WORDS);
  }
}
