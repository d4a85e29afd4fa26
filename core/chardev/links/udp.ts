/** Datagrams: each write of the guest's is one or several, and what comes from the other end is input. */
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { networkError, showAddress } from '../../net/address.ts';
import type { InetAddress } from '../../net/address.ts';
import { HostLink, LINK_BACKLOG } from '../host-link.ts';

/** Payload of a datagram that fits into an Ethernet frame. */
const DATAGRAM = 1400;
/** Bytes that came and are not wanted yet; what is beyond is lost, as datagrams are. */
const AHEAD_MOST = 64 * 1024;

export interface UdpOptions {
  readonly remote: InetAddress;
  readonly local: InetAddress;
}

export class UdpLink extends HostLink {
  readonly filename = 'udp';
  readonly #socket: Socket;
  #ahead: Uint8Array[] = [];
  #aheadBytes = 0;
  /** Bytes that the host has not sent yet. */
  #sending = 0;
  #full = false;

  /** @throws RingsideError 'in-use', 'network', 'permission' */
  static async open({ remote, local }: UdpOptions): Promise<UdpLink> {
    const socket = createSocket(isIPv6(remote.host) ? 'udp6' : 'udp4');
    const failed = Promise.withResolvers<never>();
    socket.on('error', failed.reject);
    const step = async (what: string, work: (done: () => void) => void): Promise<void> => {
      try {
        await Promise.race([new Promise<void>((resolve) => work(resolve)), failed.promise]);
      } catch (error) {
        socket.close();
        throw networkError(`cannot ${what}`, error);
      }
    };
    await step(`listen on ${showAddress(local.host, local.port)}`, (done) =>
      socket.bind({ address: local.host, port: local.port }, done),
    );
    // From now on only datagrams of the other end are let through.
    await step(`send to ${showAddress(remote.host, remote.port)}`, (done) =>
      socket.connect(remote.port, remote.host, done),
    );
    return new UdpLink(socket);
  }

  private constructor(socket: Socket) {
    super();
    this.#socket = socket;
    // Nobody may be there just now: that is no end.
    socket.removeAllListeners('error').on('error', () => {});
    socket.on('message', (bytes) => this.#take(bytes));
    this.setOpen(true);
  }

  /** Where it listens. */
  get port(): number {
    return this.#socket.address().port;
  }

  #take(bytes: Uint8Array): void {
    if (this.wanted && this.#ahead.length === 0) return this.received(bytes);
    if (this.#aheadBytes + bytes.length > AHEAD_MOST) return;
    this.#ahead.push(bytes);
    this.#aheadBytes += bytes.length;
  }

  protected flow(wanted: boolean): void {
    if (!wanted) return;
    while (this.wanted && this.#ahead.length > 0) {
      const bytes = this.#ahead.shift()!;
      this.#aheadBytes -= bytes.length;
      this.received(bytes);
    }
  }

  protected send(bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length; at += DATAGRAM) {
      const part = bytes.subarray(at, at + DATAGRAM);
      this.#sending += part.length;
      this.#socket.send(part, () => {
        this.#sending -= part.length;
        if (!this.#full || this.#sending >= LINK_BACKLOG) return;
        this.#full = false;
        this.drained();
      });
    }
    this.#full = this.#sending >= LINK_BACKLOG;
    return !this.#full;
  }

  protected async end(): Promise<void> {
    this.#socket.removeAllListeners('message');
    await new Promise<void>((resolve) => {
      try {
        this.#socket.close(resolve);
      } catch {
        // Closed already.
        resolve();
      }
    });
  }
}
