/** Whether an image is sound: counts all uses of all clusters, and compares them with the reference counts. */
import type { Qcow2Image } from './image.ts';
import * as q from './layout.ts';
import { Mapping } from './mapping.ts';
import { rebuildRefcounts } from './rebuild.ts';
import { readSnapshots } from './snapshot-table.ts';
import { UseCounts } from './use-counts.ts';

export interface CheckResult {
  corruptions: number;
  leaks: number;
  corruptionsFixed: number;
  leaksFixed: number;
  /** Things that kept the check from looking. */
  checkErrors: number;
  /** Of the guest's clusters. */
  totalClusters: number;
  allocatedClusters: number;
  compressedClusters: number;
  fragmentedClusters: number;
  /** Bytes of the file that are in use, from its begin. */
  imageEnd: number;
  /** One line a finding, the first 1000 of them. */
  messages: string[];
}

const MESSAGES_MAX = 1000;

export type Repair = 'none' | 'leaks' | 'all';

/**
 * Checks an image, and repairs it as far as asked. There must be no changes that are not in the file.
 *
 * @throws RingsideError bad-image when its snapshot table makes no sense; DiskError
 */
export function checkImage(image: Qcow2Image, repair: Repair): CheckResult {
  const check = new Check(image);
  check.count();
  check.compare(repair);
  return check.result;
}

class Check {
  readonly result: CheckResult;
  readonly #image: Qcow2Image;
  readonly #mapping: Mapping;
  readonly #uses: UseCounts;
  #rebuild = false;

  constructor(image: Qcow2Image) {
    this.#image = image;
    this.#mapping = new Mapping(image);
    this.#uses = new UseCounts(Math.ceil(image.file.size / image.clusterSize));
    this.result = {
      corruptions: 0,
      leaks: 0,
      corruptionsFixed: 0,
      leaksFixed: 0,
      checkErrors: 0,
      totalClusters: Math.ceil(image.header.size / image.clusterSize),
      allocatedClusters: 0,
      compressedClusters: 0,
      fragmentedClusters: 0,
      imageEnd: 0,
      messages: [],
    };
  }

  count(): void {
    const image = this.#image;
    const { header, clusterSize } = image;
    this.#use('the header', 0, clusterSize);
    this.#countL1('the L1 table', header.l1Offset, image.l1, true);
    const { snapshots, bytes } = readSnapshots(image.file, header);
    for (const snapshot of snapshots) {
      const l1 = image.readL1(snapshot.l1Offset, snapshot.l1Size);
      this.#countL1(`the L1 table of snapshot ${snapshot.id}`, snapshot.l1Offset, l1, false);
    }
    if (bytes > 0) this.#use('the snapshot table', header.snapshotsOffset, bytes);
    this.#countBitmaps();
    this.#use('the refcount table', header.refcountTableOffset, header.refcountTableClusters * clusterSize);
    for (let index = 0; index * q.ENTRY_BYTES < header.refcountTableClusters * clusterSize; index++) {
      const offset = this.#refcountBlock(index);
      if (offset > 0 && !this.#use(`refcount block ${index}`, offset, clusterSize)) this.#rebuild = true;
      if (offset > 0 && this.#uses.get(offset / clusterSize) > 1) {
        this.#corruption(`ERROR refcount block ${index} is in a cluster that is in use otherwise`);
        this.#rebuild = true;
      }
    }
  }

  #refcountBlock(index: number): number {
    const offset = this.#image.refcounts.rawBlockAt(index);
    if (offset % this.#image.clusterSize === 0 && offset <= q.OFFSET_MAX) return offset;
    this.#corruption(`ERROR refcount block ${index} is not cluster aligned; refcount table entry corrupted`);
    this.#rebuild = true;
    return 0;
  }

  compare(repair: Repair): void {
    const { result } = this;
    const fixErrors = repair === 'all';
    const found = { leaks: 0, errors: 0 };
    if (this.#rebuild) {
      if (fixErrors) {
        this.#rebuildAll();
        return;
      }
    } else {
      this.#compareCounts(repair, found);
    }
    this.#checkCopied(fixErrors);
    result.imageEnd = this.#uses.end * this.#image.clusterSize;
    if (repair === 'none') return;
    this.#image.commit(true);
    this.#image.refcounts.cache.write();
    this.#image.file.flush();
  }

  #rebuildAll(): void {
    const image = this.#image;
    const structure = new Set([...image.refcounts.validBlocks()].map(({ offset }) => offset / image.clusterSize));
    const { refcountTableOffset: table, refcountTableClusters: clusters } = image.header;
    for (let i = 0; i < clusters; i++) structure.add(table / image.clusterSize + i);
    for (const cluster of structure) this.#uses.less(cluster);
    rebuildRefcounts(image, this.#uses);
    this.#checkCopied(true);
    image.commit(true);
    this.result.corruptionsFixed = this.result.corruptions;
    this.result.imageEnd = this.#uses.end * image.clusterSize;
  }

  #compareCounts(repair: Repair, found: { leaks: number; errors: number }): void {
    const { refcounts, clusterSize } = this.#image;
    const { result } = this;
    const compareOne = (cluster: number, uses: number) => {
      const count = refcounts.get(cluster);
      if (count === uses) return;
      const leak = count > uses;
      const fix = leak ? repair !== 'none' : repair === 'all';
      const how = fix ? 'Repairing' : leak ? 'Leaked' : 'ERROR';
      this.#message(`${how} cluster ${cluster} refcount=${count} reference=${uses}`);
      if (leak) result.leaks++;
      else result.corruptions++;
      if (fix) {
        refcounts.set(cluster, uses);
        if (leak) result.leaksFixed++;
        else result.corruptionsFixed++;
      }
      if (leak) found.leaks++;
      else found.errors++;
    };
    for (const [cluster, uses] of this.#uses.entries()) compareOne(cluster, uses);
    // And what is counted and not used.
    for (const { index } of [...refcounts.blocks()]) {
      for (let i = 0; i < refcounts.perBlock; i++) {
        const cluster = index * refcounts.perBlock + i;
        if (cluster * clusterSize > q.OFFSET_MAX) break;
        if (this.#uses.get(cluster) === 0 && refcounts.get(cluster) !== 0) compareOne(cluster, 0);
      }
    }
  }

  // ---- uses ---------------------------------------------------------------------------------------------------------

  /** @returns false when the range is not in the file */
  #use(what: string, offset: number, bytes: number): boolean {
    if (bytes === 0) return true;
    const { clusterSize, file } = this.#image;
    const first = Math.floor(offset / clusterSize);
    const end = Math.ceil((offset + bytes) / clusterSize);
    if (
      first * clusterSize >= file.size &&
      first > 0 &&
      offset >= Math.ceil(file.size / clusterSize + 1) * clusterSize
    ) {
      this.#corruption(`ERROR: counting reference for ${what} exceeding the end of the file by one cluster or more`);
      return false;
    }
    for (let cluster = first; cluster < end; cluster++) this.#uses.more(cluster);
    return true;
  }

  #countL1(what: string, offset: number, l1: DataView<ArrayBuffer>, active: boolean): void {
    const { clusterSize, file } = this.#image;
    this.#use(what, offset, l1.byteLength);
    for (let index = 0; index < l1.byteLength / q.ENTRY_BYTES; index++) {
      const hi = l1.getUint32(index * q.ENTRY_BYTES);
      const lo = l1.getUint32(index * q.ENTRY_BYTES + 4);
      const table = (hi & q.OFFSET_HI_MASK) * 2 ** 32 + ((lo & q.OFFSET_LO_MASK) >>> 0);
      if (table === 0) continue;
      if (table % clusterSize !== 0 || table > q.OFFSET_MAX) {
        this.#corruption(`ERROR l2_offset=${table.toString(16)}: Table is not cluster aligned; L1 entry corrupted`);
        continue;
      }
      if (!this.#use(`L2 table ${index}`, table, clusterSize)) continue;
      this.#countL2(new DataView(file.read(clusterSize, table).buffer), active);
    }
  }

  #countL2(table: DataView<ArrayBuffer>, active: boolean): void {
    const image = this.#image;
    const mapping = this.#mapping;
    const { clusterSize } = image;
    let next = -1;
    for (let at = 0; at < table.byteLength; at += mapping.entryBytes) {
      const entry = { hi: table.getUint32(at), lo: table.getUint32(at + 4), zeroBits: 0, dataBits: 0 };
      if (image.extended) {
        entry.zeroBits = table.getUint32(at + 8);
        entry.dataBits = table.getUint32(at + 12);
      }
      if (mapping.isCompressed(entry)) {
        if ((entry.hi & q.OFLAG_COPIED_HI) !== 0) {
          this.#corruption(`ERROR: compressed cluster has OFLAG_COPIED set at entry ${at / mapping.entryBytes}`);
        }
        if (image.external) {
          this.#corruption('ERROR: compressed cluster in an image with a data file');
          continue;
        }
        const { offset, length } = mapping.compressedExtent(entry);
        this.#use('a compressed cluster', offset, length);
        if (active) {
          this.result.allocatedClusters++;
          this.result.compressedClusters++;
          this.result.fragmentedClusters++;
        }
        continue;
      }
      if ((entry.zeroBits & entry.dataBits) !== 0) this.#corruption('ERROR: subclusters are both zero and allocated');
      const host = mapping.hostOf(entry);
      if (host < 0) {
        if (entry.dataBits !== 0) this.#corruption('ERROR: subclusters are allocated in no cluster');
        continue;
      }
      if (host % clusterSize !== 0 || host > q.OFFSET_MAX) {
        this.#corruption(
          `ERROR offset=${host.toString(16)}: Data cluster is not properly aligned; L2 entry corrupted.`,
        );
        continue;
      }
      if (active) {
        this.result.allocatedClusters++;
        if (next >= 0 && host !== next) this.result.fragmentedClusters++;
        next = host + clusterSize;
      }
      if (!image.external) this.#use('a data cluster', host, clusterSize);
    }
  }

  #countBitmaps(): void {
    const { header, file } = this.#image;
    const extension = header.extensions.find(({ type }) => type === q.EXT_BITMAPS)?.data;
    if (!extension || extension.length < 24 || (header.autoclear & q.AUTOCLEAR_BITMAPS) === 0n) return;
    const fields = new DataView(extension.buffer, extension.byteOffset, extension.length);
    const bytes = Number(fields.getBigUint64(8));
    const offset = Number(fields.getBigUint64(16));
    if (
      bytes > q.SNAPSHOT_TABLE_BYTES_MAX ||
      offset > q.OFFSET_MAX ||
      !this.#use('the bitmap directory', offset, bytes)
    ) {
      return;
    }
    const directory = new DataView(file.read(bytes, offset).buffer);
    for (let at = 0; at + 24 <= bytes;) {
      const tableOffset = Number(directory.getBigUint64(at));
      const tableEntries = directory.getUint32(at + 8);
      const tableBytes = tableEntries * q.ENTRY_BYTES;
      if (tableBytes <= q.L1_BYTES_MAX && this.#use('a bitmap table', tableOffset, tableBytes)) {
        const table = new DataView(file.read(tableBytes, tableOffset).buffer);
        for (let i = 0; i < tableEntries; i++) {
          const data = Number(table.getBigUint64(i * q.ENTRY_BYTES) & 0x00ff_ffff_ffff_fe00n);
          if (data !== 0) this.#use('a bitmap', data, this.#image.clusterSize);
        }
      }
      at += Math.ceil((24 + directory.getUint32(at + 20) + directory.getUint16(at + 18)) / 8) * 8;
    }
  }

  // ---- OFLAG_COPIED -------------------------------------------------------------------------------------------------

  /** Entries of the active tables say whether their cluster is used once. */
  #checkCopied(fix: boolean): void {
    const image = this.#image;
    const { refcounts, clusterSize } = image;
    const mapping = this.#mapping;
    for (let index = 0; index < image.header.l1Size; index++) {
      const table = image.l2Table(index);
      if (table === 0 || table >= image.file.size) continue;
      const own = refcounts.get(table / clusterSize) === 1;
      if (own !== image.l2TableIsOwn(index)) {
        this.#wrongFlag(`${fix ? 'Repairing' : 'ERROR'} OFLAG_COPIED L2 cluster: l1_index=${index}`, fix);
        if (fix) image.setL2TableOwn(index, own);
      }
      if (image.external) continue;
      for (let i = 0; i < mapping.l2Entries; i++) {
        const cluster = index * mapping.l2Entries + i;
        const entry = mapping.entry(cluster);
        const host = mapping.hostOf(entry);
        if (mapping.isCompressed(entry) || host < 0 || host % clusterSize !== 0 || host > q.OFFSET_MAX) continue;
        const single = refcounts.get(host / clusterSize) === 1;
        if (single === mapping.isOwn(entry)) continue;
        const what = `OFLAG_COPIED data cluster: guest cluster ${cluster}`;
        this.#wrongFlag(`${fix ? 'Repairing' : 'ERROR'} ${what}`, fix);
        if (fix) mapping.setInPlace(cluster, { ...entry, hi: (entry.hi ^ q.OFLAG_COPIED_HI) >>> 0 });
      }
    }
  }

  #wrongFlag(message: string, fix: boolean): void {
    this.#corruption(message);
    if (fix) this.result.corruptionsFixed++;
  }

  #corruption(message: string): void {
    this.result.corruptions++;
    this.#message(message);
  }

  #message(message: string): void {
    if (this.result.messages.length < MESSAGES_MAX) this.result.messages.push(message);
  }
}
