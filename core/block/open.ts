/**
 * Opening disk images. On the control thread, so that whatever is wrong is said before the machine starts; the open
 * disk then goes to its I/O worker as a handle.
 */
import { RingsideError } from '../errors.ts';
import type { Host } from '../host/host.ts';
import type { Disk, DiskHandle, LockState } from './disk.ts';
import { SECTOR_SIZE } from './disk.ts';
import { openError } from './errors.ts';
import { formatHint, HINT_BYTES } from './format-hint.ts';
import type { Locking } from './lock.ts';
import { canPunch, openFile } from './open-file.ts';
import type { OpenFile } from './open-file.ts';
import type { DiskOptions, OpenDisk } from './options.ts';
import { isQcow2 } from './qcow2/header.ts';
import { diskFromQcow2Handle, openQcow2 } from './qcow2/open.ts';
import { RawDisk } from './raw.ts';
import { createFlushState } from './shared-flush.ts';

export type { DiskOptions, OpenDisk } from './options.ts';

/**
 * Opens and locks a disk image. Nothing stays open when it throws.
 *
 * @throws RingsideError not-found, not-a-file, permission, in-use, bad-image (empty, no whole number of sectors, damaged),
 *   io, bad-option, and unsupported: with locking 'on', and what an image wants and we have not
 */
export function openDisk(options: DiskOptions): OpenDisk {
  const { file, format = 'raw', readonly = false, locking = 'auto', host } = options;
  const open = openFile(file, readonly, locking, host);
  try {
    const head = readHead(host, open.fd);
    const hint = formatHint(head);
    const named = format === 'auto' && isQcow2(head) ? 'qcow2' : format;
    if (named === 'auto') refuseProbed(file, hint);
    const opened =
      named === 'qcow2' ? openQcow2(open, options, openDisk) : { disk: openRaw(open, options, hint), warnings: [] };
    const hinted = named === 'raw' ? hint : null;
    const found = [...warnings(file, open.lock, locking, hinted), ...opened.warnings];
    return { disk: opened.disk, lock: open.lock, warnings: found };
  } catch (error) {
    open.close();
    throw openError(file, readonly, error);
  }
}

/** The disk in another thread of the process that opened it. Its close() leaves the file to its owner. */
export function diskFromHandle(handle: DiskHandle, host: Host): Disk {
  return handle.format === 'raw' ? new RawDisk(handle, host, null) : diskFromQcow2Handle(handle, host, diskFromHandle);
}

function openRaw({ file, fd, info, kind, close }: OpenFile, options: DiskOptions, hint: string | null): RawDisk {
  const { readonly = false, discard = 'unmap', host } = options;
  checkSize(file, info.size, hint);
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
  return new RawDisk(handle, host, close);
}

function refuseProbed(file: string, hint: string | null): never {
  const remedy = hint ? `It ${hint}.` : 'If it is a raw disk, say so: format=raw.';
  throw new RingsideError('bad-image', `"${file}" does not say which format it has. ${remedy}`);
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

function readHead(host: Host, fd: number): Uint8Array {
  const head = new Uint8Array(HINT_BYTES);
  return head.subarray(0, host.readv(fd, [head], 0));
}

function warnings(file: string, lock: LockState, locking: Locking, hint: string | null): string[] {
  const found = [];
  if (!lock.locked && locking !== 'off') {
    found.push(`"${file}" is not locked: ${lock.reason}. Take care that nothing else writes to it.`);
  }
  if (hint) found.push(`"${file}" is attached as a raw disk but ${hint} if that is not meant.`);
  return found;
}
