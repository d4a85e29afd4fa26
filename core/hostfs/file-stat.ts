/** What a file is, as the guest is to see it. */
import {
  STAT_ATIME,
  STAT_BLKSIZE,
  STAT_BLOCKS,
  STAT_CTIME,
  STAT_DEV,
  STAT_GID,
  STAT_INO,
  STAT_MODE,
  STAT_MTIME,
  STAT_NLINK,
  STAT_RDEV,
  STAT_SIZE,
  STAT_UID,
} from '../host/folder-calls.ts';

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const PERMISSIONS = 0o7777;

/** Seconds and nanoseconds. */
export interface FileTime {
  readonly seconds: bigint;
  readonly nanoseconds: bigint;
}

/** Owner and mode as a mapped security model keeps them; what is not there is the host's. */
export interface Credentials {
  readonly uid?: number;
  readonly gid?: number;
  /** With the type. */
  readonly mode?: number;
  /** Linux's encoding of major and minor. */
  readonly rdev?: bigint;
}

export interface FileStat {
  readonly device: bigint;
  readonly inode: bigint;
  /** With the type. */
  readonly mode: number;
  /** What it is on the host: regular where a mapped model keeps a link or a device node in a file. */
  readonly hostType: number;
  readonly links: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: bigint;
  readonly size: bigint;
  readonly blockSize: bigint;
  /** Of 512 bytes. */
  readonly blocks: bigint;
  readonly accessed: FileTime;
  readonly modified: FileTime;
  readonly changed: FileTime;
}

export function fileStat(words: BigUint64Array, mapped: Credentials): FileStat {
  const hostMode = Number(words[STAT_MODE]);
  const time = (at: number): FileTime => ({ seconds: words[at], nanoseconds: words[at + 1] });
  return {
    device: words[STAT_DEV],
    inode: words[STAT_INO],
    mode: mapped.mode ?? hostMode,
    hostType: hostMode & S_IFMT,
    links: words[STAT_NLINK],
    uid: mapped.uid ?? Number(words[STAT_UID]),
    gid: mapped.gid ?? Number(words[STAT_GID]),
    rdev: mapped.rdev ?? words[STAT_RDEV],
    size: words[STAT_SIZE],
    blockSize: words[STAT_BLKSIZE],
    blocks: words[STAT_BLOCKS],
    accessed: time(STAT_ATIME),
    modified: time(STAT_MTIME),
    changed: time(STAT_CTIME),
  };
}
