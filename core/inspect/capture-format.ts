/**
 * Captures of a queue (docs/capture.md): what the file looks like, and reading it. All numbers are little-endian, and everything
 * in a file is checked: it may come from anywhere.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { z } from 'zod';
import { queueProfile, REQUEST_TIMES, REQUEST_WORDS } from '../api/inspect.ts';
import { RingsideError, errorLine } from '../errors.ts';

export const CAPTURE_MAGIC = 'RSQUEUE\n';
export const CAPTURE_VERSION = 1;
/** Magic, u32 version, u32 bytes of the JSON behind it. */
export const CAPTURE_PREFIX = 16;
const MAX_HEADER = 65536;

/** Of a record: u32 kind, u32 bytes of what follows. */
export const RECORD_PREFIX = 8;
export const RECORD_REQUEST = 1;
/** f64 how many requests follow that were not kept: the file has its full size. */
export const RECORD_LEFT_OUT = 2;
/** Nothing follows: the capture was ended in order. */
export const RECORD_END = 3;

/** Of a request, before its bytes: times, words, then u32 x 4: bytes readable, kept of them, writable, kept of them. */
export const REQUEST_FIXED = 8 * REQUEST_TIMES + 4 * REQUEST_WORDS + 16;
/** Requests of a file that are read. */
const MAX_REQUESTS = 2_000_000;
/** Records looked at before others get their turn. */
const SCAN_SLICE = 2048;
/** Of a request that is looked at when the file is opened: its times. */
const TIMES_BYTES = 8 * REQUEST_TIMES;
/** ns: ten years, and what the page can still count exactly to a fraction of a second. */
const LATEST = 3e17;
/** Bytes of a request in each direction that a file may have. */
export const MAX_KEPT = 4 * 2 ** 20;

export const captureHeader = z.object({
  device: z.string().max(200),
  /** e.g. "virtio-blk". */
  type: z.string().max(200),
  queue: z.number().int().min(0).max(65535),
  name: z.string().max(200),
  /** As the driver had set the queue up when the capture began; null: it had not. */
  ring: z
    .object({ format: z.enum(['split', 'packed']), size: z.number().int().min(1).max(32768) })
    .nullable()
    .default(null),
  /** ms since 1970 at which times are 0. */
  epoch: z.number().min(0).max(8.64e15),
  profile: queueProfile,
});
export type CaptureHeader = z.infer<typeof captureHeader>;

export interface CapturedRequest {
  /** As in RequestColumns. */
  readonly times: Float64Array;
  readonly words: Uint32Array;
  /** Bytes that it had, and those that were kept from the start. */
  readonly readableLength: number;
  readonly readable: Uint8Array;
  readonly writableLength: number;
  readonly writable: Uint8Array;
}

export class CaptureFile {
  readonly file: string;
  readonly header: CaptureHeader;
  /** Of the header. */
  readonly #end: number;
  readonly #fd: number;
  /** Where each request's record begins, behind its prefix, and how long it is. */
  #places: Float64Array = new Float64Array(0);
  #lengths: Uint32Array = new Uint32Array(0);
  #leftOut = 0;
  #complete = false;

  /**
   * Opens a capture and looks through its records, a slice at a time.
   *
   * @throws RingsideError 'io', 'bad-image' when it is no capture, of a version that is not known, or its requests cannot be
   */
  static async open(file: string): Promise<CaptureFile> {
    const capture = new CaptureFile(file);
    try {
      await capture.#scan();
    } catch (error) {
      capture.close();
      throw error;
    }
    return capture;
  }

  private constructor(file: string) {
    this.file = file;
    try {
      // A pipe would make the open wait for a writer.
      this.#fd = openSync(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    } catch (error) {
      throw new RingsideError('io', `"${file}" cannot be opened: ${errorLine(error)}.`, { cause: error });
    }
    try {
      if (!fstatSync(this.#fd).isFile()) throw notOne(file, 'it is not a file');
      const { header, end } = this.#readHeader();
      this.header = header;
      this.#end = end;
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  async #scan(): Promise<void> {
    const { file } = this;
    const { size } = fstatSync(this.#fd);
    const places: number[] = [];
    const lengths: number[] = [];
    let at = this.#end;
    let used = -Infinity;
    for (let records = 0; !this.#complete && at + RECORD_PREFIX <= size; records++) {
      if (records % SCAN_SLICE === SCAN_SLICE - 1) await new Promise((resolve) => setImmediate(resolve));
      const prefix = this.#view(at, Math.min(RECORD_PREFIX + TIMES_BYTES, size - at));
      if (prefix === null) break;
      const [kind, length] = [prefix.getUint32(0, true), prefix.getUint32(4, true)];
      at += RECORD_PREFIX;
      // What was being written when it was cut off.
      if (at + length > size) break;
      if (kind === RECORD_REQUEST) {
        if (length < REQUEST_FIXED || length > REQUEST_FIXED + 2 * MAX_KEPT)
          throw notOne(file, `a record at ${at} is broken`);
        if (places.length === MAX_REQUESTS) throw notOne(file, `it has more than ${MAX_REQUESTS} requests`);
        const times = timesOf(prefix, RECORD_PREFIX);
        // Written as they are done: none can have been done before the one that is written before it.
        if (!inOrder(times) || times[REQUEST_TIMES - 1] < used) {
          throw notOne(file, `the times of request ${places.length} cannot be`);
        }
        used = times[REQUEST_TIMES - 1];
        places.push(at);
        lengths.push(length);
      } else if (kind === RECORD_LEFT_OUT && length === 8) {
        const count = prefix.getFloat64(RECORD_PREFIX, true);
        if (!Number.isSafeInteger(count) || count < 0) throw notOne(file, `a record at ${at} is broken`);
        this.#leftOut = Math.min(Number.MAX_SAFE_INTEGER, this.#leftOut + count);
      } else if (kind === RECORD_END && length === 0) {
        this.#complete = true;
      } else {
        throw notOne(file, `a record at ${at} is of kind ${kind}, with ${length} bytes`);
      }
      at += length;
    }
    this.#places = Float64Array.from(places);
    this.#lengths = Uint32Array.from(lengths);
  }

  /** Requests that the capture had no room for. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** False: the capture was cut off; what is there is whole. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Requests that it has. */
  get count(): number {
    return this.#places.length;
  }

  #readHeader(): { header: CaptureHeader; end: number } {
    const prefix = this.#view(0, CAPTURE_PREFIX);
    const magic = prefix && Buffer.from(prefix.buffer, 0, 8).toString('latin1');
    if (!prefix || magic !== CAPTURE_MAGIC) throw notOne(this.file, 'it begins otherwise');
    const [version, length] = [prefix.getUint32(8, true), prefix.getUint32(12, true)];
    if (version !== CAPTURE_VERSION) throw notOne(this.file, `its version is ${version}, ${CAPTURE_VERSION} is known`);
    const json = length <= MAX_HEADER ? this.#view(CAPTURE_PREFIX, length) : null;
    if (!json) throw notOne(this.file, 'its header is broken');
    try {
      const header = captureHeader.parse(JSON.parse(Buffer.from(json.buffer).toString('utf8')));
      return { header, end: CAPTURE_PREFIX + length };
    } catch {
      throw notOne(this.file, 'its header is broken');
    }
  }

  /** @returns null where the file ends before */
  #view(at: number, length: number): DataView<ArrayBuffer> | null {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const got = readSync(this.#fd, bytes, done, length - done, at + done);
      if (got === 0) return null;
      done += got;
    }
    return new DataView(bytes.buffer);
  }

  /** Of a request: as in RequestColumns. @throws RingsideError 'not-found', 'bad-image' */
  times(index: number): Float64Array {
    this.#check(index);
    const view = this.#view(this.#places[index], TIMES_BYTES);
    if (!view) throw notOne(this.file, `request ${index} is cut off`);
    return timesOf(view, 0);
  }

  #check(index: number): void {
    if (index >= 0 && index < this.count) return;
    throw new RingsideError('not-found', `"${this.file}" has no request ${index}.`);
  }

  /** @throws RingsideError 'not-found', 'bad-image' */
  request(index: number): CapturedRequest {
    this.#check(index);
    const view = this.#view(this.#places[index], this.#lengths[index]);
    if (!view) throw notOne(this.file, `request ${index} is cut off`);
    const times = timesOf(view, 0);
    // The file may have been changed since it was opened.
    if (!inOrder(times)) throw notOne(this.file, `request ${index} is broken`);
    const wordsAt = 8 * REQUEST_TIMES;
    const words = Uint32Array.from({ length: REQUEST_WORDS }, (_, i) => view.getUint32(wordsAt + 4 * i, true));
    const at = wordsAt + 4 * REQUEST_WORDS;
    const [readableLength, keptReadable, writableLength, keptWritable] = [0, 4, 8, 12].map((i) =>
      view.getUint32(at + i, true),
    );
    if (REQUEST_FIXED + keptReadable + keptWritable !== view.byteLength) {
      throw notOne(this.file, `request ${index} is broken`);
    }
    const bytes = new Uint8Array(view.buffer, REQUEST_FIXED);
    return {
      times,
      words,
      readableLength,
      readable: bytes.subarray(0, keptReadable),
      writableLength,
      writable: bytes.subarray(keptReadable),
    };
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function timesOf(view: DataView, at: number): Float64Array {
  return Float64Array.from({ length: REQUEST_TIMES }, (_, i) => view.getFloat64(at + 8 * i, true));
}

/** Whether they are times, one not before another: seen available, taken, done, shown used. */
function inOrder(times: Float64Array): boolean {
  return times.every((time, i) => Math.abs(time) <= LATEST && (i === 0 || time >= times[i - 1]));
}

function notOne(file: string, why: string): RingsideError {
  return new RingsideError('bad-image', `"${file}" is not a capture of a queue: ${why}.`);
}
