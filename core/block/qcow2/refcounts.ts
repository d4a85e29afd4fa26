/** Which clusters of the file are in use, and how often: the refcount table and its blocks. */
import { DiskError } from '../errors.ts';
import type { ImageFile } from '../image-file.ts';
import * as q from './layout.ts';
import type { Qcow2Header } from './header.ts';
import { refcountField } from './refcount-field.ts';
import type { RefcountField } from './refcount-field.ts';
import type { TableCache } from './table-cache.ts';

/** What the refcounts need of the image that they are of. */
export interface RefcountOwner {
  readonly file: ImageFile;
  readonly header: Qcow2Header;
  /** Marks the image as damaged and throws DiskError EIO. */
  corrupt(problem: string): never;
  /** What the image keeps in a cluster that must not be given away, null when nothing. */
  metadataAt(cluster: number): string | null;
  /** Gives up clusters once nothing on stable storage refers to them. */
  free(offset: number, length: number): void;
}

export interface ClusterRange {
  readonly first: number;
  readonly count: number;
}

export class Refcounts {
  readonly cache: TableCache;
  /** Clusters that a refcount block counts. */
  readonly perBlock: number;
  readonly #owner: RefcountOwner;
  readonly #clusterSize: number;
  readonly #field: RefcountField;
  /** Counts in a slice of the cache. */
  readonly #perSlice: number;
  #table: DataView<ArrayBuffer>;
  /** No cluster before it is free. */
  #free = 0;
  /** Clusters that are refcount blocks; made when first asked for. */
  #blockClusters: Set<number> | null = null;

  constructor(owner: RefcountOwner, cache: TableCache) {
    this.#owner = owner;
    this.cache = cache;
    const { header, file } = owner;
    this.#clusterSize = 2 ** header.clusterBits;
    const bits = 2 ** header.refcountOrder;
    this.perBlock = (this.#clusterSize * 8) / bits;
    this.#perSlice = (cache.sliceBytes * 8) / bits;
    this.#field = refcountField(header.refcountOrder);
    const bytes = header.refcountTableClusters * this.#clusterSize;
    this.#table = new DataView(file.read(bytes, header.refcountTableOffset).buffer);
  }

  get max(): number {
    return this.#field.max;
  }

  /** Offsets of all refcount blocks. */
  *blocks(): Generator<{ index: number; offset: number }> {
    for (let index = 0; index * q.ENTRY_BYTES < this.#table.byteLength; index++) {
      const offset = this.blockAt(index);
      if (offset !== 0) yield { index, offset };
    }
  }

  /** Of the blocks, those whose entries in the table make sense. */
  *validBlocks(): Generator<{ index: number; offset: number }> {
    for (let index = 0; index * q.ENTRY_BYTES < this.#table.byteLength; index++) {
      const offset = this.rawBlockAt(index);
      if (offset !== 0 && offset % this.#clusterSize === 0 && offset <= q.OFFSET_MAX) yield { index, offset };
    }
  }

  /** What the table says, sense or not. */
  rawBlockAt(index: number): number {
    return Number(this.#table.getBigUint64(index * q.ENTRY_BYTES));
  }

  /** Reads the table again, where the header says that it is; there must be no changes. */
  reload(): void {
    const { header, file } = this.#owner;
    const bytes = header.refcountTableClusters * this.#clusterSize;
    this.#table = new DataView(file.read(bytes, header.refcountTableOffset).buffer);
    this.#blockClusters = null;
    this.#free = 0;
    this.cache.clear();
  }

  /** Offset of the block with the counts of clusters from index * perBlock on, 0 when there is none. */
  blockAt(index: number): number {
    const at = index * q.ENTRY_BYTES;
    if (at >= this.#table.byteLength) return 0;
    const hi = this.#table.getUint32(at);
    const lo = this.#table.getUint32(at + 4);
    if (hi >= 0x20_0000 || lo % this.#clusterSize !== 0) {
      this.#owner.corrupt(`refcount block ${index} is not at the begin of a cluster`);
    }
    return hi * 2 ** 32 + lo;
  }

  isBlock(cluster: number): boolean {
    this.#blockClusters ??= new Set([...this.blocks()].map(({ offset }) => offset / this.#clusterSize));
    return this.#blockClusters.has(cluster);
  }

  get(cluster: number): number {
    const block = this.blockAt(Math.floor(cluster / this.perBlock));
    if (block === 0) return 0;
    const index = cluster % this.perBlock;
    const slice = this.cache.get(block + Math.floor(index / this.#perSlice) * this.cache.sliceBytes);
    return this.#field.get(slice.view, index % this.#perSlice);
  }

  /** Adds `delta` to the counts of clusters, which have a block. Calls `freed` for each that is 0 then. */
  add(first: number, count: number, delta: number, freed?: (cluster: number) => void): void {
    for (let cluster = first; cluster < first + count; cluster++) {
      const block = this.blockAt(Math.floor(cluster / this.perBlock));
      if (block === 0) this.#owner.corrupt(`cluster ${cluster} is in use and has no reference count`);
      const index = cluster % this.perBlock;
      const slice = this.cache.get(block + Math.floor(index / this.#perSlice) * this.cache.sliceBytes);
      const at = index % this.#perSlice;
      const value = this.#field.get(slice.view, at) + delta;
      if (value < 0) this.#owner.corrupt(`cluster ${cluster} is in use more often than its reference count says`);
      if (value > this.#field.max) {
        const detail = `cluster ${cluster} cannot be used more than ${this.#field.max} times (refcount_bits).`;
        throw new DiskError('write', this.#owner.file.file, 'EFBIG', detail);
      }
      this.#field.set(slice.view, at, value);
      this.cache.touch(slice);
      if (value !== 0) continue;
      if (cluster < this.#free) this.#free = cluster;
      freed?.(cluster);
    }
  }

  /** Sets a count to what a check has found, making a block for it if there is none. */
  set(cluster: number, value: number): void {
    if (this.blockAt(Math.floor(cluster / this.perBlock)) === 0) this.#extend(this.#tail(), 1, cluster);
    this.add(cluster, 1, Math.min(value, this.#field.max) - this.get(cluster));
  }

  /**
   * Takes free clusters that lie behind one another.
   *
   * @param max how many, at most
   * @param exact no fewer either
   */
  allocate(max: number, exact = false): ClusterRange {
    for (let from = this.#free, first = true; ; first = false) {
      const at = this.#nextFree(from);
      if (first) this.#free = at;
      if (!this.#hasBlock(at)) {
        this.#extend(this.#isTail(at) ? at : this.#tail(), exact ? max : 1, at);
        continue;
      }
      let count = 1;
      while (count < max && this.get(at + count) === 0 && this.#hasBlock(at + count)) count++;
      if (exact && count < max) {
        from = at + count;
        // Where no counts are, the rest has no room: all of it goes behind everything.
        if (!this.#hasBlock(from)) this.#extend(this.#tail(), max, from);
        continue;
      }
      for (let i = 0; i < count; i++) this.#checkFree(at + i);
      this.add(at, count, 1);
      if (at === this.#free) this.#free = at + count;
      return { first: at, count };
    }
  }

  #checkFree(cluster: number): void {
    const what = this.#owner.metadataAt(cluster);
    if (what !== null) this.#owner.corrupt(`cluster ${cluster} counts as free, and is ${what}`);
  }

  #nextFree(from: number): number {
    let cluster = from;
    while (this.get(cluster) !== 0) cluster++;
    return cluster;
  }

  #hasBlock(cluster: number): boolean {
    return this.blockAt(Math.floor(cluster / this.perBlock)) !== 0;
  }

  /** The first cluster of which neither it nor any behind it has a count. */
  #tail(): number {
    let index = this.#table.byteLength / q.ENTRY_BYTES;
    while (index > 0 && this.blockAt(index - 1) === 0) index--;
    return index * this.perBlock;
  }

  #isTail(cluster: number): boolean {
    return cluster >= this.#tail();
  }

  /**
   * Makes counts for clusters from `start` on (a tail), with room for `count` behind what that takes; and for `wanted`, which
   * may be before it. On stable storage when it returns: refcount blocks, then the table, then the header.
   */
  #extend(start: number, count: number, wanted: number): void {
    const { file, header } = this.#owner;
    const cluster = this.#clusterSize;
    const firstIndex = Math.floor(start / this.perBlock);
    const wantedIndex = Math.floor(wanted / this.perBlock);
    const indices: number[] = [];
    let tableClusters = 0;
    for (let settled = false; !settled;) {
      const end = Math.ceil((start + indices.length + tableClusters + count) / this.perBlock);
      const before = indices.length;
      indices.length = 0;
      for (let index = firstIndex; index < end; index++) indices.push(index);
      if (wantedIndex < firstIndex || wantedIndex >= end) indices.push(wantedIndex);
      const entries = Math.max(end, wantedIndex + 1);
      const grow = entries * q.ENTRY_BYTES > this.#table.byteLength;
      const table = grow ? Math.ceil((Math.ceil(entries * 1.5) * q.ENTRY_BYTES) / cluster) : 0;
      settled = indices.length === before && table === tableClusters;
      tableClusters = table;
    }
    const blocks = indices.length;
    if (tableClusters * cluster > q.REFTABLE_BYTES_MAX) {
      throw new DiskError('write', file.file, 'EFBIG', 'the image cannot have more clusters (of its size).');
    }
    const used = blocks + tableClusters;
    for (let i = 0; i < used; i++) this.#checkFree(start + i);

    const entries: { index: number; offset: number }[] = [];
    for (const [i, index] of indices.entries()) {
      const bytes = new Uint8Array(cluster);
      const view = new DataView(bytes.buffer);
      for (let at = start; at < start + used; at++) {
        if (Math.floor(at / this.perBlock) === index) this.#field.set(view, at % this.perBlock, 1);
      }
      const offset = (start + i) * cluster;
      this.cache.forget(offset, cluster);
      file.write(bytes, offset);
      entries.push({ index, offset });
      this.#blockClusters?.add(start + i);
    }
    file.flush();
    if (tableClusters > 0) this.#moveTable((start + blocks) * cluster, tableClusters, entries);
    else {
      for (const { index, offset } of entries) {
        this.#table.setBigUint64(index * q.ENTRY_BYTES, BigInt(offset));
        const entry = new Uint8Array(this.#table.buffer, index * q.ENTRY_BYTES, q.ENTRY_BYTES);
        file.write(entry, header.refcountTableOffset + index * q.ENTRY_BYTES);
      }
      file.flush();
    }
  }

  #moveTable(offset: number, clusters: number, entries: readonly { index: number; offset: number }[]): void {
    const { file, header } = this.#owner;
    const bytes = new Uint8Array(clusters * this.#clusterSize);
    bytes.set(new Uint8Array(this.#table.buffer));
    const table = new DataView(bytes.buffer);
    for (const entry of entries) table.setBigUint64(entry.index * q.ENTRY_BYTES, BigInt(entry.offset));
    file.write(bytes, offset);
    file.flush();
    // Offset and clusters lie side by side in the header: one write, inside one sector.
    const fields = new DataView(new ArrayBuffer(12));
    fields.setBigUint64(0, BigInt(offset));
    fields.setUint32(8, clusters);
    file.write(new Uint8Array(fields.buffer), q.HEADER_REFTABLE_OFFSET);
    file.flush();
    const old = { offset: header.refcountTableOffset, length: header.refcountTableClusters * this.#clusterSize };
    this.#table = table;
    header.refcountTableOffset = offset;
    header.refcountTableClusters = clusters;
    this.#owner.free(old.offset, old.length);
  }
}
