/** struct virtio_net_hdr as the driver and the device write it before each packet (virtio 1.3, section 5.1.6). */
import { Frame, GSO_NONE, HDR_F_DATA_VALID, HDR_F_NEEDS_CSUM, OFFLOAD_CSUM } from '../../net/frame.ts';
import { VIRTIO_F_VERSION_1, hasFeature } from '../spec/features.ts';
import * as spec from '../spec/net.ts';
import type { FlowHash } from './hash.ts';
import { maySend } from './offloads.ts';

export function headerBytes(features: bigint): number {
  if (hasFeature(features, spec.VIRTIO_NET_F_HASH_REPORT)) return spec.NET_HDR_HASH_BYTES;
  const long = hasFeature(features, VIRTIO_F_VERSION_1) || hasFeature(features, spec.VIRTIO_NET_F_MRG_RXBUF);
  return long ? spec.NET_HDR_BYTES : spec.NET_HDR_LEGACY_BYTES;
}

export class NetHeader {
  readonly bytes = new Uint8Array(spec.NET_HDR_HASH_BYTES);
  readonly #data = new DataView(this.bytes.buffer);

  /** Writes what a driver is told of a frame that it receives. @param offloads OFFLOAD_* that are switched on */
  write(frame: Frame, offloads: number, buffers: number, { value, report }: FlowHash): void {
    const { bytes } = this;
    const data = this.#data;
    const partial = (frame.flags & HDR_F_NEEDS_CSUM) !== 0;
    const large = frame.gsoType !== GSO_NONE;
    const valid = offloads & OFFLOAD_CSUM ? frame.flags & HDR_F_DATA_VALID : 0;
    bytes[spec.NET_HDR_FLAGS] = partial ? HDR_F_NEEDS_CSUM : valid;
    bytes[spec.NET_HDR_GSO_TYPE] = frame.gsoType;
    data.setUint16(spec.NET_HDR_HDR_LEN, large ? frame.hdrLen : 0, true);
    data.setUint16(spec.NET_HDR_GSO_SIZE, large ? frame.gsoSize : 0, true);
    data.setUint16(spec.NET_HDR_CSUM_START, partial ? frame.csumStart : 0, true);
    data.setUint16(spec.NET_HDR_CSUM_OFFSET, partial ? frame.csumOffset : 0, true);
    data.setUint16(spec.NET_HDR_NUM_BUFFERS, buffers, true);
    data.setUint32(spec.NET_HDR_HASH_VALUE, value, true);
    data.setUint32(spec.NET_HDR_HASH_REPORT, report, true);
  }

  /**
   * Reads what the driver says of a frame that it sends, into `frame`.
   *
   * @param length bytes of the frame
   * @returns whether it may say so: by its features, and by where the checksum is
   */
  read(frame: Frame, features: bigint, length: number): boolean {
    const data = this.#data;
    frame.clearMeta();
    frame.flags = this.bytes[spec.NET_HDR_FLAGS] & HDR_F_NEEDS_CSUM;
    frame.gsoType = this.bytes[spec.NET_HDR_GSO_TYPE];
    if (frame.gsoType !== GSO_NONE) {
      // Section 5.1.6.2.1.
      if (frame.flags === 0 || !maySend(features, frame.gsoType)) return false;
      frame.hdrLen = data.getUint16(spec.NET_HDR_HDR_LEN, true);
      frame.gsoSize = data.getUint16(spec.NET_HDR_GSO_SIZE, true);
      if (frame.gsoSize === 0) return false;
    }
    if (frame.flags === 0) return true;
    frame.csumStart = data.getUint16(spec.NET_HDR_CSUM_START, true);
    frame.csumOffset = data.getUint16(spec.NET_HDR_CSUM_OFFSET, true);
    if (!hasFeature(features, spec.VIRTIO_NET_F_CSUM)) return false;
    return frame.csumStart + frame.csumOffset + 2 <= length;
  }
}
