/** Links whose bytes go through a stream of Node's: sockets and pipes. */
import type { Readable, Writable } from 'node:stream';
import { HostLink, LINK_BACKLOG } from '../host-link.ts';
import { TelnetFilter, TELNET_GREETING, escapeTelnet } from '../telnet.ts';

/** How long somebody has to take what was sent, when the link or the connection ends, ms. */
const CLOSE_LIMIT = 500;
/** Bytes that are read ahead of what is wanted, so that it is noticed when a peer has gone. */
const READ_AHEAD = 64 * 1024;

interface Peer {
  readonly readable: Readable;
  readonly writable: Writable;
  readonly telnet: TelnetFilter | null;
  readonly onData: (bytes: Buffer) => void;
  /** More waits for it than it should. */
  full: boolean;
}

export abstract class StreamLink extends HostLink {
  #peer: Peer | null = null;
  /** Read and not wanted yet; also of those who have gone since. */
  #ahead: Uint8Array[] = [];
  #aheadBytes = 0;

  /** Somebody has come. */
  protected adopt(readable: Readable, writable: Writable, telnet = false): void {
    const peer: Peer = {
      readable,
      writable,
      telnet: telnet ? new TelnetFilter(() => this.breakReceived()) : null,
      onData: (bytes) => this.#take(peer, bytes),
      full: false,
    };
    this.#peer = peer;
    for (const stream of new Set([readable, writable])) {
      stream.on('error', () => stream.destroy());
      stream.on('close', () => this.#lost(peer));
    }
    readable.on('data', peer.onData);
    // As in QEMU, who has nothing more to say has gone.
    readable.on('end', () => this.#lost(peer));
    writable.on('drain', () => {
      if (!peer.full || peer !== this.#peer) return;
      peer.full = false;
      this.drained();
    });
    if (telnet) writable.write(TELNET_GREETING);
    this.setOpen(true);
    if (this.#aheadBytes < READ_AHEAD) readable.resume();
  }

  #take(peer: Peer, bytes: Uint8Array): void {
    if (peer !== this.#peer) return;
    const data = peer.telnet === null ? bytes : peer.telnet.feed(bytes);
    if (data.length === 0) return;
    if (this.wanted && this.#ahead.length === 0) return this.received(data);
    this.#ahead.push(data);
    this.#aheadBytes += data.length;
    if (this.#aheadBytes >= READ_AHEAD) peer.readable.pause();
  }

  protected flow(wanted: boolean): void {
    if (!wanted) return;
    while (this.wanted && this.#ahead.length > 0) {
      const bytes = this.#ahead.shift()!;
      this.#aheadBytes -= bytes.length;
      this.received(bytes);
    }
    if (this.#aheadBytes < READ_AHEAD) this.#peer?.readable.resume();
  }

  protected send(bytes: Uint8Array): boolean {
    const peer = this.#peer;
    if (peer === null || !peer.writable.writable) return true;
    peer.writable.write(peer.telnet === null ? bytes : escapeTelnet(bytes));
    peer.full = peer.writable.writableLength >= LINK_BACKLOG;
    return !peer.full;
  }

  override hangUp(): void {
    if (this.#peer !== null) this.#lost(this.#peer);
  }

  #lost(peer: Peer): void {
    if (peer !== this.#peer) return;
    this.#peer = null;
    void dismiss(peer);
    this.setOpen(false);
    this.left();
  }

  /** Nobody is there any more. */
  protected left(): void {}

  /** Gives away who is there, with what he has said: he is no business of this link any more. */
  protected yieldPeer(): void {
    const peer = this.#peer;
    if (peer === null) return;
    this.#peer = null;
    peer.readable.off('data', peer.onData).pause();
    if (this.#aheadBytes > 0) peer.readable.unshift(Buffer.concat(this.#ahead));
    this.#ahead = [];
    this.#aheadBytes = 0;
  }

  /** Lets who is there have what was sent, for a moment, and sends him away. */
  protected async dismiss(): Promise<void> {
    const peer = this.#peer;
    this.#peer = null;
    if (peer !== null) await dismiss(peer);
    this.setOpen(false);
  }
}

async function dismiss({ readable, writable }: Peer): Promise<void> {
  if (readable !== (writable as unknown)) readable.destroy();
  if (!writable.destroyed) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, CLOSE_LIMIT);
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      writable.once('close', done);
      writable.end(done);
    });
  }
  writable.destroy();
  readable.destroy();
}
