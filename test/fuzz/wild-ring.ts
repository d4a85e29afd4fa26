/** A driver gone mad: writes into a queue's parts what is now right, now nearly right, now noise. */
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import type { GuestMemory } from '../../core/memory/guest-memory.ts';
import { PVIRTQ_DESC_F_AVAIL, PVIRTQ_DESC_F_USED } from '../../core/virtio/spec/packed-ring.ts';
import {
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
} from '../../core/virtio/spec/split-ring.ts';
import type { QueueAreas } from '../../core/virtio/spec/split-ring.ts';
import type { Random } from './random.ts';

const LENGTHS = [0, 1, 4, 8, 12, 16, 24, 32, 48, 64, 128, 512, 513, 4096];

export interface WildRingOptions {
  memory: GuestMemory;
  random: Random;
  areas: QueueAreas;
  size: number;
  packed: boolean;
  /** Bytes of RAM from its start on that it lays buffers in; what does not fit there is outside all RAM. */
  reach: number;
}

export class WildRing {
  readonly #memory: GuestMemory;
  readonly #random: Random;
  readonly #areas: QueueAreas;
  readonly #size: number;
  readonly #packed: boolean;
  readonly #reach: number;
  #position = 0;
  #wrap = 1;

  constructor({ memory, random, areas, size, packed, reach }: WildRingOptions) {
    this.#reach = reach;
    this.#memory = memory;
    this.#random = random;
    this.#areas = areas;
    this.#size = size;
    this.#packed = packed;
  }

  /** One write of whatever kind. */
  write(): void {
    const random = this.#random;
    const { driverArea, deviceArea } = this.#areas;
    switch (random.below(8)) {
      case 0:
        // The device's own part.
        this.#memory.writeU8(deviceArea + random.below(this.#packed ? 4 : 6 + 8 * this.#size), random.next() & 0xff);
        break;
      case 1:
        this.#memory.writeU8(driverArea + random.below(this.#packed ? 4 : 6 + 2 * this.#size), random.next() & 0xff);
        break;
      case 2:
      case 3:
      case 4:
        this.#descriptor(this.#areas.descriptorArea, random.below(this.#size), this.#packed && !random.oneIn(4));
        break;
      default:
        this.#offer();
    }
  }

  /** Makes something available as a driver would, whatever it is. */
  #offer(): void {
    const random = this.#random;
    if (this.#packed) {
      this.#descriptor(this.#areas.descriptorArea, this.#position, true);
      if (++this.#position === this.#size) {
        this.#position = 0;
        this.#wrap ^= 1;
      }
      return;
    }
    const { driverArea } = this.#areas;
    const head = random.oneIn(50) ? random.next() & 0xffff : random.below(this.#size);
    this.#memory.writeU16(driverArea + 4 + 2 * (this.#position & (this.#size - 1)), head);
    this.#position = (this.#position + (random.oneIn(500) ? random.next() : 1)) & 0xffff;
    this.#memory.storeU16(driverArea + 2, this.#position);
  }

  #address(length: number): number {
    const random = this.#random;
    const { end } = this.#memory;
    if (random.oneIn(40)) return random.next() * 2 ** random.below(32);
    if (random.oneIn(20)) return end - Math.min(length, 1) + random.below(3);
    if (random.oneIn(20)) return RAM_BASE + random.below(3) - 1;
    // The queue's own parts too.
    if (random.oneIn(10)) return this.#areas.descriptorArea + random.below(this.#size * VIRTQ_DESC_SIZE);
    return RAM_BASE + random.below(this.#reach);
  }

  #descriptor(table: number, index: number, available: boolean): void {
    const random = this.#random;
    const length = random.oneIn(30) ? (random.next() | 0x8000_0000) >>> 0 : random.of(LENGTHS);
    let flags = random.oneIn(30) ? random.next() & 0xffff : 0;
    if (random.oneIn(3)) flags |= VIRTQ_DESC_F_NEXT;
    if (random.oneIn(2)) flags |= VIRTQ_DESC_F_WRITE;
    if (random.oneIn(12)) flags |= VIRTQ_DESC_F_INDIRECT;
    const at = table + index * VIRTQ_DESC_SIZE;
    const address = this.#address(length);
    this.#memory.writeU32(at, address % 2 ** 32);
    this.#memory.writeU32(at + 4, Math.floor(address / 2 ** 32) % 2 ** 32);
    this.#memory.writeU32(at + 8, length);
    if (this.#packed) {
      if (available) {
        flags &= ~(PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED);
        flags |= this.#wrap === 1 ? PVIRTQ_DESC_F_AVAIL : PVIRTQ_DESC_F_USED;
      }
      this.#memory.writeU16(at + 12, random.next() & 0xffff);
      this.#memory.writeU16(at + 14, flags);
    } else {
      this.#memory.writeU16(at + 12, flags);
      this.#memory.writeU16(at + 14, random.oneIn(30) ? random.next() & 0xffff : random.below(this.#size));
    }
  }
}
