/** What a client holds on to: its fids. */
import { EBADF, EINVAL, EMFILE, ENOMEM, LinuxError } from '../../hostfs/errors.ts';
import type { PathNode } from '../../hostfs/path-tree.ts';
import type { SharedFolder } from '../../hostfs/shared-folder.ts';

/** Fids of a client at most. */
const FIDS_MAX = 65_536;
/** Open files of a client at most: the process's descriptors are for all VMs. */
const OPEN_MAX = 1024;
/** Attributes being read or written at a time at most, each up to 64 KiB. */
const XATTRS_MAX = 64;

/** An extended attribute that is read or written by way of a fid. */
export interface XattrFid {
  readonly name: string;
  /** Read: the value. Write: what it will be when the fid is clunked. */
  readonly value: Uint8Array;
  readonly writing: boolean;
  readonly flags: number;
  /** Bytes written so far. */
  written: number;
}

export class Fid {
  readonly id: number;
  readonly uid: number;
  node: PathNode;
  /** Of the open file or folder, -1 when it is not open. */
  fd = -1;
  isFolder = false;
  xattr: XattrFid | null = null;

  constructor(id: number, node: PathNode, uid: number) {
    this.id = id;
    this.node = node;
    this.uid = uid;
  }

  get isOpen(): boolean {
    return this.fd >= 0 || this.xattr !== null;
  }
}

export class FidTable {
  readonly #folder: SharedFolder;
  readonly #fids = new Map<number, Fid>();
  #open = 0;
  #xattrs = 0;

  constructor(folder: SharedFolder) {
    this.#folder = folder;
  }

  get size(): number {
    return this.#fids.size;
  }

  /** @throws LinuxError EBADF */
  get(id: number): Fid {
    const fid = this.#fids.get(id);
    if (!fid) throw new LinuxError(EBADF);
    return fid;
  }

  has(id: number): boolean {
    return this.#fids.has(id);
  }

  /** @param node acquired by the caller; the fid has it from now on, unless this throws */
  add(id: number, node: PathNode, uid: number): Fid {
    if (this.#fids.has(id)) throw new LinuxError(EINVAL);
    if (this.#fids.size >= FIDS_MAX) throw new LinuxError(ENOMEM);
    const fid = new Fid(id, node, uid);
    this.#fids.set(id, fid);
    return fid;
  }

  /** @throws LinuxError when nothing more can be opened */
  checkOpen(fid: Fid): void {
    if (fid.isOpen) throw new LinuxError(EINVAL);
    if (this.#open >= OPEN_MAX) throw new LinuxError(EMFILE);
  }

  opened(fid: Fid, fd: number, isFolder: boolean): void {
    fid.fd = fd;
    fid.isFolder = isFolder;
    fid.node.open.add(fd);
    this.#open++;
  }

  /** @throws LinuxError when the fid is open, or there are too many */
  setXattr(fid: Fid, make: () => XattrFid): void {
    if (fid.isOpen) throw new LinuxError(EINVAL);
    if (this.#xattrs >= XATTRS_MAX) throw new LinuxError(ENOMEM);
    fid.xattr = make();
    this.#xattrs++;
  }

  /** The fid stands for another node from now on. */
  move(fid: Fid, node: PathNode): void {
    const { node: old } = fid;
    fid.node = node;
    this.#folder.tree.release(old);
  }

  remove(fid: Fid): void {
    this.#fids.delete(fid.id);
    if (fid.fd >= 0) {
      fid.node.open.delete(fid.fd);
      this.#folder.close(fid.fd);
      fid.fd = -1;
      this.#open--;
    }
    if (fid.xattr) this.#xattrs--;
    fid.xattr = null;
    this.#folder.tree.release(fid.node);
  }

  clear(): void {
    for (const fid of [...this.#fids.values()]) this.remove(fid);
  }
}
