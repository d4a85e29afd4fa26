/** x-query-virtio*: virtio devices and their queues (qapi/virtio.json). */
import { MonitorError } from '../errors.ts';
import { bool, i64, list, nothing, object, oneOf, optional, str, u16, u64 } from '../schema.ts';
import type { Infer } from '../schema.ts';
import type { RingElement } from '../../virtio/inspect.ts';
import type { MonitorTarget, VirtioInfo, VirtioQueueInfo } from '../target.ts';
import { decodeFeatures, decodeStatus } from '../virtio-text.ts';
import { query } from './command.ts';

const features = object('VirtioDeviceFeatures', {
  transports: list(str),
  'dev-features': optional(list(str)),
  'unknown-dev-features': optional(u64),
});
const virtioStatus = object('VirtioStatus', {
  name: str,
  'device-id': u16,
  'vhost-started': bool,
  'device-endian': str,
  'guest-features': features,
  'host-features': features,
  'backend-features': features,
  'num-vqs': i64,
  status: object('VirtioDeviceStatus', { statuses: list(str), 'unknown-statuses': optional(i64) }),
  isr: i64,
  'queue-sel': u16,
  'vm-running': bool,
  broken: bool,
  disabled: bool,
  'use-started': bool,
  started: bool,
  'start-on-kick': bool,
  'disable-legacy-check': bool,
  'bus-name': str,
  'use-guest-notifier-mask': bool,
  error: optional(str),
});
const queueStatus = object('VirtQueueStatus', {
  name: str,
  'queue-index': u16,
  inuse: i64,
  'vring-num': i64,
  'vring-num-default': i64,
  'vring-align': i64,
  'vring-desc': u64,
  'vring-avail': u64,
  'vring-used': u64,
  'last-avail-idx': optional(u16),
  'shadow-avail-idx': optional(u16),
  'used-idx': u16,
  'signalled-used': u16,
  'signalled-used-valid': bool,
  error: optional(str),
});
const vhostQueueStatus = object('VirtVhostQueueStatus', {
  name: str,
  kick: i64,
  call: i64,
  desc: u64,
  avail: u64,
  used: u64,
  num: i64,
  'desc-phys': u64,
  'desc-size': i64,
  'avail-phys': u64,
  'avail-size': i64,
  'used-phys': u64,
  'used-size': i64,
});
const queueElement = object('VirtioQueueElement', {
  name: str,
  index: i64,
  slot: i64,
  state: oneOf('VirtioQueueElementState', ['available', 'in-flight', 'free']),
  packed: bool,
  descs: list(object('VirtioRingDesc', { addr: u64, len: i64, flags: list(str), index: i64, indirect: bool })),
  avail: object('VirtioRingAvail', { flags: u16, idx: u16, ring: u16, event: optional(u16) }),
  used: object('VirtioRingUsed', { flags: u16, idx: u16, event: optional(u16) }),
  wrap: optional(object('VirtioWrapCounters', { driver: bool, device: bool })),
  error: optional(str),
});

export type VirtioStatus = Infer<typeof virtioStatus>;
export type QueueElement = Infer<typeof queueElement>;
export type QueueStatus = Infer<typeof queueStatus>;

/** Legacy vring alignment; the split ring's default in QEMU. */
const VRING_ALIGN = 4096;

export function findVirtio(target: MonitorTarget, path: string): VirtioInfo {
  const device = target.virtio.find((candidate) => candidate.path === path);
  if (device === undefined) throw new MonitorError(`Path ${path} is not a VirtIODevice`);
  return device;
}

function findQueue(device: VirtioInfo, index: number): VirtioQueueInfo {
  const queue = device.queues[index];
  if (queue === undefined) throw new MonitorError(`Invalid virtqueue number ${index}`);
  return queue;
}

export function describeStatus(target: MonitorTarget, device: VirtioInfo): VirtioStatus {
  return {
    name: device.name,
    'device-id': device.deviceId,
    'vhost-started': false,
    'device-endian': 'little',
    'guest-features': decodeFeatures(device.guestFeatures, device.featureInfo),
    'host-features': decodeFeatures(device.hostFeatures, device.featureInfo),
    // Of a vhost back end.
    'backend-features': { transports: [], 'dev-features': [] },
    'num-vqs': device.queues.length,
    status: decodeStatus(device.status),
    isr: device.isr,
    'queue-sel': device.queueSel,
    'vm-running': target.runState === 'running',
    broken: device.broken,
    disabled: false,
    'use-started': true,
    started: device.started,
    'start-on-kick': false,
    'disable-legacy-check': device.legacyCheckDisabled,
    'bus-name': device.busName ?? '',
    'use-guest-notifier-mask': device.useGuestNotifierMask,
    ...(device.error === null ? {} : { error: device.error }),
  };
}

function describeQueue(device: VirtioInfo, queue: VirtioQueueInfo): QueueStatus {
  return {
    name: device.name,
    'queue-index': queue.index,
    inuse: queue.inUse,
    'vring-num': queue.size,
    'vring-num-default': queue.maxSize,
    'vring-align': VRING_ALIGN,
    'vring-desc': queue.desc,
    'vring-avail': queue.driver,
    'vring-used': queue.device,
    'last-avail-idx': queue.lastAvailIdx,
    'shadow-avail-idx': queue.availIdx ?? queue.lastAvailIdx,
    'used-idx': queue.usedIdx,
    'signalled-used': queue.signalledUsed,
    'signalled-used-valid': queue.signalledUsedValid,
    ...(queue.error === null ? {} : { error: queue.error }),
  };
}

function describeElement(device: VirtioInfo, element: RingElement): QueueElement {
  const { head, slot, state, packed, avail, used, wrap, problem } = element;
  return {
    name: device.name,
    index: head ?? 0,
    slot,
    state,
    packed,
    descs: element.descriptors.map(({ address, length, flags, index, indirect }) => ({
      addr: address,
      len: length,
      flags: [...flags],
      index,
      indirect,
    })),
    avail: {
      flags: avail.flags,
      idx: avail.idx ?? 0,
      ring: head ?? 0,
      ...(avail.event === null ? {} : { event: avail.event }),
    },
    used: { flags: used.flags, idx: used.idx ?? 0, ...(used.event === null ? {} : { event: used.event }) },
    ...(wrap === null ? {} : { wrap: { driver: wrap.driver, device: wrap.device } }),
    ...(problem === null ? {} : { error: problem }),
  };
}

export function queryQueueStatus(target: MonitorTarget, path: string, index: number): QueueStatus {
  const device = findVirtio(target, path);
  return describeQueue(device, findQueue(device, index));
}

export async function queryQueueElement(
  target: MonitorTarget,
  path: string,
  index: number,
  slot: number | null,
): Promise<QueueElement> {
  const device = findVirtio(target, path);
  const queue = findQueue(device, index);
  if (queue.size === 0) throw new MonitorError(`Queue ${index} has not been set up by the driver`);
  if (slot !== null && slot >= queue.size) {
    throw new MonitorError(`Queue ${index} has slots 0 to ${queue.size - 1}`);
  }
  return describeElement(device, await device.inspect(index, slot));
}

export function queryVhostQueue(target: MonitorTarget, path: string): never {
  findVirtio(target, path);
  throw new MonitorError('Error: vhost device has not started yet');
}

const queueArgs = { path: str, queue: u16 };

export const VIRTIO_COMMANDS = [
  query('x-query-virtio', {
    help: 'all virtio devices',
    args: nothing,
    returns: list(object('VirtioInfo', { path: str, name: str })),
    run: ({ target }) => target.virtio.map(({ path, name }) => ({ path, name })),
  }),
  query('x-query-virtio-status', {
    help: "a virtio device's status, features and why it is broken, if it is",
    args: object('x-query-virtio-status-arg', { path: str }),
    returns: virtioStatus,
    run: ({ target }, { path }) => describeStatus(target, findVirtio(target, path)),
  }),
  query('x-query-virtio-queue-status', {
    help: 'where a queue is and how far driver and device have come',
    args: object('x-query-virtio-queue-status-arg', queueArgs),
    returns: queueStatus,
    run: ({ target }, { path, queue }) => queryQueueStatus(target, path, queue),
  }),
  query('x-query-virtio-vhost-queue-status', {
    help: 'a queue that a vhost back end serves',
    args: object('x-query-virtio-vhost-queue-status-arg', queueArgs),
    returns: vhostQueueStatus,
    run: ({ target }, { path }) => queryVhostQueue(target, path),
  }),
  query('x-query-virtio-queue-element', {
    help: "a slot of a queue's ring with its chain of descriptors; without index the next one for the device",
    args: object('x-query-virtio-queue-element-arg', { ...queueArgs, index: optional(u16) }),
    returns: queueElement,
    run: ({ target }, { path, queue, index }) => queryQueueElement(target, path, queue, index ?? null),
  }),
];
