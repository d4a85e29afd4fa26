/** The guest's side of a link, for its tests: keeps what comes, and can be waited for. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { HostLink } from '../../core/chardev/host-link.ts';
import type { LinkUser } from '../../core/chardev/link-user.ts';

/** Resolves when `condition` holds; it is looked at again and again. Vitest's limit is the limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

export class DoubleUser implements LinkUser {
  text = '';
  parts = 0;
  onData: () => void = () => {};
  open: boolean | null = null;
  drains = 0;
  breaks = 0;

  constructor(link: HostLink) {
    link.attach(this);
  }

  data(bytes: Uint8Array): void {
    this.text += Buffer.from(bytes).toString('latin1');
    this.parts++;
    this.onData();
  }
  opened(open: boolean): void {
    this.open = open;
  }
  drained(): void {
    this.drains++;
  }
  break(): void {
    this.breaks++;
  }
}

export const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');

/** A program at the other end of a socket. */
export class Client {
  text = '';
  closed = false;
  readonly socket: Socket;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => (this.text += text));
    socket.on('error', () => {}).on('close', () => (this.closed = true));
  }

  static async connect(where: string | number): Promise<Client> {
    const socket = typeof where === 'string' ? connect(where) : connect(where, '127.0.0.1');
    const client = new Client(socket);
    await once(socket, 'connect');
    return client;
  }
}
