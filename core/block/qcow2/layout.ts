/** The numbers of the qcow2 format (QEMU: docs/interop/qcow2.txt, block/qcow2.h). All fields are big-endian. */

/** "QFI\xfb" */
export const QCOW_MAGIC = 0x5146_49fb;

// Header fields, byte offsets.
export const HEADER_VERSION = 4;
export const HEADER_BACKING_OFFSET = 8;
export const HEADER_BACKING_SIZE = 16;
export const HEADER_CLUSTER_BITS = 20;
export const HEADER_SIZE = 24;
export const HEADER_CRYPT_METHOD = 32;
export const HEADER_L1_SIZE = 36;
export const HEADER_L1_OFFSET = 40;
export const HEADER_REFTABLE_OFFSET = 48;
export const HEADER_REFTABLE_CLUSTERS = 56;
export const HEADER_SNAPSHOT_COUNT = 60;
export const HEADER_SNAPSHOTS_OFFSET = 64;
export const HEADER_INCOMPATIBLE = 72;
export const HEADER_COMPATIBLE = 80;
export const HEADER_AUTOCLEAR = 88;
export const HEADER_REFCOUNT_ORDER = 96;
export const HEADER_LENGTH = 100;
export const HEADER_COMPRESSION = 104;

export const HEADER_BYTES_V2 = 72;
/** Of version 3 at least; what we write is longer by the compression type. */
export const HEADER_BYTES_V3 = 104;
export const HEADER_BYTES_WRITTEN = 112;

// Incompatible features.
export const INCOMPAT_DIRTY = 1n << 0n;
export const INCOMPAT_CORRUPT = 1n << 1n;
export const INCOMPAT_DATA_FILE = 1n << 2n;
export const INCOMPAT_COMPRESSION = 1n << 3n;
export const INCOMPAT_EXTENDED_L2 = 1n << 4n;
export const INCOMPAT_KNOWN =
  INCOMPAT_DIRTY | INCOMPAT_CORRUPT | INCOMPAT_DATA_FILE | INCOMPAT_COMPRESSION | INCOMPAT_EXTENDED_L2;
// Compatible features.
export const COMPAT_LAZY_REFCOUNTS = 1n << 0n;
// Autoclear features.
export const AUTOCLEAR_BITMAPS = 1n << 0n;
export const AUTOCLEAR_DATA_FILE_RAW = 1n << 1n;

// Header extensions.
export const EXT_END = 0;
export const EXT_BACKING_FORMAT = 0xe279_2aca;
export const EXT_FEATURE_NAMES = 0x6803_f857;
export const EXT_BITMAPS = 0x2385_2875;
export const EXT_CRYPTO = 0x0537_be77;
export const EXT_DATA_FILE = 0x4441_5441;

/** Bytes of an item of the feature name table: type, bit, name. */
export const FEATURE_NAME_BYTES = 48;

export const COMPRESSION_ZLIB = 0;
export const COMPRESSION_ZSTD = 1;

export const CLUSTER_BITS_MIN = 9;
export const CLUSTER_BITS_MAX = 21;
/** Extended L2 entries need subclusters of at least a sector. */
export const EXTENDED_CLUSTER_BITS_MIN = 14;
export const REFCOUNT_ORDER_MAX = 6;
export const SUBCLUSTERS = 32;

// As QEMU bounds them: what has to be in memory.
export const L1_BYTES_MAX = 32 * 2 ** 20;
export const REFTABLE_BYTES_MAX = 8 * 2 ** 20;
export const SNAPSHOTS_MAX = 65536;
export const SNAPSHOT_TABLE_BYTES_MAX = 64 * 2 ** 20;
export const SNAPSHOT_EXTRA_BYTES_MAX = 1024;
export const BACKING_NAME_BYTES_MAX = 1023;
export const BACKING_FORMAT_BYTES_MAX = 15;
export const EXTENSION_BYTES_MAX = 2 ** 20;

/** Entries of L1, L2 and refcount tables are of 8 bytes. */
export const ENTRY_BYTES = 8;

// Upper 32 bits of L1 and L2 entries.
export const OFLAG_COPIED_HI = 0x8000_0000;
export const OFLAG_COMPRESSED_HI = 0x4000_0000;
/** Bits 32 to 55 of an offset. */
export const OFFSET_HI_MASK = 0x00ff_ffff;
// Lower 32 bits.
export const OFLAG_ZERO_LO = 1;
export const OFFSET_LO_MASK = 0xffff_fe00;

/** Reserved bits: 56 to 61, of a standard cluster's descriptor; bit 0 is a flag in L2 entries only. */
export const RESERVED_HI_MASK = 0x3f00_0000;
export const RESERVED_LO_MASK = 0x0000_01fe;

/** Offsets above are no file's, and no number's. */
export const OFFSET_MAX = Number.MAX_SAFE_INTEGER;

export const SECTOR = 512;
