/** Requests about open files and folders, and locks. Data goes straight between the file and the buffers. */
import { constants as host } from 'node:fs';

import { EBADF, EINVAL, EISDIR, ENOSPC, ENOTDIR, EROFS, LinuxError } from '../../hostfs/errors.ts';
import { hostCall } from '../../hostfs/shared-folder.ts';
import type { Segments } from '../queue/segments.ts';
import type { Fid } from './fids.ts';
import * as p9 from './protocol.ts';
import { REPLY_BYTES_MAX } from './session.ts';
import type { P9Session } from './session.ts';

const DT_DIR = 4;
const DT_LNK = 10;

export function lopen(s: P9Session): void {
  const fid = s.fid();
  const flags = hostFlags(s.in.u32());
  s.fids.checkOpen(fid);
  const qid = s.qidOf(fid.node);
  const fd = s.folder.open(fid.node, flags);
  s.fids.opened(fid, fd, qid.type === p9.P9_QTDIR);
  s.out.qid(qid);
  // No limit but msize.
  s.out.u32(0);
}

export function lcreate(s: P9Session): void {
  const fid = s.fid();
  const name = s.in.string();
  const flags = hostFlags(s.in.u32());
  const mode = s.in.u32();
  const gid = s.in.u32();
  s.fids.checkOpen(fid);
  const { tree } = s.folder;
  const fd = s.folder.create(fid.node, name, flags, { mode, uid: fid.uid, gid });
  s.fids.move(fid, tree.child(fid.node, name));
  s.fids.opened(fid, fd, false);
  s.out.qid(s.qidOf(fid.node));
  s.out.u32(0);
}

/** Data goes into `writable` behind the reply's 11 bytes. */
export function read(s: P9Session, writable: Segments): number {
  const fid = s.fid();
  const offset = s.in.offset();
  const asked = s.in.u32();
  const room = Math.min(writable.length, s.msize) - p9.P9_RREAD_BYTES;
  const count = Math.max(0, Math.min(asked, room));
  let done = 0;
  if (fid.xattr && !fid.xattr.writing) {
    const part = fid.xattr.value.subarray(offset, offset + count);
    done = writable.copyIn(p9.P9_RREAD_BYTES, part);
  } else {
    const fd = fileOf(fid);
    if (count > 0) {
      const views = writable.views(p9.P9_RREAD_BYTES, count);
      done = hostCall(() => s.host.readv(fd, views, offset));
    }
  }
  s.out.u32(done);
  return done;
}

export function write(s: P9Session, readable: Segments, size: number): void {
  const fid = s.fid();
  const offset = s.in.offset();
  const asked = s.in.u32();
  if (asked > size - p9.P9_TWRITE_BYTES) throw new LinuxError(EINVAL);
  let done = 0;
  if (fid.xattr?.writing) {
    if (offset !== fid.xattr.written || offset + asked > fid.xattr.value.length) throw new LinuxError(ENOSPC);
    done = readable.copyOut(p9.P9_TWRITE_BYTES, fid.xattr.value.subarray(offset), asked);
    fid.xattr.written += done;
  } else {
    const fd = fileOf(fid);
    if (s.folder.readonly) throw new LinuxError(EROFS);
    if (asked > 0) {
      const views = readable.views(p9.P9_TWRITE_BYTES, asked);
      done = hostCall(() => s.host.writev(fd, views, offset));
    }
  }
  s.out.u32(done);
}

export function fsync(s: P9Session): void {
  const fid = s.fid();
  if (fid.fd < 0) throw new LinuxError(EBADF);
  // Linux before 2.6.39 sends no datasync; both are on stable storage then.
  hostCall(() => s.host.fdatasync(fid.fd));
}

export function readdir(s: P9Session): void {
  const fid = s.fid();
  const offset = s.in.u64();
  const count = s.in.u32();
  if (fid.fd < 0) throw new LinuxError(EBADF);
  if (!fid.isFolder) throw new LinuxError(ENOTDIR);
  const out = s.out;
  const start = p9.P9_RREAD_BYTES;
  const limit = start + Math.min(count, s.msize - start, REPLY_BYTES_MAX - start);
  out.u32(0);
  const { device, inode } = s.folder.stat(fid.node);
  s.folder.readFolder(fid.fd, offset, ({ name, inode: entry, next, type }) => {
    if (out.length + p9.P9_DIRENT_BYTES + name.length > limit) return false;
    // What the shared folder lies in is nobody's business.
    const number = name === '..' && !fid.node.parent ? inode : entry;
    const qidType = type === DT_DIR ? p9.P9_QTDIR : type === DT_LNK ? p9.P9_QTSYMLINK : p9.P9_QTFILE;
    out.qid({ type: qidType, version: 0, path: s.qids.path(device, number) });
    out.u64(next);
    out.u8(type);
    out.string(name);
    return true;
  });
  out.patchU32(p9.P9_HEADER_BYTES, out.length - start);
}

// ---- locks ----------------------------------------------------------------------------------------------------------
// The client's kernel keeps its own processes apart; as in QEMU locks are not shared with the host.

export function lock(s: P9Session): void {
  if (s.fid().fd < 0) throw new LinuxError(EBADF);
  lockRange(s);
  s.out.u8(p9.P9_LOCK_SUCCESS);
}

export function getlock(s: P9Session): void {
  if (s.fid().fd < 0) throw new LinuxError(EBADF);
  s.in.u8();
  const start = s.in.u64();
  const length = s.in.u64();
  const process = s.in.u32();
  const client = s.in.string();
  s.out.u8(p9.P9_LOCK_TYPE_UNLCK);
  s.out.u64(start);
  s.out.u64(length);
  s.out.u32(process);
  s.out.string(client);
}

function lockRange(s: P9Session): void {
  s.in.u8(); // type
  s.in.u32(); // flags
  s.in.u64(); // start
  s.in.u64(); // length
  s.in.u32(); // process
  s.in.string(); // client
}
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
