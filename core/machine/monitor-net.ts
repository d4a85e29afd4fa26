/** A machine's network as the monitor sees it. */
import { deviceNotFound, MonitorError } from '../monitor/errors.ts';
import type { AnnounceParameters, NetClient, NetworkState, NetworkView } from '../monitor/network-target.ts';
import type { Netdev } from '../net/network.ts';
import type { QomObject } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';
import type { RxFilterInfo } from '../virtio/net/filter.ts';
import { NetDevice } from '../virtio/net/device.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import { NET_CONFIG_MAC } from '../virtio/spec/net.ts';

const HUB_PORT = 'netdev-hubport';

export interface MonitorNetworkOptions {
  readonly tree: ObjectTree;
  /** Does work in the machine's operation queue. */
  operate<T>(work: () => T | Promise<T>): Promise<T>;
  /** A card's driver has been asked to announce itself. */
  announced(name: string): void;
}

/** A network card. */
export interface Nic {
  /** As "info network" has it. */
  readonly name: string;
  /** The device that users know: of a PCI card the function. */
  readonly object: QomObject;
  /** The virtio device. */
  readonly backend: QomObject;
  readonly device: NetDevice;
  /** Id of what it is plugged into. */
  readonly netdev: string | null;
}

/** In the order in which they are in the tree. */
export function findNics(tree: ObjectTree): Nic[] {
  const models = new Map<string, number>();
  const found: Nic[] = [];
  for (const backend of tree.root.walk()) {
    if (!backend.type.isA('virtio-net-device') || !backend.realized) continue;
    const device = virtioInstance(backend)?.device;
    if (!(device instanceof NetDevice)) continue;
    const object = backend.id === null && backend.name === 'virtio-backend' ? (backend.parent ?? backend) : backend;
    const model = object.type.name;
    const number = models.get(model) ?? 0;
    models.set(model, number + 1);
    const netdev = backend.value<string | null>('netdev');
    found.push({ name: object.id ?? `${model}.${number}`, object, backend, device, netdev });
  }
  return found;
}

export class MonitorNetwork implements NetworkView {
  readonly #o: MonitorNetworkOptions;
  readonly #announcing = new Map<string, NodeJS.Timeout>();

  constructor(options: MonitorNetworkOptions) {
    this.#o = options;
  }

  get #nics(): Nic[] {
    return findNics(this.#o.tree);
  }

  /** Back ends, in the order in which they were made. */
  get #objects(): QomObject[] {
    const container = this.#o.tree.find('/netdevs');
    return container === null ? [] : [...container.children.values()].filter(({ realized }) => realized);
  }

  get nics(): string[] {
    return this.#nics.map(({ name }) => name);
  }

  get netdevs(): string[] {
    return this.#objects.map(({ id }) => id!);
  }

  async state(): Promise<NetworkState> {
    const nics = this.#nics;
    const objects = this.#objects;
    const clients = new Map(await Promise.all(objects.map(async (one) => [one.id!, await netdevClient(one)] as const)));
    const hubs = new Map<number, NetworkState['hubs'][number]['ports'][number][]>();
    const onHub = new Set<string>();
    const nicOf = (id: string): Nic | undefined => nics.find(({ netdev }) => netdev === id);
    // The newest first, as in QEMU.
    for (const object of objects.toReversed()) {
      if (object.type.name !== HUB_PORT) continue;
      const number = object.value<number>('hubid');
      const ports = hubs.get(number) ?? [];
      if (ports.length === 0) hubs.set(number, ports);
      const nic = nicOf(object.id!);
      const behind = object.value<string | null>('netdev');
      const peer = nic !== undefined ? nicClient(nic) : behind === null ? null : (clients.get(behind) ?? null);
      ports.push({ name: object.id!, peer });
      for (const name of [object.id!, peer?.name]) if (name !== undefined) onHub.add(name);
    }
    const alone = objects
      .filter(({ id }) => !onHub.has(id!) && nicOf(id!) === undefined)
      .map(({ id }) => ({ client: clients.get(id!)!, peer: null }));
    const cards = nics
      .filter(({ name }) => !onHub.has(name))
      .map((nic) => ({ client: nicClient(nic), peer: clients.get(nic.netdev ?? '') ?? null }));
    return { hubs: [...hubs].map(([id, ports]) => ({ id, ports })).toReversed(), clients: [...alone, ...cards] };
  }

  setLink(name: string, up: boolean): Promise<void> {
    return this.#o.operate(async () => {
      const nic = this.#nics.find((candidate) => candidate.name === name);
      if (nic !== undefined) return nic.device.setLink(up);
      const netdev = this.#objects.find(({ id }) => id === name);
      if (netdev === undefined) throw deviceNotFound(name);
      await (netdev.instance as Netdev).setLink(up);
    });
  }

  rxFilters(name: string | null): Promise<{ name: string; filter: RxFilterInfo }[]> {
    return this.#o.operate(() => {
      const found = this.#nics.filter((nic) => name === null || nic.name === name);
      if (name !== null && found.length === 0) {
        const isNetdev = this.netdevs.includes(name);
        throw new MonitorError(isNetdev ? `net client(${name}) isn't a NIC` : `invalid net client name: ${name}`);
      }
      return found.map((nic) => ({ name: nic.name, filter: nic.device.rxFilter }));
    });
  }

  async announce({ initial, max, rounds, step, interfaces, id }: AnnounceParameters): Promise<void> {
    clearTimeout(this.#announcing.get(id));
    this.#announcing.delete(id);
    const round = async (left: number): Promise<void> => {
      await this.#o.operate(() => {
        for (const { name, device } of this.#nics) {
          if ((interfaces?.includes(name) ?? true) && device.announce()) this.#o.announced(name);
        }
      });
      if (left <= 1) return;
      const delay = Math.min(initial + (rounds - left) * step, max);
      // A machine that has ended announces nothing.
      const timer = setTimeout(() => void round(left - 1).catch(() => {}), delay);
      timer.unref();
      this.#announcing.set(id, timer);
    };
    if (rounds > 0) await round(rounds);
  }
}

async function netdevClient(object: QomObject): Promise<NetClient> {
  const type = object.type.name.replace(/^netdev-/, '');
  // The worker may have ended; it is listed all the same.
  const info = await (object.instance as Netdev).info().catch(() => '');
  return { name: object.id!, type, info };
}

function nicClient({ name, object, device }: Nic): NetClient {
  const mac = device.config.get(NET_CONFIG_MAC);
  return { name, type: 'nic', info: `model=${object.type.name},macaddr=${macText(mac)}` };
}

/** From a configuration field: the first byte is the lowest. */
function macText(mac: bigint): string {
  const bytes = Array.from({ length: 6 }, (_, i) => (mac >> BigInt(8 * i)) & 0xffn);
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
