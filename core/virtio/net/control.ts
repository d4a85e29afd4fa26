/**
 * Commands of the control queue (virtio 1.3, section 5.1.6.5). Each is judged whole before anything changes; one that breaks
 * a rule is answered VIRTIO_NET_ERR and changes nothing.
 */
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import { hasFeature } from '../spec/features.ts';
import * as spec from '../spec/net.ts';
import { GUEST_OFFLOADS, driverOffloads } from './offloads.ts';
import { RSS_STEERS, RX_ALLMULTI, RX_ALLUNI, RX_NOBCAST, RX_NOMULTI, RX_NOUNI, RX_PROMISC, VLANS } from './state.ts';
import type { NetState } from './state.ts';

/** The longest command is that of two MAC tables; those that are too long for ours are read all the same, up to here. */
const COMMAND_BYTES_MAX = 256 * 1024;

/** Section 5.1.6.5.1: command, the flag that it sets, the feature that it needs. */
const RX_COMMANDS: Readonly<Record<number, { flag: number; feature: number }>> = {
  [spec.NET_CTRL_RX_PROMISC]: { flag: RX_PROMISC, feature: spec.VIRTIO_NET_F_CTRL_RX },
  [spec.NET_CTRL_RX_ALLMULTI]: { flag: RX_ALLMULTI, feature: spec.VIRTIO_NET_F_CTRL_RX },
  [spec.NET_CTRL_RX_ALLUNI]: { flag: RX_ALLUNI, feature: spec.VIRTIO_NET_F_CTRL_RX_EXTRA },
  [spec.NET_CTRL_RX_NOMULTI]: { flag: RX_NOMULTI, feature: spec.VIRTIO_NET_F_CTRL_RX_EXTRA },
  [spec.NET_CTRL_RX_NOUNI]: { flag: RX_NOUNI, feature: spec.VIRTIO_NET_F_CTRL_RX_EXTRA },
  [spec.NET_CTRL_RX_NOBCAST]: { flag: RX_NOBCAST, feature: spec.VIRTIO_NET_F_CTRL_RX_EXTRA },
};

export interface ControlOptions {
  readonly state: NetState;
  readonly features: bigint;
  /** Queue pairs of the device. */
  readonly maxPairs: number;
  /** The filters have changed. */
  readonly news: () => void;
}

/**
 * Executes the command in a chain and writes its ack.
 *
 * @throws QueueFault when there is no room for header or ack
 */
export function executeCommand(chain: DescriptorChain, options: ControlOptions): void {
  const { readable, writable } = chain;
  if (readable.length < spec.NET_CTRL_HEADER_BYTES || writable.length < 1) {
    throw new QueueFault('bad-request', `chain ${chain.head}: a command without class, command or ack (5.1.6.5)`);
  }
  const bytes = new Uint8Array(Math.min(readable.length, COMMAND_BYTES_MAX));
  readable.copyOut(0, bytes);
  const done = readable.length <= COMMAND_BYTES_MAX && execute(bytes, options);
  writable.putByte(0, done ? spec.NET_OK : spec.NET_ERR);
}

function execute(bytes: Uint8Array, options: ControlOptions): boolean {
  const [commandClass, command] = bytes;
  const data = bytes.subarray(spec.NET_CTRL_HEADER_BYTES);
  switch (commandClass) {
    case spec.NET_CTRL_RX:
      return receiveMode(command, data, options);
    case spec.NET_CTRL_MAC:
      if (command === spec.NET_CTRL_MAC_TABLE_SET) return macTable(data, options);
      return command === spec.NET_CTRL_MAC_ADDR_SET && macAddress(data, options);
    case spec.NET_CTRL_VLAN:
      return vlan(command, data, options);
    case spec.NET_CTRL_ANNOUNCE:
      return command === spec.NET_CTRL_ANNOUNCE_ACK && announceAck(options);
    case spec.NET_CTRL_MQ:
      if (command === spec.NET_CTRL_MQ_VQ_PAIRS_SET) return queuePairs(data, options);
      if (command === spec.NET_CTRL_MQ_RSS_CONFIG) return rssConfig(data, options);
      return command === spec.NET_CTRL_MQ_HASH_CONFIG && hashConfig(data, options);
    case spec.NET_CTRL_GUEST_OFFLOADS:
      return command === spec.NET_CTRL_GUEST_OFFLOADS_SET && guestOffloads(data, options);
    default:
      return false;
  }
}

function dataView(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

function receiveMode(command: number, data: Uint8Array, { state, features, news }: ControlOptions): boolean {
  const known = Object.hasOwn(RX_COMMANDS, command) ? RX_COMMANDS[command] : undefined;
  if (!known || !hasFeature(features, known.feature) || data.length < 1) return false;
  state.change(() => state.setFlags(known.flag, data[0] !== 0));
  news();
  return true;
}

/** Two lists, each a count and so many addresses. */
function macTable(data: Uint8Array, { state, features, news }: ControlOptions): boolean {
  if (!hasFeature(features, spec.VIRTIO_NET_F_CTRL_RX)) return false;
  const view = dataView(data);
  let at = 0;
  const list = (): Uint8Array | null => {
    if (at + 4 > data.length) return null;
    const end = at + 4 + view.getUint32(at, true) * spec.MAC_BYTES;
    if (end > data.length) return null;
    const macs = data.subarray(at + 4, end);
    at = end;
    return macs;
  };
  const unicast = list();
  const multicast = list();
  if (!unicast || !multicast || at !== data.length) return false;
  state.change(() => state.setMacTable(unicast, multicast));
  news();
  return true;
}

function macAddress(data: Uint8Array, { state, features, news }: ControlOptions): boolean {
  if (!hasFeature(features, spec.VIRTIO_NET_F_CTRL_MAC_ADDR) || data.length !== spec.MAC_BYTES) return false;
  state.change(() => state.mac.set(data));
  news();
  return true;
}

function vlan(command: number, data: Uint8Array, { state, features, news }: ControlOptions): boolean {
  if (!hasFeature(features, spec.VIRTIO_NET_F_CTRL_VLAN) || data.length < 2) return false;
  if (command !== spec.NET_CTRL_VLAN_ADD && command !== spec.NET_CTRL_VLAN_DEL) return false;
  const id = dataView(data).getUint16(0, true);
  if (id >= VLANS) return false;
  state.change(() => state.setVlan(id, command === spec.NET_CTRL_VLAN_ADD));
  news();
  return true;
}

function announceAck({ state, features }: ControlOptions): boolean {
  if (!hasFeature(features, spec.VIRTIO_NET_F_GUEST_ANNOUNCE)) return false;
  state.announced();
  return true;
}

/** Section 5.1.6.5.6.1. Turns RSS off. */
function queuePairs(data: Uint8Array, { state, features, maxPairs }: ControlOptions): boolean {
  if (!hasFeature(features, spec.VIRTIO_NET_F_MQ) || data.length < 2) return false;
  const pairs = dataView(data).getUint16(0, true);
  if (pairs < 1 || pairs > maxPairs) return false;
  state.change(() => {
    state.queuePairs = pairs;
    if (!hasFeature(features, spec.VIRTIO_NET_F_HASH_REPORT)) {
      state.setRss({ types: 0, table: [0], unclassified: 0, key: new Uint8Array(0), steers: false });
    } else {
      state.setFlags(RSS_STEERS, false);
    }
  });
  return true;
}

/** struct virtio_net_rss_config (section 5.1.6.5.7). */
function rssConfig(data: Uint8Array, { state, features, maxPairs }: ControlOptions): boolean {
  if (!hasFeature(features, spec.VIRTIO_NET_F_RSS) || data.length < 8) return false;
  const view = dataView(data);
  const types = view.getUint32(0, true);
  const length = view.getUint16(4, true) + 1;
  const unclassified = view.getUint16(6, true);
  const behindTable = 8 + 2 * length;
  if (length > spec.RSS_TABLE_MAX || (length & (length - 1)) !== 0 || data.length < behindTable + 3) return false;
  const table = Array.from({ length }, (_, i) => view.getUint16(8 + 2 * i, true));
  const maxTransmit = view.getUint16(behindTable, true);
  const key = keyOf(data, behindTable + 2);
  if (!key || (types & ~spec.HASH_TYPES_ALL) !== 0) return false;
  if (maxTransmit < 1 || maxTransmit > maxPairs) return false;
  if (unclassified >= maxPairs || table.some((queue) => queue >= maxPairs)) return false;
  // Section 5.1.6.5.7.1: as many receive queues as the table names.
  const pairs = Math.max(maxTransmit, unclassified + 1, ...table.map((queue) => queue + 1));
  state.change(() => {
    state.queuePairs = pairs;
    state.setRss({ types, table, unclassified, key, steers: types !== 0 });
  });
  return true;
}

/** struct virtio_net_hash_config (section 5.1.6.5.6.4). */
function hashConfig(data: Uint8Array, { state, features }: ControlOptions): boolean {
  if (!hasFeature(features, spec.VIRTIO_NET_F_HASH_REPORT) || data.length < 13) return false;
  const types = dataView(data).getUint32(0, true);
  // Behind four words that are reserved.
  const key = keyOf(data, 12);
  if (!key || (types & ~spec.HASH_TYPES_ALL) !== 0) return false;
  state.change(() => state.setRss({ types, table: [0], unclassified: 0, key, steers: false }));
  return true;
}

/** A key with its length before it, at the end of a command. */
function keyOf(data: Uint8Array, at: number): Uint8Array | null {
  const length = data[at];
  if (length > spec.RSS_KEY_BYTES || data.length !== at + 1 + length) return null;
  return data.subarray(at + 1);
}

/** Section 5.1.6.5.8: only what was negotiated can be switched on. */
function guestOffloads(data: Uint8Array, { state, features }: ControlOptions): boolean {
  if (!hasFeature(features, spec.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) || data.length < 8) return false;
  const wanted = dataView(data).getBigUint64(0, true);
  if ((wanted & ~features) !== 0n || (wanted & ~GUEST_OFFLOADS) !== 0n) return false;
  state.change(() => (state.offloads = driverOffloads(wanted)));
  return true;
}
