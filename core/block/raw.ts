/** Raw images: byte N of the disk is byte N of a file or host block device. */
import type { Host } from '../host/host.ts';
import { isHostError } from '../host/host.ts';
import type { Disk, RawHandle } from './disk.ts';
import { SECTOR_SIZE } from './disk.ts';
import { DiskError, diskError } from './errors.ts';
import type { DiskOperation } from './errors.ts';
import { SharedFlush } from './shared-flush.ts';
import { totalLength, window } from './views.ts';

/** No more than this goes into one system call: hosts differ in what they take, and all take this. */
const MAX_TRANSFER = 2 ** 30;
/** Zeroes written at a time where the host cannot make them itself. */
const ZERO_CHUNK = 2 ** 20;

type Transfer = (fd: number, views: readonly Uint8Array[], position: number) => number;

export class RawDisk implements Disk {
  readonly handle: RawHandle;
  readonly file: string;
  readonly size: number;
  readonly readonly: boolean;
  readonly canDiscard: boolean;
  readonly canWriteZeroes: boolean;
  readonly blockSize = SECTOR_SIZE;
  readonly discardGranularity: number;

  readonly #host: Host;
  readonly #read: Transfer;
  readonly #write: Transfer;
  readonly #release: (() => void) | null;
  #closed = false;
  readonly #flushes: SharedFlush;
  /** The file system has said that it cannot; asking again costs a system call each time. */
  #noPunch = false;
  #noZeroRange = false;

  /** @param release closes the file; null for a disk that somebody else will close */
  constructor(handle: RawHandle, host: Host, release: (() => void) | null) {
    this.handle = handle;
    this.file = handle.file;
    this.size = handle.size;
    this.readonly = handle.readonly;
    this.canDiscard = handle.discard && !handle.readonly;
    this.canWriteZeroes = !handle.readonly;
    this.discardGranularity = handle.discardGranularity;
    this.#flushes = new SharedFlush(handle.flushState);
    this.#host = host;
    this.#read = (fd, views, position) => host.readv(fd, views, position);
    this.#write = (fd, views, position) => host.writev(fd, views, position);
    this.#release = release;
    this.#noZeroRange = !host.holes.available;
  }

  readv(views: readonly Uint8Array[], offset: number): void {
    this.#transfer('read', this.#read, views, offset);
  }

  writev(views: readonly Uint8Array[], offset: number): void {
    this.#checkWritable('write');
    this.#transfer('write', this.#write, views, offset);
  }

  flush(): void {
    this.#checkOpen('flush');
    if (this.readonly) return;
    this.#flushes.flush(this.file, () => this.#host.fdatasync(this.handle.fd));
  }

  discard(offset: number, length: number): void {
    this.#checkWritable('discard');
    this.#checkRange('discard', offset, length);
    if (!this.canDiscard) throw new DiskError('discard', this.file, 'ENOTSUP', 'the host cannot free parts of it.');
    if (length === 0 || this.#noPunch) return;
    const { fd, kind } = this.handle;
    const discarded = this.#attempt('discard', () =>
      kind === 'file' ? this.#host.punchHole(fd, offset, length) : this.#host.discardDevice(fd, offset, length),
    );
    // Discard is advice: one that cannot be taken has succeeded all the same.
    this.#noPunch = !discarded && kind === 'file';
  }

  writeZeroes(offset: number, length: number, unmap: boolean): void {
    const operation = 'write zeroes to';
    this.#checkWritable(operation);
    this.#checkRange(operation, offset, length);
    if (length === 0) return;
    const { fd } = this.handle;
    if (unmap && this.canDiscard && !this.#noPunch) {
      if (this.#attempt(operation, () => this.#host.punchHole(fd, offset, length))) return;
      this.#noPunch = this.handle.kind === 'file';
    }
    if (!this.#noZeroRange) {
      if (this.#attempt(operation, () => this.#host.zeroRange(fd, offset, length))) return;
      this.#noZeroRange = this.handle.kind === 'file';
    }
    const zeroes = new Uint8Array(Math.min(length, ZERO_CHUNK));
    for (let done = 0; done < length; done += zeroes.length) {
      const chunk = zeroes.subarray(0, Math.min(zeroes.length, length - done));
      this.#transfer(operation, this.#write, [chunk], offset + done);
    }
  }

  /** The first byte at or behind `offset` that may not be zero; null when there is none. */
  nextData(offset: number): number | null {
    if (!this.#host.holes.available || this.handle.kind !== 'file') return offset;
    const found = this.#host.seekData(this.handle.fd, offset);
    return found < 0 ? null : found;
  }

  /** Where the next hole begins, at or behind `offset`; the end is one. */
  nextHole(offset: number): number {
    if (!this.#host.holes.available || this.handle.kind !== 'file') return this.size;
    const found = this.#host.seekHole(this.handle.fd, offset);
    return found < 0 ? this.size : found;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#release?.();
  }

  /** Moves all of `views`, however little a system call moves. */
  #transfer(operation: DiskOperation, transfer: Transfer, views: readonly Uint8Array[], offset: number): void {
    const total = totalLength(views);
    this.#checkOpen(operation);
    this.#checkRange(operation, offset, total);

    let left: readonly Uint8Array[] = total <= MAX_TRANSFER ? views : window(views, 0, MAX_TRANSFER);
    for (let done = 0; done < total; left = window(views, done, MAX_TRANSFER)) {
      let moved;
      try {
        moved = transfer(this.handle.fd, left, offset + done);
      } catch (error) {
        if (isHostError(error) && error.code === 'EINTR') continue;
        throw diskError(operation, this.file, error);
      }
      if (moved === 0) throw this.#stuck(operation, offset + done);
      done += moved;
      if (done === total) return;
    }
  }

  /** A transfer of nothing: for a read, the file ends here, though it did not when it was opened. */
  #stuck(operation: DiskOperation, offset: number): DiskError {
    const detail =
      operation === 'read'
        ? `it ends before byte ${offset + 1}, but had ${this.size} bytes when opened. Somebody has truncated it.`
        : `the host writes nothing at byte ${offset}.`;
    return new DiskError(operation, this.file, 'EIO', detail);
  }

  /** Whether the host did it; false when it cannot for this file or range, and something else must be done instead. */
  #attempt(operation: DiskOperation, act: () => void): boolean {
    try {
      act();
      return true;
    } catch (error) {
      const code = isHostError(error) ? error.code : '';
      if (code === 'EOPNOTSUPP' || code === 'ENOSYS' || code === 'ENOTSUP') return false;
      // Block devices refuse ranges that are not aligned to their own sectors, which may be larger than the guest's.
      if (code === 'EINVAL' && this.handle.kind === 'block-device') return false;
      throw diskError(operation, this.file, error);
    }
  }

  #checkOpen(operation: DiskOperation): void {
    // Its descriptor may be another file's by now.
    if (this.#closed) throw new DiskError(operation, this.file, 'EBADF', 'it is closed.');
  }

  #checkWritable(operation: DiskOperation): void {
    this.#checkOpen(operation);
    if (this.readonly) throw new DiskError(operation, this.file, 'EROFS', 'it is attached read-only.');
  }

  #checkRange(operation: DiskOperation, offset: number, length: number): void {
    if (Number.isInteger(offset) && offset >= 0 && length >= 0 && offset <= this.size && length <= this.size - offset)
      return;
    const detail = `bytes [${offset}, +${length}) are not inside its ${this.size} bytes.`;
    throw new DiskError(operation, this.file, 'EINVAL', detail);
  }
}
