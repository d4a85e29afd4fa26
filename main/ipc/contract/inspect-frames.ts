/**
 * What was seen of a queue (core/api/inspect.ts), on a BytePort. Every message of the app is one batch:
 *
 *     f64[HEADER]            INSPECT_VERSION, seq, from, to, requests done, requests open, marks, left out, lost,
 *                            popped, used, notifications, interrupts, suppressed, in flight, histogram buckets
 *     f64[4 x (done + open)] times of the requests
 *     f64[marks]             times of the marks
 *     u32[8 x (done + open)] words of the requests
 *     u32[2 x marks]         kind and count of the marks
 *     u32[buckets]           histogram
 *
 * little-endian. The client answers each with ACK, a byte; the app keeps at most MAX_UNACKNOWLEDGED out, and leaves out batches for
 * who is slower (`seq` shows it), so that a page that does not draw costs no memory.
 */
import { MAX_DONE, MAX_MARKS, MAX_OPEN, REQUEST_TIMES, REQUEST_WORDS } from '../../../core/api/inspect.ts';
import type { QueueBatch, RequestColumns } from '../../../core/api/inspect.ts';

export const INSPECT_VERSION = 1;
export const FRAME_INSPECT_ACK = new Uint8Array([1]);
export const MAX_UNACKNOWLEDGED = 4;

const HEADER = 16;
const MAX_BUCKETS = 4096;

export function encodeBatch(batch: QueueBatch): Uint8Array<ArrayBuffer> {
  const { done, open, markTimes, markWords, histogram, counters } = batch;
  const rows = done.count + open.count;
  const doubles = HEADER + REQUEST_TIMES * rows + markTimes.length;
  const bytes = new Uint8Array(8 * doubles + 4 * (REQUEST_WORDS * rows + markWords.length + histogram.length));
  const times = new Float64Array(bytes.buffer, 0, doubles);
  times.set([INSPECT_VERSION, batch.seq, batch.from, batch.to, done.count, open.count, markTimes.length]);
  times.set([batch.leftOut, batch.lost, counters.popped, counters.used, counters.notifications], 7);
  times.set([counters.interrupts, counters.suppressed, counters.inFlight, histogram.length], 12);
  times.set(done.times, HEADER);
  times.set(open.times, HEADER + REQUEST_TIMES * done.count);
  times.set(markTimes, HEADER + REQUEST_TIMES * rows);
  const words = new Uint32Array(bytes.buffer, 8 * doubles);
  words.set(done.words);
  words.set(open.words, REQUEST_WORDS * done.count);
  words.set(markWords, REQUEST_WORDS * rows);
  words.set(histogram, REQUEST_WORDS * rows + markWords.length);
  return bytes;
}

/** @throws Error when it is not a batch */
export function decodeBatch(message: Uint8Array): QueueBatch {
  // Views want alignment, which a message in a larger buffer need not have.
  const bytes = message.byteOffset % 8 === 0 ? message : message.slice();
  if (bytes.length < 8 * HEADER) throw new Error('a batch that is too short');
  const head = new Float64Array(bytes.buffer, bytes.byteOffset, HEADER);
  const [version, seq, from, to, doneCount, openCount, marks, leftOut, lost] = head;
  const [popped, used, notifications, interrupts, suppressed, inFlight, buckets] = head.subarray(9);
  if (version !== INSPECT_VERSION) throw new Error(`a batch of version ${version}`);
  const within = (value: number, max: number) => Number.isInteger(value) && value >= 0 && value <= max;
  if (
    !within(doneCount, MAX_DONE) ||
    !within(openCount, MAX_OPEN) ||
    !within(marks, MAX_MARKS) ||
    !within(buckets, MAX_BUCKETS)
  ) {
    throw new Error('a batch with a bad header');
  }
  const rows = doneCount + openCount;
  const doubles = HEADER + REQUEST_TIMES * rows + marks;
  const wordCount = REQUEST_WORDS * rows + 2 * marks + buckets;
  if (bytes.length !== 8 * doubles + 4 * wordCount) throw new Error('a batch that is not as long as it says');
  const times = new Float64Array(bytes.buffer, bytes.byteOffset, doubles);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + 8 * doubles, wordCount);
  const columns = (first: number, count: number): RequestColumns => ({
    count,
    times: times.subarray(HEADER + REQUEST_TIMES * first, HEADER + REQUEST_TIMES * (first + count)),
    words: words.subarray(REQUEST_WORDS * first, REQUEST_WORDS * (first + count)),
  });
  return {
    seq,
    from,
    to,
    done: columns(0, doneCount),
    open: columns(doneCount, openCount),
    markTimes: times.subarray(HEADER + REQUEST_TIMES * rows),
    markWords: words.subarray(REQUEST_WORDS * rows, REQUEST_WORDS * rows + 2 * marks),
    leftOut,
    lost,
    counters: { popped, used, notifications, interrupts, suppressed, inFlight },
    histogram: words.subarray(REQUEST_WORDS * rows + 2 * marks),
  };
}
