/**
 * The driver's side of a ring for the virtio-blk bench, as lean as can be: requests are laid out once, and made available
 * again and again. It polls and wants no interrupts. test/harness/mock-queue.ts is the driver that tests use.
 */
import type { GuestMemory } from '../../../core/memory/guest-memory.ts';
import * as packed from '../../../core/virtio/spec/packed-ring.ts';
import {
  VIRTQ_AVAIL_IDX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
  VIRTQ_USED_IDX,
  VIRTQ_USED_RING,
  availEventOffset,
  usedEventOffset,
} from '../../../core/virtio/spec/split-ring.ts';
import type { QueueAreas } from '../../../core/virtio/spec/split-ring.ts';

/** Descriptors of a request: header, data, status. */
export const REQUEST_DESCRIPTORS = 3;

export interface RequestBuffer {
  readonly address: number;
  readonly length: number;
  readonly writable: boolean;
}

export interface BenchRing {
  /** Lays request `i` out. Once for each, before the first submit(). */
  describe(i: number, buffers: readonly RequestBuffer[]): void;
  /** Makes request `i` available to a device that looks at it once publish() has been called. */
  submit(i: number): void;
  /** @returns whether the device wants a notification for what was submitted since the last time */
  publish(): boolean;
  /** The request that the device has used next, -1 when there is none. */
  take(): number;
  /** Asks to be notified of the next used request. @returns whether there is none yet */
  arm(): boolean;
}

interface RingOptions {
  readonly memory: GuestMemory;
  readonly areas: QueueAreas;
  /** Entries of the queue. */
  readonly size: number;
}

export class SplitBenchRing implements BenchRing {
  readonly #memory: GuestMemory;
  readonly #areas: QueueAreas;
  readonly #size: number;
  readonly #avail: Uint16Array<SharedArrayBuffer>;
  readonly #used: Uint16Array<SharedArrayBuffer>;
  readonly #usedWords: Uint32Array<SharedArrayBuffer>;
  #availIdx = 0;
  #published = 0;
  #usedIdx = 0;
  #usedSeen = 0;

  constructor({ memory, areas, size }: RingOptions) {
    const buffer = memory.memory.buffer as SharedArrayBuffer;
    this.#memory = memory;
    this.#areas = areas;
    this.#size = size;
    this.#avail = new Uint16Array(buffer, memory.linear(areas.driverArea, 2), usedEventOffset(size) / 2 + 1);
    this.#used = new Uint16Array(buffer, memory.linear(areas.deviceArea, 2), availEventOffset(size) / 2 + 1);
    this.#usedWords = new Uint32Array(buffer, memory.linear(areas.deviceArea, 4), VIRTQ_USED_RING / 4 + 2 * size);
  }

  describe(i: number, buffers: readonly RequestBuffer[]): void {
    for (const [k, { address, length, writable }] of buffers.entries()) {
      const index = REQUEST_DESCRIPTORS * i + k;
      const at = this.#areas.descriptorArea + index * VIRTQ_DESC_SIZE;
      const next = k < buffers.length - 1;
      this.#memory.writeU64(at, BigInt(address));
      this.#memory.writeU32(at + 8, length);
      this.#memory.writeU16(at + 12, (writable ? VIRTQ_DESC_F_WRITE : 0) | (next ? VIRTQ_DESC_F_NEXT : 0));
      this.#memory.writeU16(at + 14, next ? index + 1 : 0);
    }
  }

  submit(i: number): void {
    this.#avail[VIRTQ_AVAIL_RING / 2 + (this.#availIdx & (this.#size - 1))] = REQUEST_DESCRIPTORS * i;
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
  }

  publish(): boolean {
    const added = (this.#availIdx - this.#published) & 0xffff;
    this.#published = this.#availIdx;
    Atomics.store(this.#avail, VIRTQ_AVAIL_IDX / 2, this.#availIdx);
    const event = Atomics.load(this.#used, availEventOffset(this.#size) / 2);
    return ((this.#availIdx - event - 1) & 0xffff) < added;
  }

  take(): number {
    if (this.#usedIdx === this.#usedSeen) {
      this.#usedSeen = Atomics.load(this.#used, VIRTQ_USED_IDX / 2);
      if (this.#usedIdx === this.#usedSeen) return -1;
    }
    const head = this.#usedWords[VIRTQ_USED_RING / 4 + 2 * (this.#usedIdx & (this.#size - 1))];
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    return head / REQUEST_DESCRIPTORS;
  }

  arm(): boolean {
    Atomics.store(this.#avail, usedEventOffset(this.#size) / 2, this.#usedIdx);
    return Atomics.load(this.#used, VIRTQ_USED_IDX / 2) === this.#usedIdx;
  }
}

// 32-bit words of a descriptor, and the last of them.
const WORDS = VIRTQ_DESC_SIZE / 4;
const ID_AND_FLAGS = 3;

export class PackedBenchRing implements BenchRing {
  readonly #size: number;
  readonly #ring: Uint32Array<SharedArrayBuffer>;
  readonly #driverEvent: Uint32Array<SharedArrayBuffer>;
  readonly #deviceEvent: Uint32Array<SharedArrayBuffer>;
  /** Of request i from 3 * WORDS * i on: its descriptors but for the bits that say available. */
  readonly #templates: Uint32Array;
  #next = packed.PACKED_START;
  #used = packed.PACKED_START;
  #added = 0;

  constructor({ memory, areas, size }: RingOptions) {
    const buffer = memory.memory.buffer as SharedArrayBuffer;
    this.#size = size;
    this.#ring = new Uint32Array(buffer, memory.linear(areas.descriptorArea, 4), WORDS * size);
    this.#driverEvent = new Uint32Array(buffer, memory.linear(areas.driverArea, 4), 1);
    this.#deviceEvent = new Uint32Array(buffer, memory.linear(areas.deviceArea, 4), 1);
    this.#templates = new Uint32Array(WORDS * size);
    Atomics.store(this.#driverEvent, 0, packed.RING_EVENT_FLAGS_DISABLE << 16);
  }

  describe(i: number, buffers: readonly RequestBuffer[]): void {
    for (const [k, { address, length, writable }] of buffers.entries()) {
      const word = WORDS * (REQUEST_DESCRIPTORS * i + k);
      const flags = (writable ? VIRTQ_DESC_F_WRITE : 0) | (k < buffers.length - 1 ? VIRTQ_DESC_F_NEXT : 0);
      this.#templates.set([address % 2 ** 32, Math.floor(address / 2 ** 32), length, i | (flags << 16)], word);
    }
  }

  /** As Linux does it: each request is available from here on, its first descriptor last. */
  submit(i: number): void {
    const ring = this.#ring;
    const first = this.#next;
    const from = WORDS * REQUEST_DESCRIPTORS * i;
    for (let k = 0; k < REQUEST_DESCRIPTORS; k++) {
      const source = from + WORDS * k;
      const to = WORDS * (this.#next & packed.PACKED_OFFSET_MASK);
      for (let word = 0; word < ID_AND_FLAGS; word++) ring[to + word] = this.#templates[source + word];
      if (k > 0) ring[to + ID_AND_FLAGS] = this.#available(source, this.#next);
      this.#next = packed.advance(this.#next, 1, this.#size);
    }
    const word = WORDS * (first & packed.PACKED_OFFSET_MASK) + ID_AND_FLAGS;
    Atomics.store(ring, word, this.#available(from, first));
    this.#added += REQUEST_DESCRIPTORS;
  }

  /** A template's id and flags, available at a position. */
  #available(template: number, position: number): number {
    const state = position & packed.PACKED_WRAP ? packed.PVIRTQ_DESC_F_AVAIL : packed.PVIRTQ_DESC_F_USED;
    return (this.#templates[template + ID_AND_FLAGS] | (state << 16)) >>> 0;
  }

  publish(): boolean {
    const added = this.#added;
    this.#added = 0;
    const event = Atomics.load(this.#deviceEvent, 0);
    const flags = (event >>> 16) & packed.PVIRTQ_EVENT_FLAGS_MASK;
    if (flags === packed.RING_EVENT_FLAGS_DISABLE) return false;
    if (flags !== packed.RING_EVENT_FLAGS_DESC) return true;
    return packed.passedEvent(event & 0xffff, this.#next, added, this.#size);
  }

  take(): number {
    const last = Atomics.load(this.#ring, WORDS * (this.#used & packed.PACKED_OFFSET_MASK) + ID_AND_FLAGS);
    const state = (last >>> 16) & (packed.PVIRTQ_DESC_F_AVAIL | packed.PVIRTQ_DESC_F_USED);
    const both = packed.PVIRTQ_DESC_F_AVAIL | packed.PVIRTQ_DESC_F_USED;
    if (state !== (this.#used & packed.PACKED_WRAP ? both : 0)) return -1;
    this.#used = packed.advance(this.#used, REQUEST_DESCRIPTORS, this.#size);
    return last & 0xffff;
  }

  arm(): boolean {
    // The position is that of the next used descriptor; its wrap counter is in bit 15.
    Atomics.store(this.#driverEvent, 0, this.#used | (packed.RING_EVENT_FLAGS_DESC << 16));
    const word = WORDS * (this.#used & packed.PACKED_OFFSET_MASK) + ID_AND_FLAGS;
    const state = (Atomics.load(this.#ring, word) >>> 16) & (packed.PVIRTQ_DESC_F_AVAIL | packed.PVIRTQ_DESC_F_USED);
    const both = packed.PVIRTQ_DESC_F_AVAIL | packed.PVIRTQ_DESC_F_USED;
    return state !== (this.#used & packed.PACKED_WRAP ? both : 0);
  }
}
