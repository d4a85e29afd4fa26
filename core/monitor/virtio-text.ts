/** Feature and status bits in QEMU's words (hw/virtio/virtio-qmp.c), and those that QEMU 7.2 has no words for in its style. */
import { featureBits, findFeature } from '../virtio/spec/features.ts';
import type { FeatureInfo } from '../virtio/spec/features.ts';

interface Bit {
  readonly bit: number;
  readonly text: string;
}

const STATUS: readonly Bit[] = [
  { bit: 0, text: 'VIRTIO_CONFIG_S_ACKNOWLEDGE: Valid virtio device found' },
  { bit: 1, text: 'VIRTIO_CONFIG_S_DRIVER: Guest OS compatible with device' },
  { bit: 3, text: 'VIRTIO_CONFIG_S_FEATURES_OK: Feature negotiation complete' },
  { bit: 2, text: 'VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready' },
  { bit: 6, text: 'VIRTIO_CONFIG_S_NEEDS_RESET: Irrecoverable error, device needs reset' },
  { bit: 7, text: 'VIRTIO_CONFIG_S_FAILED: Error in guest, device failed' },
];

/** Bits that belong to no device type. */
const TRANSPORTS: readonly Bit[] = [
  { bit: 29, text: 'VIRTIO_RING_F_EVENT_IDX: Used & avail. event fields enabled' },
  { bit: 28, text: 'VIRTIO_RING_F_INDIRECT_DESC: Indirect descriptors supported' },
  { bit: 33, text: 'VIRTIO_F_IOMMU_PLATFORM: Device can be used on IOMMU platform' },
  { bit: 34, text: 'VIRTIO_F_RING_PACKED: Device supports packed VQ layout' },
  { bit: 35, text: 'VIRTIO_F_IN_ORDER: Device uses buffers in same order as made available by driver' },
  { bit: 36, text: 'VIRTIO_F_ORDER_PLATFORM: Memory accesses ordered by platform' },
  { bit: 37, text: 'VIRTIO_F_SR_IOV: Device supports single root I/O virtualization' },
  { bit: 38, text: 'VIRTIO_F_NOTIFICATION_DATA: Driver passes extra data with notifications' },
  { bit: 39, text: 'VIRTIO_F_NOTIF_CONFIG_DATA: Driver notifies with the value the device chose' },
  { bit: 40, text: 'VIRTIO_F_RING_RESET: Driver can reset a queue individually' },
  { bit: 41, text: 'VIRTIO_F_ADMIN_VQ: Device exposes administration virtqueues' },
  { bit: 32, text: 'VIRTIO_F_VERSION_1: Device compliant for v1 spec (legacy)' },
  { bit: 27, text: 'VIRTIO_F_ANY_LAYOUT: Device accepts arbitrary desc. layouts' },
  { bit: 24, text: 'VIRTIO_F_NOTIFY_ON_EMPTY: Notify when device runs out of avail. descs. on VQ' },
];

const isSet = (word: bigint, bit: number): boolean => ((word >> BigInt(bit)) & 1n) === 1n;

export interface DecodedStatus {
  statuses: string[];
  'unknown-statuses'?: number;
}

export function decodeStatus(status: number): DecodedStatus {
  const word = BigInt(status);
  const known = STATUS.filter(({ bit }) => isSet(word, bit));
  const unknown = known.reduce((rest, { bit }) => rest & ~(1 << bit), status);
  return { statuses: known.map(({ text }) => text), ...(unknown === 0 ? {} : { 'unknown-statuses': unknown }) };
}

export interface DecodedFeatures {
  transports: string[];
  'dev-features': string[];
  'unknown-dev-features'?: bigint;
}

/** @param device bits of the device type */
export function decodeFeatures(features: bigint, device: readonly FeatureInfo[]): DecodedFeatures {
  const transports = TRANSPORTS.filter(({ bit }) => isSet(features, bit));
  let rest = transports.reduce((word, { bit }) => word & ~(1n << BigInt(bit)), features);
  const named: string[] = [];
  // The highest first, as in QEMU.
  for (const bit of featureBits(rest).reverse()) {
    const info = findFeature(bit, device);
    if (info === undefined) continue;
    named.push(`${info.name}: ${info.help}`);
    rest &= ~(1n << BigInt(bit));
  }
  return {
    transports: transports.map(({ text }) => text),
    'dev-features': named,
    ...(rest === 0n ? {} : { 'unknown-dev-features': rest }),
  };
}
