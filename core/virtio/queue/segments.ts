/**
 * The buffers of one descriptor chain in one direction, validated. Offsets count through all of them as if they were one
 * buffer: the message framing is the driver's affair (virtio 1.3, section 2.7.4).
 */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { RAM_OFFSET } from '../../worker/layout.ts';

/** Segments a list has room for from the start; it doubles as needed. */
const INITIAL_CAPACITY = 8;
/** Up to here a byte loop beats making a view. */
const SMALL_COPY = 32;

/** A part of guest RAM: guest physical address and bytes. */
export interface BufferRange {
  address: number;
  length: number;
}

export class Segments {
  readonly #buffer: SharedArrayBuffer;
  /** Guest physical address less linear address. */
  readonly #toGuest: number;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  /** Byte offsets into linear memory. */
  #starts = new Float64Array(INITIAL_CAPACITY);
  #lengths = new Float64Array(INITIAL_CAPACITY);
  #count = 0;
  #total = 0;

  constructor(memory: GuestMemory) {
    this.#buffer = memory.memory.buffer as SharedArrayBuffer;
    this.#bytes = new Uint8Array(this.#buffer);
    this.#toGuest = memory.base - RAM_OFFSET;
  }

  get count(): number {
    return this.#count;
  }

  /** Bytes in all segments. */
  get length(): number {
    return this.#total;
  }

  clear(): void {
    this.#count = 0;
    this.#total = 0;
  }

  /** @param start linear address of bytes that are wholly inside guest RAM */
  add(start: number, length: number): void {
    const index = this.#count;
    if (index === this.#starts.length) this.#grow();
    this.#starts[index] = start;
    this.#lengths[index] = length;
    this.#count = index + 1;
    this.#total += length;
  }

  #grow(): void {
    const starts = new Float64Array(this.#starts.length * 2);
    const lengths = new Float64Array(this.#lengths.length * 2);
    starts.set(this.#starts);
    lengths.set(this.#lengths);
    this.#starts = starts;
    this.#lengths = lengths;
  }

  /** Where they are in guest RAM. */
  ranges(): BufferRange[] {
    return Array.from({ length: this.#count }, (_, i) => ({
      address: this.#starts[i] + this.#toGuest,
      length: this.#lengths[i],
    }));
  }

  /**
   * Live views of guest RAM over [offset, offset + length), in order. The driver may change the bytes at any time: what is
   * to be judged must be copied first (copyOut).
   *
   * @throws RangeError when the range is not inside the segments: an error of ours
   */
  views(offset: number, length: number): Uint8Array<SharedArrayBuffer>[] {
    this.#check(offset, length);
    const views: Uint8Array<SharedArrayBuffer>[] = [];
    let skip = offset;
    let left = length;
    for (let i = 0; left > 0; i++) {
      const segment = this.#lengths[i];
      if (skip >= segment) {
        skip -= segment;
        continue;
      }
      const take = Math.min(segment - skip, left);
      views.push(new Uint8Array(this.#buffer, this.#starts[i] + skip, take));
      left -= take;
      skip = 0;
    }
    return views;
  }

  /**
   * Copies bytes from guest RAM, each read once.
   *
   * @returns the number copied: less than asked where the segments end
   */
  copyOut(offset: number, target: Uint8Array, length = target.length): number {
    const wanted = Math.max(0, Math.min(length, this.#total - offset));
    let done = 0;
    let skip = offset;
    for (let i = 0; done < wanted; i++) {
      const segment = this.#lengths[i];
      if (skip >= segment) {
        skip -= segment;
        continue;
      }
      const take = Math.min(segment - skip, wanted - done);
      const from = this.#starts[i] + skip;
      if (take <= SMALL_COPY) {
        for (let k = 0; k < take; k++) target[done + k] = this.#bytes[from + k];
      } else {
        target.set(new Uint8Array(this.#buffer, from, take), done);
      }
      done += take;
      skip = 0;
    }
    return wanted;
  }

  /**
   * Copies bytes to guest RAM.
   *
   * @returns the number copied: less than given where the segments end
   */
  copyIn(offset: number, source: Uint8Array, length = source.length): number {
    const wanted = Math.max(0, Math.min(length, this.#total - offset));
    let done = 0;
    let skip = offset;
    for (let i = 0; done < wanted; i++) {
      const segment = this.#lengths[i];
      if (skip >= segment) {
        skip -= segment;
        continue;
      }
      const take = Math.min(segment - skip, wanted - done);
      const to = this.#starts[i] + skip;
      if (take <= SMALL_COPY) {
        for (let k = 0; k < take; k++) this.#bytes[to + k] = source[done + k];
      } else {
        this.#bytes.set(source.subarray(done, done + take), to);
      }
      done += take;
      skip = 0;
    }
    return wanted;
  }

  /** Writes one byte. */
  putByte(offset: number, value: number): void {
    this.#check(offset, 1);
    let skip = offset;
    let i = 0;
    while (skip >= this.#lengths[i]) skip -= this.#lengths[i++];
    this.#bytes[this.#starts[i] + skip] = value;
  }

  #check(offset: number, length: number): void {
    if (offset < 0 || length < 0 || offset + length > this.#total) {
      throw new RangeError(`[${offset}, +${length}) is not inside a buffer of ${this.#total} bytes`);
    }
  }
}
