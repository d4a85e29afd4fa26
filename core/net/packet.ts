/** Where the headers of a frame are. Every offset is checked: frames come from guests and from the network. */
import { ETHERNET_HEADER_BYTES } from './frame.ts';

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_SERVICE_VLAN = 0x88a8;
const TAG_BYTES = 4;
/** Tags that are looked behind. */
const TAGS_MAX = 2;

export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
const IPPROTO_HOPOPTS = 0;
const IPPROTO_ROUTING = 43;
const IPPROTO_FRAGMENT = 44;
const IPPROTO_DSTOPTS = 60;

export const IPV6_HEADER_BYTES = 40;
/** Extension headers that are looked behind. */
const EXTENSIONS_MAX = 8;

/** RFC 6275, section 6.3 and 6.4. */
const OPTION_PAD1 = 0;
const OPTION_HOME_ADDRESS = 0xc9;
const ROUTING_TYPE_2 = 2;

export interface IpPacket {
  version: 4 | 6;
  /** Offsets into the frame: of the IP header, of what it carries, and behind that. */
  ip: number;
  transport: number;
  end: number;
  /** IPPROTO_* of what it carries, behind IPv6 extension headers. */
  protocol: number;
  /** The packet is a fragment: no transport header can be relied on. */
  fragment: boolean;
  /** IPv6: there are extension headers. */
  extended: boolean;
  /** Offsets of the addresses that flows are told by: those of the IP header, or what mobile IPv6 puts in their place. */
  source: number;
  destination: number;
}

export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** The IP packet in a frame, tagged or not; null when there is none or its lengths do not fit. */
export function parseIp(bytes: Uint8Array): IpPacket | null {
  let at = ETHERNET_HEADER_BYTES;
  if (bytes.length < at) return null;
  let type = readU16(bytes, at - 2);
  for (let tags = 0; type === ETHERTYPE_VLAN || type === ETHERTYPE_SERVICE_VLAN; tags++) {
    if (tags === TAGS_MAX || bytes.length < at + TAG_BYTES) return null;
    at += TAG_BYTES;
    type = readU16(bytes, at - 2);
  }
  if (type === ETHERTYPE_IPV4) return parseIpv4(bytes, at);
  return type === ETHERTYPE_IPV6 ? parseIpv6(bytes, at) : null;
}

function parseIpv4(bytes: Uint8Array, ip: number): IpPacket | null {
  if (bytes.length < ip + 20 || bytes[ip] >> 4 !== 4) return null;
  const transport = ip + 4 * (bytes[ip] & 15);
  const end = ip + readU16(bytes, ip + 2);
  if (transport < ip + 20 || end < transport || end > bytes.length) return null;
  return {
    version: 4,
    ip,
    transport,
    end,
    protocol: bytes[ip + 9],
    // MF and the offset.
    fragment: (readU16(bytes, ip + 6) & 0x3fff) !== 0,
    extended: false,
    source: ip + 12,
    destination: ip + 16,
  };
}

function parseIpv6(bytes: Uint8Array, ip: number): IpPacket | null {
  if (bytes.length < ip + IPV6_HEADER_BYTES || bytes[ip] >> 4 !== 6) return null;
  const end = ip + IPV6_HEADER_BYTES + readU16(bytes, ip + 4);
  if (end > bytes.length) return null;
  const packet: IpPacket = {
    version: 6,
    ip,
    transport: ip + IPV6_HEADER_BYTES,
    end,
    protocol: bytes[ip + 6],
    fragment: false,
    extended: false,
    source: ip + 8,
    destination: ip + 24,
  };
  for (let seen = 0; isExtension(packet.protocol); seen++) {
    const at = packet.transport;
    if (seen === EXTENSIONS_MAX || at + 8 > end) return null;
    const bytesOf = packet.protocol === IPPROTO_FRAGMENT ? 8 : 8 * (bytes[at + 1] + 1);
    if (at + bytesOf > end) return null;
    packet.extended = true;
    if (packet.protocol === IPPROTO_FRAGMENT && (readU16(bytes, at + 2) & 0xfff9) !== 0) packet.fragment = true;
    if (packet.protocol === IPPROTO_DSTOPTS) packet.source = homeAddress(bytes, at, at + bytesOf) ?? packet.source;
    if (packet.protocol === IPPROTO_ROUTING && bytes[at + 2] === ROUTING_TYPE_2 && bytesOf === 24) {
      packet.destination = at + 8;
    }
    packet.protocol = bytes[at];
    packet.transport = at + bytesOf;
  }
  return packet;
}

function isExtension(protocol: number): boolean {
  return (
    protocol === IPPROTO_HOPOPTS ||
    protocol === IPPROTO_ROUTING ||
    protocol === IPPROTO_FRAGMENT ||
    protocol === IPPROTO_DSTOPTS
  );
}

/** Where the home address option of a destination options header has its address. */
function homeAddress(bytes: Uint8Array, header: number, end: number): number | null {
  for (let at = header + 2; at < end;) {
    if (bytes[at] === OPTION_PAD1) {
      at++;
      continue;
    }
    if (at + 2 > end) return null;
    const length = bytes[at + 1];
    if (bytes[at] === OPTION_HOME_ADDRESS) return length === 16 && at + 18 <= end ? at + 2 : null;
    at += 2 + length;
  }
  return null;
}
