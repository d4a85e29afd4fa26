/**
 * What the threads that use one open disk must know of each other's flushes. The host tells of data that it could not write
 * once, to whoever asks first (Linux: errseq_t of the open file): after that no flush of the disk may succeed, on whichever
 * thread, and one that is under way at the same time must not return before the other is known to have failed.
 */
import { DiskError, diskError } from './errors.ts';

const LOCK = 0;
const FAILED = 1;
const WORDS = 2;

// Of LOCK.
const FREE = 0;
const TAKEN = 1;
const WANTED = 2;

export function createFlushState(): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * WORDS);
}

export class SharedFlush {
  readonly #words: Int32Array<SharedArrayBuffer>;
  /** Why the first flush failed, if it was here. */
  #error: DiskError | null = null;

  constructor(state: SharedArrayBuffer) {
    this.#words = new Int32Array(state);
  }

  /**
   * Runs `sync` while no other thread does, and never again once it has failed.
   *
   * @throws DiskError what the host said; on other threads than that which it was told, EIO
   */
  flush(file: string, sync: () => void): void {
    if (this.#error) throw this.#error;
    this.#exclusively(() => {
      if (Atomics.load(this.#words, FAILED) !== 0) {
        throw new DiskError(
          'flush',
          file,
          'EIO',
          'an earlier flush has failed, and what was not written then is lost.',
        );
      }
      try {
        sync();
      } catch (error) {
        this.#error = diskError('flush', file, error);
        Atomics.store(this.#words, FAILED, 1);
        throw this.#error;
      }
    });
  }

  /** Runs `flush` while no other thread does. */
  #exclusively(flush: () => void): void {
    const words = this.#words;
    if (Atomics.compareExchange(words, LOCK, FREE, TAKEN) !== FREE) {
      while (Atomics.exchange(words, LOCK, WANTED) !== FREE) Atomics.wait(words, LOCK, WANTED);
    }
    try {
      flush();
    } finally {
      if (Atomics.exchange(words, LOCK, FREE) === WANTED) Atomics.notify(words, LOCK, 1);
    }
  }
}
