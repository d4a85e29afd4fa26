/** Frames for tests, built from the header layouts in their RFCs; checksums by the plainest way there is. */

export const MAC_A = Uint8Array.of(0x52, 0x54, 0, 0, 0, 0x0a);
export const MAC_B = Uint8Array.of(0x52, 0x54, 0, 0, 0, 0x0b);
export const BROADCAST = new Uint8Array(6).fill(0xff);

export interface PacketOptions {
  source?: Uint8Array;
  destination?: Uint8Array;
  /** 802.1Q tag. */
  vlan?: number;
  version?: 4 | 6;
  protocol?: 'tcp' | 'udp';
  sourceIp?: readonly number[];
  destinationIp?: readonly number[];
  sourcePort?: number;
  destinationPort?: number;
  sequence?: number;
  tcpFlags?: number;
  id?: number;
  payload?: Uint8Array;
  /** Leaves the checksum to whoever sends the frame: the field has the pseudo header's sum. */
  partial?: boolean;
}

export interface Packet {
  bytes: Uint8Array;
  /** Offsets. */
  ip: number;
  transport: number;
  payload: number;
}

/** One's complement sum of 16-bit big-endian words. */
export function onesSum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i++) total += i % 2 === 0 ? bytes[i] * 256 : bytes[i];
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 65536);
  return total;
}

const u16 = (value: number): number[] => [(value >> 8) & 255, value & 255];
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];

const IPV4: readonly [number[], number[]] = [
  [10, 0, 0, 1],
  [10, 0, 0, 2],
];
const IPV6: readonly [number[], number[]] = [
  [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
];

/** A TCP or UDP packet in an Ethernet frame. */
export function packet(options: PacketOptions = {}): Packet {
  const { source = MAC_B, destination = MAC_A, vlan, version = 4, protocol = 'tcp', id = 0x1234 } = options;
  const { payload = new Uint8Array(0), partial = false } = options;
  const { sourceIp = (version === 4 ? IPV4 : IPV6)[0], destinationIp = (version === 4 ? IPV4 : IPV6)[1] } = options;
  const { sourcePort = 1000, destinationPort = 2000, sequence = 1, tcpFlags = 0x10 } = options;
  const number = protocol === 'tcp' ? 6 : 17;
  const header =
    protocol === 'tcp'
      ? [...u16(sourcePort), ...u16(destinationPort), ...u32(sequence), ...u32(77), 0x50, tcpFlags, 1, 0, 0, 0, 0, 0]
      : [...u16(sourcePort), ...u16(destinationPort), ...u16(8 + payload.length), 0, 0];
  const length = header.length + payload.length;
  const link = [
    ...destination,
    ...source,
    ...(vlan === undefined ? [] : [0x81, 0, ...u16(vlan)]),
    ...(version === 4 ? [8, 0] : [0x86, 0xdd]),
  ];
  const network =
    version === 4
      ? [0x45, 0, ...u16(20 + length), ...u16(id), 0x40, 0, 64, number, 0, 0, ...sourceIp, ...destinationIp]
      : [0x60, 0, 0, 0, ...u16(length), number, 64, ...sourceIp, ...destinationIp];
  if (version === 4) network.splice(10, 2, ...u16(~onesSum(Uint8Array.from(network))));
  const pseudo = [...sourceIp, ...destinationIp, ...u32(length), 0, 0, 0, number];
  const at = protocol === 'tcp' ? 16 : 6;
  const sum = partial
    ? onesSum(Uint8Array.from(pseudo))
    : ~onesSum(Uint8Array.from([...pseudo, ...header, ...payload])) & 0xffff;
  header.splice(at, 2, ...u16(sum));
  const ip = link.length;
  const transport = ip + network.length;
  return {
    bytes: Uint8Array.from([...link, ...network, ...header, ...payload]),
    ip,
    transport,
    payload: transport + header.length,
  };
}

/** Whether the checksums in a plain frame of packet()'s kind (no options, no extension headers) are right. */
export function checksumsAreRight(bytes: Uint8Array, ip = 14): boolean {
  const version = bytes[ip] >> 4;
  if (version === 4 && onesSum(bytes.subarray(ip, ip + 20)) !== 0xffff) return false;
  const transport = ip + (version === 4 ? 20 : 40);
  const addresses = version === 4 ? bytes.subarray(ip + 12, ip + 20) : bytes.subarray(ip + 8, ip + 40);
  const number = bytes[ip + (version === 4 ? 9 : 6)];
  const end =
    version === 4 ? ip + bytes[ip + 2] * 256 + bytes[ip + 3] : transport + bytes[ip + 4] * 256 + bytes[ip + 5];
  const body = bytes.subarray(transport, end);
  return onesSum(Uint8Array.from([...addresses, ...u32(body.length), 0, 0, 0, number, ...body])) === 0xffff;
}

export function bytesOf(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 13 + (i >> 8)) & 255);
}

/** A frame that is no IP packet. */
export function plainFrame(destination: Uint8Array, length = 60, seed = 1): Uint8Array {
  return Uint8Array.from([...destination, ...MAC_B, 0x88, 0xb5, ...bytesOf(length - 14, seed)]);
}
