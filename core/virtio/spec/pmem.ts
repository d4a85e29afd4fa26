/** Persistent memory device (virtio 1.3, section 5.19). */

/** Virtqueue (section 5.19.2). */
export const PMEM_REQ_VQ = 0;

// struct virtio_pmem_config (section 5.19.4): offsets of le64.
export const PMEM_CONFIG_START = 0;
export const PMEM_CONFIG_SIZE = 8;
export const PMEM_CONFIG_BYTES = 16;

/** struct virtio_pmem_req: le32 type. struct virtio_pmem_resp: le32 ret (section 5.19.6). */
export const PMEM_REQUEST_SIZE = 4;
export const PMEM_RESPONSE_SIZE = 4;
export const VIRTIO_PMEM_REQ_TYPE_FLUSH = 0;
export const VIRTIO_PMEM_RESP_TYPE_OK = 0;
export const VIRTIO_PMEM_RESP_TYPE_EIO = 1;
