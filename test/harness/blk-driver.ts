/** A virtio-blk driver's requests (virtio 1.3, section 5.2.6). */
import {
  VIRTIO_BLK_HEADER_SIZE,
  VIRTIO_BLK_RANGE_SIZE,
  VIRTIO_BLK_SECTOR_SIZE,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '../../core/virtio/spec/blk.ts';
import type { GuestAllocator } from './guest.ts';
import type { VirtioDriver } from './virtio-driver.ts';
import type { Buffer } from './mock-queue.ts';

export interface BlkAnswer {
  status: number;
  /** The used length. */
  written: number;
  /** The device-writable data part, as it is afterwards. */
  data: Uint8Array;
}

export interface Prepared {
  buffers: Buffer[];
  answer(written: number): BlkAnswer;
}

/** What the status byte and data buffers hold before the device writes them. */
export const UNTOUCHED = 0xee;

export class BlkDriver {
  readonly driver: VirtioDriver;
  readonly #allocator: GuestAllocator;

  constructor(driver: VirtioDriver, allocator: GuestAllocator) {
    this.driver = driver;
    this.#allocator = allocator;
  }

  /** Lays a request out: header, data to the device, room for data from it, status. */
  prepare(type: number, sector: number | bigint, out: Uint8Array, inLength: number): Prepared {
    const { memory } = this.#allocator;
    const header = this.#allocator.alloc(VIRTIO_BLK_HEADER_SIZE);
    memory.writeU32(header, type);
    memory.writeU64(header + 8, BigInt(sector));
    const status = this.#allocator.alloc(1);
    memory.writeU8(status, UNTOUCHED);
    const buffers: Buffer[] = [{ address: header, length: VIRTIO_BLK_HEADER_SIZE }];
    if (out.length > 0) buffers.push({ address: this.#allocator.put(out), length: out.length });
    const data = this.#allocator.alloc(inLength);
    memory.fill(data, inLength, UNTOUCHED);
    if (inLength > 0) buffers.push({ address: data, length: inLength, writable: true });
    buffers.push({ address: status, length: 1, writable: true });
    return {
      buffers,
      answer: (written) => ({ status: memory.readU8(status), written, data: memory.read(data, inLength) }),
    };
  }

  async request(
    type: number,
    sector: number | bigint,
    out: Uint8Array = new Uint8Array(0),
    inLength = 0,
  ): Promise<BlkAnswer> {
    const prepared = this.prepare(type, sector, out, inLength);
    const used = await this.driver.submit(this.driver.queues[0], prepared.buffers);
    return prepared.answer(used.length);
  }

  read(sector: number, sectors: number): Promise<BlkAnswer> {
    return this.request(VIRTIO_BLK_T_IN, sector, undefined, sectors * VIRTIO_BLK_SECTOR_SIZE);
  }

  write(sector: number, data: Uint8Array): Promise<BlkAnswer> {
    return this.request(VIRTIO_BLK_T_OUT, sector, data);
  }

  flush(): Promise<BlkAnswer> {
    return this.request(VIRTIO_BLK_T_FLUSH, 0);
  }

  getId(length = 20): Promise<BlkAnswer> {
    return this.request(VIRTIO_BLK_T_GET_ID, 0, undefined, length);
  }

  discard(sector: number, sectors: number, flags = 0): Promise<BlkAnswer> {
    return this.request(VIRTIO_BLK_T_DISCARD, 0, range(sector, sectors, flags));
  }

  writeZeroes(sector: number, sectors: number, flags = 0): Promise<BlkAnswer> {
    return this.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, range(sector, sectors, flags));
  }
}

/** struct virtio_blk_discard_write_zeroes. */
export function range(sector: number | bigint, sectors: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(VIRTIO_BLK_RANGE_SIZE);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(sector), true);
  view.setUint32(8, sectors, true);
  view.setUint32(12, flags, true);
  return bytes;
}
