/**
 * Byte rings in shared memory between the guest's side of a character device (a hart's UART code, an I/O worker's console)
 * and the control thread. One producer and one consumer each; layout in core/worker/layout.ts (RING_*), which the UART's
 * AssemblyScript follows too.
 *
 * Waking: who finds nothing to do says so in a word of the ring and looks once more; the other side, having moved bytes,
 * takes the word back and wakes it. All index and want words are sequentially consistent, so one of the two sees the other.
 */
import {
  CHARDEV_BASE,
  CHARDEV_STRIDE,
  MAX_CHARDEVS,
  RING_DATA,
  RING_HEAD,
  RING_IN,
  RING_OUT,
  RING_SIZE,
  RING_TAIL,
  RING_WANT_DATA,
  RING_WANT_ROOM,
} from '../worker/layout.ts';

const HEAD = RING_HEAD / 4;
const TAIL = RING_TAIL / 4;
const WANT_DATA = RING_WANT_DATA / 4;
const WANT_ROOM = RING_WANT_ROOM / 4;
const MASK = RING_SIZE - 1;

/** A waiting producer is woken when this much is free, so that a slow consumer does not wake it for every byte. */
const ROOM_WORTH_WAKING = RING_SIZE / 2;

class Ring {
  protected readonly words: Int32Array<SharedArrayBuffer>;
  protected readonly data: Uint8Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer, base: number) {
    this.words = new Int32Array(buffer, base, RING_DATA / 4);
    this.data = new Uint8Array(buffer, base + RING_DATA, RING_SIZE);
  }

  /** Bytes in the ring. */
  get length(): number {
    return (Atomics.load(this.words, HEAD) - Atomics.load(this.words, TAIL)) >>> 0;
  }

  /** Takes back a want word. */
  protected take(word: number): boolean {
    return Atomics.load(this.words, word) !== 0 && Atomics.exchange(this.words, word, 0) !== 0;
  }
}

/** The producer's end. */
export class RingWriter extends Ring {
  /** Bytes that can be written now. */
  get room(): number {
    return RING_SIZE - this.length;
  }

  /**
   * @returns bytes accepted, from the start; the rest is the caller's still
   */
  write(source: Uint8Array): number {
    const count = Math.min(source.length, this.room);
    if (count === 0) return 0;
    const head = Atomics.load(this.words, HEAD);
    const at = head & MASK;
    const first = Math.min(count, RING_SIZE - at);
    this.data.set(source.subarray(0, first), at);
    if (count > first) this.data.set(source.subarray(first, count), 0);
    Atomics.store(this.words, HEAD, (head + count) | 0);
    return count;
  }

  /** After a write: whether the consumer asked to be woken. Asks no more. */
  takeWantData(): boolean {
    return this.take(WANT_DATA);
  }

  /**
   * Asks to be woken when there is room.
   *
   * @returns whether there is room already; then nothing is asked
   */
  wantRoom(): boolean {
    Atomics.store(this.words, WANT_ROOM, 1);
    if (this.room < ROOM_WORTH_WAKING) return false;
    Atomics.store(this.words, WANT_ROOM, 0);
    return true;
  }
}

/** The consumer's end. */
export class RingReader extends Ring {
  /**
   * Moves bytes out of the ring.
   *
   * @returns the number moved: what the ring has, at most target.length
   */
  read(target: Uint8Array): number {
    const count = Math.min(target.length, this.length);
    if (count === 0) return 0;
    const tail = Atomics.load(this.words, TAIL);
    const at = tail & MASK;
    const first = Math.min(count, RING_SIZE - at);
    target.set(this.data.subarray(at, at + first));
    if (count > first) target.set(this.data.subarray(0, count - first), first);
    Atomics.store(this.words, TAIL, (tail + count) | 0);
    return count;
  }

  /** After a read: whether the producer waits for room and there is enough to wake it. Asks no more. */
  takeWantRoom(): boolean {
    return RING_SIZE - this.length >= ROOM_WORTH_WAKING && this.take(WANT_ROOM);
  }

  /**
   * Asks to be woken when there is data.
   *
   * @returns whether there is data already; then nothing is asked
   */
  wantData(): boolean {
    Atomics.store(this.words, WANT_DATA, 1);
    if (this.length === 0) return false;
    this.stopWantingData();
    return true;
  }

  /** The consumer is awake: it need not be woken. */
  stopWantingData(): void {
    Atomics.store(this.words, WANT_DATA, 0);
  }
}

function ringBase(index: number, direction: number): number {
  if (!Number.isInteger(index) || index < 0 || index >= MAX_CHARDEVS)
    throw new RangeError(`no character device ${index}`);
  return CHARDEV_BASE + index * CHARDEV_STRIDE + direction;
}

/** Linear address of the ring towards the host. */
export function outRingBase(index: number): number {
  return ringBase(index, RING_OUT);
}

/** Linear address of the ring towards the guest. */
export function inRingBase(index: number): number {
  return ringBase(index, RING_IN);
}

/** Empties both rings. Nothing may be using them. */
export function resetChardevRings(buffer: SharedArrayBuffer, index: number): void {
  for (const base of [outRingBase(index), inRingBase(index)]) new Int32Array(buffer, base, RING_DATA / 4).fill(0);
}
