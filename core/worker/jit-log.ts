/** Where `-d` writes: a file that the control thread has opened, for all threads. */
import { writeSync } from 'node:fs';

/** What can be logged. The first is QEMU's name, the second after its out_asm. */
export const JIT_LOG_ITEMS = {
  in_asm: 'guest code that is translated',
  out_wasm: 'the WebAssembly made of it, beside the guest code',
  jit: 'a line for each module, and for what each hart is given and drops',
} as const;
export type JitLogItem = keyof typeof JIT_LOG_ITEMS;

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
