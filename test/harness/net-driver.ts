/** A driver of a network card: what Linux's virtio_net.c does with its queues, step by step. */
import type { MemoryBoard, VirtioDriver } from './virtio-driver.ts';
import type { MockQueue } from './mock-queue.ts';
import { until } from './virtio-bench.ts';
import { VIRTIO_F_VERSION_1, hasFeature } from '../../core/virtio/spec/features.ts';
import {
  NET_HDR_BYTES,
  NET_HDR_HASH_BYTES,
  NET_HDR_LEGACY_BYTES,
  VIRTIO_NET_F_HASH_REPORT,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_RSS,
} from '../../core/virtio/spec/net.ts';

/** struct virtio_net_hdr, with what follows it by the features. */
export interface Header {
  flags: number;
  gsoType: number;
  hdrLen: number;
  gsoSize: number;
  csumStart: number;
  csumOffset: number;
  numBuffers: number;
  hash: number;
  hashReport: number;
}

export interface Received {
  header: Header;
  bytes: Uint8Array;
  /** Used buffers that it took. */
  buffers: number;
}

export class NetDriver {
  readonly mock: VirtioDriver;
  readonly #bench: MemoryBoard;
  /** Addresses and lengths of posted buffers, by queue and head. */
  readonly #posted = new Map<number, Map<number, { address: number; length: number }>>();

  constructor(bench: MemoryBoard, mock: VirtioDriver) {
    this.#bench = bench;
    this.mock = mock;
  }

  get headerBytes(): number {
    const { features } = this.mock;
    if (hasFeature(features, VIRTIO_NET_F_HASH_REPORT)) return NET_HDR_HASH_BYTES;
    const long = hasFeature(features, VIRTIO_F_VERSION_1) || hasFeature(features, VIRTIO_NET_F_MRG_RXBUF);
    return long ? NET_HDR_BYTES : NET_HDR_LEGACY_BYTES;
  }

  rx(pair = 0): MockQueue {
    return this.mock.queues[2 * pair];
  }

  tx(pair = 0): MockQueue {
    return this.mock.queues[2 * pair + 1];
  }

  get control(): MockQueue {
    const { features, queues } = this.mock;
    const multiqueue = hasFeature(features, VIRTIO_NET_F_MQ) || hasFeature(features, VIRTIO_NET_F_RSS);
    return queues[multiqueue ? queues.length - 1 : 2];
  }

  /** Makes receive buffers available. */
  async post(count: number, length: number, pair = 0): Promise<void> {
    const queue = this.rx(pair);
    let posted = this.#posted.get(pair);
    if (!posted) this.#posted.set(pair, (posted = new Map()));
    for (let i = 0; i < count; i++) {
      const address = this.#bench.allocator.alloc(length);
      posted.set(this.mock.add(queue, [{ address, length, writable: true }]), { address, length });
    }
    await this.mock.notify(queue.index);
  }

  /** The next packet, if one is there: all of it, or the driver would have lost buffers. */
  take(pair = 0): Received | null {
    const first = this.rx(pair).takeUsed();
    if (!first) return null;
    const { memory } = this.#bench;
    const whole = (used: { id: number; length: number }): Uint8Array => {
      const buffer = this.#posted.get(pair)?.get(used.id);
      if (!buffer || used.length > buffer.length) throw new Error('a used buffer that was never given');
      return memory.read(buffer.address, used.length);
    };
    const parts = [whole(first)];
    const header = this.#parse(parts[0]);
    const merged = hasFeature(this.mock.features, VIRTIO_NET_F_MRG_RXBUF) ? header.numBuffers : 1;
    for (let i = 1; i < merged; i++) {
      const used = this.rx(pair).takeUsed();
      if (!used) throw new Error(`${merged - i} buffers of a packet are missing`);
      parts.push(whole(used));
    }
    const all = Buffer.concat(parts);
    return { header, bytes: Uint8Array.from(all.subarray(this.headerBytes)), buffers: parts.length };
  }

  async receive(pair = 0): Promise<Received> {
    let received: Received | null = null;
    await until(() => (received = this.take(pair)) !== null, 'a packet');
    return received!;
  }

  #parse(bytes: Uint8Array): Header {
    const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const size = this.headerBytes;
    return {
      flags: data.getUint8(0),
      gsoType: data.getUint8(1),
      hdrLen: data.getUint16(2, true),
      gsoSize: data.getUint16(4, true),
      csumStart: data.getUint16(6, true),
      csumOffset: data.getUint16(8, true),
      numBuffers: size >= NET_HDR_BYTES ? data.getUint16(10, true) : 1,
      hash: size >= NET_HDR_HASH_BYTES ? data.getUint32(12, true) : 0,
      hashReport: size >= NET_HDR_HASH_BYTES ? data.getUint16(16, true) : 0,
    };
  }

  header(fields: Partial<Header> = {}): Uint8Array {
    const bytes = new Uint8Array(this.headerBytes);
    const data = new DataView(bytes.buffer);
    data.setUint8(0, fields.flags ?? 0);
    data.setUint8(1, fields.gsoType ?? 0);
    data.setUint16(2, fields.hdrLen ?? 0, true);
    data.setUint16(4, fields.gsoSize ?? 0, true);
    data.setUint16(6, fields.csumStart ?? 0, true);
    data.setUint16(8, fields.csumOffset ?? 0, true);
    return bytes;
  }

  /** Makes a packet available in a transmit queue, header and frame in buffers of their own, and rings. */
  async transmit(frame: Uint8Array, fields: Partial<Header> = {}, pair = 0): Promise<void> {
    const { allocator } = this.#bench;
    const header = this.header(fields);
    const buffers = [{ address: allocator.put(header), length: header.length }];
    if (frame.length > 0) buffers.push({ address: allocator.put(frame), length: frame.length });
    this.mock.add(this.tx(pair), buffers);
    await this.mock.notify(this.tx(pair).index);
  }

  /** Waits for the next transmit buffer to be used. */
  async sent(pair = 0): Promise<void> {
    await this.mock.used(this.tx(pair));
  }

  /** A command; its ack. */
  async command(commandClass: number, command: number, data: ArrayLike<number> = []): Promise<number> {
    const { allocator, memory } = this.#bench;
    const bytes = Uint8Array.from([commandClass, command, ...Array.from(data)]);
    const ack = allocator.put(Uint8Array.of(0x55));
    const address = allocator.put(bytes);
    const used = await this.mock.submit(this.control, [
      { address, length: 2 },
      ...(bytes.length > 2 ? [{ address: address + 2, length: bytes.length - 2 }] : []),
      { address: ack, length: 1, writable: true },
    ]);
    if (used.length !== 1) throw new Error(`a command's used length is ${used.length}`);
    return memory.readU8(ack);
  }
}
