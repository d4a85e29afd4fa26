/**
 * In software what a taker of frames cannot do: cutting a packet into segments or fragments, and filling in checksums. What
 * comes out is what hardware would have put on the wire.
 */
import { randomInt } from 'node:crypto';

import {
  Frame,
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP,
  GSO_UDP_L4,
  HDR_F_DATA_VALID,
  HDR_F_NEEDS_CSUM,
  OFFLOAD_CSUM,
  OFFLOAD_ECN,
  OFFLOAD_TSO4,
  OFFLOAD_TSO6,
  OFFLOAD_UFO,
  OFFLOAD_USO4,
  OFFLOAD_USO6,
} from './frame.ts';
import { checksumOf, fillChecksum, fold, pseudoHeaderSum, sum, writeIpv4Checksum } from './checksum.ts';
import {
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPV6_HEADER_BYTES,
  parseIp,
  readU16,
  readU32,
  writeU16,
  writeU32,
} from './packet.ts';
import type { IpPacket } from './packet.ts';

/** Linux's TCP_MIN_GSO_SIZE: shorter segments would only multiply work. */
export const GSO_SIZE_MIN = 8;

const TCP_HEADER_MIN = 20;
const TCP_SEQUENCE = 4;
const TCP_DATA_OFFSET = 12;
const TCP_FLAGS = 13;
const TCP_CHECKSUM = 16;
const TCP_FIN = 0x01;
const TCP_PSH = 0x08;
const TCP_CWR = 0x80;

const UDP_HEADER = 8;
const UDP_LENGTH = 4;
const UDP_CHECKSUM = 6;

const IPV4_TOTAL_LENGTH = 2;
const IPV4_ID = 4;
const IPV4_FRAGMENT = 6;
const IPV4_MF = 0x2000;
const IPV4_OFFSET_MASK = 0x1fff;
const IPV6_PAYLOAD_LENGTH = 4;
const IPV6_NEXT_HEADER = 6;
const IPV6_FRAGMENT_HEADER = 8;
const IPPROTO_FRAGMENT = 44;
/** Fragment offsets count in units of 8 bytes. */
const FRAGMENT_UNIT = 8;

/** Whether a taker with these OFFLOAD_* takes the frame as it is. */
export function canTake({ flags, gsoType, data }: Frame, offloads: number): boolean {
  if ((flags & HDR_F_NEEDS_CSUM) !== 0 && (offloads & OFFLOAD_CSUM) === 0) return false;
  if (gsoType === GSO_NONE) return true;
  if ((gsoType & GSO_ECN) !== 0 && (offloads & OFFLOAD_ECN) === 0) return false;
  switch (gsoType & ~GSO_ECN) {
    case GSO_TCPV4:
      return (offloads & OFFLOAD_TSO4) !== 0;
    case GSO_TCPV6:
      return (offloads & OFFLOAD_TSO6) !== 0;
    case GSO_UDP:
      return (offloads & OFFLOAD_UFO) !== 0;
    case GSO_UDP_L4:
      return (offloads & (parseIp(data)?.version === 6 ? OFFLOAD_USO6 : OFFLOAD_USO4)) !== 0;
    default:
      return false;
  }
}

/**
 * What a taker is to be given in place of a frame.
 *
 * @param offloads OFFLOAD_* of the taker
 * @returns the frame itself, maybe with its checksum filled in, or the pieces of it; nothing when what it says of itself
 *   is not true
 */
export function adapt(frame: Frame, offloads: number): Frame[] {
  if (canTake(frame, offloads)) return [frame];
  if (frame.gsoType === GSO_NONE) {
    if (!fillChecksum(frame.data, frame.csumStart, frame.csumOffset)) return [];
    frame.clearMeta();
    frame.flags = HDR_F_DATA_VALID;
    return [frame];
  }
  const packet = parseIp(frame.data);
  if (!packet || packet.fragment || frame.gsoSize < GSO_SIZE_MIN) return [];
  const { version, protocol } = packet;
  const leaveChecksum = (offloads & OFFLOAD_CSUM) !== 0;
  switch (frame.gsoType & ~GSO_ECN) {
    case GSO_TCPV4:
    case GSO_TCPV6: {
      const wanted = (frame.gsoType & ~GSO_ECN) === GSO_TCPV4 ? 4 : 6;
      return version === wanted && protocol === IPPROTO_TCP ? cutTcp(frame, packet, leaveChecksum) : [];
    }
    case GSO_UDP:
      return protocol === IPPROTO_UDP ? fragment(frame, packet) : [];
    case GSO_UDP_L4:
      return protocol === IPPROTO_UDP ? cutUdp(frame, packet, leaveChecksum) : [];
    default:
      return [];
  }
}

interface Cut {
  /** Bytes of link, network and transport headers. */
  readonly headers: number;
  readonly checksumOffset: number;
  readonly leaveChecksum: boolean;
  /** Makes the copied transport header that of the segment whose payload begins `at` bytes into the whole payload. */
  header(bytes: Uint8Array, at: number, length: number, last: boolean): void;
}

/** Copies headers and a piece of payload for each segment, all in one buffer. */
function cut(
  { data, gsoSize }: Frame,
  packet: IpPacket,
  { headers, checksumOffset, leaveChecksum, header }: Cut,
): Frame[] {
  const { ip, transport, end, version } = packet;
  const payload = end - headers;
  const count = Math.max(1, Math.ceil(payload / gsoSize));
  const all = new Uint8Array(count * headers + payload);
  const id = readU16(data, ip + IPV4_ID);
  const frames: Frame[] = [];
  let to = 0;
  for (let i = 0; i < count; i++) {
    const at = i * gsoSize;
    const length = Math.min(gsoSize, payload - at);
    const bytes = all.subarray(to, to + headers + length);
    to += bytes.length;
    bytes.set(data.subarray(0, headers));
    bytes.set(data.subarray(headers + at, headers + at + length), headers);
    if (version === 4) {
      writeU16(bytes, ip + IPV4_TOTAL_LENGTH, bytes.length - ip);
      writeU16(bytes, ip + IPV4_ID, id + i);
      writeIpv4Checksum(bytes, ip, transport - ip);
    } else {
      writeU16(bytes, ip + IPV6_PAYLOAD_LENGTH, bytes.length - ip - IPV6_HEADER_BYTES);
    }
    header(bytes, at, length, i === count - 1);
    frames.push(checksummed(bytes, packet, checksumOffset, leaveChecksum));
  }
  return frames;
}

/** Fills in the transport checksum, or leaves it to the taker. */
function checksummed(bytes: Uint8Array, packet: IpPacket, offset: number, leave: boolean): Frame {
  const { transport } = packet;
  const frame = new Frame(bytes);
  const pseudo = pseudoHeaderSum(bytes, packet, bytes.length - transport);
  if (leave) {
    writeU16(bytes, transport + offset, fold(pseudo));
    frame.flags = HDR_F_NEEDS_CSUM;
    frame.csumStart = transport;
    frame.csumOffset = offset;
    return frame;
  }
  writeU16(bytes, transport + offset, 0);
  writeU16(bytes, transport + offset, checksumOf(sum(bytes, transport, bytes.length, pseudo)) || 0xffff);
  frame.flags = HDR_F_DATA_VALID;
  return frame;
}

function cutTcp(frame: Frame, packet: IpPacket, leaveChecksum: boolean): Frame[] {
  const { data } = frame;
  const { transport, end } = packet;
  if (transport + TCP_HEADER_MIN > end) return [];
  const headers = transport + 4 * (data[transport + TCP_DATA_OFFSET] >> 4);
  if (headers < transport + TCP_HEADER_MIN || headers > end) return [];
  const sequence = readU32(data, transport + TCP_SEQUENCE);
  const flags = data[transport + TCP_FLAGS];
  return cut(frame, packet, {
    headers,
    checksumOffset: TCP_CHECKSUM,
    leaveChecksum,
    header(bytes, at, _length, last) {
      writeU32(bytes, transport + TCP_SEQUENCE, sequence + at);
      let kept = flags;
      if (!last) kept &= ~(TCP_FIN | TCP_PSH);
      if (at > 0) kept &= ~TCP_CWR;
      bytes[transport + TCP_FLAGS] = kept;
    },
  });
}

function cutUdp(frame: Frame, packet: IpPacket, leaveChecksum: boolean): Frame[] {
  const { transport, end } = packet;
  if (transport + UDP_HEADER > end) return [];
  return cut(frame, packet, {
    headers: transport + UDP_HEADER,
    checksumOffset: UDP_CHECKSUM,
    leaveChecksum,
    header: (bytes, _at, length) => writeU16(bytes, transport + UDP_LENGTH, UDP_HEADER + length),
  });
}

/** UFO: IP fragments of one datagram (RFC 791, section 3.2; RFC 8200, section 4.5). */
function fragment(frame: Frame, packet: IpPacket): Frame[] {
  const { data, gsoSize } = frame;
  const { ip, transport, end, version, protocol } = packet;
  const piece = gsoSize - (gsoSize % FRAGMENT_UNIT);
  const payload = end - transport;
  if (payload < UDP_HEADER || (version === 6 && packet.extended)) return [];
  if ((frame.flags & HDR_F_NEEDS_CSUM) !== 0) {
    writeU16(data, transport + UDP_CHECKSUM, 0);
    const total = sum(data, transport, end, pseudoHeaderSum(data, packet, payload));
    writeU16(data, transport + UDP_CHECKSUM, checksumOf(total) || 0xffff);
    // A hub may have others to give it to.
    frame.flags = HDR_F_DATA_VALID;
  }
  const extra = version === 6 ? IPV6_FRAGMENT_HEADER : 0;
  const identification = version === 6 ? randomInt(2 ** 32) : 0;
  const frames: Frame[] = [];
  for (let at = 0; at < payload; at += piece) {
    const length = Math.min(piece, payload - at);
    const more = at + length < payload;
    const bytes = new Uint8Array(transport + extra + length);
    bytes.set(data.subarray(0, transport));
    bytes.set(data.subarray(transport + at, transport + at + length), transport + extra);
    if (version === 4) {
      const flags = readU16(data, ip + IPV4_FRAGMENT) & ~IPV4_OFFSET_MASK;
      writeU16(bytes, ip + IPV4_TOTAL_LENGTH, bytes.length - ip);
      writeU16(bytes, ip + IPV4_FRAGMENT, flags | (more ? IPV4_MF : 0) | (at / FRAGMENT_UNIT));
      writeIpv4Checksum(bytes, ip, transport - ip);
    } else {
      writeU16(bytes, ip + IPV6_PAYLOAD_LENGTH, extra + length);
      bytes[ip + IPV6_NEXT_HEADER] = IPPROTO_FRAGMENT;
      bytes[transport] = protocol;
      writeU16(bytes, transport + 2, at | (more ? 1 : 0));
      writeU32(bytes, transport + 4, identification);
    }
    const made = new Frame(bytes);
    made.flags = HDR_F_DATA_VALID;
    frames.push(made);
  }
  return frames;
}
