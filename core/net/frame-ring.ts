/**
 * A ring of frames in shared memory: one thread writes, one reads, neither ever waits. A network card's I/O worker and the
 * network worker have one in each direction.
 *
 * A record is 16 bytes of header, then the frame, all in one piece, padded to 8 bytes; where the rest of the ring is too
 * short for one, a header that says so sends the reader to its start. Indices count bytes modulo 2^32.
 */
import type { Frame, FrameMeta } from './frame.ts';
import { FRAME_MAX } from './frame.ts';

/** Bytes of records. */
const RING_BYTES = 1 << 20;
const MASK = RING_BYTES - 1;
const ALIGN = 8;

// Words, the two sides' on cache lines of their own.
const HEAD = 0;
/** The writer found the ring full and wants waking. */
const WANT_ROOM = 1;
const TAIL = 16;
/** The reader takes frames at all; without it the writer drops them. */
const OPEN = 17;
/** Linear address of the wait block of an I/O worker that reads or writes here. */
const WAIT_BLOCK = 18;
const DATA = 128;

const RECORD_HEADER = 16;
const SKIP = 0xffff_ffff;

/** A waiting writer is woken when this much is free. */
const ROOM_WORTH_WAKING = RING_BYTES / 2;

export function createFrameRing(): SharedArrayBuffer {
  return new SharedArrayBuffer(DATA + RING_BYTES);
}

class RingEnd {
  protected readonly words: Int32Array<SharedArrayBuffer>;
  protected readonly data: DataView<SharedArrayBuffer>;
  protected readonly buffer: SharedArrayBuffer;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.words = new Int32Array(buffer, 0, DATA / 4);
    this.data = new DataView(buffer, DATA, RING_BYTES);
  }

  /** Bytes of records in the ring. */
  protected get used(): number {
    return (Atomics.load(this.words, HEAD) - Atomics.load(this.words, TAIL)) >>> 0;
  }

  get isEmpty(): boolean {
    return this.used === 0;
  }

  /** Linear address of the I/O worker's wait block, 0 when there is none yet. */
  get waitBlock(): number {
    return Atomics.load(this.words, WAIT_BLOCK) >>> 0;
  }

  set waitBlock(address: number) {
    Atomics.store(this.words, WAIT_BLOCK, address | 0);
  }

  get isOpen(): boolean {
    return Atomics.load(this.words, OPEN) !== 0;
  }
}

export class FrameRingWriter extends RingEnd {
  #head: number;
  /** Where the record that is being written begins, and what it takes with a skip before it. */
  #record = 0;
  #advance = 0;

  constructor(buffer: SharedArrayBuffer) {
    super(buffer);
    this.#head = Atomics.load(this.words, HEAD);
  }

  /**
   * Room for a frame.
   *
   * @param length bytes, 0..FRAME_MAX
   * @returns where its bytes go, until commit(); null when there is no room now
   */
  reserve(length: number): Uint8Array<SharedArrayBuffer> | null {
    if (length > FRAME_MAX) throw new RangeError(`a frame of ${length} bytes`);
    const bytes = recordBytes(length);
    const at = this.#head & MASK;
    const skip = at + bytes > RING_BYTES ? RING_BYTES - at : 0;
    if (this.used + skip + bytes > RING_BYTES) return null;
    if (skip > 0) this.data.setUint32(at, SKIP, true);
    this.#record = skip > 0 ? 0 : at;
    this.#advance = skip + bytes;
    this.data.setUint32(this.#record, length, true);
    return new Uint8Array(this.buffer, DATA + this.#record + RECORD_HEADER, length);
  }

  /** The reserved frame is whole: the reader sees it from now on. */
  commit({ flags, gsoType, hdrLen, gsoSize, csumStart, csumOffset }: FrameMeta): void {
    const { data } = this;
    const at = this.#record;
    data.setUint8(at + 4, flags);
    data.setUint8(at + 5, gsoType);
    data.setUint16(at + 6, hdrLen, true);
    data.setUint16(at + 8, gsoSize, true);
    data.setUint16(at + 10, csumStart, true);
    data.setUint16(at + 12, csumOffset, true);
    this.#head = (this.#head + this.#advance) | 0;
    Atomics.store(this.words, HEAD, this.#head);
  }

  /** Writes a frame; false when there is no room now. */
  write(frame: Frame): boolean {
    const bytes = this.reserve(frame.data.length);
    if (!bytes) return false;
    bytes.set(frame.data);
    this.commit(frame);
    return true;
  }

  /**
   * Asks to be woken when there is room.
   *
   * @returns whether there is room for any frame already; then nothing is asked
   */
  wantRoom(): boolean {
    Atomics.store(this.words, WANT_ROOM, 1);
    if (RING_BYTES - this.used < ROOM_WORTH_WAKING) return false;
    Atomics.store(this.words, WANT_ROOM, 0);
    return true;
  }

  /** It has asked, and has not been woken. */
  get waits(): boolean {
    return Atomics.load(this.words, WANT_ROOM) !== 0;
  }
}

export class FrameRingReader extends RingEnd {
  #next = 0;

  /**
   * The first frame in the ring; its bytes are the ring's and may be changed, until release().
   *
   * @returns false when there is none
   */
  peek(frame: Frame): boolean {
    let tail = Atomics.load(this.words, TAIL);
    if (Atomics.load(this.words, HEAD) === tail) return false;
    const { data } = this;
    let at = tail & MASK;
    let length = data.getUint32(at, true);
    if (length === SKIP) {
      tail = (tail + RING_BYTES - at) | 0;
      at = 0;
      length = data.getUint32(at, true);
    }
    frame.flags = data.getUint8(at + 4);
    frame.gsoType = data.getUint8(at + 5);
    frame.hdrLen = data.getUint16(at + 6, true);
    frame.gsoSize = data.getUint16(at + 8, true);
    frame.csumStart = data.getUint16(at + 10, true);
    frame.csumOffset = data.getUint16(at + 12, true);
    frame.data = new Uint8Array(this.buffer, DATA + at + RECORD_HEADER, length);
    this.#next = (tail + recordBytes(length)) | 0;
    return true;
  }

  /** Lets go of the frame that was peeked at. */
  release(): void {
    Atomics.store(this.words, TAIL, this.#next);
  }

  /** Whether a writer waits for room and there is enough to wake it. It asks no more. */
  takeWantRoom(): boolean {
    if (Atomics.load(this.words, WANT_ROOM) === 0 || RING_BYTES - this.used < ROOM_WORTH_WAKING) return false;
    return Atomics.exchange(this.words, WANT_ROOM, 0) !== 0;
  }

  /** Begins to take frames, those that come from now on. */
  open(): void {
    this.clear();
    Atomics.store(this.words, OPEN, 1);
  }

  /** Takes none any more; a writer that waits is to be woken, if the answer is true. */
  close(): boolean {
    Atomics.store(this.words, OPEN, 0);
    this.clear();
    return Atomics.exchange(this.words, WANT_ROOM, 0) !== 0;
  }

  /** Drops what is there. */
  clear(): void {
    Atomics.store(this.words, TAIL, Atomics.load(this.words, HEAD));
  }
}

function recordBytes(length: number): number {
  return Math.ceil((RECORD_HEADER + length) / ALIGN) * ALIGN;
}
