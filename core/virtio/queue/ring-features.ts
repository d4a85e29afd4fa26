/** Which feature bits of the rings a transport offers: the properties that QEMU's virtio devices have, and one more. */
import {
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
  featureMask,
} from '../spec/features.ts';

export interface RingFeatures {
  /** Property indirect_desc. */
  readonly indirectDesc: boolean;
  /** Property event_idx. */
  readonly eventIdx: boolean;
  /** Property packed. */
  readonly packed: boolean;
  /** Property in_order. */
  readonly inOrder: boolean;
  /** Property queue_reset. */
  readonly queueReset: boolean;
  /** Queue notifications say where in the ring they are. */
  readonly notificationData: boolean;
  /** Property notify_on_empty. */
  readonly notifyOnEmpty: boolean;
  /** Property any_layout. */
  readonly anyLayout: boolean;
  /** Property iommu_platform. */
  readonly iommuPlatform: boolean;
}

/** QEMU's. */
const DEFAULTS: RingFeatures = {
  indirectDesc: true,
  eventIdx: true,
  packed: false,
  inOrder: false,
  queueReset: true,
  notificationData: false,
  notifyOnEmpty: true,
  anyLayout: true,
  iommuPlatform: false,
};

/** Those that a modern driver may be offered. */
export const MODERN_RING_FEATURES = featureMask(
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_RESET,
);
/** The same for a legacy driver (section 6.3). */
export const LEGACY_RING_FEATURES = featureMask(
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_EVENT_IDX,
);

/** The bits of what is on; a transport leaves out those that its driver's interface does not know. */
export function ringFeatureBits(features: Partial<RingFeatures> = {}): bigint {
  const on = { ...DEFAULTS, ...features };
  const bits: [boolean, number][] = [
    [true, VIRTIO_F_VERSION_1],
    [on.indirectDesc, VIRTIO_F_INDIRECT_DESC],
    [on.eventIdx, VIRTIO_F_EVENT_IDX],
    [on.packed, VIRTIO_F_RING_PACKED],
    [on.inOrder, VIRTIO_F_IN_ORDER],
    [on.queueReset, VIRTIO_F_RING_RESET],
    [on.notificationData, VIRTIO_F_NOTIFICATION_DATA],
    [on.notifyOnEmpty, VIRTIO_F_NOTIFY_ON_EMPTY],
    [on.anyLayout, VIRTIO_F_ANY_LAYOUT],
    [on.iommuPlatform, VIRTIO_F_ACCESS_PLATFORM],
  ];
  return featureMask(...bits.filter(([given]) => given).map(([, bit]) => bit));
}
