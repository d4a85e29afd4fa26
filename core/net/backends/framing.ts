/** QEMU's framing of Ethernet frames on a byte stream: four bytes of length, big-endian, then the frame. */
import { ETHERNET_HEADER_BYTES, FRAME_MAX } from '../frame.ts';

const LENGTH_BYTES = 4;
const BATCH_BYTES = 256 * 1024;

/** Takes a stream apart. Whole frames inside a chunk are not copied. */
export class FrameParser {
  /** The beginning of a frame whose end has not come. */
  readonly #partial = Buffer.alloc(LENGTH_BYTES + FRAME_MAX);
  #have = 0;
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;

  /** Bytes that came. Only when next() has given null. */
  push(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  reset(): void {
    this.#have = 0;
    this.#chunk = Buffer.alloc(0);
    this.#at = 0;
  }

  /**
   * The next frame; its bytes are valid until the next call. Those too short to be Ethernet frames are left out.
   *
   * @returns null when more must come
   * @throws RangeError when the peer announces more than any frame has
   */
  next(): Uint8Array | null {
    for (;;) {
      const frame = this.#have > 0 ? this.#finish() : this.#take();
      if (frame === null || frame.length >= ETHERNET_HEADER_BYTES) return frame;
    }
  }

  #take(): Uint8Array | null {
    const chunk = this.#chunk;
    const at = this.#at;
    if (chunk.length - at >= LENGTH_BYTES) {
      const length = checked(chunk.readUInt32BE(at));
      const end = at + LENGTH_BYTES + length;
      if (end <= chunk.length) {
        this.#at = end;
        return chunk.subarray(at + LENGTH_BYTES, end);
      }
    }
    this.#fill(chunk.length - at);
    return null;
  }

  /** With bytes of a frame kept from before. */
  #finish(): Uint8Array | null {
    if (this.#have < LENGTH_BYTES && !this.#fill(LENGTH_BYTES - this.#have)) return null;
    const length = checked(this.#partial.readUInt32BE(0));
    if (!this.#fill(LENGTH_BYTES + length - this.#have)) return null;
    this.#have = 0;
    return this.#partial.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
  }

  /** Keeps so many more bytes of the chunk; whether it had them. */
  #fill(wanted: number): boolean {
    const count = Math.min(wanted, this.#chunk.length - this.#at);
    this.#chunk.copy(this.#partial, this.#have, this.#at, this.#at + count);
    this.#have += count;
    this.#at += count;
    return count === wanted;
  }
}

function checked(length: number): number {
  if (length > FRAME_MAX) throw new RangeError(`the peer announces a frame of ${length} bytes`);
  return length;
}

/** Puts frames together for one write. */
export class FrameBatch {
  #buffer = Buffer.allocUnsafe(BATCH_BYTES);
  #length = 0;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** @returns false when it must be taken first */
  add(frame: Uint8Array): boolean {
    const at = this.#length;
    if (at + LENGTH_BYTES + frame.length > this.#buffer.length) return false;
    this.#buffer.writeUInt32BE(frame.length, at);
    this.#buffer.set(frame, at + LENGTH_BYTES);
    this.#length = at + LENGTH_BYTES + frame.length;
    return true;
  }

  /** All that was added; the bytes are the caller's. */
  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.#length);
    const rest = this.#buffer.subarray(this.#length);
    // What is left of the buffer serves on as long as a frame fits.
    this.#buffer = rest.length >= LENGTH_BYTES + FRAME_MAX ? rest : Buffer.allocUnsafe(BATCH_BYTES);
    this.#length = 0;
    return taken;
  }
}
