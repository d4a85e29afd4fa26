/**
 * Has a region translated that is known from earlier: code pages are made up that hold what it is made of and nothing else, and
 * the translator finds the same region in them.
 */
import {
  PAGE_COPY,
  PAGE_PA,
  PAGE_VERSION,
  MAX_CASES,
  REQUEST_SIZE,
  SHADOW_CASES,
  SHADOW_REQUEST,
  SHADOW_STRIDE,
  TRANSLATOR_CASES,
  TRANSLATOR_SHADOW,
  TRANSLATOR_VISITED,
} from '../cpu/jit/abi.ts';
import type { Translator } from './jit-translator.ts';
import { recordEntry, recordParts } from './jit-regions.ts';
import type { Part, Region } from './jit-regions.ts';

/** Halfwords of a page; its place among the translator's three by its place in a record. */
const HALFWORDS = 2048;
const PLACE = [1, 0, 2];
/** Instructions of the region itself, and of functions that have been copied into it. */
const VISITED = 1 | 4;
/** Fields of a request. */
const REQUEST_PAGES = 8;
const REQUEST_VERSIONS = 20;
/** Bytes of a pair of jump and target. */
export const CASE = 4;
/** Any but 0. */
const VERSION = 1;

export class Shadow {
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  readonly #translator: Translator;

  constructor(memory: WebAssembly.Memory, translator: Translator) {
    this.#bytes = new Uint8Array(memory.buffer);
    this.#data = new DataView(memory.buffer);
    this.#translator = translator;
  }

  /** Where instructions begin in the region that was translated last, whose record this is. */
  starts(record: Uint8Array): Uint8Array {
    const parts = recordParts(record)!;
    const bits = new Uint8Array(startsSize(parts));
    let n = 0;
    for (const { page, first, size } of parts) {
      const at = TRANSLATOR_VISITED + PLACE[page]! * HALFWORDS + first / 2;
      for (let i = 0; i < size / 2; i++, n++) if (this.#bytes[at + i]! & VISITED) bits[n >> 3]! |= 1 << (n & 7);
    }
    return bits;
  }

  /** Where the indirect jumps of that region have been seen to go. */
  cases(): Uint8Array {
    const from = TRANSLATOR_CASES + 4;
    return this.#bytes.slice(from, from + this.#data.getUint32(TRANSLATOR_CASES, true) * CASE);
  }

  /**
   * Adds a region to the translator's batch.
   * @returns as Translator.addRegion
   */
  translate({ record, starts, cases }: Pick<Region, 'record' | 'starts' | 'cases'>): number {
    const data = this.#data;
    const parts = recordParts(record);
    if (parts === null || starts.length !== startsSize(parts) || cases.length > MAX_CASES * CASE) return 0;
    data.setUint32(SHADOW_CASES, cases.length / CASE, true);
    this.#bytes.set(cases, SHADOW_CASES + 4);
    this.#bytes.fill(0, SHADOW_REQUEST, SHADOW_REQUEST + REQUEST_SIZE);
    data.setBigUint64(SHADOW_REQUEST, BigInt(recordEntry(record)), true);
    for (const part of parts) {
      const page = TRANSLATOR_SHADOW + part.page * SHADOW_STRIDE;
      data.setBigUint64(page + PAGE_PA, BigInt(part.pa), true);
      data.setUint32(page + PAGE_VERSION, VERSION, true);
      this.#bytes.set(record.subarray(part.at, part.at + part.size), page + PAGE_COPY + part.first);
      data.setUint32(SHADOW_REQUEST + REQUEST_PAGES + part.page * 4, page, true);
      data.setUint32(SHADOW_REQUEST + REQUEST_VERSIONS + part.page * 4, VERSION, true);
    }
    this.#mark(parts, starts, 1);
    try {
      return this.#translator.addRegion(SHADOW_REQUEST);
    } finally {
      this.#mark(parts, starts, 0);
    }
  }

  /** Makes the slots of instructions look decoded, or empty again. */
  #mark(parts: Part[], starts: Uint8Array, handler: number): void {
    let n = 0;
    for (const { page, first, size } of parts) {
      const slots = TRANSLATOR_SHADOW + page * SHADOW_STRIDE;
      for (let h = first / 2; h < (first + size) / 2; h++, n++)
        if (starts[n >> 3]! & (1 << (n & 7))) this.#data.setUint16(slots + h * 16, handler, true);
    }
  }
}

/** Bytes of `starts` for a record. */
export function startsSize(parts: Part[]): number {
  return Math.ceil(parts.reduce((sum, { size }) => sum + size / 2, 0) / 8);
}
