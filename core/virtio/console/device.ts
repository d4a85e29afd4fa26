/** The control thread's half of virtio-serial: a console device and its ports (virtio 1.3, section 5.3). */
import type { Chardev } from '../../chardev/chardev.ts';
import { RingsideError } from '../../errors.ts';
import { ConfigSpace } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import {
  CONSOLE_CONFIG_BYTES,
  CONSOLE_CONFIG_COLS,
  CONSOLE_CONFIG_EMERG_WR,
  CONSOLE_CONFIG_MAX_NR_PORTS,
  CONSOLE_CONFIG_ROWS,
  CONSOLE_FEATURES,
  VIRTIO_CONSOLE_F_EMERG_WRITE,
  VIRTIO_CONSOLE_F_MULTIPORT,
  VIRTIO_CONSOLE_F_SIZE,
} from '../spec/console.ts';
import { VIRTIO_ID_CONSOLE } from '../spec/device-ids.ts';
import { featureMask, hasFeature } from '../spec/features.ts';
import type { ConsoleActivation, ConsoleBackendOptions, ConsoleChange, ConsoleEvent, PortConfig } from './backend.ts';

const QUEUE_SIZE = 1024;
/** Of the control queues, and of those of ports behind port 0: QEMU's. */
const CONTROL_QUEUE_SIZE = 32;
const PORT_QUEUE_SIZE = 128;
/** QEMU's limit. */
export const SERIAL_PORTS_MAX = 31;
const NAME_BYTES_MAX = 255;

export interface ConsoleDeviceOptions {
  id: string;
  /** 1 to 31; with 1 there is only port 0, and no VIRTIO_CONSOLE_F_MULTIPORT. Default 1. */
  maxPorts?: number;
  /** What port 0 is connected to, a console that is there from the beginning. */
  chardev?: Chardev;
  /** Whether VIRTIO_CONSOLE_F_EMERG_WRITE is offered. Default true. */
  emergencyWrite?: boolean;
}

export interface PortOptions {
  /** By default 0 for the first console, else the first that is free from 1 on. */
  nr?: number;
  /** A console (hvc0) rather than a plain port (/dev/vport0p1). Port 0 is always one. */
  isConsole: boolean;
  /** Its link in /dev/virtio-ports; default: none. */
  name?: string;
  /** What it is connected to; its wakeGuest becomes this device's. null: nothing, and output is dropped. */
  chardev: Chardev | null;
}

export interface SerialPort {
  readonly nr: number;
  readonly name: string;
  readonly isConsole: boolean;
  /** The guest has it open; without VIRTIO_CONSOLE_F_MULTIPORT it cannot say so. */
  readonly guestOpen: boolean;
  /** Called when guestOpen has changed (QEMU: VSERPORT_CHANGE). */
  onGuestOpen: (open: boolean) => void;
  /** Tells the driver the size of the terminal, in characters, 0..65535. Consoles only. */
  resize(cols: number, rows: number): void;
  /** Unplugs it. */
  remove(): Promise<void>;
}

interface PortState extends PortConfig {
  readonly device: Chardev | null;
  guestOpen: boolean;
  onGuestOpen: (open: boolean) => void;
}

const CLOSED = { guestOpen: false, onGuestOpen: () => {} };

export class ConsoleDevice extends VirtioDevice {
  readonly type = 'virtio-console';
  readonly virtioId = VIRTIO_ID_CONSOLE;
  readonly featureInfo = CONSOLE_FEATURES;
  readonly features: bigint;
  readonly queues: readonly QueueSpec[];
  /** A size of 0 x 0 is Linux's "unknown", which it is until resize(). */
  readonly config = new ConfigSpace(CONSOLE_CONFIG_BYTES, [
    { name: 'cols', offset: CONSOLE_CONFIG_COLS, size: 2 },
    { name: 'rows', offset: CONSOLE_CONFIG_ROWS, size: 2 },
    { name: 'max_nr_ports', offset: CONSOLE_CONFIG_MAX_NR_PORTS, size: 4 },
    { name: 'emerg_wr', offset: CONSOLE_CONFIG_EMERG_WR, size: 4, writable: true },
  ]);
  readonly #maxPorts: number;
  readonly #ports = new Map<number, PortState>();

  /** @throws RingsideError 'bad-option' */
  constructor({ id, maxPorts = 1, chardev, emergencyWrite = true }: ConsoleDeviceOptions) {
    super(id);
    if (!Number.isInteger(maxPorts) || maxPorts < 1 || maxPorts > SERIAL_PORTS_MAX) {
      throw new RingsideError('bad-option', `The max_ports of ${id} must be 1 to ${SERIAL_PORTS_MAX}.`);
    }
    this.#maxPorts = maxPorts;
    const multiport = maxPorts > 1 ? [VIRTIO_CONSOLE_F_MULTIPORT] : [];
    this.features = featureMask(
      VIRTIO_CONSOLE_F_SIZE,
      ...(emergencyWrite ? [VIRTIO_CONSOLE_F_EMERG_WRITE] : []),
      ...multiport,
    );
    this.queues = queueSpecs(maxPorts);
    this.config.set(CONSOLE_CONFIG_MAX_NR_PORTS, maxPorts);
    if (chardev) this.#insert({ nr: 0, isConsole: true, name: '', chardev });
  }

  get backend(): BackendInit {
    const ports = [...this.#ports.values()].map(portConfig);
    const options: ConsoleBackendOptions = { ports };
    return { type: this.type, options };
  }

  get ports(): SerialPort[] {
    return [...this.#ports.keys()].map((nr) => this.#handle(nr));
  }

  /**
   * Plugs a port in, before or after the device itself.
   *
   * @throws RingsideError 'bad-option' when it cannot have this number or name
   */
  async addPort({ nr: wanted, isConsole, name = '', chardev }: PortOptions): Promise<SerialPort> {
    const nr = this.#choose(wanted, isConsole);
    if (Buffer.byteLength(name) > NAME_BYTES_MAX || /[\0/]/.test(name)) {
      throw new RingsideError('bad-option', `a port cannot be called "${name}": at most 255 bytes, no slash`);
    }
    if (name !== '' && [...this.#ports.values()].some((port) => port.name === name)) {
      throw new RingsideError('bad-option', `${this.id} has a port called "${name}" already`);
    }
    const port = this.#insert({ nr, isConsole, name, chardev });
    try {
      await this.#change({ op: 'add', port: portConfig(port) });
    } catch (error) {
      this.#ports.delete(nr);
      throw error;
    }
    return this.#handle(nr);
  }

  #insert({ nr, isConsole, name, chardev }: Required<PortOptions>): PortState {
    if (chardev) {
      chardev.wakeGuest = () => this.host?.wakeBackend();
      if (isConsole) chardev.onResize = (cols, rows) => this.#resize(nr, cols, rows);
      // Linux writes to consoles with locks held.
      chardev.setUser({ throttles: !isConsole });
      chardev.onConnected = (open) => void this.#change({ op: 'host-open', nr, open }).catch(() => {});
    }
    const hostOpen = chardev?.connected ?? false;
    const index = chardev?.index ?? null;
    const port: PortState = { nr, chardev: index, isConsole, name, hostOpen, device: chardev, ...CLOSED };
    this.#ports.set(nr, port);
    return port;
  }

  #choose(wanted: number | undefined, isConsole: boolean): number {
    const free = (nr: number): boolean => !this.#ports.has(nr);
    if (wanted === undefined) {
      if (isConsole && free(0)) return 0;
      // Port 0 is kept for a console: drivers without multiport know no other.
      for (let nr = 1; nr < this.#maxPorts; nr++) if (free(nr)) return nr;
      throw new RingsideError('bad-option', `${this.id} has no free port: give it max_ports up to ${SERIAL_PORTS_MAX}`);
    }
    if (!Number.isInteger(wanted) || wanted < 0 || wanted >= this.#maxPorts) {
      throw new RingsideError(
        'bad-option',
        `nr=${wanted}: ${this.id} has ports 0 to ${this.#maxPorts - 1} (max_ports)`,
      );
    }
    if (wanted === 0 && !isConsole) throw new RingsideError('bad-option', 'nr=0 is for a virtconsole: use nr=1 and up');
    if (!free(wanted))
      throw new RingsideError('bad-option', `nr=${wanted} is in use: ${this.id} has that port already`);
    return wanted;
  }

  #handle(nr: number): SerialPort {
    const port = this.#ports.get(nr)!;
    return {
      nr,
      name: port.name,
      isConsole: port.isConsole,
      get guestOpen() {
        return port.guestOpen;
      },
      get onGuestOpen() {
        return port.onGuestOpen;
      },
      set onGuestOpen(listener) {
        port.onGuestOpen = listener;
      },
      resize: (cols, rows) => this.#resize(nr, cols, rows),
      remove: () => this.#remove(port),
    };
  }

  async #remove(port: PortState): Promise<void> {
    if (this.#ports.get(port.nr) !== port) return;
    this.#ports.delete(port.nr);
    if (port.device) {
      port.device.wakeGuest = () => {};
      port.device.onConnected = null;
      port.device.onResize = null;
      port.device.guestOpened(false);
      port.device.setUser(null);
    }
    await this.#change({ op: 'remove', nr: port.nr });
  }

  async #change(change: ConsoleChange): Promise<void> {
    await this.host?.configureBackend(change);
    this.host?.wakeBackend();
  }

  /** Tells the driver the size of port 0's terminal, in characters, 0..65535. */
  resize(cols: number, rows: number): void {
    this.#resize(0, cols, rows);
  }

  #resize(nr: number, cols: number, rows: number): void {
    if (nr === 0) {
      this.config.set(CONSOLE_CONFIG_COLS, cols);
      this.config.set(CONSOLE_CONFIG_ROWS, rows);
      this.host?.configChanged();
    }
    // Drivers with multiport look at the message, not at the configuration.
    void this.#change({ op: 'resize', nr, cols, rows }).catch(() => {});
  }

  override activation(negotiated: bigint): ConsoleActivation {
    return { multiport: hasFeature(negotiated, VIRTIO_CONSOLE_F_MULTIPORT) };
  }

  override backendEvent(detail: unknown): void {
    const { nr, open } = detail as ConsoleEvent;
    const port = this.#ports.get(nr);
    if (port) {
      const changed = port.guestOpen !== open;
      port.guestOpen = open;
      port.device?.guestOpened(open);
      if (changed) port.onGuestOpen(open);
    }
    void this.#change({ op: 'seen', nr }).catch(() => {});
  }

  /** Section 5.3.5.1: emerg_wr works at any time. */
  override configWritten(offset: number): void {
    if (offset !== CONSOLE_CONFIG_EMERG_WR) return;
    this.#ports.get(0)?.device?.emergencyWrite(Number(this.config.get(CONSOLE_CONFIG_EMERG_WR) & 0xffn));
    this.config.set(CONSOLE_CONFIG_EMERG_WR, 0);
  }
}

function portConfig({ nr, chardev, isConsole, name, device }: PortState): PortConfig {
  return { nr, chardev, isConsole, name, hostOpen: device?.connected ?? false };
}

/** Section 5.3.2. */
function queueSpecs(maxPorts: number): QueueSpec[] {
  const pair = (port: number, maxSize: number): QueueSpec[] => [
    { name: `receiveq(port${port})`, maxSize },
    { name: `transmitq(port${port})`, maxSize },
  ];
  if (maxPorts === 1) return pair(0, QUEUE_SIZE);
  return [
    ...pair(0, QUEUE_SIZE),
    { name: 'control receiveq', maxSize: CONTROL_QUEUE_SIZE },
    { name: 'control transmitq', maxSize: CONTROL_QUEUE_SIZE },
    ...Array.from({ length: maxPorts - 1 }, (_, i) => pair(i + 1, PORT_QUEUE_SIZE)).flat(),
  ];
}
