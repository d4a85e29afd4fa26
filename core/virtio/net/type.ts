/** The type virtio-net (QEMU: hw/net/virtio-net.c). */
import { RingsideError } from '../../errors.ts';
import { createDoorbell, createNicRings } from '../../net/nic-rings.ts';
import { MAX_QUEUE_PAIRS } from '../../net/netdev-types.ts';
import type { Netdev } from '../../net/network.ts';
import type { PropertySpec } from '../../qom/property.ts';
import type { DeviceContext, VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_NETWORK } from '../spec/device-ids.ts';
import * as spec from '../spec/net.ts';
import { NetDevice } from './device.ts';
import { macText, parseMac } from './filter.ts';

/** Properties that are feature bits: name, bit, whether it is offered by default. */
const FEATURES: readonly (readonly [name: string, bit: number, on: boolean, description: string])[] = [
  ['csum', spec.VIRTIO_NET_F_CSUM, true, 'take packets whose checksum is to be filled in'],
  ['guest_csum', spec.VIRTIO_NET_F_GUEST_CSUM, true, 'give packets with partial checksum'],
  ['gso', spec.VIRTIO_NET_F_GSO, true, 'take packets of any GSO type from legacy drivers'],
  ['guest_tso4', spec.VIRTIO_NET_F_GUEST_TSO4, true, 'give large TCP packets over IPv4'],
  ['guest_tso6', spec.VIRTIO_NET_F_GUEST_TSO6, true, 'give large TCP packets over IPv6'],
  ['guest_ecn', spec.VIRTIO_NET_F_GUEST_ECN, true, 'give large TCP packets with ECN'],
  ['guest_ufo', spec.VIRTIO_NET_F_GUEST_UFO, true, 'give UDP datagrams that are yet to be fragmented'],
  ['guest_uso4', spec.VIRTIO_NET_F_GUEST_USO4, true, 'give UDP packets over IPv4 that are yet to be cut'],
  ['guest_uso6', spec.VIRTIO_NET_F_GUEST_USO6, true, 'give UDP packets over IPv6 that are yet to be cut'],
  ['guest_announce', spec.VIRTIO_NET_F_GUEST_ANNOUNCE, true, 'ask the driver to announce itself'],
  ['host_tso4', spec.VIRTIO_NET_F_HOST_TSO4, true, 'take large TCP packets over IPv4'],
  ['host_tso6', spec.VIRTIO_NET_F_HOST_TSO6, true, 'take large TCP packets over IPv6'],
  ['host_ecn', spec.VIRTIO_NET_F_HOST_ECN, true, 'take large TCP packets with ECN'],
  ['host_ufo', spec.VIRTIO_NET_F_HOST_UFO, true, 'take UDP datagrams that are yet to be fragmented'],
  ['host_uso', spec.VIRTIO_NET_F_HOST_USO, true, 'take UDP packets that are yet to be cut'],
  ['mrg_rxbuf', spec.VIRTIO_NET_F_MRG_RXBUF, true, 'spread packets over several receive buffers'],
  ['status', spec.VIRTIO_NET_F_STATUS, true, 'say whether the link is up'],
  ['ctrl_vq', spec.VIRTIO_NET_F_CTRL_VQ, true, 'have a control queue'],
  ['ctrl_rx', spec.VIRTIO_NET_F_CTRL_RX, true, 'have receive filters'],
  ['ctrl_vlan', spec.VIRTIO_NET_F_CTRL_VLAN, true, 'have VLAN filters'],
  ['ctrl_rx_extra', spec.VIRTIO_NET_F_CTRL_RX_EXTRA, true, 'have more receive filters'],
  ['ctrl_mac_addr', spec.VIRTIO_NET_F_CTRL_MAC_ADDR, true, 'let the driver set the MAC address by the control queue'],
  ['ctrl_guest_offloads', spec.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, true, 'let the driver switch receive offloads'],
  ['rss', spec.VIRTIO_NET_F_RSS, false, "spread packets over the queues by their flow's hash"],
  ['hash', spec.VIRTIO_NET_F_HASH_REPORT, false, 'give the hash with each packet'],
];

const QUEUE_SIZE = { kind: 'u16', default: 256, min: 256, max: 1024, powerOf2: true } as const;

const PROPERTIES: readonly PropertySpec[] = [
  { name: 'mac', kind: 'string', default: null, description: 'MAC address; by default 52:54:00:12:34:56 and up' },
  { name: 'netdev', kind: 'link', target: 'netdev', default: null, description: 'id of the -netdev behind it' },
  ...FEATURES.map(([name, , on, description]): PropertySpec => ({ name, kind: 'bit', default: on, description })),
  { name: 'mq', kind: 'bit', default: false, description: 'have as many queue pairs as queues= of the netdev says' },
  { name: 'host_mtu', kind: 'u16', default: 0, unit: 'bytes', description: 'largest MTU, bytes; 0: not said' },
  { name: 'speed', kind: 'i32', default: -1, min: -1, unit: 'Mbit/s', description: 'Mbit/s; -1: not said' },
  { name: 'duplex', kind: 'enum', values: ['half', 'full'], default: null, description: 'duplex; by default not said' },
  { name: 'rx_queue_size', ...QUEUE_SIZE, description: 'entries of a receive queue' },
  { name: 'tx_queue_size', ...QUEUE_SIZE, description: 'entries of a transmit queue' },
];

/** QEMU's default addresses are these and a number. */
const DEFAULT_MAC = [0x52, 0x54, 0x00, 0x12, 0x34];
const DEFAULT_MAC_LAST = 0x56;
/** Cards of a machine that have been given a default address. */
const defaults = new WeakMap<object, number>();

function macOf(id: string, text: string | null, { memory }: DeviceContext): Uint8Array {
  if (text === null) {
    const count = defaults.get(memory) ?? 0;
    defaults.set(memory, count + 1);
    return Uint8Array.of(...DEFAULT_MAC, (DEFAULT_MAC_LAST + count) & 0xff);
  }
  const mac = parseMac(text);
  if (!mac) throw new RingsideError('bad-option', `${id}: mac=${text} is no MAC address, such as 52:54:00:12:34:56.`);
  return mac;
}

/** 0 and -1 stand for "not said". */
function option<K extends string>(key: K, value: number, unsaid: number): Partial<Record<K, number>> {
  return value === unsaid ? {} : ({ [key]: value } as Record<K, number>);
}

export const NET_TYPE: VirtioDeviceType = {
  base: 'virtio-net',
  virtioId: VIRTIO_ID_NETWORK,
  description: 'network card',
  category: 'network',
  pciClass: 0x0200,
  transitionalId: 0x1000,
  vectors: (queues) => queues + 1,
  properties: PROPERTIES,
  create(id, values, context) {
    const mac = macOf(id, values['mac'] as string | null, context);
    context.choose('mac', macText(mac));
    const netdevId = values['netdev'] as string | null;
    if (netdevId === null) context.warn(`${id} has no netdev=: its cable is plugged into nothing.`);
    const netdev = netdevId === null ? null : context.backend<Netdev>('netdev', netdevId);
    const nic = netdev?.connectNic();
    if (nic) context.onClose(() => nic.close());
    const duplex = values['duplex'] as 'half' | 'full' | null;
    const device = new NetDevice({
      id,
      mac,
      rings: nic?.rings ?? createNicRings(createDoorbell()),
      features: FEATURES.filter(([name]) => values[name] === true).map(([, bit]) => bit),
      queuePairs: values['mq'] === true ? Math.min(netdev?.queues ?? 1, MAX_QUEUE_PAIRS) : 1,
      rxQueueSize: values['rx_queue_size'] as number,
      txQueueSize: values['tx_queue_size'] as number,
      ...option('mtu', values['host_mtu'] as number, 0),
      ...option('speed', values['speed'] as number, -1),
      ...(duplex === null ? {} : { duplex }),
    });
    if (netdev && nic) {
      device.setNetdevLink(netdev.linkUp);
      nic.onLink = (up) => device.setNetdevLink(up);
    }
    return device;
  },
};
