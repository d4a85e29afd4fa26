/**
 * What the two ends of a vsock device share: the I/O worker, which speaks to the guest's driver and never waits for
 * sockets, and the socket worker, which has an event loop and never touches guest RAM. For each connection there is a slot
 * with a byte ring each way and a word of state for each end, which only that end writes.
 *
 * A slot belongs to the end that begins connections in it (guest: the first half, host: the second half):
 *
 *     owner REQUEST -> peer OPEN or CLOSED; each end CLOSED when it is done;
 *     both CLOSED: the owner says FREE, then the peer says FREE, then it may be used again.
 *
 * Whoever has changed something marks the slot for the other end and wakes it. All words are sequentially consistent.
 */

export const SLOTS = 256;
/** Slots 0 to this are for connections that the guest begins, the others for those of the host. */
export const GUEST_SLOTS = SLOTS / 2;
/** Bytes in a ring. */
export const RING_BYTES = 64 * 1024;
const RING_MASK = RING_BYTES - 1;

// States of an end, in the low bits of its word.
export const FREE = 0;
export const REQUEST = 1;
export const OPEN = 2;
export const CLOSED = 3;
export const STATE_MASK = 3;
/** Nothing comes from this end any more behind what is in its ring. */
export const FLAG_EOF = 4;
/** This end reads no more. */
export const FLAG_DEAF = 8;

// Words of a slot.
const GUEST_WORD = 0;
const HOST_WORD = 1;
const PORT_WORD = 2;
/** Heads and tails of the rings: towards the host, towards the guest. */
const TO_HOST_WORD = 4;
const TO_GUEST_WORD = 6;
const SLOT_WORDS = 8;

// Words of the device.
const WAIT_BLOCK_WORD = 0;
const WAKE_WORD = 1;
const DIRTY_HOST_WORD = 2;
const DIRTY_GUEST_WORD = DIRTY_HOST_WORD + SLOTS / 32;
const HEADER_WORDS = 32;

const DATA = (HEADER_WORDS + SLOTS * SLOT_WORDS) * 4;
/** Memory that was never used costs nothing. */
export const SHARED_BYTES = DATA + SLOTS * 2 * RING_BYTES;

/** A byte ring: one writer, one reader. */
export class SlotRing {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #data: Uint8Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer, word: number, data: number) {
    this.#words = new Int32Array(buffer, word * 4, 2);
    this.#data = new Uint8Array(buffer, data, RING_BYTES);
  }

  /** Only while neither end uses it. */
  clear(): void {
    Atomics.store(this.#words, 0, 0);
    Atomics.store(this.#words, 1, 0);
  }

  /** Bytes ever read, modulo 2^32. */
  get tail(): number {
    return Atomics.load(this.#words, 1) >>> 0;
  }

  get length(): number {
    return (Atomics.load(this.#words, 0) - Atomics.load(this.#words, 1)) >>> 0;
  }

  get room(): number {
    return RING_BYTES - this.length;
  }

  /** @returns bytes taken, from the start */
  write(source: Uint8Array): number {
    const count = Math.min(source.length, this.room);
    if (count === 0) return 0;
    const head = Atomics.load(this.#words, 0);
    const at = head & RING_MASK;
    const first = Math.min(count, RING_BYTES - at);
    this.#data.set(source.subarray(0, first), at);
    if (count > first) this.#data.set(source.subarray(first, count), 0);
    Atomics.store(this.#words, 0, (head + count) | 0);
    return count;
  }

  /** @returns bytes moved: what there is, at most target.length */
  read(target: Uint8Array): number {
    const count = Math.min(target.length, this.length);
    if (count === 0) return 0;
    const tail = Atomics.load(this.#words, 1);
    const at = tail & RING_MASK;
    const first = Math.min(count, RING_BYTES - at);
    target.set(this.#data.subarray(at, at + first));
    if (count > first) target.set(this.#data.subarray(0, count - first), first);
    Atomics.store(this.#words, 1, (tail + count) | 0);
    return count;
  }
}

export type End = 'guest' | 'host';

/** One slot as one end sees it. */
export class Slot {
  readonly index: number;
  readonly toHost: SlotRing;
  readonly toGuest: SlotRing;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #own: number;
  readonly #other: number;

  constructor(buffer: SharedArrayBuffer, index: number, end: End) {
    const base = HEADER_WORDS + index * SLOT_WORDS;
    const data = DATA + index * 2 * RING_BYTES;
    this.index = index;
    this.#words = new Int32Array(buffer, base * 4, SLOT_WORDS);
    this.#own = end === 'guest' ? GUEST_WORD : HOST_WORD;
    this.#other = end === 'guest' ? HOST_WORD : GUEST_WORD;
    this.toHost = new SlotRing(buffer, base + TO_HOST_WORD, data);
    this.toGuest = new SlotRing(buffer, base + TO_GUEST_WORD, data + RING_BYTES);
  }

  get own(): number {
    return Atomics.load(this.#words, this.#own);
  }
  set own(value: number) {
    Atomics.store(this.#words, this.#own, value);
  }
  get other(): number {
    return Atomics.load(this.#words, this.#other);
  }

  /**
   * The port of the side that is called; and, when the guest has said yes to the host, the port by which it knows it.
   */
  get port(): number {
    return Atomics.load(this.#words, PORT_WORD) >>> 0;
  }
  set port(value: number) {
    Atomics.store(this.#words, PORT_WORD, value | 0);
  }

  get isFree(): boolean {
    return this.own === FREE && this.other === FREE;
  }
}

/** The device's shared memory as one end sees it. */
export class SharedSlots {
  readonly end: End;
  readonly slots: readonly Slot[];
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer, end: End) {
    this.end = end;
    this.#words = new Int32Array(buffer, 0, HEADER_WORDS);
    this.slots = Array.from({ length: SLOTS }, (_, index) => new Slot(buffer, index, end));
  }

  owns(slot: Slot): boolean {
    return slot.index < GUEST_SLOTS === (this.end === 'guest');
  }

  /** A free slot of this end, its rings empty; null when all are in use. */
  allocate(): Slot | null {
    const [from, to] = this.end === 'guest' ? [0, GUEST_SLOTS] : [GUEST_SLOTS, SLOTS];
    for (let index = from; index < to; index++) {
      const slot = this.slots[index];
      if (!slot.isFree) continue;
      slot.toHost.clear();
      slot.toGuest.clear();
      return slot;
    }
    return null;
  }

  /** When both ends are done with a slot, gives this end's part of it back. Whether anything has changed. */
  settle(slot: Slot): boolean {
    const other = slot.other & STATE_MASK;
    if (slot.own === FREE && other === CLOSED && !this.owns(slot)) {
      // Called and given up before this end has looked.
      slot.own = CLOSED;
      this.mark(slot);
      return true;
    }
    if ((slot.own & STATE_MASK) !== CLOSED) return false;
    if (other !== (this.owns(slot) ? CLOSED : FREE)) return false;
    slot.own = FREE;
    this.mark(slot);
    return true;
  }

  /** Marks a slot for the other end, which is to be woken then. */
  mark(slot: Slot): void {
    const base = this.end === 'guest' ? DIRTY_HOST_WORD : DIRTY_GUEST_WORD;
    Atomics.or(this.#words, base + (slot.index >> 5), 1 << (slot.index & 31));
  }

  get hasMarks(): boolean {
    const base = this.end === 'guest' ? DIRTY_GUEST_WORD : DIRTY_HOST_WORD;
    for (let i = 0; i < SLOTS / 32; i++) if (Atomics.load(this.#words, base + i) !== 0) return true;
    return false;
  }

  /** The slots that the other end has marked, each once. */
  takeMarks(use: (slot: Slot) => void): void {
    const base = this.end === 'guest' ? DIRTY_GUEST_WORD : DIRTY_HOST_WORD;
    for (let i = 0; i < SLOTS / 32; i++) {
      if (Atomics.load(this.#words, base + i) === 0) continue;
      let bits = Atomics.exchange(this.#words, base + i, 0);
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits & -bits);
        bits &= bits - 1;
        use(this.slots[i * 32 + bit]);
      }
    }
  }

  /** Linear address of the I/O worker's wait block; 0 before there is one. */
  get waitBlock(): number {
    return Atomics.load(this.#words, WAIT_BLOCK_WORD) >>> 0;
  }
  set waitBlock(value: number) {
    Atomics.store(this.#words, WAIT_BLOCK_WORD, value | 0);
  }

  wakeHost(): void {
    Atomics.add(this.#words, WAKE_WORD, 1);
    Atomics.notify(this.#words, WAKE_WORD);
  }

  /** For the socket worker: how often it was woken, and the next time that it is. */
  get wakes(): number {
    return Atomics.load(this.#words, WAKE_WORD);
  }
  async nextWake(seen: number): Promise<void> {
    const wait = Atomics.waitAsync(this.#words, WAKE_WORD, seen);
    if (wait.async) await wait.value;
  }
}
