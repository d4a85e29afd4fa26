/**
 * A queue as it stands at one moment (core/api/queue-view.ts). Rings move while they are read, so what the device has is
 * asked before and after: a chain is shown as live only if it was so all the while.
 */
import type { QueueControl } from '../api/inspect.ts';
import { MAX_BUFFERS, MAX_CHAINS } from '../api/queue-view.ts';
import type { ChainView, DescriptorView, QueueView, SlotState } from '../api/queue-view.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { NO_TYPE, codeName } from '../virtio/decoder.ts';
import type { QueueDecoder } from '../virtio/decoder.ts';
import { inspectQueue, inspectSlot } from '../virtio/inspect.ts';
import type { InspectOptions, RingElement } from '../virtio/inspect.ts';
import { startPosition } from '../virtio/queue/running-queue.ts';
import { Segments } from '../virtio/queue/segments.ts';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_PACKED,
  hasFeature,
} from '../virtio/spec/features.ts';
import {
  DESCRIPTOR_FLAGS,
  PACKED_OFFSET_MASK,
  PVIRTQ_DESC_F_AVAIL,
  PVIRTQ_DESC_F_USED,
  PVIRTQ_DESC_ID,
  PVIRTQ_DESC_FLAGS,
} from '../virtio/spec/packed-ring.ts';
import {
  VIRTQ_AVAIL_IDX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_FLAGS,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_NEXT,
  VIRTQ_DESC_SIZE,
  VIRTQ_USED_ELEM_SIZE,
  VIRTQ_USED_RING,
} from '../virtio/spec/split-ring.ts';

export interface ViewOptions {
  readonly device: string;
  /** Of the queue. */
  readonly name: string;
  readonly decoder: QueueDecoder;
  readonly control: QueueControl | null;
  /** Rows shown. */
  readonly from: number;
  readonly count: number;
  /** Asks what the device has of the queue, now. */
  look(): Promise<InspectOptions>;
}

export async function viewQueue(options: ViewOptions): Promise<QueueView> {
  const before = await options.look();
  const elements = inspectQueue(before);
  const rings = new Rings(before, elements);
  const rows = rings.rows(options.from, options.count);
  const after = await options.look();
  const { live, gone } = stillLive(elements, before, after);
  return new View(options, before, rings, live, gone).build(rows);
}

/** Those elements that were live from the first look to the second. */
function stillLive(elements: readonly RingElement[], before: InspectOptions, after: InspectOptions) {
  const packed = hasFeature(before.features, VIRTIO_F_RING_PACKED);
  const start = startPosition(packed);
  const [from, to] = [before.position ?? start, after.position ?? start].map(({ availIdx }) => availIdx);
  const slotOf = (position: number): number =>
    packed ? position & PACKED_OFFSET_MASK : position & (before.queue.size - 1);
  const held = new Set(after.held.map(({ head, position }) => `${head} ${slotOf(position)}`));
  const same = before.queue.enabled && after.queue.enabled && before.queue.size === after.queue.size;
  const live = elements.filter((element) => {
    if (!same) return false;
    if (element.state === 'in-flight') return held.has(`${element.head} ${element.slot}`);
    // What was available is so still if the device has not come past it.
    return from === to || !passed(element.slot, from, to, before.queue.size, packed);
  });
  return { live, gone: elements.filter((element) => !live.includes(element)) };
}

/** Whether a slot lies between two positions of the device. */
function passed(slot: number, from: number, to: number, size: number, packed: boolean): boolean {
  if (!packed) {
    const moved = (to - from) & 0xffff;
    return ((slot - from) & (size - 1)) < moved;
  }
  const [a, b] = [from & PACKED_OFFSET_MASK, to & PACKED_OFFSET_MASK];
  const wrapped = ((from ^ to) & ~PACKED_OFFSET_MASK) !== 0;
  return wrapped ? slot >= a || slot < b : slot >= a && slot < b;
}

interface RawRow {
  readonly address: bigint;
  readonly length: number;
  readonly low: number;
  readonly high: number;
}

interface RawRows {
  readonly from: number;
  readonly descriptors: readonly RawRow[];
  readonly avail: readonly number[];
  readonly used: readonly { id: number; length: number }[];
  /** A split ring's whole table of next fields and flags: what a chain takes of it. */
  readonly owners: ReadonlyMap<number, RingElement>;
  readonly availIdx: number;
}

/** Reads the rings. */
class Rings {
  readonly packed: boolean;
  readonly #options: InspectOptions;
  readonly #elements: readonly RingElement[];

  constructor(options: InspectOptions, elements: readonly RingElement[]) {
    this.#options = options;
    this.#elements = elements;
    this.packed = hasFeature(options.features, VIRTIO_F_RING_PACKED);
  }

  rows(from: number, count: number): RawRows {
    const { queue, memory } = this.#options;
    const { driverArea, deviceArea } = queue.areas;
    const end = Math.min(queue.size, from + count);
    const indices = Array.from({ length: Math.max(0, end - from) }, (_, i) => from + i);
    return {
      from,
      descriptors: indices.map((index) => this.#row(index)),
      avail: this.packed ? [] : indices.map((slot) => memory.readU16(driverArea + VIRTQ_AVAIL_RING + 2 * slot)),
      used: this.packed
        ? []
        : indices.map((slot) => {
            const at = deviceArea + VIRTQ_USED_RING + VIRTQ_USED_ELEM_SIZE * slot;
            return { id: memory.readU32(at), length: memory.readU32(at + 4) };
          }),
      owners: this.#owners(),
      availIdx: this.packed ? 0 : memory.loadU16(driverArea + VIRTQ_AVAIL_IDX),
    };
  }

  #row(index: number): RawRow {
    const { queue, memory } = this.#options;
    const at = queue.areas.descriptorArea + VIRTQ_DESC_SIZE * index;
    return {
      address: memory.readU64(at),
      length: memory.readU32(at + VIRTQ_DESC_LEN),
      low: memory.readU16(at + (this.packed ? PVIRTQ_DESC_ID : VIRTQ_DESC_FLAGS)),
      high: memory.readU16(at + (this.packed ? PVIRTQ_DESC_FLAGS : VIRTQ_DESC_NEXT)),
    };
  }

  /** Which live chain each descriptor of the table belongs to. */
  #owners(): Map<number, RingElement> {
    const { size } = this.#options.queue;
    const owners = new Map<number, RingElement>();
    for (const element of this.#elements) {
      const direct = element.descriptors.filter(({ indirect }) => !indirect).length;
      const slots = Math.max(1, direct + (direct < element.descriptors.length ? 1 : 0));
      if (this.packed) {
        for (let i = 0; i < slots && i < size; i++) owners.set((element.slot + i) % size, element);
        continue;
      }
      // The links of the table itself: the descriptor that refers to an indirect table is among them.
      let index = element.head ?? size;
      for (let i = 0; i < slots && index < size; i++) {
        owners.set(index, element);
        const { low: flags, high: next } = this.#row(index);
        if (!(flags & VIRTQ_DESC_F_NEXT) || flags & VIRTQ_DESC_F_INDIRECT) break;
        index = next;
      }
    }
    return owners;
  }
}

class View {
  readonly #o: ViewOptions;
  readonly #options: InspectOptions;
  readonly #rings: Rings;
  readonly #live: ReadonlySet<RingElement>;
  readonly #gone: readonly RingElement[];

  constructor(
    o: ViewOptions,
    options: InspectOptions,
    rings: Rings,
    live: readonly RingElement[],
    gone: readonly RingElement[],
  ) {
    this.#o = o;
    this.#options = options;
    this.#rings = rings;
    this.#live = new Set(live);
    this.#gone = gone;
  }

  build(rows: RawRows): QueueView {
    const { queue, features, memory, position } = this.#options;
    const { packed } = this.#rings;
    const { availIdx, usedIdx } = position ?? startPosition(packed);
    const offset = (value: number): number => (packed ? value & PACKED_OFFSET_MASK : value);
    const wrap = (value: number): number | null => (packed ? value >>> 15 : null);
    const live = [...this.#live];
    const words = live[0] ?? inspectSlot(this.#options, null);
    const { descriptorArea, driverArea, deviceArea } = queue.areasHex;
    const { purpose, types, statuses, detail } = this.#o.decoder;
    return {
      device: this.#o.device,
      queue: queue.index,
      name: this.#o.name,
      format: packed ? 'packed' : 'split',
      size: queue.size,
      indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
      eventIdx: hasFeature(features, VIRTIO_F_EVENT_IDX),
      inOrder: hasFeature(features, VIRTIO_F_IN_ORDER),
      position: {
        avail: offset(availIdx),
        used: offset(usedIdx),
        availWrap: wrap(availIdx),
        usedWrap: wrap(usedIdx),
      },
      driver: words.avail,
      deviceArea: words.used,
      areas: { descriptors: descriptorArea, driver: driverArea, device: deviceArea },
      from: rows.from,
      ...(packed ? this.#packedRows(rows) : this.#splitRows(rows, availIdx, usedIdx)),
      chains: live.slice(0, MAX_CHAINS).map((element) => this.#chain(element, memory)),
      moreChains: Math.max(0, live.length - MAX_CHAINS),
      moved: this.#gone.length,
      profile: { purpose, types: [...types], statuses: [...statuses], detail },
      control: this.#o.control,
    };
  }

  #splitRows(rows: RawRows, devAvail: number, devUsed: number): Pick<QueueView, 'descriptors' | 'avail' | 'used'> {
    const { size } = this.#options.queue;
    const mask = size - 1;
    const liveHeads = new Set([...this.#live].map(({ head }) => head));
    const liveSlots = new Map([...this.#live].map((element) => [element.slot, element]));
    /** The latest index before `end` that the slot had, if it had one. A ring's first lap leaves slots empty. */
    const lastIndex = (slot: number, end: number, lapped: boolean): number | null => {
      const back = (end - 1 - slot) & mask;
      const index = (end - 1 - back) & 0xffff;
      return lapped || slot < end ? index : null;
    };
    const usedIds = new Map<number, number>();
    const used = rows.used.map(({ id, length }, i) => {
      const slot = rows.from + i;
      const index = lastIndex(slot, devUsed, this.#lapped(devUsed, rows.used));
      const state: SlotState = index === null ? 'free' : liveHeads.has(id) ? 'stale' : 'used';
      return { slot, id, length, index, state };
    });
    // Of several entries for a head only the last one counts.
    for (const { id, index } of used) {
      if (index === null) continue;
      const age = (devUsed - index) & 0xffff;
      if (age < (usedIds.get(id) ?? Infinity)) usedIds.set(id, age);
    }
    for (const entry of used) {
      if (entry.state === 'used' && ((devUsed - entry.index!) & 0xffff) !== usedIds.get(entry.id))
        entry.state = 'stale';
    }
    const avail = rows.avail.map((head, i) => {
      const slot = rows.from + i;
      const element = liveSlots.get(slot);
      // A slot may have been used again while its first chain is out.
      if (element && element.head === head) {
        const ahead = (slot - devAvail) & mask;
        const index = element.state === 'available' ? devAvail + ahead : devAvail - ((devAvail - slot) & mask || size);
        return { slot, head, index: index & 0xffff, state: element.state };
      }
      const index = lastIndex(slot, rows.availIdx, head !== 0 || rows.availIdx >= size);
      return { slot, head, index: null, state: index === null ? ('free' as const) : ('stale' as const) };
    });
    const given = new Set(used.filter(({ state }) => state === 'used').map(({ id }) => id));
    const descriptors = rows.descriptors.map((row, i) =>
      this.#descriptor(row, rows.from + i, rows, given.has(rows.from + i)),
    );
    return { descriptors, avail, used };
  }

  /** Whether the used ring has come round: a slot ahead of the device has been written in an earlier lap. */
  #lapped(devUsed: number, used: RawRows['used']): boolean {
    return (
      devUsed >= this.#options.queue.size || used.slice(devUsed).some(({ id, length }) => id !== 0 || length !== 0)
    );
  }

  #packedRows(rows: RawRows): Pick<QueueView, 'descriptors' | 'avail' | 'used'> {
    const descriptors = rows.descriptors.map((row, i) => {
      const both = PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED;
      const bits = row.high & both;
      // Section 2.8.1: a used descriptor has both bits alike; at the start none has been written.
      return this.#descriptor(row, rows.from + i, rows, bits === both || (bits === 0 && row.length + row.low > 0));
    });
    return { descriptors, avail: [], used: [] };
  }

  #descriptor(row: RawRow, index: number, rows: RawRows, used: boolean): DescriptorView {
    const { packed } = this.#rings;
    const rawFlags = packed ? row.high : row.low;
    const owner = rows.owners.get(index);
    const known = packed ? rawFlags : rawFlags & (VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT);
    const blank = row.address === 0n && row.length === 0 && row.low === 0 && (packed ? row.high === 0 : true);
    const live = owner !== undefined && this.#live.has(owner);
    const rest: SlotState = blank ? 'free' : used ? 'used' : 'stale';
    return {
      index,
      address: hex(row.address),
      length: row.length,
      rawFlags,
      flags: DESCRIPTOR_FLAGS.filter(({ mask }) => known & mask).map(({ name }) => name),
      nextOrId: packed ? row.low : row.high,
      state: live ? (owner.state as SlotState) : rest,
      chain: live ? owner.head : null,
    };
  }

  #chain(element: RingElement, memory: GuestMemory): ChainView {
    const [readable, writable] = [new Segments(memory), new Segments(memory)];
    for (const { address, length, flags } of element.descriptors) {
      if (length === 0 || !memory.contains(Number(address), length)) continue;
      (flags.includes('write') ? writable : readable).add(memory.linear(Number(address), length), length);
    }
    const { decoder } = this.#o;
    const summary = { type: NO_TYPE, detail: 0, span: 0 };
    decoder.summarize(readable, writable, summary);
    const hasType = decoder.types.length > 0 && summary.type !== NO_TYPE;
    return {
      head: element.head ?? 0,
      slot: element.slot,
      state: element.state === 'available' ? 'available' : 'in-flight',
      buffers: element.descriptors.slice(0, MAX_BUFFERS).map(({ index, indirect, address, length, flags }) => ({
        index,
        indirect,
        address: hex(address),
        length,
        writable: flags.includes('write'),
      })),
      more: Math.max(0, element.descriptors.length - MAX_BUFFERS),
      readable: readable.length,
      writable: writable.length,
      type: hasType ? codeName(decoder.types, summary.type) : null,
      detail: decoder.detail === null ? null : summary.detail,
      fields: decoder.fields(readable, writable, null),
      problem: element.problem,
    };
  }
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
