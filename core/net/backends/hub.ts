/** -netdev hubport: a port of a hub, which repeats every frame to all its other ports (QEMU: net/hub.c). */
import { RingsideError } from '../../errors.ts';
import { NetBackend } from '../endpoint.ts';
import type { NetBackendContext, NetBackendFactory } from '../endpoint.ts';
import { OFFLOAD_ALL } from '../frame.ts';
import type { Frame } from '../frame.ts';

export interface HubPortOptions {
  readonly hub: number;
  /** Another back end on this port in place of a network card. */
  readonly netdev: string | null;
}

class HubPort extends NetBackend {
  /** Each port adapts frames to who is behind it. */
  readonly offloads = OFFLOAD_ALL;
  readonly #options: HubPortOptions;
  readonly #context: NetBackendContext;
  readonly #ports: Set<HubPort>;
  /** The peer takes no frames: those for it are lost meanwhile, so that it does not hold up the others. */
  #refused = false;

  constructor(options: HubPortOptions, context: NetBackendContext, ports: Set<HubPort>) {
    super();
    this.#options = options;
    this.#context = context;
    this.#ports = ports;
  }

  get info(): string {
    return `hub ${this.#options.hub}, ${this.#ports.size} ports`;
  }

  async open(): Promise<void> {
    const { netdev } = this.#options;
    if (netdev !== null) {
      const other = this.#context.find(netdev);
      if (!other) throw new RingsideError('bad-option', `${this.#context.id}: there is no netdev "${netdev}".`);
      if (other instanceof HubPort) {
        // Two ways between hubs would send frames round for ever.
        throw new RingsideError('bad-option', `${this.#context.id}: netdev "${netdev}" is a port of a hub itself.`);
      }
      if (other.peer) throw new RingsideError('in-use', `${this.#context.id}: netdev "${netdev}" is in use.`);
      this.connect(other);
    }
    this.#ports.add(this);
  }

  send(frame: Frame): boolean {
    for (const port of this.#ports) if (port !== this) port.#repeat(frame);
    return true;
  }

  #repeat(frame: Frame): void {
    if (!this.#refused) this.#refused = !this.give(frame);
  }

  override flush(): void {
    for (const port of this.#ports) if (port !== this) port.peer?.flush();
  }

  protected flow(): void {
    this.#refused = false;
  }

  close(): void {
    this.#ports.delete(this);
  }
}

/** Ports of hubs of one machine. */
export function hubPorts(): NetBackendFactory {
  const hubs = new Map<number, Set<HubPort>>();
  return (options, context) => {
    const port = options as HubPortOptions;
    let ports = hubs.get(port.hub);
    if (!ports) hubs.set(port.hub, (ports = new Set()));
    return new HubPort(port, context, ports);
  };
}
