/** Device IDs (virtio 1.3, section 5). */
export const VIRTIO_ID_NONE = 0;
export const VIRTIO_ID_NETWORK = 1;
export const VIRTIO_ID_BLOCK = 2;
export const VIRTIO_ID_CONSOLE = 3;
export const VIRTIO_ID_ENTROPY = 4;
export const VIRTIO_ID_BALLOON = 5;
export const VIRTIO_ID_9P = 9;
export const VIRTIO_ID_INPUT = 18;
export const VIRTIO_ID_VSOCK = 19;
export const VIRTIO_ID_PMEM = 27;
export const VIRTIO_ID_CRYPTO = 20;
