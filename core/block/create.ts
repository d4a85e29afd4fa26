/** New disk images. */
import { RingsideError } from '../errors.ts';
import type { ErrorKind } from '../errors.ts';
import type { Host } from '../host/host.ts';
import { isHostError } from '../host/host.ts';
import { SECTOR_SIZE } from './disk.ts';
import { openError } from './errors.ts';

const CREATE_ERRORS: Record<string, [ErrorKind, string]> = {
  EEXIST: ['bad-option', 'exists already, and is left as it is. Choose another name, or delete it first.'],
  ENOENT: ['not-found', 'cannot be made: its folder does not exist. Make that first.'],
  EFBIG: ['too-large', 'cannot be that large on its file system. Choose a smaller size.'],
  EINVAL: ['too-large', 'cannot be that large on its file system. Choose a smaller size.'],
  ENOSPC: ['no-space', 'cannot be made: the host has no space left. Free some first.'],
  EDQUOT: ['no-space', 'cannot be made: the disk quota on the host is used up. Free some space first.'],
};

/**
 * Makes a raw image, all zero, which takes no space until it is written to. Never overwrites anything.
 *
 * @param size bytes, a multiple of 512, at least 512
 * @throws RingsideError bad-option (bad size, or the file exists), not-found (no such folder), permission, too-large,
 *   no-space, io. No file is left behind.
 */
export function createRaw(host: Host, file: string, size: number): void {
  if (!Number.isSafeInteger(size) || size < SECTOR_SIZE || size % SECTOR_SIZE !== 0) {
    throw new RingsideError(
      'bad-option',
      `The size of a disk must be a multiple of ${SECTOR_SIZE} bytes; ${size} is not.`,
    );
  }
  createFile(host, file, size);
}

/**
 * Makes a file of nothing. Never overwrites anything.
 *
 * @param size bytes
 * @throws RingsideError as createRaw
 */
export function createFile(host: Host, file: string, size: number): void {
  try {
    host.createSparse(file, size);
  } catch (error) {
    const known = isHostError(error) ? CREATE_ERRORS[error.code] : undefined;
    if (known) throw new RingsideError(known[0], `"${file}" ${known[1]}`, { cause: error });
    throw openError(file, false, error);
  }
}
