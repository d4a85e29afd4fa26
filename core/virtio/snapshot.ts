/** A device's live state for the inspector: the registers, and the rings as they stand in guest memory now. */
import type { QueueSnapshot, VirtioDeviceSnapshot } from '../api/machine.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { ConfiguredQueue } from './queue/configured-queue.ts';
import { queueFaultKind } from './queue/queue-fault.ts';
import { readQueueStats } from './queue/queue-stats.ts';
import type { QueueStatsSnapshot } from './queue/queue-stats.ts';
import { VIRTIO_F_EVENT_IDX, featureBits, findFeature, hasFeature } from './spec/features.ts';
import {
  VIRTQ_AVAIL_FLAGS,
  VIRTQ_AVAIL_IDX,
  VIRTQ_USED_FLAGS,
  VIRTQ_USED_IDX,
  availEventOffset,
  usedEventOffset,
} from './spec/split-ring.ts';
import { STATUS_BITS } from './spec/status.ts';
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
    statusBits: STATUS_BITS.map(({ bit, mask, name, help }) => ({ bit, name, help, set: (status & mask) !== 0 })),
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
  const problem = queue.enabled ? queue.problem(memory) : null;
  return {
    index: queue.index,
    name: queue.name,
    enabled: queue.enabled,
    size: queue.size,
    maxSize: queue.maxSize,
    ...queue.areasHex,
    ...ringWords(queue, memory, stats, hasFeature(transport.negotiated, VIRTIO_F_EVENT_IDX)),
    lastAvailIdx: stats.lastAvailIdx,
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

type RingWords = Pick<QueueSnapshot, 'availIdx' | 'availFlags' | 'usedIdx' | 'usedFlags' | 'usedEvent' | 'availEvent'>;

/** The words that driver and device have written; zeros for a queue whose rings are not where one can look. */
function ringWords(
  queue: ConfiguredQueue,
  memory: GuestMemory,
  stats: QueueStatsSnapshot,
  eventIdx: boolean,
): RingWords {
  if (!queue.enabled || queue.problem(memory) !== null) {
    return { availIdx: 0, availFlags: 0, usedIdx: stats.usedIdx, usedFlags: 0, usedEvent: null, availEvent: null };
  }
  const { driverArea, deviceArea } = queue.areas;
  return {
    availIdx: memory.loadU16(driverArea + VIRTQ_AVAIL_IDX),
    availFlags: memory.loadU16(driverArea + VIRTQ_AVAIL_FLAGS),
    usedIdx: memory.loadU16(deviceArea + VIRTQ_USED_IDX),
    usedFlags: memory.loadU16(deviceArea + VIRTQ_USED_FLAGS),
    usedEvent: eventIdx ? memory.loadU16(driverArea + usedEventOffset(queue.size)) : null,
    availEvent: eventIdx ? memory.loadU16(deviceArea + availEventOffset(queue.size)) : null,
  };
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
