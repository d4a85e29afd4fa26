/**
 * Guest memory that belongs to another process: its parts lie in our linear memory at their guest physical addresses, from
 * RAM_OFFSET on, so that what is next to one another there is so here too, and a buffer may cross from one part to the next.
 */
import { GuestMemory } from '../../memory/guest-memory.ts';
import type { GuestMemoryHandle } from '../../memory/guest-memory.ts';
import { RAM_OFFSET } from '../../worker/layout.ts';

/** Ranges that there can be. */
export const RANGES_MAX = 64;
/** Words of 32 bits before the ranges: generation, number of ranges. */
const HEADER_WORDS = 2;

export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Which addresses are mapped: shared by the threads that look and the one that maps. */
export type RangeTable = SharedArrayBuffer;

export function createRangeTable(): RangeTable {
  return new SharedArrayBuffer(4 * HEADER_WORDS + 16 * RANGES_MAX);
}

/**
 * @param ranges none overlapping, at most RANGES_MAX. Where a range shrinks or goes, no other thread may be looking at it
 */
export function publishRanges(table: RangeTable, ranges: readonly Range[]): void {
  const sorted = ranges.toSorted((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const { start, end } of sorted) {
    const last = merged.at(-1);
    if (last?.end === start) last.end = end;
    else merged.push({ start, end });
  }
  const words = new Int32Array(table, 0, HEADER_WORDS);
  const bounds = new Float64Array(table, 4 * HEADER_WORDS);
  for (const [i, { start, end }] of merged.entries()) bounds.set([start, end], 2 * i);
  Atomics.store(words, 1, merged.length);
  Atomics.add(words, 0, 1);
}

export interface MappedMemoryHandle extends GuestMemoryHandle {
  readonly ranges: RangeTable;
}

/** As GuestMemory; only what is mapped is inside. */
export class MappedGuestMemory extends GuestMemory {
  readonly #table: RangeTable;
  readonly #words: Int32Array<SharedArrayBuffer>;
  #generation = 0;
  #ranges: Range[] = [];
  // The range of the last access.
  #start = 0;
  #end = 0;

  constructor({ memory, ranges }: { memory: WebAssembly.Memory; ranges: RangeTable }) {
    super({ memory, ramSize: memory.buffer.byteLength - RAM_OFFSET, base: 0 });
    this.#table = ranges;
    this.#words = new Int32Array(ranges, 0, HEADER_WORDS);
  }

  override get handle(): MappedMemoryHandle {
    return { ...super.handle, ranges: this.#table };
  }

  override contains(address: number, length: number): boolean {
    if (Atomics.load(this.#words, 0) !== this.#generation) this.#reload();
    // Written so that NaN comes out false.
    if (address >= this.#start && address + length <= this.#end && length >= 0) return true;
    const range = this.#ranges.find(({ start, end }) => address >= start && address + length <= end && length >= 0);
    if (!range) return false;
    this.#start = range.start;
    this.#end = range.end;
    return true;
  }

  #reload(): void {
    this.#generation = Atomics.load(this.#words, 0);
    const bounds = new Float64Array(this.#table, 4 * HEADER_WORDS);
    const count = Atomics.load(this.#words, 1);
    this.#ranges = Array.from({ length: count }, (_, i) => ({ start: bounds[2 * i], end: bounds[2 * i + 1] }));
    this.#start = this.#end = -1;
  }
}
