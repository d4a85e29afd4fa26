/** HMP: info virtio*. */
import {
  describeStatus,
  findVirtio,
  queryQueueElement,
  queryQueueStatus,
  queryVhostQueue,
} from '../commands/virtio.ts';
import type { VirtioStatus } from '../commands/virtio.ts';
import { MonitorError } from '../errors.ts';
import type { MonitorTarget } from '../target.ts';
import type { DecodedFeatures } from '../virtio-text.ts';
import { takes } from './command.ts';
import type { HmpCommand } from './command.ts';
import type { ArgumentValue } from './arguments.ts';

const address = (value: number | bigint): string => `0x${value.toString(16).padStart(16, '0')}`;
const paths = (target: MonitorTarget): string[] => target.virtio.map(({ path }) => path);

function queueIndexes(target: MonitorTarget, before: readonly string[]): string[] {
  if (before.length === 0) return paths(target);
  if (before.length > 1) return [];
  const device = target.virtio.find(({ path }) => path === before[0]);
  return (device?.queues ?? []).map(({ index }) => String(index));
}

function queueNumber(value: ArgumentValue | undefined): number {
  const number = Number(value);
  if (number >= 0 && number <= 0xffff) return number;
  throw new MonitorError(`Invalid virtqueue number ${number}`);
}

function lines(texts: readonly string[]): string {
  return texts.map((text, index) => `\t${text}${index < texts.length - 1 ? ',' : ''}\n`).join('');
}

function featureText(title: string, features: DecodedFeatures): string {
  let text = `  ${title}:\n${lines(features.transports) || '\n'}`;
  if (features['dev-features'].length > 0) text += lines(features['dev-features']);
  const unknown = features['unknown-dev-features'];
  if (unknown !== undefined) text += `  unknown-features(${address(unknown)})\n`;
  return text;
}

function statusText(path: string, status: VirtioStatus): string {
  const { statuses, 'unknown-statuses': unknown } = status.status;
  const rows: [string, unknown][] = [
    ['device_name', `${status.name} `],
    ['device_id', status['device-id']],
    ['vhost_started', status['vhost-started']],
    ['bus_name', status['bus-name'] || '(null)'],
    ['broken', status.broken],
    ['disabled', status.disabled],
    ['disable_legacy_check', status['disable-legacy-check']],
    ['started', status.started],
    ['use_started', status['use-started']],
    ['start_on_kick', status['start-on-kick']],
    ['use_guest_notifier_mask', status['use-guest-notifier-mask']],
    ['vm_running', status['vm-running']],
    ['num_vqs', status['num-vqs']],
    ['queue_sel', status['queue-sel']],
    ['isr', status.isr],
    ['endianness', status['device-endian']],
  ];
  let text = `${path}:\n`;
  for (const [name, value] of rows) text += `  ${`${name}:`.padEnd(24)} ${String(value)}\n`;
  if (status.error !== undefined) text += `  ${'error:'.padEnd(24)} ${status.error}\n`;
  text += `  status:\n${lines(statuses) || '\n'}`;
  if (unknown !== undefined) text += `  unknown-statuses(0x${Number(unknown).toString(16).padStart(8, '0')})\n`;
  text += featureText('Guest features', status['guest-features'] as DecodedFeatures);
  text += featureText('Host features', status['host-features'] as DecodedFeatures);
  return text + featureText('Backend features', status['backend-features'] as DecodedFeatures);
}

function queueText(target: MonitorTarget, path: string, index: number): string {
  const queue = queryQueueStatus(target, path, index);
  const rows: [string, unknown][] = [
    ['device_name', queue.name],
    ['queue_index', queue['queue-index']],
    ['inuse', queue.inuse],
    ['used_idx', queue['used-idx']],
    ['signalled_used', queue['signalled-used']],
    ['signalled_used_valid', queue['signalled-used-valid']],
    ['last_avail_idx', queue['last-avail-idx']],
    ['shadow_avail_idx', queue['shadow-avail-idx']],
  ];
  const ring: [string, unknown][] = [
    ['num', queue['vring-num']],
    ['num_default', queue['vring-num-default']],
    ['align', queue['vring-align']],
    ['desc', address(queue['vring-desc'])],
    ['avail', address(queue['vring-avail'])],
    ['used', address(queue['vring-used'])],
  ];
  let text = `${path}:\n`;
  for (const [name, value] of rows) text += `  ${`${name}:`.padEnd(21)} ${String(value)}\n`;
  if (queue.error !== undefined) text += `  ${'error:'.padEnd(21)} ${queue.error}\n`;
  text += '  VRing:\n';
  for (const [name, value] of ring) text += `    ${`${name}:`.padEnd(13)} ${String(value)}\n`;
  return text;
}

async function elementText(target: MonitorTarget, path: string, queue: number, slot: number | null): Promise<string> {
  const element = await queryQueueElement(target, path, queue, slot);
  const live = element.state !== 'free';
  let text = `${path}:\n  device_name: ${element.name}\n`;
  text += `  slot:    ${element.slot}\n  state:   ${element.state}\n`;
  if (live) text += `  index:   ${element.index}\n`;
  text += '  desc:\n    descs:\n';
  const descriptors = element.descs.map(({ addr, len, flags, index, indirect }) => {
    const shown = flags.length === 0 ? '' : ` (${flags.join(', ')})`;
    return `        addr 0x${addr.toString(16)} len ${len}${shown} [${indirect ? 'indirect ' : ''}${index}]`;
  });
  text += descriptors.length === 0 ? '        none: the slot holds no buffer\n' : `${descriptors.join(',\n')}\n`;
  if (element.error !== undefined) text += `  error:   ${element.error}\n`;
  const event = (value: number | undefined): string => (value === undefined ? '' : `    event: ${value}\n`);
  if (element.packed) {
    const { driver, device } = element.wrap ?? { driver: false, device: false };
    text += `  driver event suppression:\n    flags: ${element.avail.flags}\n${event(element.avail.event)}`;
    text += `  device event suppression:\n    flags: ${element.used.flags}\n${event(element.used.event)}`;
    return `${text}  wrap counters:\n    driver: ${Number(driver)}\n    device: ${Number(device)}\n`;
  }
  text += `  avail:\n    flags: ${element.avail.flags}\n    idx:   ${element.avail.idx}\n    ring:  ${element.avail.ring}\n`;
  text += event(element.avail.event);
  return `${text}  used:\n    flags: ${element.used.flags}\n    idx:   ${element.used.idx}\n${event(element.used.event)}`;
}

export const VIRTIO_INFO: readonly HmpCommand[] = [
  {
    names: ['virtio'],
    args: [],
    params: '',
    help: 'List all available virtio devices',
    run({ target, print }) {
      if (target.virtio.length === 0) print('No VirtIO devices\n');
      for (const { path, name } of target.virtio) print(`${path} [${name}]\n`);
    },
  },
  {
    names: ['virtio-queue-element'],
    args: [takes('path', 'string'), takes('queue', 'int'), takes('index', 'int', true)],
    params: 'path queue [index]',
    help: 'Display element of a given virtio queue',
    async run({ target, print }, { path, queue, index }) {
      const slot = index === undefined ? null : queueNumber(index);
      print(await elementText(target, path as string, queueNumber(queue), slot));
    },
    complete: (target, _word, before) => queueIndexes(target, before),
  },
  {
    names: ['virtio-queue-status'],
    args: [takes('path', 'string'), takes('queue', 'int')],
    params: 'path queue',
    help: 'Display status of a given virtio queue',
    run({ target, print }, { path, queue }) {
      print(queueText(target, path as string, queueNumber(queue)));
    },
    complete: (target, _word, before) => queueIndexes(target, before),
  },
  {
    names: ['virtio-status'],
    args: [takes('path', 'string')],
    params: 'path',
    help: 'Display status of a given virtio device',
    run({ target, print }, { path }) {
      const device = findVirtio(target, path as string);
      print(statusText(device.path, describeStatus(target, device)));
    },
    complete: paths,
  },
  {
    names: ['virtio-vhost-queue-status'],
    args: [takes('path', 'string'), takes('queue', 'int')],
    params: 'path queue',
    help: 'Display status of a given vhost queue',
    run({ target }, { path }) {
      queryVhostQueue(target, path as string);
    },
    complete: (target, _word, before) => queueIndexes(target, before),
  },
];
