/**
 * A folder of the host that is shared with a guest. What the guest names is found step by step from the folder's
 * descriptor and no symbolic link is followed on any of them, so nothing outside is ever reached, whatever the guest or
 * anybody on the host does meanwhile; only regular files and folders are opened. Every method throws LinuxError.
 */
import * as fs from 'node:fs';

import { STATFS_WORDS, STAT_WORDS } from '../host/folder-calls.ts';
import type { FolderCalls } from '../host/folder-calls.ts';
import type { Host } from '../host/host.ts';
import {
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENAMETOOLONG,
  ENODEV,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENXIO,
  EROFS,
  LinuxError,
  checked,
} from './errors.ts';
import { PERMISSIONS, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, fileStat } from './file-stat.ts';
import type { Credentials, FileStat } from './file-stat.ts';
import { O_PATH, bytes, createOwnership } from './ownership.ts';
import type { Ownership, Place, SecurityModel } from './ownership.ts';
import { NAME_BYTES_MAX, PathTree } from './path-tree.ts';
import type { PathNode } from './path-tree.ts';
import { XattrNames } from './xattr-names.ts';

export const MULTIDEVS = ['remap', 'forbid', 'warn'] as const;
/** What to do about file systems mounted in the folder, whose inode numbers may be the same: QEMU's multidevs. */
export type Multidevs = (typeof MULTIDEVS)[number];

/** All that a worker needs; survives structured clone. */
export interface SharedFolderHandle {
  /** Of the folder; stays the owner's. */
  readonly fd: number;
  readonly securityModel: SecurityModel;
  readonly readonly: boolean;
  readonly multidevs: Multidevs;
  /** Permissions on the host of what the mapped models make. */
  readonly fmode: number;
  readonly dmode: number;
}

/** An entry of a folder. */
export interface FolderEntry {
  /** A character a byte. */
  readonly name: string;
  readonly inode: bigint;
  /** Where the next one is. */
  readonly next: bigint;
  /** DT_*, 0 when it is not known. */
  readonly type: number;
}

export interface NewFile {
  /** Permissions, and for mknod the type. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev?: bigint;
}

/** Bytes of a target: PATH_MAX. */
const LINK_BYTES_MAX = 4095;
const DIRENT_NAME = 19;
const FLAGS_KEPT =
  fs.constants.O_WRONLY | fs.constants.O_RDWR | fs.constants.O_TRUNC | fs.constants.O_APPEND | fs.constants.O_SYNC;
const WRITES = fs.constants.O_WRONLY | fs.constants.O_RDWR | fs.constants.O_TRUNC;

export class SharedFolder {
  readonly tree = new PathTree();
  readonly readonly: boolean;
  readonly #handle: SharedFolderHandle;
  readonly #calls: FolderCalls;
  readonly #ownership: Ownership;
  readonly #mapped: boolean;
  readonly #xattrNames: XattrNames;
  readonly #device: bigint;
  readonly #onForeign: () => void;

  /** @param onForeign a file of another file system has been seen, and multidevs is not remap */
  constructor(handle: SharedFolderHandle, host: Host, onForeign: () => void) {
    this.#handle = handle;
    this.#calls = host.folderCalls;
    this.#onForeign = onForeign;
    this.#ownership = createOwnership(handle.securityModel, this.#calls);
    this.#mapped = handle.securityModel.startsWith('mapped');
    this.#xattrNames = new XattrNames(handle.securityModel);
    this.readonly = handle.readonly;
    const words = new BigUint64Array(STAT_WORDS);
    checked(this.#calls.folderStat(handle.fd, words));
    this.#device = fileStat(words, {}).device;
  }

  // ---- finding ------------------------------------------------------------------------------------------------------

  /** @throws LinuxError when it is no name of one entry */
  checkName(name: string): void {
    if (name === '' || name.includes('/') || name.includes('\0')) throw new LinuxError(ENOENT);
    if (name.length > NAME_BYTES_MAX) throw new LinuxError(ENAMETOOLONG);
    if (this.#ownership.isHidden(name)) throw new LinuxError(ENOENT);
  }

  /** The name of something that is to be made, moved or removed. */
  #checkNewName(name: string): void {
    this.checkName(name);
    if (name === '.' || name === '..') throw new LinuxError(EEXIST);
  }

  #checkWritable(): void {
    if (this.readonly) throw new LinuxError(EROFS);
  }

  #openFolder(node: PathNode): number {
    const path = this.tree.path(node);
    return checked(this.#calls.folderOpen(this.#handle.fd, bytes(path || '.'), O_PATH | fs.constants.O_DIRECTORY));
  }

  /** Calls with descriptors of the folder that a new name is in. */
  #inFolder<T>(node: PathNode, use: (folder: number) => T): T {
    const folder = this.#openFolder(node);
    try {
      return use(folder);
    } finally {
      this.#calls.folderClose(folder);
    }
  }

  /** Calls with where a node's file is. */
  #at<T>(node: PathNode, use: (place: Place) => T, byName = this.#ownership.byName): T {
    // A file whose name is gone is reached by who has it open.
    if (node.gone && node.open.size > 0) {
      const [fd] = node.open;
      return use({ fd, folder: -1, name: '' });
    }
    if (node.gone) throw new LinuxError(ENOENT);
    const { parent } = node;
    if (parent && byName) {
      return this.#inFolder(parent, (folder) =>
        this.#step(folder, node.name, (fd) => use({ fd, folder, name: node.name })),
      );
    }
    const fd = checked(this.#calls.folderOpen(this.#handle.fd, bytes(this.tree.path(node) || '.'), O_PATH));
    try {
      return use({ fd, folder: this.#handle.fd, name: node.name });
    } finally {
      this.#calls.folderClose(fd);
    }
  }

  #step<T>(folder: number, name: string, use: (fd: number) => T): T {
    const fd = checked(this.#calls.folderOpen(folder, bytes(name), O_PATH));
    try {
      return use(fd);
    } finally {
      this.#calls.folderClose(fd);
    }
  }

  // ---- looking ------------------------------------------------------------------------------------------------------

  stat(node: PathNode): FileStat {
    return this.#at(node, (place) => this.#statPlace(place));
  }

  #statPlace(place: Place): FileStat {
    const words = new BigUint64Array(STAT_WORDS);
    checked(this.#calls.folderStat(place.fd, words));
    // An open file without a name has no metadata by name.
    const known = place.folder >= 0 || !this.#ownership.byName;
    const stat = fileStat(words, known ? this.#ownership.read(place) : {});
    if (stat.device !== this.#device && this.#handle.multidevs !== 'remap') {
      this.#onForeign();
      if (this.#handle.multidevs === 'forbid') throw new LinuxError(ENODEV);
    }
    // A mapped mode says what the guest made of a regular file; a folder is one whatever it says.
    const isFolder = stat.hostType === S_IFDIR;
    if (isFolder !== ((stat.mode & S_IFMT) === S_IFDIR)) {
      return { ...stat, mode: (stat.mode & PERMISSIONS) | stat.hostType };
    }
    return stat;
  }

  /** The file system's words (STATFS_WORDS, as folderStatfs has them). */
  statfs(node: PathNode): BigUint64Array {
    const words = new BigUint64Array(STATFS_WORDS);
    this.#at(node, ({ fd }) => checked(this.#calls.folderStatfs(fd, words)), false);
    return words;
  }

  /** A link's target, a character a byte. */
  readlink(node: PathNode): string {
    return this.#at(node, (place) => {
      const stat = this.#statPlace(place);
      if ((stat.mode & S_IFMT) !== S_IFLNK) throw new LinuxError(EINVAL);
      const target = Buffer.alloc(LINK_BYTES_MAX + 1);
      if (stat.hostType === S_IFLNK) {
        return target.toString('latin1', 0, checked(this.#calls.folderReadlink(place.fd, target)));
      }
      const fd = this.#reopen(place.fd, fs.constants.O_RDONLY);
      try {
        return target.toString(
          'latin1',
          0,
          hostCall(() => fs.readSync(fd, target, 0, LINK_BYTES_MAX, 0)),
        );
      } finally {
        this.#calls.folderClose(fd);
      }
    });
  }

  /**
   * Entries of an open folder from a position on, as long as `use` takes them.
   *
   * @param offset 0, or `next` of an entry
   * @param use whether there is room for more
   */
  readFolder(fd: number, offset: bigint, use: (entry: FolderEntry) => boolean): void {
    const buffer = Buffer.alloc(32 * 1024);
    for (let from = offset; ;) {
      const count = checked(this.#calls.folderRead(fd, from, buffer));
      if (count === 0) return;
      for (let at = 0; at < count; at += buffer.readUInt16LE(at + 16)) {
        from = buffer.readBigUInt64LE(at + 8);
        const name = buffer.toString('latin1', at + DIRENT_NAME, buffer.indexOf(0, at + DIRENT_NAME));
        if (this.#ownership.isHidden(name)) continue;
        // What a file stands for is known only to its metadata in the mapped models.
        const type = this.#mapped && buffer[at + 18] !== DT_DIR ? DT_UNKNOWN : buffer[at + 18];
        if (!use({ name, inode: buffer.readBigUInt64LE(at), next: from, type })) return;
      }
    }
  }

  /** Closes what open() or create() gave. */
  close(fd: number): void {
    this.#calls.folderClose(fd);
  }

  // ---- opening ------------------------------------------------------------------------------------------------------

  /**
   * A descriptor of a regular file or folder, the caller's to close.
   *
   * @param flags O_* of the host; those that are not for a file that is there are ignored
   */
  open(node: PathNode, flags: number): number {
    if ((flags & WRITES) !== 0) this.#checkWritable();
    return this.#at(node, ({ fd }) => this.#reopen(fd, flags), false);
  }

  #reopen(fd: number, flags: number): number {
    const words = new BigUint64Array(STAT_WORDS);
    checked(this.#calls.folderStat(fd, words));
    switch (fileStat(words, {}).hostType) {
      case S_IFDIR:
        if ((flags & WRITES) !== 0) throw new LinuxError(EISDIR);
        return checked(this.#calls.folderReopen(fd, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY));
      case S_IFREG:
        if ((flags & fs.constants.O_DIRECTORY) !== 0) throw new LinuxError(ENOTDIR);
        return checked(this.#calls.folderReopen(fd, (flags & FLAGS_KEPT) | fs.constants.O_NONBLOCK));
      case S_IFLNK:
        throw new LinuxError(ELOOP);
      default:
        // To open a FIFO may take for ever, a device may do anything.
        throw new LinuxError(ENXIO);
    }
  }

  /** Makes a file and opens it, or opens what is there unless flags have O_EXCL. A descriptor, the caller's to close. */
  create(parent: PathNode, name: string, flags: number, file: NewFile): number {
    this.#checkWritable();
    this.#checkNewName(name);
    return this.#inFolder(parent, (folder) => {
      const mode = this.#mapped ? this.#handle.fmode : file.mode & PERMISSIONS;
      const fd = this.#calls.folderCreate(folder, bytes(name), (flags & FLAGS_KEPT) | fs.constants.O_NONBLOCK, mode);
      if (fd === -EEXIST && (flags & fs.constants.O_EXCL) === 0) {
        return this.#step(folder, name, (found) => this.#reopen(found, flags));
      }
      checked(fd);
      try {
        this.#setOwner(folder, name, { ...file, mode: (file.mode & PERMISSIONS) | S_IFREG });
      } catch (error) {
        this.#calls.folderClose(fd);
        this.#calls.folderUnlink(folder, bytes(name), false);
        throw error;
      }
      return fd;
    });
  }

  #setOwner(folder: number, name: string, { mode, uid, gid, rdev }: NewFile): void {
    this.#step(folder, name, (fd) => {
      const credentials: Credentials = { uid, gid, mode, ...(rdev === undefined ? {} : { rdev }) };
      this.#ownership.write({ fd, folder, name }, credentials);
    });
  }

  // ---- names --------------------------------------------------------------------------------------------------------

  /** Makes something without opening it. */
  #make(parent: PathNode, name: string, file: NewFile, make: (folder: number, name: Uint8Array) => number): void {
    this.#checkWritable();
    this.#checkNewName(name);
    this.#inFolder(parent, (folder) => {
      checked(make(folder, bytes(name)));
      try {
        this.#setOwner(folder, name, file);
      } catch (error) {
        this.#calls.folderUnlink(folder, bytes(name), (file.mode & S_IFMT) === S_IFDIR);
        throw error;
      }
    });
  }

  mkdir(parent: PathNode, name: string, folder: NewFile): void {
    const mode = this.#mapped ? this.#handle.dmode : folder.mode & PERMISSIONS;
    const made = { ...folder, mode: (folder.mode & PERMISSIONS) | S_IFDIR };
    this.#make(parent, name, made, (at, bytes_) => this.#calls.folderMkdir(at, bytes_, mode));
  }

  mknod(parent: PathNode, name: string, file: NewFile): void {
    const type = file.mode & S_IFMT;
    if (type === S_IFDIR || type === S_IFLNK) throw new LinuxError(EINVAL);
    const made = { ...file, mode: (file.mode & PERMISSIONS) | (type || S_IFREG) };
    this.#make(parent, name, made, (at, bytes_) => {
      if (this.#mapped) return this.#putFile(at, bytes_, new Uint8Array(0));
      const { major, minor } = deviceNumbers(file.rdev ?? 0n);
      return this.#calls.folderMknod(at, bytes_, made.mode, major, minor);
    });
  }

  /** @param target a character a byte; it is never followed here */
  symlink(parent: PathNode, name: string, target: string, owner: { uid: number; gid: number }): void {
    if (target === '') throw new LinuxError(ENOENT);
    if (target.includes('\0')) throw new LinuxError(EINVAL);
    if (target.length > LINK_BYTES_MAX) throw new LinuxError(ENAMETOOLONG);
    this.#make(parent, name, { ...owner, mode: S_IFLNK | 0o777 }, (at, bytes_) => {
      if (this.#mapped) return this.#putFile(at, bytes_, bytes(target));
      return this.#calls.folderSymlink(bytes(target), at, bytes_);
    });
  }

  /** A new file with something in it. */
  #putFile(folder: number, name: Uint8Array, content: Uint8Array): number {
    const fd = this.#calls.folderCreate(folder, name, fs.constants.O_WRONLY, this.#handle.fmode);
    if (fd < 0) return fd;
    try {
      const written = content.length === 0 ? 0 : hostCall(() => fs.writeSync(fd, content));
      if (written === content.length) return 0;
    } catch (error) {
      this.#calls.folderUnlink(folder, name, false);
      throw error;
    } finally {
      this.#calls.folderClose(fd);
    }
    this.#calls.folderUnlink(folder, name, false);
    return -ENOSPC;
  }

  link(node: PathNode, parent: PathNode, name: string): void {
    this.#checkWritable();
    this.#checkNewName(name);
    const { parent: oldParent } = node;
    if (!oldParent || node.gone) throw new LinuxError(ENOENT);
    this.#inFolder(oldParent, (from) =>
      this.#inFolder(parent, (to) => {
        checked(this.#calls.folderLink(from, bytes(node.name), to, bytes(name)));
        this.#ownership.linked(from, node.name, to, name);
      }),
    );
  }

  rename(oldParent: PathNode, oldName: string, newParent: PathNode, newName: string): void {
    this.#checkWritable();
    this.#checkNewName(oldName);
    this.#checkNewName(newName);
    this.#inFolder(oldParent, (from) =>
      this.#inFolder(newParent, (to) => {
        if (this.#ownership.byName) this.#emptyFolder(to, newName);
        checked(this.#calls.folderRename(from, bytes(oldName), to, bytes(newName)));
        this.tree.renamed(oldParent, oldName, newParent, newName);
        this.#ownership.renamed(from, oldName, to, newName);
      }),
    );
  }

  unlink(parent: PathNode, name: string, isFolder: boolean): void {
    this.#checkWritable();
    this.#checkNewName(name);
    this.#inFolder(parent, (folder) => {
      if (isFolder && this.#ownership.byName) this.#emptyFolder(folder, name);
      checked(this.#calls.folderUnlink(folder, bytes(name), isFolder));
      this.tree.removed(parent, name);
      this.#ownership.removed(folder, name);
    });
  }

  /** A folder that holds nothing but our metadata is to be empty. */
  #emptyFolder(folder: number, name: string): void {
    const fd = this.#calls.folderOpen(folder, bytes(name), O_PATH | fs.constants.O_DIRECTORY);
    if (fd < 0) return;
    try {
      this.#ownership.emptied(fd);
    } finally {
      this.#calls.folderClose(fd);
    }
  }

  // ---- attributes ---------------------------------------------------------------------------------------------------

  setOwner(node: PathNode, credentials: { uid?: number; gid?: number; mode?: number }): void {
    this.#checkWritable();
    this.#at(node, (place) => {
      // Of a file without a name only its own attributes are left.
      if (place.folder < 0 && this.#ownership.byName) return;
      const { mode, uid, gid } = credentials;
      const type = mode === undefined ? 0 : this.#statPlace(place).mode & S_IFMT;
      this.#ownership.write(place, {
        ...(uid === undefined ? {} : { uid }),
        ...(gid === undefined ? {} : { gid }),
        ...(mode === undefined ? {} : { mode: (mode & PERMISSIONS) | type }),
      });
    });
  }

  /** @param times access and modification, seconds and nanoseconds (TIME_NOW, TIME_OMIT) */
  setTimes(node: PathNode, times: BigUint64Array): void {
    this.#checkWritable();
    this.#at(node, ({ fd }) => checked(this.#calls.folderSetTimes(fd, times)), false);
  }

  truncate(node: PathNode, size: number): void {
    this.#checkWritable();
    this.#at(
      node,
      ({ fd }) => {
        const opened = this.#reopen(fd, fs.constants.O_WRONLY);
        try {
          hostCall(() => fs.ftruncateSync(opened, size));
        } finally {
          this.#calls.folderClose(opened);
        }
      },
      false,
    );
  }

  // ---- extended attributes ------------------------------------------------------------------------------------------

  /**
   * The value of an attribute; of the empty name the names of all, each ended by NUL.
   *
   * @param limit bytes at most
   */
  getXattr(node: PathNode, name: string, limit: number): Uint8Array {
    const hostName = name === '' ? null : bytes(this.#xattrNames.toHost(name));
    return this.#at(
      node,
      ({ fd }) => {
        const value = new Uint8Array(limit);
        if (hostName) return value.subarray(0, checked(this.#calls.folderGetXattr(fd, hostName, value)));
        const length = checked(this.#calls.folderListXattr(fd, value));
        return this.#xattrNames.listToGuest(value.subarray(0, length));
      },
      false,
    );
  }

  /** @param flags XATTR_CREATE, XATTR_REPLACE */
  setXattr(node: PathNode, name: string, value: Uint8Array, flags: number): void {
    this.#checkWritable();
    const hostName = bytes(this.#xattrNames.toHost(name));
    this.#at(
      node,
      ({ fd }) =>
        checked(
          value.length === 0
            ? this.#calls.folderRemoveXattr(fd, hostName)
            : this.#calls.folderSetXattr(fd, hostName, value, flags),
        ),
      false,
    );
  }
}

const DT_UNKNOWN = 0;
const DT_DIR = 4;

/** Major and minor of Linux's device numbers. */
function deviceNumbers(device: bigint): { major: number; minor: number } {
  const major = Number((device >> 8n) & 0xfffn);
  const minor = Number((device & 0xffn) | ((device >> 12n) & 0xf_ff00n));
  return { major, minor };
}

/** A call of node:fs, its error as ours. */
export function hostCall<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    const errno = (error as { errno?: unknown }).errno;
    if (typeof errno !== 'number' || errno >= 0) throw error;
    throw new LinuxError(-errno);
  }
}
