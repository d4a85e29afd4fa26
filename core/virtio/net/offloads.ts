/** Feature bits and the offloads (core/net) that they stand for. */
import {
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP,
  GSO_UDP_L4,
  OFFLOAD_CSUM,
  OFFLOAD_ECN,
  OFFLOAD_TSO4,
  OFFLOAD_TSO6,
  OFFLOAD_UFO,
  OFFLOAD_USO4,
  OFFLOAD_USO6,
} from '../../net/frame.ts';
import { featureMask, hasFeature } from '../spec/features.ts';
import * as spec from '../spec/net.ts';

const GUEST: readonly (readonly [feature: number, offload: number])[] = [
  [spec.VIRTIO_NET_F_GUEST_CSUM, OFFLOAD_CSUM],
  [spec.VIRTIO_NET_F_GUEST_TSO4, OFFLOAD_TSO4],
  [spec.VIRTIO_NET_F_GUEST_TSO6, OFFLOAD_TSO6],
  [spec.VIRTIO_NET_F_GUEST_ECN, OFFLOAD_ECN],
  [spec.VIRTIO_NET_F_GUEST_UFO, OFFLOAD_UFO],
  [spec.VIRTIO_NET_F_GUEST_USO4, OFFLOAD_USO4],
  [spec.VIRTIO_NET_F_GUEST_USO6, OFFLOAD_USO6],
];

/** What VIRTIO_NET_CTRL_GUEST_OFFLOADS may name. */
export const GUEST_OFFLOADS = featureMask(...GUEST.map(([feature]) => feature));

/** OFFLOAD_* of received frames that a driver with these features, or offloads switched on, takes. */
export function driverOffloads(features: bigint): number {
  let offloads = 0;
  for (const [feature, offload] of GUEST) if (hasFeature(features, feature)) offloads |= offload;
  // Without partial checksums no segmentation either (section 5.1.3.1).
  return offloads & OFFLOAD_CSUM ? offloads : 0;
}

/** Whether a driver with these features may send a frame of a gso_type (section 5.1.6.2.1). */
export function maySend(features: bigint, gsoType: number): boolean {
  if (gsoType === GSO_NONE) return true;
  const any = hasFeature(features, spec.VIRTIO_NET_F_GSO);
  const has = (feature: number): boolean => any || hasFeature(features, feature);
  if (gsoType & GSO_ECN && !has(spec.VIRTIO_NET_F_HOST_ECN)) return false;
  switch (gsoType & ~GSO_ECN) {
    case GSO_TCPV4:
      return has(spec.VIRTIO_NET_F_HOST_TSO4);
    case GSO_TCPV6:
      return has(spec.VIRTIO_NET_F_HOST_TSO6);
    case GSO_UDP:
      return has(spec.VIRTIO_NET_F_HOST_UFO);
    case GSO_UDP_L4:
      return hasFeature(features, spec.VIRTIO_NET_F_HOST_USO);
    default:
      return false;
  }
}
