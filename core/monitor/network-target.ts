/** What the monitor needs of a machine's network: a part of MonitorTarget. */
import type { RxFilterInfo } from '../virtio/net/filter.ts';

export interface NetworkView {
  /** Network cards; those without an id have QEMU's names for them, e.g. "virtio-net-pci.0". */
  readonly nics: readonly string[];
  /** Ids of back ends. */
  readonly netdevs: readonly string[];
  /** What "info network" shows. */
  state(): Promise<NetworkState>;
  /**
   * set_link, of a card or a back end.
   *
   * @throws MonitorError
   */
  setLink(name: string, up: boolean): Promise<void>;
  /**
   * @param name a card; null: all
   * @throws MonitorError
   */
  rxFilters(name: string | null): Promise<readonly { name: string; filter: RxFilterInfo }[]>;
  /** Has drivers announce themselves on their networks. Resolves when the first round has begun. */
  announce(parameters: AnnounceParameters): Promise<void>;
}

/** One end of a wire. */
export interface NetClient {
  readonly name: string;
  /** e.g. "nic", "user". */
  readonly type: string;
  /** What follows "type=...,", e.g. "model=virtio-net-device,macaddr=52:54:00:12:34:56". */
  readonly info: string;
}

export interface NetworkState {
  readonly hubs: readonly { id: number; ports: readonly { name: string; peer: NetClient | null }[] }[];
  /** Cards with what they are plugged into, and back ends that nothing is plugged into; without those of hubs. */
  readonly clients: readonly { client: NetClient; peer: NetClient | null }[];
}

/** QEMU's AnnounceParameters (qapi/net.json). Times in ms. */
export interface AnnounceParameters {
  readonly initial: number;
  readonly max: number;
  readonly rounds: number;
  readonly step: number;
  /** Cards; null: all. */
  readonly interfaces: readonly string[] | null;
  /** Announcements of the same id are one: the later replaces the earlier. */
  readonly id: string;
}
