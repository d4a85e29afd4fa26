/** The driver's side of a split virtqueue (virtio 1.3, section 2.7), as plain as it can be written. */
import type { GuestMemory } from '../../core/memory/guest-memory.ts';
import {
  VIRTQ_DESC_ADDR,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_FLAGS,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_NEXT,
  VIRTQ_DESC_SIZE,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_AVAIL_FLAGS,
  VIRTQ_AVAIL_IDX,
  VIRTQ_AVAIL_RING,
  VIRTQ_USED_ELEM_SIZE,
  VIRTQ_USED_F_NO_NOTIFY,
  VIRTQ_USED_FLAGS,
  VIRTQ_USED_IDX,
  VIRTQ_USED_RING,
  availEventOffset,
  availRingBytes,
  descriptorTableBytes,
  legacyAreas,
  usedEventOffset,
  usedRingBytes,
} from '../../core/virtio/spec/split-ring.ts';
import type { QueueAreas } from '../../core/virtio/spec/split-ring.ts';
import type { GuestAllocator } from './guest.ts';

export interface Buffer {
  address: number;
  length: number;
  /** Device-writable. */
  writable?: boolean;
}

export interface Descriptor {
  address: number;
  length: number;
  flags: number;
  next: number;
}

export interface UsedBuffer {
  id: number;
  length: number;
}

export interface MockQueueOptions {
  index: number;
  size: number;
  eventIdx?: boolean;
  /** VIRTIO_F_IN_ORDER: used entries stand for all buffers up to theirs. */
  inOrder?: boolean;
  /** Legacy: one block with this alignment of the used ring. */
  legacyAlign?: number;
  /** Index at which both rings begin; the device's side must be told. Default 0. */
  start?: number;
}

export class MockQueue {
  readonly index: number;
  readonly size: number;
  readonly areas: QueueAreas;
  readonly eventIdx: boolean;
  readonly inOrder: boolean;
  protected readonly memory: GuestMemory;
  protected readonly allocator: GuestAllocator;
  #free: number[];
  /** Descriptors of the chains that are out and the bytes that can be written, by head, oldest first. */
  readonly #chains = new Map<number, { indices: number[]; writable: number }>();
  /** In-order: used buffers that the last used entries stand for. */
  readonly #ready: UsedBuffer[] = [];
  #availIdx: number;
  /** Available index at the last kick. */
  #kickedIdx: number;
  #usedIdx: number;

  constructor(allocator: GuestAllocator, options: MockQueueOptions) {
    const { index, size, eventIdx = false, inOrder = false, legacyAlign, start = 0 } = options;
    this.allocator = allocator;
    this.memory = allocator.memory;
    this.index = index;
    this.size = size;
    this.eventIdx = eventIdx;
    this.inOrder = inOrder;
    this.#availIdx = this.#kickedIdx = this.#usedIdx = start;
    // Taken from the end; in-order drivers use descriptors in ring order (section 2.7.9).
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
    if (legacyAlign !== undefined) {
      const bytes = legacyAreas(0, size, legacyAlign).deviceArea + usedRingBytes(size);
      this.areas = legacyAreas(allocator.alloc(bytes, 4096), size, legacyAlign);
    } else {
      this.areas = {
        descriptorArea: allocator.alloc(descriptorTableBytes(size)),
        driverArea: allocator.alloc(availRingBytes(size), 2),
        deviceArea: allocator.alloc(usedRingBytes(size), 4),
      };
    }
    this.memory.storeU16(this.areas.driverArea + VIRTQ_AVAIL_IDX, start);
    this.memory.storeU16(this.areas.deviceArea + VIRTQ_USED_IDX, start);
  }

  get freeDescriptors(): number {
    return this.#free.length;
  }

  get availIdx(): number {
    return this.#availIdx;
  }

  /** Writes one descriptor of a table. */
  writeDescriptor(table: number, index: number, { address, length, flags, next }: Descriptor): void {
    const at = table + index * VIRTQ_DESC_SIZE;
    this.memory.writeU64(at + VIRTQ_DESC_ADDR, BigInt(address));
    this.memory.writeU32(at + VIRTQ_DESC_LEN, length);
    this.memory.writeU16(at + VIRTQ_DESC_FLAGS, flags);
    this.memory.writeU16(at + VIRTQ_DESC_NEXT, next);
  }

  /** Makes a chain of descriptors available; the device is not told. Returns its head. */
  add(buffers: readonly Buffer[]): number {
    const indices = buffers.map(() => this.#take());
    for (const [i, { address, length, writable }] of buffers.entries()) {
      const last = i === buffers.length - 1;
      this.writeDescriptor(this.areas.descriptorArea, indices[i], {
        address,
        length,
        flags: (writable ? VIRTQ_DESC_F_WRITE : 0) | (last ? 0 : VIRTQ_DESC_F_NEXT),
        next: last ? 0 : indices[i + 1],
      });
    }
    this.#chains.set(indices[0], { indices, writable: writableBytes(buffers) });
    this.offer(indices[0]);
    return indices[0];
  }

  /**
   * The same by an indirect table, after some direct descriptors.
   *
   * @param tableAlign of the table in guest memory: nothing says that it must be aligned
   */
  addIndirect(buffers: readonly Buffer[], { direct = 0, tableAlign = 16, tableOffset = 0 } = {}): number {
    const table = this.allocator.alloc(buffers.length * VIRTQ_DESC_SIZE + tableOffset, tableAlign) + tableOffset;
    const inTable = buffers.slice(direct);
    for (const [i, { address, length, writable }] of inTable.entries()) {
      const last = i === inTable.length - 1;
      this.writeDescriptor(table, i, {
        address,
        length,
        flags: (writable ? VIRTQ_DESC_F_WRITE : 0) | (last ? 0 : VIRTQ_DESC_F_NEXT),
        next: last ? 0 : i + 1,
      });
    }
    const indices = Array.from({ length: direct + 1 }, () => this.#take());
    for (const [i, { address, length, writable }] of buffers.slice(0, direct).entries()) {
      this.writeDescriptor(this.areas.descriptorArea, indices[i], {
        address,
        length,
        flags: (writable ? VIRTQ_DESC_F_WRITE : 0) | VIRTQ_DESC_F_NEXT,
        next: indices[i + 1],
      });
    }
    this.writeDescriptor(this.areas.descriptorArea, indices[direct], {
      address: table,
      length: inTable.length * VIRTQ_DESC_SIZE,
      // The device must ignore F_WRITE here (section 2.7.5.3.2).
      flags: VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE,
      next: 0,
    });
    this.#chains.set(indices[0], { indices, writable: writableBytes(buffers) });
    this.offer(indices[0]);
    return indices[0];
  }

  #take(): number {
    const index = this.#free.pop();
    if (index === undefined) throw new Error('the mock driver has no free descriptor');
    return index;
  }

  /** Puts a head into the available ring, whatever it is. */
  offer(head: number): void {
    const { driverArea } = this.areas;
    this.memory.writeU16(driverArea + VIRTQ_AVAIL_RING + 2 * (this.#availIdx & (this.size - 1)), head);
    this.setAvailIdx(this.#availIdx + 1);
  }

  /** Publishes an available index, whatever it is. */
  setAvailIdx(idx: number): void {
    this.#availIdx = idx & 0xffff;
    this.memory.storeU16(this.areas.driverArea + VIRTQ_AVAIL_IDX, this.#availIdx);
  }

  /** Section 2.7.10: whether the device wants to be told of what was added since this was last asked. */
  deviceWantsNotification(): boolean {
    const { deviceArea } = this.areas;
    const added = (this.#availIdx - this.#kickedIdx) & 0xffff;
    this.#kickedIdx = this.#availIdx;
    if (!this.eventIdx) return (this.memory.loadU16(deviceArea + VIRTQ_USED_FLAGS) & VIRTQ_USED_F_NO_NOTIFY) === 0;
    const availEvent = this.memory.loadU16(deviceArea + availEventOffset(this.size));
    return ((this.#availIdx - availEvent - 1) & 0xffff) < added;
  }

  /** What NOTIFICATION_DATA carries: where the next buffer goes (section 2.9). */
  get nextPosition(): number {
    return this.#availIdx;
  }

  /** The next used buffer, if there is one; its descriptors are free again. */
  takeUsed(): UsedBuffer | null {
    const ready = this.#ready.shift();
    if (ready) return ready;
    const { deviceArea } = this.areas;
    if (this.usedIdx === this.#usedIdx) return null;
    const at = deviceArea + VIRTQ_USED_RING + VIRTQ_USED_ELEM_SIZE * (this.#usedIdx & (this.size - 1));
    const id = this.memory.readU32(at);
    const length = this.memory.readU32(at + 4);
    if (!this.inOrder) {
      this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
      this.#free.push(...(this.#chains.get(id)?.indices ?? []));
      this.#chains.delete(id);
      return { id, length };
    }
    if (!this.#chains.has(id)) throw new Error(`used entry for ${id}, which the device does not have`);
    for (const [head, { indices, writable }] of this.#chains) {
      this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
      this.#chains.delete(head);
      this.#free.unshift(...indices.toReversed());
      this.#ready.push({ id: head, length: head === id ? length : writable });
      if (head === id) break;
    }
    return this.takeUsed();
  }

  /** The device's used index, as it stands in memory. */
  get usedIdx(): number {
    return this.memory.loadU16(this.areas.deviceArea + VIRTQ_USED_IDX);
  }

  /** Section 2.7.7 without event indices. */
  suppressInterrupts(suppress: boolean): void {
    this.memory.storeU16(this.areas.driverArea + VIRTQ_AVAIL_FLAGS, suppress ? VIRTQ_AVAIL_F_NO_INTERRUPT : 0);
  }

  /** Section 2.7.7 with event indices: notify me when the used ring's entry `idx` is written. */
  setUsedEvent(idx: number): void {
    this.memory.storeU16(this.areas.driverArea + usedEventOffset(this.size), idx & 0xffff);
  }
}

export function writableBytes(buffers: readonly Buffer[]): number {
  return buffers.reduce((sum, { length, writable }) => sum + (writable ? length : 0), 0);
}
