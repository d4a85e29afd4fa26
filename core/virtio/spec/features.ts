/** Feature bits that belong to no device type (virtio 1.3, sections 2.2 and 6). */

export interface FeatureInfo {
  /** Bit number, 0..63. */
  readonly bit: number;
  /** As in the spec. */
  readonly name: string;
  /** What it gives, one line for the inspector. */
  readonly help: string;
  /** Bits that a driver which accepts this one must accept too (section 2.2.1). */
  readonly requires?: readonly number[];
}

/** Section 6.3: legacy only. */
export const VIRTIO_F_NOTIFY_ON_EMPTY = 24;
/** Section 6.3: legacy only. */
export const VIRTIO_F_ANY_LAYOUT = 27;
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;
export const VIRTIO_F_ACCESS_PLATFORM = 33;
export const VIRTIO_F_RING_PACKED = 34;
export const VIRTIO_F_IN_ORDER = 35;
export const VIRTIO_F_ORDER_PLATFORM = 36;
export const VIRTIO_F_SR_IOV = 37;
export const VIRTIO_F_NOTIFICATION_DATA = 38;
export const VIRTIO_F_NOTIF_CONFIG_DATA = 39;
export const VIRTIO_F_RING_RESET = 40;
export const VIRTIO_F_ADMIN_VQ = 41;

export const RESERVED_FEATURES: readonly FeatureInfo[] = [
  {
    bit: VIRTIO_F_NOTIFY_ON_EMPTY,
    name: 'VIRTIO_F_NOTIFY_ON_EMPTY',
    help: 'used buffer notification whenever a queue runs out of buffers, suppressed or not (legacy)',
  },
  {
    bit: VIRTIO_F_ANY_LAYOUT,
    name: 'VIRTIO_F_ANY_LAYOUT',
    help: 'messages may be split into descriptors in any way (legacy; always so in virtio 1)',
  },
  {
    bit: VIRTIO_F_INDIRECT_DESC,
    name: 'VIRTIO_F_INDIRECT_DESC',
    help: 'a descriptor may refer to a table of descriptors',
  },
  {
    bit: VIRTIO_F_EVENT_IDX,
    name: 'VIRTIO_F_EVENT_IDX',
    help: 'each side says at which ring index it next wants to be notified',
  },
  { bit: VIRTIO_F_VERSION_1, name: 'VIRTIO_F_VERSION_1', help: 'compliance with virtio 1.0 and later' },
  {
    bit: VIRTIO_F_ACCESS_PLATFORM,
    name: 'VIRTIO_F_ACCESS_PLATFORM',
    help: "device memory accesses go through the platform's IOMMU or limits",
  },
  { bit: VIRTIO_F_RING_PACKED, name: 'VIRTIO_F_RING_PACKED', help: 'packed virtqueue layout' },
  {
    bit: VIRTIO_F_IN_ORDER,
    name: 'VIRTIO_F_IN_ORDER',
    help: 'buffers are used in the order in which they were made available',
  },
  {
    bit: VIRTIO_F_ORDER_PLATFORM,
    name: 'VIRTIO_F_ORDER_PLATFORM',
    help: 'memory accesses are ordered as the platform orders those of real devices',
  },
  { bit: VIRTIO_F_SR_IOV, name: 'VIRTIO_F_SR_IOV', help: 'single root I/O virtualization (PCI)' },
  {
    bit: VIRTIO_F_NOTIFICATION_DATA,
    name: 'VIRTIO_F_NOTIFICATION_DATA',
    help: 'queue notifications carry the position in the available ring',
  },
  {
    bit: VIRTIO_F_NOTIF_CONFIG_DATA,
    name: 'VIRTIO_F_NOTIF_CONFIG_DATA',
    help: 'queue notifications carry a value that the device chose (PCI)',
  },
  { bit: VIRTIO_F_RING_RESET, name: 'VIRTIO_F_RING_RESET', help: 'single queues can be reset' },
  { bit: VIRTIO_F_ADMIN_VQ, name: 'VIRTIO_F_ADMIN_VQ', help: 'the device has administration virtqueues (PCI)' },
];

/** The mask of some feature bits. */
export function featureMask(...bits: number[]): bigint {
  return bits.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);
}

export function hasFeature(features: bigint, bit: number): boolean {
  return ((features >> BigInt(bit)) & 1n) === 1n;
}

/** Numbers of the bits that are set, lowest first. */
export function featureBits(features: bigint): number[] {
  const bits: number[] = [];
  for (let bit = 0, rest = features; rest !== 0n; bit++, rest >>= 1n) if (rest & 1n) bits.push(bit);
  return bits;
}

/** e.g. "VIRTIO_BLK_F_MQ (bit 12)"; "bit 60" for one that nobody has named. */
export function featureName(bit: number, deviceFeatures: readonly FeatureInfo[]): string {
  const info = findFeature(bit, deviceFeatures);
  return info ? `${info.name} (bit ${bit})` : `bit ${bit}`;
}

/** What is known of a bit on a device of the given type. */
export function findFeature(bit: number, deviceFeatures: readonly FeatureInfo[]): FeatureInfo | undefined {
  return deviceFeatures.find((info) => info.bit === bit) ?? RESERVED_FEATURES.find((info) => info.bit === bit);
}
