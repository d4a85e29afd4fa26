/** Sockets: listening, for one client at a time; or connecting, again and again if it is to. */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { networkError, showAddress } from '../../net/address.ts';
import { SocketListener } from '../listener.ts';
import type { Endpoint } from '../listener.ts';
import { StreamLink } from './stream.ts';

export interface SocketOptions {
  readonly endpoint: Endpoint;
  readonly telnet: boolean;
  /** Small writes are sent at once. */
  readonly noDelay: boolean;
}

function protocol({ endpoint, telnet }: SocketOptions): string {
  return endpoint.kind === 'unix' ? 'unix' : telnet ? 'telnet' : 'tcp';
}

function showEndpoint(endpoint: Endpoint): string {
  return endpoint.kind === 'unix' ? endpoint.path.replace('\0', '@') : showAddress(endpoint.host, endpoint.port);
}

/** Both ends of a connection over TCP, as QEMU writes them. */
function showConnection(options: SocketOptions, socket: Socket, server: string): string {
  const local = showAddress(socket.localAddress, socket.localPort);
  const remote = showAddress(socket.remoteAddress, socket.remotePort);
  return `${protocol(options)}:${local}${server} <-> ${remote}`;
}

export interface ListeningOptions extends SocketOptions {
  readonly waits: boolean;
}

export class ListeningLink extends StreamLink {
  override readonly waits: boolean;
  readonly #options: ListeningOptions;
  #listener!: SocketListener;
  #client: Socket | null = null;
  /** Who comes while somebody is there waits for his turn. */
  readonly #queue: Socket[] = [];
  #accept: ((stream: Duplex) => void) | null = null;
  #closed = false;

  /** @throws RingsideError 'in-use', 'permission', 'not-found', 'bad-option', 'io' */
  static async listen(options: ListeningOptions): Promise<ListeningLink> {
    const link = new ListeningLink(options);
    link.#listener = await SocketListener.listen(options.endpoint, (socket) => link.#arrived(socket));
    return link;
  }

  private constructor(options: ListeningOptions) {
    super();
    this.#options = options;
    this.waits = options.waits;
  }

  /** Where it listens on the network; null for a socket in the file system. */
  get port(): number | null {
    return this.#listener.port;
  }

  get filename(): string {
    const { endpoint } = this.#options;
    if (this.#client !== null && endpoint.kind === 'tcp') {
      return showConnection(this.#options, this.#client, ',server=on');
    }
    const { address } = this.#listener;
    const where = address === null ? showEndpoint(endpoint) : showAddress(address.address, address.port);
    return `${this.open ? '' : 'disconnected:'}${protocol(this.#options)}:${where},server=on`;
  }

  /** A monitor serves several clients at once; with telnet, one. */
  override streams(accept: (stream: Duplex) => void): void {
    if (this.#options.telnet) {
      super.streams(accept);
      return;
    }
    this.#accept = accept;
    // Who has come before the monitor is served as well.
    const first = this.#client;
    this.yieldPeer();
    this.#client = null;
    if (first !== null) this.#serve(first);
    for (const socket of this.#queue.splice(0)) this.#serve(socket);
  }

  #arrived(socket: Socket): void {
    socket.setNoDelay(this.#options.noDelay);
    // It may go, or break, while it waits.
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      const at = this.#queue.indexOf(socket);
      if (at >= 0) this.#queue.splice(at, 1);
    });
    if (this.#accept !== null) return this.#serve(socket);
    this.#queue.push(socket);
    this.#next();
  }

  #serve(socket: Socket): void {
    this.setOpen(true);
    socket.once('close', () => this.setOpen(this.#listener.clients > 0));
    socket.setNoDelay(true);
    this.#accept!(socket);
    socket.resume();
  }

  #next(): void {
    if (this.#client !== null || this.#closed) return;
    const socket = this.#queue.shift();
    if (socket === undefined) return;
    this.#client = socket;
    this.adopt(socket, socket, this.#options.telnet);
  }

  protected override left(): void {
    this.#client = null;
    this.#next();
  }

  protected async end(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.dismiss(), this.#listener.close()]);
    this.#client = null;
  }
}

export interface ConnectingOptions extends SocketOptions {
  /** A lost or refused connection is tried again after this, ms; 0: never. */
  readonly reconnect: number;
  /** One line. */
  warn(message: string): void;
}

export class ConnectingLink extends StreamLink {
  readonly #options: ConnectingOptions;
  #socket: Socket | null = null;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** A failure is said once, until a connection has been there. */
  #said = false;

  /** @throws RingsideError when there is nobody, and it is not to be tried again */
  static async connect(options: ConnectingOptions): Promise<ConnectingLink> {
    const link = new ConnectingLink(options);
    const first = link.#connect();
    if (options.reconnect === 0) await first;
    else first.catch((error: unknown) => link.#refused(error));
    return link;
  }

  private constructor(options: ConnectingOptions) {
    super();
    this.#options = options;
  }

  get filename(): string {
    const { endpoint } = this.#options;
    if (this.open && endpoint.kind === 'tcp') return showConnection(this.#options, this.#socket!, '');
    return `${this.open ? '' : 'disconnected:'}${protocol(this.#options)}:${showEndpoint(endpoint)}`;
  }

  async #connect(): Promise<void> {
    const { endpoint, noDelay, telnet } = this.#options;
    const where = endpoint.kind === 'unix' ? { path: endpoint.path } : { host: endpoint.host, port: endpoint.port };
    const socket = connect({ ...where, noDelay, allowHalfOpen: true });
    this.#socket = socket;
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve).once('error', reject);
        socket.once('close', () => reject(new Error('the connection has been given up')));
      });
    } catch (error) {
      throw networkError(`cannot connect to ${showEndpoint(endpoint)}`, error);
    }
    if (this.#closed) {
      socket.destroy();
      return;
    }
    this.#said = false;
    socket.pause();
    this.adopt(socket, socket, telnet);
  }

  #refused(error: unknown): void {
    if (this.#closed) return;
    const { reconnect, warn } = this.#options;
    if (!this.#said) warn(`${(error as Error).message} It is tried again every ${reconnect / 1000} s.`);
    this.#said = true;
    this.left();
  }

  protected override left(): void {
    const { reconnect } = this.#options;
    if (reconnect === 0 || this.#closed) return;
    this.#timer = setTimeout(() => void this.#connect().catch((error: unknown) => this.#refused(error)), reconnect);
    this.#timer.unref();
  }

  protected async end(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.dismiss();
    this.#socket?.destroy();
  }
}
