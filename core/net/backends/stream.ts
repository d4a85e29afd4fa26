/**
 * -netdev socket,listen= or connect=, and -netdev stream: frames over TCP or a unix stream socket, to another VM of ours or
 * of QEMU's (net/socket.c, net/stream.c).
 */
import { lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, ListenOptions, NetConnectOpts, Server, Socket } from 'node:net';

import { RingsideError } from '../../errors.ts';
import { networkError, showAddress } from '../address.ts';
import { NetBackend } from '../endpoint.ts';
import type { NetBackendContext } from '../endpoint.ts';
import { Frame, OFFLOAD_NONE } from '../frame.ts';
import { FrameBatch, FrameParser } from './framing.ts';

export type StreamAddress = { readonly host: string; readonly port: number } | { readonly path: string };

export interface StreamOptions {
  readonly server: boolean;
  readonly address: StreamAddress;
  /** Seconds after which a client whose connection failed or ended tries again; 0: never. */
  readonly reconnect: number;
}

/** With more than this waiting to be written no frame is taken. */
const WAITING_BYTES_MAX = 1 << 20;

export class StreamBackend extends NetBackend {
  readonly offloads = OFFLOAD_NONE;
  readonly #options: StreamOptions;
  readonly #context: NetBackendContext;
  readonly #parser = new FrameParser();
  readonly #batch = new FrameBatch();
  readonly #frame = new Frame();
  #server: Server | null = null;
  /** Connected. */
  #socket: Socket | null = null;
  #retry: NodeJS.Timeout | null = null;
  #connecting: Socket | null = null;
  /** The network card, or whoever the peer is, was refused a frame. */
  #full = false;
  #closed = false;
  #peerName = '';
  #listening = '';

  constructor(options: StreamOptions, context: NetBackendContext) {
    super();
    this.#options = options;
    this.#context = context;
  }

  get info(): string {
    if (this.#socket) return `socket: connection with ${this.#peerName}`;
    return this.#options.server ? `listening on ${this.#listening}` : `not connected to ${this.#where}`;
  }

  get #where(): string {
    const { address } = this.#options;
    return 'path' in address ? `unix:${address.path.replace('\0', '@')}` : showAddress(address.host, address.port);
  }

  async open(): Promise<void> {
    if (this.#options.server) return this.#listen();
    try {
      await this.#connect();
    } catch (error) {
      if (this.#options.reconnect === 0) throw error;
      this.#retryLater();
    }
  }

  async #listen(): Promise<void> {
    const { address } = this.#options;
    const options: ListenOptions = 'path' in address ? { path: address.path } : { ...address, exclusive: true };
    const server = createServer((socket) => this.#accept(socket));
    this.#server = server;
    try {
      await this.#bind(server, options);
    } catch (error) {
      const stale = 'path' in address && (await isStaleSocket(address.path, error));
      if (!stale) throw networkError(`${this.#context.id} cannot listen on ${this.#where}`, error);
      unlinkSync((address as { path: string }).path);
      await this.#bind(server, options).catch((again: unknown) => {
        throw networkError(`${this.#context.id} cannot listen on ${this.#where}`, again);
      });
    }
    const bound = server.address() as AddressInfo | string | null;
    this.#listening =
      typeof bound === 'object' && bound !== null ? showAddress(bound.address, bound.port) : this.#where;
    server.on('error', (error) => this.#note(`does not listen any more: ${error.message}`));
  }

  #bind(server: Server, options: ListenOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ ...options, backlog: 1 }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  }

  /** One at a time: others are turned away. */
  #accept(socket: Socket): void {
    if (this.#socket || this.#closed) socket.destroy();
    else this.#use(socket);
  }

  #connect(): Promise<void> {
    const { address } = this.#options;
    const options: NetConnectOpts = 'path' in address ? { path: address.path } : { ...address };
    return new Promise((resolve, reject) => {
      const socket = connect(options);
      this.#connecting = socket;
      socket.once('error', (error) => {
        this.#connecting = null;
        socket.destroy();
        reject(networkError(`${this.#context.id} cannot connect to ${this.#where}`, error));
      });
      socket.once('connect', () => {
        this.#connecting = null;
        socket.removeAllListeners('error');
        this.#use(socket);
        resolve();
      });
    });
  }

  #use(socket: Socket): void {
    this.#socket = socket;
    this.#parser.reset();
    if (!this.#batch.isEmpty) this.#batch.take();
    socket.setNoDelay(true);
    const { remoteAddress, remotePort } = socket;
    this.#peerName = remoteAddress === undefined ? this.#where : showAddress(remoteAddress, remotePort);
    socket.on('data', (chunk) => {
      this.#parser.push(chunk);
      this.#read();
    });
    socket.on('drain', () => this.#room());
    // What went wrong is said by 'close', which always follows.
    let reason = '';
    socket.on('error', (error) => (reason = error.message));
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#disconnected(socket, reason));
    this.#context.report({ kind: 'connected', peer: this.#peerName });
    this.#room();
  }

  #disconnected(socket: Socket, reason: string): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    if (this.#closed) return;
    if (reason !== '') this.#note(`connection with ${this.#peerName} lost: ${reason}`);
    this.#context.report({ kind: 'disconnected' });
    this.#room();
    if (!this.#options.server && this.#options.reconnect > 0) this.#retryLater();
  }

  #retryLater(): void {
    if (this.#closed || this.#retry) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#connect().catch(() => this.#retryLater());
    }, this.#options.reconnect * 1000);
  }

  // ---- from the network ---------------------------------------------------------------------------------------------

  #read(): void {
    const socket = this.#socket;
    if (!socket) return;
    try {
      for (let bytes = this.#parser.next(); bytes !== null; bytes = this.#parser.next()) {
        this.#frame.clearMeta();
        this.#frame.data = bytes;
        if (this.give(this.#frame)) continue;
        socket.pause();
        return;
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#note(`${error.message}: it does not speak QEMU's protocol; the connection is closed`);
      socket.destroy();
    }
    this.peer?.flush();
  }

  protected flow(): void {
    if (!this.#socket?.isPaused()) return;
    this.#read();
    // Unless the peer has refused again.
    if (!this.holds) this.#socket?.resume();
  }

  // ---- to the network -----------------------------------------------------------------------------------------------

  send({ data }: Frame): boolean {
    const socket = this.#socket;
    // Nobody at the other end of the cable.
    if (!socket) return true;
    if (socket.writableLength > WAITING_BYTES_MAX) {
      this.#full = true;
      return false;
    }
    if (!this.#batch.add(data)) {
      this.flush();
      this.#batch.add(data);
    }
    return true;
  }

  override flush(): void {
    if (this.#batch.isEmpty) return;
    const bytes = this.#batch.take();
    this.#socket?.write(bytes);
  }

  #room(): void {
    if (!this.#full) return;
    this.#full = false;
    this.peer?.resume();
  }

  close(): void {
    this.#closed = true;
    if (this.#retry) clearTimeout(this.#retry);
    this.#connecting?.destroy();
    this.#server?.close();
    this.#socket?.destroy();
    this.#socket = null;
  }

  #note(message: string): void {
    this.#context.report({ kind: 'note', message: `${this.#context.id}: ${message}` });
  }
}

/** Whether an address is in use only because a process that listened there has died. */
async function isStaleSocket(path: string, error: unknown): Promise<boolean> {
  if ((error as Partial<NodeJS.ErrnoException>).code !== 'EADDRINUSE' || path.startsWith('\0')) return false;
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return false;
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (refused: NodeJS.ErrnoException) => resolve(refused.code === 'ECONNREFUSED'));
  });
}

export function createStreamBackend(options: unknown, context: NetBackendContext): NetBackend {
  const stream = options as StreamOptions;
  if (stream.server || !('port' in stream.address) || stream.address.port !== 0)
    return new StreamBackend(stream, context);
  throw new RingsideError('bad-option', `${context.id} cannot connect to port 0.`);
}
