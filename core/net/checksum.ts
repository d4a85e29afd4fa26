/** The Internet checksum (RFC 1071) and what TCP and UDP sum (RFC 9293, RFC 768, RFC 8200 section 8.1). */
import { readU16, writeU16 } from './packet.ts';
import type { IpPacket } from './packet.ts';

/** Adds 16-bit big-endian words of [start, end), an odd last byte padded with zero. Carries are not folded: up to 2^32 bytes. */
export function sum(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let total = initial;
  let at = start;
  // Each round adds less than 2^18, so that the inner sum stays a small integer.
  for (const stop = end - 7; at < stop; at += 8) {
    total +=
      (bytes[at] << 8) +
      bytes[at + 1] +
      (bytes[at + 2] << 8) +
      bytes[at + 3] +
      (bytes[at + 4] << 8) +
      bytes[at + 5] +
      (bytes[at + 6] << 8) +
      bytes[at + 7];
  }
  for (const stop = end - 1; at < stop; at += 2) total += (bytes[at] << 8) + bytes[at + 1];
  return at < end ? total + (bytes[at] << 8) : total;
}

/** One's complement sum, 0..0xffff. */
export function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

/** The checksum of a sum: its complement. */
export function checksumOf(total: number): number {
  return ~fold(total) & 0xffff;
}

/** Sum of the pseudo header of what `packet` carries. @param length bytes of transport header and payload */
export function pseudoHeaderSum(bytes: Uint8Array, packet: IpPacket, length: number): number {
  const { ip, version, protocol } = packet;
  const addresses = version === 4 ? sum(bytes, ip + 12, ip + 20) : sum(bytes, ip + 8, ip + 40);
  return addresses + protocol + (length & 0xffff) + (length >>> 16);
}

export function writeIpv4Checksum(bytes: Uint8Array, ip: number, headerBytes: number): void {
  writeU16(bytes, ip + 10, 0);
  writeU16(bytes, ip + 10, checksumOf(sum(bytes, ip, ip + headerBytes)));
}

/**
 * What HDR_F_NEEDS_CSUM asks for. A UDP checksum of 0 would mean "none": it is sent as all ones, which is the same number.
 *
 * @returns false when the place of the checksum is not inside the frame
 */
export function fillChecksum(bytes: Uint8Array, start: number, offset: number): boolean {
  const at = start + offset;
  if (start > bytes.length || at + 2 > bytes.length) return false;
  writeU16(bytes, at, checksumOf(sum(bytes, start, bytes.length)) || 0xffff);
  return true;
}

/** Whether the checksum in a whole, unfragmented TCP or UDP packet is right; a UDP checksum of 0 is. */
export function transportChecksumIsRight(bytes: Uint8Array, packet: IpPacket): boolean {
  const { transport, end, protocol } = packet;
  if (protocol === 17 && readU16(bytes, transport + 6) === 0) return true;
  return fold(sum(bytes, transport, end, pseudoHeaderSum(bytes, packet, end - transport))) === 0xffff;
}
