/** What devices and their configuration fields mean, for people who have not read the specification. */
import type { VirtioDeviceSnapshot } from '../../../main/ipc/contract.ts';
import { bytes, count } from '../../lib/format.ts';
import type { IconName } from '../../lib/ui/Icon.svelte';

export const DEVICE_ICONS: Record<string, IconName> = {
  'virtio-blk': 'disk',
  'virtio-console': 'terminal',
  'virtio-rng': 'dice',
};

const ABOUT: Record<string, string> = {
  'virtio-blk': 'A disk: the driver queues reads, writes and flushes, and the device answers each with a status.',
  'virtio-net': 'A network card: one queue takes frames from the guest, another brings frames to it.',
  'virtio-console': 'Consoles: bytes go each way through a pair of queues for each port.',
  'virtio-rng': 'A source of random bytes: the driver hands out empty buffers and gets them back filled.',
  'virtio-balloon': 'Takes memory from the guest and gives it back, page by page.',
  'virtio-9p': 'A folder of the host: the driver sends 9P messages, the device answers them.',
  'virtio-vsock': 'Sockets between guest and host, without a network.',
  'virtio-input': 'Keyboards, mice and tablets: the device fills buffers with events.',
  'virtio-crypto': 'Encryption and hashes done by the device.',
  'virtio-pmem': 'A file of the host as memory of the guest; the queue only flushes.',
};

export function aboutDevice(type: string): string {
  return ABOUT[type] ?? '';
}

/** e.g. "64 MiB" for a capacity of 131072 sectors; null when the number says it all. */
export function fieldMeaning(type: string, name: string, value: bigint): string | null {
  const number = Number(value);
  switch (`${type} ${name}`) {
    case 'virtio-blk capacity':
      return `512-byte sectors: ${bytes(number * 512)}`;
    case 'virtio-blk seg_max':
      return 'data segments in a request, at most';
    case 'virtio-blk size_max':
      return number === 0 ? 'no limit for a segment' : `bytes in a segment, at most ${bytes(number)}`;
    case 'virtio-blk blk_size':
      return 'bytes in a logical block';
    case 'virtio-blk writeback':
      return number === 1
        ? 'write cache is on: a flush makes data durable'
        : 'write cache is off: every write is durable';
    case 'virtio-blk num_queues':
      return 'request queues';
    case 'virtio-blk topology.physical_block_exp':
      return `a physical block is ${count(2 ** Math.min(number, 30))} logical ones`;
    case 'virtio-blk max_discard_sectors':
    case 'virtio-blk max_write_zeroes_sectors':
    case 'virtio-blk max_secure_erase_sectors':
      return `in one segment, ${bytes(number * 512)}`;
    case 'virtio-blk write_zeroes_may_unmap':
      return number === 1 ? 'zeroing may free the host’s space' : 'zeroing keeps the host’s space';
    case 'virtio-net mac':
      return macText(value);
    case 'virtio-net status':
      return (number & 1) === 1 ? 'link is up' : 'link is down';
    case 'virtio-net max_virtqueue_pairs':
      return 'pairs of receive and transmit queues';
    case 'virtio-net mtu':
      return 'bytes in a packet, at most';
    case 'virtio-console cols':
    case 'virtio-console rows':
      return 'size of the terminal, in characters';
    case 'virtio-console max_nr_ports':
      return 'ports that there can be';
    case 'virtio-console emerg_wr':
      return 'a character written here is printed without a driver';
    case 'virtio-balloon num_pages':
      return `4 KiB pages wanted from the guest: ${bytes(number * 4096)}`;
    case 'virtio-balloon actual':
      return `4 KiB pages that it has given: ${bytes(number * 4096)}`;
    case 'virtio-vsock guest_cid':
      return 'the guest’s address';
    case 'virtio-pmem start':
      return `guest physical 0x${value.toString(16)}`;
    case 'virtio-pmem size':
      return bytes(number);
    default:
      return null;
  }
}

function macText(value: bigint): string {
  const octets = Array.from({ length: 6 }, (_, at) => Number((value >> BigInt(at * 8)) & 0xffn));
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}

/** The configuration space as bytes, as far as fields cover it; null: between fields. */
export function configBytes(fields: VirtioDeviceSnapshot['config']): (number | null)[] {
  const end = Math.max(0, ...fields.map(({ offset, size }) => offset + size));
  const space = new Array<number | null>(end).fill(null);
  for (const { offset, size, value } of fields) {
    const whole = BigInt(value);
    for (let at = 0; at < size; at++) space[offset + at] = Number((whole >> BigInt(at * 8)) & 0xffn);
  }
  return space;
}

/** Whether the driver speaks virtio 1 (or may still); transports number their interfaces each in its own way. */
export function isModern({ transport }: VirtioDeviceSnapshot): boolean {
  return transport.version >= (transport.name === 'virtio-mmio' ? 2 : 1);
}

export type FeatureState = 'negotiated' | 'refused' | 'unoffered' | 'open';

/** What became of a bit: refused by the driver, wanted though not offered, or still open. */
export function featureState(
  { offered, negotiated }: { offered: boolean; negotiated: boolean },
  driver: boolean,
  settled: boolean,
): FeatureState {
  if (negotiated) return 'negotiated';
  if (driver && !offered) return 'unoffered';
  return settled ? 'refused' : 'open';
}

/** Whether bit n of 0x hex is set. */
export function hasBit(features: string, bit: number): boolean {
  return ((BigInt(features) >> BigInt(bit)) & 1n) === 1n;
}

/** Where a device's driver is, in a word. */
export function driverState(device: VirtioDeviceSnapshot): { word: string; dot: string } {
  const set = (name: string) => device.statusBits.some((bit) => bit.name === name && bit.set);
  if (set('DEVICE_NEEDS_RESET')) return { word: 'needs reset', dot: 'bg-bad' };
  if (set('FAILED')) return { word: 'driver failed', dot: 'bg-bad' };
  if (set('DRIVER_OK')) return { word: 'driver ready', dot: 'bg-ok' };
  if (device.status !== 0) return { word: 'being set up', dot: 'bg-warn' };
  return { word: 'no driver', dot: 'border-[1.5px] border-faint' };
}
