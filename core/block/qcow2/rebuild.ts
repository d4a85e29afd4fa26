/** Makes new reference counts for an image whose own are beyond repair. */
import { DiskError } from '../errors.ts';
import type { Qcow2Image } from './image.ts';
import * as q from './layout.ts';
import { refcountField } from './refcount-field.ts';
import type { UseCounts } from './use-counts.ts';

/**
 * Writes refcount blocks and a table behind all that is in use, then the header. Uses of the new clusters are added to `uses`.
 *
 * @param uses without those of the old counts themselves
 */
export function rebuildRefcounts(image: Qcow2Image, uses: UseCounts): void {
  const { file, header, clusterSize, refcounts } = image;
  const { perBlock } = refcounts;
  const field = refcountField(header.refcountOrder);
  const start = Math.max(uses.end, Math.ceil(file.size / clusterSize));
  const wanted = new Set<number>();
  for (const [cluster] of uses.entries()) wanted.add(Math.floor(cluster / perBlock));
  let indices: number[] = [];
  let tableClusters = 0;
  for (let settled = false; !settled;) {
    const all = new Set(wanted);
    const used = indices.length + tableClusters;
    for (let at = start; at < start + used; at++) all.add(Math.floor(at / perBlock));
    const entries = Math.max(...all) + 1;
    const table = Math.ceil((entries * q.ENTRY_BYTES) / clusterSize);
    settled = all.size === indices.length && table === tableClusters;
    indices = [...all].sort((a, b) => a - b);
    tableClusters = table;
  }
  if (tableClusters * clusterSize > q.REFTABLE_BYTES_MAX) {
    throw new DiskError('write', file.file, 'EFBIG', 'the image has too many clusters to count.');
  }
  for (let i = 0; i < indices.length + tableClusters; i++) uses.more(start + i);

  const table = new DataView(new ArrayBuffer(tableClusters * clusterSize));
  for (const [i, index] of indices.entries()) {
    const block = new DataView(new ArrayBuffer(clusterSize));
    for (let at = 0; at < perBlock; at++) {
      const count = uses.get(index * perBlock + at);
      if (count > 0) field.set(block, at, Math.min(count, field.max));
    }
    file.write(new Uint8Array(block.buffer), (start + i) * clusterSize);
    table.setBigUint64(index * q.ENTRY_BYTES, BigInt((start + i) * clusterSize));
  }
  const offset = (start + indices.length) * clusterSize;
  file.write(new Uint8Array(table.buffer), offset);
  file.flush();
  const fields = new DataView(new ArrayBuffer(12));
  fields.setBigUint64(0, BigInt(offset));
  fields.setUint32(8, tableClusters);
  file.write(new Uint8Array(fields.buffer), q.HEADER_REFTABLE_OFFSET);
  file.flush();
  header.refcountTableOffset = offset;
  header.refcountTableClusters = tableClusters;
  refcounts.reload();
}
