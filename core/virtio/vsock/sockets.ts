/**
 * The socket worker of a vsock device: unix sockets, by Firecracker's convention. A program that connects to PATH and says
 * "CONNECT <port>\n" is connected to that port of the guest and told "OK <host port>\n"; a guest that connects to a port of
 * the host is connected to the socket PATH_<port>.
 */
import { chmodSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';

import { IOT_SLEEPING, IOT_WAKE } from '../../worker/layout.ts';
import { HostSocket } from './host-socket.ts';
import { CLOSED, FREE, OPEN, REQUEST, SLOTS, STATE_MASK, SharedSlots } from './shared-slots.ts';
import type { Slot } from './shared-slots.ts';

/** What comes before the data; "CONNECT 4294967295\r\n" at most. */
const GREETING_BYTES_MAX = 32;
/** Milliseconds for a greeting. */
const GREETING_LIMIT = 10_000;

export class VsockSockets {
  readonly #path: string;
  readonly #shared: SharedSlots;
  readonly #guest: Int32Array<SharedArrayBuffer>;
  readonly #server: Server;
  readonly #sockets = new Map<Slot, HostSocket>();
  /** Slots of calls that wait for the guest. */
  readonly #calling = new Map<Slot, HostSocket>();
  /** Accepted and not greeted yet. */
  readonly #strangers = new Set<Socket>();
  #running = true;

  /** @param memory the machine's, in which the I/O worker's wait block is */
  constructor(path: string, shared: SharedArrayBuffer, memory: WebAssembly.Memory) {
    this.#path = path;
    this.#shared = new SharedSlots(shared, 'host');
    this.#guest = new Int32Array(memory.buffer as SharedArrayBuffer);
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket) => this.#accept(socket));
    this.#server.maxConnections = SLOTS;
  }

  /** Resolves when programs can connect. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#path, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    // As private as the VM.
    chmodSync(this.#path, 0o600);
    void this.#run();
  }

  /** Resolves when all is closed; the path is gone then. */
  async close(): Promise<void> {
    this.#running = false;
    for (const socket of this.#strangers) socket.destroy();
    for (const socket of this.#sockets.values()) socket.abort();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #run(): Promise<void> {
    while (this.#running) {
      const seen = this.#shared.wakes;
      this.#shared.takeMarks((slot) => this.#look(slot));
      await this.#shared.nextWake(seen);
    }
  }

  #wakeGuest(): void {
    const block = this.#shared.waitBlock / 4;
    if (block === 0) return;
    Atomics.add(this.#guest, block + IOT_WAKE / 4, 1);
    if (Atomics.load(this.#guest, block + IOT_SLEEPING / 4) !== 0) Atomics.notify(this.#guest, block + IOT_WAKE / 4);
  }

  /** Looks at a slot that the guest's side has changed. */
  #look(slot: Slot): void {
    const calling = this.#calling.get(slot);
    if (calling && (slot.other & STATE_MASK) === OPEN) {
      this.#calling.delete(slot);
      calling.greet(`OK ${slot.port}\n`);
      calling.opened();
    }
    if (!this.#sockets.has(slot) && !this.#shared.owns(slot) && slot.own === FREE) {
      if ((slot.other & STATE_MASK) === REQUEST) return this.#dial(slot);
    }
    this.#sockets.get(slot)?.update();
    this.#settle(slot);
  }

  #settle(slot: Slot): void {
    if ((slot.own & STATE_MASK) === CLOSED) {
      this.#sockets.delete(slot);
      this.#calling.delete(slot);
    }
    if (this.#shared.settle(slot)) this.#wakeGuest();
  }

  #add(slot: Slot, socket: Socket, early?: Uint8Array): HostSocket {
    const changed = (): void => {
      this.#wakeGuest();
      this.#settle(slot);
    };
    const host = new HostSocket(socket, slot, this.#shared, changed, early);
    this.#sockets.set(slot, host);
    return host;
  }

  /** The guest wants a port of the host. */
  #dial(slot: Slot): void {
    const socket = connect({ path: `${this.#path}_${slot.port}`, allowHalfOpen: true });
    socket.pause();
    const host = this.#add(slot, socket);
    socket.once('connect', () => {
      slot.own = OPEN;
      this.#shared.mark(slot);
      this.#wakeGuest();
      host.opened();
    });
  }

  /** A program of the host wants a port of the guest. */
  #accept(socket: Socket): void {
    this.#strangers.add(socket);
    const refuse = (): void => {
      this.#strangers.delete(socket);
      socket.destroy();
    };
    let greeting = Buffer.alloc(0);
    const timer = setTimeout(refuse, GREETING_LIMIT);
    const onData = (bytes: Buffer): void => {
      greeting = Buffer.concat([greeting, bytes]);
      const end = greeting.indexOf('\n');
      if (end < 0 && greeting.length < GREETING_BYTES_MAX) return;
      clearTimeout(timer);
      socket.pause();
      socket.off('data', onData);
      const match = /^CONNECT (\d{1,10})\r?$/.exec(greeting.toString('latin1', 0, Math.max(end, 0)));
      const port = Number(match?.[1] ?? Infinity);
      const slot = port < 0xffff_ffff ? this.#shared.allocate() : null;
      if (!slot) return refuse();
      this.#strangers.delete(socket);
      socket.off('close', onClose);
      socket.off('error', refuse);
      socket.off('end', refuse);
      this.#calling.set(slot, this.#add(slot, socket, greeting.subarray(end + 1)));
      slot.port = port;
      slot.own = REQUEST;
      this.#shared.mark(slot);
      this.#wakeGuest();
    };
    const onClose = (): void => {
      clearTimeout(timer);
      this.#strangers.delete(socket);
    };
    socket.on('data', onData);
    socket.on('error', refuse);
    socket.on('end', refuse);
    socket.on('close', onClose);
  }
}
