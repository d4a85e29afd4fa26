/** A capture file as the pages for live queues show it: in the same batches, and its requests decoded. */
import type { CaptureInfo, CapturedRequestView } from '../api/capture.ts';
import { MAX_DONE, REQUEST_TIMES, REQUEST_WORDS } from '../api/inspect.ts';
import type { QueueBatch } from '../api/inspect.ts';
import { LATENCY_BUCKETS, latencyBucket } from '../api/latency.ts';
import { MAX_BYTES } from '../api/queue-view.ts';
import type { ByteSource } from '../virtio/decoder.ts';
import { queueDecoder } from '../virtio/decoders.ts';
import type { CaptureFile } from './capture-format.ts';

const NONE = { count: 0, times: new Float64Array(0), words: new Uint32Array(0) };
/** Requests of a batch: a file is read while the event loop waits. Of a small one, so few that its charts have points. */
const BATCH = Math.min(1024, MAX_DONE);
const BATCHES = 500;
/** Requests behind a batch that are looked at for whether they were in flight at its end. */
const AHEAD = 128;
const POPPED = 1;

export function captureInfoOf({ header, count, leftOut, complete }: CaptureFile): CaptureInfo {
  return { ...header, count, leftOut, complete };
}

/** All requests of a file, in the order in which they were done. */
export function* captureBatches(capture: CaptureFile): Generator<QueueBatch> {
  const histogram = new Uint32Array(LATENCY_BUCKETS);
  let from = 0;
  let seq = 0;
  const size = Math.max(1, Math.min(BATCH, Math.ceil(capture.count / BATCHES)));
  for (let first = 0; first < capture.count; first += size) {
    const count = Math.min(size, capture.count - first);
    const times = new Float64Array(REQUEST_TIMES * count);
    const words = new Uint32Array(REQUEST_WORDS * count);
    let to = from;
    for (let i = 0; i < count; i++) {
      const request = capture.request(first + i);
      times.set(request.times, REQUEST_TIMES * i);
      words.set(request.words, REQUEST_WORDS * i);
      const [available, , , used] = request.times;
      histogram[latencyBucket(used - available)]++;
      if (used > to) to = used;
    }
    const last = first + count === capture.count;
    yield {
      seq: seq++,
      from,
      to,
      done: { count, times, words },
      open: NONE,
      markTimes: new Float64Array(0),
      markWords: new Uint32Array(0),
      leftOut: last ? capture.leftOut : 0,
      lost: 0,
      counters: {
        popped: first + count,
        used: first + count,
        notifications: 0,
        interrupts: 0,
        suppressed: 0,
        inFlight: inFlight(capture, first + count, to),
      },
      histogram: histogram.slice(),
    };
    from = to;
  }
}

/** Requests from `next` on that the device had at a time. */
function inFlight(capture: CaptureFile, next: number, time: number): number {
  let count = 0;
  for (let index = next; index < Math.min(capture.count, next + AHEAD); index++) {
    if (capture.times(index)[POPPED] <= time) count++;
  }
  return count;
}

/** @throws RingsideError 'not-found', 'bad-image' */
export function capturedRequestView(capture: CaptureFile, index: number): CapturedRequestView {
  const { readable, readableLength, writable, writableLength, words } = capture.request(index);
  const decoder = queueDecoder(capture.header.type, capture.header.name);
  const written = words[3];
  const fields = decoder.fields(new Kept(readable, readableLength), new Kept(writable, writableLength), written);
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(0, MAX_BYTES)).toString('hex');
  return { index, fields, readableLength, readable: hex(readable), writableLength, writable: hex(writable) };
}

/** The first bytes of a buffer that was longer. */
class Kept implements ByteSource {
  readonly #bytes: Uint8Array;
  readonly length: number;

  constructor(bytes: Uint8Array, length: number) {
    this.#bytes = bytes;
    this.length = length;
  }

  copyOut(offset: number, target: Uint8Array, length = target.length): number {
    const part = this.#bytes.subarray(offset, offset + Math.min(length, target.length));
    target.set(part);
    return part.length;
  }
}
