/** Copying and comparing disks. */
import type { Disk } from './disk.ts';
import { blockStatus } from './status.ts';

/** Bytes at a time. */
const CHUNK = 2 * 2 ** 20;
const DEFAULT_UNIT = 65536;

export type Report = (done: number, total: number) => void;

/**
 * Copies a disk to one of the same size or larger that is all zero.
 *
 * @param write what writes data, if not the disk: gets whole units of it, but at the end
 * @param unit bytes, a power of 2, at most 2 MiB: what is not all zero is copied in such
 */
export function copyDisk(
  source: Disk,
  target: Disk,
  report: Report,
  write = (bytes: Uint8Array, at: number): void => target.writev([bytes], at),
  unit = DEFAULT_UNIT,
): void {
  const buffer = new Uint8Array(CHUNK);
  for (let at = 0; at < source.size; at += CHUNK) {
    const length = Math.min(CHUNK, source.size - at);
    report(at, source.size);
    if (!hasData(source, at, length)) continue;
    const chunk = buffer.subarray(0, length);
    source.readv([chunk], at);
    for (const [start, end] of nonZero(chunk, unit)) write(chunk.subarray(start, end), at + start);
  }
  target.flush();
  report(source.size, source.size);
}

function hasData(disk: Disk, offset: number, length: number): boolean {
  for (let done = 0; done < length;) {
    const status = blockStatus(disk, offset + done, length - done);
    if (!status.zero) return true;
    done += status.length;
  }
  return false;
}

const ZEROES = new Uint8Array(CHUNK);

/** Ranges of units that are not all zero. */
function* nonZero(bytes: Uint8Array, unit: number): Generator<[start: number, end: number]> {
  let start = -1;
  for (let at = 0; at < bytes.length; at += unit) {
    const block = bytes.subarray(at, at + unit);
    const zero = Buffer.compare(block, ZEROES.subarray(0, block.length)) === 0;
    if (!zero && start < 0) start = at;
    if (zero && start >= 0) {
      yield [start, at];
      start = -1;
    }
  }
  if (start >= 0) yield [start, bytes.length];
}

/** Where the first byte is that differs, null when there is none. What one has more of must be zero. */
export function firstDifference(a: Disk, b: Disk, report: Report): number | null {
  const total = Math.max(a.size, b.size);
  const buffers = [new Uint8Array(CHUNK), new Uint8Array(CHUNK)];
  for (let at = 0; at < total; at += CHUNK) {
    const length = Math.min(CHUNK, total - at);
    report(at, total);
    const [left, right] = [a, b].map((disk, i) => {
      const bytes = buffers[i].subarray(0, length);
      const there = Math.min(length, Math.max(0, disk.size - at));
      disk.readv([bytes.subarray(0, there)], at);
      bytes.fill(0, there);
      return bytes;
    });
    if (Buffer.compare(left, right) !== 0) return at + left.findIndex((byte, i) => byte !== right[i]);
  }
  report(total, total);
  return null;
}
