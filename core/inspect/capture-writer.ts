/** Writes a queue's requests to a file as they are done (docs/capture.md). On the I/O worker: a capture is meant to cost time. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { REQUEST_TIMES, REQUEST_WORDS } from '../api/inspect.ts';
import { RingsideError, errorLine } from '../errors.ts';
import type { ByteSource } from '../virtio/decoder.ts';
import {
  CAPTURE_MAGIC,
  CAPTURE_PREFIX,
  CAPTURE_VERSION,
  RECORD_END,
  RECORD_LEFT_OUT,
  RECORD_PREFIX,
  RECORD_REQUEST,
  REQUEST_FIXED,
} from './capture-format.ts';
import type { CaptureHeader } from './capture-format.ts';

/** Written at once when so much has gathered. */
const BUFFER_BYTES = 256 * 1024;

/** Structured-clonable. */
export interface CaptureOptions {
  /** Path; what is there is not replaced. */
  readonly file: string;
  /** Bytes of the file at most. */
  readonly limit: number;
  /** Bytes of a request kept in each direction, at most MAX_KEPT. */
  readonly keep: number;
  readonly header: CaptureHeader;
  /** ms of monotonicNow() at which times are 0. */
  readonly epoch: number;
}

export interface CaptureState {
  readonly file: string;
  /** Bytes that it may have. */
  readonly limit: number;
  readonly requests: number;
  readonly leftOut: number;
  /** Bytes of the file. */
  readonly bytes: number;
  /** Why it has ended by itself, one line; null: it goes on. */
  readonly error: string | null;
}

export class CaptureWriter {
  readonly epoch: number;
  readonly #file: string;
  readonly #fd: number;
  readonly #limit: number;
  readonly #keep: number;
  #buffer = new Uint8Array(BUFFER_BYTES);
  #filled = 0;
  #bytes = 0;
  #requests = 0;
  #leftOut = 0;
  #error: string | null = null;

  /** @throws RingsideError 'io' when the file cannot be made, or is there already */
  constructor({ file, limit, keep, header, epoch }: CaptureOptions) {
    this.epoch = epoch;
    this.#file = file;
    this.#limit = limit;
    this.#keep = keep;
    try {
      this.#fd = openSync(file, 'wx', 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
        throw new RingsideError('io', `"${file}" is there already: choose another name for the capture.`);
      }
      throw new RingsideError('io', `The capture "${file}" cannot be made: ${errorLine(error)}.`, { cause: error });
    }
    const json = new TextEncoder().encode(JSON.stringify(header));
    const prefix = this.#room(CAPTURE_PREFIX + json.length);
    this.#buffer.set(new TextEncoder().encode(CAPTURE_MAGIC), prefix.byteOffset);
    prefix.setUint32(8, CAPTURE_VERSION, true);
    prefix.setUint32(12, json.length, true);
    this.#buffer.set(json, prefix.byteOffset + CAPTURE_PREFIX);
  }

  get state(): CaptureState {
    return {
      file: this.#file,
      limit: this.#limit,
      requests: this.#requests,
      leftOut: this.#leftOut,
      bytes: this.#bytes,
      error: this.#error,
    };
  }

  /**
   * @param times, words of a request, as in RequestColumns
   */
  request(times: readonly number[], words: readonly number[], readable: ByteSource, writable: ByteSource): void {
    const [keptReadable, keptWritable] = [readable, writable].map(({ length }) => Math.min(length, this.#keep));
    const length = REQUEST_FIXED + keptReadable + keptWritable;
    const end = 2 * RECORD_PREFIX + 8;
    if (this.#error !== null || this.#bytes + RECORD_PREFIX + length + end > this.#limit) {
      this.#leftOut++;
      return;
    }
    const record = this.#room(RECORD_PREFIX + length);
    record.setUint32(0, RECORD_REQUEST, true);
    record.setUint32(4, length, true);
    for (let i = 0; i < REQUEST_TIMES; i++) record.setFloat64(RECORD_PREFIX + 8 * i, times[i], true);
    const wordsAt = RECORD_PREFIX + 8 * REQUEST_TIMES;
    for (let i = 0; i < REQUEST_WORDS; i++) record.setUint32(wordsAt + 4 * i, words[i], true);
    const sizes = [readable.length, keptReadable, writable.length, keptWritable];
    for (const [i, size] of sizes.entries()) record.setUint32(wordsAt + 4 * (REQUEST_WORDS + i), size, true);
    const at = record.byteOffset + RECORD_PREFIX + REQUEST_FIXED;
    readable.copyOut(0, this.#buffer.subarray(at, at + keptReadable));
    writable.copyOut(0, this.#buffer.subarray(at + keptReadable, at + keptReadable + keptWritable));
    this.#requests++;
  }

  /** The next `length` bytes of the file, to be filled in. */
  #room(length: number): DataView {
    if (this.#filled + length > this.#buffer.length) {
      this.#flush();
      if (length > this.#buffer.length) this.#buffer = new Uint8Array(length);
    }
    const view = new DataView(this.#buffer.buffer, this.#filled, length);
    this.#filled += length;
    this.#bytes += length;
    return view;
  }

  #flush(): void {
    const filled = this.#filled;
    this.#filled = 0;
    if (this.#error !== null) return;
    try {
      for (let done = 0; done < filled;) done += writeSync(this.#fd, this.#buffer, done, filled - done);
    } catch (error) {
      this.#error = `the capture has ended: ${errorLine(error)}`;
    }
  }

  close(): CaptureState {
    if (this.#leftOut > 0) {
      const record = this.#room(RECORD_PREFIX + 8);
      record.setUint32(0, RECORD_LEFT_OUT, true);
      record.setUint32(4, 8, true);
      record.setFloat64(8, this.#leftOut, true);
    }
    const end = this.#room(RECORD_PREFIX);
    end.setUint32(0, RECORD_END, true);
    end.setUint32(4, 0, true);
    this.#flush();
    closeSync(this.#fd);
    return this.state;
  }
}
