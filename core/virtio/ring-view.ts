/** A queue as the ring page shows it: all of its tables at one instant, and what of them is live (inspect.ts tells). */
import { NO_CHAIN } from '../api/ring-view.ts';
import type { ChainBuffers, ChainDescriptor, RingChain, RingState, RingView } from '../api/ring-view.ts';
import { RingsideError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { QueueDecoder } from './decoder.ts';
import { inspectQueue } from './inspect.ts';
import type { InspectOptions, RingDescriptor, RingElement } from './inspect.ts';
import { Segments } from './queue/segments.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED, hasFeature } from './spec/features.ts';
import {
  DESCRIPTOR_FLAGS,
  PACKED_OFFSET_MASK,
  PVIRTQ_DESC_F_AVAIL,
  PVIRTQ_DESC_F_USED,
  PVIRTQ_DESC_FLAGS,
  PVIRTQ_DESC_ID,
  PVIRTQ_EVENT_FLAGS_MASK,
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
  VIRTQ_USED_ELEM_SIZE,
  VIRTQ_USED_FLAGS,
  VIRTQ_USED_IDX,
  VIRTQ_USED_RING,
  availEventOffset,
  usedEventOffset,
} from './spec/split-ring.ts';

/** Descriptors of live chains in one view, at most. */
const DESCRIPTORS_MAX = 4096;
/** Bytes of one buffer, and of all buffers of a chain, at most. */
const BUFFER_MAX = 4096;
const BUFFERS_MAX = 64 * 1024;

const SPLIT_FLAGS = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT;
const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const names = (flags: number): string[] => DESCRIPTOR_FLAGS.filter(({ mask }) => flags & mask).map(({ name }) => name);

interface Slot {
  state: RingState;
  head: number;
}

export function ringView(options: InspectOptions): RingView {
  const packed = hasFeature(options.features, VIRTIO_F_RING_PACKED);
  const elements = inspectQueue(options).filter((element) => element.head !== null);
  const { size, areas } = options.queue;
  const slots = packed ? packedSlots(options, elements) : splitSlots(options, elements);
  let room = DESCRIPTORS_MAX;
  let leftOut = 0;
  const chains = elements.map((element): RingChain => {
    const shown = element.descriptors.slice(0, room);
    room -= shown.length;
    leftOut += element.descriptors.length - shown.length;
    return chainOf(options, element, shown);
  });
  return {
    format: packed ? 'packed' : 'split',
    size,
    areas: { descriptor: hex(areas.descriptorArea), driver: hex(areas.driverArea), device: hex(areas.deviceArea) },
    descriptors: slots.map((slot, index) => ({ ...descriptorAt(options, index, packed), ...slot })),
    ...(packed ? packedRings(options) : splitRings(options, elements)),
    lastAvail: position(options, packed).availIdx & (packed ? PACKED_OFFSET_MASK : 0xffff),
    chains,
    leftOut,
  };
}

function position({ position: running }: InspectOptions, packed: boolean): { availIdx: number; usedIdx: number } {
  // Both wrap counters are 1 at first (2.8.1).
  const start = packed ? PACKED_OFFSET_MASK + 1 : 0;
  return running ?? { availIdx: start, usedIdx: start };
}

function descriptorAt({ queue, memory }: InspectOptions, index: number, packed: boolean) {
  const at = queue.areas.descriptorArea + index * VIRTQ_DESC_SIZE;
  const flags = memory.readU16(at + (packed ? PVIRTQ_DESC_FLAGS : VIRTQ_DESC_FLAGS));
  return {
    address: hex(memory.readU64(at)),
    length: memory.readU32(at + VIRTQ_DESC_LEN),
    flags: names(packed ? flags : flags & SPLIT_FLAGS),
    link: memory.readU16(at + (packed ? PVIRTQ_DESC_ID : VIRTQ_DESC_NEXT)),
  };
}

/** Marks a slot as a chain's if what it holds now is what the chain is made of: the driver may have written over it. */
function mark(options: InspectOptions, slots: Slot[], element: RingElement, index: number, part: RingDescriptor): void {
  const at = options.queue.areas.descriptorArea + index * VIRTQ_DESC_SIZE;
  const { memory } = options;
  if (memory.readU64(at) !== part.address || memory.readU32(at + VIRTQ_DESC_LEN) !== part.length) return;
  slots[index] = { state: element.state, head: element.head! };
}

/** The descriptor that refers to an indirect table: the last direct one of its chain, and often the only one. */
function markReference(options: InspectOptions, slots: Slot[], element: RingElement, first: number): void {
  const { queue, memory } = options;
  let index = first;
  for (let seen = 0; seen < queue.size && index < queue.size; seen++) {
    const at = queue.areas.descriptorArea + index * VIRTQ_DESC_SIZE;
    const flags = memory.readU16(at + VIRTQ_DESC_FLAGS);
    if (flags & VIRTQ_DESC_F_INDIRECT) {
      slots[index] = { state: element.state, head: element.head! };
      return;
    }
    if (!(flags & VIRTQ_DESC_F_NEXT)) return;
    index = memory.readU16(at + VIRTQ_DESC_NEXT);
  }
}

function freeSlots(size: number): Slot[] {
  return Array.from({ length: size }, () => ({ state: 'free' as const, head: NO_CHAIN }));
}

function splitSlots(options: InspectOptions, elements: readonly RingElement[]): Slot[] {
  const slots = freeSlots(options.queue.size);
  for (const element of elements) {
    for (const part of element.descriptors) {
      if (!part.indirect && part.index < slots.length) mark(options, slots, element, part.index, part);
    }
    if (element.descriptors.some(({ indirect }) => indirect)) markReference(options, slots, element, element.head!);
  }
  return slots;
}

function packedSlots(options: InspectOptions, elements: readonly RingElement[]): Slot[] {
  const { queue, memory } = options;
  const slots = freeSlots(queue.size);
  const { usedIdx } = position(options, true);
  for (let index = 0; index < queue.size; index++) {
    const at = queue.areas.descriptorArea + index * VIRTQ_DESC_SIZE;
    const flags = memory.readU16(at + PVIRTQ_DESC_FLAGS);
    // Slots before the device's position were written in this round, the others in the one before (2.8.1).
    const wrap = (usedIdx >>> 15) ^ (index < (usedIdx & PACKED_OFFSET_MASK) ? 0 : 1);
    const bits = wrap ? PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED : 0;
    const written = memory.readU64(at) !== 0n || memory.readU32(at + VIRTQ_DESC_LEN) !== 0;
    if (written && (flags & (PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED)) === bits) slots[index].state = 'used';
  }
  for (const element of elements) {
    element.descriptors.forEach((part, place) => {
      const index = (element.slot + place) % queue.size;
      if (!part.indirect) mark(options, slots, element, index, part);
    });
    const at = queue.areas.descriptorArea + element.slot * VIRTQ_DESC_SIZE;
    const refers = (memory.readU16(at + PVIRTQ_DESC_FLAGS) & VIRTQ_DESC_F_INDIRECT) !== 0;
    if (refers && element.descriptors.some(({ indirect }) => indirect)) {
      slots[element.slot] = { state: element.state, head: element.head! };
    }
  }
  return slots;
}

function splitRings(
  { queue, memory, features }: InspectOptions,
  elements: readonly RingElement[],
): Pick<RingView, 'available' | 'used' | 'packed'> {
  const { driverArea, deviceArea } = queue.areas;
  const heads = new Array<number>(queue.size).fill(NO_CHAIN);
  for (const { slot, head } of elements) {
    // Of a slot that was used again while its first chain is out, only the newest stands there.
    if (memory.readU16(driverArea + VIRTQ_AVAIL_RING + 2 * slot) === head) heads[slot] = head;
  }
  const usedIdx = memory.loadU16(deviceArea + VIRTQ_USED_IDX);
  const event = (address: number) => (hasFeature(features, VIRTIO_F_EVENT_IDX) ? memory.loadU16(address) : null);
  const written = (slot: number) => {
    const at = deviceArea + VIRTQ_USED_RING + VIRTQ_USED_ELEM_SIZE * slot;
    return { id: memory.readU32(at), length: memory.readU32(at + 4) };
  };
  // An index that has wrapped at 2^16 looks like one that has not come so far: then a slot of zeros was never written.
  const fresh = (slot: number) => slot < usedIdx || written(slot).length !== 0 || written(slot).id !== 0;
  return {
    available: {
      idx: memory.loadU16(driverArea + VIRTQ_AVAIL_IDX),
      flags: memory.loadU16(driverArea + VIRTQ_AVAIL_FLAGS),
      usedEvent: event(driverArea + usedEventOffset(queue.size)),
      heads,
    },
    used: {
      idx: usedIdx,
      flags: memory.loadU16(deviceArea + VIRTQ_USED_FLAGS),
      availEvent: event(deviceArea + availEventOffset(queue.size)),
      elements: Array.from({ length: queue.size }, (_, slot) => (fresh(slot) ? written(slot) : null)),
    },
    packed: null,
  };
}

function packedRings(options: InspectOptions): Pick<RingView, 'available' | 'used' | 'packed'> {
  const { queue, memory } = options;
  const event = (area: number) => {
    const word = memory.loadU32(area);
    return { flags: (word >>> 16) & PVIRTQ_EVENT_FLAGS_MASK, position: word & 0xffff };
  };
  const { availIdx, usedIdx } = position(options, true);
  return {
    available: null,
    used: null,
    packed: {
      driverEvent: event(queue.areas.driverArea),
      deviceEvent: event(queue.areas.deviceArea),
      nextAvailable: availIdx & PACKED_OFFSET_MASK,
      nextUsed: usedIdx & PACKED_OFFSET_MASK,
      availableWrap: availIdx >>> 15,
      usedWrap: usedIdx >>> 15,
    },
  };
}

function chainOf(options: InspectOptions, element: RingElement, shown: readonly RingDescriptor[]): RingChain {
  const parts = element.descriptors;
  const bytes = (writable: boolean): number =>
    parts.filter(({ flags }) => flags.includes('write') === writable).reduce((sum, { length }) => sum + length, 0);
  const { memory, queue } = options;
  const packed = element.packed;
  // What the device has taken stands where it was, unless the driver has been there again.
  const overwritten =
    element.state === 'in-flight' &&
    parts.some(({ indirect, index, address }, place) => {
      if (indirect) return false;
      const at = packed ? (element.slot + place) % queue.size : index;
      return at >= queue.size || memory.readU64(queue.areas.descriptorArea + at * VIRTQ_DESC_SIZE) !== address;
    });
  return {
    head: element.head!,
    slot: element.slot,
    state: element.state === 'available' ? 'available' : 'in-flight',
    descriptors: shown.map(descriptorOf),
    readable: bytes(false),
    writable: bytes(true),
    overwritten,
    problem: element.problem,
  };
}

function descriptorOf({ index, indirect, address, length, flags }: RingDescriptor): ChainDescriptor {
  return { index, indirect, address: hex(address), length, writable: flags.includes('write'), flags: [...flags] };
}

/**
 * A live chain's buffers as they are now, and what the device makes of them.
 *
 * @param head index of its first descriptor; packed: its buffer id
 * @throws RingsideError 'not-found' when no such chain is live
 */
export function chainBuffers(options: InspectOptions, head: number, decoder: QueueDecoder): ChainBuffers {
  const { memory } = options;
  const element = inspectQueue(options).find((candidate) => candidate.head === head);
  if (element === undefined) {
    throw new RingsideError('not-found', `chain ${head} has been given back: choose one that is live`);
  }
  const inRam = ({ address, length }: RingDescriptor): boolean =>
    address < 2n ** 53n && memory.contains(Number(address), length);
  let room = BUFFERS_MAX;
  const parts = element.descriptors.map((part) => {
    const count = Math.min(part.length, BUFFER_MAX, room);
    room -= inRam(part) ? count : 0;
    const bytes = inRam(part) ? Buffer.from(memory.view(Number(part.address), count)).toString('base64') : null;
    return { ...descriptorOf(part), bytes };
  });
  const sound = element.problem === null && element.descriptors.every(inRam);
  const fields = sound ? decoder.fields(segments(memory, element, false), segments(memory, element, true), null) : [];
  return { head, state: element.state === 'available' ? 'available' : 'in-flight', parts, fields };
}

function segments(memory: GuestMemory, { descriptors }: RingElement, writable: boolean): Segments {
  const list = new Segments(memory);
  for (const { address, length, flags } of descriptors) {
    if (flags.includes('write') === writable) list.add(memory.linear(Number(address), length), length);
  }
  return list;
}
