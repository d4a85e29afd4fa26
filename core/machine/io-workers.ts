/** A machine's I/O workers: the main one, and one for each iothread object. */
import { RingsideError } from '../errors.ts';
import type { OwnedWorker } from '../qom/environment.ts';
import { IoThreadHandle } from '../worker/iothread-handle.ts';
import type { IoThreadOptions } from '../worker/iothread-handle.ts';
import { MAX_IOTHREADS } from '../worker/layout.ts';

export class IoWorkers {
  /** Serves what no iothread is said for. */
  readonly main: IoThreadHandle;
  readonly #options: Omit<IoThreadOptions, 'index'>;
  #workers: IoThreadHandle[] = [];
  #paused = false;

  constructor(options: Omit<IoThreadOptions, 'index'>) {
    this.#options = options;
    this.main = this.#start(0);
  }

  /** @throws RingsideError 'too-large' */
  add(): OwnedWorker {
    const taken = new Set(this.all.map(({ index }) => index));
    let index = 0;
    while (taken.has(index)) index++;
    if (index >= MAX_IOTHREADS) {
      throw new RingsideError(
        'too-large',
        `a machine can have ${MAX_IOTHREADS - 1} iothreads. Let devices share them.`,
      );
    }
    return this.#start(index);
  }

  #start(index: number): IoThreadHandle {
    const worker = new IoThreadHandle({ ...this.#options, index });
    this.#workers.push(worker);
    // Like the others, it touches nothing until the machine runs. A crash is told of by itself.
    if (this.#paused) worker.quiesce().catch(() => {});
    return worker;
  }

  /** Those that have not ended. */
  get all(): readonly IoThreadHandle[] {
    return (this.#workers = this.#workers.filter(({ ended }) => !ended));
  }

  /** When it resolves no worker touches guest RAM, until resume(). */
  async pause(): Promise<void> {
    this.#paused = true;
    await Promise.all(this.all.map((worker) => worker.quiesce()));
  }

  async resume(): Promise<void> {
    this.#paused = false;
    await Promise.all(this.all.map((worker) => worker.resume()));
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((worker) => worker.close()));
  }
}
