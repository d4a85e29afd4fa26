/**
 * Opening disk images. On the control thread, so that whatever is wrong is said before the machine starts; the open
 * disk then goes to its I/O worker as a handle.
 */
import { RingsideError } from '../errors.ts';
import type { FileInfo, Host } from '../host/host.ts';
import { isHostError } from '../host/host.ts';
import type { Disk, DiskHandle, LockState } from './disk.ts';
import { SECTOR_SIZE } from './disk.ts';
import { openError } from './errors.ts';
import { formatHint, HINT_BYTES } from './format-hint.ts';
import { lockImage } from './lock.ts';
import type { ImageLock, Locking } from './lock.ts';
import { RawDisk } from './raw.ts';
import { createFlushState } from './shared-flush.ts';

export interface DiskOptions {
  /** Path of a regular file or a block device. */
  file: string;
  format?: 'raw';
  readonly?: boolean;
  /** Whether discards of the guest free space in the file. Default 'unmap'. */
  discard?: 'unmap' | 'ignore';
  /** Default 'auto': see lockImage. */
  locking?: Locking;
  host: Host;
}

/** A disk and what only its owner needs to know. */
export interface OpenDisk {
  /** Owns the file. */
  readonly disk: Disk;
  readonly lock: LockState;
  /** What the user should know, one line each. */
  readonly warnings: string[];
}

/**
 * Opens and locks a disk image. Nothing stays open when it throws.
 *
 * @throws RingsideError not-found, not-a-file, permission, in-use, bad-image (empty, or no whole number of sectors),
 * io,
 *   bad-option, and with locking 'on' unsupported
 */
export function openDisk(options: DiskOptions): OpenDisk {
  const { file, readonly = false, discard = 'unmap', locking = 'auto', host } = options;
  let fd: number | null = null;
  let lock: ImageLock | null = null;
  try {
    // Looked at before it is opened, because opening a FIFO waits for its other end.
    const found = checkKind(file, host.inspect(file));
    fd = host.open(file, { write: !readonly, exclusive: found === 'block-device' && !readonly && locking !== 'off' });
    const info = host.inspectOpen(fd);
    const kind = checkKind(file, info);
    const hint = readHint(host, fd);
    checkSize(file, info.size, hint);
    const held = (lock = lockImage(host, fd, info, file, readonly, locking));

    const handle: DiskHandle = {
      format: 'raw',
      file,
      fd,
      kind,
      size: info.size,
      readonly,
      discard: discard === 'unmap' && !readonly && canPunch(host, fd, info),
      discardGranularity: Math.max(SECTOR_SIZE, info.preferredBlockSize),
      flushState: createFlushState(),
    };
    const disk = new RawDisk(handle, host, () => {
      held.release();
      host.close(handle.fd);
    });
    return { disk, lock: held.state, warnings: warnings(file, held.state, locking, hint) };
  } catch (error) {
    lock?.release();
    if (fd !== null) host.close(fd);
    throw openError(file, readonly, error);
  }
}

/** The disk in another thread of the process that opened it. Its close() leaves the file to its owner. */
export function diskFromHandle(handle: DiskHandle, host: Host): Disk {
  return new RawDisk(handle, host, null);
}

function checkKind(file: string, info: FileInfo): 'file' | 'block-device' {
  if (info.kind === 'file' || info.kind === 'block-device') return info.kind;
  const what = info.kind === 'directory' ? 'a directory' : 'neither a file nor a block device';
  throw new RingsideError('not-a-file', `"${file}" is ${what}, not a disk image. Choose a file.`);
}

function checkSize(file: string, size: number, hint: string | null): void {
  if (size > 0 && size % SECTOR_SIZE === 0) return;
  if (size === 0) {
    throw new RingsideError('bad-image', `"${file}" is empty. Give the disk a size first, e.g. "truncate -s 1G FILE".`);
  }
  const whole = Math.ceil(size / SECTOR_SIZE) * SECTOR_SIZE;
  const remedy = hint ? `It ${hint}.` : `Pad it with "truncate -s ${whole} FILE".`;
  const message = `"${file}" has ${size} bytes, and a raw disk must be a multiple of ${SECTOR_SIZE}. ${remedy}`;
  throw new RingsideError('bad-image', message);
}

function readHint(host: Host, fd: number): string | null {
  const head = new Uint8Array(HINT_BYTES);
  return formatHint(head.subarray(0, host.readv(fd, [head], 0)));
}

/**
 * Whether the file system can free parts of the file: asked for a hole behind its end, where there is nothing to lose.
 */
function canPunch(host: Host, fd: number, info: FileInfo): boolean {
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

function warnings(file: string, lock: LockState, locking: Locking, hint: string | null): string[] {
  const found = [];
  if (!lock.locked && locking !== 'off') {
    found.push(`"${file}" is not locked: ${lock.reason}. Take care that nothing else writes to it.`);
  }
  if (hint) found.push(`"${file}" is attached as a raw disk but ${hint} if that is not meant.`);
  return found;
}
