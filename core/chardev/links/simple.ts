/** Links that nobody has to come to: nowhere, a file, a buffer. */
import { close, createReadStream, fstatSync, openSync } from 'node:fs';
import type { ReadStream } from 'node:fs';
import { RingsideError } from '../../errors.ts';
import { FileSink, openError } from '../file-sink.ts';
import { HostLink } from '../host-link.ts';

/** Takes everything, and says nothing. */
export class NullLink extends HostLink {
  readonly filename = 'null';

  constructor() {
    super();
    this.setOpen(true);
  }

  protected send(): boolean {
    return true;
  }
  protected flow(): void {}
  protected end(): void {}
}

export interface FileLinkOptions {
  readonly path: string;
  /** false: what was in the file goes. */
  readonly append: boolean;
  /** A file whose bytes are the input; null: there is none. */
  readonly inputPath: string | null;
  /** One line, once. */
  onError(message: string): void;
}

export class FileLink extends HostLink {
  readonly filename = 'file';
  readonly #sink: FileSink;
  readonly #input: ReadStream | null;

  /** @throws RingsideError 'permission', 'not-found', 'not-a-file', 'io' */
  constructor({ path, append, inputPath, onError }: FileLinkOptions) {
    super();
    const input = inputPath === null ? null : openInput(inputPath);
    try {
      this.#sink = FileSink.open(path, append, onError);
    } catch (error) {
      if (input !== null) close(input);
      throw error;
    }
    this.#sink.onDrain = () => this.drained();
    this.#input = input === null ? null : createReadStream('', { fd: input });
    this.#input?.pause();
    this.#input?.on('data', (bytes) => this.received(bytes as Buffer));
    this.#input?.on('error', (error) => onError(`${inputPath} cannot be read any more: ${error.message}`));
    this.setOpen(true);
  }

  protected send(bytes: Uint8Array): boolean {
    return this.#sink.write(bytes);
  }

  protected flow(wanted: boolean): void {
    if (wanted) this.#input?.resume();
    else this.#input?.pause();
  }

  protected end(): Promise<void> {
    this.#input?.destroy();
    return this.#sink.close();
  }
}

function openInput(path: string): number {
  let fd;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw openError(path, error);
  }
  if (fstatSync(fd).isFile()) return fd;
  close(fd);
  throw new RingsideError('not-a-file', `${path} is no file that input could be read from. Name a file.`);
}

/** Keeps the last bytes that were written, for the monitor's ringbuf-read; what ringbuf-write writes is among them. */
export class RingbufLink extends HostLink {
  readonly filename: string;
  readonly #bytes: Uint8Array;
  /** Bytes written and read since the beginning. */
  #written = 0;
  #read = 0;

  /** @param size bytes, a power of 2 */
  constructor(size: number, filename = 'ringbuf') {
    super();
    this.filename = filename;
    this.#bytes = new Uint8Array(size);
    this.setOpen(true);
  }

  protected send(bytes: Uint8Array): boolean {
    this.put(bytes);
    return true;
  }

  put(bytes: Uint8Array): void {
    const size = this.#bytes.length;
    const kept = bytes.subarray(Math.max(0, bytes.length - size));
    const at = (this.#written + bytes.length - kept.length) & (size - 1);
    const first = Math.min(kept.length, size - at);
    this.#bytes.set(kept.subarray(0, first), at);
    this.#bytes.set(kept.subarray(first), 0);
    this.#written += bytes.length;
    this.#read = Math.max(this.#read, this.#written - size);
  }

  /** Takes the oldest bytes out, at most `most`. */
  take(most: number): Uint8Array {
    const size = this.#bytes.length;
    const count = Math.min(most, this.#written - this.#read);
    const at = this.#read & (size - 1);
    const first = Math.min(count, size - at);
    const bytes = new Uint8Array(count);
    bytes.set(this.#bytes.subarray(at, at + first));
    bytes.set(this.#bytes.subarray(0, count - first), first);
    this.#read += count;
    return bytes;
  }

  protected flow(): void {}
  protected end(): void {}
}
