/** The control thread's half of virtio-console with one port (virtio 1.3, section 5.3). */
import type { Chardev } from '../../chardev/chardev.ts';
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
  VIRTIO_CONSOLE_F_SIZE,
} from '../spec/console.ts';
import { VIRTIO_ID_CONSOLE } from '../spec/device-ids.ts';
import { featureMask } from '../spec/features.ts';
import type { ConsoleBackendOptions } from './backend.ts';

const QUEUE_SIZE = 1024;

export interface ConsoleDeviceOptions {
  id: string;
  /** What the console is connected to, if it is yet. Its wakeGuest becomes this device's. */
  chardev?: Chardev;
  /** Whether VIRTIO_CONSOLE_F_EMERG_WRITE is offered. Default true. */
  emergencyWrite?: boolean;
}

export class ConsoleDevice extends VirtioDevice {
  readonly type = 'virtio-console';
  readonly virtioId = VIRTIO_ID_CONSOLE;
  readonly featureInfo = CONSOLE_FEATURES;
  readonly features: bigint;
  readonly queues: readonly QueueSpec[] = [
    { name: 'receiveq(port0)', maxSize: QUEUE_SIZE },
    { name: 'transmitq(port0)', maxSize: QUEUE_SIZE },
  ];
  /** A size of 0 x 0 is Linux's "unknown", which it is until resize(). */
  readonly config = new ConfigSpace(CONSOLE_CONFIG_BYTES, [
    { name: 'cols', offset: CONSOLE_CONFIG_COLS, size: 2 },
    { name: 'rows', offset: CONSOLE_CONFIG_ROWS, size: 2 },
    { name: 'max_nr_ports', offset: CONSOLE_CONFIG_MAX_NR_PORTS, size: 4 },
    { name: 'emerg_wr', offset: CONSOLE_CONFIG_EMERG_WR, size: 4, writable: true },
  ]);
  readonly backend: BackendInit;
  #chardev: Chardev | null = null;

  constructor({ id, chardev, emergencyWrite = true }: ConsoleDeviceOptions) {
    super(id);
    this.features = featureMask(VIRTIO_CONSOLE_F_SIZE, ...(emergencyWrite ? [VIRTIO_CONSOLE_F_EMERG_WRITE] : []));
    const options: ConsoleBackendOptions = { chardev: chardev?.index ?? null };
    this.backend = { type: this.type, options };
    this.config.set(CONSOLE_CONFIG_MAX_NR_PORTS, 1);
    if (chardev) this.#use(chardev);
  }

  #use(chardev: Chardev): void {
    this.#chardev = chardev;
    chardev.wakeGuest = () => this.host?.wakeBackend();
  }

  /** Connects the port to a character device, or with null to nothing. */
  async connect(chardev: Chardev | null): Promise<void> {
    if (this.#chardev) this.#chardev.wakeGuest = () => {};
    this.#chardev = null;
    if (chardev) this.#use(chardev);
    const change: ConsoleBackendOptions = { chardev: chardev?.index ?? null };
    await this.host?.configureBackend(change);
    this.host?.wakeBackend();
  }

  /** Tells the driver the size of the terminal, in characters, 0..65535. */
  resize(cols: number, rows: number): void {
    this.config.set(CONSOLE_CONFIG_COLS, cols);
    this.config.set(CONSOLE_CONFIG_ROWS, rows);
    this.host?.configChanged();
  }

  /** Section 5.3.5.1: emerg_wr works at any time. */
  override configWritten(offset: number): void {
    if (offset !== CONSOLE_CONFIG_EMERG_WR) return;
    this.#chardev?.emergencyWrite(Number(this.config.get(CONSOLE_CONFIG_EMERG_WR) & 0xffn));
    this.config.set(CONSOLE_CONFIG_EMERG_WR, 0);
  }
}
