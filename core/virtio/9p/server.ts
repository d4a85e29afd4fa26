/**
 * A 9P2000.L server over a shared folder: one client, one request at a time. Whatever a request says, it ends in a reply;
 * what is wrong with it ends in Rlerror. Data of reads and writes goes straight between the file and the buffers.
 */
import { EMSGSIZE, EOPNOTSUPP, EPROTO, LinuxError } from '../../hostfs/errors.ts';
import type { Segments } from '../queue/segments.ts';
import * as attributes from './attribute-requests.ts';
import * as fids from './fid-requests.ts';
import * as files from './file-requests.ts';
import * as names from './name-requests.ts';
import * as p9 from './protocol.ts';
import { P9Session, REQUEST_BYTES_MAX } from './session.ts';
import type { P9ServerOptions } from './session.ts';

/** What the buffers of one request are. */
export interface P9Buffers {
  readonly readable: Segments;
  readonly writable: Segments;
}

/** By type; Tread and Twrite, which have data, are apart. */
const HANDLERS: Readonly<Record<number, (session: P9Session) => void>> = {
  [p9.P9_TVERSION]: fids.version,
  [p9.P9_TATTACH]: fids.attach,
  // Requests are served in their order: what is to be flushed has been answered.
  [p9.P9_TFLUSH]: (session) => void session.in.u16(),
  [p9.P9_TWALK]: fids.walk,
  [p9.P9_TCLUNK]: fids.clunk,
  [p9.P9_TREMOVE]: fids.remove,
  [p9.P9_TLOPEN]: files.lopen,
  [p9.P9_TLCREATE]: files.lcreate,
  [p9.P9_TREADDIR]: files.readdir,
  [p9.P9_TFSYNC]: files.fsync,
  [p9.P9_TLOCK]: files.lock,
  [p9.P9_TGETLOCK]: files.getlock,
  [p9.P9_TSYMLINK]: names.symlink,
  [p9.P9_TMKNOD]: names.mknod,
  [p9.P9_TMKDIR]: names.mkdir,
  [p9.P9_TLINK]: names.link,
  [p9.P9_TRENAME]: names.rename,
  [p9.P9_TRENAMEAT]: names.renameat,
  [p9.P9_TUNLINKAT]: names.unlinkat,
  [p9.P9_TREADLINK]: (session) => session.out.string(session.folder.readlink(session.fid().node)),
  [p9.P9_TSTATFS]: attributes.statfs,
  [p9.P9_TGETATTR]: attributes.getattr,
  [p9.P9_TSETATTR]: attributes.setattr,
  [p9.P9_TXATTRWALK]: attributes.xattrwalk,
  [p9.P9_TXATTRCREATE]: attributes.xattrcreate,
};

export class P9Server {
  readonly #session: P9Session;

  constructor(options: P9ServerOptions) {
    this.#session = new P9Session(options);
  }

  /** Fids in use. */
  get fids(): number {
    return this.#session.fids.size;
  }

  /** The client is gone. */
  reset(): void {
    this.#session.reset();
  }

  /**
   * Serves a request: its message in `readable`, of at least 7 bytes, the reply into `writable`.
   *
   * @returns bytes of the reply; more than there is room for (and nothing written) when not even Rlerror fits
   */
  handle(buffers: P9Buffers): number {
    const { readable, writable } = buffers;
    readable.copyOut(0, this.#session.request, p9.P9_HEADER_BYTES);
    const size = this.#session.request.readUInt32LE(0);
    const type = this.#session.request[4];
    const tag = this.#session.request.readUInt16LE(5);
    const out = this.#session.out;
    out.reset();
    let reply = type + 1;
    /** Bytes of data that are in `writable` already, behind what is in `out`. */
    let data = 0;
    try {
      const limit = this.#readMessage(readable, size, type);
      this.#session.in.reset(limit);
      if (type === p9.P9_TREAD) data = files.read(this.#session, writable);
      else if (type === p9.P9_TWRITE) files.write(this.#session, readable, size);
      else this.#dispatch(type);
      const room = Math.min(writable.length, this.#session.msize || Infinity);
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
    if (type !== p9.P9_TVERSION && this.#session.msize === 0) throw new LinuxError(EPROTO);
    if (type !== p9.P9_TVERSION && size > this.#session.msize) throw new LinuxError(EMSGSIZE);
    if (type === p9.P9_TWRITE) return readable.copyOut(0, this.#session.request, Math.min(size, p9.P9_TWRITE_BYTES));
    if (size > REQUEST_BYTES_MAX) throw new LinuxError(EMSGSIZE);
    return readable.copyOut(0, this.#session.request, size);
  }

  /** Tauth is none of them: who may use the device may use the folder. */
  #dispatch(type: number): void {
    const handler = HANDLERS[type];
    if (!handler) throw new LinuxError(EOPNOTSUPP);
    handler(this.#session);
  }
}

/** For Rlerror. Anything but an error of the host or of the request is a bug of ours, and not to be hidden. */
function errnoOf(error: unknown): number {
  if (error instanceof LinuxError) return error.errno;
  throw error;
}
