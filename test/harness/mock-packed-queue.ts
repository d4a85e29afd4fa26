/** The driver's side of a packed virtqueue (virtio 1.3, section 2.8), as plain as it can be written. */
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_PACKED,
  hasFeature,
} from '../../core/virtio/spec/features.ts';
import {
  PVIRTQ_DESC_ADDR,
  PVIRTQ_DESC_F_AVAIL,
  PVIRTQ_DESC_F_USED,
  PVIRTQ_DESC_FLAGS,
  PVIRTQ_DESC_ID,
  PVIRTQ_DESC_LEN,
  PVIRTQ_EVENT_BYTES,
  PVIRTQ_EVENT_DESC,
  PVIRTQ_EVENT_FLAGS,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
} from '../../core/virtio/spec/packed-ring.ts';
import {
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
} from '../../core/virtio/spec/split-ring.ts';
import type { QueueAreas } from '../../core/virtio/spec/split-ring.ts';
import type { GuestAllocator } from './guest.ts';
import { MockQueue, writableBytes } from './mock-queue.ts';
import type { Buffer, MockQueueOptions, UsedBuffer } from './mock-queue.ts';

/** The queue that the negotiated features ask for. */
export function makeDriverQueue(
  allocator: GuestAllocator,
  features: bigint,
  options: Omit<MockQueueOptions, 'eventIdx' | 'inOrder' | 'start'>,
): MockQueue {
  const eventIdx = hasFeature(features, VIRTIO_F_EVENT_IDX);
  const inOrder = hasFeature(features, VIRTIO_F_IN_ORDER);
  const Queue = hasFeature(features, VIRTIO_F_RING_PACKED) ? MockPackedQueue : MockQueue;
  return new Queue(allocator, { ...options, eventIdx, inOrder });
}

/** A place in the ring. */
class Cursor {
  offset = 0;
  wrap = 1;
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  next(): void {
    if (++this.offset < this.#size) return;
    this.offset = 0;
    this.wrap ^= 1;
  }

  get position(): number {
    return this.offset | (this.wrap << 15);
  }
}

export interface PackedDescriptor {
  address: number;
  length: number;
  id: number;
  flags: number;
}

export class MockPackedQueue extends MockQueue {
  override readonly areas: QueueAreas;
  readonly #avail: Cursor;
  readonly #used: Cursor;
  #freeSlots: number;
  #freeIds: number[];
  /** Buffers that the device has, by id, oldest first. */
  readonly #out = new Map<number, { slots: number; writable: number }>();
  readonly #readyUsed: UsedBuffer[] = [];
  /** Positions made available since the device was last asked whether it wants to know. */
  #added: number[] = [];

  constructor(allocator: GuestAllocator, options: MockQueueOptions) {
    // With split rings too, which nobody uses.
    super(allocator, options);
    const { size } = options;
    this.areas = {
      descriptorArea: allocator.alloc(size * VIRTQ_DESC_SIZE),
      driverArea: allocator.alloc(PVIRTQ_EVENT_BYTES, 4),
      deviceArea: allocator.alloc(PVIRTQ_EVENT_BYTES, 4),
    };
    this.#avail = new Cursor(size);
    this.#used = new Cursor(size);
    this.#freeSlots = size;
    this.#freeIds = Array.from({ length: size }, (_, i) => size - 1 - i);
  }

  override get freeDescriptors(): number {
    return this.#freeSlots;
  }

  override get nextPosition(): number {
    return this.#avail.position;
  }

  override get usedIdx(): number {
    return this.#used.position;
  }

  /** Writes one descriptor of a table; its flags last. */
  writePacked(table: number, index: number, { address, length, id, flags }: PackedDescriptor): void {
    const at = table + index * VIRTQ_DESC_SIZE;
    this.memory.writeU64(at + PVIRTQ_DESC_ADDR, BigInt(address));
    this.memory.writeU32(at + PVIRTQ_DESC_LEN, length);
    this.memory.writeU16(at + PVIRTQ_DESC_ID, id);
    if (at % 2 === 0) this.memory.storeU16(at + PVIRTQ_DESC_FLAGS, flags);
    else this.memory.writeU16(at + PVIRTQ_DESC_FLAGS, flags);
  }

  /** Makes descriptors available as they are, the first one last. `id` goes into all of them. */
  offerDescriptors(descriptors: readonly Omit<PackedDescriptor, 'id'>[], id: number): void {
    const writes = descriptors.map((descriptor) => {
      const { offset, wrap } = this.#avail;
      this.#added.push(this.#avail.position);
      this.#avail.next();
      const state = wrap === 1 ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED;
      return { offset, descriptor: { ...descriptor, id, flags: descriptor.flags | state } };
    });
    for (const { offset, descriptor } of writes.toReversed()) {
      this.writePacked(this.areas.descriptorArea, offset, descriptor);
    }
  }

  #take(buffers: readonly Buffer[], slots: number): number {
    const id = this.#freeIds.pop();
    if (id === undefined || this.#freeSlots < slots) throw new Error('the mock driver has no free descriptor');
    this.#freeSlots -= slots;
    this.#out.set(id, { slots, writable: writableBytes(buffers) });
    return id;
  }

  override add(buffers: readonly Buffer[]): number {
    const id = this.#take(buffers, buffers.length);
    this.offerDescriptors(
      buffers.map(({ address, length, writable }, i) => ({
        address,
        length,
        flags: (writable ? VIRTQ_DESC_F_WRITE : 0) | (i === buffers.length - 1 ? 0 : VIRTQ_DESC_F_NEXT),
      })),
      id,
    );
    return id;
  }

  override addIndirect(buffers: readonly Buffer[], { tableAlign = 16, tableOffset = 0 } = {}): number {
    const bytes = buffers.length * VIRTQ_DESC_SIZE;
    const table = this.allocator.alloc(bytes + tableOffset, tableAlign) + tableOffset;
    for (const [i, { address, length, writable }] of buffers.entries()) {
      // Only the write flag counts there; id and the others are noise to the device (section 2.8.7).
      const flags = writable ? VIRTQ_DESC_F_WRITE : 0;
      this.writePacked(table, i, { address, length, id: 0xdead, flags: flags | (i % 2 ? VIRTQ_DESC_F_NEXT : 0) });
    }
    const id = this.#take(buffers, 1);
    this.offerDescriptors([{ address: table, length: bytes, flags: VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE }], id);
    return id;
  }

  override offer(): void {
    throw new Error('packed rings have no available ring');
  }

  override setAvailIdx(): void {
    throw new Error('packed rings have no available index');
  }

  /** Section 2.8.10. */
  override deviceWantsNotification(): boolean {
    const added = this.#added;
    this.#added = [];
    const { deviceArea } = this.areas;
    const flags = this.memory.loadU16(deviceArea + PVIRTQ_EVENT_FLAGS);
    if (flags === RING_EVENT_FLAGS_DISABLE) return false;
    if (flags === RING_EVENT_FLAGS_ENABLE) return true;
    return added.includes(this.memory.loadU16(deviceArea + PVIRTQ_EVENT_DESC));
  }

  override takeUsed(): UsedBuffer | null {
    const ready = this.#readyUsed.shift();
    if (ready) return ready;
    const at = this.areas.descriptorArea + this.#used.offset * VIRTQ_DESC_SIZE;
    const flags = this.memory.loadU16(at + PVIRTQ_DESC_FLAGS);
    const state = this.#used.wrap === 1 ? PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED : 0;
    if ((flags & (PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED)) !== state) return null;
    const id = this.memory.readU16(at + PVIRTQ_DESC_ID);
    const length = flags & VIRTQ_DESC_F_WRITE ? this.memory.readU32(at + PVIRTQ_DESC_LEN) : 0;
    if (!this.#out.has(id)) throw new Error(`used descriptor for ${id}, which the device does not have`);
    for (const [other, { slots, writable }] of this.#out) {
      if (other !== id && !this.inOrder) continue;
      this.#out.delete(other);
      this.#freeIds.push(other);
      this.#freeSlots += slots;
      for (let i = 0; i < slots; i++) this.#used.next();
      this.#readyUsed.push({ id: other, length: other === id ? length : writable });
      if (other === id) break;
    }
    return this.takeUsed();
  }

  override suppressInterrupts(suppress: boolean): void {
    const { driverArea } = this.areas;
    const flags = suppress ? RING_EVENT_FLAGS_DISABLE : RING_EVENT_FLAGS_ENABLE;
    this.memory.storeU16(driverArea + PVIRTQ_EVENT_FLAGS, flags);
  }

  /** @param position offset, and the wrap counter in bit 15 */
  override setUsedEvent(position: number): void {
    this.memory.storeU16(this.areas.driverArea + PVIRTQ_EVENT_DESC, position);
    this.memory.storeU16(this.areas.driverArea + PVIRTQ_EVENT_FLAGS, RING_EVENT_FLAGS_DESC);
  }
}
