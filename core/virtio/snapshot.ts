/** A device's live state for the inspector: the registers, and the rings as they stand in guest memory now. */
import type { QueueSnapshot, VirtioDeviceSnapshot } from '../api/machine.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { ConfiguredQueue } from './queue/configured-queue.ts';
import { queueFaultKind } from './queue/queue-fault.ts';
import { readQueueStats } from './queue/queue-stats.ts';
import type { QueueStatsSnapshot } from './queue/queue-stats.ts';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  featureBits,
  findFeature,
  hasFeature,
} from './spec/features.ts';
import {
  PACKED_OFFSET_MASK,
  PVIRTQ_DESC_FLAGS,
  PVIRTQ_EVENT_FLAGS_MASK,
  RING_EVENT_FLAGS_DESC,
  advance,
  isAvailable,
} from './spec/packed-ring.ts';
import {
  VIRTQ_AVAIL_FLAGS,
  VIRTQ_AVAIL_IDX,
  VIRTQ_DESC_SIZE,
  VIRTQ_USED_FLAGS,
  VIRTQ_USED_IDX,
  availEventOffset,
  usedEventOffset,
} from './spec/split-ring.ts';
import { STATUS_BITS } from './spec/status.ts';
import { HotWords } from './transport/hot-words.ts';
import type { VirtioTransport } from './transport/transport.ts';

export function deviceSnapshot(transport: VirtioTransport, memory: GuestMemory): VirtioDeviceSnapshot {
  const { device, status, offered, negotiated, driverFeatures } = transport;
  return {
    id: device.id,
    type: device.type,
    virtioId: device.virtioId,
    transport: {
      name: transport.name,
      version: transport.version,
      slot: transport.slot,
      base: transport.base === null ? 'none' : hex(transport.base),
      irq: transport.irq,
    },
    status,
    statusBits: STATUS_BITS.map(({ bit, mask, name, help }) => {
      return { bit, name, help, set: (status & mask) !== 0, at: transport.statusSetAt(bit) };
    }),
    interruptStatus: transport.interruptStatus,
    offeredFeatures: hex(offered),
    driverFeatures: hex(driverFeatures),
    negotiatedFeatures: hex(negotiated),
    features: featureBits(offered | driverFeatures).map((bit) => {
      const info = findFeature(bit, device.featureInfo);
      return {
        bit,
        name: info?.name ?? `bit ${bit}`,
        help: info?.help ?? '',
        offered: hasFeature(offered, bit),
        negotiated: hasFeature(negotiated, bit),
      };
    }),
    config: device.config.fields.map(({ name, offset, size }) => ({
      name,
      offset,
      size,
      value: device.config.get(offset).toString(),
    })),
    queues: transport.queues.map((queue) => queueSnapshot(queue, transport, memory)),
    error: transport.error,
  };
}

function queueSnapshot(queue: ConfiguredQueue, transport: VirtioTransport, memory: GuestMemory): QueueSnapshot {
  const stats = readQueueStats(memory.memory.buffer as SharedArrayBuffer, transport.slot, queue.index);
  const fault = queueFaultKind(stats.error);
  const { negotiated } = transport;
  const problem = queue.enabled ? queue.problem(memory, negotiated) : null;
  const readable = queue.enabled && problem === null;
  const packed = hasFeature(negotiated, VIRTIO_F_RING_PACKED);
  const words = packed ? packedWords(queue, memory, stats, readable) : splitWords(queue, memory, stats, readable);
  const eventIdx = hasFeature(negotiated, VIRTIO_F_EVENT_IDX);
  return {
    index: queue.index,
    name: transport.device.queueName(queue.index, negotiated),
    enabled: queue.enabled,
    size: queue.size,
    maxSize: queue.maxSize,
    ...queue.areasHex,
    format: packed ? 'packed' : 'split',
    ...words,
    usedEvent: eventIdx ? words.usedEvent : null,
    availEvent: eventIdx ? words.availEvent : null,
    notificationData: hasFeature(negotiated, VIRTIO_F_NOTIFICATION_DATA)
      ? new HotWords(memory.memory, transport.slot).notifyData(queue.index) >>> 16
      : null,
    inFlight: stats.inFlight,
    counters: {
      popped: stats.popped,
      used: stats.used,
      notifications: stats.notifications,
      interrupts: stats.interrupts,
      suppressed: stats.suppressed,
    },
    error: fault ?? problem,
  };
}

type RingWords = Pick<
  QueueSnapshot,
  'availIdx' | 'availFlags' | 'usedIdx' | 'usedFlags' | 'usedEvent' | 'availEvent' | 'lastAvailIdx' | 'wrap' | 'entries'
>;

/**
 * The words that driver and device have written; zeros for a queue whose rings are not where one can look.
 *
 * @param readable they are
 */
function splitWords(
  queue: ConfiguredQueue,
  memory: GuestMemory,
  { lastAvailIdx, usedIdx: ownUsedIdx }: QueueStatsSnapshot,
  readable: boolean,
): RingWords {
  const own = { lastAvailIdx, usedIdx: ownUsedIdx, wrap: null };
  if (!readable) {
    const words = { availIdx: 0, availFlags: 0, usedFlags: 0, usedEvent: null, availEvent: null };
    return { ...own, ...words, entries: { device: 0, driver: 0 } };
  }
  const { driverArea, deviceArea } = queue.areas;
  const availIdx = memory.loadU16(driverArea + VIRTQ_AVAIL_IDX);
  const usedIdx = memory.loadU16(deviceArea + VIRTQ_USED_IDX);
  return {
    ...own,
    availIdx,
    availFlags: memory.loadU16(driverArea + VIRTQ_AVAIL_FLAGS),
    usedIdx,
    usedFlags: memory.loadU16(deviceArea + VIRTQ_USED_FLAGS),
    usedEvent: memory.loadU16(driverArea + usedEventOffset(queue.size)),
    availEvent: memory.loadU16(deviceArea + availEventOffset(queue.size)),
    entries: { device: (lastAvailIdx - usedIdx) & 0xffff, driver: (availIdx - lastAvailIdx) & 0xffff },
  };
}

/** The same of a packed ring. */
function packedWords(
  queue: ConfiguredQueue,
  memory: GuestMemory,
  stats: QueueStatsSnapshot,
  readable: boolean,
): RingWords {
  const { size } = queue;
  const lastAvail = stats.lastAvailIdx;
  const used = stats.usedIdx;
  const own = { lastAvailIdx: lastAvail & PACKED_OFFSET_MASK, usedIdx: used & PACKED_OFFSET_MASK };
  if (!readable) {
    const words = { availIdx: own.lastAvailIdx, availFlags: 0, usedFlags: 0, usedEvent: null, availEvent: null };
    return { ...own, ...words, wrap: null, entries: { device: 0, driver: 0 } };
  }
  const { descriptorArea, driverArea, deviceArea } = queue.areas;
  let avail = lastAvail;
  let driver = 0;
  for (; driver < size; driver++) {
    const at = descriptorArea + VIRTQ_DESC_SIZE * (avail & PACKED_OFFSET_MASK) + PVIRTQ_DESC_FLAGS;
    if ((avail & PACKED_OFFSET_MASK) >= size || !isAvailable(memory.loadU16(at), avail >>> 15)) break;
    avail = advance(avail, 1, size);
  }
  const device = own.lastAvailIdx - own.usedIdx + ((lastAvail ^ used) & ~PACKED_OFFSET_MASK ? size : 0);
  const [driverEvent, deviceEvent] = [memory.loadU32(driverArea), memory.loadU32(deviceArea)];
  const flags = (event: number) => (event >>> 16) & PVIRTQ_EVENT_FLAGS_MASK;
  const offset = (event: number) => (flags(event) === RING_EVENT_FLAGS_DESC ? event & PACKED_OFFSET_MASK : null);
  return {
    ...own,
    availIdx: avail & PACKED_OFFSET_MASK,
    availFlags: flags(driverEvent),
    usedFlags: flags(deviceEvent),
    usedEvent: offset(driverEvent),
    availEvent: offset(deviceEvent),
    wrap: { avail: avail >>> 15, lastAvail: lastAvail >>> 15, used: used >>> 15 },
    entries: { device, driver },
  };
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
