/** Requests that make, move and remove names. */
import { EINVAL, ENOENT, LinuxError } from '../../hostfs/errors.ts';
import type { PathNode } from '../../hostfs/path-tree.ts';
import * as p9 from './protocol.ts';
import type { P9Session } from './session.ts';

/** Replies with the qid of something that was made. */
function made(s: P9Session, parent: PathNode, name: string): void {
  const { tree } = s.folder;
  const node = tree.child(parent, name);
  try {
    s.out.qid(s.qidOf(node));
  } finally {
    tree.release(node);
  }
}

export function mkdir(s: P9Session): void {
  const { node, uid } = s.fid();
  const name = s.in.string();
  const mode = s.in.u32();
  const gid = s.in.u32();
  s.folder.mkdir(node, name, { mode, uid, gid });
  made(s, node, name);
}

export function mknod(s: P9Session): void {
  const { node, uid } = s.fid();
  const name = s.in.string();
  const mode = s.in.u32() & 0xffff;
  const major = BigInt(s.in.u32());
  const minor = BigInt(s.in.u32());
  const gid = s.in.u32();
  const rdev = (minor & 0xffn) | ((major & 0xfffn) << 8n) | ((minor & 0xf_ff00n) << 12n);
  s.folder.mknod(node, name, { mode, uid, gid, rdev });
  made(s, node, name);
}

export function symlink(s: P9Session): void {
  const { node, uid } = s.fid();
  const name = s.in.string();
  const target = s.in.string();
  const gid = s.in.u32();
  s.folder.symlink(node, name, target, { uid, gid });
  made(s, node, name);
}

export function link(s: P9Session): void {
  const folder = s.fid();
  const fid = s.fid();
  s.folder.link(fid.node, folder.node, s.in.string());
}

export function rename(s: P9Session): void {
  const { node } = s.fid();
  const folder = s.fid();
  const name = s.in.string();
  if (node.gone) throw new LinuxError(ENOENT);
  if (!node.parent) throw new LinuxError(EINVAL);
  s.folder.rename(node.parent, node.name, folder.node, name);
}

export function renameat(s: P9Session): void {
  const from = s.fid();
  const oldName = s.in.string();
  const to = s.fid();
  s.folder.rename(from.node, oldName, to.node, s.in.string());
}

export function unlinkat(s: P9Session): void {
  const { node } = s.fid();
  const name = s.in.string();
  const flags = s.in.u32();
  if ((flags & ~p9.P9_AT_REMOVEDIR) !== 0) throw new LinuxError(EINVAL);
  s.folder.unlink(node, name, flags !== 0);
}
