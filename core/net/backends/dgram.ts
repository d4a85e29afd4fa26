/** -netdev socket,mcast= or udp=, and -netdev dgram: a frame a datagram (QEMU: net/socket.c, net/dgram.c). */
import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';

import { networkError, showAddress } from '../address.ts';
import type { InetAddress } from '../address.ts';
import { NetBackend } from '../endpoint.ts';
import type { NetBackendContext } from '../endpoint.ts';
import { ETHERNET_HEADER_BYTES, Frame, OFFLOAD_NONE } from '../frame.ts';

export interface DgramOptions {
  /** A multicast group, or one peer. */
  readonly remote: InetAddress;
  readonly multicast: boolean;
  /** Where to listen; of a group, the address of the interface (its port is not used). */
  readonly local: InetAddress | null;
}

/** Datagrams on their way to the kernel; with more no frame is taken. */
const SENDS_MAX = 256;

export class DgramBackend extends NetBackend {
  readonly offloads = OFFLOAD_NONE;
  readonly #options: DgramOptions;
  readonly #context: NetBackendContext;
  readonly #frame = new Frame();
  #receiver: Socket | null = null;
  /** Of a group: another socket, whose port tells our own datagrams, which come back, from those of others on this host. */
  #sender: Socket | null = null;
  #remote: InetAddress;
  #senderPort = 0;
  #ownAddresses = new Set<string>();
  #sends = 0;
  #full = false;
  /** The peer takes no frame now: datagrams are lost. */
  #refused = false;

  constructor(options: DgramOptions, context: NetBackendContext) {
    super();
    this.#options = options;
    this.#context = context;
    this.#remote = options.remote;
  }

  get info(): string {
    const { remote, multicast } = this.#options;
    return `${multicast ? 'mcast' : 'udp'}=${showAddress(remote.host, remote.port)}`;
  }

  async open(): Promise<void> {
    const { remote, multicast, local } = this.#options;
    const what = `${this.#context.id} cannot use ${showAddress(remote.host, remote.port)}`;
    try {
      const { address, family } = await lookup(remote.host);
      this.#remote = { host: address, port: remote.port };
      const type = family === 6 ? 'udp6' : 'udp4';
      const receiver = createSocket({ type, reuseAddr: multicast });
      this.#receiver = receiver;
      if (multicast) {
        await bind(receiver, { host: address, port: remote.port });
        receiver.addMembership(address, local?.host);
        const sender = createSocket({ type });
        this.#sender = sender;
        await bind(sender, { host: local?.host ?? (family === 6 ? '::' : '0.0.0.0'), port: 0 });
        if (local) sender.setMulticastInterface(local.host);
        sender.setMulticastLoopback(true);
        sender.on('error', () => {});
        this.#senderPort = sender.address().port;
        this.#ownAddresses = ownAddresses();
      } else {
        await bind(receiver, local ?? { host: family === 6 ? '::1' : '127.0.0.1', port: 0 });
        this.#sender = receiver;
      }
      // What a datagram runs into (ICMP) is no more than its loss.
      receiver.on('error', () => {});
      receiver.on('message', (bytes, from) => this.#receive(bytes, from));
    } catch (error) {
      this.close();
      throw networkError(what, error);
    }
  }

  #receive(bytes: Buffer, { address, port }: RemoteInfo): void {
    if (this.#refused || bytes.length < ETHERNET_HEADER_BYTES) return;
    if (this.#options.multicast) {
      if (port === this.#senderPort && this.#ownAddresses.has(address.split('%')[0])) return;
    } else if (port !== this.#remote.port || address !== this.#remote.host) {
      return;
    }
    this.#frame.clearMeta();
    this.#frame.data = bytes;
    this.#refused = !this.give(this.#frame);
    this.peer?.flush();
  }

  protected flow(): void {
    this.#refused = false;
  }

  send({ data }: Frame): boolean {
    const sender = this.#sender;
    if (!sender) return true;
    if (this.#sends >= SENDS_MAX) {
      this.#full = true;
      return false;
    }
    this.#sends++;
    // The bytes are the ring's; those that are sent must stay.
    sender.send(Buffer.from(data), this.#remote.port, this.#remote.host, () => this.#sent());
    return true;
  }

  #sent(): void {
    this.#sends--;
    if (!this.#full || this.#sends > SENDS_MAX / 2) return;
    this.#full = false;
    this.peer?.resume();
  }

  close(): void {
    const sockets = new Set([this.#receiver, this.#sender]);
    this.#receiver = this.#sender = null;
    for (const socket of sockets) socket?.close();
  }
}

function bind(socket: Socket, { host, port }: InetAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address: host, port, exclusive: true }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
}

function ownAddresses(): Set<string> {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return new Set(addresses.map(({ address }) => address));
}

export function createDgramBackend(options: unknown, context: NetBackendContext): NetBackend {
  return new DgramBackend(options as DgramOptions, context);
}
