/** The control thread's half of virtio-net: the network device (virtio 1.3, section 5.1). */
import { RingsideError } from '../../errors.ts';
import { FrameRingReader } from '../../net/frame-ring.ts';
import { Doorbell } from '../../net/nic-rings.ts';
import type { NicRings } from '../../net/nic-rings.ts';
import { ConfigSpace } from '../config-space.ts';
import type { ConfigField } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import { VIRTIO_ID_NETWORK } from '../spec/device-ids.ts';
import { featureMask, hasFeature } from '../spec/features.ts';
import * as spec from '../spec/net.ts';
import { controlQueueIndex } from './backend.ts';
import type { NetActivation, NetDeviceBackendOptions } from './backend.ts';
import { rxFilterInfo } from './filter.ts';
import type { RxFilterInfo } from './filter.ts';
import { driverOffloads } from './offloads.ts';
import { NetState, RX_FILTER_CHANGED, VLAN_FILTER, createNetState } from './state.ts';

const CONTROL_QUEUE_NAME = 'controlq';
const CONTROL_QUEUE_SIZE = 64;
const DEFAULT_QUEUE_SIZE = 256;

export interface NetDeviceOptions {
  id: string;
  /** Six bytes, not multicast. */
  mac: Uint8Array;
  /** What connects it to the network worker. */
  rings: NicRings;
  /** VIRTIO_NET_F_* that are offered, besides those that follow from the other options. */
  features: readonly number[];
  /** 1..MAX_QUEUE_PAIRS; more than one offers VIRTIO_NET_F_MQ. */
  queuePairs?: number;
  /** Bytes, 68..65535. Default: not said. */
  mtu?: number;
  /** Mbit/s. Default: not known. */
  speed?: number;
  duplex?: 'half' | 'full';
  /** Entries; a power of 2. */
  rxQueueSize?: number;
  txQueueSize?: number;
}

const FIELDS: readonly ConfigField[] = [
  // Legacy drivers may write it (section 5.1.4.1).
  { name: 'mac', offset: spec.NET_CONFIG_MAC, size: spec.MAC_BYTES, writable: true },
  { name: 'status', offset: spec.NET_CONFIG_STATUS, size: 2 },
  { name: 'max_virtqueue_pairs', offset: spec.NET_CONFIG_MAX_VIRTQUEUE_PAIRS, size: 2 },
  { name: 'mtu', offset: spec.NET_CONFIG_MTU, size: 2 },
  { name: 'speed', offset: spec.NET_CONFIG_SPEED, size: 4 },
  { name: 'duplex', offset: spec.NET_CONFIG_DUPLEX, size: 1 },
  { name: 'rss_max_key_size', offset: spec.NET_CONFIG_RSS_MAX_KEY_SIZE, size: 1 },
  {
    name: 'rss_max_indirection_table_length',
    offset: spec.NET_CONFIG_RSS_MAX_INDIRECTION_TABLE_LENGTH,
    size: 2,
  },
  { name: 'supported_hash_types', offset: spec.NET_CONFIG_SUPPORTED_HASH_TYPES, size: 4 },
];

/** Brings in what the driver has set by the control queue before anyone looks. */
class NetConfigSpace extends ConfigSpace {
  refresh: () => void = () => {};

  override read(offset: number, size: number): number {
    this.refresh();
    return super.read(offset, size);
  }

  override get(offset: number): bigint {
    this.refresh();
    return super.get(offset);
  }

  /** A byte as the driver has just written it. */
  written(offset: number): number {
    return super.read(offset, 1);
  }
}

export class NetDevice extends VirtioDevice {
  readonly type = 'virtio-net';
  readonly virtioId = VIRTIO_ID_NETWORK;
  readonly featureInfo = spec.NET_FEATURES;
  readonly features: bigint;
  readonly queues: readonly QueueSpec[];
  readonly config = new NetConfigSpace(spec.NET_CONFIG_BYTES, FIELDS);
  readonly backend: BackendInit;
  /** The driver has changed its filters (QEMU: NIC_RX_FILTER_CHANGED); not again until rxFilter has been read. */
  onRxFilterChanged: () => void = () => {};
  readonly #state: NetState;
  readonly #mac: Uint8Array;
  readonly #maxPairs: number;
  /** The end that the worker's half reads. It is this one's only while no receive queue runs. */
  readonly #toNic: FrameRingReader;
  readonly #network: Doorbell;
  #cardLink = true;
  #netdevLink = true;
  #announcing = false;
  #negotiated = 0n;
  #legacy = false;

  /** @throws RingsideError 'bad-option' */
  constructor(options: NetDeviceOptions) {
    super(options.id);
    const { id, mac, rings, features, queuePairs = 1, mtu } = options;
    if (mac.length !== spec.MAC_BYTES || (mac[0] & 1) !== 0) {
      throw new RingsideError('bad-option', `${id}: mac= is a multicast address; its first byte must be even.`);
    }
    if (mtu !== undefined && !(mtu >= 68 && mtu <= 65535)) {
      throw new RingsideError('bad-option', `${id}: host_mtu= must be 68 to 65535, not ${mtu}.`);
    }
    this.#mac = mac;
    this.#maxPairs = queuePairs;
    this.#toNic = new FrameRingReader(rings.toNic);
    this.#network = new Doorbell(rings.doorbell);
    this.features = offered(options);
    this.queues = queuesOf(options, hasFeature(this.features, spec.VIRTIO_NET_F_CTRL_VQ));
    const state = createNetState();
    this.#state = new NetState(state);
    const backend: NetDeviceBackendOptions = { rings, state, maxPairs: queuePairs };
    this.backend = { type: this.type, options: backend };
    this.#fillConfig(
      options,
      features.includes(spec.VIRTIO_NET_F_RSS) || features.includes(spec.VIRTIO_NET_F_HASH_REPORT),
    );
    this.reset();
  }

  #fillConfig({ queuePairs = 1, mtu = 0, speed, duplex }: NetDeviceOptions, hashes: boolean): void {
    const { config } = this;
    config.set(spec.NET_CONFIG_MAX_VIRTQUEUE_PAIRS, queuePairs);
    config.set(spec.NET_CONFIG_MTU, mtu);
    config.set(spec.NET_CONFIG_SPEED, speed ?? spec.NET_SPEED_UNKNOWN);
    const duplexes = { half: spec.NET_DUPLEX_HALF, full: spec.NET_DUPLEX_FULL };
    config.set(spec.NET_CONFIG_DUPLEX, duplex === undefined ? spec.NET_DUPLEX_UNKNOWN : duplexes[duplex]);
    if (hashes) {
      config.set(spec.NET_CONFIG_RSS_MAX_KEY_SIZE, spec.RSS_KEY_BYTES);
      config.set(spec.NET_CONFIG_RSS_MAX_INDIRECTION_TABLE_LENGTH, spec.RSS_TABLE_MAX);
      config.set(spec.NET_CONFIG_SUPPORTED_HASH_TYPES, spec.HASH_TYPES_ALL);
    }
    config.refresh = () => this.#refresh();
  }

  #refresh(): void {
    if (this.#state.takeAnnounced()) this.#announcing = false;
    const mac = this.#state.mac.reduce((value, byte, i) => value | (BigInt(byte) << BigInt(8 * i)), 0n);
    this.config.set(spec.NET_CONFIG_MAC, mac);
    const status = (this.linkUp ? spec.VIRTIO_NET_S_LINK_UP : 0) | (this.#announcing ? spec.VIRTIO_NET_S_ANNOUNCE : 0);
    this.config.set(spec.NET_CONFIG_STATUS, status);
  }

  // ---- link ---------------------------------------------------------------------------------------------------------

  get linkUp(): boolean {
    return this.#cardLink && this.#netdevLink;
  }

  /** QEMU's set_link of the card. */
  setLink(up: boolean): void {
    this.#cardLink = up;
    this.#linkChanged();
  }

  /** The link of the netdev that it is plugged into. */
  setNetdevLink(up: boolean): void {
    this.#netdevLink = up;
    this.#linkChanged();
  }

  #linkChanged(): void {
    if (this.#state.linkUp === this.linkUp) return;
    this.#state.linkUp = this.linkUp;
    this.host?.configChanged();
  }

  /** Asks the driver to announce itself on the network (QEMU: announce_self). @returns whether it can */
  announce(): boolean {
    if (!hasFeature(this.#negotiated, spec.VIRTIO_NET_F_GUEST_ANNOUNCE) || !this.linkUp) return false;
    this.#announcing = true;
    this.host?.configChanged();
    return true;
  }

  // ---- what the driver has set --------------------------------------------------------------------------------------

  /** As QMP's query-rx-filter shows it. */
  get rxFilter(): RxFilterInfo {
    this.#state.takeNews();
    return rxFilterInfo(this.#state);
  }

  override backendEvent(detail: unknown): void {
    if (detail === RX_FILTER_CHANGED) this.onRxFilterChanged();
  }

  override negotiated(features: bigint, legacy: boolean): void {
    this.#negotiated = features;
    this.#legacy = legacy;
    this.#state.change(() => {
      this.#state.offloads = driverOffloads(features);
      this.#state.setFlags(VLAN_FILTER, hasFeature(features, spec.VIRTIO_NET_F_CTRL_VLAN));
    });
  }

  override activation(features: bigint, queues: readonly number[]): NetActivation {
    const control = controlQueueIndex(features, this.#maxPairs);
    // From now on the driver is ready: what comes before the worker's half begins waits in the ring for it.
    if (queues.some((index) => index % 2 === 0 && index < control) && !this.#toNic.isOpen) this.#toNic.open();
    return { features };
  }

  /** The control queue's place depends on the features (section 5.1.2). */
  override queueName(index: number, features: bigint): string {
    const isControl = hasFeature(features, spec.VIRTIO_NET_F_CTRL_VQ);
    return isControl && index === controlQueueIndex(features, this.#maxPairs)
      ? CONTROL_QUEUE_NAME
      : super.queueName(index, features);
  }

  /** Section 5.1.4.1: without VIRTIO_NET_F_CTRL_MAC_ADDR a legacy driver sets its address by writing it, byte by byte. */
  override configWritten(offset: number, size: number): void {
    const taken = this.#legacy && !hasFeature(this.#negotiated, spec.VIRTIO_NET_F_CTRL_MAC_ADDR);
    if (!taken) return this.#refresh();
    const { config } = this;
    this.#state.change(() => {
      const end = Math.min(offset + size, spec.MAC_BYTES);
      for (let i = offset; i < end; i++) this.#state.mac[i] = config.written(i);
    });
  }

  override reset(): void {
    this.#negotiated = 0n;
    this.#legacy = false;
    this.#announcing = false;
    this.#state.takeAnnounced();
    this.#state.reset(this.#mac);
    // A worker that is gone has left it open.
    if (this.#toNic.isOpen && this.#toNic.close()) this.#network.ring();
    this.#refresh();
  }
}

function offered({ features, queuePairs = 1, mtu, speed, duplex }: NetDeviceOptions): bigint {
  const bits = [...features, spec.VIRTIO_NET_F_MAC];
  if (queuePairs > 1) bits.push(spec.VIRTIO_NET_F_MQ);
  if (mtu !== undefined) bits.push(spec.VIRTIO_NET_F_MTU);
  if (speed !== undefined || duplex !== undefined) bits.push(spec.VIRTIO_NET_F_SPEED_DUPLEX);
  let mask = featureMask(...bits);
  // What requires something that is turned off is not offered either.
  for (let before = 0n; before !== mask;) {
    before = mask;
    for (const { bit, requires = [] } of spec.NET_FEATURES) {
      if (requires.some((needed) => !hasFeature(mask, needed))) mask &= ~featureMask(bit);
    }
  }
  return mask;
}

function queuesOf(
  { queuePairs = 1, rxQueueSize = DEFAULT_QUEUE_SIZE, txQueueSize = DEFAULT_QUEUE_SIZE }: NetDeviceOptions,
  control: boolean,
): QueueSpec[] {
  const queues = Array.from({ length: queuePairs }, (_, i) => [
    { name: `receiveq${i + 1}`, maxSize: rxQueueSize },
    { name: `transmitq${i + 1}`, maxSize: txQueueSize },
  ]).flat();
  return control ? [...queues, { name: CONTROL_QUEUE_NAME, maxSize: CONTROL_QUEUE_SIZE }] : queues;
}
