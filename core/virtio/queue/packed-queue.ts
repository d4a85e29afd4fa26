/** A running packed virtqueue (virtio 1.3, section 2.8). */
import {
  PACKED_OFFSET_MASK,
  PVIRTQ_DESC_F_AVAIL,
  PVIRTQ_DESC_F_USED,
  PVIRTQ_EVENT_BYTES,
  PVIRTQ_EVENT_FLAGS_MASK,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  advance,
  isAvailable,
  packedRingBytes,
  passedEvent,
} from '../spec/packed-ring.ts';
import { VIRTQ_DESC_F_WRITE } from '../spec/split-ring.ts';
import { BaseQueue } from './base-queue.ts';
import type { QueueOptions } from './base-queue.ts';
import type { DescriptorChain } from './descriptor-chain.ts';
import { PackedChainParser } from './packed-chain.ts';
import { QueueFault } from './queue-fault.ts';
import type { QueueHook } from './queue-hook.ts';
import type { QueuePosition } from './running-queue.ts';

// 32-bit words of a descriptor: two of address, then these.
const WORDS = 4;
const LENGTH = 2;
const ID_AND_FLAGS = 3;

export class PackedQueue extends BaseQueue {
  readonly #eventIdx: boolean;
  /** The descriptor ring. */
  readonly #ring: Uint32Array<SharedArrayBuffer>;
  /** Event suppression structures, one word each: desc below, flags above. */
  readonly #driverEvent: Uint32Array<SharedArrayBuffer>;
  readonly #deviceEvent: Uint32Array<SharedArrayBuffer>;
  readonly #parser: PackedChainParser;

  /** Positions: offset, and the wrap counter above it. */
  #avail: number;
  #used: number;
  /** Descriptors between the two: the driver has no business there. */
  #slotsOut: number;
  /** Descriptors put since the last publish(). */
  #moved = 0;
  /** Available descriptors, from #avail on, of which whoever watches has been told. */
  #seen = 0;
  /** The first used descriptor of a batch is written last: the driver sees all of them or none (-1: none put). */
  #firstWord = -1;
  #firstLength = 0;
  #firstIdAndFlags = 0;

  constructor(options: QueueOptions) {
    super(options);
    const { memory, config } = options;
    const { size, descriptorArea, driverArea, deviceArea, indirect, eventIdx, position } = config;
    const buffer = memory.memory.buffer as SharedArrayBuffer;
    this.#eventIdx = eventIdx;
    this.#ring = new Uint32Array(buffer, memory.linear(descriptorArea, packedRingBytes(size)), WORDS * size);
    this.#driverEvent = new Uint32Array(buffer, memory.linear(driverArea, PVIRTQ_EVENT_BYTES), 1);
    this.#deviceEvent = new Uint32Array(buffer, memory.linear(deviceArea, PVIRTQ_EVENT_BYTES), 1);
    this.#parser = new PackedChainParser({ memory, descriptorArea, size, indirect });
    this.#avail = position.availIdx;
    this.#used = position.usedIdx;
    this.#slotsOut = distance(this.#used, this.#avail, size);
    this.stats.started(this.#avail, this.#used);
  }

  get position(): QueuePosition {
    return { availIdx: this.#avail, usedIdx: this.#used };
  }

  protected get availPosition(): number {
    return this.#avail;
  }

  protected get usedPosition(): number {
    return this.#used;
  }

  take(): DescriptorChain | null {
    const offset = this.#avail & PACKED_OFFSET_MASK;
    const wrap = this.#avail >>> 15;
    const idAndFlags = Atomics.load(this.#ring, WORDS * offset + ID_AND_FLAGS);
    if (!isAvailable(idAndFlags >>> 16, wrap)) return null;
    if (this.hook !== null) this.#see(this.hook);
    const chain = this.spareChain();
    this.#parser.parse(chain, offset, idAndFlags, wrap);
    this.#slotsOut += chain.slots;
    if (this.#slotsOut > this.size) {
      throw new QueueFault('too-many-in-flight', `more than ${this.size} descriptors made available at once`);
    }
    chain.position = this.#avail;
    this.#avail = advance(this.#avail, chain.slots, this.size);
    this.#seen = Math.max(0, this.#seen - chain.slots);
    return this.taken(chain);
  }

  /** Looks how far the driver has come, which a packed ring says at each descriptor only: for whoever watches. */
  #see(hook: QueueHook): void {
    if (this.#seen > 0) return;
    let position = this.#avail;
    while (this.#seen < this.size) {
      const idAndFlags = Atomics.load(this.#ring, WORDS * (position & PACKED_OFFSET_MASK) + ID_AND_FLAGS);
      if (!isAvailable(idAndFlags >>> 16, position >>> 15)) break;
      this.#seen++;
      position = advance(position, 1, this.size);
    }
    hook.available(this.#avail, this.#seen);
  }

  protected rewind(chain: DescriptorChain): void {
    this.#avail = chain.position;
    this.#slotsOut -= chain.slots;
  }

  protected ringIsEmpty(): boolean {
    const idAndFlags = Atomics.load(this.#ring, WORDS * (this.#avail & PACKED_OFFSET_MASK) + ID_AND_FLAGS);
    return !isAvailable(idAndFlags >>> 16, this.#avail >>> 15);
  }

  protected putUsed(id: number, written: number, slots: number): void {
    const word = WORDS * (this.#used & PACKED_OFFSET_MASK);
    // Section 2.8.3: VIRTQ_DESC_F_WRITE says that the length counts.
    const flags =
      (this.#used >>> 15 === 1 ? PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED : 0) | (written > 0 ? VIRTQ_DESC_F_WRITE : 0);
    const idAndFlags = (id | (flags << 16)) >>> 0;
    if (this.#firstWord < 0) {
      this.#firstWord = word;
      this.#firstLength = written;
      this.#firstIdAndFlags = idAndFlags;
    } else {
      this.#ring[word + LENGTH] = written;
      this.#ring[word + ID_AND_FLAGS] = idAndFlags;
    }
    this.#used = advance(this.#used, slots, this.size);
    this.#slotsOut -= slots;
    this.#moved += slots;
  }

  protected publish(): boolean {
    this.#ring[this.#firstWord + LENGTH] = this.#firstLength;
    Atomics.store(this.#ring, this.#firstWord + ID_AND_FLAGS, this.#firstIdAndFlags);
    const moved = this.#moved;
    this.#firstWord = -1;
    this.#moved = 0;
    return this.#driverWantsNotification(moved);
  }

  /** Section 2.8.10, for the `moved` descriptors before the used position. The reserved value means no suppression. */
  #driverWantsNotification(moved: number): boolean {
    const event = Atomics.load(this.#driverEvent, 0);
    const flags = (event >>> 16) & PVIRTQ_EVENT_FLAGS_MASK;
    if (flags === RING_EVENT_FLAGS_DISABLE) return false;
    if (flags !== RING_EVENT_FLAGS_DESC || !this.#eventIdx) return true;
    return passedEvent(event & 0xffff, this.#used, moved, this.size);
  }

  disableNotifications(): void {
    Atomics.store(this.#deviceEvent, 0, RING_EVENT_FLAGS_DISABLE << 16);
  }

  enableNotifications(): boolean {
    const event = this.#eventIdx ? this.#avail | (RING_EVENT_FLAGS_DESC << 16) : RING_EVENT_FLAGS_ENABLE << 16;
    Atomics.store(this.#deviceEvent, 0, event);
    return !this.isEmpty();
  }
}

/** Descriptors from one position to a later one. */
function distance(from: number, to: number, size: number): number {
  const sameWrap = ((from ^ to) & ~PACKED_OFFSET_MASK) === 0;
  return (to & PACKED_OFFSET_MASK) - (from & PACKED_OFFSET_MASK) + (sameWrap ? 0 : size);
}
