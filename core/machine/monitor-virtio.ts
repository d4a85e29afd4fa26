/** Virtio devices as the monitor shows them. */
import type { QueueSnapshot } from '../api/machine.ts';
import type { VirtioInfo, VirtioQueueInfo } from '../monitor/target.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { QomObject } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import { VIRTIO_ID_CONSOLE } from '../virtio/spec/device-ids.ts';
import { deviceSnapshot } from '../virtio/snapshot.ts';
import { STATUS_DEVICE_NEEDS_RESET, STATUS_DRIVER_OK } from '../virtio/spec/status.ts';

/** The newest first, as in QEMU. */
export function virtioInfos(tree: ObjectTree, memory: GuestMemory): VirtioInfo[] {
  return [...tree.root.walk()]
    .filter((object) => object.type.isA('virtio-device'))
    .sort((a, b) => b.order - a.order)
    .map((object) => virtioInfo(object, memory))
    .filter((info) => info !== null);
}

/** QEMU has a name for each device ID (virtio_id_to_name()), which for this one is not the specification's. */
const QEMU_NAMES = new Map([[VIRTIO_ID_CONSOLE, 'virtio-serial']]);

function virtioInfo(object: QomObject, memory: GuestMemory): VirtioInfo | null {
  const instance = virtioInstance(object);
  if (instance === null) return null;
  const { device, plug } = instance;
  const { transport } = plug;
  const { status, interruptStatus, queues } = deviceSnapshot(transport, memory);
  return {
    path: object.path,
    name: QEMU_NAMES.get(device.virtioId) ?? device.type,
    deviceId: device.virtioId,
    busName: object.buses[0]?.name ?? null,
    featureInfo: device.featureInfo,
    hostFeatures: transport.offered,
    guestFeatures: (status & STATUS_DRIVER_OK) === 0 ? transport.driverFeatures : transport.negotiated,
    status,
    isr: interruptStatus,
    queueSel: transport.selectedQueue,
    broken: (status & STATUS_DEVICE_NEEDS_RESET) !== 0,
    error: transport.error,
    started: (status & STATUS_DRIVER_OK) !== 0,
    useGuestNotifierMask: true,
    legacyCheckDisabled: false,
    queues: queues.map(queueInfo),
    inspect: (queue, slot) => transport.inspectSlot(queue, slot),
  };
}

function queueInfo(queue: QueueSnapshot): VirtioQueueInfo {
  const { index, name, enabled, size, maxSize, descriptorArea, driverArea, deviceArea, error } = queue;
  return {
    index,
    name,
    // As QEMU, which shows a queue's size before the driver has said one.
    size: enabled ? size : 0,
    maxSize,
    desc: BigInt(descriptorArea),
    driver: BigInt(driverArea),
    device: BigInt(deviceArea),
    inUse: queue.inFlight,
    usedIdx: queue.usedIdx,
    lastAvailIdx: queue.lastAvailIdx,
    availIdx: enabled && error === null ? queue.availIdx : null,
    // The device tells the driver of all that it has used, or need not.
    signalledUsed: queue.usedIdx,
    signalledUsedValid: queue.counters.used > 0,
    packed: queue.format === 'packed',
    error,
  };
}
