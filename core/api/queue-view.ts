/** A virtqueue as it stands at one moment: what the inspector's queue view draws. Addresses are guest physical, as 0x hex. */
import { z } from 'zod';
import { queueControl, queueProfile } from './inspect.ts';

const count = z.number().int().min(0);
const text = z.string();

/**
 * available: the driver has made it available, and the device has not taken it. in-flight: the device has it. used: the
 * device gave it back, and nothing says that it was taken up again. stale: what stands there is left over. free: nothing
 * has ever stood there since the queue was set up. Only the first two are live.
 */
export const slotState = z.enum(['available', 'in-flight', 'used', 'stale', 'free']);
export type SlotState = z.infer<typeof slotState>;

export const descriptorView = z.object({
  index: count,
  address: text,
  length: count,
  /** As in memory; and QEMU's names of the bits: next, write, indirect, avail, used. */
  rawFlags: count,
  flags: z.array(text),
  /** Of a split ring: the next field. Of a packed one: the buffer id. */
  nextOrId: count,
  state: slotState,
  /** Which chain it belongs to, by head (packed: buffer id); null: none that is known. */
  chain: count.nullable(),
});
export type DescriptorView = z.infer<typeof descriptorView>;

export const availEntryView = z.object({
  slot: count,
  /** What stands there. */
  head: count,
  /** The ring index modulo 2^16 at which it was, or will be, taken; null: it was written for none that is known. */
  index: count.nullable(),
  state: slotState,
});

export const usedEntryView = z.object({
  slot: count,
  id: count,
  length: count,
  index: count.nullable(),
  state: slotState,
});

export const decodedField = z.object({
  name: text,
  value: text,
  /** Where its bytes stand: in the device-readable or the device-writable buffers taken as one run. */
  part: z.enum(['readable', 'writable']),
  offset: count,
  length: count,
});
export type DecodedFieldView = z.infer<typeof decodedField>;

export const chainView = z.object({
  /** Index of its first descriptor; of a packed ring the buffer id. */
  head: count,
  /** Of the ring: where it was made available. */
  slot: count,
  state: z.enum(['available', 'in-flight']),
  /** In its order; those of an indirect table stand in the place of the one that refers to it. */
  buffers: z.array(
    z.object({ index: count, indirect: z.boolean(), address: text, length: count, writable: z.boolean() }),
  ),
  /** Buffers that there are besides. */
  more: count,
  /** Bytes in each direction. */
  readable: count,
  writable: count,
  /** The request's type by name; null: it has none. */
  type: text.nullable(),
  /** QueueProfile.detail of it; null: it has none. */
  detail: z.number().nullable(),
  fields: z.array(decodedField),
  /** What the driver did wrong in it, one line. */
  problem: text.nullable(),
});
export type ChainView = z.infer<typeof chainView>;

export const queueView = z.object({
  device: text,
  queue: count,
  name: text,
  format: z.enum(['split', 'packed']),
  size: count,
  indirect: z.boolean(),
  eventIdx: z.boolean(),
  inOrder: z.boolean(),
  /** Where the device stands: ring indices modulo 2^16, or offsets and wrap counters of a packed ring. */
  position: z.object({ avail: count, used: count, availWrap: count.nullable(), usedWrap: count.nullable() }),
  /** Of a split ring: flags, idx and used_event; of a packed one: flags and position of the driver's event suppression. */
  driver: z.object({ flags: count, idx: count.nullable(), event: count.nullable() }),
  /** Of a split ring: flags, idx and avail_event; of a packed one: flags and position of the device's event suppression. */
  deviceArea: z.object({ flags: count, idx: count.nullable(), event: count.nullable() }),
  areas: z.object({ descriptors: text, driver: text, device: text }),
  /** Rows [from, from + count) of descriptors and, of a split ring, of both rings. */
  from: count,
  descriptors: z.array(descriptorView),
  avail: z.array(availEntryView),
  used: z.array(usedEntryView),
  /** Those that the device has, oldest first, then those that it takes next; at most MAX_CHAINS. */
  chains: z.array(chainView),
  moreChains: count,
  /** Chains that came or went while the rings were read, and are therefore shown as stale or not at all. */
  moved: count,
  profile: queueProfile,
  control: queueControl.nullable(),
});
export type QueueView = z.infer<typeof queueView>;

/** Of one view: rows; chains; buffers of a chain. */
export const MAX_ROWS = 1024;
export const MAX_CHAINS = 128;
export const MAX_BUFFERS = 128;
/** Bytes of guest RAM in one answer. */
export const MAX_BYTES = 16384;
