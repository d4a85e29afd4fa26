/** The header of a qcow2 image, read and written (QEMU: docs/interop/qcow2.txt). Whatever it says is checked here. */
import { RingsideError } from '../../errors.ts';
import * as q from './layout.ts';

export interface HeaderExtension {
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** Bytes that the guest sees. */
  size: number;
  /** Entries of the active L1 table. */
  l1Size: number;
  l1Offset: number;
  refcountTableOffset: number;
  refcountTableClusters: number;
  snapshotCount: number;
  snapshotsOffset: number;
  incompatible: bigint;
  compatible: bigint;
  autoclear: bigint;
  /** Refcounts have 2 ** order bits. */
  readonly refcountOrder: number;
  readonly compression: 'zlib' | 'zstd';
  backingFile: string | null;
  backingFormat: string | null;
  /** Host path of the external data file, as the image has it. */
  dataFile: string | null;
  /** All but the backing format and the data file's name, which are fields here. */
  extensions: HeaderExtension[];
}

/** Bytes to read for parseHeader: what the largest cluster's header can need is read as far as extensions go. */
export const HEADER_READ_BYTES = 64 * 1024;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Whether a file that begins so is a qcow2 image. */
export function isQcow2(head: Uint8Array): boolean {
  return head.length >= 8 && view(head).getUint32(0) === q.QCOW_MAGIC;
}

/**
 * @param bytes of the file's begin: HEADER_READ_BYTES of them, fewer if the file has fewer
 * @throws RingsideError bad-image, or unsupported for what is right but not done here
 */
export function parseHeader(file: string, bytes: Uint8Array): Qcow2Header {
  const bad = (problem: string): never => {
    throw new RingsideError('bad-image', `"${file}" is no sound qcow2 image: ${problem}.`);
  };
  const head = view(bytes);
  if (!isQcow2(bytes)) bad('it does not begin with "QFI"');
  if (bytes.length < q.HEADER_BYTES_V2) bad('it ends inside its header');
  const version = head.getUint32(q.HEADER_VERSION);
  if (version !== 2 && version !== 3) {
    const remedy = version === 1 ? 'Convert it with "qemu-img convert -O qcow2".' : 'Versions 2 and 3 are known.';
    throw new RingsideError('unsupported', `"${file}" is a qcow image of version ${version}. ${remedy}`);
  }
  const clusterBits = head.getUint32(q.HEADER_CLUSTER_BITS);
  if (clusterBits < q.CLUSTER_BITS_MIN || clusterBits > q.CLUSTER_BITS_MAX) {
    bad(`clusters of 2^${clusterBits} bytes, and not 2^${q.CLUSTER_BITS_MIN} to 2^${q.CLUSTER_BITS_MAX}`);
  }
  const clusterSize = 2 ** clusterBits;
  const u64 = (offset: number, what: string): number => {
    const value = head.getBigUint64(offset);
    return value > BigInt(q.OFFSET_MAX) ? bad(`${what} is ${value}`) : Number(value);
  };

  let length = q.HEADER_BYTES_V2;
  let refcountOrder = 4;
  let incompatible = 0n;
  let compatible = 0n;
  let autoclear = 0n;
  if (version === 3) {
    if (bytes.length < q.HEADER_BYTES_V3) bad('it ends inside its header');
    length = head.getUint32(q.HEADER_LENGTH);
    if (length < q.HEADER_BYTES_V3 || length > Math.min(clusterSize, bytes.length))
      bad(`its header has ${length} bytes`);
    refcountOrder = head.getUint32(q.HEADER_REFCOUNT_ORDER);
    if (refcountOrder > q.REFCOUNT_ORDER_MAX) bad(`its reference counts have 2^${refcountOrder} bits`);
    incompatible = head.getBigUint64(q.HEADER_INCOMPATIBLE);
    compatible = head.getBigUint64(q.HEADER_COMPATIBLE);
    autoclear = head.getBigUint64(q.HEADER_AUTOCLEAR);
  }
  const extensions = parseExtensions(bytes.subarray(0, clusterSize), length, bad);

  const unknown = incompatible & ~q.INCOMPAT_KNOWN;
  if (unknown !== 0n) {
    const names = featureNames(unknown, extensions).join(', ');
    throw new RingsideError('unsupported', `"${file}" has incompatible features that are not known here: ${names}.`);
  }
  const crypt = head.getUint32(q.HEADER_CRYPT_METHOD);
  if (crypt !== 0) {
    const how = crypt === 1 ? 'AES' : crypt === 2 ? 'LUKS' : `method ${crypt}`;
    const remedy = 'Make a plain copy with "qemu-img convert", which asks for the key.';
    throw new RingsideError('unsupported', `"${file}" is encrypted (${how}), which is not supported. ${remedy}`);
  }
  const compressionType = length > q.HEADER_COMPRESSION ? bytes[q.HEADER_COMPRESSION] : q.COMPRESSION_ZLIB;
  const named = (incompatible & q.INCOMPAT_COMPRESSION) !== 0n;
  if (named !== (compressionType !== q.COMPRESSION_ZLIB)) bad('its compression type and the feature bit contradict');
  if (compressionType > q.COMPRESSION_ZSTD) {
    throw new RingsideError(
      'unsupported',
      `"${file}" has compression type ${compressionType}, which is not known here.`,
    );
  }
  const extended = (incompatible & q.INCOMPAT_EXTENDED_L2) !== 0n;
  if (extended && clusterBits < q.EXTENDED_CLUSTER_BITS_MIN) {
    bad(`extended L2 entries need clusters of 2^${q.EXTENDED_CLUSTER_BITS_MIN} bytes at least`);
  }

  const size = u64(q.HEADER_SIZE, 'its size');
  const l1Size = head.getUint32(q.HEADER_L1_SIZE);
  const l1Offset = u64(q.HEADER_L1_OFFSET, 'the offset of its L1 table');
  if (l1Size * q.ENTRY_BYTES > q.L1_BYTES_MAX) bad(`its L1 table has ${l1Size} entries`);
  if (l1Size > 0 && (l1Offset === 0 || l1Offset % clusterSize !== 0)) bad(`its L1 table is at ${l1Offset}`);
  const needed = l1Entries(size, clusterBits, extended);
  if (needed * q.ENTRY_BYTES > q.L1_BYTES_MAX) bad(`its size of ${size} bytes needs an L1 table that is too large`);
  if (l1Size < needed) bad(`its L1 table has ${l1Size} entries, and its size needs ${needed}`);
  const refcountTableOffset = u64(q.HEADER_REFTABLE_OFFSET, 'the offset of its refcount table');
  const refcountTableClusters = head.getUint32(q.HEADER_REFTABLE_CLUSTERS);
  if (refcountTableClusters === 0) bad('it has no refcount table');
  if (refcountTableClusters * clusterSize > q.REFTABLE_BYTES_MAX) {
    bad(`its refcount table has ${refcountTableClusters} clusters`);
  }
  if (refcountTableOffset === 0 || refcountTableOffset % clusterSize !== 0) {
    bad(`its refcount table is at ${refcountTableOffset}`);
  }
  const snapshotCount = head.getUint32(q.HEADER_SNAPSHOT_COUNT);
  const snapshotsOffset = u64(q.HEADER_SNAPSHOTS_OFFSET, 'the offset of its snapshot table');
  if (snapshotCount > q.SNAPSHOTS_MAX) bad(`it has ${snapshotCount} snapshots`);
  if (snapshotCount > 0 && (snapshotsOffset === 0 || snapshotsOffset % clusterSize !== 0)) {
    bad(`its snapshot table is at ${snapshotsOffset}`);
  }

  const text = (type: number, max: number): string | null => {
    const found = extensions.find((extension) => extension.type === type);
    if (!found) return null;
    if (found.data.length > max || found.data.includes(0)) bad('a name in its header is no name');
    return decoder.decode(found.data);
  };
  return {
    version,
    clusterBits,
    size: size - (size % q.SECTOR),
    l1Size,
    l1Offset,
    refcountTableOffset,
    refcountTableClusters,
    snapshotCount,
    snapshotsOffset,
    incompatible,
    compatible,
    autoclear,
    refcountOrder,
    compression: compressionType === q.COMPRESSION_ZSTD ? 'zstd' : 'zlib',
    backingFile: backingName(head, bytes, clusterSize, length, bad),
    backingFormat: text(q.EXT_BACKING_FORMAT, q.BACKING_FORMAT_BYTES_MAX),
    dataFile: text(q.EXT_DATA_FILE, q.BACKING_NAME_BYTES_MAX),
    extensions: extensions.filter(({ type }) => type !== q.EXT_BACKING_FORMAT && type !== q.EXT_DATA_FILE),
  };
}

/** Entries of an L1 table for a disk of `size` bytes. */
export function l1Entries(size: number, clusterBits: number, extended: boolean): number {
  const l2Entries = 2 ** clusterBits / (extended ? 2 * q.ENTRY_BYTES : q.ENTRY_BYTES);
  return Math.ceil(size / (2 ** clusterBits * l2Entries));
}

/** Names of incompatible features, one a bit. */
function featureNames(bits: bigint, extensions: readonly HeaderExtension[]): string[] {
  const table = extensions.find(({ type }) => type === q.EXT_FEATURE_NAMES)?.data ?? new Uint8Array(0);
  const names = [];
  for (let bit = 0; bit < 64; bit++) {
    if ((bits & (1n << BigInt(bit))) === 0n) continue;
    let name = '';
    for (let at = 0; at + q.FEATURE_NAME_BYTES <= table.length; at += q.FEATURE_NAME_BYTES) {
      if (table[at] !== 0 || table[at + 1] !== bit) continue;
      const bytes = table.subarray(at + 2, at + q.FEATURE_NAME_BYTES);
      const end = bytes.indexOf(0);
      // A hostile name may hold anything.
      name = decoder.decode(end < 0 ? bytes : bytes.subarray(0, end)).replace(/[^\x20-\x7e]/g, '?');
    }
    names.push(name ? `"${name}" (bit ${bit})` : `bit ${bit}`);
  }
  return names;
}

function parseExtensions(bytes: Uint8Array, start: number, bad: (problem: string) => never): HeaderExtension[] {
  const head = view(bytes);
  // Version 2 has room for them only where a backing file's name, or the cluster's end, leaves it.
  const backing = Number(head.getBigUint64(q.HEADER_BACKING_OFFSET));
  const end = backing >= start && backing < bytes.length ? backing : bytes.length;
  const found: HeaderExtension[] = [];
  for (let at = start; at + 8 <= end;) {
    const type = head.getUint32(at);
    const length = head.getUint32(at + 4);
    if (type === q.EXT_END) break;
    at += 8;
    if (length > q.EXTENSION_BYTES_MAX || length > end - at) bad('an extension of its header is too long');
    found.push({ type, data: bytes.slice(at, at + length) });
    at += Math.ceil(length / 8) * 8;
  }
  return found;
}

function backingName(
  head: DataView,
  bytes: Uint8Array,
  clusterSize: number,
  headerLength: number,
  bad: (problem: string) => never,
): string | null {
  const offset = head.getBigUint64(q.HEADER_BACKING_OFFSET);
  if (offset === 0n) return null;
  const length = head.getUint32(q.HEADER_BACKING_SIZE);
  if (length === 0) return null;
  const room = Math.min(clusterSize, bytes.length);
  if (offset < BigInt(headerLength) || offset > BigInt(room)) bad(`its backing file's name is at ${offset}`);
  if (length > q.BACKING_NAME_BYTES_MAX || length > room - Number(offset)) bad('its backing file has too long a name');
  const name = bytes.subarray(Number(offset), Number(offset) + length);
  if (name.includes(0)) bad("its backing file's name is no name");
  return decoder.decode(name);
}

/**
 * The first cluster of an image with this header.
 *
 * @throws RingsideError bad-option when names and extensions do not fit
 */
export function formatHeader(file: string, header: Qcow2Header): Uint8Array<ArrayBuffer> {
  const clusterSize = 2 ** header.clusterBits;
  const bytes = new Uint8Array(clusterSize);
  const out = view(bytes);
  out.setUint32(0, q.QCOW_MAGIC);
  out.setUint32(q.HEADER_VERSION, header.version);
  out.setUint32(q.HEADER_CLUSTER_BITS, header.clusterBits);
  out.setBigUint64(q.HEADER_SIZE, BigInt(header.size));
  out.setUint32(q.HEADER_L1_SIZE, header.l1Size);
  out.setBigUint64(q.HEADER_L1_OFFSET, BigInt(header.l1Offset));
  out.setBigUint64(q.HEADER_REFTABLE_OFFSET, BigInt(header.refcountTableOffset));
  out.setUint32(q.HEADER_REFTABLE_CLUSTERS, header.refcountTableClusters);
  out.setUint32(q.HEADER_SNAPSHOT_COUNT, header.snapshotCount);
  out.setBigUint64(q.HEADER_SNAPSHOTS_OFFSET, BigInt(header.snapshotsOffset));
  let at: number = q.HEADER_BYTES_V2;
  if (header.version === 3) {
    out.setBigUint64(q.HEADER_INCOMPATIBLE, header.incompatible);
    out.setBigUint64(q.HEADER_COMPATIBLE, header.compatible);
    out.setBigUint64(q.HEADER_AUTOCLEAR, header.autoclear);
    out.setUint32(q.HEADER_REFCOUNT_ORDER, header.refcountOrder);
    out.setUint32(q.HEADER_LENGTH, q.HEADER_BYTES_WRITTEN);
    bytes[q.HEADER_COMPRESSION] = header.compression === 'zstd' ? q.COMPRESSION_ZSTD : q.COMPRESSION_ZLIB;
    at = q.HEADER_BYTES_WRITTEN;
  }
  const extensions = [...header.extensions];
  if (header.dataFile !== null) extensions.unshift({ type: q.EXT_DATA_FILE, data: encoder.encode(header.dataFile) });
  if (header.backingFormat !== null) {
    extensions.unshift({ type: q.EXT_BACKING_FORMAT, data: encoder.encode(header.backingFormat) });
  }
  const tooLong = () => {
    throw new RingsideError('bad-option', `The names in the header of "${file}" do not fit into a cluster of it.`);
  };
  for (const { type, data } of extensions) {
    if (at + 8 + data.length + 8 > clusterSize) tooLong();
    out.setUint32(at, type);
    out.setUint32(at + 4, data.length);
    bytes.set(data, at + 8);
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
  at += 8;
  if (header.backingFile !== null) {
    const name = encoder.encode(header.backingFile);
    if (name.length > q.BACKING_NAME_BYTES_MAX || at + name.length > clusterSize) tooLong();
    out.setBigUint64(q.HEADER_BACKING_OFFSET, BigInt(at));
    out.setUint32(q.HEADER_BACKING_SIZE, name.length);
    bytes.set(name, at);
  }
  return bytes;
}

const FEATURES: readonly [kind: number, bit: number, name: string][] = [
  [0, 0, 'dirty bit'],
  [0, 1, 'corrupt bit'],
  [0, 2, 'external data file'],
  [0, 3, 'compression type'],
  [0, 4, 'extended L2 entries'],
  [1, 0, 'lazy refcounts'],
  [2, 0, 'bitmaps'],
  [2, 1, 'raw external data'],
];

/** The feature name table that new images get, the one of QEMU. */
export function featureNameTable(): HeaderExtension {
  const data = new Uint8Array(FEATURES.length * q.FEATURE_NAME_BYTES);
  for (const [i, [kind, bit, name]] of FEATURES.entries()) {
    data.set([kind, bit, ...encoder.encode(name)], i * q.FEATURE_NAME_BYTES);
  }
  return { type: q.EXT_FEATURE_NAMES, data };
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
