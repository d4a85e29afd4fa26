/** Which received frames the driver wants (virtio 1.3, sections 5.1.6.5.1 to 5.1.6.5.3), judged as QEMU does. */
import { ETHERNET_HEADER_BYTES } from '../../net/frame.ts';
import { ETHERTYPE_VLAN, readU16 } from '../../net/packet.ts';
import { MAC_BYTES } from '../spec/net.ts';
import {
  RX_ALLMULTI,
  RX_ALLUNI,
  RX_MULTICAST_OVERFLOW,
  RX_NOBCAST,
  RX_NOMULTI,
  RX_NOUNI,
  RX_PROMISC,
  RX_UNICAST_OVERFLOW,
  VLAN_FILTER,
} from './state.ts';
import type { NetState } from './state.ts';

const VLAN_ID_MASK = 0xfff;

/** @param frame at least an Ethernet header */
export function wants(state: NetState, frame: Uint8Array): boolean {
  const { flags } = state;
  if (flags & RX_PROMISC) return true;
  if (flags & VLAN_FILTER && readU16(frame, 2 * MAC_BYTES) === ETHERTYPE_VLAN) {
    if (frame.length < ETHERNET_HEADER_BYTES + 2) return false;
    if (!state.hasVlan(readU16(frame, ETHERNET_HEADER_BYTES) & VLAN_ID_MASK)) return false;
  }
  if ((frame[0] & 1) === 0) {
    if (flags & RX_NOUNI) return false;
    if (flags & (RX_ALLUNI | RX_UNICAST_OVERFLOW)) return true;
    return isFor(state.mac, frame) || state.tableHas(frame, 0, state.unicastCount);
  }
  if (isBroadcast(frame)) return !(flags & RX_NOBCAST);
  if (flags & RX_NOMULTI) return false;
  if (flags & (RX_ALLMULTI | RX_MULTICAST_OVERFLOW)) return true;
  return state.tableHas(frame, state.unicastCount, state.multicastCount);
}

function isFor(mac: Uint8Array, frame: Uint8Array): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (mac[i] !== frame[i]) return false;
  return true;
}

function isBroadcast(frame: Uint8Array): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (frame[i] !== 0xff) return false;
  return true;
}

/** As QMP's RxFilterInfo (query-rx-filter). */
export interface RxFilterInfo {
  readonly promiscuous: boolean;
  readonly multicast: 'normal' | 'none' | 'all';
  readonly unicast: 'normal' | 'none' | 'all';
  readonly vlan: 'normal' | 'none' | 'all';
  readonly 'broadcast-allowed': boolean;
  readonly 'multicast-overflow': boolean;
  readonly 'unicast-overflow': boolean;
  readonly 'main-mac': string;
  readonly 'vlan-table': readonly number[];
  readonly 'unicast-table': readonly string[];
  readonly 'multicast-table': readonly string[];
}

export function rxFilterInfo(state: NetState): RxFilterInfo {
  return state.consistent(() => {
    const { flags, unicastCount, multicastCount, vlans } = state;
    const has = (flag: number): boolean => (flags & flag) !== 0;
    const macs = (first: number, count: number): string[] =>
      Array.from({ length: count }, (_, i) => macText(state.tableMac(first + i)));
    return {
      promiscuous: has(RX_PROMISC),
      multicast: has(RX_NOMULTI) ? 'none' : has(RX_ALLMULTI) ? 'all' : 'normal',
      unicast: has(RX_NOUNI) ? 'none' : has(RX_ALLUNI) ? 'all' : 'normal',
      vlan: !has(VLAN_FILTER) ? 'all' : vlans.length === 0 ? 'none' : 'normal',
      'broadcast-allowed': !has(RX_NOBCAST),
      'multicast-overflow': has(RX_MULTICAST_OVERFLOW),
      'unicast-overflow': has(RX_UNICAST_OVERFLOW),
      'main-mac': macText(state.mac),
      'vlan-table': vlans,
      'unicast-table': macs(0, unicastCount),
      'multicast-table': macs(unicastCount, multicastCount),
    };
  });
}

/** "52:54:00:12:34:56". */
export function macText(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** @returns null when it is none */
export function parseMac(text: string): Uint8Array | null {
  if (!/^[0-9a-f]{1,2}([:-][0-9a-f]{1,2}){5}$/i.test(text)) return null;
  return Uint8Array.from(text.split(/[:-]/), (part) => parseInt(part, 16));
}
