/**
 * A descriptor chain (virtio 1.3, sections 2.7.5 and 2.8.6) as a device sees it, and what the parsers of both ring formats
 * share. A chain is parsed whole before anything is done with it, and every field of a descriptor is read once: the driver
 * may rewrite the table while we look.
 */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { VIRTQ_DESC_F_WRITE, VIRTQ_DESC_SIZE } from '../spec/split-ring.ts';
import { QueueFault } from './queue-fault.ts';
import { Segments } from './segments.ts';

/**
 * The most descriptors in a chain. The spec's limit is the queue size, but Linux makes longer indirect ones on small
 * queues, and QEMU, whose limit this is, takes them.
 */
export const CHAIN_MAX = 1024;
/** Section 2.7.5.2. */
const CHAIN_BYTES_MAX = 2 ** 32;

export class DescriptorChain {
  /** What goes into the used ring: the index of the first descriptor, or in a packed ring the buffer id. */
  head = 0;
  /** Where it was taken from: entry of the available ring, or offset of the first descriptor in a packed ring. */
  position = 0;
  /** Descriptors of a packed ring that it takes; 1 in a split ring's available ring. */
  slots = 1;
  /** The device has it. */
  live = false;
  /** In-order queues: bytes written, once it has been pushed; -1 before. */
  written = -1;
  /** When the device saw it, as whoever watches the queue counts; 0 when nobody does. */
  seen = 0;
  /** When it was taken, likewise. */
  taken = 0;
  /** Device-readable buffers. */
  readonly readable: Segments;
  /** Device-writable buffers. */
  readonly writable: Segments;

  constructor(memory: GuestMemory) {
    this.readable = new Segments(memory);
    this.writable = new Segments(memory);
  }
}

/** Reads descriptors, each field once. The last four bytes are named by their place: ring formats differ there. */
export class DescriptorReader {
  address = 0;
  length = 0;
  /** Bytes 12 and 13: flags in a split ring, buffer id in a packed one. */
  low = 0;
  /** Bytes 14 and 15: next in a split ring, flags in a packed one. */
  high = 0;
  readonly #words: Uint32Array<SharedArrayBuffer>;
  readonly #data: DataView<SharedArrayBuffer>;

  constructor(memory: GuestMemory) {
    const buffer = memory.memory.buffer as SharedArrayBuffer;
    this.#words = new Uint32Array(buffer, 0, buffer.byteLength / 4);
    this.#data = new DataView(buffer);
  }

  /** Reads the descriptor at a linear address, which is inside RAM. */
  read(linear: number): void {
    if (linear % 4 === 0) {
      const word = linear / 4;
      const words = this.#words;
      this.address = words[word] + words[word + 1] * 2 ** 32;
      this.length = words[word + 2];
      const last = words[word + 3];
      this.low = last & 0xffff;
      this.high = last >>> 16;
    } else {
      // Nothing says that an indirect table is aligned.
      this.address = this.#data.getUint32(linear, true) + this.#data.getUint32(linear + 4, true) * 2 ** 32;
      this.length = this.#data.getUint32(linear + 8, true);
      this.low = this.#data.getUint16(linear + 12, true);
      this.high = this.#data.getUint16(linear + 14, true);
    }
  }
}

/** Adds a descriptor's buffer to a chain. `name` says which chain, `index` which descriptor: numbers for messages. */
export function addBuffer(
  memory: GuestMemory,
  chain: DescriptorChain,
  address: number,
  length: number,
  flags: number,
  name: number,
  index: number,
): void {
  const { readable, writable } = chain;
  if (length === 0) throw new QueueFault('zero-length', `chain ${name}: descriptor ${index} has length 0`);
  if (!memory.contains(address, length)) {
    throw new QueueFault('outside-ram', `chain ${name}: buffer ${range(address, length)} is not in guest RAM`);
  }
  if (readable.length + writable.length + length > CHAIN_BYTES_MAX) {
    throw new QueueFault('too-long', `chain ${name}: more than 2^32 bytes`);
  }
  if (readable.count + writable.count === CHAIN_MAX) {
    throw new QueueFault('too-long', `chain ${name}: more than ${CHAIN_MAX} descriptors`);
  }
  if (flags & VIRTQ_DESC_F_WRITE) {
    writable.add(memory.linear(address, length), length);
  } else {
    if (writable.count > 0) {
      throw new QueueFault('bad-order', `chain ${name}: device-readable buffer after a device-writable one`);
    }
    readable.add(memory.linear(address, length), length);
  }
}

/** The rules for an indirect table (sections 2.7.5.3 and 2.8.7) that do not depend on the ring format. */
export function checkTable(memory: GuestMemory, address: number, length: number, name: number): void {
  if (length === 0 || length % VIRTQ_DESC_SIZE !== 0) {
    throw new QueueFault('bad-indirect-table', `chain ${name}: indirect table of ${length} bytes`);
  }
  if (!memory.contains(address, length)) {
    throw new QueueFault('outside-ram', `chain ${name}: indirect table ${range(address, length)} is not in guest RAM`);
  }
}

function range(address: number, length: number): string {
  return `[0x${address.toString(16)}, +${length})`;
}
