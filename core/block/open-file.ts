/** Files of images: looked at, opened and locked. */
import { RingsideError } from '../errors.ts';
import type { FileInfo, Host } from '../host/host.ts';
import { isHostError } from '../host/host.ts';
import type { LockState } from './disk.ts';
import { SECTOR_SIZE } from './disk.ts';
import { openError } from './errors.ts';
import { lockImage } from './lock.ts';
import type { ImageLock, Locking } from './lock.ts';

/** A file that is open and locked. */
export interface OpenFile {
  readonly file: string;
  readonly fd: number;
  readonly info: FileInfo;
  readonly kind: 'file' | 'block-device';
  readonly lock: LockState;
  /** Closes it, and gives up its lock. */
  close(): void;
}

/**
 * Opens and locks a file, whatever is in it.
 *
 * @throws RingsideError, of the kinds of openDisk
 */
export function openFile(file: string, readonly: boolean, locking: Locking, host: Host): OpenFile {
  let fd: number | null = null;
  let lock: ImageLock | null = null;
  try {
    // Looked at before it is opened, because opening a FIFO waits for its other end.
    const found = checkKind(file, host.inspect(file));
    fd = host.open(file, { write: !readonly, exclusive: found === 'block-device' && !readonly && locking !== 'off' });
    const info = host.inspectOpen(fd);
    const kind = checkKind(file, info);
    const held = (lock = lockImage(host, fd, info, file, readonly, locking));
    const opened = fd;
    const close = () => {
      held.release();
      host.close(opened);
    };
    return { file, fd, info, kind, lock: held.state, close };
  } catch (error) {
    lock?.release();
    if (fd !== null) host.close(fd);
    throw openError(file, readonly, error);
  }
}

function checkKind(file: string, info: FileInfo): 'file' | 'block-device' {
  if (info.kind === 'file' || info.kind === 'block-device') return info.kind;
  const what = info.kind === 'directory' ? 'a directory' : 'neither a file nor a block device';
  throw new RingsideError('not-a-file', `"${file}" is ${what}, not a disk image. Choose a file.`);
}

/**
 * Whether the file system can free parts of the file: asked for a hole behind its end, where there is nothing to lose.
 */
export function canPunch(host: Host, fd: number, info: FileInfo): boolean {
  if (!host.holes.available) return false;
  // A device that cannot discard says so at the first discard, which is advice only.
  if (info.kind === 'block-device') return true;
  try {
    host.punchHole(fd, info.size, SECTOR_SIZE);
    return true;
  } catch (error) {
    if (isHostError(error)) return false;
    throw error;
  }
}
