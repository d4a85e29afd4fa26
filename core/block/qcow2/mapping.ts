/** Where the guest's bytes are: L2 entries, looked up and changed. */
import type { Qcow2Image } from './image.ts';
import * as q from './layout.ts';
import type { Slice } from './table-cache.ts';

/** What a range of the guest is: not here (the backing file's), zero, in clusters of its own, or compressed. */
export type RunKind = 'unallocated' | 'zero' | 'data' | 'compressed';

/** A range of the guest, all of one kind, and for data one behind the other in the file. */
export interface Run {
  kind: RunKind;
  /** Bytes. */
  length: number;
  /** Of data: where the range is in the file. Of others: where its cluster is, if it has one, else -1. */
  host: number;
}

/** An L2 entry. */
export interface Entry {
  hi: number;
  lo: number;
  /** Of extended L2 entries: a bit a subcluster. */
  zeroBits: number;
  dataBits: number;
}

/** Where a compressed cluster is in the file, bytes. */
export interface CompressedExtent {
  readonly offset: number;
  readonly length: number;
}

const ALL_SUBCLUSTERS = 0xffff_ffff;

export class Mapping {
  readonly image: Qcow2Image;
  readonly entryBytes: number;
  /** Entries of an L2 table. */
  readonly l2Entries: number;
  /** Bytes that a bit of an extended L2 entry is for; else a cluster. */
  readonly unit: number;
  readonly #entriesPerSlice: number;

  constructor(image: Qcow2Image) {
    this.image = image;
    this.entryBytes = image.extended ? 2 * q.ENTRY_BYTES : q.ENTRY_BYTES;
    this.l2Entries = image.clusterSize / this.entryBytes;
    this.unit = image.extended ? image.clusterSize / q.SUBCLUSTERS : image.clusterSize;
    this.#entriesPerSlice = image.l2.sliceBytes / this.entryBytes;
  }

  /** Clusters of the guest from `cluster` on whose entries lie in the same slice. */
  clustersInSlice(cluster: number): number {
    return this.#entriesPerSlice - (cluster % this.#entriesPerSlice);
  }

  /**
   * What is at `offset` of the guest, for at most `max` bytes.
   *
   * @throws DiskError EIO when the tables make no sense
   */
  find(offset: number, max: number): Run {
    const { image, unit } = this;
    const { clusterSize } = image;
    let cluster = Math.floor(offset / clusterSize);
    const table = image.l2Table(Math.floor(cluster / this.l2Entries));
    if (table === 0) {
      const span = clusterSize * this.l2Entries;
      return { kind: 'unallocated', length: Math.min(max, span - (offset % span)), host: -1 };
    }
    const slice = this.#slice(table, cluster);
    const last = cluster + this.clustersInSlice(cluster);
    let sub = Math.floor((offset % clusterSize) / unit);
    let run: Run | null = null;
    for (let length = unit - (offset % unit); cluster < last; length = unit) {
      const kind = this.#kind(slice, cluster, sub);
      const host = this.#host(slice, cluster);
      if (run === null) {
        run = { kind, length, host: kind === 'data' ? host + (offset % clusterSize) : host };
        if (kind === 'compressed') {
          run.length = clusterSize - (offset % clusterSize);
          break;
        }
      } else if (kind !== run.kind || (kind === 'data' && host + sub * unit !== run.host + run.length)) {
        break;
      } else {
        run.length += length;
      }
      if (run.length >= max) break;
      if ((sub + 1) * unit < clusterSize) sub++;
      else {
        sub = 0;
        cluster++;
      }
    }
    if (run === null) throw new RangeError('a slice without entries');
    run.length = Math.min(run.length, max);
    return run;
  }

  /** The entry of a cluster of the guest; zeroes where there is no table for it. */
  entry(cluster: number): Entry {
    const table = this.image.l2Table(Math.floor(cluster / this.l2Entries));
    if (table === 0) return { hi: 0, lo: 0, zeroBits: 0, dataBits: 0 };
    const { view } = this.#slice(table, cluster);
    const at = this.#at(cluster);
    const bits = this.image.extended;
    return {
      hi: view.getUint32(at),
      lo: view.getUint32(at + 4),
      zeroBits: bits ? view.getUint32(at + 8) : 0,
      dataBits: bits ? view.getUint32(at + 12) : 0,
    };
  }

  /** Of an entry that is not compressed: where its cluster is in the file; -1 when it has none. */
  hostOf({ hi, lo }: Entry): number {
    const offset = (hi & q.OFFSET_HI_MASK) * 2 ** 32 + ((lo & q.OFFSET_LO_MASK) >>> 0);
    // In an external data file a cluster may be at 0.
    return offset === 0 && !(this.image.external && hi & q.OFLAG_COPIED_HI) ? -1 : offset;
  }

  isCompressed({ hi }: Entry): boolean {
    return (hi & q.OFLAG_COMPRESSED_HI) !== 0;
  }

  /** Whether the cluster is used by nothing else, so that it may be changed in place. */
  isOwn({ hi }: Entry): boolean {
    return (hi & (q.OFLAG_COPIED_HI | q.OFLAG_COMPRESSED_HI)) >>> 0 === q.OFLAG_COPIED_HI;
  }

  /** Where the bytes of a compressed cluster are; up to a sector behind them may be others'. */
  compressedExtent({ hi, lo }: Entry): CompressedExtent {
    const { clusterBits } = this.image.header;
    // Offsets have 62 - (clusterBits - 8) bits, 49 at least; the number of further sectors has the rest.
    const hiBits = 62 - (clusterBits - 8) - 32;
    const offset = (hi & (2 ** hiBits - 1)) * 2 ** 32 + lo;
    const sectors = ((hi & 0x3fff_ffff) >>> hiBits) + 1;
    if (offset > q.OFFSET_MAX) this.image.corrupt(`a compressed cluster is at ${offset}`);
    return { offset, length: sectors * q.SECTOR - (offset % q.SECTOR) };
  }

  /** The entry for a compressed cluster, null when it is too far behind in the file. */
  compressedEntry(offset: number, length: number): Entry | null {
    const hiBits = 62 - (this.image.header.clusterBits - 8) - 32;
    if (offset + length >= 2 ** (32 + hiBits)) return null;
    const sectors = Math.floor((offset + length - 1) / q.SECTOR) - Math.floor(offset / q.SECTOR);
    const hi = (q.OFLAG_COMPRESSED_HI | (sectors * 2 ** hiBits) | Math.floor(offset / 2 ** 32)) >>> 0;
    return { hi, lo: offset % 2 ** 32, zeroBits: 0, dataBits: 0 };
  }

  /** Changes the entry of a cluster of the guest; makes its L2 table first where there is none of its own. */
  set(cluster: number, { hi, lo, zeroBits, dataBits }: Entry): void {
    const slice = this.#sliceForChange(cluster);
    const at = this.#at(cluster);
    slice.view.setUint32(at, hi);
    slice.view.setUint32(at + 4, lo);
    if (this.image.extended) {
      slice.view.setUint32(at + 8, zeroBits);
      slice.view.setUint32(at + 12, dataBits);
    }
    this.image.l2.touch(slice);
  }

  /** Changes an entry in the table that there is, whoever else uses that. */
  setInPlace(cluster: number, { hi, lo }: Entry): void {
    const slice = this.#slice(this.image.l2Table(Math.floor(cluster / this.l2Entries)), cluster);
    slice.view.setUint32(this.#at(cluster), hi);
    slice.view.setUint32(this.#at(cluster) + 4, lo);
    this.image.l2.touch(slice);
  }

  /** An entry for a cluster of the file that nothing else uses. */
  ownEntry(host: number, zeroBits = 0, dataBits = ALL_SUBCLUSTERS): Entry {
    return { hi: (q.OFLAG_COPIED_HI | Math.floor(host / 2 ** 32)) >>> 0, lo: host % 2 ** 32, zeroBits, dataBits };
  }

  /** Gives up what an entry has of the file, once the change is on stable storage. */
  release(entry: Entry): void {
    if (this.image.external) return;
    if (this.isCompressed(entry)) {
      const { offset, length } = this.compressedExtent(entry);
      this.image.free(offset, length);
      return;
    }
    const host = this.hostOf(entry);
    if (host >= 0) this.image.free(host, this.image.clusterSize);
  }

  /** Makes sure that the table of a cluster can be changed: whatever can fail for want of space fails here. */
  prepare(cluster: number): void {
    this.#sliceForChange(cluster);
  }

  #kind(slice: Slice, cluster: number, sub: number): RunKind {
    const at = this.#at(cluster);
    const hi = slice.view.getUint32(at);
    const lo = slice.view.getUint32(at + 4);
    const { image } = this;
    if (hi & q.OFLAG_COMPRESSED_HI) {
      if (image.external) image.corrupt('a compressed cluster in an image with an external data file');
      return 'compressed';
    }
    const allocated = this.#host(slice, cluster) >= 0;
    if (image.extended) {
      const zero = (slice.view.getUint32(at + 8) >>> sub) & 1;
      const data = (slice.view.getUint32(at + 12) >>> sub) & 1;
      if ((zero && data) || (data && !allocated)) image.corrupt(`the bits of guest cluster ${cluster} contradict`);
      return zero ? 'zero' : data ? 'data' : 'unallocated';
    }
    if (lo & q.OFLAG_ZERO_LO) {
      if (image.header.version < 3) image.corrupt('a zero cluster in an image of version 2');
      return 'zero';
    }
    return allocated ? 'data' : 'unallocated';
  }

  #host(slice: Slice, cluster: number): number {
    const at = this.#at(cluster);
    const entry = { hi: slice.view.getUint32(at), lo: slice.view.getUint32(at + 4), zeroBits: 0, dataBits: 0 };
    if (this.isCompressed(entry)) return -1;
    const host = this.hostOf(entry);
    if (host >= 0 && (host % this.image.clusterSize !== 0 || host > q.OFFSET_MAX)) {
      this.image.corrupt(`guest cluster ${cluster} is not at the begin of a cluster of the file`);
    }
    return host;
  }

  #at(cluster: number): number {
    return (cluster % this.#entriesPerSlice) * this.entryBytes;
  }

  #slice(table: number, cluster: number): Slice {
    const { l2 } = this.image;
    const index = Math.floor((cluster % this.l2Entries) / this.#entriesPerSlice);
    return l2.get(table + index * l2.sliceBytes);
  }

  #sliceForChange(cluster: number): Slice {
    const { image } = this;
    const index = Math.floor(cluster / this.l2Entries);
    const old = image.l2Table(index);
    if (old !== 0 && image.l2TableIsOwn(index)) {
      image.checkTable(old);
      return this.#slice(old, cluster);
    }
    const { offset } = image.allocate(1);
    const { clusterSize } = image;
    try {
      // A table that snapshots have too has not been changed since they have it: the file's is what it is.
      image.file.write(old === 0 ? new Uint8Array(clusterSize) : image.file.read(clusterSize, old), offset);
    } catch (error) {
      image.unallocate(offset, 1);
      throw error;
    }
    image.l2.forget(offset, clusterSize);
    image.setL2Table(index, offset);
    if (old !== 0) image.free(old, clusterSize);
    return this.#slice(offset, cluster);
  }
}
