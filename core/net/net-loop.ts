/** What the network worker does: obeys the control thread, and moves frames whenever a network card rings its doorbell. */
import { RingsideError, errorLine } from '../errors.ts';
import { Capture } from './capture.ts';
import type { CaptureOptions } from './capture.ts';
import type { NetBackend, NetBackendFactory, NetdevEvent } from './endpoint.ts';
import type { NetBackendInit, NetMessage, NetRequest, NetWorkerData, NumberedNetRequest } from './messages.ts';
import { Doorbell } from './nic-rings.ts';
import type { NicRings } from './nic-rings.ts';
import { NicPort } from './nic-port.ts';

interface Netdev {
  readonly backend: NetBackend;
  nic: NicPort | null;
  linkUp: boolean;
  readonly captures: Map<number, Capture>;
}

export class NetLoop {
  readonly #data: NetWorkerData;
  readonly #factories: Readonly<Record<string, NetBackendFactory>>;
  readonly #send: (message: NetMessage) => void;
  readonly #netdevs = new Map<string, Netdev>();
  readonly #doorbell: Doorbell;
  #quit = false;

  constructor(
    data: NetWorkerData,
    factories: Readonly<Record<string, NetBackendFactory>>,
    send: (message: NetMessage) => void,
  ) {
    this.#data = data;
    this.#factories = factories;
    this.#send = send;
    this.#doorbell = new Doorbell(data.doorbell);
  }

  /** Resolves when the control thread has said 'quit'. */
  async run(): Promise<void> {
    while (!this.#quit) {
      const count = this.#doorbell.count;
      // Sockets and messages have their turn between two of ours.
      if (this.#turn()) await new Promise((resolve) => setImmediate(resolve));
      else await this.#doorbell.rung(count);
    }
  }

  #turn(): boolean {
    let more = false;
    for (const { nic } of this.#netdevs.values()) if (nic?.turn()) more = true;
    return more;
  }

  async obey(request: NumberedNetRequest): Promise<void> {
    const { seq } = request;
    try {
      this.#send({ type: 'reply', seq, value: await this.#obey(request) });
    } catch (error) {
      if (!(error instanceof RingsideError)) throw error;
      this.#send({ type: 'refusal', seq, kind: error.kind, message: errorLine(error) });
    }
  }

  #obey(request: NetRequest): unknown {
    switch (request.op) {
      case 'add':
        return this.#add(request.id, request.backend);
      case 'remove':
        return this.#remove(request.id);
      case 'nic':
        return this.#plug(this.#netdev(request.id), request.rings);
      case 'link':
        return this.#setLink(this.#netdev(request.id), request.up);
      case 'info':
        return this.#netdev(request.id).backend.info;
      case 'capture':
        return this.#capture(request.id, request.number, request.options);
      case 'end-capture':
        return this.#endCapture(this.#netdev(request.id), request.number);
      case 'quit':
        for (const id of [...this.#netdevs.keys()]) this.#remove(id);
        this.#quit = true;
        this.#doorbell.ring();
        return null;
    }
  }

  async #add(id: string, { type, options }: NetBackendInit): Promise<null> {
    const factory = Object.hasOwn(this.#factories, type) ? this.#factories[type] : undefined;
    if (!factory) throw new RingsideError('internal', `No network back end is called "${type}".`);
    const backend = factory(options, {
      id,
      report: (event) => this.#report(id, event),
      find: (other) => this.#netdevs.get(other)?.backend ?? null,
    });
    try {
      await backend.open();
    } catch (error) {
      backend.close();
      throw error;
    }
    this.#netdevs.set(id, { backend, nic: null, linkUp: true, captures: new Map() });
    return null;
  }

  #remove(id: string): null {
    const netdev = this.#netdevs.get(id);
    if (!netdev) return null;
    this.#plug(netdev, null);
    for (const capture of netdev.captures.values()) capture.close();
    netdev.backend.connect(null);
    netdev.backend.close();
    this.#netdevs.delete(id);
    return null;
  }

  #plug(netdev: Netdev, rings: NicRings | null): null {
    netdev.nic?.close();
    netdev.nic = null;
    if (!rings) return null;
    netdev.nic = new NicPort(rings, this.#data.memory);
    netdev.nic.linkUp = netdev.linkUp;
    for (const capture of netdev.captures.values()) netdev.nic.addCapture(capture);
    netdev.nic.connect(netdev.backend);
    return null;
  }

  #setLink(netdev: Netdev, up: boolean): null {
    netdev.linkUp = up;
    if (netdev.nic) netdev.nic.linkUp = up;
    return null;
  }

  #capture(id: string, number: number, options: CaptureOptions): null {
    const netdev = this.#netdev(id);
    const capture = new Capture(options, (message) => this.#report(id, { kind: 'note', message: `${id}: ${message}` }));
    netdev.captures.set(number, capture);
    netdev.nic?.addCapture(capture);
    return null;
  }

  #endCapture(netdev: Netdev, number: number): null {
    const capture = netdev.captures.get(number);
    if (!capture) return null;
    netdev.captures.delete(number);
    netdev.nic?.removeCapture(capture);
    capture.close();
    return null;
  }

  #netdev(id: string): Netdev {
    const netdev = this.#netdevs.get(id);
    if (!netdev) throw new RingsideError('internal', `The network worker has no netdev "${id}".`);
    return netdev;
  }

  #report(id: string, event: NetdevEvent): void {
    this.#send({ type: 'event', id, event });
  }
}
