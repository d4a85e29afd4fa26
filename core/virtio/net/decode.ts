/** Packets and control commands for people (virtio 1.3, sections 5.1.6 and 5.1.6.5). */
import { FieldReader, PLAIN_QUEUE, codeName, hexBytes, peek } from '../decoder.ts';
import type { ByteSource, DecodedField, NamedCode, QueueDecoder } from '../decoder.ts';
import { hasFeature } from '../spec/features.ts';
import * as spec from '../spec/net.ts';

const GSO_TYPES: readonly NamedCode[] = [
  { code: 0, name: 'VIRTIO_NET_HDR_GSO_NONE' },
  { code: 1, name: 'VIRTIO_NET_HDR_GSO_TCPV4' },
  { code: 3, name: 'VIRTIO_NET_HDR_GSO_UDP' },
  { code: 4, name: 'VIRTIO_NET_HDR_GSO_TCPV6' },
  { code: 5, name: 'VIRTIO_NET_HDR_GSO_UDP_L4' },
];
const NEEDS_CSUM = 1;
const GSO_ECN = 0x80;
/** What may be asked for only where the feature is negotiated: GSO types, and classes of commands. */
const GSO_NEEDED = [
  { code: 1, feature: spec.VIRTIO_NET_F_HOST_TSO4, name: 'VIRTIO_NET_F_HOST_TSO4' },
  { code: 3, feature: spec.VIRTIO_NET_F_HOST_UFO, name: 'VIRTIO_NET_F_HOST_UFO' },
  { code: 4, feature: spec.VIRTIO_NET_F_HOST_TSO6, name: 'VIRTIO_NET_F_HOST_TSO6' },
  { code: 5, feature: spec.VIRTIO_NET_F_HOST_USO, name: 'VIRTIO_NET_F_HOST_USO' },
];
const CLASSES_NEEDED = [
  { code: spec.NET_CTRL_RX, features: [spec.VIRTIO_NET_F_CTRL_RX], name: 'VIRTIO_NET_F_CTRL_RX' },
  { code: spec.NET_CTRL_VLAN, features: [spec.VIRTIO_NET_F_CTRL_VLAN], name: 'VIRTIO_NET_F_CTRL_VLAN' },
  { code: spec.NET_CTRL_ANNOUNCE, features: [spec.VIRTIO_NET_F_GUEST_ANNOUNCE], name: 'VIRTIO_NET_F_GUEST_ANNOUNCE' },
  {
    code: spec.NET_CTRL_MQ,
    features: [spec.VIRTIO_NET_F_MQ, spec.VIRTIO_NET_F_RSS, spec.VIRTIO_NET_F_HASH_REPORT],
    name: 'VIRTIO_NET_F_MQ',
  },
  {
    code: spec.NET_CTRL_GUEST_OFFLOADS,
    features: [spec.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS],
    name: 'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS',
  },
];
const HEADER_FLAGS = ['NEEDS_CSUM', 'DATA_VALID', 'RSC_INFO'];
const ETHERTYPES: readonly NamedCode[] = [
  { code: 0x0800, name: 'IPv4' },
  { code: 0x0806, name: 'ARP' },
  { code: 0x8100, name: '802.1Q' },
  { code: 0x86dd, name: 'IPv6' },
];
const ETHERTYPE = 2 * spec.MAC_BYTES;

/** Class in the upper byte, command in the lower. */
const COMMANDS: readonly NamedCode[] = [
  ...(
    [
      [spec.NET_CTRL_RX, 'RX', ['PROMISC', 'ALLMULTI', 'ALLUNI', 'NOMULTI', 'NOUNI', 'NOBCAST']],
      [spec.NET_CTRL_MAC, 'MAC', ['TABLE_SET', 'ADDR_SET']],
      [spec.NET_CTRL_VLAN, 'VLAN', ['ADD', 'DEL']],
      [spec.NET_CTRL_ANNOUNCE, 'ANNOUNCE', ['ACK']],
      [spec.NET_CTRL_MQ, 'MQ', ['VQ_PAIRS_SET', 'RSS_CONFIG', 'HASH_CONFIG']],
      [spec.NET_CTRL_GUEST_OFFLOADS, 'GUEST_OFFLOADS', ['SET']],
    ] as const
  ).flatMap(([kind, name, commands]) =>
    commands.map((command, i) => ({ code: (kind << 8) | i, name: `VIRTIO_NET_CTRL_${name}_${command}` })),
  ),
];
const ACKS: readonly NamedCode[] = [
  { code: spec.NET_ERR, name: 'VIRTIO_NET_ERR' },
  { code: spec.NET_OK, name: 'VIRTIO_NET_OK' },
];

const mac = (bytes: Uint8Array): string => hexBytes(bytes).replaceAll(' ', ':');
const flagNames = (value: bigint): string =>
  HEADER_FLAGS.filter((_, bit) => (Number(value) >> bit) & 1).join(' | ') || '0';

/** The modern header; legacy drivers without mergeable buffers leave out num_buffers (section 5.1.6.1). */
function packetFields(part: 'readable' | 'writable', source: ByteSource, length: number): DecodedField[] {
  const fields: DecodedField[] = [];
  const header = new FieldReader(part, source, fields);
  header.number('flags', spec.NET_HDR_FLAGS, 1, flagNames);
  header.number('gso_type', spec.NET_HDR_GSO_TYPE, 1, (value) => codeName(GSO_TYPES, Number(value)));
  header.number('hdr_len', spec.NET_HDR_HDR_LEN, 2);
  header.number('gso_size', spec.NET_HDR_GSO_SIZE, 2);
  header.number('csum_start', spec.NET_HDR_CSUM_START, 2);
  header.number('csum_offset', spec.NET_HDR_CSUM_OFFSET, 2);
  header.number('num_buffers', spec.NET_HDR_NUM_BUFFERS, 2);
  const frame = spec.NET_HDR_BYTES;
  header.bytes('eth.dst', frame, spec.MAC_BYTES, mac);
  header.bytes('eth.src', frame + spec.MAC_BYTES, spec.MAC_BYTES, mac);
  header.number('eth.type', frame + ETHERTYPE, 2, (value) => {
    const type = ((Number(value) & 0xff) << 8) | (Number(value) >> 8);
    return codeName(ETHERTYPES, type);
  });
  header.bytes('payload', frame + ETHERTYPE + 2, length - frame - ETHERTYPE - 2);
  return fields;
}

const RECEIVEQ: QueueDecoder = {
  ...PLAIN_QUEUE,
  fields: (_readable, writable, written) => (written === null ? [] : packetFields('writable', writable, written)),
  lint(_readable, writable, found) {
    if (writable.length < spec.NET_HDR_BYTES) found('net-receive-small', () => `a buffer of ${writable.length} bytes`);
  },
};

const TRANSMITQ: QueueDecoder = {
  ...PLAIN_QUEUE,
  purpose: 'requests',
  types: GSO_TYPES,
  summarize(readable, _writable, summary) {
    summary.type = peek(readable, spec.NET_HDR_GSO_TYPE, 1);
    summary.detail = summary.span = 0;
  },
  fields: (readable) => packetFields('readable', readable, readable.length),
  lint(readable, _writable, found, features) {
    const flags = peek(readable, spec.NET_HDR_FLAGS, 1);
    if (flags & NEEDS_CSUM && !hasFeature(features, spec.VIRTIO_NET_F_CSUM)) {
      found('not-negotiated', () => 'NEEDS_CSUM without VIRTIO_NET_F_CSUM');
    }
    const type = peek(readable, spec.NET_HDR_GSO_TYPE, 1) & ~GSO_ECN;
    const needed = GSO_NEEDED.find(({ code }) => code === type);
    // Legacy drivers may have accepted GSO as a whole.
    if (needed && ![needed.feature, spec.VIRTIO_NET_F_GSO].some((feature) => hasFeature(features, feature))) {
      found('not-negotiated', () => `${codeName(GSO_TYPES, type)} without ${needed.name}`);
    }
    if (flags & ~NEEDS_CSUM) found('net-flags', () => `flags 0x${flags.toString(16)}`);
    const buffers = peek(readable, spec.NET_HDR_NUM_BUFFERS, 2);
    if (buffers !== 0) found('net-num-buffers', () => `num_buffers ${buffers}`);
  },
};

const CONTROLQ: QueueDecoder = {
  purpose: 'requests',
  types: COMMANDS,
  statuses: ACKS,
  detail: null,
  summarize(readable, _writable, summary) {
    summary.type = (peek(readable, 0, 1) << 8) | peek(readable, 1, 1);
    summary.detail = summary.span = 0;
  },
  status: (_readable, writable) => peek(writable, writable.length - 1, 1),
  fields(readable, writable, written) {
    const fields: DecodedField[] = [];
    const header = new FieldReader('readable', readable, fields);
    header.number('class', 0, 1);
    const kind = peek(readable, 0, 1);
    header.number('command', 1, 1, (value) => codeName(COMMANDS, (kind << 8) | Number(value)));
    header.bytes('data', spec.NET_CTRL_HEADER_BYTES, readable.length - spec.NET_CTRL_HEADER_BYTES);
    if (written !== null) {
      const ack = (value: bigint): string => codeName(ACKS, Number(value));
      new FieldReader('writable', writable, fields).number('ack', writable.length - 1, 1, ack);
    }
    return fields;
  },
  lint(readable, _writable, found, features) {
    const kind = peek(readable, 0, 1);
    const needed = CLASSES_NEEDED.find(({ code }) => code === kind);
    if (needed && !needed.features.some((feature) => hasFeature(features, feature))) {
      found('not-negotiated', () => `a command of class ${kind} without ${needed.name}`);
    }
  },
  refuse(_readable, writable, status) {
    return writable.length === 0 ? 0 : writable.copyIn(writable.length - 1, Uint8Array.of(status));
  },
};

export function netQueue(queue: string): QueueDecoder {
  if (queue === 'controlq') return CONTROLQ;
  return queue.startsWith('receiveq') ? RECEIVEQ : TRANSMITQ;
}
