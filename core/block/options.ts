/** How a disk is opened, and what comes of it. */
import type { Host } from '../host/host.ts';
import type { Disk, DiskFormat, LockState } from './disk.ts';
import type { Locking } from './lock.ts';

/**
 * Whether a file is opened because an image names it. An image may come from anywhere, and what it names is read by the
 * guest: it is the user who says so.
 */
export type Trust = 'refuse' | 'trust';

export interface DiskOptions {
  /** Path of a regular file or a block device. */
  file: string;
  /** 'auto': whatever format the file says that it has; never raw, for a guest can make a raw disk say anything. */
  format?: DiskFormat | 'auto';
  readonly?: boolean;
  /** Whether discards of the guest free space in the file. Default 'unmap'. */
  discard?: 'unmap' | 'ignore';
  /** Default 'auto': see lockImage. */
  locking?: Locking;
  /** Whether files are opened because an image names them. Default 'refuse'. */
  backing?: Trust;
  /** Images that have this one as their backing file, `device:inode`. */
  chain?: readonly string[];
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
