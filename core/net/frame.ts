/**
 * Ethernet frames as they go between network cards and back ends: the bytes, without FCS, and what has been left undone in
 * them (virtio 1.3, section 5.1.6, struct virtio_net_hdr): a checksum to fill in, a packet to cut into segments.
 */

export const ETHERNET_HEADER_BYTES = 14;
/** QEMU's NET_BUFSIZE: a 64 KiB packet with any link header. Longer frames are dropped wherever they come from. */
export const FRAME_MAX = 4096 + 65536;

// flags
/** Bytes [csumStart, end) are to be summed into the 16 bits at csumStart + csumOffset, which hold the pseudo header's. */
export const HDR_F_NEEDS_CSUM = 1;
/** The checksum has been found right. */
export const HDR_F_DATA_VALID = 2;

// gsoType
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_UDP = 3;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
/** May go with GSO_TCPV4 and GSO_TCPV6: the first segment alone carries CWR. */
export const GSO_ECN = 0x80;

/** What has been left undone in a frame. */
export interface FrameMeta {
  /** HDR_F_* */
  flags: number;
  /** GSO_* */
  gsoType: number;
  /** Bytes of headers: a hint, not to be relied on. */
  hdrLen: number;
  /** Bytes of payload in a segment, without headers. */
  gsoSize: number;
  csumStart: number;
  csumOffset: number;
}

export class Frame implements FrameMeta {
  flags = 0;
  gsoType = GSO_NONE;
  hdrLen = 0;
  gsoSize = 0;
  csumStart = 0;
  csumOffset = 0;
  /** From the destination address on. */
  data: Uint8Array;

  constructor(data: Uint8Array = new Uint8Array(0)) {
    this.data = data;
  }

  /** As it stands on a wire: nothing is left undone. */
  get isPlain(): boolean {
    return this.gsoType === GSO_NONE && (this.flags & HDR_F_NEEDS_CSUM) === 0;
  }

  /** With bytes of its own. */
  copy(): Frame {
    const copy = new Frame(new Uint8Array(this.data));
    copy.setMeta(this);
    return copy;
  }

  setMeta({ flags, gsoType, hdrLen, gsoSize, csumStart, csumOffset }: FrameMeta): void {
    this.flags = flags;
    this.gsoType = gsoType;
    this.hdrLen = hdrLen;
    this.gsoSize = gsoSize;
    this.csumStart = csumStart;
    this.csumOffset = csumOffset;
  }

  clearMeta(): void {
    this.flags = this.gsoType = this.hdrLen = this.gsoSize = this.csumStart = this.csumOffset = 0;
  }
}

// What a taker of frames can do for itself: a mask.
export const OFFLOAD_NONE = 0;
/** HDR_F_NEEDS_CSUM. Without it no segmentation offload either (section 5.1.3.1). */
export const OFFLOAD_CSUM = 1;
export const OFFLOAD_TSO4 = 2;
export const OFFLOAD_TSO6 = 4;
/** TSO with ECN. */
export const OFFLOAD_ECN = 8;
export const OFFLOAD_UFO = 16;
/** GSO_UDP_L4 over IPv4 and over IPv6. */
export const OFFLOAD_USO4 = 32;
export const OFFLOAD_USO6 = 64;
export const OFFLOAD_ALL = 127;
