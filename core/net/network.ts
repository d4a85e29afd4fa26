/** The control thread's side of a machine's network: its netdevs, and the worker in which they live. */
import { Worker } from 'node:worker_threads';

import { RingsideError, errorLine } from '../errors.ts';
import type { CaptureOptions } from './capture.ts';
import type { ErrorKind } from '../errors.ts';
import type { NetdevEvent } from './endpoint.ts';
import type { NetBackendInit, NetMessage, NetRequest, NetWorkerData } from './messages.ts';
import { createDoorbell, createNicRings } from './nic-rings.ts';
import type { NicRings } from './nic-rings.ts';

export interface NetworkOptions {
  /** The machine's linear memory. */
  memory: WebAssembly.Memory;
  onEvent?(id: string, event: NetdevEvent): void;
  /** The worker has ended though nobody asked it to: the cards are as if unplugged from their networks. */
  onCrash?(error: RingsideError): void;
}

export interface NetdevSpec {
  readonly id: string;
  /** As in -netdev, e.g. "socket". */
  readonly kind: string;
  /** Queue pairs that a card on it has with mq=on, 1..MAX_QUEUE_PAIRS. */
  readonly queues: number;
  readonly backend: NetBackendInit;
  /** Another netdev that is behind this one, and so free for no card. */
  readonly uses?: string;
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class Network {
  readonly #options: NetworkOptions;
  readonly #netdevs = new Map<string, Netdev>();
  readonly #doorbell = createDoorbell();
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | null = null;
  #exited: Promise<void> = Promise.resolve();
  #nextSeq = 1;
  #ended: RingsideError | null = null;

  /** The worker starts with the first netdev. */
  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  get netdevs(): readonly Netdev[] {
    return [...this.#netdevs.values()];
  }

  get(id: string): Netdev | null {
    return this.#netdevs.get(id) ?? null;
  }

  /**
   * Makes a netdev; resolves when it listens, or is connected.
   *
   * @throws RingsideError 'bad-option' for an id that is taken, 'in-use', 'permission', 'not-found' or 'network'
   */
  async add(spec: NetdevSpec): Promise<Netdev> {
    const { id } = spec;
    if (this.#netdevs.has(id)) throw new RingsideError('bad-option', `There is a netdev "${id}" already.`);
    const behind = spec.uses === undefined ? null : this.#behind(id, spec.uses);
    const netdev = new Netdev(spec, {
      ask: (request) => this.#ask(request),
      rings: () => createNicRings(this.#doorbell),
      gone: () => {
        this.#netdevs.delete(id);
        if (behind) behind.user = null;
      },
    });
    this.#netdevs.set(id, netdev);
    if (behind) behind.user = id;
    try {
      await this.#ask({ op: 'add', id, backend: spec.backend });
    } catch (error) {
      this.#netdevs.delete(id);
      if (behind) behind.user = null;
      throw error;
    }
    return netdev;
  }

  #behind(id: string, uses: string): Netdev {
    const netdev = this.#netdevs.get(uses);
    if (!netdev) throw new RingsideError('bad-option', `Netdev "${id}" wants netdev "${uses}"; there is none.`);
    netdev.checkFree();
    return netdev;
  }

  /** Closes all netdevs and ends the worker. May be called twice. */
  async close(): Promise<void> {
    if (this.#worker && !this.#ended) {
      const quit = this.#ask({ op: 'quit' });
      this.#ended = new RingsideError('bad-state', 'The network has been shut down.');
      await quit.catch(() => {});
    }
    await this.#exited;
    this.#netdevs.clear();
  }

  #ask(request: NetRequest): Promise<unknown> {
    if (this.#ended) return Promise.reject(this.#ended);
    const worker = this.#start();
    const seq = this.#nextSeq++;
    return new Promise((resolve, reject) => {
      this.#pending.set(seq, { resolve, reject });
      worker.postMessage({ ...request, seq });
    });
  }

  #start(): Worker {
    if (this.#worker) return this.#worker;
    const workerData: NetWorkerData = { memory: this.#options.memory, doorbell: this.#doorbell };
    const worker = new Worker(new URL('../worker/net.ts', import.meta.url), { name: 'net', workerData });
    this.#worker = worker;
    let cause: unknown;
    worker.on('message', (message: NetMessage) => this.#receive(message));
    worker.on('error', (error) => (cause = error));
    this.#exited = new Promise<void>((resolve) => worker.once('exit', () => resolve())).then(() => {
      if (this.#ended) return this.#rejectAll(this.#ended);
      const why = cause === undefined ? 'it ended by itself' : errorLine(cause);
      const message = `The network worker has crashed: ${why}. Restart the VM to have its network back.`;
      this.#ended = new RingsideError('internal', message, { cause });
      this.#rejectAll(this.#ended);
      this.#options.onCrash?.(this.#ended);
    });
    return worker;
  }

  #rejectAll(error: RingsideError): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  #receive(message: NetMessage): void {
    if (message.type === 'event') {
      if (this.#netdevs.has(message.id)) this.#options.onEvent?.(message.id, message.event);
      return;
    }
    const pending = this.#pending.get(message.seq);
    this.#pending.delete(message.seq);
    if (message.type === 'reply') pending?.resolve(message.value);
    else pending?.reject(new RingsideError(message.kind as ErrorKind, message.message));
  }
}

interface NetdevHost {
  ask(request: NetRequest): Promise<unknown>;
  rings(): NicRings;
  gone(): void;
}

/** A network card that is plugged into a netdev. */
export interface NicConnection {
  /** For the I/O worker that serves the card. */
  readonly rings: NicRings;
  /** Called when the netdev's link goes up or down. */
  onLink: (up: boolean) => void;
  /** Unplugs the card. */
  close(): Promise<void>;
}

export class Netdev {
  readonly id: string;
  readonly kind: string;
  readonly queues: number;
  readonly #host: NetdevHost;
  /** The netdev that it is behind. */
  user: string | null = null;
  #nic: NicConnection | null = null;
  #linkUp = true;
  #captures = 0;

  constructor({ id, kind, queues }: NetdevSpec, host: NetdevHost) {
    this.id = id;
    this.kind = kind;
    this.queues = queues;
    this.#host = host;
  }

  get linkUp(): boolean {
    return this.#linkUp;
  }

  /** One line, as in `info network`. */
  async info(): Promise<string> {
    return (await this.#host.ask({ op: 'info', id: this.id })) as string;
  }

  /**
   * Plugs a network card in. One at a time.
   *
   * @throws RingsideError 'in-use'
   */
  connectNic(): NicConnection {
    this.checkFree();
    const rings = this.#host.rings();
    const { id } = this;
    const nic: NicConnection = {
      rings,
      onLink: () => {},
      close: async () => {
        if (this.#nic !== nic) return;
        this.#nic = null;
        await this.#host.ask({ op: 'nic', id, rings: null }).catch(() => {});
      },
    };
    this.#nic = nic;
    // A worker that is gone has said so already.
    this.#host.ask({ op: 'nic', id, rings }).catch(() => {});
    return nic;
  }

  /** @throws RingsideError 'in-use' */
  checkFree(): void {
    if (this.#nic) throw new RingsideError('in-use', `Netdev "${this.id}" has a network card already.`);
    if (this.user !== null) throw new RingsideError('in-use', `Netdev "${this.id}" is behind netdev "${this.user}".`);
  }

  /** QEMU's set_link: with the link down all frames are lost, and the card sees it. */
  async setLink(up: boolean): Promise<void> {
    this.#linkUp = up;
    this.#nic?.onLink(up);
    await this.#host.ask({ op: 'link', id: this.id, up });
  }

  /**
   * Writes all frames of the card on this netdev, both ways, to a pcapng file (QEMU: filter-dump).
   *
   * @param options maxBytes: of a frame that are kept; exclusive: a file that is there is not replaced, but an error
   * @returns ends the capture; resolves when the file is whole
   * @throws RingsideError 'io'
   */
  async capture(file: string, options: Partial<CaptureOptions> = {}): Promise<() => Promise<void>> {
    const { maxBytes = 65536, exclusive = false } = options;
    const number = ++this.#captures;
    await this.#host.ask({ op: 'capture', id: this.id, number, options: { file, maxBytes, exclusive, name: this.id } });
    return async () => {
      await this.#host.ask({ op: 'end-capture', id: this.id, number });
    };
  }

  /**
   * Ends the netdev; a card on it is as if its cable were pulled. QEMU: netdev_del.
   */
  async close(): Promise<void> {
    this.#nic?.onLink(false);
    this.#nic = null;
    await this.#host.ask({ op: 'remove', id: this.id });
    this.#host.gone();
  }
}
