/** qid.path of files: their inode numbers, made unique over file systems when multidevs is remap. */
import { S_IFDIR, S_IFLNK, S_IFMT } from '../../hostfs/file-stat.ts';
import type { FileStat } from '../../hostfs/file-stat.ts';
import type { Multidevs } from '../../hostfs/shared-folder.ts';
import type { Qid } from './message.ts';
import { P9_QTDIR, P9_QTFILE, P9_QTSYMLINK } from './protocol.ts';

/** Bits of an inode number that a qid has room for beside the file system's number. */
const INODE_BITS = 48n;
const DEVICES_MAX = 0xffff;
/** Files with larger inode numbers, each remembered by itself. */
const LARGE_MAX = 65_536;

export class QidMap {
  readonly #remap: boolean;
  readonly #devices = new Map<bigint, bigint>();
  readonly #large = new Map<string, bigint>();

  constructor(multidevs: Multidevs) {
    this.#remap = multidevs === 'remap';
  }

  of(stat: FileStat): Qid {
    const type = stat.mode & S_IFMT;
    return {
      type: type === S_IFDIR ? P9_QTDIR : type === S_IFLNK ? P9_QTSYMLINK : P9_QTFILE,
      // As QEMU: a client that caches must see that the file has changed.
      version: Number((stat.modified.nanoseconds ^ (stat.size << 8n)) & 0xffff_ffffn),
      path: this.path(stat.device, stat.inode),
    };
  }

  path(device: bigint, inode: bigint): bigint {
    if (!this.#remap) return inode;
    let index = this.#devices.get(device);
    if (index === undefined) {
      // The shared folder's own file system comes first and keeps its numbers.
      index = BigInt(Math.min(this.#devices.size, DEVICES_MAX - 1));
      this.#devices.set(device, index);
    }
    if (inode >> INODE_BITS === 0n) return (index << INODE_BITS) | inode;
    const key = `${index}:${inode}`;
    let path = this.#large.get(key);
    if (path === undefined) {
      if (this.#large.size >= LARGE_MAX) this.#large.clear();
      path = (0xffffn << INODE_BITS) | BigInt(this.#large.size);
      this.#large.set(key, path);
    }
    return path;
  }
}
