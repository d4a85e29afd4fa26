/** WebSockets as the app's transports: control messages as JSON text, console bytes as binary frames. */
import type { RawData, WebSocket } from 'ws';
import type { App } from '../app/app.ts';
import { wireCall } from '../ipc/contract.ts';
import type { BytePort } from '../ipc/contract.ts';
import { MAX_FRAME } from '../ipc/contract/console-frames.ts';
import type { OpenSession } from '../ipc/dispatcher.ts';

/** Longest control message: settings of a VM with every drive it can have are far shorter. */
export const MAX_CONTROL_MESSAGE = 256 * 1024;
export const MAX_STREAM_MESSAGE = MAX_FRAME;
/** A client that lets this much pile up is gone, or as good as gone. */
const MAX_BUFFERED = 16 * 2 ** 20;
const CONGESTED = 512 * 1024;
const PING_MS = 20_000;

const PROTOCOL_ERROR = 1002;
const POLICY_VIOLATION = 1008;
const TRY_AGAIN_LATER = 1013;

/** Serves one control connection until it closes. */
export function serveControl(app: App, socket: WebSocket): OpenSession {
  const send = (message: unknown) => {
    if (socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount > MAX_BUFFERED) socket.close(TRY_AGAIN_LATER, 'too slow');
    else socket.send(JSON.stringify(message));
  };
  const session = app.dispatcher.open({
    host: 'browser',
    send: (event, payload) => send({ event, payload }),
    congested: () => socket.bufferedAmount > CONGESTED,
  });
  // First of all, so that the page can open streams beside this connection.
  send({ session: session.id });
  socket.on('message', (data, binary) => {
    const call = binary ? null : parseCall(data);
    if (call === null) {
      socket.close(PROTOCOL_ERROR, 'not a call');
      return;
    }
    void app.dispatcher.call(session, call.name, call.params).then((reply) => send({ id: call.id, reply }));
  });
  keepAlive(socket);
  socket.on('close', () => session.close());
  socket.on('error', () => socket.terminate());
  return session;
}

/** Hands a stream connection to whoever gave out its ticket. */
export function serveStream(app: App, socket: WebSocket, session: string, ticket: string): void {
  socket.on('error', () => socket.terminate());
  keepAlive(socket);
  if (!app.streams.redeem(session, ticket, socketPort(socket))) socket.close(POLICY_VIOLATION, 'no such stream');
}

function socketPort(socket: WebSocket): BytePort {
  return {
    send: (bytes) => {
      if (socket.readyState === socket.OPEN) socket.send(bytes, { binary: true });
    },
    close: () => socket.close(),
    get buffered() {
      return socket.bufferedAmount;
    },
    onMessage: (listener) =>
      socket.on('message', (data, binary) => {
        if (binary) listener(toBytes(data));
        else socket.close(PROTOCOL_ERROR, 'bytes only');
      }),
    onClose: (listener) => socket.on('close', listener),
  };
}

function parseCall(data: RawData) {
  try {
    const parsed = wireCall.safeParse(JSON.parse(Buffer.from(toBytes(data)).toString('utf8')));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

function toBytes(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

/** A client that does not answer a ping until the next one is gone: a laptop asleep keeps no machine watched. */
function keepAlive(socket: WebSocket): void {
  let alive = true;
  socket.on('pong', () => (alive = true));
  const timer = setInterval(() => {
    if (!alive) {
      socket.terminate();
      return;
    }
    alive = false;
    socket.ping();
  }, PING_MS);
  timer.unref();
  socket.on('close', () => clearInterval(timer));
}
