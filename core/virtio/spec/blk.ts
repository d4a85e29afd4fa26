/** Block device (virtio 1.3, section 5.2). */
import type { FeatureInfo } from './features.ts';

// Feature bits (section 5.2.3).
export const VIRTIO_BLK_F_SIZE_MAX = 1;
export const VIRTIO_BLK_F_SEG_MAX = 2;
export const VIRTIO_BLK_F_GEOMETRY = 4;
export const VIRTIO_BLK_F_RO = 5;
export const VIRTIO_BLK_F_BLK_SIZE = 6;
export const VIRTIO_BLK_F_FLUSH = 9;
export const VIRTIO_BLK_F_TOPOLOGY = 10;
export const VIRTIO_BLK_F_CONFIG_WCE = 11;
export const VIRTIO_BLK_F_MQ = 12;
export const VIRTIO_BLK_F_DISCARD = 13;
export const VIRTIO_BLK_F_WRITE_ZEROES = 14;
export const VIRTIO_BLK_F_LIFETIME = 15;
export const VIRTIO_BLK_F_SECURE_ERASE = 16;
export const VIRTIO_BLK_F_ZONED = 17;
/** Legacy (section 5.2.3.1). */
export const VIRTIO_BLK_F_BARRIER = 0;
/** Legacy (section 5.2.3.1). */
export const VIRTIO_BLK_F_SCSI = 7;

export const BLK_FEATURES: readonly FeatureInfo[] = [
  { bit: VIRTIO_BLK_F_BARRIER, name: 'VIRTIO_BLK_F_BARRIER', help: 'request barriers (legacy)' },
  { bit: VIRTIO_BLK_F_SIZE_MAX, name: 'VIRTIO_BLK_F_SIZE_MAX', help: 'size_max limits the bytes of a segment' },
  { bit: VIRTIO_BLK_F_SEG_MAX, name: 'VIRTIO_BLK_F_SEG_MAX', help: 'seg_max limits the segments of a request' },
  { bit: VIRTIO_BLK_F_GEOMETRY, name: 'VIRTIO_BLK_F_GEOMETRY', help: 'disk geometry (cylinders, heads, sectors)' },
  { bit: VIRTIO_BLK_F_RO, name: 'VIRTIO_BLK_F_RO', help: 'the disk is read-only' },
  { bit: VIRTIO_BLK_F_BLK_SIZE, name: 'VIRTIO_BLK_F_BLK_SIZE', help: 'blk_size is the logical block size' },
  { bit: VIRTIO_BLK_F_SCSI, name: 'VIRTIO_BLK_F_SCSI', help: 'SCSI packet commands (legacy)' },
  { bit: VIRTIO_BLK_F_FLUSH, name: 'VIRTIO_BLK_F_FLUSH', help: 'cache flush command' },
  { bit: VIRTIO_BLK_F_TOPOLOGY, name: 'VIRTIO_BLK_F_TOPOLOGY', help: 'optimal I/O sizes and alignment' },
  {
    bit: VIRTIO_BLK_F_CONFIG_WCE,
    name: 'VIRTIO_BLK_F_CONFIG_WCE',
    help: 'the driver can switch between writeback and writethrough',
  },
  { bit: VIRTIO_BLK_F_MQ, name: 'VIRTIO_BLK_F_MQ', help: 'more than one request queue' },
  { bit: VIRTIO_BLK_F_DISCARD, name: 'VIRTIO_BLK_F_DISCARD', help: 'discard command' },
  { bit: VIRTIO_BLK_F_WRITE_ZEROES, name: 'VIRTIO_BLK_F_WRITE_ZEROES', help: 'write zeroes command' },
  { bit: VIRTIO_BLK_F_LIFETIME, name: 'VIRTIO_BLK_F_LIFETIME', help: 'storage lifetime information' },
  { bit: VIRTIO_BLK_F_SECURE_ERASE, name: 'VIRTIO_BLK_F_SECURE_ERASE', help: 'secure erase command' },
  { bit: VIRTIO_BLK_F_ZONED, name: 'VIRTIO_BLK_F_ZONED', help: 'zoned block device' },
];

// Request types (section 5.2.6).
export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
/** Legacy (section 5.2.6.3). */
export const VIRTIO_BLK_T_SCSI_CMD = 2;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_GET_LIFETIME = 10;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;
export const VIRTIO_BLK_T_SECURE_ERASE = 14;
/** Legacy flag on any type (section 5.2.6.3). */
export const VIRTIO_BLK_T_BARRIER = 0x8000_0000;

export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;

/** Everything is counted in these, whatever blk_size says. */
export const VIRTIO_BLK_SECTOR_SIZE = 512;
/** le32 type, le32 reserved, le64 sector. */
export const VIRTIO_BLK_HEADER_SIZE = 16;
/** Bytes of the device ID string of VIRTIO_BLK_T_GET_ID. */
export const VIRTIO_BLK_ID_BYTES = 20;

// struct virtio_blk_discard_write_zeroes.
export const VIRTIO_BLK_RANGE_SIZE = 16;
export const VIRTIO_BLK_RANGE_F_UNMAP = 1;

// struct virtio_blk_config (section 5.2.4): offsets.
export const BLK_CONFIG_CAPACITY = 0;
export const BLK_CONFIG_SIZE_MAX = 8;
export const BLK_CONFIG_SEG_MAX = 12;
export const BLK_CONFIG_CYLINDERS = 16;
export const BLK_CONFIG_HEADS = 18;
export const BLK_CONFIG_SECTORS = 19;
export const BLK_CONFIG_BLK_SIZE = 20;
export const BLK_CONFIG_PHYSICAL_BLOCK_EXP = 24;
export const BLK_CONFIG_ALIGNMENT_OFFSET = 25;
export const BLK_CONFIG_MIN_IO_SIZE = 26;
export const BLK_CONFIG_OPT_IO_SIZE = 28;
export const BLK_CONFIG_WRITEBACK = 32;
export const BLK_CONFIG_NUM_QUEUES = 34;
export const BLK_CONFIG_MAX_DISCARD_SECTORS = 36;
export const BLK_CONFIG_MAX_DISCARD_SEG = 40;
export const BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT = 44;
export const BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS = 48;
export const BLK_CONFIG_MAX_WRITE_ZEROES_SEG = 52;
export const BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP = 56;
export const BLK_CONFIG_MAX_SECURE_ERASE_SECTORS = 60;
export const BLK_CONFIG_MAX_SECURE_ERASE_SEG = 64;
export const BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT = 68;
/** Up to and without the zoned fields. */
export const BLK_CONFIG_BYTES = 72;

// struct virtio_blk_lifetime: three le16 (section 5.2.6).
export const VIRTIO_BLK_LIFETIME_BYTES = 6;
