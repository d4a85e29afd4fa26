/** Packed virtqueues: constants and layout (virtio 1.3, section 2.8). */
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VIRTQ_DESC_SIZE } from './split-ring.ts';

// Descriptor ring, struct pvirtq_desc (section 2.8.13). Size, alignment and the three flags are those of split rings.
export const PVIRTQ_DESC_ADDR = 0;
export const PVIRTQ_DESC_LEN = 8;
export const PVIRTQ_DESC_ID = 12;
export const PVIRTQ_DESC_FLAGS = 14;
/** Section 2.8.1: equal to the driver's wrap counter in an available descriptor. */
export const PVIRTQ_DESC_F_AVAIL = 1 << 7;
/** Section 2.8.1: not equal to it in an available descriptor, equal to the device's in a used one. */
export const PVIRTQ_DESC_F_USED = 1 << 15;

// Event suppression, struct pvirtq_event_suppress (section 2.8.14): one in the driver area, one in the device area.
export const PVIRTQ_EVENT_BYTES = 4;
export const PVIRTQ_EVENT_ALIGN = 4;
export const PVIRTQ_EVENT_DESC = 0;
export const PVIRTQ_EVENT_FLAGS = 2;
export const PVIRTQ_EVENT_FLAGS_MASK = 3;
export const RING_EVENT_FLAGS_ENABLE = 0;
export const RING_EVENT_FLAGS_DISABLE = 1;
/** Only with VIRTIO_F_EVENT_IDX. */
export const RING_EVENT_FLAGS_DESC = 2;

/** A position in a ring: 15 bits of offset, and the wrap counter above them (sections 2.8.14 and 2.9). */
export const PACKED_WRAP = 1 << 15;
export const PACKED_OFFSET_MASK = PACKED_WRAP - 1;
/** Section 2.8.1: both wrap counters are 1 at first. */
export const PACKED_START = PACKED_WRAP;

/** Whether a descriptor with these flags is available to a device whose wrap counter is `wrap` (0 or 1; section 2.8.2). */
export function isAvailable(flags: number, wrap: number): boolean {
  const state = flags & (PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED);
  return state === (wrap === 1 ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED);
}

/** The position `by` descriptors (no more than there are) behind `position` in a ring of `size`. */
export function advance(position: number, by: number, size: number): number {
  const offset = (position & PACKED_OFFSET_MASK) + by;
  return offset < size ? (position & PACKED_WRAP) | offset : ((position & PACKED_WRAP) ^ PACKED_WRAP) | (offset - size);
}

/**
 * Section 2.8.10: whether the descriptor that an event structure asks about is one of the `moved` ones before `position`.
 *
 * @param event desc_event_off and desc_event_wrap
 */
export function passedEvent(event: number, position: number, moved: number, size: number): boolean {
  const sameWrap = ((event ^ position) & PACKED_WRAP) === 0;
  const back = (position & PACKED_OFFSET_MASK) - (event & PACKED_OFFSET_MASK) + (sameWrap ? 0 : size);
  return back > 0 && back <= moved;
}

/** Names of descriptor flags, for people. */
export const DESCRIPTOR_FLAGS: readonly { readonly mask: number; readonly name: string }[] = [
  { mask: VIRTQ_DESC_F_NEXT, name: 'next' },
  { mask: VIRTQ_DESC_F_WRITE, name: 'write' },
  { mask: VIRTQ_DESC_F_INDIRECT, name: 'indirect' },
  { mask: PVIRTQ_DESC_F_AVAIL, name: 'avail' },
  { mask: PVIRTQ_DESC_F_USED, name: 'used' },
];

/** Bytes of a descriptor ring. */
export function packedRingBytes(size: number): number {
  return VIRTQ_DESC_SIZE * size;
}
