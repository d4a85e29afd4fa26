/**
 * An open qcow2 image: its header, its tables, and the order in which changes of them reach the file.
 *
 * The order is such that the file is sound at any instant: counts go up before something refers to a cluster (refcount
 * blocks, barrier, L2 tables, barrier, L1 table), and go down only when nothing on stable storage refers to it any more. What
 * a crash can leave behind is clusters that are counted and not used.
 */
import { errorLine } from '../../errors.ts';
import { DiskError } from '../errors.ts';
import type { ImageFile } from '../image-file.ts';
import { HEADER_READ_BYTES, parseHeader } from './header.ts';
import type { Qcow2Header } from './header.ts';
import * as q from './layout.ts';
import { Refcounts } from './refcounts.ts';
import { TableCache } from './table-cache.ts';

/** Memory for L2 entries, bytes: those of 256 GiB in clusters of 64 KiB. As QEMU. */
const L2_CACHE_BYTES = 32 * 2 ** 20;
const REFCOUNT_CACHE_BYTES = 4 * 2 ** 20;
/** Ranges of clusters that wait for a flush to be free. */
const FREES_MAX = 4096;
/** L2 tables that are looked for when a cluster is about to be overwritten; images with more do without. */
const L2_TABLES_KNOWN = 2 ** 20;

export interface ImageOptions {
  /** Where the data is, if not in `file`. */
  readonly data: ImageFile | null;
  /** Freed clusters are given back to the host. */
  readonly discard: boolean;
}

export class Qcow2Image {
  readonly file: ImageFile;
  /** Where guest data is: `file`, or the external data file. */
  readonly data: ImageFile;
  readonly header: Qcow2Header;
  readonly clusterSize: number;
  readonly extended: boolean;
  readonly writable: boolean;
  readonly refcounts: Refcounts;
  readonly l2: TableCache;
  readonly #discard: boolean;
  #l1: DataView<ArrayBuffer>;
  readonly #l1Changed = new Set<number>();
  #l2Tables: Set<number> | null = null;
  /** L1 tables of snapshots, and whatever else is in ranges; { first cluster, clusters, what }. */
  readonly #reserved: { first: number; count: number; what: string }[] = [];
  #frees: { offset: number; length: number }[] = [];
  #broken: string | null = null;
  #prepared = false;

  /** @throws RingsideError bad-image, unsupported; DiskError */
  constructor(file: ImageFile, { data, discard }: ImageOptions) {
    this.file = file;
    this.data = data ?? file;
    this.#discard = discard;
    this.writable = file.handle.writable;
    const head = file.read(Math.min(HEADER_READ_BYTES, file.size), 0);
    this.header = parseHeader(file.file, head);
    this.clusterSize = 2 ** this.header.clusterBits;
    this.extended = (this.header.incompatible & q.INCOMPAT_EXTENDED_L2) !== 0n;
    this.l2 = new TableCache(file, this.clusterSize, L2_CACHE_BYTES, () => this.commit(false));
    const cache: TableCache = new TableCache(file, this.clusterSize, REFCOUNT_CACHE_BYTES, () => cache.write());
    this.refcounts = new Refcounts(this, cache);
    this.#l1 = this.readL1(this.header.l1Offset, this.header.l1Size);
  }

  /** Whether data is not in the image's own file, so that its clusters have no counts. */
  get external(): boolean {
    return this.data !== this.file;
  }

  get lazy(): boolean {
    return (this.header.compatible & q.COMPAT_LAZY_REFCOUNTS) !== 0n;
  }

  get dirty(): boolean {
    return (this.header.incompatible & q.INCOMPAT_DIRTY) !== 0n;
  }

  // ---- L1 -----------------------------------------------------------------------------------------------------------

  readL1(offset: number, entries: number): DataView<ArrayBuffer> {
    return new DataView(this.file.read(entries * q.ENTRY_BYTES, offset).buffer);
  }

  get l1(): DataView<ArrayBuffer> {
    return this.#l1;
  }

  /**
   * Makes another L1 table the active one, on stable storage; the old one is the caller's to free.
   *
   * @param l1 what is in the file at `offset` already
   * @param size bytes of the disk
   */
  moveL1(l1: DataView<ArrayBuffer>, offset: number, size: number): void {
    const { header } = this;
    const l1Size = l1.byteLength / q.ENTRY_BYTES;
    // Size, encryption method, and where the L1 table is lie side by side in the header: one write, inside one sector.
    const fields = new DataView(new ArrayBuffer(24));
    fields.setBigUint64(0, BigInt(size));
    fields.setUint32(12, l1Size);
    fields.setBigUint64(16, BigInt(offset));
    this.file.write(new Uint8Array(fields.buffer), q.HEADER_SIZE);
    this.file.flush();
    header.size = size;
    header.l1Size = l1Size;
    header.l1Offset = offset;
    this.#l1 = l1;
    this.#l1Changed.clear();
    this.#l2Tables = null;
  }

  /** Offset of an L2 table; 0 when there is none. */
  l2Table(index: number, l1 = this.#l1): number {
    const hi = l1.getUint32(index * q.ENTRY_BYTES) & q.OFFSET_HI_MASK;
    const lo = (l1.getUint32(index * q.ENTRY_BYTES + 4) & q.OFFSET_LO_MASK) >>> 0;
    if (hi >= 0x20_0000 || lo % this.clusterSize !== 0)
      this.corrupt(`L2 table ${index} is not at the begin of a cluster`);
    return hi * 2 ** 32 + lo;
  }

  /** Whether nothing else uses the L2 table, so that it may be changed in place. */
  l2TableIsOwn(index: number): boolean {
    return (this.#l1.getUint32(index * q.ENTRY_BYTES) & q.OFLAG_COPIED_HI) !== 0;
  }

  /** @param offset of a table that nothing else uses; 0 for none */
  setL2Table(index: number, offset: number): void {
    const old = this.l2Table(index);
    if (old !== 0) this.#l2Tables?.delete(old / this.clusterSize);
    const flag = offset === 0 ? 0 : q.OFLAG_COPIED_HI;
    this.#l1.setUint32(index * q.ENTRY_BYTES, (Math.floor(offset / 2 ** 32) | flag) >>> 0);
    this.#l1.setUint32(index * q.ENTRY_BYTES + 4, offset % 2 ** 32);
    this.#l1Changed.add(index);
    if (offset !== 0) this.#l2Tables?.add(offset / this.clusterSize);
  }

  setL2TableOwn(index: number, own: boolean): void {
    const at = index * q.ENTRY_BYTES;
    const hi = this.#l1.getUint32(at);
    this.#l1.setUint32(at, (own ? hi | q.OFLAG_COPIED_HI : hi & ~q.OFLAG_COPIED_HI) >>> 0);
    this.#l1Changed.add(index);
  }

  /** @throws DiskError EIO when the cluster of an L2 table is something else too */
  checkTable(offset: number): void {
    const what = this.metadataAt(offset / this.clusterSize);
    if (what !== null && what !== 'an L2 table') this.corrupt(`an L2 table is in the same cluster as ${what}`);
  }

  // ---- what may not be overwritten ----------------------------------------------------------------------------------

  reserve(what: string, offset: number, length: number): void {
    this.#reserved.push({ first: offset / this.clusterSize, count: Math.ceil(length / this.clusterSize), what });
  }

  release(offset: number): void {
    const at = this.#reserved.findIndex(({ first }) => first === offset / this.clusterSize);
    if (at >= 0) this.#reserved.splice(at, 1);
  }

  /** What the image keeps in a cluster for itself, null when nothing. */
  metadataAt(cluster: number): string | null {
    const { header, clusterSize } = this;
    const within = (offset: number, bytes: number) =>
      cluster >= offset / clusterSize && cluster < Math.ceil((offset + bytes) / clusterSize);
    if (cluster === 0) return 'the header';
    if (within(header.l1Offset, header.l1Size * q.ENTRY_BYTES)) return 'the L1 table';
    if (within(header.refcountTableOffset, header.refcountTableClusters * clusterSize)) return 'the refcount table';
    if (this.refcounts.isBlock(cluster)) return 'a refcount block';
    if (this.#l2Set().has(cluster)) return 'an L2 table';
    for (const { first, count, what } of this.#reserved) if (cluster >= first && cluster < first + count) return what;
    return null;
  }

  /** @throws DiskError EIO when data would go over what the image keeps for itself: it is damaged */
  checkData(offset: number, length: number): void {
    if (this.external) return;
    const end = Math.ceil((offset + length) / this.clusterSize);
    for (let cluster = Math.floor(offset / this.clusterSize); cluster < end; cluster++) {
      const what = this.metadataAt(cluster);
      if (what !== null) this.corrupt(`guest data is in the same cluster (${cluster}) as ${what}`);
    }
  }

  #l2Set(): Set<number> {
    if (this.#l2Tables) return this.#l2Tables;
    const found = (this.#l2Tables = new Set<number>());
    for (let index = 0; index < this.#l1.byteLength / q.ENTRY_BYTES && found.size < L2_TABLES_KNOWN; index++) {
      const offset = this.l2Table(index);
      if (offset !== 0) found.add(offset / this.clusterSize);
    }
    return found;
  }

  // ---- changes ------------------------------------------------------------------------------------------------------

  /** Before anything is changed. */
  prepareChange(): void {
    this.checkSound();
    if (this.#frees.length > FREES_MAX) this.commit(true);
    if (this.#prepared) return;
    const { header } = this;
    // What we do not keep up to date says so (bitmaps).
    const kept = this.external ? q.AUTOCLEAR_DATA_FILE_RAW : 0n;
    if ((header.autoclear & ~kept) !== 0n) {
      header.autoclear &= kept;
      this.#writeFeatures();
    }
    if (this.lazy && !this.dirty) {
      header.incompatible |= q.INCOMPAT_DIRTY;
      this.#writeFeatures();
    }
    this.file.barrier();
    this.#prepared = true;
  }

  /** @throws DiskError EIO when it has turned out to be damaged */
  checkSound(): void {
    if (this.#broken !== null) throw new DiskError('write', this.file.file, 'EIO', this.#broken);
  }

  /**
   * Takes clusters for data or a table.
   *
   * @returns where they begin and how many they are, at most `max`; with `exact` as many
   */
  allocate(max: number, exact = false): { offset: number; count: number } {
    const { first, count } = this.refcounts.allocate(max, exact);
    return { offset: first * this.clusterSize, count };
  }

  /** Gives back clusters that were allocated for something which was then not done. */
  unallocate(offset: number, count: number): void {
    this.refcounts.add(offset / this.clusterSize, count, -1);
  }

  /** The clusters of a range have a user less, as soon as the changes made until now are on stable storage. */
  free(offset: number, length: number): void {
    if (length === 0) return;
    const last = this.#frees.at(-1);
    const whole = (range: { offset: number; length: number }) =>
      range.offset % this.clusterSize === 0 && range.length % this.clusterSize === 0;
    if (last && last.offset + last.length === offset && whole(last) && whole({ offset, length })) last.length += length;
    else this.#frees.push({ offset, length });
  }

  /**
   * Writes what has changed, in order.
   *
   * @param sync all of it, and all data, is on stable storage when it returns, and freed clusters can be used again
   */
  commit(sync: boolean): void {
    if (!this.writable) return;
    if (!this.lazy) this.refcounts.cache.write();
    if (this.l2.dirty || this.#l1Changed.size > 0) {
      if (this.external) this.data.barrier();
      this.file.barrier();
      this.l2.write();
      if (this.#l1Changed.size > 0) {
        this.file.barrier();
        this.#writeL1();
      }
    }
    if (!sync) return;
    if (this.external) this.data.flush();
    this.file.flush();
    this.#applyFrees();
  }

  /** Everything is in the file, and the file is clean. */
  finish(): void {
    if (!this.writable) return;
    this.commit(true);
    this.refcounts.cache.write();
    this.file.barrier();
    if (!this.dirty || this.#broken !== null) return;
    this.header.incompatible &= ~q.INCOMPAT_DIRTY;
    this.#writeFeatures();
    this.file.flush();
    this.#prepared = false;
  }

  /** Sets or clears bits of the header's incompatible features, on stable storage. */
  mark(bit: bigint, on: boolean): void {
    this.header.incompatible = on ? this.header.incompatible | bit : this.header.incompatible & ~bit;
    this.#writeFeatures();
    this.file.flush();
    if (on) return;
    if ((bit & q.INCOMPAT_CORRUPT) !== 0n) this.#broken = null;
    if ((bit & q.INCOMPAT_DIRTY) !== 0n) this.#prepared = false;
  }

  /** @throws DiskError EIO, always; nothing is written from then on, and the image says that it is damaged */
  corrupt(problem: string): never {
    const repair = 'Repair it with "ringside img check -r all".';
    const detail = `it is damaged: ${problem}. ${repair}`;
    if (this.#broken === null && this.writable && this.header.version === 3) {
      try {
        this.mark(q.INCOMPAT_CORRUPT, true);
      } catch (error) {
        this.#broken = `${detail} (It could not be marked as damaged: ${errorLine(error)}.)`;
      }
    }
    this.#broken ??= detail;
    throw new DiskError('read', this.file.file, 'EIO', detail);
  }

  /** Everything cached is read again when it is needed; there must be no changes. */
  dropCaches(): void {
    this.l2.clear();
    this.refcounts.cache.clear();
  }

  #writeFeatures(): void {
    if (this.header.version < 3) return;
    const fields = new DataView(new ArrayBuffer(24));
    fields.setBigUint64(0, this.header.incompatible);
    fields.setBigUint64(8, this.header.compatible);
    fields.setBigUint64(16, this.header.autoclear);
    this.file.write(new Uint8Array(fields.buffer), q.HEADER_INCOMPATIBLE);
  }

  #writeL1(): void {
    for (const index of this.#l1Changed) {
      const entry = new Uint8Array(this.#l1.buffer, index * q.ENTRY_BYTES, q.ENTRY_BYTES);
      this.file.write(entry, this.header.l1Offset + index * q.ENTRY_BYTES);
    }
    this.#l1Changed.clear();
  }

  #applyFrees(): void {
    const frees = this.#frees;
    this.#frees = [];
    const { clusterSize } = this;
    let start = -1;
    let end = -1;
    const giveBack = () => {
      if (start < 0) return;
      this.l2.forget(start * clusterSize, (end - start) * clusterSize);
      if (this.#discard) this.file.punch(start * clusterSize, (end - start) * clusterSize);
    };
    for (const { offset, length } of frees) {
      const first = Math.floor(offset / clusterSize);
      const count = Math.ceil((offset + length) / clusterSize) - first;
      this.refcounts.add(first, count, -1, (cluster) => {
        if (cluster !== end) {
          giveBack();
          start = cluster;
        }
        end = cluster + 1;
      });
    }
    giveBack();
  }
}
