/** Requests about what is known of a file: attributes, extended attributes, its file system. */
import { EINVAL, ERANGE, EROFS, LinuxError } from '../../hostfs/errors.ts';
import { NAME_BYTES_MAX } from '../../hostfs/path-tree.ts';
import { TIME_NOW, TIME_OMIT } from '../../host/folder-calls.ts';
import type { XattrFid } from './fids.ts';
import * as p9 from './protocol.ts';
import type { P9Session } from './session.ts';

const XATTR_BYTES_MAX = 65_536;
/** All bits of Tsetattr's valid. */
const SETATTR_ALL = 0x1ff;

export function getattr(s: P9Session): void {
  const { node } = s.fid();
  s.in.u64(); // What is asked for: all is given.
  const stat = s.folder.stat(node);
  const out = s.out;
  out.u64(p9.P9_GETATTR_BASIC);
  out.qid(s.qids.of(stat));
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

export function setattr(s: P9Session): void {
  const { node } = s.fid();
  const valid = s.in.u32();
  const mode = s.in.u32();
  const uid = s.in.u32();
  const gid = s.in.u32();
  const size = s.in.u64();
  const [accessed, accessedNs, modified, modifiedNs] = [s.in.u64(), s.in.u64(), s.in.u64(), s.in.u64()];
  if ((valid & ~SETATTR_ALL) !== 0) throw new LinuxError(EINVAL);
  const has = (bit: number): boolean => (valid & bit) !== 0;
  // The owner first: to change it takes the set-user-id bit away.
  if (has(p9.P9_SETATTR_UID) || has(p9.P9_SETATTR_GID)) {
    s.folder.setOwner(node, {
      ...(has(p9.P9_SETATTR_UID) ? { uid } : {}),
      ...(has(p9.P9_SETATTR_GID) ? { gid } : {}),
    });
  }
  if (has(p9.P9_SETATTR_MODE)) s.folder.setOwner(node, { mode });
  if (has(p9.P9_SETATTR_SIZE)) {
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new LinuxError(EINVAL);
    s.folder.truncate(node, Number(size));
  }
  if (has(p9.P9_SETATTR_ATIME) || has(p9.P9_SETATTR_MTIME)) {
    const time = (wanted: boolean, given: boolean, ns: bigint): bigint => (!wanted ? TIME_OMIT : given ? ns : TIME_NOW);
    const times = BigUint64Array.of(
      accessed,
      time(has(p9.P9_SETATTR_ATIME), has(p9.P9_SETATTR_ATIME_SET), accessedNs),
      modified,
      time(has(p9.P9_SETATTR_MTIME), has(p9.P9_SETATTR_MTIME_SET), modifiedNs),
    );
    s.folder.setTimes(node, times);
  }
}

export function statfs(s: P9Session): void {
  const words = s.folder.statfs(s.fid().node);
  const [, blockSize, blocks, free, available, files, filesFree, id] = words;
  const out = s.out;
  out.u32(p9.P9_STATFS_TYPE);
  out.u32(Number(blockSize & 0xffff_ffffn));
  for (const value of [blocks, free, available, files, filesFree, id]) out.u64(value);
  out.u32(NAME_BYTES_MAX);
}

export function xattrwalk(s: P9Session): void {
  const fid = s.fid();
  const newId = s.in.u32();
  const name = s.in.string();
  if (newId === p9.P9_NOFID || s.fids.has(newId)) throw new LinuxError(EINVAL);
  const value = s.folder.getXattr(fid.node, name, XATTR_BYTES_MAX);
  const made = s.addFid(newId, s.folder.tree.acquire(fid.node), fid.uid);
  try {
    const xattr: XattrFid = { name, value, writing: false, flags: 0, written: 0 };
    s.fids.setXattr(made, () => xattr);
  } catch (error) {
    s.fids.remove(made);
    throw error;
  }
  s.out.u64(BigInt(value.length));
}

export function xattrcreate(s: P9Session): void {
  const fid = s.fid();
  const name = s.in.string();
  const size = s.in.u64();
  const flags = s.in.u32();
  if (s.folder.readonly) throw new LinuxError(EROFS);
  if ((flags & ~3) !== 0) throw new LinuxError(EINVAL);
  if (size > BigInt(XATTR_BYTES_MAX)) throw new LinuxError(ERANGE);
  s.fids.setXattr(fid, () => {
    return { name, value: new Uint8Array(Number(size)), writing: true, flags, written: 0 };
  });
}
