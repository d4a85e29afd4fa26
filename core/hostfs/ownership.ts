/**
 * Security models of a shared folder (QEMU's -fsdev security_model): where the owner and the mode that the guest gives a
 * file are kept. The formats of the mapped models are QEMU's, so that a folder can be used with both.
 */
import * as fs from 'node:fs';

import type { FolderCalls } from '../host/folder-calls.ts';
import { EEXIST, ENODATA, ENOENT, EOPNOTSUPP, ENOTDIR, EPERM, EROFS, checked } from './errors.ts';
import type { Credentials } from './file-stat.ts';

export const SECURITY_MODELS = ['mapped-xattr', 'mapped-file', 'passthrough', 'none'] as const;
export type SecurityModel = (typeof SECURITY_MODELS)[number];

/** mapped-file's folder of metadata in each folder, and its file for the shared folder itself. */
export const METADATA_FOLDER = '.virtfs_metadata';
export const METADATA_ROOT = '.virtfs_metadata_root';

/** Where a file is: descriptors are O_PATH. */
export interface Place {
  readonly fd: number;
  /** Of the folder that it is in; of the shared folder, itself. */
  readonly folder: number;
  /** "" for the shared folder. */
  readonly name: string;
}

export interface Ownership {
  /** Whether Place.folder is needed by read(). */
  readonly byName: boolean;
  read(place: Place): Credentials;
  /** Merges into what is there. @throws LinuxError */
  write(place: Place, credentials: Credentials): void;
  /** Names that the guest must not see. */
  isHidden(name: string): boolean;
  linked(oldFolder: number, oldName: string, newFolder: number, newName: string): void;
  renamed(oldFolder: number, oldName: string, newFolder: number, newName: string): void;
  removed(folder: number, name: string): void;
  /** Makes an otherwise empty folder empty. */
  emptied(folder: number): void;
}

export const bytes = (name: string): Uint8Array => Buffer.from(name, 'latin1');

/** mapped-xattr: user.virtfs.* of the file. */
export class XattrOwnership implements Ownership {
  readonly byName = false;
  readonly #calls: FolderCalls;
  readonly #value = new Uint8Array(8);
  readonly #view = new DataView(this.#value.buffer);

  constructor(calls: FolderCalls) {
    this.#calls = calls;
  }

  read({ fd }: Place): Credentials {
    const uid = this.#get(fd, XATTR_UID, 4);
    // Files that the host made have none of them.
    const mode = this.#get(fd, XATTR_MODE, 4);
    if (uid === null && mode === null) return {};
    const gid = this.#get(fd, XATTR_GID, 4);
    const rdev = this.#get(fd, XATTR_RDEV, 8);
    return {
      ...(uid === null ? {} : { uid: Number(uid) }),
      ...(gid === null ? {} : { gid: Number(gid) }),
      ...(mode === null ? {} : { mode: Number(mode) }),
      ...(rdev === null ? {} : { rdev }),
    };
  }

  #get(fd: number, name: Uint8Array, size: 4 | 8): bigint | null {
    if (this.#calls.folderGetXattr(fd, name, this.#value) !== size) return null;
    return size === 4 ? BigInt(this.#view.getUint32(0, true)) : this.#view.getBigUint64(0, true);
  }

  write({ fd }: Place, { uid, gid, mode, rdev }: Credentials): void {
    if (uid !== undefined) this.#set(fd, XATTR_UID, 4, BigInt(uid));
    if (gid !== undefined) this.#set(fd, XATTR_GID, 4, BigInt(gid));
    if (mode !== undefined) this.#set(fd, XATTR_MODE, 4, BigInt(mode));
    if (rdev !== undefined) this.#set(fd, XATTR_RDEV, 8, rdev);
  }

  #set(fd: number, name: Uint8Array, size: 4 | 8, value: bigint): void {
    this.#view.setBigUint64(0, value, true);
    checked(this.#calls.folderSetXattr(fd, name, this.#value.subarray(0, size), 0));
  }

  isHidden(): boolean {
    return false;
  }
  // The attributes are the file's, whatever its names.
  linked(): void {}
  renamed(): void {}
  removed(): void {}
  emptied(): void {}
}

const XATTR_UID = bytes('user.virtfs.uid');
const XATTR_GID = bytes('user.virtfs.gid');
const XATTR_MODE = bytes('user.virtfs.mode');
const XATTR_RDEV = bytes('user.virtfs.rdev');

/** Lines of a metadata file. */
const METADATA_BYTES_MAX = 400;
const DIRENT_NAME = 19;

/** mapped-file: a file of the same name in .virtfs_metadata. */
export class FileOwnership implements Ownership {
  readonly byName = true;
  readonly #calls: FolderCalls;

  constructor(calls: FolderCalls) {
    this.#calls = calls;
  }

  read({ folder, name }: Place): Credentials {
    const path = name === '' ? METADATA_ROOT : `${METADATA_FOLDER}/${name}`;
    const fd = this.#open(folder, path, fs.constants.O_RDONLY);
    if (fd < 0) return {};
    try {
      const buffer = Buffer.alloc(METADATA_BYTES_MAX);
      const text = buffer.toString('latin1', 0, fs.readSync(fd, buffer, 0, METADATA_BYTES_MAX, 0));
      const value = (key: string): number | undefined => {
        const match = new RegExp(`^virtfs\\.${key}=(\\d{1,16})$`, 'm').exec(text);
        return match ? Number(match[1]) : undefined;
      };
      const [uid, gid, mode, rdev] = ['uid', 'gid', 'mode', 'rdev'].map(value);
      return {
        ...(uid === undefined ? {} : { uid: uid >>> 0 }),
        ...(gid === undefined ? {} : { gid: gid >>> 0 }),
        ...(mode === undefined ? {} : { mode: mode & 0xffff }),
        ...(rdev === undefined ? {} : { rdev: BigInt(rdev) }),
      };
    } finally {
      this.#calls.folderClose(fd);
    }
  }

  /** Only a regular file: anything else there was put there by somebody else. */
  #open(folder: number, path: string, flags: number): number {
    const found = this.#calls.folderOpen(folder, bytes(path), O_PATH);
    if (found < 0) return found;
    try {
      if (!fs.fstatSync(found).isFile()) return -EPERM;
      return this.#calls.folderReopen(found, flags | fs.constants.O_NONBLOCK);
    } finally {
      this.#calls.folderClose(found);
    }
  }

  write(place: Place, credentials: Credentials): void {
    const merged = { ...this.read(place), ...credentials };
    const lines = (['uid', 'gid', 'mode', 'rdev'] as const)
      .filter((key) => merged[key] !== undefined)
      .map((key) => `virtfs.${key}=${merged[key]}\n`);
    this.#store(place, lines.join(''));
  }

  #store({ folder, name }: Place, text: string): void {
    const inFolder = name === '' ? -1 : this.#metadataFolder(folder, true);
    const [parent, file] = inFolder < 0 ? [folder, METADATA_ROOT] : [inFolder, name];
    try {
      let fd = this.#calls.folderCreate(parent, bytes(file), fs.constants.O_WRONLY, 0o600);
      if (fd === -EEXIST) fd = this.#open(parent, file, fs.constants.O_WRONLY | fs.constants.O_TRUNC);
      checked(fd);
      try {
        fs.writeSync(fd, text);
      } finally {
        this.#calls.folderClose(fd);
      }
    } finally {
      if (inFolder >= 0) this.#calls.folderClose(inFolder);
    }
  }

  /** A descriptor of .virtfs_metadata, -errno when there is none and none is wanted. */
  #metadataFolder(folder: number, make: boolean): number {
    const name = bytes(METADATA_FOLDER);
    const flags = O_PATH | fs.constants.O_DIRECTORY;
    const fd = this.#calls.folderOpen(folder, name, flags);
    if (fd >= 0 || !make) return fd;
    const made = this.#calls.folderMkdir(folder, name, 0o700);
    if (made !== -EEXIST) checked(made);
    return checked(this.#calls.folderOpen(folder, name, flags));
  }

  isHidden(name: string): boolean {
    return name === METADATA_FOLDER || name === METADATA_ROOT;
  }

  linked(oldFolder: number, oldName: string, newFolder: number, newName: string): void {
    this.#both(oldFolder, newFolder, (from, to) => {
      this.#calls.folderUnlink(to, bytes(newName), false);
      return this.#calls.folderLink(from, bytes(oldName), to, bytes(newName));
    });
  }

  renamed(oldFolder: number, oldName: string, newFolder: number, newName: string): void {
    const moved = this.#both(oldFolder, newFolder, (from, to) =>
      this.#calls.folderRename(from, bytes(oldName), to, bytes(newName)),
    );
    // What the file that was there had must not pass to the one that has come.
    if (!moved) this.removed(newFolder, newName);
  }

  /** Whether there was something to do it with. */
  #both(oldFolder: number, newFolder: number, act: (from: number, to: number) => number): boolean {
    const from = this.#metadataFolder(oldFolder, false);
    if (from < 0) return false;
    try {
      const to = this.#metadataFolder(newFolder, true);
      try {
        const result = act(from, to);
        if (result === -ENOENT) return false;
        checked(result);
        return true;
      } finally {
        this.#calls.folderClose(to);
      }
    } finally {
      this.#calls.folderClose(from);
    }
  }

  removed(folder: number, name: string): void {
    const metadata = this.#metadataFolder(folder, false);
    if (metadata < 0) return;
    this.#calls.folderUnlink(metadata, bytes(name), false);
    this.#calls.folderClose(metadata);
  }

  emptied(folder: number): void {
    const listing = this.#calls.folderOpen(folder, bytes('.'), O_PATH);
    if (listing < 0) return;
    try {
      if (this.#names(listing).some((name) => name !== METADATA_FOLDER)) return;
      const metadata = this.#metadataFolder(folder, false);
      if (metadata < 0) return;
      for (const name of this.#names(metadata)) this.#calls.folderUnlink(metadata, bytes(name), false);
      this.#calls.folderClose(metadata);
      this.#calls.folderUnlink(folder, bytes(METADATA_FOLDER), true);
    } finally {
      this.#calls.folderClose(listing);
    }
  }

  #names(folder: number): string[] {
    const fd = checked(this.#calls.folderReopen(folder, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY));
    try {
      return readNames(this.#calls, fd);
    } finally {
      this.#calls.folderClose(fd);
    }
  }
}

/** All names in a folder but "." and "..". */
function readNames(calls: FolderCalls, fd: number): string[] {
  const names: string[] = [];
  const buffer = Buffer.alloc(32 * 1024);
  let offset = 0n;
  for (;;) {
    const count = checked(calls.folderRead(fd, offset, buffer));
    if (count === 0) return names;
    for (let at = 0; at < count; at += buffer.readUInt16LE(at + 16)) {
      offset = buffer.readBigUInt64LE(at + 8);
      const name = buffer.toString('latin1', at + DIRENT_NAME, buffer.indexOf(0, at + DIRENT_NAME));
      if (name !== '.' && name !== '..') names.push(name);
    }
  }
}

/** Linux's, on every architecture that Node runs on; node:fs does not name it. */
export const O_PATH = 0x20_0000;

/** passthrough and none: the host's owner and mode are the guest's. */
export class HostOwnership implements Ownership {
  readonly byName = false;
  readonly #calls: FolderCalls;
  readonly #mayFail: boolean;

  /** @param mayFail that the owner cannot be changed is no error (none) */
  constructor(calls: FolderCalls, mayFail: boolean) {
    this.#calls = calls;
    this.#mayFail = mayFail;
  }

  read(): Credentials {
    return {};
  }

  write({ fd }: Place, { uid, gid, mode }: Credentials): void {
    if (uid !== undefined || gid !== undefined) {
      const result = this.#calls.folderChown(fd, uid ?? KEEP, gid ?? KEEP);
      if (!this.#mayFail) checked(result);
    }
    if (mode === undefined) return;
    const result = this.#calls.folderChmod(fd, mode & 0o7777);
    // Links have no mode of their own.
    if (result !== -EOPNOTSUPP) checked(result);
  }

  isHidden(): boolean {
    return false;
  }
  linked(): void {}
  renamed(): void {}
  removed(): void {}
  emptied(): void {}
}

/** chown(2): leave it. */
const KEEP = 0xffff_ffff;

export function createOwnership(model: SecurityModel, calls: FolderCalls): Ownership {
  switch (model) {
    case 'mapped-xattr':
      return new XattrOwnership(calls);
    case 'mapped-file':
      return new FileOwnership(calls);
    case 'passthrough':
      return new HostOwnership(calls, false);
    case 'none':
      return new HostOwnership(calls, true);
  }
}

/** Whether owners and modes can be kept: mapped-xattr needs a file system that has user attributes. */
export function ownershipProblem(model: SecurityModel, calls: FolderCalls, fd: number): string | null {
  if (model !== 'mapped-xattr') return null;
  const probe = calls.folderGetXattr(fd, bytes('user.virtfs.uid'), new Uint8Array(8));
  if (probe >= 0 || probe === -ENODATA || probe === -ENOTDIR || probe === -EROFS) return null;
  return 'its file system has no user extended attributes; use security_model=mapped-file';
}
