/** What is where in a disk, and in which image of its chain, as "qemu-img map" has it. */
import type { Disk } from './disk.ts';
import { Qcow2Disk } from './qcow2/disk.ts';
import { RawDisk } from './raw.ts';

export interface BlockStatus {
  /** Bytes. */
  length: number;
  /** Reads as zero. */
  zero: boolean;
  /** Has bytes of its own somewhere. */
  data: boolean;
  /** Some image of the chain says what is here. */
  present: boolean;
  compressed: boolean;
  /** Images before the one that says it; 0 the disk's own. */
  depth: number;
  /** Where it is in `file`; null when it is nowhere, or compressed. */
  offset: number | null;
  file: string;
}

/** What the bytes from `offset` on are, for at most `max` of them, which are inside the disk. */
export function blockStatus(disk: Disk, offset: number, max: number, depth = 0): BlockStatus {
  if (disk instanceof Qcow2Disk) return qcow2Status(disk, offset, max, depth);
  const status: BlockStatus = {
    ...{ length: max, zero: false, data: true, present: true, compressed: false },
    ...{ depth, offset, file: disk.file },
  };
  if (disk instanceof RawDisk) holes(status, disk, offset);
  return status;
}

/** All of a disk, neighbours that are alike put together. */
export function* mapDisk(disk: Disk): Generator<BlockStatus & { start: number }> {
  let last: (BlockStatus & { start: number }) | null = null;
  for (let at = 0; at < disk.size;) {
    const next = { start: at, ...blockStatus(disk, at, disk.size - at) };
    at += next.length;
    if (last && alike(last, next)) {
      last.length += next.length;
      continue;
    }
    if (last) yield last;
    last = next;
  }
  if (last) yield last;
}

function alike(a: BlockStatus & { start: number }, b: BlockStatus & { start: number }): boolean {
  const follows = a.offset === null ? b.offset === null : b.offset === a.offset + a.length;
  return (
    follows &&
    a.zero === b.zero &&
    a.data === b.data &&
    a.present === b.present &&
    a.depth === b.depth &&
    a.compressed === b.compressed &&
    a.file === b.file
  );
}

function qcow2Status(disk: Qcow2Disk, offset: number, max: number, depth: number): BlockStatus {
  const run = disk.find(offset, max);
  const here: BlockStatus = {
    ...{ length: run.length, zero: false, data: false, present: true, compressed: false },
    ...{ depth, offset: null, file: disk.file },
  };
  switch (run.kind) {
    case 'data': {
      here.data = true;
      here.offset = run.host;
      here.file = disk.image.data.file;
      // What the file has a hole for is zero, too.
      const { data } = disk.image;
      const next = data.nextData(run.host);
      if (next === null || next > run.host) {
        here.zero = true;
        here.length = Math.min(run.length, next === null ? run.length : next - run.host);
      } else {
        here.length = Math.min(run.length, Math.max(1, data.nextHole(run.host) - run.host));
      }
      return here;
    }
    case 'zero':
      here.zero = true;
      return here;
    case 'compressed':
      here.data = true;
      here.compressed = true;
      return here;
    case 'unallocated': {
      const { backing } = disk;
      if (!backing) return { ...here, zero: true, present: false };
      if (offset >= backing.size) return { ...here, zero: true, depth: depth + 1, present: false, file: backing.file };
      return blockStatus(backing, offset, Math.min(run.length, backing.size - offset), depth + 1);
    }
  }
}

function holes(status: BlockStatus, disk: RawDisk, offset: number): void {
  const data = disk.nextData(offset);
  if (data === offset) {
    status.length = Math.min(status.length, Math.max(1, disk.nextHole(offset) - offset));
    return;
  }
  status.zero = true;
  status.data = false;
  if (data !== null) status.length = Math.min(status.length, data - offset);
}
