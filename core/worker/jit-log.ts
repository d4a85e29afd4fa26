/** Where `-d` writes: a file that the control thread has opened, for all threads. */
import { writeSync } from 'node:fs';

export const JIT_LOG_ITEMS = ['in_asm', 'out_wasm', 'jit'] as const;
/** What is logged: guest code that is translated; the WebAssembly made of it; batches, flushes and attaching. */
export type JitLogItem = (typeof JIT_LOG_ITEMS)[number];

export interface JitLogOptions {
  items: readonly JitLogItem[];
  /** Open for writing. */
  fd: number;
}

/** How long a reader that does not read is waited for, ms at a time and times. */
const TURN = 10;
const TURNS = 500;

export class JitLog {
  readonly #items: ReadonlySet<JitLogItem>;
  readonly #fd: number;
  readonly #pause = new Int32Array(new SharedArrayBuffer(4));
  /** Nobody reads any more, or the disk is full: nothing more is said. */
  #broken = false;

  constructor({ items, fd }: JitLogOptions) {
    this.#items = new Set(items);
    this.#fd = fd;
  }

  has(item: JitLogItem): boolean {
    return !this.#broken && this.#items.has(item);
  }

  /** Writes lines in one piece, so that threads' lines do not mix. */
  write(lines: readonly string[]): void {
    if (this.#broken || lines.length === 0) return;
    let rest = Buffer.from(`${lines.join('\n')}\n`);
    for (let turns = 0; rest.length > 0;) {
      try {
        rest = rest.subarray(writeSync(this.#fd, rest));
        turns = 0;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || ++turns > TURNS) {
          this.#broken = true;
          return;
        }
        Atomics.wait(this.#pause, 0, 0, TURN);
      }
    }
  }
}
