/** Requests to an exported disk, by a frontend that waits for each. */
import { VIRTIO_BLK_HEADER_SIZE } from '../../core/virtio/spec/blk.ts';
import type { Buffer } from '../harness/mock-queue.ts';
import type { VhostFrontend } from '../harness/vhost-frontend.ts';

/** What the status byte holds before the device writes it. */
const UNTOUCHED = 0xee;
const DATA_MAX = 64 * 1024;

interface Request {
  readonly buffers: Buffer[];
  readonly status: number;
  readonly data: number;
}

export class ExportedDisk {
  readonly #frontend: VhostFrontend;
  /** Where the data of the next request lies. */
  dataAt: number;
  readonly #header: number;

  constructor(frontend: VhostFrontend) {
    this.#frontend = frontend;
    this.#header = frontend.allocator.alloc(64);
    this.dataAt = frontend.allocator.alloc(DATA_MAX, 4096);
  }

  /** Lays a request out. @param out bytes for the device. @param room for bytes from it */
  prepare(type: number, sector: number, out: Uint8Array | null, room = 0): Request {
    const { memory } = this.#frontend;
    const status = this.#header + 32;
    memory.writeU32(this.#header, type);
    memory.writeU64(this.#header + 8, BigInt(sector));
    memory.writeU8(status, UNTOUCHED);
    const buffers: Buffer[] = [{ address: this.#header, length: VIRTIO_BLK_HEADER_SIZE }];
    if (out) {
      memory.write(this.dataAt, out);
      buffers.push({ address: this.dataAt, length: out.length });
    }
    if (room > 0) buffers.push({ address: this.dataAt, length: room, writable: true });
    buffers.push({ address: status, length: 1, writable: true });
    return { buffers, status, data: this.dataAt };
  }

  request(queue: number, type: number, sector: number, out: Uint8Array | null, room = 0) {
    const { memory, queues } = this.#frontend;
    const { buffers, status, data } = this.prepare(type, sector, out, room);
    const used = this.#frontend.submit(queues[queue], buffers);
    return { status: memory.readU8(status), data: memory.read(data, room), written: used.length };
  }
}
