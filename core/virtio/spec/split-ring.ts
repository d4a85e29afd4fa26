/** Split virtqueues: constants and layout (virtio 1.3, section 2.7). */

/** The largest queue there can be (section 2.7). */
export const VIRTQ_SIZE_MAX = 32768;

// Descriptor table, struct virtq_desc (section 2.7.5).
export const VIRTQ_DESC_SIZE = 16;
export const VIRTQ_DESC_ALIGN = 16;
export const VIRTQ_DESC_ADDR = 0;
export const VIRTQ_DESC_LEN = 8;
export const VIRTQ_DESC_FLAGS = 12;
export const VIRTQ_DESC_NEXT = 14;
export const VIRTQ_DESC_F_NEXT = 1;
export const VIRTQ_DESC_F_WRITE = 2;
export const VIRTQ_DESC_F_INDIRECT = 4;

// Available ring, struct virtq_avail (section 2.7.6).
export const VIRTQ_AVAIL_ALIGN = 2;
export const VIRTQ_AVAIL_FLAGS = 0;
export const VIRTQ_AVAIL_IDX = 2;
export const VIRTQ_AVAIL_RING = 4;
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;

// Used ring, struct virtq_used (section 2.7.8).
export const VIRTQ_USED_ALIGN = 4;
export const VIRTQ_USED_FLAGS = 0;
export const VIRTQ_USED_IDX = 2;
export const VIRTQ_USED_RING = 4;
export const VIRTQ_USED_ELEM_SIZE = 8;
export const VIRTQ_USED_F_NO_NOTIFY = 1;

/** Bytes of a descriptor table of `size` entries. */
export function descriptorTableBytes(size: number): number {
  return VIRTQ_DESC_SIZE * size;
}

/** Bytes of an available ring, used_event included (it is there whether or not VIRTIO_F_EVENT_IDX is negotiated). */
export function availRingBytes(size: number): number {
  return 6 + 2 * size;
}

/** Bytes of a used ring, avail_event included. */
export function usedRingBytes(size: number): number {
  return 6 + VIRTQ_USED_ELEM_SIZE * size;
}

/** Offset of used_event in the available ring (section 2.7.7). */
export function usedEventOffset(size: number): number {
  return VIRTQ_AVAIL_RING + 2 * size;
}

/** Offset of avail_event in the used ring (section 2.7.10). */
export function availEventOffset(size: number): number {
  return VIRTQ_USED_RING + VIRTQ_USED_ELEM_SIZE * size;
}

/** Where the parts of a queue are; guest physical. */
export interface QueueAreas {
  descriptorArea: number;
  driverArea: number;
  deviceArea: number;
}

/** The legacy layout: three parts in one block, the used ring on an `align` boundary (section 2.7.2). */
export function legacyAreas(base: number, size: number, align: number): QueueAreas {
  const driverArea = base + descriptorTableBytes(size);
  // Without used_event: legacy layouts put it in the padding, or in the used ring's page when there is none.
  const behindAvail = driverArea + 2 * (3 + size);
  return { descriptorArea: base, driverArea, deviceArea: Math.ceil(behindAvail / align) * align };
}
