/** New qcow2 images. */
import { RingsideError } from '../../errors.ts';
import type { ImageFile } from '../image-file.ts';
import { featureNameTable, formatHeader, l1Entries } from './header.ts';
import type { Qcow2Header } from './header.ts';
import * as q from './layout.ts';
import { refcountField } from './refcount-field.ts';

/** Options as "qemu-img create -o" spells them, but for the dashes. */
export interface Qcow2CreateOptions {
  /** Bytes. */
  readonly size: number;
  readonly version?: 2 | 3;
  /** Bytes, a power of 2 from 512 to 2 MiB. */
  readonly clusterSize?: number;
  /** 1 to 64, a power of 2. */
  readonly refcountBits?: number;
  readonly lazyRefcounts?: boolean;
  readonly extendedL2?: boolean;
  readonly compression?: 'zlib' | 'zstd';
  readonly backing?: { readonly file: string; readonly format: string } | null;
}

export const DEFAULT_CLUSTER_SIZE = 65536;

/**
 * Makes an image of nothing in an empty file.
 *
 * @throws RingsideError bad-option, too-large
 */
export function createQcow2(file: ImageFile, options: Qcow2CreateOptions): void {
  const header = newHeader(file.file, options);
  const clusterSize = 2 ** header.clusterBits;
  const field = refcountField(header.refcountOrder);
  const perBlock = (clusterSize * 8) / 2 ** header.refcountOrder;
  const l1Clusters = Math.ceil((header.l1Size * q.ENTRY_BYTES) / clusterSize);

  // Header, refcount table, refcount blocks, L1 table.
  let blocks = 1;
  let tableClusters = 1;
  for (let settled = false; !settled;) {
    const needed = Math.ceil((1 + tableClusters + blocks + l1Clusters) / perBlock);
    const table = Math.ceil((needed * q.ENTRY_BYTES) / clusterSize);
    settled = needed === blocks && table === tableClusters;
    blocks = needed;
    tableClusters = table;
  }
  const used = 1 + tableClusters + blocks + l1Clusters;
  header.refcountTableOffset = clusterSize;
  header.refcountTableClusters = tableClusters;
  header.l1Offset = (1 + tableClusters + blocks) * clusterSize;

  const table = new DataView(new ArrayBuffer(tableClusters * clusterSize));
  for (let index = 0; index < blocks; index++) {
    const block = new DataView(new ArrayBuffer(clusterSize));
    for (let at = 0; at < perBlock && index * perBlock + at < used; at++) field.set(block, at, 1);
    const offset = (1 + tableClusters + index) * clusterSize;
    table.setBigUint64(index * q.ENTRY_BYTES, BigInt(offset));
    file.write(new Uint8Array(block.buffer), offset);
  }
  file.write(new Uint8Array(table.buffer), header.refcountTableOffset);
  file.truncate(used * clusterSize);
  // It is no image before all of it is there.
  file.flush();
  file.write(formatHeader(file.file, header), 0);
  file.flush();
}

function newHeader(file: string, options: Qcow2CreateOptions): Qcow2Header {
  const {
    version = 3,
    clusterSize = DEFAULT_CLUSTER_SIZE,
    refcountBits = 16,
    lazyRefcounts = false,
    extendedL2 = false,
    compression = 'zlib',
    backing = null,
  } = options;
  const refuse = (problem: string): never => {
    throw new RingsideError('bad-option', problem);
  };
  const clusterBits = Math.log2(clusterSize);
  if (!Number.isInteger(clusterBits) || clusterBits < q.CLUSTER_BITS_MIN || clusterBits > q.CLUSTER_BITS_MAX) {
    refuse(`cluster_size must be a power of 2 from 512 to 2M, not ${clusterSize}.`);
  }
  const refcountOrder = Math.log2(refcountBits);
  if (!Number.isInteger(refcountOrder) || refcountOrder < 0 || refcountOrder > q.REFCOUNT_ORDER_MAX) {
    refuse(`refcount_bits must be a power of 2 from 1 to 64, not ${refcountBits}.`);
  }
  if (version === 2) {
    if (lazyRefcounts) refuse('lazy_refcounts needs compat=v3.');
    if (refcountBits !== 16) refuse('refcount_bits other than 16 need compat=v3.');
    if (extendedL2) refuse('extended_l2 needs compat=v3.');
    if (compression !== 'zlib') refuse('compression_type other than zlib needs compat=v3.');
  }
  if (extendedL2 && clusterBits < q.EXTENDED_CLUSTER_BITS_MIN)
    refuse('extended_l2 needs a cluster_size of 16k at least.');
  if (!Number.isSafeInteger(options.size) || options.size < 0) refuse(`${options.size} is no size of a disk.`);
  const size = Math.ceil(options.size / q.SECTOR) * q.SECTOR;
  const l1Size = l1Entries(size, clusterBits, extendedL2);
  if (l1Size * q.ENTRY_BYTES > q.L1_BYTES_MAX) {
    const message = `A qcow2 image with clusters of ${clusterSize} bytes cannot be that large. Choose a larger cluster_size.`;
    throw new RingsideError('too-large', message);
  }
  const incompatible =
    (compression === 'zlib' ? 0n : q.INCOMPAT_COMPRESSION) | (extendedL2 ? q.INCOMPAT_EXTENDED_L2 : 0n);
  const header: Qcow2Header = {
    version,
    clusterBits,
    size,
    // QEMU has one entry even for a disk of nothing.
    l1Size: Math.max(1, l1Size),
    l1Offset: 0,
    refcountTableOffset: 0,
    refcountTableClusters: 0,
    snapshotCount: 0,
    snapshotsOffset: 0,
    incompatible,
    compatible: lazyRefcounts ? q.COMPAT_LAZY_REFCOUNTS : 0n,
    autoclear: 0n,
    refcountOrder,
    compression,
    backingFile: backing?.file ?? null,
    backingFormat: backing?.format ?? null,
    dataFile: null,
    extensions: version === 3 && clusterSize > 512 ? [featureNameTable()] : [],
  };
  // Whether the names fit is said before anything is written.
  formatHeader(file, header);
  return header;
}
