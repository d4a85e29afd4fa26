/**
 * What the driver sets by the control queue, in memory that both halves of the device share: the I/O worker obeys it, the
 * control thread resets it while no queue runs, and shows it. A generation that is odd while it changes tells torn reads.
 */
import { HASH_TYPES_ALL, MAC_BYTES, RSS_KEY_BYTES, RSS_TABLE_MAX } from '../spec/net.ts';

/** QEMU's MAC_TABLE_ENTRIES, unicast and multicast together. */
export const MAC_TABLE_ENTRIES = 64;
export const VLANS = 4096;

// Words.
const GENERATION = 0;
/** The filters have changed since the control thread last looked. */
const NEWS = 1;
/** Written by the control thread alone. */
const LINK_DOWN = 2;
const OFFLOADS = 3;
const QUEUE_PAIRS = 4;
const FLAGS = 5;
const UNICAST_COUNT = 6;
const MULTICAST_COUNT = 7;
const HASH_TYPES = 8;
const RSS_TABLE_LENGTH = 9;
const RSS_UNCLASSIFIED = 10;
const ANNOUNCED = 11;
const WORDS = 16;

// Bytes.
const MAC = 4 * WORDS;
const MAC_TABLE = MAC + 8;
const VLAN_BITS = MAC_TABLE + MAC_TABLE_ENTRIES * MAC_BYTES;
const RSS_KEY = VLAN_BITS + VLANS / 8;
const RSS_TABLE = RSS_KEY + RSS_KEY_BYTES;
const STATE_BYTES = RSS_TABLE + 2 * RSS_TABLE_MAX;

// Bits of FLAGS.
export const RX_PROMISC = 1;
export const RX_ALLMULTI = 2;
export const RX_ALLUNI = 4;
export const RX_NOMULTI = 8;
export const RX_NOUNI = 16;
export const RX_NOBCAST = 32;
export const RX_UNICAST_OVERFLOW = 64;
export const RX_MULTICAST_OVERFLOW = 128;
/** RSS_CONFIG spreads packets; without it HASH_CONFIG only reports. */
export const RSS_STEERS = 256;
/** The VLAN filter is in use (VIRTIO_NET_F_CTRL_VLAN). */
export const VLAN_FILTER = 512;

/** What the worker's half tells the control thread's. */
export const RX_FILTER_CHANGED = 'rx-filter-changed';

export function createNetState(): SharedArrayBuffer {
  return new SharedArrayBuffer(STATE_BYTES);
}

/** Bytes of the state that a command replaces as a whole. */
export interface RssSettings {
  readonly types: number;
  /** Entries of the indirection table: a power of 2 of them. */
  readonly table: readonly number[];
  readonly unclassified: number;
  readonly key: Uint8Array;
  readonly steers: boolean;
}

export class NetState {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #table: Uint16Array<SharedArrayBuffer>;
  readonly mac: Uint8Array<SharedArrayBuffer>;
  readonly rssKey: Uint8Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer, 0, WORDS);
    this.#bytes = new Uint8Array(buffer);
    this.#table = new Uint16Array(buffer, RSS_TABLE, RSS_TABLE_MAX);
    this.mac = new Uint8Array(buffer, MAC, MAC_BYTES);
    this.rssKey = new Uint8Array(buffer, RSS_KEY, RSS_KEY_BYTES);
  }

  /** What a driver finds after a reset: QEMU receives everything until told otherwise. */
  reset(mac: Uint8Array): void {
    this.change(() => {
      this.#bytes.fill(0, 4 * OFFLOADS);
      this.mac.set(mac);
      this.#words[FLAGS] = RX_PROMISC;
      this.#words[QUEUE_PAIRS] = 1;
    });
  }

  /** Makes a change that others see whole. */
  change(make: () => void): void {
    Atomics.add(this.#words, GENERATION, 1);
    try {
      make();
    } finally {
      Atomics.add(this.#words, GENERATION, 1);
    }
  }

  /** Reads what another thread may be changing. A change is short; one that never ends (a dead worker) is read as it is. */
  consistent<T>(read: () => T): T {
    for (let attempt = 0; ; attempt++) {
      const before = Atomics.load(this.#words, GENERATION);
      const value = read();
      if ((before & 1) === 0 && Atomics.load(this.#words, GENERATION) === before) return value;
      if (attempt === 1000) return value;
    }
  }

  get linkUp(): boolean {
    return Atomics.load(this.#words, LINK_DOWN) === 0;
  }

  set linkUp(up: boolean) {
    Atomics.store(this.#words, LINK_DOWN, up ? 0 : 1);
  }

  get flags(): number {
    return this.#words[FLAGS];
  }

  setFlags(mask: number, on: boolean): void {
    this.#words[FLAGS] = on ? this.flags | mask : this.flags & ~mask;
  }

  /** OFFLOAD_* (core/net/frame.ts) that the driver takes. */
  get offloads(): number {
    return this.#words[OFFLOADS];
  }

  set offloads(offloads: number) {
    this.#words[OFFLOADS] = offloads;
  }

  /** Queue pairs in use. */
  get queuePairs(): number {
    return this.#words[QUEUE_PAIRS];
  }

  set queuePairs(pairs: number) {
    this.#words[QUEUE_PAIRS] = pairs;
  }

  get unicastCount(): number {
    return this.#words[UNICAST_COUNT];
  }

  get multicastCount(): number {
    return this.#words[MULTICAST_COUNT];
  }

  /** Addresses of the table, unicast first. */
  tableMac(index: number): Uint8Array {
    const at = MAC_TABLE + index * MAC_BYTES;
    return this.#bytes.subarray(at, at + MAC_BYTES);
  }

  /** Lists that are too long are not kept: their overflow flag lets everything in. */
  setMacTable(unicast: Uint8Array, multicast: Uint8Array): void {
    let free = MAC_TABLE_ENTRIES;
    let at = MAC_TABLE;
    const keep = (list: Uint8Array, overflow: number): number => {
      const count = list.length / MAC_BYTES;
      this.setFlags(overflow, count > free);
      if (count > free) return 0;
      this.#bytes.set(list, at);
      at += list.length;
      free -= count;
      return count;
    };
    this.#words[UNICAST_COUNT] = keep(unicast, RX_UNICAST_OVERFLOW);
    this.#words[MULTICAST_COUNT] = keep(multicast, RX_MULTICAST_OVERFLOW);
  }

  /** Whether the bytes at `at` are one of `count` addresses of the table from `first` on. */
  tableHas(frame: Uint8Array, first: number, count: number): boolean {
    const bytes = this.#bytes;
    for (let at = MAC_TABLE + first * MAC_BYTES; count > 0; count--, at += MAC_BYTES) {
      let i = 0;
      while (i < MAC_BYTES && bytes[at + i] === frame[i]) i++;
      if (i === MAC_BYTES) return true;
    }
    return false;
  }

  hasVlan(id: number): boolean {
    return (this.#bytes[VLAN_BITS + (id >> 3)] & (1 << (id & 7))) !== 0;
  }

  setVlan(id: number, on: boolean): void {
    const at = VLAN_BITS + (id >> 3);
    const bit = 1 << (id & 7);
    this.#bytes[at] = on ? this.#bytes[at] | bit : this.#bytes[at] & ~bit;
  }

  get vlans(): number[] {
    const vlans: number[] = [];
    for (let id = 0; id < VLANS; id++) if (this.hasVlan(id)) vlans.push(id);
    return vlans;
  }

  /** HASH_TYPE_*; 0 when neither RSS nor hash reports are set up. */
  get hashTypes(): number {
    return this.#words[HASH_TYPES];
  }

  get rssUnclassified(): number {
    return this.#words[RSS_UNCLASSIFIED];
  }

  get rssTable(): number[] {
    return [...this.#table.subarray(0, this.#words[RSS_TABLE_LENGTH])];
  }

  /** The receive queue pair for a hash. */
  rssQueue(hash: number): number {
    return this.#table[hash & (this.#words[RSS_TABLE_LENGTH] - 1)];
  }

  setRss({ types, table, unclassified, key, steers }: RssSettings): void {
    this.#words[HASH_TYPES] = types & HASH_TYPES_ALL;
    this.#words[RSS_TABLE_LENGTH] = table.length;
    this.#words[RSS_UNCLASSIFIED] = unclassified;
    this.#table.set(table);
    this.rssKey.fill(0);
    this.rssKey.set(key);
    this.setFlags(RSS_STEERS, steers);
  }

  /** The driver has announced itself. */
  announced(): void {
    Atomics.store(this.#words, ANNOUNCED, 1);
  }

  takeAnnounced(): boolean {
    return Atomics.exchange(this.#words, ANNOUNCED, 0) !== 0;
  }

  /** Whether the control thread is to be told of a change of the filters: it has looked since it was last told. */
  raiseNews(): boolean {
    return Atomics.exchange(this.#words, NEWS, 1) === 0;
  }

  /** The control thread looks. */
  takeNews(): void {
    Atomics.store(this.#words, NEWS, 0);
  }
}
