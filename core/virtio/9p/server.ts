/**
 * A 9P2000.L server over a shared folder: one client, one request at a time. Whatever a request says, it ends in a reply;
 * what is wrong with it ends in Rlerror. Data of reads and writes goes straight between the file and the buffers.
 */
import { constants as host } from 'node:fs';

import {
  EBADF,
  EINVAL,
  EISDIR,
  EMSGSIZE,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  EOPNOTSUPP,
  EPROTO,
  ERANGE,
  EROFS,
  LinuxError,
} from '../../hostfs/errors.ts';
import { S_IFDIR, S_IFMT } from '../../hostfs/file-stat.ts';
import { NAME_BYTES_MAX } from '../../hostfs/path-tree.ts';
import type { PathNode } from '../../hostfs/path-tree.ts';
import { SharedFolder, hostCall } from '../../hostfs/shared-folder.ts';
import type { SharedFolderHandle } from '../../hostfs/shared-folder.ts';
import { TIME_NOW, TIME_OMIT } from '../../host/folder-calls.ts';
import type { Host } from '../../host/host.ts';
import type { Segments } from '../queue/segments.ts';
import { FidTable } from './fids.ts';
import type { Fid, XattrFid } from './fids.ts';
import { P9Reader, P9Writer } from './message.ts';
import * as p9 from './protocol.ts';
import { QidMap } from './qids.ts';

/** The longest message without data: a Twalk of 16 long names, a Tsymlink. */
const REQUEST_BYTES_MAX = 16 * 1024;
/** The longest reply but Rread; a client asks again for what an Rreaddir has no room for. */
const REPLY_BYTES_MAX = 64 * 1024;
const XATTR_BYTES_MAX = 65_536;
/** All bits of Tsetattr's valid. */
const SETATTR_ALL = 0x1ff;

export interface P9ServerOptions {
  readonly folder: SharedFolderHandle;
  readonly host: Host;
  /** Something the user should know, one line. */
  warn(message: string): void;
}

/** What the buffers of one request are. */
export interface P9Buffers {
  readonly readable: Segments;
  readonly writable: Segments;
}

export class P9Server {
  readonly #options: P9ServerOptions;
  readonly #folder: SharedFolder;
  readonly #fids: FidTable;
  readonly #qids: QidMap;
  readonly #request = Buffer.alloc(REQUEST_BYTES_MAX);
  readonly #in = new P9Reader(this.#request);
  readonly #out = new P9Writer(REPLY_BYTES_MAX);
  /** Negotiated; 0 before Tversion. */
  #msize = 0;
  #warned = false;

  constructor(options: P9ServerOptions) {
    this.#options = options;
    this.#folder = new SharedFolder(options.folder, options.host, () => this.#foreign());
    this.#fids = new FidTable(this.#folder);
    this.#qids = new QidMap(options.folder.multidevs);
    // The folder's own file system is the first one.
    this.#qids.of(this.#folder.stat(this.#folder.tree.root));
  }

  /** Fids in use. */
  get fids(): number {
    return this.#fids.size;
  }

  /** The client is gone. */
  reset(): void {
    this.#fids.clear();
    this.#msize = 0;
  }

  #foreign(): void {
    if (this.#warned) return;
    this.#warned = true;
    const { multidevs } = this.#options.folder;
    const what =
      multidevs === 'forbid'
        ? 'what is on another file system is not shared (multidevs=forbid)'
        : 'files on other file systems may have the same inode numbers; use multidevs=remap';
    this.#options.warn(`the shared folder has other file systems mounted in it: ${what}`);
  }

  /**
   * Serves a request: its message in `readable`, of at least 7 bytes, the reply into `writable`.
   *
   * @returns bytes of the reply; more than there is room for (and nothing written) when not even Rlerror fits
   */
  handle(buffers: P9Buffers): number {
    const { readable, writable } = buffers;
    readable.copyOut(0, this.#request, p9.P9_HEADER_BYTES);
    const size = this.#request.readUInt32LE(0);
    const type = this.#request[4];
    const tag = this.#request.readUInt16LE(5);
    const out = this.#out;
    out.reset();
    let reply = type + 1;
    /** Bytes of data that are in `writable` already, behind what is in `out`. */
    let data = 0;
    try {
      const limit = this.#readMessage(readable, size, type);
      this.#in.reset(limit);
      if (type === p9.P9_TREAD) data = this.#read(writable);
      else if (type === p9.P9_TWRITE) this.#write(readable, size);
      else this.#dispatch(type);
      const room = Math.min(writable.length, this.#msize || Infinity);
      if (out.length + data > room) throw new LinuxError(EMSGSIZE);
    } catch (error) {
      out.reset();
      data = 0;
      out.u32(errnoOf(error));
      reply = p9.P9_RLERROR;
    }
    out.finish(reply, tag);
    if (out.length > writable.length) return out.length;
    if (data > 0) out.patchU32(0, out.length + data);
    writable.copyIn(0, out.bytes, out.length);
    return out.length + data;
  }

  /** Brings the part of the message that is not data into the private copy; its length. */
  #readMessage(readable: Segments, size: number, type: number): number {
    if (size < p9.P9_HEADER_BYTES || size > readable.length) throw new LinuxError(EPROTO);
    if (type !== p9.P9_TVERSION && this.#msize === 0) throw new LinuxError(EPROTO);
    if (type !== p9.P9_TVERSION && size > this.#msize) throw new LinuxError(EMSGSIZE);
    if (type === p9.P9_TWRITE) return readable.copyOut(0, this.#request, Math.min(size, p9.P9_TWRITE_BYTES));
    if (size > REQUEST_BYTES_MAX) throw new LinuxError(EMSGSIZE);
    return readable.copyOut(0, this.#request, size);
  }

  #dispatch(type: number): void {
    switch (type) {
      case p9.P9_TVERSION:
        return this.#version();
      case p9.P9_TAUTH:
        // Who may use the device may use the folder.
        throw new LinuxError(EOPNOTSUPP);
      case p9.P9_TATTACH:
        return this.#attach();
      case p9.P9_TFLUSH:
        // Requests are served in their order: what is to be flushed has been answered.
        this.#in.u16();
        return;
      case p9.P9_TWALK:
        return this.#walk();
      case p9.P9_TCLUNK:
        return this.#clunk();
      case p9.P9_TREMOVE:
        return this.#remove();
      case p9.P9_TSTATFS:
        return this.#statfs();
      case p9.P9_TLOPEN:
        return this.#lopen();
      case p9.P9_TLCREATE:
        return this.#lcreate();
      case p9.P9_TSYMLINK:
        return this.#symlink();
      case p9.P9_TMKNOD:
        return this.#mknod();
      case p9.P9_TRENAME:
        return this.#rename();
      case p9.P9_TREADLINK:
        return this.#out.string(this.#folder.readlink(this.#fid().node));
      case p9.P9_TGETATTR:
        return this.#getattr();
      case p9.P9_TSETATTR:
        return this.#setattr();
      case p9.P9_TXATTRWALK:
        return this.#xattrwalk();
      case p9.P9_TXATTRCREATE:
        return this.#xattrcreate();
      case p9.P9_TREADDIR:
        return this.#readdir();
      case p9.P9_TFSYNC:
        return this.#fsync();
      case p9.P9_TLOCK:
        return this.#lock();
      case p9.P9_TGETLOCK:
        return this.#getlock();
      case p9.P9_TLINK:
        return this.#link();
      case p9.P9_TMKDIR:
        return this.#mkdir();
      case p9.P9_TRENAMEAT:
        return this.#renameat();
      case p9.P9_TUNLINKAT:
        return this.#unlinkat();
      default:
        throw new LinuxError(EOPNOTSUPP);
    }
  }

  /** The fid that comes next in the request. */
  #fid(): Fid {
    return this.#fids.get(this.#in.u32());
  }

  #qidOf(node: PathNode) {
    return this.#qids.of(this.#folder.stat(node));
  }

  // ---- session ------------------------------------------------------------------------------------------------------

  #version(): void {
    const msize = this.#in.u32();
    const version = this.#in.string();
    // A new session, whatever comes of it.
    this.reset();
    if (msize < p9.P9_MSIZE_MIN) throw new LinuxError(EMSGSIZE);
    const agreed = Math.min(msize, p9.P9_MSIZE_MAX);
    const known = version === p9.P9_VERSION;
    if (known) this.#msize = agreed;
    this.#out.u32(agreed);
    this.#out.string(known ? p9.P9_VERSION : 'unknown');
  }

  #attach(): void {
    const id = this.#in.u32();
    const afid = this.#in.u32();
    this.#in.string(); // uname
    this.#in.string(); // aname: there is one tree
    const uid = this.#in.u32();
    if (afid !== p9.P9_NOFID || id === p9.P9_NOFID) throw new LinuxError(EINVAL);
    const { tree } = this.#folder;
    const qid = this.#qidOf(tree.root);
    this.#addFid(id, tree.acquire(tree.root), uid === p9.P9_NONUNAME ? 0 : uid);
    this.#out.qid(qid);
  }

  /** A new fid for an acquired node. */
  #addFid(id: number, node: PathNode, uid: number): Fid {
    try {
      return this.#fids.add(id, node, uid);
    } catch (error) {
      this.#folder.tree.release(node);
      throw error;
    }
  }

  #walk(): void {
    const fid = this.#fid();
    const newId = this.#in.u32();
    const count = this.#in.u16();
    if (count > p9.P9_MAXWELEM) throw new LinuxError(EINVAL);
    const names = Array.from({ length: count }, () => this.#in.string());
    if (fid.xattr || (newId === fid.id && fid.isOpen)) throw new LinuxError(EINVAL);
    if (newId === p9.P9_NOFID || (newId !== fid.id && this.#fids.has(newId))) throw new LinuxError(EINVAL);

    const { tree } = this.#folder;
    let node = tree.acquire(fid.node);
    const qids = [];
    try {
      for (const name of names) {
        try {
          const next = this.#walkStep(node, name);
          tree.release(node);
          node = next;
          qids.push(this.#qidOf(node));
        } catch (error) {
          // Only the first name's failure is one of the request.
          if (qids.length === 0 || !(error instanceof LinuxError)) throw error;
          break;
        }
      }
      this.#out.u16(qids.length);
      for (const qid of qids) this.#out.qid(qid);
      if (qids.length < names.length) return;
      if (newId === fid.id) this.#fids.move(fid, tree.acquire(node));
      else this.#addFid(newId, tree.acquire(node), fid.uid);
    } finally {
      tree.release(node);
    }
  }

  /** The node one name further, acquired. */
  #walkStep(node: PathNode, name: string): PathNode {
    const { tree } = this.#folder;
    this.#folder.checkName(name);
    if (name === '.') return tree.acquire(node);
    if (name === '..') {
      // The shared folder is its own parent; a folder that is gone has none.
      if (node.gone) throw new LinuxError(ENOENT);
      return tree.acquire(node.parent ?? node);
    }
    return tree.child(node, name);
  }

  #clunk(): void {
    const fid = this.#fid();
    const { xattr } = fid;
    try {
      if (!xattr?.writing) return;
      if (xattr.written !== xattr.value.length) throw new LinuxError(EINVAL);
      this.#folder.setXattr(fid.node, xattr.name, xattr.value, xattr.flags);
    } finally {
      this.#fids.remove(fid);
    }
  }

  #remove(): void {
    const fid = this.#fid();
    // The fid is clunked even if the file stays.
    const node = this.#folder.tree.acquire(fid.node);
    try {
      const isFolder = (this.#folder.stat(node).mode & S_IFMT) === S_IFDIR;
      if (!node.parent) throw new LinuxError(node.gone ? ENOENT : EINVAL);
      this.#folder.unlink(node.parent, node.name, isFolder);
    } finally {
      this.#fids.remove(fid);
      this.#folder.tree.release(node);
    }
  }

  // ---- files --------------------------------------------------------------------------------------------------------

  #lopen(): void {
    const fid = this.#fid();
    const flags = hostFlags(this.#in.u32());
    this.#fids.checkOpen(fid);
    const qid = this.#qidOf(fid.node);
    const fd = this.#folder.open(fid.node, flags);
    this.#fids.opened(fid, fd, qid.type === p9.P9_QTDIR);
    this.#out.qid(qid);
    // No limit but msize.
    this.#out.u32(0);
  }

  #lcreate(): void {
    const fid = this.#fid();
    const name = this.#in.string();
    const flags = hostFlags(this.#in.u32());
    const mode = this.#in.u32();
    const gid = this.#in.u32();
    this.#fids.checkOpen(fid);
    const { tree } = this.#folder;
    const fd = this.#folder.create(fid.node, name, flags, { mode, uid: fid.uid, gid });
    this.#fids.move(fid, tree.child(fid.node, name));
    this.#fids.opened(fid, fd, false);
    this.#out.qid(this.#qidOf(fid.node));
    this.#out.u32(0);
  }

  /** Data goes into `writable` behind the reply's 11 bytes. */
  #read(writable: Segments): number {
    const fid = this.#fid();
    const offset = this.#in.offset();
    const asked = this.#in.u32();
    const room = Math.min(writable.length, this.#msize) - p9.P9_RREAD_BYTES;
    const count = Math.max(0, Math.min(asked, room));
    let done = 0;
    if (fid.xattr && !fid.xattr.writing) {
      const part = fid.xattr.value.subarray(offset, offset + count);
      done = writable.copyIn(p9.P9_RREAD_BYTES, part);
    } else {
      const fd = fileOf(fid);
      if (count > 0) {
        const views = writable.views(p9.P9_RREAD_BYTES, count);
        done = hostCall(() => this.#options.host.readv(fd, views, offset));
      }
    }
    this.#out.u32(done);
    return done;
  }

  #write(readable: Segments, size: number): void {
    const fid = this.#fid();
    const offset = this.#in.offset();
    const asked = this.#in.u32();
    if (asked > size - p9.P9_TWRITE_BYTES) throw new LinuxError(EINVAL);
    let done = 0;
    if (fid.xattr?.writing) {
      if (offset !== fid.xattr.written || offset + asked > fid.xattr.value.length) throw new LinuxError(ENOSPC);
      done = readable.copyOut(p9.P9_TWRITE_BYTES, fid.xattr.value.subarray(offset), asked);
      fid.xattr.written += done;
    } else {
      const fd = fileOf(fid);
      if (this.#folder.readonly) throw new LinuxError(EROFS);
      if (asked > 0) {
        const views = readable.views(p9.P9_TWRITE_BYTES, asked);
        done = hostCall(() => this.#options.host.writev(fd, views, offset));
      }
    }
    this.#out.u32(done);
  }

  #fsync(): void {
    const fid = this.#fid();
    if (fid.fd < 0) throw new LinuxError(EBADF);
    // Linux before 2.6.39 sends no datasync; both are on stable storage then.
    hostCall(() => this.#options.host.fdatasync(fid.fd));
  }

  #readdir(): void {
    const fid = this.#fid();
    const offset = this.#in.u64();
    const count = this.#in.u32();
    if (fid.fd < 0) throw new LinuxError(EBADF);
    if (!fid.isFolder) throw new LinuxError(ENOTDIR);
    const out = this.#out;
    const start = p9.P9_RREAD_BYTES;
    const limit = start + Math.min(count, this.#msize - start, REPLY_BYTES_MAX - start);
    out.u32(0);
    const { device, inode } = this.#folder.stat(fid.node);
    this.#folder.readFolder(fid.fd, offset, ({ name, inode: entry, next, type }) => {
      if (out.length + p9.P9_DIRENT_BYTES + name.length > limit) return false;
      // What the shared folder lies in is nobody's business.
      const number = name === '..' && !fid.node.parent ? inode : entry;
      const qidType = type === DT_DIR ? p9.P9_QTDIR : type === DT_LNK ? p9.P9_QTSYMLINK : p9.P9_QTFILE;
      out.qid({ type: qidType, version: 0, path: this.#qids.path(device, number) });
      out.u64(next);
      out.u8(type);
      out.string(name);
      return true;
    });
    out.patchU32(p9.P9_HEADER_BYTES, out.length - start);
  }

  // ---- names --------------------------------------------------------------------------------------------------------

  /** Replies with the qid of something that was made. */
  #made(parent: PathNode, name: string): void {
    const { tree } = this.#folder;
    const node = tree.child(parent, name);
    try {
      this.#out.qid(this.#qidOf(node));
    } finally {
      tree.release(node);
    }
  }

  #mkdir(): void {
    const { node, uid } = this.#fid();
    const name = this.#in.string();
    const mode = this.#in.u32();
    const gid = this.#in.u32();
    this.#folder.mkdir(node, name, { mode, uid, gid });
    this.#made(node, name);
  }

  #mknod(): void {
    const { node, uid } = this.#fid();
    const name = this.#in.string();
    const mode = this.#in.u32() & 0xffff;
    const major = BigInt(this.#in.u32());
    const minor = BigInt(this.#in.u32());
    const gid = this.#in.u32();
    const rdev = (minor & 0xffn) | ((major & 0xfffn) << 8n) | ((minor & 0xf_ff00n) << 12n);
    this.#folder.mknod(node, name, { mode, uid, gid, rdev });
    this.#made(node, name);
  }

  #symlink(): void {
    const { node, uid } = this.#fid();
    const name = this.#in.string();
    const target = this.#in.string();
    const gid = this.#in.u32();
    this.#folder.symlink(node, name, target, { uid, gid });
    this.#made(node, name);
  }

  #link(): void {
    const folder = this.#fid();
    const fid = this.#fid();
    this.#folder.link(fid.node, folder.node, this.#in.string());
  }

  #rename(): void {
    const { node } = this.#fid();
    const folder = this.#fid();
    const name = this.#in.string();
    if (node.gone) throw new LinuxError(ENOENT);
    if (!node.parent) throw new LinuxError(EINVAL);
    this.#folder.rename(node.parent, node.name, folder.node, name);
  }

  #renameat(): void {
    const from = this.#fid();
    const oldName = this.#in.string();
    const to = this.#fid();
    this.#folder.rename(from.node, oldName, to.node, this.#in.string());
  }

  #unlinkat(): void {
    const { node } = this.#fid();
    const name = this.#in.string();
    const flags = this.#in.u32();
    if ((flags & ~p9.P9_AT_REMOVEDIR) !== 0) throw new LinuxError(EINVAL);
    this.#folder.unlink(node, name, flags !== 0);
  }

  // ---- attributes ---------------------------------------------------------------------------------------------------

  #getattr(): void {
    const { node } = this.#fid();
    this.#in.u64(); // What is asked for: all is given.
    const stat = this.#folder.stat(node);
    const out = this.#out;
    out.u64(p9.P9_GETATTR_BASIC);
    out.qid(this.#qids.of(stat));
    out.u32(stat.mode);
    out.u32(stat.uid);
    out.u32(stat.gid);
    for (const value of [stat.links, stat.rdev, stat.size, stat.blockSize, stat.blocks]) out.u64(value);
    for (const { seconds, nanoseconds } of [stat.accessed, stat.modified, stat.changed]) {
      out.u64(seconds);
      out.u64(nanoseconds);
    }
    // Birth time, generation, data version: not valid.
    for (let i = 0; i < 4; i++) out.u64(0n);
  }

  #setattr(): void {
    const { node } = this.#fid();
    const valid = this.#in.u32();
    const mode = this.#in.u32();
    const uid = this.#in.u32();
    const gid = this.#in.u32();
    const size = this.#in.u64();
    const [accessed, accessedNs, modified, modifiedNs] = [
      this.#in.u64(),
      this.#in.u64(),
      this.#in.u64(),
      this.#in.u64(),
    ];
    if ((valid & ~SETATTR_ALL) !== 0) throw new LinuxError(EINVAL);
    const has = (bit: number): boolean => (valid & bit) !== 0;
    // The owner first: to change it takes the set-user-id bit away.
    if (has(p9.P9_SETATTR_UID) || has(p9.P9_SETATTR_GID)) {
      this.#folder.setOwner(node, {
        ...(has(p9.P9_SETATTR_UID) ? { uid } : {}),
        ...(has(p9.P9_SETATTR_GID) ? { gid } : {}),
      });
    }
    if (has(p9.P9_SETATTR_MODE)) this.#folder.setOwner(node, { mode });
    if (has(p9.P9_SETATTR_SIZE)) {
      if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new LinuxError(EINVAL);
      this.#folder.truncate(node, Number(size));
    }
    if (has(p9.P9_SETATTR_ATIME) || has(p9.P9_SETATTR_MTIME)) {
      const time = (wanted: boolean, given: boolean, ns: bigint): bigint =>
        !wanted ? TIME_OMIT : given ? ns : TIME_NOW;
      const times = BigUint64Array.of(
        accessed,
        time(has(p9.P9_SETATTR_ATIME), has(p9.P9_SETATTR_ATIME_SET), accessedNs),
        modified,
        time(has(p9.P9_SETATTR_MTIME), has(p9.P9_SETATTR_MTIME_SET), modifiedNs),
      );
      this.#folder.setTimes(node, times);
    }
  }

  #statfs(): void {
    const words = this.#folder.statfs(this.#fid().node);
    const [, blockSize, blocks, free, available, files, filesFree, id] = words;
    const out = this.#out;
    out.u32(p9.P9_STATFS_TYPE);
    out.u32(Number(blockSize & 0xffff_ffffn));
    for (const value of [blocks, free, available, files, filesFree, id]) out.u64(value);
    out.u32(NAME_BYTES_MAX);
  }

  #xattrwalk(): void {
    const fid = this.#fid();
    const newId = this.#in.u32();
    const name = this.#in.string();
    if (newId === p9.P9_NOFID || this.#fids.has(newId)) throw new LinuxError(EINVAL);
    const value = this.#folder.getXattr(fid.node, name, XATTR_BYTES_MAX);
    const made = this.#addFid(newId, this.#folder.tree.acquire(fid.node), fid.uid);
    try {
      const xattr: XattrFid = { name, value, writing: false, flags: 0, written: 0 };
      this.#fids.setXattr(made, () => xattr);
    } catch (error) {
      this.#fids.remove(made);
      throw error;
    }
    this.#out.u64(BigInt(value.length));
  }

  #xattrcreate(): void {
    const fid = this.#fid();
    const name = this.#in.string();
    const size = this.#in.u64();
    const flags = this.#in.u32();
    if (this.#folder.readonly) throw new LinuxError(EROFS);
    if ((flags & ~3) !== 0) throw new LinuxError(EINVAL);
    if (size > BigInt(XATTR_BYTES_MAX)) throw new LinuxError(ERANGE);
    this.#fids.setXattr(fid, () => {
      return { name, value: new Uint8Array(Number(size)), writing: true, flags, written: 0 };
    });
  }

  // ---- locks --------------------------------------------------------------------------------------------------------
  // The client's kernel keeps its own processes apart; as in QEMU locks are not shared with the host.

  #lock(): void {
    if (this.#fid().fd < 0) throw new LinuxError(EBADF);
    this.#lockRange();
    this.#out.u8(p9.P9_LOCK_SUCCESS);
  }

  #getlock(): void {
    if (this.#fid().fd < 0) throw new LinuxError(EBADF);
    this.#in.u8();
    const start = this.#in.u64();
    const length = this.#in.u64();
    const process = this.#in.u32();
    const client = this.#in.string();
    this.#out.u8(p9.P9_LOCK_TYPE_UNLCK);
    this.#out.u64(start);
    this.#out.u64(length);
    this.#out.u32(process);
    this.#out.string(client);
  }

  #lockRange(): void {
    this.#in.u8(); // type
    this.#in.u32(); // flags
    this.#in.u64(); // start
    this.#in.u64(); // length
    this.#in.u32(); // process
    this.#in.string(); // client
  }
}

const DT_DIR = 4;
const DT_LNK = 10;

function fileOf(fid: Fid): number {
  if (fid.fd < 0) throw new LinuxError(EBADF);
  if (fid.isFolder) throw new LinuxError(EISDIR);
  return fid.fd;
}

function hostFlags(flags: number): number {
  const has = (bit: number, flag: number): number => ((flags & bit) === bit ? flag : 0);
  const access = flags & p9.P9_OPEN_ACCMODE;
  return (
    (access === p9.P9_OPEN_RDWR ? host.O_RDWR : access === p9.P9_OPEN_WRONLY ? host.O_WRONLY : host.O_RDONLY) |
    has(p9.P9_OPEN_EXCL, host.O_EXCL) |
    has(p9.P9_OPEN_TRUNC, host.O_TRUNC) |
    has(p9.P9_OPEN_APPEND, host.O_APPEND) |
    has(p9.P9_OPEN_DSYNC, host.O_DSYNC) |
    has(p9.P9_OPEN_SYNC, host.O_SYNC) |
    has(p9.P9_OPEN_DIRECTORY, host.O_DIRECTORY)
  );
}

/** For Rlerror. Anything but an error of the host or of the request is a bug of ours, and not to be hidden. */
function errnoOf(error: unknown): number {
  if (error instanceof LinuxError) return error.errno;
  throw error;
}
