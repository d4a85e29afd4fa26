/** One end of a vhost-user socket: whole messages with their file descriptors, without ever waiting. */
import type { Host } from '../host/host.ts';
import { isHostError } from '../host/host.ts';
import { VhostUserError } from './error.ts';
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  HEADER_BYTES,
  MESSAGE_FDS_MAX,
  PAYLOAD_BYTES_MAX,
  VERSION,
  VERSION_MASK,
  requestName,
} from './spec.ts';

/** What waits to be sent at most, messages: the other side has stopped reading. */
const OUTBOX_MAX = 64;
const NO_FDS = new Int32Array(0);

export interface VhostUserMessage {
  readonly request: number;
  /** It answers a message of ours. */
  readonly reply: boolean;
  readonly needReply: boolean;
  readonly payload: Uint8Array<ArrayBuffer>;
  /** Open descriptors; whoever takes the message closes them. */
  readonly fds: readonly number[];
}

interface Outgoing {
  bytes: Uint8Array;
  fds: Int32Array;
  sent: number;
}

export class VhostUserChannel {
  readonly fd: number;
  readonly #host: Host;
  readonly #header = new Uint8Array(HEADER_BYTES);
  readonly #headerData = new DataView(this.#header.buffer);
  #headerBytes = 0;
  #payload: Uint8Array<ArrayBuffer> | null = null;
  #payloadBytes = 0;
  #fds: number[] = [];
  readonly #received = new Int32Array(1 + MESSAGE_FDS_MAX);
  readonly #outbox: Outgoing[] = [];
  #closed = false;

  /** @param fd a connected, non-blocking socket, which is the channel's from now on */
  constructor(host: Host, fd: number) {
    this.#host = host;
    this.fd = fd;
  }

  /**
   * The next message, if all of it is there.
   *
   * @throws VhostUserError 'closed' when the other side has gone, 'protocol' when what comes is no message
   */
  receive(): VhostUserMessage | null {
    while (this.#headerBytes < HEADER_BYTES) {
      const got = this.#read(this.#header.subarray(this.#headerBytes), this.#headerBytes === 0);
      if (got === null) return null;
      this.#headerBytes += got;
    }
    this.#payload ??= this.#startPayload();
    while (this.#payloadBytes < this.#payload.length) {
      const got = this.#read(this.#payload.subarray(this.#payloadBytes), false);
      if (got === null) return null;
      this.#payloadBytes += got;
    }
    const flags = this.#headerData.getUint32(4, true);
    const message = {
      request: this.#headerData.getUint32(0, true),
      reply: (flags & FLAG_REPLY) !== 0,
      needReply: (flags & FLAG_NEED_REPLY) !== 0,
      payload: this.#payload,
      fds: this.#fds,
    };
    this.#headerBytes = 0;
    this.#payload = null;
    this.#payloadBytes = 0;
    this.#fds = [];
    return message;
  }

  #startPayload(): Uint8Array<ArrayBuffer> {
    const request = requestName(this.#headerData.getUint32(0, true));
    const version = this.#headerData.getUint32(4, true) & VERSION_MASK;
    if (version !== VERSION) {
      throw new VhostUserError('protocol', `${request} of protocol version ${version}: we speak ${VERSION}`);
    }
    const size = this.#headerData.getUint32(8, true);
    if (size > PAYLOAD_BYTES_MAX) throw new VhostUserError('protocol', `${request} with ${size} bytes of payload`);
    return new Uint8Array(size);
  }

  /** @param first descriptors may come with what is read */
  #read(into: Uint8Array, first: boolean): number | null {
    let got: number | null;
    try {
      got = this.#host.receiveMessage(this.fd, into, this.#received);
    } catch (error) {
      throw gone(error);
    }
    if (got === null) return null;
    const count = this.#received[0];
    if (count < 0) throw new VhostUserError('protocol', `a message with more than ${MESSAGE_FDS_MAX} file descriptors`);
    this.#fds.push(...this.#received.subarray(1, 1 + count));
    if (count > 0 && !first) throw new VhostUserError('protocol', 'file descriptors in the middle of a message');
    if (got === 0) {
      const where = this.#headerBytes === 0 ? '' : ' in the middle of a message';
      throw new VhostUserError('closed', `the other side has closed the connection${where}`);
    }
    return got;
  }

  /**
   * Sends a message, or keeps what the socket does not take now (see flush).
   *
   * @param fds sent with it; the caller's still, and open until flush() says true
   * @throws VhostUserError 'closed'; 'protocol' when the other side does not read
   */
  send(request: number, payload: Uint8Array, flags = 0, fds: readonly number[] = []): void {
    const bytes = new Uint8Array(HEADER_BYTES + payload.length);
    const data = new DataView(bytes.buffer);
    data.setUint32(0, request, true);
    data.setUint32(4, VERSION | flags, true);
    data.setUint32(8, payload.length, true);
    bytes.set(payload, HEADER_BYTES);
    if (this.#outbox.length === OUTBOX_MAX) throw new VhostUserError('protocol', 'the other side does not read');
    this.#outbox.push({ bytes, fds: Int32Array.from(fds), sent: 0 });
    this.flush();
  }

  /** @returns whether all is sent; otherwise again when the socket takes more (POLLOUT) */
  flush(): boolean {
    for (let out = this.#outbox[0]; out; out = this.#outbox[0]) {
      let sent: number | null;
      try {
        sent = this.#host.sendMessage(this.fd, out.bytes.subarray(out.sent), out.sent === 0 ? out.fds : NO_FDS);
      } catch (error) {
        throw gone(error);
      }
      if (sent === null) return false;
      out.sent += sent;
      if (out.sent === out.bytes.length) this.#outbox.shift();
    }
    return true;
  }

  /** Closes the socket, and descriptors of a message that was not whole. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const fd of this.#fds) this.#host.close(fd);
    this.#fds = [];
    this.#host.close(this.fd);
  }
}

function gone(error: unknown): unknown {
  if (!isHostError(error)) return error;
  return new VhostUserError('closed', `the connection has broken: ${error.message}`, { cause: error });
}
