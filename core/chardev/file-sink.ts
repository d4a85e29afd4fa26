/** A file that bytes are written to in the background, in order: that of a -chardev file, or a logfile. */
import { close, constants, fstatSync, openSync, write } from 'node:fs';
import { errorLine, RingsideError } from '../errors.ts';

/** Bytes waiting for the disk at which write() says that it is enough. */
const BACKLOG = 1024 * 1024;
/** A device file that takes nothing just now is asked again after this, ms. */
const RETRY_MS = 20;
/** How long close() waits for the disk, ms. */
const CLOSE_LIMIT = 5000;

export class FileSink {
  readonly path: string;
  /** There is room again after a write() that was told false. */
  onDrain: () => void = () => {};
  readonly #fd: number;
  readonly #onError: (message: string) => void;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #writing = false;
  #failed = false;
  #idle: (() => void)[] = [];
  #closed: Promise<void> | null = null;

  /**
   * @param append false: what was in the file goes
   * @param onError told once, one line: what follows is dropped
   * @throws RingsideError 'permission', 'not-found', 'not-a-file', 'io'
   */
  static open(path: string, append: boolean, onError: (message: string) => void): FileSink {
    const { O_WRONLY, O_CREAT, O_NONBLOCK, O_NOCTTY, O_APPEND, O_TRUNC } = constants;
    let fd;
    try {
      // A FIFO without a reader would not be opened, and nobody could say why.
      fd = openSync(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | (append ? O_APPEND : O_TRUNC), 0o666);
    } catch (error) {
      throw openError(path, error);
    }
    const stat = fstatSync(fd);
    if (stat.isFIFO() || stat.isBlockDevice()) {
      close(fd);
      const what = stat.isFIFO() ? 'a FIFO: -chardev pipe is for those' : 'a disk';
      throw new RingsideError('not-a-file', `${path} is ${what}. Name a file.`);
    }
    return new FileSink(path, fd, onError);
  }

  private constructor(path: string, fd: number, onError: (message: string) => void) {
    this.path = path;
    this.#fd = fd;
    this.#onError = onError;
  }

  /**
   * The bytes are its to keep, and all are taken.
   *
   * @returns false: the disk is behind; onDrain tells when it is not
   */
  write(bytes: Uint8Array): boolean {
    if (this.#failed || this.#closed !== null) return true;
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    this.#next();
    return this.#queued < BACKLOG;
  }

  #next(): void {
    const [bytes] = this.#queue;
    if (this.#writing) return;
    if (bytes === undefined) {
      for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    this.#writing = true;
    write(this.#fd, bytes, (error, count) => {
      if (error?.code === 'EAGAIN') {
        setTimeout(() => this.#written(0), RETRY_MS).unref();
        return;
      }
      if (error !== null) this.#fail(error);
      this.#written(count);
    });
  }

  #written(count: number): void {
    this.#writing = false;
    const [bytes] = this.#queue;
    if (!this.#failed && bytes !== undefined) {
      const wasFull = this.#queued >= BACKLOG;
      this.#queued -= count;
      if (count === bytes.length) this.#queue.shift();
      else this.#queue[0] = bytes.subarray(count);
      if (wasFull && this.#queued < BACKLOG) this.onDrain();
    }
    this.#next();
  }

  #fail(error: Error): void {
    const wasFull = this.#queued >= BACKLOG;
    this.#failed = true;
    this.#queue = [];
    this.#queued = 0;
    this.#onError(`${this.path} cannot be written any more, what follows is lost: ${errorLine(error)}`);
    if (wasFull) this.onDrain();
  }

  /** What was written is in the file then, as far as that goes within 5 s. May be called twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    let timer;
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#idle.push(resolve);
        this.#next();
      }),
      new Promise<void>((resolve) => (timer = setTimeout(resolve, CLOSE_LIMIT))),
    ]);
    clearTimeout(timer);
    this.#queue = [];
    await new Promise<void>((resolve) => close(this.#fd, () => resolve()));
  }
}

/** What is wrong with a file that a character device is to have. */
export function openError(path: string, error: unknown): RingsideError {
  const options = { cause: error };
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return new RingsideError('not-found', `${path} cannot be opened: it, or its folder, does not exist.`, options);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new RingsideError('permission', `${path} cannot be opened: you may not. Choose another.`, options);
    case 'EISDIR':
    case 'ENXIO':
      return new RingsideError('not-a-file', `${path} is no file that could be opened. Choose another.`, options);
    default:
      return new RingsideError('io', `${path} cannot be opened: ${errorLine(error)}`, options);
  }
}
