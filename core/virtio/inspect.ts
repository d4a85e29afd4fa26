/**
 * A queue's ring for people: slots with their chains in order, live ones told from what is left over. What is available is
 * read from guest memory, where it stands until the device takes it; what the device has is what its worker says it has,
 * because rings do not tell that: entries of both are overwritten while buffers are out.
 */
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { ConfiguredQueue } from './queue/configured-queue.ts';
import { CHAIN_MAX, DescriptorChain } from './queue/descriptor-chain.ts';
import { PackedChainParser } from './queue/packed-chain.ts';
import { QueueFault } from './queue/queue-fault.ts';
import { startPosition } from './queue/running-queue.ts';
import type { HeldChain, QueuePosition } from './queue/running-queue.ts';
import { SplitChainParser } from './queue/split-chain.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_RING_PACKED, hasFeature } from './spec/features.ts';
import {
  DESCRIPTOR_FLAGS,
  PACKED_OFFSET_MASK,
  PVIRTQ_DESC_FLAGS,
  PVIRTQ_DESC_ID,
  PVIRTQ_EVENT_FLAGS_MASK,
  advance,
  isAvailable,
} from './spec/packed-ring.ts';
import {
  VIRTQ_AVAIL_FLAGS,
  VIRTQ_AVAIL_IDX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_FLAGS,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_NEXT,
  VIRTQ_DESC_SIZE,
  VIRTQ_USED_FLAGS,
  VIRTQ_USED_IDX,
  availEventOffset,
  usedEventOffset,
} from './spec/split-ring.ts';

/** One slot of a ring. */
export interface RingElement {
  readonly packed: boolean;
  /** Of the available ring; packed: of the descriptor ring. */
  readonly slot: number;
  /** Index of the chain's first descriptor (split) or its buffer id (packed); null: the slot holds nothing of meaning. */
  readonly head: number | null;
  /**
   * available: the driver has made it available and the device has not taken it. in-flight: the device has it. free:
   * neither, and what stands in memory is left over.
   */
  readonly state: 'available' | 'in-flight' | 'free';
  /** Of a live chain, in its order; those of an indirect table stand in the place of the one that refers to it. */
  readonly descriptors: readonly RingDescriptor[];
  /** The ring's words; those of a packed ring are the flags and positions of its event suppression. */
  readonly avail: { readonly flags: number; readonly idx: number | null; readonly event: number | null };
  readonly used: { readonly flags: number; readonly idx: number | null; readonly event: number | null };
  /** Packed: the wrap counters where the device stands. */
  readonly wrap: { readonly driver: boolean; readonly device: boolean } | null;
  /** What the driver did wrong in this chain, one line. */
  readonly problem: string | null;
}

export interface RingDescriptor {
  /** In its table; of a chain that the driver has overwritten, its place in the chain. */
  readonly index: number;
  /** In an indirect table. */
  readonly indirect: boolean;
  readonly address: bigint;
  readonly length: number;
  /** QEMU's names: next, write, indirect, avail, used. */
  readonly flags: readonly string[];
}

export interface InspectOptions {
  /** Sound (problem() is null) and set up. */
  queue: ConfiguredQueue;
  memory: GuestMemory;
  /** Negotiated. */
  features: bigint;
  /** Where the device stands; null: at the start. */
  position: QueuePosition | null;
  /** What it has. */
  held: readonly HeldChain[];
}

/** All live chains: what the device has, longest first, then what it takes next, in order. */
export function inspectQueue(options: InspectOptions): RingElement[] {
  return new Inspector(options).live();
}

/**
 * @param slot 0 to the queue's size - 1; null: what the device takes next
 */
export function inspectSlot(options: InspectOptions, slot: number | null): RingElement {
  const inspector = new Inspector(options);
  const wanted = slot ?? inspector.next;
  // Of a slot that has been used again while its first chain is out, the newest counts.
  return inspector.live().findLast((element) => element.slot === wanted) ?? inspector.free(wanted);
}

class Inspector {
  readonly #options: InspectOptions;
  readonly #packed: boolean;
  readonly #position: QueuePosition;
  readonly #size: number;

  constructor(options: InspectOptions) {
    this.#options = options;
    this.#packed = hasFeature(options.features, VIRTIO_F_RING_PACKED);
    this.#position = options.position ?? startPosition(this.#packed);
    this.#size = options.queue.size;
  }

  /** The slot that the device looks at next. */
  get next(): number {
    return this.#slotOf(this.#position.availIdx);
  }

  #slotOf(position: number): number {
    return this.#packed ? position & PACKED_OFFSET_MASK : position & (this.#size - 1);
  }

  live(): RingElement[] {
    const oldestFirst = this.#options.held.toSorted((a, b) => this.#age(b) - this.#age(a));
    return [
      ...oldestFirst.map((chain) => this.#heldElement(chain)),
      ...(this.#packed ? this.#availablePacked() : this.#availableSplit()),
    ];
  }

  /** How many entries of the ring the device has gone on since it took a chain. */
  #age({ position }: HeldChain): number {
    const { availIdx } = this.#position;
    if (!this.#packed) return (availIdx - position) & 0xffff;
    const back = (availIdx & PACKED_OFFSET_MASK) - (position & PACKED_OFFSET_MASK);
    return (availIdx ^ position) & ~PACKED_OFFSET_MASK ? back + this.#size : back;
  }

  free(slot: number): RingElement {
    return this.#element(slot, null, 'free', [], null);
  }

  #availableSplit(): RingElement[] {
    const { queue, memory } = this.#options;
    const { driverArea } = queue.areas;
    const elements: RingElement[] = [];
    let idx = this.#position.availIdx;
    const end = memory.loadU16(driverArea + VIRTQ_AVAIL_IDX);
    // An index that has jumped says nothing about the ring.
    if (((end - idx) & 0xffff) > this.#size) return [];
    for (; idx !== end; idx = (idx + 1) & 0xffff) {
      const slot = this.#slotOf(idx);
      const head = memory.readU16(driverArea + VIRTQ_AVAIL_RING + 2 * slot);
      elements.push(this.#decoded(slot, head, 'available'));
    }
    return elements;
  }

  #availablePacked(): RingElement[] {
    const { queue, memory } = this.#options;
    const elements: RingElement[] = [];
    let position = this.#position.availIdx;
    for (let seen = 0; seen < this.#size;) {
      const at = queue.areas.descriptorArea + VIRTQ_DESC_SIZE * this.#slotOf(position);
      if (!isAvailable(memory.loadU16(at + PVIRTQ_DESC_FLAGS), position >>> 15)) break;
      const element = this.#decoded(this.#slotOf(position), position, 'available');
      elements.push(element);
      // What follows a broken list is not known.
      if (element.problem !== null) break;
      const slots = element.descriptors.some(({ indirect }) => indirect) ? 1 : element.descriptors.length;
      position = advance(position, slots, this.#size);
      seen += slots;
    }
    return elements;
  }

  #heldElement({ head, position, readable, writable }: HeldChain): RingElement {
    const slot = this.#slotOf(position);
    const decoded = this.#decoded(slot, this.#packed ? position : head, 'in-flight');
    const ranges = [
      ...readable.map((range) => ({ ...range, flags: [] as string[] })),
      ...writable.map((range) => ({ ...range, flags: ['write'] })),
    ];
    const same =
      decoded.descriptors.length === ranges.length &&
      decoded.descriptors.every(
        ({ address, length }, i) => address === BigInt(ranges[i].address) && length === ranges[i].length,
      );
    if (same) return { ...decoded, head, problem: null };
    const descriptors = ranges.map(({ address, length, flags }, index) => ({
      index,
      indirect: false,
      address: BigInt(address),
      length,
      flags,
    }));
    return this.#element(slot, head, 'in-flight', descriptors, null);
  }

  /** @param at head of a split chain, position of a packed one */
  #decoded(slot: number, at: number, state: RingElement['state']): RingElement {
    const { descriptors, id } = this.#packed ? this.#walkPacked(at) : { descriptors: this.#walkSplit(at), id: at };
    return this.#element(slot, id, state, descriptors, this.#problem(at));
  }

  /** What the device itself would say. */
  #problem(at: number): string | null {
    const { queue, memory, features } = this.#options;
    const { descriptorArea } = queue.areas;
    const indirect = hasFeature(features, VIRTIO_F_INDIRECT_DESC);
    const options = { memory, descriptorArea, size: this.#size, indirect };
    const chain = new DescriptorChain(memory);
    try {
      if (this.#packed) {
        const slot = at & PACKED_OFFSET_MASK;
        const word = memory.loadU32(descriptorArea + VIRTQ_DESC_SIZE * slot + PVIRTQ_DESC_ID);
        new PackedChainParser(options).parse(chain, slot, word, at >>> 15);
      } else {
        new SplitChainParser(options).parse(chain, at);
      }
      return null;
    } catch (error) {
      if (error instanceof QueueFault) return `${error.message} (${error.kind})`;
      throw error;
    }
  }

  /** As far as it goes. */
  #walkSplit(head: number): RingDescriptor[] {
    const { queue, memory } = this.#options;
    const found: RingDescriptor[] = [];
    let [table, entries, index, indirect, seen] = [queue.areas.descriptorArea, this.#size, head, false, 0];
    while (index < entries && seen++ < entries && found.length < CHAIN_MAX) {
      const at = table + index * VIRTQ_DESC_SIZE;
      const [address, length] = [memory.readU64(at), memory.readU32(at + VIRTQ_DESC_LEN)];
      const flags = memory.readU16(at + VIRTQ_DESC_FLAGS);
      if (flags & VIRTQ_DESC_F_INDIRECT && !indirect && memory.contains(Number(address), length)) {
        [table, entries, index, indirect, seen] = [Number(address), Math.floor(length / VIRTQ_DESC_SIZE), 0, true, 0];
        continue;
      }
      const names = flagNames(flags & (VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT));
      found.push({ index, indirect, address, length, flags: names });
      if (!(flags & VIRTQ_DESC_F_NEXT)) break;
      index = memory.readU16(at + VIRTQ_DESC_NEXT);
    }
    return found;
  }

  #walkPacked(position: number): { descriptors: RingDescriptor[]; id: number } {
    const { queue, memory } = this.#options;
    const descriptors: RingDescriptor[] = [];
    let id = 0;
    for (let seen = 0; seen < this.#size; seen++) {
      const index = this.#slotOf(position);
      const at = queue.areas.descriptorArea + index * VIRTQ_DESC_SIZE;
      const [address, length] = [memory.readU64(at), memory.readU32(at + VIRTQ_DESC_LEN)];
      const flags = memory.readU16(at + PVIRTQ_DESC_FLAGS);
      if (seen > 0 && !isAvailable(flags, position >>> 15)) break;
      id = memory.readU16(at + PVIRTQ_DESC_ID);
      if (flags & VIRTQ_DESC_F_INDIRECT && memory.contains(Number(address), length)) {
        const entries = Math.min(Math.floor(length / VIRTQ_DESC_SIZE), CHAIN_MAX);
        for (let i = 0; i < entries; i++) {
          const entry = Number(address) + i * VIRTQ_DESC_SIZE;
          descriptors.push({
            index: i,
            indirect: true,
            address: memory.readU64(entry),
            length: memory.readU32(entry + VIRTQ_DESC_LEN),
            flags: flagNames(memory.readU16(entry + PVIRTQ_DESC_FLAGS) & VIRTQ_DESC_F_WRITE),
          });
        }
        break;
      }
      descriptors.push({ index, indirect: false, address, length, flags: flagNames(flags) });
      if (!(flags & VIRTQ_DESC_F_NEXT)) break;
      position = advance(position, 1, this.#size);
    }
    return { descriptors, id };
  }

  #element(
    slot: number,
    head: number | null,
    state: RingElement['state'],
    descriptors: RingDescriptor[],
    problem: string | null,
  ): RingElement {
    const { queue, memory, features } = this.#options;
    const { driverArea, deviceArea } = queue.areas;
    const base = { packed: this.#packed, slot, head, state, descriptors, problem };
    if (this.#packed) {
      const words = (area: number) => {
        const event = memory.loadU32(area);
        return { flags: (event >>> 16) & PVIRTQ_EVENT_FLAGS_MASK, idx: null, event: event & 0xffff };
      };
      const { availIdx, usedIdx } = this.#position;
      const wrap = { driver: availIdx >>> 15 === 1, device: usedIdx >>> 15 === 1 };
      return { ...base, avail: words(driverArea), used: words(deviceArea), wrap };
    }
    const event = (address: number) => (hasFeature(features, VIRTIO_F_EVENT_IDX) ? memory.loadU16(address) : null);
    return {
      ...base,
      avail: {
        flags: memory.loadU16(driverArea + VIRTQ_AVAIL_FLAGS),
        idx: memory.loadU16(driverArea + VIRTQ_AVAIL_IDX),
        event: event(driverArea + usedEventOffset(this.#size)),
      },
      used: {
        flags: memory.loadU16(deviceArea + VIRTQ_USED_FLAGS),
        idx: memory.loadU16(deviceArea + VIRTQ_USED_IDX),
        event: event(deviceArea + availEventOffset(this.#size)),
      },
      wrap: null,
    };
  }
}

function flagNames(flags: number): string[] {
  return DESCRIPTOR_FLAGS.filter(({ mask }) => flags & mask).map(({ name }) => name);
}
