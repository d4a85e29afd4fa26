/** Which pages of guest RAM are in the balloon, and which pages of the host that makes dispensable. */
import { BALLOON_PAGE_SIZE } from '../spec/balloon.ts';

/** A run of bytes of guest RAM. */
export interface PageRun {
  /** From the start of RAM. */
  readonly start: number;
  readonly length: number;
}

export class PageSet {
  readonly #bits: Uint8Array;
  /** Balloon pages in a page of the host; where the host releases nothing, 1. */
  readonly #perHostPage: number;
  #count = 0;

  /**
   * @param pages of 4 KiB in guest RAM
   * @param granularity bytes that the host releases at a time: a power of 2; up to 4 KiB counts as 4 KiB
   */
  constructor(pages: number, granularity: number) {
    this.#bits = new Uint8Array(Math.ceil(pages / 8));
    this.#perHostPage = Math.max(1, granularity / BALLOON_PAGE_SIZE);
  }

  /** Pages in the balloon. */
  get count(): number {
    return this.#count;
  }

  #has(page: number): boolean {
    return (this.#bits[page >> 3] & (1 << (page & 7))) !== 0;
  }

  /**
   * Puts pages in; those that are in already stay.
   *
   * @param pages numbers from the start of RAM, inside it; sorted by this call
   * @returns the pages of the host that are wholly in the balloon now and were not before
   */
  add(pages: Uint32Array): PageRun[] {
    const runs: PageRun[] = [];
    let start = 0;
    let end = 0;
    for (const page of pages.sort()) {
      if (this.#has(page)) continue;
      this.#bits[page >> 3] |= 1 << (page & 7);
      this.#count++;
      const first = page - (page % this.#perHostPage);
      if (!this.#allFrom(first)) continue;
      if (first !== end) {
        if (end > start) runs.push(run(start, end));
        start = first;
      }
      end = first + this.#perHostPage;
    }
    if (end > start) runs.push(run(start, end));
    return runs;
  }

  #allFrom(first: number): boolean {
    for (let i = 0; i < this.#perHostPage; i++) if (!this.#has(first + i)) return false;
    return true;
  }

  /** Takes pages out. */
  remove(pages: Uint32Array): void {
    for (const page of pages) {
      if (!this.#has(page)) continue;
      this.#bits[page >> 3] &= ~(1 << (page & 7));
      this.#count--;
    }
  }

  clear(): void {
    this.#bits.fill(0);
    this.#count = 0;
  }
}

function run(start: number, end: number): PageRun {
  return { start: start * BALLOON_PAGE_SIZE, length: (end - start) * BALLOON_PAGE_SIZE };
}
