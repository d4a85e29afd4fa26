/** Socket device (virtio 1.3, section 5.10). */
import type { FeatureInfo } from './features.ts';

// Feature bits (section 5.10.3).
export const VIRTIO_VSOCK_F_STREAM = 0;
export const VIRTIO_VSOCK_F_SEQPACKET = 1;
export const VIRTIO_VSOCK_F_NO_IMPLIED_STREAM = 2;

export const VSOCK_FEATURES: readonly FeatureInfo[] = [
  { bit: VIRTIO_VSOCK_F_STREAM, name: 'VIRTIO_VSOCK_F_STREAM', help: 'stream sockets' },
  { bit: VIRTIO_VSOCK_F_SEQPACKET, name: 'VIRTIO_VSOCK_F_SEQPACKET', help: 'sockets that keep the bounds of messages' },
  {
    bit: VIRTIO_VSOCK_F_NO_IMPLIED_STREAM,
    name: 'VIRTIO_VSOCK_F_NO_IMPLIED_STREAM',
    help: 'stream sockets are there only with their own bit',
  },
];

// Virtqueues (section 5.10.2).
export const VSOCK_RX = 0;
export const VSOCK_TX = 1;
export const VSOCK_EVENT = 2;

// struct virtio_vsock_config (section 5.10.4).
export const VSOCK_CONFIG_GUEST_CID = 0;
export const VSOCK_CONFIG_BYTES = 8;

// struct virtio_vsock_hdr (section 5.10.6): offsets.
export const VSOCK_HDR_SRC_CID = 0;
export const VSOCK_HDR_DST_CID = 8;
export const VSOCK_HDR_SRC_PORT = 16;
export const VSOCK_HDR_DST_PORT = 20;
export const VSOCK_HDR_LEN = 24;
export const VSOCK_HDR_TYPE = 28;
export const VSOCK_HDR_OP = 30;
export const VSOCK_HDR_FLAGS = 32;
export const VSOCK_HDR_BUF_ALLOC = 36;
export const VSOCK_HDR_FWD_CNT = 40;
export const VSOCK_HDR_BYTES = 44;

export const VIRTIO_VSOCK_TYPE_STREAM = 1;

export const VIRTIO_VSOCK_OP_REQUEST = 1;
export const VIRTIO_VSOCK_OP_RESPONSE = 2;
export const VIRTIO_VSOCK_OP_RST = 3;
export const VIRTIO_VSOCK_OP_SHUTDOWN = 4;
export const VIRTIO_VSOCK_OP_RW = 5;
export const VIRTIO_VSOCK_OP_CREDIT_UPDATE = 6;
export const VIRTIO_VSOCK_OP_CREDIT_REQUEST = 7;

export const VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE = 1;
export const VIRTIO_VSOCK_SHUTDOWN_F_SEND = 2;

/** The host (section 5.10.4: 0 to 2 and 0xffffffff are reserved for such). */
export const VSOCK_HOST_CID = 2n;
export const VSOCK_CID_MIN = 3n;
export const VSOCK_CID_MAX = 0xffff_fffen;
