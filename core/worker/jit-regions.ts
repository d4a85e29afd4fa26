/**
 * Regions that the JIT worker knows: what they are made of, and where. A region is known by guest code, not by the WebAssembly
 * made of it: its attach record (which holds the code's bytes) and the places in it at which its instructions begin, and where
 * its indirect jumps have been seen to go. That is all the translator needs to make the same region again (jit-shadow.ts), in this machine or, from disk, in a later one.
 */
import { JIT_RECORD_SIZE, RECORD_BYTES, RECORD_PA, RECORD_RANGES } from '../cpu/jit/abi.ts';

const PAGE = 4096;
/** What a region takes in memory beside its bytes, about. */
const OVERHEAD = 400;

export interface Region {
  /** Its number in the function table; 0: it is not translated at present. */
  fn: number;
  /** Guest physical address of its entry. */
  readonly entry: number;
  /** Attach record (core/cpu/jit/abi.ts). */
  readonly record: Uint8Array;
  /** One bit a halfword that the record covers: an instruction begins there. Empty when regions are not kept. */
  readonly starts: Uint8Array;
  /** Where its indirect jumps have been seen to go: pairs of u16 (TRANSLATOR_CASES). */
  readonly cases: Uint8Array;
  /** Hash of its own page, all of it. */
  readonly content: number;
  /** A hart of this machine has been given it. */
  used: boolean;
}

/** The part of a region that lies in one page. */
export interface Part {
  /** 0 its own page, 1 before, 2 behind. */
  page: number;
  /** Guest physical address of the page. */
  pa: number;
  /** First byte in the page, how many, and where they are in the record. */
  first: number;
  size: number;
  at: number;
}

/** FNV-1a over words: names a page's contents; whoever finds something by it compares. */
export function contentHash(bytes: Uint8Array): number {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  let hash = 0x811c9dc5 | 0;
  for (let i = 0; i < words.length; i++) hash = Math.imul(hash ^ words[i]!, 0x01000193) ^ (hash >>> 15);
  return hash >>> 0;
}

/** The parts of an attach record; null when it is not one. */
export function recordParts(record: Uint8Array): Part[] | null {
  if (record.length < RECORD_BYTES || record.length > JIT_RECORD_SIZE) return null;
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const used = view.getUint32(8, true);
  if ((used & 1) === 0 || used > 7 || view.getUint32(4, true) >= PAGE) return null;
  const parts: Part[] = [];
  let at = RECORD_BYTES;
  for (let page = 0; page < 3; page++) {
    if ((used & (1 << page)) === 0) continue;
    const pa = view.getBigUint64(RECORD_PA + page * 8, true);
    const first = view.getUint16(RECORD_RANGES + page * 4, true);
    const end = view.getUint16(RECORD_RANGES + page * 4 + 2, true);
    if (((first | end) & 1) !== 0 || first >= end || end > PAGE || pa > 1n << 52n || (pa & 4095n) !== 0n) return null;
    parts.push({ page, pa: Number(pa), first, size: end - first, at });
    at += end - first;
  }
  return at <= record.length ? parts : null;
}

/** Offset of the entry in its page. */
export function recordEntry(record: Uint8Array): number {
  return new DataView(record.buffer, record.byteOffset).getUint32(4, true);
}

/** A record's bytes without what its writer filled it up with. */
export function trimRecord(record: Uint8Array): Uint8Array {
  const last = recordParts(record)?.at(-1);
  return last === undefined ? record : record.slice(0, last.at + last.size);
}

function sizeOf({ record, starts, cases }: Region): number {
  return record.length + starts.length + cases.length + OVERHEAD;
}

/** The same region in a page elsewhere; it lies in that page alone. */
export function movedTo(region: Region, pa: number): Region {
  const record = region.record.slice();
  new DataView(record.buffer).setBigUint64(RECORD_PA, BigInt(pa), true);
  return { ...region, fn: 0, record, entry: pa + recordEntry(record), used: false };
}

/** Whether two records are of the same code at the same place. */
export function sameRecord(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  // The function's number differs.
  for (let i = 4; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function put<K>(map: Map<K, Region[]>, key: K, region: Region): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [region]);
  else list.unshift(region);
}

function take<K>(map: Map<K, Region[]>, key: K, region: Region): void {
  const rest = map.get(key)?.filter((other) => other !== region) ?? [];
  if (rest.length === 0) map.delete(key);
  else map.set(key, rest);
}

/** Bounded; what has been used least recently goes first. */
export class RegionStore {
  readonly #limit: number;
  /** What has not been used, then the rest in the order in which that began. The first go first. */
  readonly #all = new Set<Region>();
  readonly #byEntry = new Map<number, Region[]>();
  readonly #byPage = new Map<number, Region[]>();
  readonly #byContent = new Map<number, Region[]>();
  #bytes = 0;

  /** @param limit bytes, about, of regions that are not translated at present; Infinity: no bound but the caller's */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Newest first. */
  atEntry(entry: number): readonly Region[] {
    return this.#byEntry.get(entry) ?? [];
  }
  /** Those that lie in a page, wholly or in part. */
  inPage(pa: number): readonly Region[] {
    return this.#byPage.get(pa) ?? [];
  }
  /** Those whose own page had these contents. */
  withContent(content: number): readonly Region[] {
    return this.#byContent.get(content) ?? [];
  }

  /** Takes a region in; one of the same code at the same place goes. @throws RangeError when its record is none */
  add(region: Region): void {
    const parts = recordParts(region.record);
    if (parts === null) throw new RangeError('not an attach record');
    const old = this.atEntry(region.entry).find(({ record }) => sameRecord(record, region.record));
    if (old !== undefined) this.delete(old);
    this.#all.add(region);
    this.#bytes += sizeOf(region);
    put(this.#byEntry, region.entry, region);
    for (const { pa } of parts) put(this.#byPage, pa, region);
    put(this.#byContent, region.content, region);
    this.#trim();
  }

  delete(region: Region): void {
    if (!this.#all.delete(region)) return;
    this.#bytes -= sizeOf(region);
    take(this.#byEntry, region.entry, region);
    for (const { pa } of recordParts(region.record)!) take(this.#byPage, pa, region);
    take(this.#byContent, region.content, region);
  }

  /** A hart has been given it. */
  use(region: Region): void {
    if (region.used) return;
    region.used = true;
    if (this.#all.delete(region)) this.#all.add(region);
  }

  /** What is worth keeping most comes first: what has been used, in the order in which that began, then the rest. */
  inOrder(): Region[] {
    const all = [...this.#all];
    return [...all.filter(({ used }) => used), ...all.filter(({ used }) => !used).reverse()];
  }

  /** No region is translated any more. */
  untranslate(keep: boolean): void {
    for (const region of [...this.#all]) {
      region.fn = 0;
      if (!keep) this.delete(region);
    }
    this.#trim();
  }

  #trim(): void {
    if (this.#bytes <= this.#limit) return;
    for (const region of this.#all) {
      // Harts run the others; flushes bound how many they are.
      if (region.fn === 0) this.delete(region);
      if (this.#bytes <= this.#limit) return;
    }
  }
}
