/**
 * The workstation behind a browser: the built renderer, and the contract over WebSockets, for whoever has the token.
 * Listens on 127.0.0.1 unless told otherwise.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { errorLine, RingsideError } from '../../core/errors.ts';
import type { App } from '../app/app.ts';
import { Auth, hostAllowed, newToken, originAllowed, SESSION_PATH } from './auth.ts';
import { securityHeaders } from './headers.ts';
import { MAX_CONTROL_MESSAGE, MAX_STREAM_MESSAGE, serveControl, serveStream } from './sockets.ts';
import { StaticFiles } from './static.ts';

/** Where main/build.mjs puts the built renderer. */
const RENDERER = fileURLToPath(new URL('../../dist/renderer', import.meta.url));
/** /session/<sign-in>/control, and /session/<sign-in>/stream/<session>/<ticket>. */
const SOCKET_PATH = new RegExp(`^${SESSION_PATH}([^/]+)/(control|stream)(?:/([^/]+)/([^/]+))?$`);
const CHECK_PATH = new RegExp(`^${SESSION_PATH}([^/]+)/check$`);
const MAX_BODY = 4096;
const MAX_SOCKETS = 256;

export interface ServerOptions {
  app: App;
  /** 0: any that is free. */
  port?: number;
  host?: string;
  /** Random unless given. */
  token?: string;
  /** Names, beside localhost and addresses, by which browsers may call this server. */
  hostNames?: readonly string[];
  /** Folder of the built renderer. */
  renderer?: string;
}

export interface RunningServer {
  readonly port: number;
  readonly token: string;
  /** The address to open: the token is in its fragment, which browsers do not send. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * @throws in-use when the port is taken; permission; bad-option for a host that is not one of this computer's; not-found
 * when the renderer is not built
 */
export async function serveApp(options: ServerOptions): Promise<RunningServer> {
  const { app, host = '127.0.0.1', token = newToken(), hostNames = [] } = options;
  const files = await StaticFiles.open(options.renderer ?? RENDERER);
  const names = isIP(host) === 0 ? [host, ...hostNames] : hostNames;
  const control = new WebSocketServer({ noServer: true, maxPayload: MAX_CONTROL_MESSAGE, perMessageDeflate: false });
  const streams = new WebSocketServer({ noServer: true, maxPayload: MAX_STREAM_MESSAGE, perMessageDeflate: false });
  /** Sessions of the contract by sign-in: a stream belongs to the connection that asked for it. */
  const open = new Map<string, Set<string>>();

  const server = createServer({ requestTimeout: 15_000, headersTimeout: 10_000, maxHeaderSize: 16 * 1024 });
  server.maxConnections = MAX_SOCKETS;
  await listen(server, options.port ?? 0, host);
  const { port } = server.address() as AddressInfo;
  const auth = new Auth(token, port);

  server.on('request', (request, response) => {
    answer(request, response).catch((error: unknown) => {
      app.report(`the browser server: ${errorLine(error)}`);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (status: number, text: string) => {
      response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
    };
    for (const [name, value] of Object.entries(securityHeaders(`'self' ws://${request.headers.host ?? ''}`))) {
      // The Host header is checked below, before anything but a refusal is sent with it.
      if (hostAllowed(request.headers.host, port, names)) response.setHeader(name, value);
    }
    if (!hostAllowed(request.headers.host, port, names)) return refuse(403, 'Call this server by its address.');
    const url = new URL(request.url ?? '/', `http://${request.headers.host}`);

    if (url.pathname === '/sign-in') {
      if (request.method !== 'POST') return refuse(405, 'POST only.');
      if (!originAllowed(request)) return refuse(403, 'Not from this page.');
      const signed = await auth.signIn(await readToken(request));
      if (signed === null) return refuse(401, 'This is not the token: use the address that ringside printed.');
      response.writeHead(200, {
        'Content-Type': 'application/json',
        'Cache-Control': 'no-store',
        'Set-Cookie': signed.cookie,
      });
      response.end(JSON.stringify({ session: signed.session }));
      return;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405, 'GET only.');
    const [, checked] = CHECK_PATH.exec(url.pathname) ?? [];
    if (checked !== undefined) {
      // For a page whose WebSocket was refused: a browser does not tell it why.
      const good = auth.allows(checked, request.headers.cookie);
      response.writeHead(good ? 204 : 401, { 'Cache-Control': 'no-store' }).end();
      return;
    }
    if (url.pathname === '/' && url.searchParams.has('token')) {
      // A link with the token in its query: traded at once, so that it does not stay in the address bar.
      const signed = await auth.signIn(url.searchParams.get('token'));
      if (signed === null) return refuse(401, 'This is not the token: use the address that ringside printed.');
      response.writeHead(303, {
        Location: `/#session=${signed.session}`,
        'Set-Cookie': signed.cookie,
        'Cache-Control': 'no-store',
      });
      response.end();
      return;
    }
    const file = await files.get(url.pathname);
    if (file === null) return refuse(404, 'There is nothing here.');
    response.writeHead(200, { ...file.headers, 'Content-Length': file.body.length });
    response.end(request.method === 'HEAD' ? undefined : file.body);
  }

  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    const { host: called, cookie } = request.headers;
    if (!hostAllowed(called, port, names) || !originAllowed(request)) return refuseUpgrade(socket, '403 Forbidden');
    const { pathname } = new URL(request.url ?? '/', `http://${called}`);
    const [, signIn, kind, id, ticket] = SOCKET_PATH.exec(pathname) ?? [];
    if (signIn === undefined || !auth.allows(signIn, cookie)) {
      return refuseUpgrade(socket, '401 Unauthorized');
    }
    if (kind === 'control' && id === undefined) {
      control.handleUpgrade(request, socket, head, (ws) => {
        const session = serveControl(app, ws);
        const sessions = open.get(signIn) ?? new Set<string>();
        open.set(signIn, sessions.add(session.id));
        session.onClose(() => {
          sessions.delete(session.id);
          if (sessions.size === 0) open.delete(signIn);
        });
      });
    } else if (kind === 'stream' && open.get(signIn)?.has(id) && app.streams.valid(id, ticket)) {
      streams.handleUpgrade(request, socket, head, (ws) => serveStream(app, ws, id, ticket));
    } else {
      refuseUpgrade(socket, '404 Not Found');
    }
  });

  const shown = isIP(host) === 6 ? `[${host}]` : host === '0.0.0.0' ? '127.0.0.1' : host;
  return {
    port,
    token,
    url: `http://${shown}:${port}/#token=${token}`,
    close: async () => {
      for (const ws of [...control.clients, ...streams.clients]) ws.terminate();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function refuseUpgrade(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

/** The token in a sign-in request's JSON body; null when it is not one. */
async function readToken(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY) return null;
    chunks.push(chunk);
  }
  try {
    return (JSON.parse(Buffer.concat(chunks).toString('utf8')) as { token?: unknown } | null)?.token;
  } catch {
    return null;
  }
}

async function listen(server: ReturnType<typeof createServer>, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  }).catch((error: NodeJS.ErrnoException) => {
    switch (error.code) {
      case 'EADDRINUSE':
        throw new RingsideError('in-use', `port ${port} is taken: choose another with --port`, { cause: error });
      case 'EACCES':
        throw new RingsideError('permission', `port ${port} is not yours to use: choose one above 1023`, {
          cause: error,
        });
      case 'EADDRNOTAVAIL':
      case 'ENOTFOUND':
        throw new RingsideError('bad-option', `${host} is no address of this computer`, { cause: error });
      default:
        throw new RingsideError('network', `cannot listen on ${host}:${port}: ${errorLine(error)}`, { cause: error });
    }
  });
}
