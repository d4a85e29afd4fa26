/** Network device (virtio 1.3, section 5.1). */
import type { FeatureInfo } from './features.ts';

// Feature bits (section 5.1.3).
export const VIRTIO_NET_F_CSUM = 0;
export const VIRTIO_NET_F_GUEST_CSUM = 1;
export const VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2;
export const VIRTIO_NET_F_MTU = 3;
export const VIRTIO_NET_F_MAC = 5;
/** Legacy: any GSO (section 5.1.3.2). */
export const VIRTIO_NET_F_GSO = 6;
export const VIRTIO_NET_F_GUEST_TSO4 = 7;
export const VIRTIO_NET_F_GUEST_TSO6 = 8;
export const VIRTIO_NET_F_GUEST_ECN = 9;
export const VIRTIO_NET_F_GUEST_UFO = 10;
export const VIRTIO_NET_F_HOST_TSO4 = 11;
export const VIRTIO_NET_F_HOST_TSO6 = 12;
export const VIRTIO_NET_F_HOST_ECN = 13;
export const VIRTIO_NET_F_HOST_UFO = 14;
export const VIRTIO_NET_F_MRG_RXBUF = 15;
export const VIRTIO_NET_F_STATUS = 16;
export const VIRTIO_NET_F_CTRL_VQ = 17;
export const VIRTIO_NET_F_CTRL_RX = 18;
export const VIRTIO_NET_F_CTRL_VLAN = 19;
export const VIRTIO_NET_F_CTRL_RX_EXTRA = 20;
export const VIRTIO_NET_F_GUEST_ANNOUNCE = 21;
export const VIRTIO_NET_F_MQ = 22;
export const VIRTIO_NET_F_CTRL_MAC_ADDR = 23;
export const VIRTIO_NET_F_GUEST_USO4 = 54;
export const VIRTIO_NET_F_GUEST_USO6 = 55;
export const VIRTIO_NET_F_HOST_USO = 56;
export const VIRTIO_NET_F_HASH_REPORT = 57;
export const VIRTIO_NET_F_RSS = 60;
export const VIRTIO_NET_F_SPEED_DUPLEX = 63;

const guest = (what: string): string => `the driver takes ${what}`;
const host = (what: string): string => `the device takes ${what}`;

/** With what section 5.1.3.1 has them require. */
export const NET_FEATURES: readonly FeatureInfo[] = [
  { bit: VIRTIO_NET_F_CSUM, name: 'VIRTIO_NET_F_CSUM', help: host('packets whose checksum is to be filled in') },
  { bit: VIRTIO_NET_F_GUEST_CSUM, name: 'VIRTIO_NET_F_GUEST_CSUM', help: guest('packets with partial checksum') },
  {
    bit: VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
    name: 'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS',
    help: 'receive offloads can be switched by the control queue',
    requires: [VIRTIO_NET_F_CTRL_VQ],
  },
  { bit: VIRTIO_NET_F_MTU, name: 'VIRTIO_NET_F_MTU', help: 'the device says the largest MTU' },
  { bit: VIRTIO_NET_F_MAC, name: 'VIRTIO_NET_F_MAC', help: 'the device gives the MAC address' },
  { bit: VIRTIO_NET_F_GSO, name: 'VIRTIO_NET_F_GSO', help: host('packets of any GSO type (legacy)') },
  {
    bit: VIRTIO_NET_F_GUEST_TSO4,
    name: 'VIRTIO_NET_F_GUEST_TSO4',
    help: guest('TCP packets over IPv4 of up to 64 KiB'),
    requires: [VIRTIO_NET_F_GUEST_CSUM],
  },
  {
    bit: VIRTIO_NET_F_GUEST_TSO6,
    name: 'VIRTIO_NET_F_GUEST_TSO6',
    help: guest('TCP packets over IPv6 of up to 64 KiB'),
    requires: [VIRTIO_NET_F_GUEST_CSUM],
  },
  {
    bit: VIRTIO_NET_F_GUEST_ECN,
    name: 'VIRTIO_NET_F_GUEST_ECN',
    help: guest('large TCP packets with ECN'),
  },
  {
    bit: VIRTIO_NET_F_GUEST_UFO,
    name: 'VIRTIO_NET_F_GUEST_UFO',
    help: guest('UDP datagrams that are yet to be fragmented'),
    requires: [VIRTIO_NET_F_GUEST_CSUM],
  },
  {
    bit: VIRTIO_NET_F_HOST_TSO4,
    name: 'VIRTIO_NET_F_HOST_TSO4',
    help: host('TCP packets over IPv4 of up to 64 KiB'),
    requires: [VIRTIO_NET_F_CSUM],
  },
  {
    bit: VIRTIO_NET_F_HOST_TSO6,
    name: 'VIRTIO_NET_F_HOST_TSO6',
    help: host('TCP packets over IPv6 of up to 64 KiB'),
    requires: [VIRTIO_NET_F_CSUM],
  },
  { bit: VIRTIO_NET_F_HOST_ECN, name: 'VIRTIO_NET_F_HOST_ECN', help: host('large TCP packets with ECN') },
  {
    bit: VIRTIO_NET_F_HOST_UFO,
    name: 'VIRTIO_NET_F_HOST_UFO',
    help: host('UDP datagrams that are yet to be fragmented'),
    requires: [VIRTIO_NET_F_CSUM],
  },
  { bit: VIRTIO_NET_F_MRG_RXBUF, name: 'VIRTIO_NET_F_MRG_RXBUF', help: 'a packet may span several receive buffers' },
  { bit: VIRTIO_NET_F_STATUS, name: 'VIRTIO_NET_F_STATUS', help: 'the configuration says whether the link is up' },
  { bit: VIRTIO_NET_F_CTRL_VQ, name: 'VIRTIO_NET_F_CTRL_VQ', help: 'there is a control queue' },
  {
    bit: VIRTIO_NET_F_CTRL_RX,
    name: 'VIRTIO_NET_F_CTRL_RX',
    help: 'receive filters: promiscuous, all multicast, MAC addresses',
    requires: [VIRTIO_NET_F_CTRL_VQ],
  },
  {
    bit: VIRTIO_NET_F_CTRL_VLAN,
    name: 'VIRTIO_NET_F_CTRL_VLAN',
    help: 'VLAN filters',
    requires: [VIRTIO_NET_F_CTRL_VQ],
  },
  {
    bit: VIRTIO_NET_F_CTRL_RX_EXTRA,
    name: 'VIRTIO_NET_F_CTRL_RX_EXTRA',
    help: 'receive filters: all unicast, no multicast, no unicast, no broadcast',
    requires: [VIRTIO_NET_F_CTRL_VQ],
  },
  {
    bit: VIRTIO_NET_F_GUEST_ANNOUNCE,
    name: 'VIRTIO_NET_F_GUEST_ANNOUNCE',
    help: 'the driver announces itself (gratuitous ARP) when asked',
    requires: [VIRTIO_NET_F_CTRL_VQ],
  },
  {
    bit: VIRTIO_NET_F_MQ,
    name: 'VIRTIO_NET_F_MQ',
    help: 'more than one pair of queues',
    requires: [VIRTIO_NET_F_CTRL_VQ],
  },
  {
    bit: VIRTIO_NET_F_CTRL_MAC_ADDR,
    name: 'VIRTIO_NET_F_CTRL_MAC_ADDR',
    help: 'the MAC address is set by the control queue',
    requires: [VIRTIO_NET_F_CTRL_VQ],
  },
  {
    bit: VIRTIO_NET_F_GUEST_USO4,
    name: 'VIRTIO_NET_F_GUEST_USO4',
    help: guest('UDP segmentation over IPv4'),
    requires: [VIRTIO_NET_F_GUEST_CSUM],
  },
  {
    bit: VIRTIO_NET_F_GUEST_USO6,
    name: 'VIRTIO_NET_F_GUEST_USO6',
    help: guest('UDP segmentation over IPv6'),
    requires: [VIRTIO_NET_F_GUEST_CSUM],
  },
  {
    bit: VIRTIO_NET_F_HOST_USO,
    name: 'VIRTIO_NET_F_HOST_USO',
    help: host('UDP packets that are yet to be cut into datagrams'),
    requires: [VIRTIO_NET_F_CSUM],
  },
  {
    bit: VIRTIO_NET_F_HASH_REPORT,
    name: 'VIRTIO_NET_F_HASH_REPORT',
    help: "each received packet comes with its flow's hash",
    requires: [VIRTIO_NET_F_CTRL_VQ],
  },
  {
    bit: VIRTIO_NET_F_RSS,
    name: 'VIRTIO_NET_F_RSS',
    help: "received packets are spread over the queues by their flow's hash",
    requires: [VIRTIO_NET_F_CTRL_VQ],
  },
  { bit: VIRTIO_NET_F_SPEED_DUPLEX, name: 'VIRTIO_NET_F_SPEED_DUPLEX', help: 'the device says speed and duplex' },
];

// struct virtio_net_config (section 5.1.4): offsets.
export const NET_CONFIG_MAC = 0;
export const NET_CONFIG_STATUS = 6;
export const NET_CONFIG_MAX_VIRTQUEUE_PAIRS = 8;
export const NET_CONFIG_MTU = 10;
export const NET_CONFIG_SPEED = 12;
export const NET_CONFIG_DUPLEX = 16;
export const NET_CONFIG_RSS_MAX_KEY_SIZE = 17;
export const NET_CONFIG_RSS_MAX_INDIRECTION_TABLE_LENGTH = 18;
export const NET_CONFIG_SUPPORTED_HASH_TYPES = 20;
export const NET_CONFIG_BYTES = 24;

export const VIRTIO_NET_S_LINK_UP = 1;
export const VIRTIO_NET_S_ANNOUNCE = 2;

export const NET_SPEED_UNKNOWN = 0xffff_ffff;
export const NET_DUPLEX_HALF = 0;
export const NET_DUPLEX_FULL = 1;
export const NET_DUPLEX_UNKNOWN = 0xff;

// struct virtio_net_hdr (section 5.1.6): offsets.
export const NET_HDR_FLAGS = 0;
export const NET_HDR_GSO_TYPE = 1;
export const NET_HDR_HDR_LEN = 2;
export const NET_HDR_GSO_SIZE = 4;
export const NET_HDR_CSUM_START = 6;
export const NET_HDR_CSUM_OFFSET = 8;
export const NET_HDR_NUM_BUFFERS = 10;
export const NET_HDR_HASH_VALUE = 12;
export const NET_HDR_HASH_REPORT = 16;
/** Legacy without VIRTIO_NET_F_MRG_RXBUF (section 5.1.6.1). */
export const NET_HDR_LEGACY_BYTES = 10;
export const NET_HDR_BYTES = 12;
/** With VIRTIO_NET_F_HASH_REPORT. */
export const NET_HDR_HASH_BYTES = 20;

// Control queue (section 5.1.6.5): classes and their commands.
export const NET_OK = 0;
export const NET_ERR = 1;
export const NET_CTRL_HEADER_BYTES = 2;
export const NET_CTRL_RX = 0;
export const NET_CTRL_RX_PROMISC = 0;
export const NET_CTRL_RX_ALLMULTI = 1;
export const NET_CTRL_RX_ALLUNI = 2;
export const NET_CTRL_RX_NOMULTI = 3;
export const NET_CTRL_RX_NOUNI = 4;
export const NET_CTRL_RX_NOBCAST = 5;
export const NET_CTRL_MAC = 1;
export const NET_CTRL_MAC_TABLE_SET = 0;
export const NET_CTRL_MAC_ADDR_SET = 1;
export const NET_CTRL_VLAN = 2;
export const NET_CTRL_VLAN_ADD = 0;
export const NET_CTRL_VLAN_DEL = 1;
export const NET_CTRL_ANNOUNCE = 3;
export const NET_CTRL_ANNOUNCE_ACK = 0;
export const NET_CTRL_MQ = 4;
export const NET_CTRL_MQ_VQ_PAIRS_SET = 0;
export const NET_CTRL_MQ_RSS_CONFIG = 1;
export const NET_CTRL_MQ_HASH_CONFIG = 2;
export const NET_CTRL_GUEST_OFFLOADS = 5;
export const NET_CTRL_GUEST_OFFLOADS_SET = 0;

export const MAC_BYTES = 6;

// Hash types (section 5.1.6.4.3) and what is reported (section 5.1.6.4.4).
export const HASH_TYPE_IPV4 = 1 << 0;
export const HASH_TYPE_TCPV4 = 1 << 1;
export const HASH_TYPE_UDPV4 = 1 << 2;
export const HASH_TYPE_IPV6 = 1 << 3;
export const HASH_TYPE_TCPV6 = 1 << 4;
export const HASH_TYPE_UDPV6 = 1 << 5;
export const HASH_TYPE_IP_EX = 1 << 6;
export const HASH_TYPE_TCP_EX = 1 << 7;
export const HASH_TYPE_UDP_EX = 1 << 8;
export const HASH_TYPES_ALL = 0x1ff;
export const HASH_REPORT_NONE = 0;
export const HASH_REPORT_IPV4 = 1;
export const HASH_REPORT_TCPV4 = 2;
export const HASH_REPORT_UDPV4 = 3;
export const HASH_REPORT_IPV6 = 4;
export const HASH_REPORT_TCPV6 = 5;
export const HASH_REPORT_UDPV6 = 6;
export const HASH_REPORT_IPV6_EX = 7;
export const HASH_REPORT_TCPV6_EX = 8;
export const HASH_REPORT_UDPV6_EX = 9;

/** Bytes of the hash key: that of Toeplitz over two IPv6 addresses and two ports. */
export const RSS_KEY_BYTES = 40;
/** QEMU's VIRTIO_NET_RSS_MAX_TABLE_LEN. */
export const RSS_TABLE_MAX = 128;
