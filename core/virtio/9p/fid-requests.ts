/** Requests about the session and its fids: version, attach, walk, clunk, remove. */
import { EINVAL, EMSGSIZE, ENOENT, LinuxError } from '../../hostfs/errors.ts';
import { S_IFDIR, S_IFMT } from '../../hostfs/file-stat.ts';
import type { PathNode } from '../../hostfs/path-tree.ts';
import * as p9 from './protocol.ts';
import type { P9Session } from './session.ts';

export function version(s: P9Session): void {
  const msize = s.in.u32();
  const version = s.in.string();
  // A new session, whatever comes of it.
  s.reset();
  if (msize < p9.P9_MSIZE_MIN) throw new LinuxError(EMSGSIZE);
  const agreed = Math.min(msize, p9.P9_MSIZE_MAX);
  const known = version === p9.P9_VERSION;
  if (known) s.msize = agreed;
  s.out.u32(agreed);
  s.out.string(known ? p9.P9_VERSION : 'unknown');
}

export function attach(s: P9Session): void {
  const id = s.in.u32();
  const afid = s.in.u32();
  s.in.string(); // uname
  s.in.string(); // aname: there is one tree
  const uid = s.in.u32();
  if (afid !== p9.P9_NOFID || id === p9.P9_NOFID) throw new LinuxError(EINVAL);
  const { tree } = s.folder;
  const qid = s.qidOf(tree.root);
  s.addFid(id, tree.acquire(tree.root), uid === p9.P9_NONUNAME ? 0 : uid);
  s.out.qid(qid);
}

export function walk(s: P9Session): void {
  const fid = s.fid();
  const newId = s.in.u32();
  const count = s.in.u16();
  if (count > p9.P9_MAXWELEM) throw new LinuxError(EINVAL);
  const names = Array.from({ length: count }, () => s.in.string());
  if (fid.xattr || (newId === fid.id && fid.isOpen)) throw new LinuxError(EINVAL);
  if (newId === p9.P9_NOFID || (newId !== fid.id && s.fids.has(newId))) throw new LinuxError(EINVAL);

  const { tree } = s.folder;
  let node = tree.acquire(fid.node);
  const qids = [];
  try {
    for (const name of names) {
      try {
        const next = walkStep(s, node, name);
        tree.release(node);
        node = next;
        qids.push(s.qidOf(node));
      } catch (error) {
        // Only the first name's failure is one of the request.
        if (qids.length === 0 || !(error instanceof LinuxError)) throw error;
        break;
      }
    }
    s.out.u16(qids.length);
    for (const qid of qids) s.out.qid(qid);
    if (qids.length < names.length) return;
    if (newId === fid.id) s.fids.move(fid, tree.acquire(node));
    else s.addFid(newId, tree.acquire(node), fid.uid);
  } finally {
    tree.release(node);
  }
}

/** The node one name further, acquired. */
function walkStep(s: P9Session, node: PathNode, name: string): PathNode {
  const { tree } = s.folder;
  s.folder.checkName(name);
  if (name === '.') return tree.acquire(node);
  if (name === '..') {
    // The shared folder is its own parent; a folder that is gone has none.
    if (node.gone) throw new LinuxError(ENOENT);
    return tree.acquire(node.parent ?? node);
  }
  return tree.child(node, name);
}

export function clunk(s: P9Session): void {
  const fid = s.fid();
  const { xattr } = fid;
  try {
    if (!xattr?.writing) return;
    if (xattr.written !== xattr.value.length) throw new LinuxError(EINVAL);
    s.folder.setXattr(fid.node, xattr.name, xattr.value, xattr.flags);
  } finally {
    s.fids.remove(fid);
  }
}

export function remove(s: P9Session): void {
  const fid = s.fid();
  // The fid is clunked even if the file stays.
  const node = s.folder.tree.acquire(fid.node);
  try {
    const isFolder = (s.folder.stat(node).mode & S_IFMT) === S_IFDIR;
    if (!node.parent) throw new LinuxError(node.gone ? ENOENT : EINVAL);
    s.folder.unlink(node.parent, node.name, isFolder);
  } finally {
    s.fids.remove(fid);
    s.folder.tree.release(node);
  }
}
