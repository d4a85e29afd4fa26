/** The contract over WebSockets, as main/serve speaks it. Connects again by itself; signing in is up to the person. */
import { RemoteError } from '../../../main/ipc/contract/client.ts';
import type { Transport } from '../../../main/ipc/contract/client.ts';
import { wireMessage } from '../../../main/ipc/contract.ts';
import type { BytePort } from '../../../main/ipc/contract.ts';

export type LinkState = 'connecting' | 'open' | 'lost' | 'signed-out';

const REMEMBERED = 'ringside-session';
const FIRST_DELAY_MS = 300;
const LAST_DELAY_MS = 5000;

interface Pending {
  resolve(reply: unknown): void;
  reject(error: Error): void;
}

export class WebSocketTransport implements Transport {
  readonly #onState: (state: LinkState) => void;
  readonly #pending = new Map<number, Pending>();
  #listener: (name: string, payload: unknown) => void = () => {};
  #socket: WebSocket | null = null;
  /** Part of the path of everything that is ours; worth nothing without the cookie. */
  #signIn: string | null;
  /** The contract's session on the present connection. */
  #session: string | null = null;
  #nextId = 0;
  #delay = FIRST_DELAY_MS;
  #stopped = false;

  constructor(onState: (state: LinkState) => void) {
    this.#onState = onState;
    this.#signIn = localStorage.getItem(REMEMBERED);
  }

  /** Signs in with what the address has in its fragment, if anything, and connects. */
  async start(): Promise<void> {
    const fragment = new URLSearchParams(location.hash.replace(/^#/, ''));
    const token = fragment.get('token');
    const session = fragment.get('session');
    if (token !== null || session !== null) history.replaceState(null, '', `${location.pathname}#/`);
    if (session !== null) this.#remember(session);
    if (token !== null) {
      await this.signIn(token).catch(() => this.#onState('signed-out'));
      return;
    }
    this.#connect();
  }

  /** Trades the token for a session. @throws RemoteError with a line for the person */
  async signIn(token: string): Promise<void> {
    const response = await fetch('./sign-in', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ token }),
    }).catch(() => {
      throw new RemoteError('disconnected', 'Ringside does not answer: is it still running?');
    });
    if (!response.ok) throw new RemoteError('permission', (await response.text()).trim());
    const answer = (await response.json()) as { session: string };
    this.#remember(answer.session);
    this.#connect();
  }

  /** For good: the app has quit. */
  stop(): void {
    this.#stopped = true;
    this.#socket?.close();
  }

  call(name: string, params: unknown): Promise<unknown> {
    const socket = this.#socket;
    if (socket === null || this.#session === null) return Promise.reject(lost());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      socket.send(JSON.stringify({ id, name, params }));
    });
  }

  onEvent(listener: (name: string, payload: unknown) => void): void {
    this.#listener = listener;
  }

  openStream(ticket: string): Promise<BytePort> {
    const socket = new WebSocket(this.#address(`stream/${this.#session}/${ticket}`));
    socket.binaryType = 'arraybuffer';
    return new Promise((resolve, reject) => {
      socket.onopen = () => resolve(socketBytes(socket));
      socket.onerror = () => reject(lost());
    });
  }

  #address(what: string): string {
    return `ws://${location.host}/session/${this.#signIn}/${what}`;
  }

  #remember(session: string): void {
    this.#signIn = session;
    localStorage.setItem(REMEMBERED, session);
  }

  #connect(): void {
    if (this.#signIn === null) {
      this.#onState('signed-out');
      return;
    }
    const socket = new WebSocket(this.#address('control'));
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(String(data));
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#session = null;
      for (const { reject } of this.#pending.values()) reject(lost());
      this.#pending.clear();
      if (!this.#stopped) void this.#retry();
    };
  }

  /** A WebSocket does not say why it failed: a request to the same place does. */
  async #retry(): Promise<void> {
    const check = await fetch(`./session/${this.#signIn}/check`).catch(() => null);
    if (check !== null && check.status === 401) {
      this.#signIn = null;
      localStorage.removeItem(REMEMBERED);
      this.#onState('signed-out');
      return;
    }
    this.#onState('lost');
    await new Promise((resolve) => setTimeout(resolve, this.#delay));
    this.#delay = Math.min(this.#delay * 2, LAST_DELAY_MS);
    if (!this.#stopped) this.#connect();
  }

  #receive(text: string): void {
    const message: unknown = JSON.parse(text);
    if (this.#session === null) {
      const { session } = message as { session?: unknown };
      if (typeof session !== 'string') return;
      this.#session = session;
      this.#delay = FIRST_DELAY_MS;
      this.#onState('open');
      return;
    }
    const parsed = wireMessage.safeParse(message);
    if (!parsed.success) return;
    if ('event' in parsed.data) {
      this.#listener(parsed.data.event, parsed.data.payload);
      return;
    }
    this.#pending.get(parsed.data.id)?.resolve(parsed.data.reply);
    this.#pending.delete(parsed.data.id);
  }
}

function lost(): RemoteError {
  return new RemoteError('disconnected', 'No connection to Ringside: trying again');
}

function socketBytes(socket: WebSocket): BytePort {
  return {
    send: (bytes) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes as Uint8Array<ArrayBuffer>);
    },
    close: () => socket.close(),
    get buffered() {
      return socket.bufferedAmount;
    },
    onMessage: (listener) => {
      socket.onmessage = ({ data }) => listener(new Uint8Array(data as ArrayBuffer));
    },
    onClose: (listener) => {
      socket.addEventListener('close', listener);
      // It may have closed between being opened and being handed over.
      if (socket.readyState === WebSocket.CLOSED) listener();
    },
  };
}
