/**
 * The vhost-user protocol as of QEMU 11 (docs/interop/vhost-user.rst): numbers and sizes. The frontend is who has the
 * guest, the back end who serves its queues.
 */

/** Messages of the frontend. */
export const REQUEST = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SEND_RARP: 19,
  NET_SET_MTU: 20,
  SET_BACKEND_REQ_FD: 21,
  IOTLB_MSG: 22,
  SET_VRING_ENDIAN: 23,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  CREATE_CRYPTO_SESSION: 26,
  CLOSE_CRYPTO_SESSION: 27,
  POSTCOPY_ADVISE: 28,
  POSTCOPY_LISTEN: 29,
  POSTCOPY_END: 30,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  GPU_SET_SOCKET: 33,
  RESET_DEVICE: 34,
  VRING_KICK: 35,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
  GET_SHARED_OBJECT: 41,
  SET_DEVICE_STATE_FD: 42,
  CHECK_DEVICE_STATE: 43,
} as const;

/** Messages of the back end, on the socket that SET_BACKEND_REQ_FD brings. */
export const BACKEND_REQUEST = {
  IOTLB_MSG: 1,
  CONFIG_CHANGE_MSG: 2,
  VRING_HOST_NOTIFIER_MSG: 3,
  VRING_CALL: 4,
  VRING_ERR: 5,
} as const;

/** Bits of GET_PROTOCOL_FEATURES. */
export const PROTOCOL_F = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
  XEN_MMAP: 17,
  SHARED_OBJECT: 18,
  DEVICE_STATE: 19,
  GET_VRING_BASE_INFLIGHT: 20,
  GPA_ADDRESSES: 21,
  SHMEM_MAP: 22,
} as const;

/** Feature bits among those of virtio that only vhost knows. */
export const VHOST_F_LOG_ALL = 26;
export const VHOST_USER_F_PROTOCOL_FEATURES = 30;

/** A message: u32 request, u32 flags, u32 bytes of payload, all in the host's byte order. */
export const HEADER_BYTES = 12;
export const VERSION_MASK = 0x3;
export const VERSION = 0x1;
export const FLAG_REPLY = 0x4;
export const FLAG_NEED_REPLY = 0x8;

/** Descriptors that one message can carry: as many as SET_MEM_TABLE has regions. */
export const MESSAGE_FDS_MAX = 8;
/** More than any payload there is: a configuration space (256 bytes and its header), or eight memory regions. */
export const PAYLOAD_BYTES_MAX = 512;

/** SET_MEM_TABLE: u32 regions, u32 padding, then the regions. */
export const MEMORY_HEADER_BYTES = 8;
/** Guest address, size, user address, offset into the file: u64 each. */
export const REGION_BYTES = 32;
export const REGIONS_MAX = 8;
/** ADD_MEM_REG and REM_MEM_REG: u64 padding, then the region. */
export const SINGLE_REGION_PADDING = 8;

/** struct vhost_vring_state: u32 index, u32 number. */
export const VRING_STATE_BYTES = 8;
/** struct vhost_vring_addr: u32 index, u32 flags, u64 descriptor table, used ring, available ring, log. */
export const VRING_ADDR_BYTES = 40;
/** Of the u64 of SET_VRING_KICK, _CALL and _ERR. */
export const VRING_INDEX_MASK = 0xffn;
/** Likewise: no descriptor comes with it. */
export const VRING_NO_FD = 0x100n;

/** GET_CONFIG and SET_CONFIG: u32 offset, u32 size, u32 flags, then that many bytes. */
export const CONFIG_HEADER_BYTES = 12;
export const CONFIG_BYTES_MAX = 256;

/** GET_INFLIGHT_FD and SET_INFLIGHT_FD: u64 bytes, u64 offset, u16 queues, u16 entries of a queue; and padding. */
export const INFLIGHT_BYTES = 24;
/** Without the padding, which not everybody sends. */
export const INFLIGHT_BYTES_MIN = 20;

/** Memory slots that we tell of. */
export const MEMORY_SLOTS_MAX = 32;

const NAMES = new Map<number, string>(Object.entries(REQUEST).map(([name, number]) => [number, name]));

/** e.g. "SET_VRING_NUM". */
export function requestName(request: number): string {
  return NAMES.get(request) ?? `message ${request}`;
}
