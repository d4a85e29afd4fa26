/** Captures as Wireshark reads them: pcapng (draft-ietf-opsawg-pcapng), little-endian, one Ethernet interface. */

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;

const OPT_END = 0;
const OPT_SHB_USERAPPL = 4;
const OPT_IF_NAME = 2;
const OPT_IF_TSRESOL = 9;
const OPT_EPB_FLAGS = 2;
/** 10^-9 s. */
const NANOSECONDS = 9;
const EPB_INBOUND = 1;
const EPB_OUTBOUND = 2;

const BLOCK_OVERHEAD = 12;
const EPB_FIXED = 20;

const textBytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const padded = (bytes: number): number => Math.ceil(bytes / 4) * 4;

/** As seen from the network card. */
export type Direction = 'in' | 'out';

/**
 * What a capture begins with.
 *
 * @param name of the interface
 * @param maxBytes of a packet that are kept
 */
export function pcapngHeader(name: string, maxBytes: number): Uint8Array {
  const section = new Uint8Array(16);
  const sectionData = new DataView(section.buffer);
  sectionData.setUint32(0, BYTE_ORDER_MAGIC, true);
  sectionData.setUint16(4, 1, true);
  sectionData.setBigInt64(8, -1n, true);
  const description = new Uint8Array(8);
  const descriptionData = new DataView(description.buffer);
  descriptionData.setUint16(0, LINKTYPE_ETHERNET, true);
  descriptionData.setUint32(4, maxBytes, true);
  return concat([
    block(SECTION_HEADER, [section, option(OPT_SHB_USERAPPL, textBytes('Ringside')), endOfOptions()]),
    block(INTERFACE_DESCRIPTION, [
      description,
      option(OPT_IF_NAME, textBytes(name)),
      option(OPT_IF_TSRESOL, Uint8Array.of(NANOSECONDS)),
      endOfOptions(),
    ]),
  ]);
}

/**
 * One packet.
 *
 * @param time nanoseconds since 1970
 * @param maxBytes of it that are kept
 */
export function pcapngPacket(bytes: Uint8Array, time: bigint, direction: Direction, maxBytes: number): Uint8Array {
  const kept = Math.min(bytes.length, maxBytes);
  const total = BLOCK_OVERHEAD + EPB_FIXED + padded(kept) + 12;
  const out = new Uint8Array(total);
  const data = new DataView(out.buffer);
  data.setUint32(0, ENHANCED_PACKET, true);
  data.setUint32(4, total, true);
  data.setUint32(12, Number(time >> 32n), true);
  data.setUint32(16, Number(time & 0xffff_ffffn), true);
  data.setUint32(20, kept, true);
  data.setUint32(24, bytes.length, true);
  out.set(bytes.subarray(0, kept), 28);
  const options = 28 + padded(kept);
  data.setUint16(options, OPT_EPB_FLAGS, true);
  data.setUint16(options + 2, 4, true);
  data.setUint32(options + 4, direction === 'in' ? EPB_INBOUND : EPB_OUTBOUND, true);
  data.setUint32(total - 4, total, true);
  return out;
}

function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const body = concat(parts);
  const total = BLOCK_OVERHEAD + body.length;
  const out = new Uint8Array(total);
  const data = new DataView(out.buffer);
  data.setUint32(0, type, true);
  data.setUint32(4, total, true);
  out.set(body, 8);
  data.setUint32(total - 4, total, true);
  return out;
}

function option(code: number, value: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + padded(value.length));
  const data = new DataView(out.buffer);
  data.setUint16(0, code, true);
  data.setUint16(2, value.length, true);
  out.set(value, 4);
  return out;
}

function endOfOptions(): Uint8Array {
  return option(OPT_END, new Uint8Array(0));
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
