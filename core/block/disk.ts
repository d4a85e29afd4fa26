/** A disk image as a device sees it, whatever its format. */
import type { FileHandle } from './image-file.ts';

/** What the guest's sectors are counted in, whatever the host's device has (QEMU's default too). */
export const SECTOR_SIZE = 512;

export interface DiskCapabilities {
  /** Bytes, a multiple of SECTOR_SIZE, at least one. Fixed while the disk is open. */
  readonly size: number;
  readonly readonly: boolean;
  /** discard() frees space. False for read-only disks, discard=ignore and hosts or file systems without holes. */
  readonly canDiscard: boolean;
  /** writeZeroes() works; it is quick where the host can do it without writing. False for read-only disks only. */
  readonly canWriteZeroes: boolean;
  /** Logical block size, bytes. */
  readonly blockSize: number;
  /** Smaller or unaligned discards free nothing, bytes. */
  readonly discardGranularity: number;
}

/**
 * Reads and writes of a disk. All methods wait for the host, so they belong on an I/O worker. Offsets and lengths are
 * bytes. They throw DiskError: `code` EINVAL for a range that is not wholly inside the disk, EROFS for writing to a
 * read-only disk, ENOTSUP, EBADF after close, else what the host said (ENOSPC, EIO, ...).
 */
export interface Disk extends DiskCapabilities {
  /** Host path, for messages. */
  readonly file: string;
  /** Makes the same disk in another thread (diskFromHandle). */
  readonly handle: DiskHandle;

  /** Fills all views, one behind the other, from `offset` on. What they hold after an error is undefined. */
  readv(views: readonly Uint8Array[], offset: number): void;
  /** Writes all views, one behind the other, from `offset` on. After an error any part of it may be written. */
  writev(views: readonly Uint8Array[], offset: number): void;
  /**
   * All completed writes are on stable storage when it returns. Once it has failed it fails for good: the host has
   * dropped what it could not write, and a later success would not mean that it is there.
   */
  flush(): void;
  /**
   * The range is not needed any more. What it reads as is undefined. Does nothing where the host has refused it before.
   */
  discard(offset: number, length: number): void;
  /** The range reads as zero; with `unmap` its space may be given back. */
  writeZeroes(offset: number, length: number, unmap: boolean): void;
  /**
   * On the disk that openDisk gave: closes the file and gives up its lock; every thread that has the handle must have
   * stopped using it. On one made of a handle: only this object ends. May be called twice.
   */
  close(): void;
}

/** An open disk on its way to another thread; survives structured clone. Valid until the disk it is from is closed. */
export type DiskHandle = RawHandle | Qcow2Handle;

export interface RawHandle {
  readonly format: 'raw';
  readonly file: string;
  /** File descriptors belong to the process, not to the thread. */
  readonly fd: number;
  readonly kind: 'file' | 'block-device';
  readonly size: number;
  readonly readonly: boolean;
  /** Discards are passed on to the host. */
  readonly discard: boolean;
  readonly discardGranularity: number;
  /** SharedFlush: all threads that have the disk share it. */
  readonly flushState: SharedArrayBuffer;
}

/** Only one thread at a time may use it, for it has tables in memory. */
export interface Qcow2Handle {
  readonly format: 'qcow2';
  readonly file: string;
  readonly readonly: boolean;
  /** Discards free clusters, and free them on the host. */
  readonly discard: boolean;
  readonly image: FileHandle;
  /** The external data file. */
  readonly data: FileHandle | null;
  readonly backing: DiskHandle | null;
}

/** Formats that openDisk opens. */
export type DiskFormat = DiskHandle['format'];

/** Whether others are kept off the image, or why not. */
export type LockState = { locked: true } | { locked: false; reason: string };
