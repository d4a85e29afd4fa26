/** Disks in qcow2 images. */
import type { Disk, Qcow2Handle } from '../disk.ts';
import { SECTOR_SIZE } from '../disk.ts';
import { DiskError } from '../errors.ts';
import type { DiskOperation } from '../errors.ts';
import { scatter, totalLength, window, zero } from '../views.ts';
import { decompress } from './compression.ts';
import type { Qcow2Image } from './image.ts';
import { Mapping } from './mapping.ts';
import type { Entry, Run } from './mapping.ts';

/** Decompressed clusters that are kept. */
const DECOMPRESSED_BYTES = 2 ** 21;
/** Zeroes written at a time. */
const ZERO_CHUNK = 2 ** 20;

const NO_ENTRY: Entry = { hi: 0, lo: 0, zeroBits: 0, dataBits: 0 };

export class Qcow2Disk implements Disk {
  readonly handle: Qcow2Handle;
  readonly image: Qcow2Image;
  readonly mapping: Mapping;
  readonly backing: Disk | null;
  readonly file: string;
  readonly readonly: boolean;
  readonly canDiscard: boolean;
  readonly canWriteZeroes: boolean;
  readonly blockSize = SECTOR_SIZE;
  readonly discardGranularity: number;
  readonly #release: (() => void) | null;
  #closed = false;
  readonly #decompressed = new Map<number, Uint8Array>();

  /** @param release closes the files; null for a disk that somebody else will close */
  constructor(handle: Qcow2Handle, image: Qcow2Image, backing: Disk | null, release: (() => void) | null) {
    this.handle = handle;
    this.image = image;
    this.mapping = new Mapping(image);
    this.backing = backing;
    this.file = handle.file;
    this.readonly = handle.readonly;
    this.canDiscard = !handle.readonly && handle.discard;
    this.canWriteZeroes = !handle.readonly;
    this.discardGranularity = image.clusterSize;
    this.#release = release;
  }

  get size(): number {
    return this.image.header.size;
  }

  readv(views: readonly Uint8Array[], offset: number): void {
    const total = totalLength(views);
    this.#check('read', offset, total);
    for (let done = 0; done < total;) {
      const run = this.mapping.find(offset + done, total - done);
      this.#readRun(run, views, done, offset + done, total);
      done += run.length;
    }
  }

  writev(views: readonly Uint8Array[], offset: number): void {
    const total = totalLength(views);
    this.#checkChange('write', offset, total);
    for (let done = 0; done < total;) done += this.#writeSome(views, done, offset + done, total - done, total);
  }

  flush(): void {
    this.#checkOpen('flush');
    if (this.readonly) return;
    this.image.commit(true);
  }

  discard(offset: number, length: number): void {
    this.#checkChange('discard', offset, length);
    if (!this.canDiscard) throw new DiskError('discard', this.file, 'ENOTSUP', 'discard=ignore.');
    const { clusterSize, header, external } = this.image;
    const first = Math.ceil(offset / clusterSize);
    const end = offset + length === this.size ? this.size : offset + length;
    const last = end === this.size ? Math.ceil(end / clusterSize) : Math.floor(end / clusterSize);
    // Without zero clusters what the backing file has would come back.
    if (this.backing && header.version < 3) return;
    this.#eachCluster(first, last, (cluster, entry) => {
      if (external && this.mapping.hostOf(entry) >= 0) this.image.data.punch(cluster * clusterSize, clusterSize);
      this.#setReleased(cluster, entry, this.backing !== null);
    });
  }

  writeZeroes(offset: number, length: number, unmap: boolean): void {
    this.#checkChange('write zeroes to', offset, length);
    const { clusterSize, header, external } = this.image;
    if (external) {
      // A data file that is to be a raw image too must have them itself.
      this.#writeBytes(offset, length);
      return;
    }
    const { unit } = this.mapping;
    const end = offset + length;
    const first = Math.ceil(offset / unit) * unit;
    const last = end === this.size ? end : Math.floor(end / unit) * unit;
    if (first >= last || (header.version < 3 && this.backing)) {
      this.#writeZeroBytes(offset, length);
      return;
    }
    this.#writeZeroBytes(offset, first - offset);
    this.#writeZeroBytes(last, end - last);
    for (let at = first; at < last;) {
      const cluster = Math.floor(at / clusterSize);
      const stop = Math.min(last, (cluster + 1) * clusterSize);
      const whole = at % clusterSize === 0 && (stop % clusterSize === 0 || stop === this.size);
      if (!whole) {
        this.#zeroUnits(cluster, at, stop);
        at = stop;
        continue;
      }
      const wholeEnd = last === this.size ? Math.ceil(last / clusterSize) : Math.floor(last / clusterSize);
      this.#eachCluster(cluster, wholeEnd, (at, entry) => this.#zeroCluster(at, entry, unmap && this.canDiscard));
      at = Math.min(last, wholeEnd * clusterSize);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.image.finish();
    } finally {
      this.backing?.close();
      this.#release?.();
    }
  }

  /** What a range is, without reading it. */
  find(offset: number, max: number): Run {
    this.#check('read', offset, max);
    return this.mapping.find(offset, max);
  }

  // ---- reading ------------------------------------------------------------------------------------------------------

  #readRun(run: Run, views: readonly Uint8Array[], done: number, offset: number, total: number): void {
    const { length } = run;
    switch (run.kind) {
      case 'data':
        this.image.data.readv(length === total ? views : window(views, done, length), run.host);
        return;
      case 'zero':
        zero(views, done, length);
        return;
      case 'unallocated':
        this.#readBacking(views, done, offset, length);
        return;
      case 'compressed': {
        const within = offset % this.image.clusterSize;
        const plain = this.#decompress(Math.floor(offset / this.image.clusterSize));
        scatter(plain.subarray(within, within + length), views, done);
      }
    }
  }

  #readBacking(views: readonly Uint8Array[], done: number, offset: number, length: number): void {
    // It may be smaller.
    const there = this.backing ? Math.min(length, Math.max(0, this.backing.size - offset)) : 0;
    if (there > 0) this.backing?.readv(window(views, done, there), offset);
    zero(views, done + there, length - there);
  }

  #decompress(cluster: number): Uint8Array {
    const { image } = this;
    const { offset, length } = this.mapping.compressedExtent(this.mapping.entry(cluster));
    const kept = this.#decompressed.get(offset);
    if (kept) return kept;
    const plain = decompress(image.header.compression, image.file.read(length, offset), image.clusterSize);
    if (!plain) {
      const detail = `what is compressed at byte ${offset} cannot be decompressed.`;
      throw new DiskError('read', this.file, 'EIO', detail);
    }
    if ((this.#decompressed.size + 1) * image.clusterSize > DECOMPRESSED_BYTES) this.#decompressed.clear();
    this.#decompressed.set(offset, plain);
    return plain;
  }

  // ---- writing ------------------------------------------------------------------------------------------------------

  /** Writes what can be written at once. @returns bytes */
  #writeSome(views: readonly Uint8Array[], done: number, offset: number, left: number, total: number): number {
    const { image, mapping } = this;
    const { clusterSize } = image;
    const cluster = Math.floor(offset / clusterSize);
    const entry = mapping.entry(cluster);
    if (image.l2TableIsOwn(Math.floor(cluster / mapping.l2Entries)) && mapping.isOwn(entry)) {
      const run = mapping.find(offset, left);
      if (run.kind === 'data') {
        const length = this.#ownLength(cluster, offset, run.length);
        image.checkData(run.host, length);
        image.data.writev(length === total ? views : window(views, done, length), run.host);
        return length;
      }
      const length = Math.min(left, clusterSize - (offset % clusterSize));
      this.#writeIntoOwn(cluster, entry, views, done, offset, length);
      return length;
    }
    return this.#writeNew(cluster, views, done, offset, left);
  }

  /** How much of a run of data lies in clusters that are all our own. */
  #ownLength(cluster: number, offset: number, length: number): number {
    const { clusterSize } = this.image;
    let end = (cluster + 1) * clusterSize;
    while (end < offset + length && this.mapping.isOwn(this.mapping.entry(end / clusterSize))) end += clusterSize;
    return Math.min(length, end - offset);
  }

  /** Writes to a cluster that we have, but which is (partly) zero or not filled yet. */
  #writeIntoOwn(
    cluster: number,
    entry: Entry,
    views: readonly Uint8Array[],
    done: number,
    offset: number,
    length: number,
  ): void {
    const { image, mapping } = this;
    const { unit } = mapping;
    const start = offset - (offset % unit);
    const end = Math.min(Math.ceil((offset + length) / unit) * unit, (cluster + 1) * image.clusterSize);
    const host = mapping.hostOf(entry);
    const at = host + (start % image.clusterSize);
    image.checkData(at, end - start);
    const pieces = [
      this.#contents(start, offset - start),
      ...window(views, done, length),
      this.#contents(offset + length, end - offset - length),
    ];
    image.data.writev(pieces, at);
    const bits = unitBits(start % image.clusterSize, end - start, unit);
    const zeroBits = (entry.zeroBits & ~bits) >>> 0;
    mapping.set(cluster, mapping.ownEntry(host, zeroBits, (entry.dataBits | bits) >>> 0));
  }

  /** Writes to new clusters. @returns bytes */
  #writeNew(cluster: number, views: readonly Uint8Array[], done: number, offset: number, left: number): number {
    const { image, mapping } = this;
    const { clusterSize } = image;
    mapping.prepare(cluster);
    let wanted = 1;
    const touched = Math.ceil((offset + left) / clusterSize) - cluster;
    const most = Math.min(touched, mapping.clustersInSlice(cluster));
    while (wanted < most && !mapping.isOwn(mapping.entry(cluster + wanted))) wanted++;
    const place = image.external ? { offset: cluster * clusterSize, count: wanted } : image.allocate(wanted);
    const { count } = place;
    const length = Math.min(left, (cluster + count) * clusterSize - offset);
    // The parts of the first and the last cluster that are not written to.
    const last = cluster + count - 1;
    const start = this.#copyStart(cluster, offset);
    const end = this.#copyEnd(last, offset + length);
    try {
      const head = this.#contents(start, offset - start);
      const tail = this.#contents(offset + length, end - offset - length);
      const pieces = [...window(views, done, length)];
      const fresh = !image.external && place.offset >= image.file.size;
      // Behind the end of the file there are zeroes already.
      const skip = fresh && isZero(head) ? head.length : 0;
      if (skip < head.length) pieces.unshift(head);
      if (!fresh || !isZero(tail)) pieces.push(tail);
      image.data.writev(pieces, place.offset + (start % clusterSize) + skip);
    } catch (error) {
      if (!image.external) image.unallocate(place.offset, count);
      throw error;
    }
    for (let i = 0; i < count; i++) {
      const old = mapping.entry(cluster + i);
      const from = i === 0 ? start % clusterSize : 0;
      const to = cluster + i === last ? end - last * clusterSize : clusterSize;
      const bits = unitBits(from, to - from, mapping.unit);
      // What was data is copied, all of it.
      const zeroBits = (old.zeroBits & ~bits) >>> 0;
      mapping.set(cluster + i, mapping.ownEntry(place.offset + i * clusterSize, zeroBits, bits));
      mapping.release(old);
    }
    return length;
  }

  /** Where what is written to a new cluster begins, for a write at `offset` in it. */
  #copyStart(cluster: number, offset: number): number {
    return this.#movesData(cluster) ? cluster * this.image.clusterSize : offset - (offset % this.mapping.unit);
  }

  #copyEnd(cluster: number, end: number): number {
    const { clusterSize } = this.image;
    return this.#movesData(cluster)
      ? (cluster + 1) * clusterSize
      : Math.ceil(end / this.mapping.unit) * this.mapping.unit;
  }

  #movesData(cluster: number): boolean {
    const entry = this.mapping.entry(cluster);
    return this.mapping.isCompressed(entry) || entry.dataBits !== 0;
  }

  /** What the guest sees at a range inside a cluster, behind the end of the disk zeroes. */
  #contents(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const there = Math.min(length, this.size - offset);
    if (there > 0) this.readv([bytes.subarray(0, there)], offset);
    return bytes;
  }

  // ---- zeroes -------------------------------------------------------------------------------------------------------

  /** Calls `act` for each cluster that there is anything of, in this image or in the backing file. */
  #eachCluster(first: number, end: number, act: (cluster: number, entry: Entry) => void): void {
    const { image, mapping } = this;
    for (let cluster = first; cluster < end;) {
      const table = Math.floor(cluster / mapping.l2Entries);
      if (!this.backing && image.l2Table(table) === 0) {
        cluster = (table + 1) * mapping.l2Entries;
        continue;
      }
      this.image.prepareChange();
      act(cluster, mapping.entry(cluster));
      cluster++;
    }
  }

  #setReleased(cluster: number, entry: Entry, asZero: boolean): void {
    const { mapping } = this;
    const empty = mapping.hostOf(entry) < 0 && !mapping.isCompressed(entry);
    const allZero = asZero ? this.#zeroEntry() : NO_ENTRY;
    if (empty && (!asZero || this.#isAllZero(entry))) {
      // Nothing to give back; what is zero may stay so.
      return;
    }
    mapping.set(cluster, allZero);
    mapping.release(entry);
  }

  #zeroEntry(): Entry {
    return this.image.extended
      ? { hi: 0, lo: 0, zeroBits: 0xffff_ffff, dataBits: 0 }
      : { hi: 0, lo: 1, zeroBits: 0, dataBits: 0 };
  }

  #isAllZero(entry: Entry): boolean {
    return this.image.extended ? entry.zeroBits === 0xffff_ffff : (entry.lo & 1) === 1;
  }

  #zeroCluster(cluster: number, entry: Entry, unmap: boolean): void {
    const { image, mapping } = this;
    const compressed = mapping.isCompressed(entry);
    const host = compressed ? -1 : mapping.hostOf(entry);
    if (!compressed && host < 0 && entry.zeroBits === 0 && (entry.lo & 1) === 0 && !this.backing) return;
    if (!compressed && host < 0 && this.#isAllZero(entry)) return;
    if (image.header.version < 3) {
      // No zero clusters, and no backing file: what is not there is zero.
      this.#setReleased(cluster, entry, false);
      return;
    }
    const keep = host >= 0 && !unmap && mapping.isOwn(entry);
    if (keep) {
      const zeroed = this.#zeroEntry();
      mapping.set(cluster, { ...zeroed, hi: entry.hi, lo: ((entry.lo & ~1) | zeroed.lo) >>> 0 });
      return;
    }
    this.#setReleased(cluster, entry, true);
  }

  /** Zeroes subclusters. */
  #zeroUnits(cluster: number, start: number, end: number): void {
    const { mapping, image } = this;
    const entry = mapping.entry(cluster);
    if (mapping.isCompressed(entry)) {
      this.#writeZeroBytes(start, end - start);
      return;
    }
    image.prepareChange();
    const bits = unitBits(start % image.clusterSize, end - start, mapping.unit);
    mapping.set(cluster, {
      ...entry,
      zeroBits: (entry.zeroBits | bits) >>> 0,
      dataBits: (entry.dataBits & ~bits) >>> 0,
    });
  }

  /** Writes zeroes where there are none. */
  #writeZeroBytes(offset: number, length: number): void {
    for (let done = 0; done < length;) {
      const run = this.mapping.find(offset + done, Math.min(ZERO_CHUNK, length - done));
      const zeroAlready = run.kind === 'zero' || (run.kind === 'unallocated' && !this.backing);
      if (!zeroAlready) this.writev([new Uint8Array(run.length)], offset + done);
      done += run.length;
    }
  }

  #writeBytes(offset: number, length: number): void {
    const zeroes = new Uint8Array(Math.min(length, ZERO_CHUNK));
    for (let done = 0; done < length; done += zeroes.length) {
      this.writev([zeroes.subarray(0, Math.min(zeroes.length, length - done))], offset + done);
    }
  }

  // ---- checks -------------------------------------------------------------------------------------------------------

  #checkOpen(operation: DiskOperation): void {
    // Its descriptor may be another file's by now.
    if (this.#closed) throw new DiskError(operation, this.file, 'EBADF', 'it is closed.');
  }

  #check(operation: DiskOperation, offset: number, length: number): void {
    this.#checkOpen(operation);
    const { size } = this;
    if (Number.isInteger(offset) && offset >= 0 && length >= 0 && offset <= size && length <= size - offset) return;
    const detail = `bytes [${offset}, +${length}) are not inside its ${size} bytes.`;
    throw new DiskError(operation, this.file, 'EINVAL', detail);
  }

  #checkChange(operation: DiskOperation, offset: number, length: number): void {
    this.#checkOpen(operation);
    if (this.readonly) throw new DiskError(operation, this.file, 'EROFS', 'it is attached read-only.');
    this.#check(operation, offset, length);
    this.image.prepareChange();
  }
}

/** Bits of the subclusters that a range inside a cluster touches; one bit where a unit is a cluster. */
function unitBits(start: number, length: number, unit: number): number {
  const first = Math.floor(start / unit);
  const count = Math.ceil((start + length) / unit) - first;
  return count >= 32 ? 0xffff_ffff : ((2 ** count - 1) * 2 ** first) >>> 0;
}

const ZEROES = new Uint8Array(2 ** 16);

function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += ZEROES.length) {
    const part = bytes.subarray(at, at + ZEROES.length);
    if (Buffer.compare(part, ZEROES.subarray(0, part.length)) !== 0) return false;
  }
  return true;
}
