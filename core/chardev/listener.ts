/** Sockets that clients of a character device or of a monitor connect to. */
import { existsSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { dirname } from 'node:path';
import { errorLine, RingsideError } from '../errors.ts';

export type Endpoint =
  /** A socket in the file system, for its owner only; with a NUL before it one of Linux's abstract names. */
  | { readonly kind: 'unix'; readonly path: string }
  /** By default 127.0.0.1. Port 0: any free one. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Clients at once; more are turned away. */
export const CLIENTS_MAX = 16;
/** How long clients have to take what they were sent, ms. */
const CLOSE_LIMIT = 500;
/** No permissions for group and others. */
const PRIVATE = 0o177;

export class SocketListener {
  readonly endpoint: Endpoint;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();

  /**
   * @param accept gets each client, paused; who has said all it has to say may still be answered
   * @throws RingsideError in-use, permission, not-found, bad-option
   */
  static async listen(endpoint: Endpoint, accept: (socket: Socket) => void): Promise<SocketListener> {
    if (endpoint.kind === 'unix' && !endpoint.path.startsWith('\0')) await removeStale(endpoint.path);
    const listener = new SocketListener(endpoint, accept);
    try {
      await listener.#listen();
    } catch (error) {
      throw listenError(endpoint, error);
    }
    return listener;
  }

  private constructor(endpoint: Endpoint, accept: (socket: Socket) => void) {
    this.endpoint = endpoint;
    this.#server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      if (this.#clients.size >= CLIENTS_MAX) {
        socket.destroy();
        return;
      }
      this.#clients.add(socket);
      socket.once('close', () => this.#clients.delete(socket));
      accept(socket);
    });
  }

  async #listen(): Promise<void> {
    const { endpoint } = this;
    const server = this.#server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).once('listening', () => {
        server.off('error', reject);
        server.on('error', () => {});
        resolve();
      });
      if (endpoint.kind === 'tcp') {
        server.listen({ host: endpoint.host, port: endpoint.port });
        return;
      }
      // The socket comes into being in listen(): nobody else can connect at any time.
      const before = process.umask(PRIVATE);
      try {
        server.listen(endpoint.path);
      } finally {
        process.umask(before);
      }
    });
  }

  /** The port, where any was asked for; null for sockets in the file system. */
  get port(): number | null {
    return this.address?.port ?? null;
  }

  /** Where it is on the network; null for sockets in the file system. */
  get address(): AddressInfo | null {
    const address = this.#server.address();
    return typeof address === 'object' ? address : null;
  }

  /** Clients that there are. */
  get clients(): number {
    return this.#clients.size;
  }

  /** Takes no more clients, gives those that there are a moment, and removes the socket. */
  async close(): Promise<void> {
    this.#server.close();
    const open = [...this.#clients].map(
      (socket) =>
        new Promise<void>((resolve) => {
          socket.once('close', () => resolve());
          socket.end();
          socket.once('finish', () => socket.destroy());
          setTimeout(() => socket.destroy(), CLOSE_LIMIT).unref();
          if (socket.writableFinished) socket.destroy();
        }),
    );
    await Promise.all(open);
  }
}

/** Removes a socket that nobody listens on any more; anything else that is there stays. */
async function removeStale(path: string): Promise<void> {
  let stat;
  try {
    stat = lstatSync(path);
  } catch {
    return;
  }
  if (!stat.isSocket()) {
    throw new RingsideError('in-use', `${path} is there already and is no socket. Choose another path.`);
  }
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
  if (alive) throw new RingsideError('in-use', `another program listens on ${path}. Choose another path.`);
  unlinkSync(path);
}

function listenError(endpoint: Endpoint, error: unknown): RingsideError {
  // libuv calls a folder that is not there EACCES.
  const folderMissing = endpoint.kind === 'unix' && !existsSync(dirname(endpoint.path));
  const code = folderMissing ? 'ENOENT' : (error as NodeJS.ErrnoException).code;
  const where = endpoint.kind === 'unix' ? endpoint.path : `${endpoint.host}:${endpoint.port}`;
  const options = { cause: error };
  switch (code) {
    case 'EADDRINUSE':
      return new RingsideError('in-use', `another program listens on ${where}. Choose another.`, options);
    case 'EACCES':
    case 'EPERM':
      return new RingsideError('permission', `${where} may not be listened on. Choose another.`, options);
    case 'ENOENT':
      return new RingsideError('not-found', `the folder of ${where} does not exist. Make it first.`, options);
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new RingsideError('bad-option', `${where} is no address of this host. Choose another.`, options);
    default:
      return new RingsideError('io', `${where} cannot be listened on: ${errorLine(error)}`, options);
  }
}
