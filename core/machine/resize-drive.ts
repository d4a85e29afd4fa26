/** Makes a disk larger while the machine is there (QEMU: block_resize). */
import { openError } from '../block/errors.ts';
import { diskFromHandle } from '../block/open.ts';
import type { Drive } from '../block/drive-type.ts';
import { SECTOR_SIZE } from '../block/disk.ts';
import { RingsideError } from '../errors.ts';
import type { Host } from '../host/host.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { BlkDevice } from '../virtio/blk/device.ts';
import { virtioInstance } from '../virtio/proxy.ts';

/**
 * The file becomes larger, then the device that has it says so to its driver. What is new reads as zeroes.
 *
 * @param id of the drive
 * @param size bytes, a multiple of 512
 * @throws RingsideError 'not-found'; 'bad-option': it would be smaller; 'unsupported': no raw image file; 'permission': it is
 *   read-only; 'no-space', 'io'
 */
export async function resizeDrive(tree: ObjectTree, host: Host, id: string, size: number): Promise<void> {
  const object = tree.find(`/drives/${id}`);
  const drive = object?.instance as Drive | null | undefined;
  if (!object || !drive) throw new RingsideError('not-found', `there is no drive "${id}".`);
  const { disk } = drive;
  const { handle, file } = disk;
  if (handle.format !== 'raw' || handle.kind !== 'file') {
    throw new RingsideError(
      'unsupported',
      `"${file}" is no raw image file: only these become larger while a VM is on.`,
    );
  }
  if (disk.readonly) throw new RingsideError('permission', `"${file}" is read-only here.`);
  if (!Number.isSafeInteger(size) || size % SECTOR_SIZE !== 0) {
    throw new RingsideError('bad-option', `the size must be a multiple of ${SECTOR_SIZE} bytes, not ${size}.`);
  }
  if (size <= disk.size) {
    const remedy = 'A disk is only ever made larger, or what is at its end would be lost.';
    throw new RingsideError('bad-option', `"${file}" has ${disk.size} bytes. ${remedy}`);
  }
  try {
    host.truncate(handle.fd, size);
  } catch (error) {
    throw openError(file, false, error);
  }
  // The file and its lock stay those of the disk that was opened.
  const grown = diskFromHandle({ ...handle, size }, host);
  object.instance = { ...drive, disk: grown } satisfies Drive;
  for (const user of tree.root.walk()) {
    if (!user.type.isA('virtio-blk-device') || !user.realized || user.value<string | null>('drive') !== id) continue;
    const device = virtioInstance(user)?.device;
    if (device instanceof BlkDevice) await device.grow(grown);
  }
}
