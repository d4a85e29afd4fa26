/** The Toeplitz hash of a packet's flow (virtio 1.3, section 5.1.6.4.3; Microsoft's RSS specification). */
import { IPPROTO_TCP, IPPROTO_UDP, parseIp } from '../../net/packet.ts';
import type { IpPacket } from '../../net/packet.ts';
import {
  HASH_REPORT_IPV4,
  HASH_REPORT_IPV6,
  HASH_REPORT_IPV6_EX,
  HASH_REPORT_NONE,
  HASH_REPORT_TCPV4,
  HASH_REPORT_TCPV6,
  HASH_REPORT_TCPV6_EX,
  HASH_REPORT_UDPV4,
  HASH_REPORT_UDPV6,
  HASH_REPORT_UDPV6_EX,
  HASH_TYPE_IPV4,
  HASH_TYPE_IPV6,
  HASH_TYPE_IP_EX,
  HASH_TYPE_TCPV4,
  HASH_TYPE_TCPV6,
  HASH_TYPE_TCP_EX,
  HASH_TYPE_UDPV4,
  HASH_TYPE_UDPV6,
  HASH_TYPE_UDP_EX,
} from '../spec/net.ts';

export interface FlowHash {
  /** u32. */
  value: number;
  /** HASH_REPORT_*: what was hashed; HASH_REPORT_NONE when the packet is of no type that was asked for. */
  report: number;
}

/** @param key at least four bytes longer than `input` */
export function toeplitz(key: Uint8Array, input: Uint8Array): number {
  let hash = 0;
  // The 32 bits of the key from the present bit of the input on.
  let window = (key[0] << 24) | (key[1] << 16) | (key[2] << 8) | key[3];
  for (let i = 0; i < input.length; i++) {
    const next = key[i + 4];
    for (let bit = 7; bit >= 0; bit--) {
      if ((input[i] >> bit) & 1) hash ^= window;
      window = (window << 1) | ((next >> bit) & 1);
    }
  }
  return hash >>> 0;
}

interface Choice {
  readonly type: number;
  readonly report: number;
  readonly protocol: number | null;
  /** With the addresses of mobile IPv6 in place of the header's. */
  readonly extended: boolean;
}

/** In the order in which they are tried: the most specific first. */
const CHOICES: Readonly<Record<4 | 6, readonly Choice[]>> = {
  4: [
    { type: HASH_TYPE_TCPV4, report: HASH_REPORT_TCPV4, protocol: IPPROTO_TCP, extended: false },
    { type: HASH_TYPE_UDPV4, report: HASH_REPORT_UDPV4, protocol: IPPROTO_UDP, extended: false },
    { type: HASH_TYPE_IPV4, report: HASH_REPORT_IPV4, protocol: null, extended: false },
  ],
  6: [
    { type: HASH_TYPE_TCP_EX, report: HASH_REPORT_TCPV6_EX, protocol: IPPROTO_TCP, extended: true },
    { type: HASH_TYPE_TCPV6, report: HASH_REPORT_TCPV6, protocol: IPPROTO_TCP, extended: false },
    { type: HASH_TYPE_UDP_EX, report: HASH_REPORT_UDPV6_EX, protocol: IPPROTO_UDP, extended: true },
    { type: HASH_TYPE_UDPV6, report: HASH_REPORT_UDPV6, protocol: IPPROTO_UDP, extended: false },
    { type: HASH_TYPE_IP_EX, report: HASH_REPORT_IPV6_EX, protocol: null, extended: true },
    { type: HASH_TYPE_IPV6, report: HASH_REPORT_IPV6, protocol: null, extended: false },
  ],
};

const PORTS_BYTES = 4;

export class FlowHasher {
  readonly #input = new Uint8Array(36);
  readonly result: FlowHash = { value: 0, report: HASH_REPORT_NONE };

  /**
   * @param types HASH_TYPE_* that may be used
   * @returns `result`
   */
  hash(frame: Uint8Array, types: number, key: Uint8Array): FlowHash {
    const { result } = this;
    result.value = 0;
    result.report = HASH_REPORT_NONE;
    const packet = types === 0 ? null : parseIp(frame);
    const choice = packet ? this.#choose(packet, types) : undefined;
    if (!packet || !choice) return result;
    result.value = toeplitz(key, this.#gather(frame, packet, choice));
    result.report = choice.report;
    return result;
  }

  #choose({ version, protocol, fragment, transport, end }: IpPacket, types: number): Choice | undefined {
    const ports = !fragment && transport + PORTS_BYTES <= end;
    return CHOICES[version].find(
      (choice) => (types & choice.type) !== 0 && (choice.protocol === null || (ports && choice.protocol === protocol)),
    );
  }

  #gather(frame: Uint8Array, packet: IpPacket, { protocol, extended }: Choice): Uint8Array {
    const input = this.#input;
    const { version, ip, transport } = packet;
    const bytes = version === 4 ? 4 : 16;
    const source = extended ? packet.source : ip + (version === 4 ? 12 : 8);
    const destination = extended ? packet.destination : ip + (version === 4 ? 16 : 24);
    input.set(frame.subarray(source, source + bytes), 0);
    input.set(frame.subarray(destination, destination + bytes), bytes);
    if (protocol === null) return input.subarray(0, 2 * bytes);
    input.set(frame.subarray(transport, transport + PORTS_BYTES), 2 * bytes);
    return input.subarray(0, 2 * bytes + PORTS_BYTES);
  }
}
