/** The I/O worker's half of virtio-serial: the ports' bytes, and what driver and device tell one another of ports. */
import type { BackendContext, VirtioBackend } from '../backend/backend.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import * as spec from '../spec/console.ts';
import { PortPump, discard } from './port.ts';

/** A port as the control half has it. */
export interface PortConfig {
  readonly nr: number;
  /** Index of the character device; null: the port is connected to nothing, and what the driver sends is dropped. */
  readonly chardev: number | null;
  readonly isConsole: boolean;
  /** "" for none. */
  readonly name: string;
  /** The host's end is connected. */
  readonly hostOpen: boolean;
}

export interface ConsoleBackendOptions {
  readonly ports: readonly PortConfig[];
}

export interface ConsoleActivation {
  /** VIRTIO_CONSOLE_F_MULTIPORT is negotiated. */
  readonly multiport: boolean;
}

export type ConsoleChange =
  | { readonly op: 'add'; readonly port: PortConfig }
  | { readonly op: 'remove'; readonly nr: number }
  | { readonly op: 'host-open'; readonly nr: number; readonly open: boolean }
  | { readonly op: 'resize'; readonly nr: number; readonly cols: number; readonly rows: number }
  /** The control half has taken in the last ConsoleEvent of this port. */
  | { readonly op: 'seen'; readonly nr: number };

/** The guest has opened or closed a port. Not told again before 'seen'. */
export interface ConsoleEvent {
  readonly nr: number;
  readonly open: boolean;
}

/** Control messages served in a turn. */
const TURN_MESSAGES = 64;
/** What the driver is to be told of a port, in this order; each at most once. */
const REMOVE = 1;
const ADD = 2;
const CONSOLE = 4;
const NAME = 8;
const OPEN = 16;
const RESIZE = 32;

class Port {
  readonly nr: number;
  config: PortConfig | null = null;
  pump: PortPump | null = null;
  receiveq: RunningQueue | null = null;
  transmitq: RunningQueue | null = null;
  /** Bits of what the driver is to be told. */
  tell = 0;
  /** The driver knows the port; has said that it is ready for it; has it open. */
  announced = false;
  ready = false;
  guestOpen = false;
  /** What the control half was told last, and whether it has seen it. */
  toldOpen = false;
  telling = false;
  size: { cols: number; rows: number } | null = null;

  constructor(nr: number) {
    this.nr = nr;
  }
}

export function createConsoleBackend(options: unknown, context: BackendContext): VirtioBackend {
  return new ConsoleBackend(options as ConsoleBackendOptions, context);
}

export class ConsoleBackend implements VirtioBackend {
  readonly #buffer: SharedArrayBuffer;
  readonly #report: BackendContext['report'];
  readonly #ports = new Map<number, Port>();
  #controlIn: RunningQueue | null = null;
  #controlOut: RunningQueue | null = null;
  #multiport = false;
  /** The driver has said that it wants to hear of ports. */
  #deviceReady = false;
  /** There is something to tell, but the driver has no buffer for it. */
  #starved = false;
  #running = 0;

  constructor({ ports }: ConsoleBackendOptions, { memory, report }: BackendContext) {
    this.#buffer = memory.memory.buffer as SharedArrayBuffer;
    this.#report = report;
    for (const port of ports) this.#add(port);
  }

  #port(nr: number): Port {
    let port = this.#ports.get(nr);
    if (!port) this.#ports.set(nr, (port = new Port(nr)));
    return port;
  }

  start(queues: readonly RunningQueue[], activation: unknown): void {
    if (this.#running === 0) this.#multiport = (activation as ConsoleActivation).multiport;
    this.#running += queues.length;
    for (const queue of queues) this.#assign(queue.index, queue);
  }

  stop(queues: readonly number[]): void {
    this.#running -= queues.length;
    for (const index of queues) this.#assign(index, null);
    if (this.#running > 0) return;
    this.#deviceReady = false;
    for (const port of this.#ports.values()) {
      port.announced = port.ready = false;
      port.tell = 0;
      this.#setGuestOpen(port, false);
    }
  }

  #assign(index: number, queue: RunningQueue | null): void {
    const nr = spec.consolePort(index);
    if (nr === null) {
      if (index === spec.CONSOLE_CONTROL_RECEIVEQ) this.#controlIn = queue;
      else this.#controlOut = queue;
      this.#starved = false;
      return;
    }
    const port = this.#port(nr);
    if (index === spec.consoleReceiveq(nr)) port.receiveq = queue;
    else port.transmitq = queue;
    if (!port.pump) return;
    if (index === spec.consoleReceiveq(nr)) port.pump.receiveq = queue;
    else port.pump.transmitq = queue;
  }

  configure(change: unknown): void {
    const what = change as ConsoleChange;
    if (what.op === 'add') return this.#add(what.port);
    const port = this.#port(what.nr);
    switch (what.op) {
      case 'remove':
        return this.#remove(port);
      case 'host-open':
        if (!port.config || port.config.hostOpen === what.open) return;
        port.config = { ...port.config, hostOpen: what.open };
        if (port.ready) this.#tell(port, OPEN);
        return;
      case 'resize':
        port.size = { cols: what.cols, rows: what.rows };
        if (port.ready && port.config?.isConsole) this.#tell(port, RESIZE);
        return;
      case 'seen':
        port.telling = false;
        return this.#setGuestOpen(port, port.guestOpen);
    }
  }

  #add(config: PortConfig): void {
    const port = this.#port(config.nr);
    port.config = config;
    port.size = null;
    if (config.chardev !== null) {
      port.pump = new PortPump(this.#buffer, config.chardev);
      port.pump.receiveq = port.receiveq;
      port.pump.transmitq = port.transmitq;
    }
    if (this.#deviceReady) this.#tell(port, ADD);
  }

  #remove(port: Port): void {
    port.config = null;
    port.pump = null;
    port.ready = port.guestOpen = port.toldOpen = port.telling = false;
    port.tell = 0;
    if (port.announced) this.#tell(port, REMOVE);
  }

  #tell(port: Port, what: number): void {
    port.tell |= what;
  }

  /** Whether bytes may go to the guest: as in QEMU they wait until a driver that can say so has opened the port. */
  #isListening(port: Port): boolean {
    return !this.#multiport || port.guestOpen;
  }

  isDue(queue: number): boolean {
    const nr = spec.consolePort(queue);
    if (nr === null) {
      return queue === spec.CONSOLE_CONTROL_RECEIVEQ && !this.#starved && this.#nextToTell() !== null;
    }
    const port = this.#ports.get(nr);
    if (!port?.pump) return false;
    if (queue === spec.consoleReceiveq(nr)) return this.#isListening(port) && port.pump.canReceive;
    return port.pump.canTransmit;
  }

  serve(queue: number): boolean {
    const nr = spec.consolePort(queue);
    if (nr === null) {
      if (queue === spec.CONSOLE_CONTROL_RECEIVEQ) return this.#serveControlIn();
      const more = this.#serveControlOut();
      // What was said may want an answer in the other queue: the worker is not to sleep now.
      return more || (!this.#starved && this.#nextToTell() !== null);
    }
    const port = this.#port(nr);
    if (queue !== spec.consoleReceiveq(nr)) {
      if (port.pump) return port.pump.transmit();
      return port.transmitq !== null && discard(port.transmitq);
    }
    return port.pump !== null && this.#isListening(port) && port.pump.receive();
  }

  // ---- control messages (section 5.3.6.2) ---------------------------------------------------------------------------

  #serveControlOut(): boolean {
    const queue = this.#controlOut;
    if (!queue) return false;
    const bytes = Buffer.alloc(spec.CONSOLE_CONTROL_BYTES);
    queue.disableNotifications();
    for (let turn = 0; turn < TURN_MESSAGES; turn++) {
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        queue.disableNotifications();
        continue;
      }
      const { readable } = chain;
      if (readable.copyOut(0, bytes) < spec.CONSOLE_CONTROL_BYTES) {
        const detail = `chain ${chain.head}: ${readable.length} bytes are no control message (5.3.6.2)`;
        throw new QueueFault('bad-request', detail);
      }
      queue.push(chain, 0);
      this.#hear(bytes.readUInt32LE(0), bytes.readUInt16LE(4), bytes.readUInt16LE(6));
    }
    queue.flush();
    return true;
  }

  /** A message of the driver. Those of ports that are not there may have crossed with the port's removal. */
  #hear(nr: number, event: number, value: number): void {
    if (event === spec.VIRTIO_CONSOLE_DEVICE_READY) {
      this.#deviceReady = value === 1;
      for (const port of this.#ports.values()) if (port.config && this.#deviceReady) this.#tell(port, ADD);
      return;
    }
    const port = this.#ports.get(nr);
    if (!port?.config || !port.announced) return;
    if (event === spec.VIRTIO_CONSOLE_PORT_READY) {
      port.ready = value === 1;
      if (!port.ready) return;
      const { isConsole, name, hostOpen } = port.config;
      if (isConsole) this.#tell(port, CONSOLE);
      if (name !== '') this.#tell(port, NAME);
      if (hostOpen) this.#tell(port, OPEN);
      if (isConsole && port.size) this.#tell(port, RESIZE);
    }
    if (event === spec.VIRTIO_CONSOLE_PORT_OPEN) this.#setGuestOpen(port, value === 1);
  }

  #setGuestOpen(port: Port, open: boolean): void {
    port.guestOpen = open;
    if (port.telling || port.toldOpen === open || !port.config) return;
    port.telling = true;
    port.toldOpen = open;
    const detail: ConsoleEvent = { nr: port.nr, open };
    this.#report({ kind: 'device', detail });
  }

  #nextToTell(): Port | null {
    if (!this.#deviceReady) return null;
    for (const port of this.#ports.values()) if (port.tell !== 0) return port;
    return null;
  }

  #serveControlIn(): boolean {
    const queue = this.#controlIn;
    if (!queue) return false;
    this.#starved = false;
    for (let turn = 0; turn < TURN_MESSAGES; turn++) {
      const port = this.#nextToTell();
      if (!port) {
        queue.disableNotifications();
        queue.flush();
        return false;
      }
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (queue.enableNotifications()) continue;
        this.#starved = true;
        return false;
      }
      const message = nextMessage(port);
      if (chain.writable.length < message.length) {
        const detail = `chain ${chain.head}: no room for a control message of ${message.length} bytes (5.3.6.2)`;
        throw new QueueFault('bad-request', detail);
      }
      chain.writable.copyIn(0, message);
      queue.push(chain, message.length);
    }
    queue.flush();
    return true;
  }
}

/** The first of what the driver is to be told of a port; it is told then. */
function nextMessage(port: Port): Uint8Array {
  const bit = port.tell & -port.tell;
  port.tell &= ~bit;
  const { nr, config, size } = port;
  switch (bit) {
    case REMOVE:
      port.announced = false;
      return message(nr, spec.VIRTIO_CONSOLE_DEVICE_REMOVE, 1);
    case ADD:
      port.announced = true;
      return message(nr, spec.VIRTIO_CONSOLE_DEVICE_ADD, 1);
    case CONSOLE:
      return message(nr, spec.VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    case NAME:
      return message(nr, spec.VIRTIO_CONSOLE_PORT_NAME, 1, Buffer.from(config?.name ?? ''));
    case OPEN:
      return message(nr, spec.VIRTIO_CONSOLE_PORT_OPEN, config?.hostOpen ? 1 : 0);
    default: {
      const payload = Buffer.alloc(4);
      payload.writeUInt16LE(size?.cols ?? 0, 0);
      payload.writeUInt16LE(size?.rows ?? 0, 2);
      return message(nr, spec.VIRTIO_CONSOLE_RESIZE, 0, payload);
    }
  }
}

function message(nr: number, event: number, value: number, payload: Buffer = Buffer.alloc(0)): Uint8Array {
  const bytes = Buffer.alloc(spec.CONSOLE_CONTROL_BYTES);
  bytes.writeUInt32LE(nr, 0);
  bytes.writeUInt16LE(event, 4);
  bytes.writeUInt16LE(value, 6);
  return Buffer.concat([bytes, payload]);
}
