/** What a 9P2000.L session stands on: the shared folder, the client's fids, the message at hand and the reply to it. */
import type { PathNode } from '../../hostfs/path-tree.ts';
import { SharedFolder } from '../../hostfs/shared-folder.ts';
import type { SharedFolderHandle } from '../../hostfs/shared-folder.ts';
import type { Host } from '../../host/host.ts';
import { FidTable } from './fids.ts';
import type { Fid } from './fids.ts';
import { P9Reader, P9Writer } from './message.ts';
import { QidMap } from './qids.ts';

/** The longest message without data: a Twalk of 16 long names, a Tsymlink. */
export const REQUEST_BYTES_MAX = 16 * 1024;
/** The longest reply but Rread; a client asks again for what an Rreaddir has no room for. */
export const REPLY_BYTES_MAX = 64 * 1024;

export interface P9ServerOptions {
  readonly folder: SharedFolderHandle;
  readonly host: Host;
  /** Something the user should know, one line. */
  warn(message: string): void;
}

export class P9Session {
  readonly host: Host;
  readonly folder: SharedFolder;
  readonly fids: FidTable;
  readonly qids: QidMap;
  readonly request = Buffer.alloc(REQUEST_BYTES_MAX);
  readonly in = new P9Reader(this.request);
  readonly out = new P9Writer(REPLY_BYTES_MAX);
  /** Negotiated; 0 before Tversion. */
  msize = 0;
  #warned = false;

  constructor({ folder, host, warn }: P9ServerOptions) {
    this.host = host;
    this.folder = new SharedFolder(folder, host, () => {
      if (!this.#warned) warn(foreignWarning(folder));
      this.#warned = true;
    });
    this.fids = new FidTable(this.folder);
    this.qids = new QidMap(folder.multidevs);
    // The folder's own file system is the first one.
    this.qids.of(this.folder.stat(this.folder.tree.root));
  }

  reset(): void {
    this.fids.clear();
    this.msize = 0;
  }

  /** The fid that comes next in the request. */
  fid(): Fid {
    return this.fids.get(this.in.u32());
  }

  qidOf(node: PathNode) {
    return this.qids.of(this.folder.stat(node));
  }

  /** A new fid for an acquired node. */
  addFid(id: number, node: PathNode, uid: number): Fid {
    try {
      return this.fids.add(id, node, uid);
    } catch (error) {
      this.folder.tree.release(node);
      throw error;
    }
  }
}

function foreignWarning({ multidevs }: SharedFolderHandle): string {
  const what =
    multidevs === 'forbid'
      ? 'what is on another file system is not shared (multidevs=forbid)'
      : 'files on other file systems may have the same inode numbers; use multidevs=remap';
  return `the shared folder has other file systems mounted in it: ${what}`;
}
