/**
 * The system calls for folders that are shared with a guest (native/src/folder.cc). Every one gives -errno when it
 * fails, and throws only for a call that is wrong. Names are bytes: one step, no slash, no NUL, not "." or "..".
 * Descriptors may be of O_PATH.
 */
export interface FolderCalls {
  /** A path of names, "." for `root` itself. Follows no link, leaves `root` on no way, creates nothing. */
  folderOpen(root: number, path: Uint8Array, flags: number): number;
  /** A new file; -EEXIST when there is one. `mode` goes through the process's umask. */
  folderCreate(folder: number, name: Uint8Array, flags: number, mode: number): number;
  folderReopen(fd: number, flags: number): number;
  /** For all descriptors that these calls give. */
  folderClose(fd: number): number;
  /** STAT_* words. */
  folderStat(fd: number, words: BigUint64Array): number;
  /** type, block size, blocks, free, available, files, files free, file system id. */
  folderStatfs(fd: number, words: BigUint64Array): number;
  /** struct linux_dirent64 records from 0 or a d_off on; bytes, 0 at the end. */
  folderRead(fd: number, offset: bigint, buffer: Uint8Array): number;
  folderMkdir(folder: number, name: Uint8Array, mode: number): number;
  folderMknod(folder: number, name: Uint8Array, mode: number, major: number, minor: number): number;
  folderSymlink(target: Uint8Array, folder: number, name: Uint8Array): number;
  folderLink(oldFolder: number, oldName: Uint8Array, newFolder: number, newName: Uint8Array): number;
  folderRename(oldFolder: number, oldName: Uint8Array, newFolder: number, newName: Uint8Array): number;
  folderUnlink(folder: number, name: Uint8Array, isFolder: boolean): number;
  /** Bytes of the target of a link. */
  folderReadlink(fd: number, buffer: Uint8Array): number;
  folderChmod(fd: number, mode: number): number;
  /** 0xffffffff leaves one as it is. */
  folderChown(fd: number, uid: number, gid: number): number;
  /** Seconds and nanoseconds (or TIME_NOW, TIME_OMIT) of access, then of modification. */
  folderSetTimes(fd: number, words: BigUint64Array): number;
  folderTruncate(fd: number, size: number): number;
  /** Bytes of the value; of an empty buffer, how many there are. */
  folderGetXattr(fd: number, name: Uint8Array, buffer: Uint8Array): number;
  folderSetXattr(fd: number, name: Uint8Array, value: Uint8Array, flags: number): number;
  /** Bytes of the names, each ended by NUL; of an empty buffer, how many there are. */
  folderListXattr(fd: number, buffer: Uint8Array): number;
  folderRemoveXattr(fd: number, name: Uint8Array): number;
}

// Words of folderStat.
export const STAT_DEV = 0;
export const STAT_INO = 1;
export const STAT_MODE = 2;
export const STAT_NLINK = 3;
export const STAT_UID = 4;
export const STAT_GID = 5;
export const STAT_RDEV = 6;
export const STAT_SIZE = 7;
export const STAT_BLKSIZE = 8;
export const STAT_BLOCKS = 9;
export const STAT_ATIME = 10;
export const STAT_MTIME = 12;
export const STAT_CTIME = 14;
export const STAT_WORDS = 16;

export const STATFS_WORDS = 8;

/** Nanoseconds of folderSetTimes: the host's time; or leave it. */
export const TIME_NOW = 0xffff_ffff_ffff_ffffn;
export const TIME_OMIT = 0xffff_ffff_ffff_fffen;
