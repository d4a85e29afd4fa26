/** Internal snapshots of a qcow2 image: another L1 table, whose clusters are counted once more. */
import { RingsideError } from '../../errors.ts';
import { DiskError } from '../errors.ts';
import { checkImage } from './check.ts';
import type { Qcow2Disk } from './disk.ts';
import * as q from './layout.ts';
import { formatSnapshots, readSnapshots } from './snapshot-table.ts';
import type { Snapshot } from './snapshot-table.ts';

/** @throws RingsideError bad-image */
export function listSnapshots(disk: Qcow2Disk): Snapshot[] {
  return readSnapshots(disk.image.file, disk.image.header).snapshots;
}

/**
 * Keeps what the disk holds now under a name. Counts go up before anything refers to them; the snapshot is there when the header
 * says so, which is the last thing.
 *
 * @param now ms since 1970
 * @throws RingsideError bad-option when there is one of that name, unsupported with an external data file; DiskError
 */
export function createSnapshot(disk: Qcow2Disk, name: string, now: number): void {
  marked(disk, () => create(disk, name, now));
}

function create(disk: Qcow2Disk, name: string, now: number): void {
  const { image } = disk;
  const { header, clusterSize } = image;
  refuseExternal(disk);
  const snapshots = listSnapshots(disk);
  if (snapshots.some((other) => other.name === name)) {
    throw new RingsideError('bad-option', `"${disk.file}" has a snapshot "${name}" already. Choose another name.`);
  }
  if (snapshots.length >= q.SNAPSHOTS_MAX) throw new RingsideError('too-large', 'There is no room for more snapshots.');
  image.prepareChange();
  image.commit(true);
  const clusters = Math.max(1, Math.ceil((header.l1Size * q.ENTRY_BYTES) / clusterSize));
  const { offset } = image.allocate(clusters, true);
  countTables(disk, image.l1, 1);
  setCopied(disk);
  // In the snapshot's table entries are not marked as used once; nobody looks there.
  const l1 = new Uint8Array(clusters * clusterSize);
  l1.set(new Uint8Array(image.l1.buffer));
  image.file.write(l1, offset);
  image.commit(true);

  const id = String(Math.max(0, ...snapshots.map((other) => Number(other.id) || 0)) + 1);
  snapshots.push({
    l1Offset: offset,
    l1Size: header.l1Size,
    id,
    name,
    seconds: Math.floor(now / 1000),
    nanoseconds: (now % 1000) * 1_000_000,
    vmClock: 0n,
    vmStateSize: 0,
    diskSize: header.size,
    icount: 0n,
    unknownExtra: new Uint8Array(0),
  });
  writeTable(disk, snapshots);
  image.reserve(`the L1 table of snapshot ${id}`, offset, header.l1Size * q.ENTRY_BYTES);
}

/** Gives up a snapshot: first its name, then, when that is on stable storage, its clusters. */
export function deleteSnapshot(disk: Qcow2Disk, nameOrId: string): void {
  marked(disk, () => remove(disk, nameOrId));
}

function remove(disk: Qcow2Disk, nameOrId: string): void {
  const { image } = disk;
  const snapshots = listSnapshots(disk);
  const snapshot = find(disk, snapshots, nameOrId);
  image.prepareChange();
  image.commit(true);
  writeTable(
    disk,
    snapshots.filter((other) => other !== snapshot),
  );
  const l1 = image.readL1(snapshot.l1Offset, snapshot.l1Size);
  countTables(disk, l1, -1);
  image.release(snapshot.l1Offset);
  image.free(snapshot.l1Offset, snapshot.l1Size * q.ENTRY_BYTES);
  image.commit(true);
  // What only the disk uses now is its own again.
  setCopied(disk);
  image.commit(true);
}

/** The disk holds again what it held at a snapshot. What it holds now is gone. */
export function applySnapshot(disk: Qcow2Disk, nameOrId: string): void {
  marked(disk, () => apply(disk, nameOrId));
}

function apply(disk: Qcow2Disk, nameOrId: string): void {
  const { image } = disk;
  const { header, clusterSize } = image;
  refuseExternal(disk);
  const snapshot = find(disk, listSnapshots(disk), nameOrId);
  if (snapshot.diskSize !== header.size) {
    const remedy = `Resize the disk to ${snapshot.diskSize} bytes first.`;
    throw new RingsideError('unsupported', `At snapshot "${nameOrId}" the disk had another size. ${remedy}`);
  }
  image.prepareChange();
  image.commit(true);
  const kept = image.readL1(snapshot.l1Offset, snapshot.l1Size);
  const entries = Math.max(snapshot.l1Size, header.l1Size);
  const clusters = Math.max(1, Math.ceil((entries * q.ENTRY_BYTES) / clusterSize));
  const { offset } = image.allocate(clusters, true);
  countTables(disk, kept, 1);
  const bytes = new Uint8Array(clusters * clusterSize);
  bytes.set(new Uint8Array(kept.buffer));
  const l1 = new DataView(bytes.slice(0, entries * q.ENTRY_BYTES).buffer);
  for (let at = 0; at < l1.byteLength; at += q.ENTRY_BYTES)
    l1.setUint32(at, (l1.getUint32(at) & ~q.OFLAG_COPIED_HI) >>> 0);
  bytes.set(new Uint8Array(l1.buffer));
  image.file.write(bytes, offset);
  image.commit(true);
  const old = { l1: image.l1, offset: header.l1Offset, length: header.l1Size * q.ENTRY_BYTES };
  image.moveL1(l1, offset, header.size);
  countTables(disk, old.l1, -1);
  image.free(old.offset, old.length);
  image.commit(true);
  setCopied(disk);
  image.commit(true);
}

/**
 * Counts and marks of one cluster are in two places, which cannot change at once: meanwhile the image says that it was not closed,
 * so that who opens it after a crash makes its counts again.
 */
function marked({ image }: Qcow2Disk, change: () => void): void {
  image.checkSound();
  const mark = image.header.version === 3 && !image.dirty;
  if (mark) image.mark(q.INCOMPAT_DIRTY, true);
  const unmark = () => {
    if (!mark) return;
    image.refcounts.cache.write();
    image.file.flush();
    image.mark(q.INCOMPAT_DIRTY, false);
  };
  try {
    change();
  } catch (error) {
    // What was half done is undone: counted again, as after a crash.
    image.commit(true);
    checkImage(image, 'all');
    unmark();
    throw error;
  }
  unmark();
}

function refuseExternal({ image, file }: Qcow2Disk): void {
  if (!image.external) return;
  throw new RingsideError('unsupported', `"${file}" has its data in another file, and can have no snapshots.`);
}

function find(disk: Qcow2Disk, snapshots: readonly Snapshot[], nameOrId: string): Snapshot {
  const found = snapshots.find(({ id }) => id === nameOrId) ?? snapshots.find(({ name }) => name === nameOrId);
  if (found) return found;
  throw new RingsideError('not-found', `"${disk.file}" has no snapshot "${nameOrId}".`);
}

/** All that an L1 table refers to has a user more, or less. */
function countTables({ image, mapping }: Qcow2Disk, l1: DataView<ArrayBuffer>, delta: 1 | -1): void {
  const { clusterSize, refcounts } = image;
  const count = (offset: number, length: number) => {
    if (delta < 0) {
      image.free(offset, length);
      return;
    }
    const first = Math.floor(offset / clusterSize);
    const end = Math.ceil((offset + length) / clusterSize);
    if (refcounts.get(first) >= refcounts.max) {
      throw new DiskError(
        'write',
        image.file.file,
        'EFBIG',
        'its clusters cannot be counted so often (refcount_bits).',
      );
    }
    refcounts.add(first, end - first, 1);
  };
  for (let index = 0; index < l1.byteLength / q.ENTRY_BYTES; index++) {
    const table = image.l2Table(index, l1);
    if (table === 0) continue;
    const entries = new DataView(image.file.read(clusterSize, table).buffer);
    for (let at = 0; at < clusterSize; at += mapping.entryBytes) {
      const entry = { hi: entries.getUint32(at), lo: entries.getUint32(at + 4), zeroBits: 0, dataBits: 0 };
      if (mapping.isCompressed(entry)) {
        const { offset, length } = mapping.compressedExtent(entry);
        count(offset, length);
        continue;
      }
      const host = mapping.hostOf(entry);
      if (host >= 0) count(host, clusterSize);
    }
    count(table, clusterSize);
  }
}

/** Marks in the active tables which clusters are used once. */
function setCopied({ image, mapping }: Qcow2Disk): void {
  const { refcounts, clusterSize, header } = image;
  for (let index = 0; index < header.l1Size; index++) {
    const table = image.l2Table(index);
    if (table === 0) continue;
    const own = refcounts.get(table / clusterSize) === 1;
    if (own !== image.l2TableIsOwn(index)) image.setL2TableOwn(index, own);
    for (let i = 0; i < mapping.l2Entries; i++) {
      const cluster = index * mapping.l2Entries + i;
      const entry = mapping.entry(cluster);
      const host = mapping.hostOf(entry);
      if (mapping.isCompressed(entry) || host < 0) continue;
      const single = refcounts.get(host / clusterSize) === 1;
      if (single !== mapping.isOwn(entry)) {
        mapping.setInPlace(cluster, { ...entry, hi: (entry.hi ^ q.OFLAG_COPIED_HI) >>> 0 });
      }
    }
  }
}

/** Another snapshot table, at another place; the old one is given up. */
function writeTable({ image }: Qcow2Disk, snapshots: readonly Snapshot[]): void {
  const { header, clusterSize, file } = image;
  const before = readSnapshots(file, header);
  const bytes = formatSnapshots(snapshots);
  let offset = 0;
  if (snapshots.length > 0) {
    ({ offset } = image.allocate(Math.ceil(bytes.length / clusterSize), true));
    file.write(bytes, offset);
  }
  image.commit(true);
  // How many and where lie side by side in the header: one write, inside one sector.
  const fields = new DataView(new ArrayBuffer(12));
  fields.setUint32(0, snapshots.length);
  fields.setBigUint64(4, BigInt(offset));
  file.write(new Uint8Array(fields.buffer), q.HEADER_SNAPSHOT_COUNT);
  file.flush();
  if (before.bytes > 0) {
    image.release(header.snapshotsOffset);
    image.free(header.snapshotsOffset, before.bytes);
  }
  header.snapshotCount = snapshots.length;
  header.snapshotsOffset = offset;
  if (snapshots.length > 0) image.reserve('the snapshot table', offset, bytes.length);
}
