/** SiFive test finisher (QEMU hw/misc/sifive_test.c): how the guest powers off, fails, or resets. On the control thread. */
import { EXIT_FAIL, EXIT_POWEROFF, EXIT_RESET } from '../worker/layout.ts';

const FINISHER_FAIL = 0x3333;
const FINISHER_PASS = 0x5555;
const FINISHER_RESET = 0x7777;

export interface SifiveTestOptions {
  /** What the guest asked for: EXIT_*, and the 16-bit code that goes with EXIT_FAIL (else 0). */
  onExit: (exit: number, code: number) => void;
}

export class SifiveTest {
  readonly #onExit: (exit: number, code: number) => void;

  constructor({ onExit }: SifiveTestOptions) {
    this.#onExit = onExit;
  }

  /** All registers read as 0. */
  read(_offset: number, _size: number): number {
    return 0;
  }

  /** A write of 2 or 4 bytes at offset 0: command in the low half, code in the high half. Others are ignored. */
  write(offset: number, _size: number, value: number): void {
    if (offset !== 0) return;
    const code = value >>> 16;
    switch (value & 0xffff) {
      case FINISHER_PASS:
        this.#onExit(EXIT_POWEROFF, 0);
        break;
      case FINISHER_FAIL:
        this.#onExit(EXIT_FAIL, code);
        break;
      case FINISHER_RESET:
        this.#onExit(EXIT_RESET, 0);
        break;
    }
  }
}
