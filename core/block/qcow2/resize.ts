/** Other sizes for qcow2 disks. */
import { RingsideError } from '../../errors.ts';
import type { Qcow2Disk } from './disk.ts';
import { l1Entries } from './header.ts';
import * as q from './layout.ts';

/**
 * Gives a disk another size: what is added reads as zero, what is behind the new end is gone. Nobody else may be using it.
 *
 * @param size bytes, a multiple of 512
 * @throws RingsideError bad-option, too-large; DiskError
 */
export function resizeQcow2(disk: Qcow2Disk, size: number): void {
  const { image } = disk;
  const { header, clusterSize } = image;
  if (!Number.isSafeInteger(size) || size < 0 || size % q.SECTOR !== 0) {
    throw new RingsideError(
      'bad-option',
      `The size of a disk must be a multiple of ${q.SECTOR} bytes; ${size} is not.`,
    );
  }
  const old = header.size;
  const needed = l1Entries(size, header.clusterBits, image.extended);
  if (needed * q.ENTRY_BYTES > q.L1_BYTES_MAX) {
    throw new RingsideError('too-large', `"${disk.file}" cannot be that large, with clusters of ${clusterSize} bytes.`);
  }
  image.prepareChange();
  if (size < old) disk.writeZeroes(size, old - size, true);
  image.commit(true);

  if (needed <= header.l1Size) {
    image.moveL1(image.l1, header.l1Offset, size);
  } else {
    const clusters = Math.ceil((needed * q.ENTRY_BYTES) / clusterSize);
    const { offset } = image.allocate(clusters, true);
    const bytes = new Uint8Array(clusters * clusterSize);
    bytes.set(new Uint8Array(image.l1.buffer));
    image.file.write(bytes, offset);
    image.commit(true);
    const before = { offset: header.l1Offset, length: header.l1Size * q.ENTRY_BYTES };
    image.moveL1(new DataView(bytes.buffer.slice(0, needed * q.ENTRY_BYTES)), offset, size);
    image.free(before.offset, before.length);
  }
  // What a larger backing file has there must not appear.
  const shown = Math.min(size, disk.backing?.size ?? 0);
  if (shown > old) disk.writeZeroes(old, shown - old, true);
  image.commit(true);
}
