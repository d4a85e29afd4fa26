/** Pages on both sides of guest RAM that nobody may write to. */
import type { GuestMemory } from '../../core/memory/guest-memory.ts';
import { RAM_OFFSET } from '../../core/worker/layout.ts';

const PAGE = 65536;
const PATTERN = 0x5c;

export class Guards {
  readonly #pages: Uint8Array[];

  /** @param memory with space behind its RAM */
  constructor(memory: GuestMemory) {
    const { buffer } = memory.memory;
    const behind = RAM_OFFSET + memory.size;
    this.#pages = [new Uint8Array(buffer, RAM_OFFSET - PAGE, PAGE)];
    if (buffer.byteLength >= behind + PAGE) this.#pages.push(new Uint8Array(buffer, behind, PAGE));
    for (const page of this.#pages) page.fill(PATTERN);
  }

  get count(): number {
    return this.#pages.length;
  }

  /** Whether they are as they were. */
  get intact(): boolean {
    return this.#pages.every((page) => page.every((byte) => byte === PATTERN));
  }
}
