/**
 * Names under a shared folder that somebody holds on to. A node is a name in a folder, not a file: when it is renamed
 * through us, all that lies under it has moved with it; what is not held is not remembered. Nodes are counted: every
 * acquire() or child() wants its release().
 *
 * Names are "binary strings": one character a byte, as Linux has them.
 */
import { ENAMETOOLONG, ENOENT, LinuxError } from './errors.ts';

export const NAME_BYTES_MAX = 255;
/** Of a whole path under the folder. */
const PATH_BYTES_MAX = 60_000;

export class PathNode {
  /** null: the shared folder itself, or a node that is gone. */
  parent: PathNode | null;
  name: string;
  /** The name was removed, or another file has it now. */
  gone = false;
  refs = 0;
  children: Map<string, PathNode> | null = null;
  /** Descriptors that are open on its file, by which it can be reached when the name is gone. */
  readonly open = new Set<number>();

  constructor(parent: PathNode | null, name: string) {
    this.parent = parent;
    this.name = name;
  }
}

export class PathTree {
  readonly root = new PathNode(null, '');

  constructor() {
    this.root.refs = 1;
  }

  acquire(node: PathNode): PathNode {
    node.refs++;
    return node;
  }

  /** The node of a name in a folder, acquired. */
  child(parent: PathNode, name: string): PathNode {
    parent.children ??= new Map();
    let node = parent.children.get(name);
    if (!node) {
      node = new PathNode(this.acquire(parent), name);
      parent.children.set(name, node);
    }
    return this.acquire(node);
  }

  release(node: PathNode): void {
    let current: PathNode | null = node;
    while (current && --current.refs === 0) {
      const parent: PathNode | null = current.parent;
      if (parent?.children?.get(current.name) === current) parent.children.delete(current.name);
      current.parent = null;
      current = parent;
    }
  }

  /** A name has been removed: who holds it holds a name of nothing. */
  removed(parent: PathNode, name: string): void {
    const node = parent.children?.get(name);
    if (!node) return;
    parent.children!.delete(name);
    node.gone = true;
  }

  /** A name has been moved, over another if there was one. */
  renamed(oldParent: PathNode, oldName: string, newParent: PathNode, newName: string): void {
    if (oldParent === newParent && oldName === newName) return;
    const node = oldParent.children?.get(oldName);
    this.removed(newParent, newName);
    if (!node) return;
    oldParent.children!.delete(oldName);
    node.parent = this.acquire(newParent);
    node.name = newName;
    newParent.children ??= new Map();
    newParent.children.set(newName, node);
    this.release(oldParent);
  }

  /** Whether `node` is `folder` or lies under it. */
  isUnder(node: PathNode, folder: PathNode): boolean {
    for (let at: PathNode | null = node; at; at = at.parent) if (at === folder) return true;
    return false;
  }

  /**
   * The names from the shared folder on, with slashes between; "" for itself.
   *
   * @throws LinuxError ENOENT when it is gone, ENAMETOOLONG
   */
  path(node: PathNode): string {
    let path = '';
    for (let at = node; at !== this.root; at = at.parent) {
      if (at.gone || !at.parent) throw new LinuxError(ENOENT);
      path = path === '' ? at.name : `${at.name}/${path}`;
      if (path.length > PATH_BYTES_MAX) throw new LinuxError(ENAMETOOLONG);
    }
    return path;
  }
}
