/**
 * A queue as the driver sets it up, on the control thread. It moves no data: activating the device makes a
 * RunningQueueConfig of it, from which an I/O worker makes a RunningQueue.
 */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_RING_PACKED,
  hasFeature,
} from '../spec/features.ts';
import { PVIRTQ_EVENT_ALIGN, PVIRTQ_EVENT_BYTES } from '../spec/packed-ring.ts';
import {
  VIRTQ_AVAIL_ALIGN,
  VIRTQ_DESC_ALIGN,
  VIRTQ_USED_ALIGN,
  availRingBytes,
  descriptorTableBytes,
  legacyAreas,
  usedRingBytes,
} from '../spec/split-ring.ts';
import type { QueueAreas } from '../spec/split-ring.ts';
import type { InflightSpec } from './inflight-log.ts';
import { startPosition } from './running-queue.ts';
import type { QueuePosition, RunningQueueConfig } from './running-queue.ts';

/** Used ring alignment of a legacy driver that never writes QueueAlign: a page, as QEMU has it. */
const LEGACY_ALIGN = 4096;

/** A 64-bit address register, written in halves. */
class AddressRegister {
  low = 0;
  high = 0;

  /** Rounded above 2^53, which is outside RAM either way. */
  get address(): number {
    return this.high * 2 ** 32 + this.low;
  }

  get hex(): string {
    return `0x${((BigInt(this.high) << 32n) | BigInt(this.low)).toString(16)}`;
  }
}

/** A device's description of one of its queues. */
export interface QueueSpec {
  /** e.g. "requestq", "receiveq(port0)". */
  readonly name: string;
  /** QueueSizeMax; a power of 2, up to VIRTQ_SIZE_MAX. */
  readonly maxSize: number;
}

export class ConfiguredQueue {
  readonly index: number;
  readonly name: string;
  readonly maxSize: number;
  /** Entries that a modern driver's queue has before it says how many. */
  readonly #initialSize: number;
  /** The driver uses the legacy interface. */
  legacy: boolean;

  /** As the driver wrote it; not checked until the queue is activated. */
  size = 0;
  descriptor = new AddressRegister();
  driver = new AddressRegister();
  device = new AddressRegister();
  /** Legacy: page frame of the queue (0: unused), and bytes. */
  pfn = 0;
  align = LEGACY_ALIGN;
  pageSize = 1;
  /** QueueReady; in legacy, whether QueuePFN is set. */
  enabled = false;
  /** An I/O worker has it. */
  running = false;
  /** Where it goes on when it is next activated; null: it begins. */
  position: QueuePosition | null = null;
  /** Where a split queue keeps note of what the device has, for the next process (vhost-user); null: nowhere. */
  inflight: InflightSpec | null = null;

  /** @param initialSize entries that a modern driver's queue has before it says how many; null for maxSize */
  constructor(index: number, { name, maxSize }: QueueSpec, legacy: boolean, initialSize: number | null = 0) {
    this.index = index;
    this.name = name;
    this.maxSize = maxSize;
    this.legacy = legacy;
    this.#initialSize = initialSize ?? maxSize;
    this.reset();
  }

  /** The state after a device reset or a queue reset (section 2.6.1.1.1). */
  reset(): void {
    // A legacy driver uses the size it reads; a modern one says what it uses.
    this.size = this.legacy ? this.maxSize : this.#initialSize;
    this.descriptor = new AddressRegister();
    this.driver = new AddressRegister();
    this.device = new AddressRegister();
    this.pfn = 0;
    this.align = LEGACY_ALIGN;
    this.enabled = false;
    this.running = false;
    this.restart();
  }

  /** A queue that was stopped begins anew when it is next activated. */
  restart(): void {
    this.position = null;
  }

  /** Where the parts are, guest physical, unchecked. */
  get areas(): QueueAreas {
    if (this.legacy) return legacyAreas(this.pfn * this.pageSize, this.size, this.align);
    return {
      descriptorArea: this.descriptor.address,
      driverArea: this.driver.address,
      deviceArea: this.device.address,
    };
  }

  /** The same as 0x hex, exact. */
  get areasHex(): { [area in keyof QueueAreas]: string } {
    if (this.legacy) {
      const hex = (address: number) => `0x${(this.pfn === 0 ? 0 : address).toString(16)}`;
      const { descriptorArea, driverArea, deviceArea } = this.areas;
      return { descriptorArea: hex(descriptorArea), driverArea: hex(driverArea), deviceArea: hex(deviceArea) };
    }
    return { descriptorArea: this.descriptor.hex, driverArea: this.driver.hex, deviceArea: this.device.hex };
  }

  /**
   * Why the queue cannot run, in one line with the section of the rule; null when it can.
   *
   * @param features negotiated
   */
  problem(memory: GuestMemory, features: bigint): string | null {
    const { size, maxSize, align } = this;
    if (size === 0) return 'its size was never set (4.2.3.2)';
    if (size > maxSize) return `its size ${size} is more than QueueSizeMax ${maxSize} (4.2.2.2)`;
    const packed = hasFeature(features, VIRTIO_F_RING_PACKED);
    if (!packed && !isPowerOfTwo(size)) return `its size ${size} is not a power of 2 (2.7)`;
    if (this.legacy && !isPowerOfTwo(align)) return `its used ring alignment ${align} is not a power of 2 (4.2.4)`;
    const { descriptorArea, driverArea, deviceArea } = this.areas;
    const hex = this.areasHex;
    const driver = packed
      ? { bytes: PVIRTQ_EVENT_BYTES, align: PVIRTQ_EVENT_ALIGN }
      : { bytes: availRingBytes(size), align: VIRTQ_AVAIL_ALIGN };
    const device = packed
      ? { bytes: PVIRTQ_EVENT_BYTES, align: PVIRTQ_EVENT_ALIGN }
      : { bytes: usedRingBytes(size), align: VIRTQ_USED_ALIGN };
    const descriptors = { bytes: descriptorTableBytes(size), align: VIRTQ_DESC_ALIGN };
    const section = packed ? '2.8.10.1' : '2.7.1';
    return (
      areaProblem(memory, 'descriptor area', descriptorArea, hex.descriptorArea, section, descriptors) ??
      areaProblem(memory, 'driver area', driverArea, hex.driverArea, section, driver) ??
      areaProblem(memory, 'device area', deviceArea, hex.deviceArea, section, device)
    );
  }

  /** For an I/O worker. Only when problem() is null. */
  runningConfig(features: bigint, doorbell: number): RunningQueueConfig {
    const packed = hasFeature(features, VIRTIO_F_RING_PACKED);
    return {
      index: this.index,
      size: this.size,
      ...this.areas,
      packed,
      indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
      eventIdx: hasFeature(features, VIRTIO_F_EVENT_IDX),
      inOrder: hasFeature(features, VIRTIO_F_IN_ORDER),
      notifyOnEmpty: hasFeature(features, VIRTIO_F_NOTIFY_ON_EMPTY),
      position: this.position ?? startPosition(packed),
      inflight: this.inflight,
      doorbell,
      features,
    };
  }
}

function areaProblem(
  memory: GuestMemory,
  name: string,
  address: number,
  hex: string,
  section: string,
  { bytes, align }: { bytes: number; align: number },
): string | null {
  if (address % align !== 0) return `its ${name} ${hex} is not a multiple of ${align} (${section})`;
  if (!memory.contains(address, bytes)) return `its ${name} [${hex}, +${bytes}) is not in guest RAM`;
  return null;
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}
