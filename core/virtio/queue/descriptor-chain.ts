/**
 * Descriptor chains (virtio 1.3, section 2.7.5), parsed whole before anything is done with them. Every field of a
 * descriptor is read once: the driver may rewrite the table while we look.
 */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VIRTQ_DESC_SIZE } from '../spec/split-ring.ts';
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
  /** Index of the first descriptor: what goes into the used ring. */
  head = 0;
  /** Device-readable buffers. */
  readonly readable: Segments;
  /** Device-writable buffers. */
  readonly writable: Segments;

  constructor(memory: GuestMemory) {
    this.readable = new Segments(memory);
    this.writable = new Segments(memory);
  }
}

export interface ChainParserOptions {
  memory: GuestMemory;
  /** Guest physical; the table is wholly inside RAM and aligned. */
  descriptorArea: number;
  /** Entries in the table. */
  size: number;
  /** VIRTIO_F_INDIRECT_DESC is negotiated. */
  indirect: boolean;
}

export class ChainParser {
  readonly #memory: GuestMemory;
  readonly #words: Uint32Array<SharedArrayBuffer>;
  readonly #data: DataView<SharedArrayBuffer>;
  readonly #table: number;
  readonly #size: number;
  readonly #indirect: boolean;
  /** A linear address per word: the descriptor last read. */
  readonly #descriptor = { address: 0, length: 0, flags: 0, next: 0 };

  constructor({ memory, descriptorArea, size, indirect }: ChainParserOptions) {
    const buffer = memory.memory.buffer as SharedArrayBuffer;
    this.#memory = memory;
    this.#words = new Uint32Array(buffer, 0, buffer.byteLength / 4);
    this.#data = new DataView(buffer);
    this.#table = memory.linear(descriptorArea, size * VIRTQ_DESC_SIZE);
    this.#size = size;
    this.#indirect = indirect;
  }

  /**
   * Fills `chain` with the buffers of the chain that begins at `head`.
   *
   * @throws QueueFault when the driver broke a rule; the chain is then of no use
   */
  parse(chain: DescriptorChain, head: number): void {
    const { readable, writable } = chain;
    const descriptor = this.#descriptor;
    chain.head = head;
    readable.clear();
    writable.clear();

    let table = this.#table;
    let entries = this.#size;
    let index = head;
    let inIndirect = false;
    let total = 0;
    // Descriptors seen in the present table: more than it has entries is a loop.
    let seen = 0;
    for (;;) {
      if (index >= entries) {
        throw new QueueFault('bad-next', `chain ${head}: next is ${index} in a table of ${entries} descriptors`);
      }
      if (++seen > entries) throw new QueueFault('loop', `chain ${head}: loops after ${entries} descriptors`);
      this.#read(table + index * VIRTQ_DESC_SIZE);
      const { address, length, flags } = descriptor;

      if (flags & VIRTQ_DESC_F_INDIRECT) {
        if (inIndirect)
          throw new QueueFault('indirect-in-indirect', `chain ${head}: indirect table in an indirect table`);
        this.#checkIndirect(head);
        table = this.#memory.linear(address, length);
        entries = length / VIRTQ_DESC_SIZE;
        index = 0;
        inIndirect = true;
        seen = 0;
        continue;
      }

      if (length === 0) throw new QueueFault('zero-length', `chain ${head}: descriptor ${index} has length 0`);
      if (!this.#memory.contains(address, length)) {
        throw new QueueFault('outside-ram', `chain ${head}: buffer ${range(address, length)} is not in guest RAM`);
      }
      total += length;
      if (total > CHAIN_BYTES_MAX) throw new QueueFault('too-long', `chain ${head}: more than 2^32 bytes`);
      if (readable.count + writable.count === CHAIN_MAX) {
        throw new QueueFault('too-long', `chain ${head}: more than ${CHAIN_MAX} descriptors`);
      }
      if (flags & VIRTQ_DESC_F_WRITE) {
        writable.add(this.#memory.linear(address, length), length);
      } else {
        if (writable.count > 0) {
          throw new QueueFault('bad-order', `chain ${head}: device-readable buffer after a device-writable one`);
        }
        readable.add(this.#memory.linear(address, length), length);
      }
      if (!(flags & VIRTQ_DESC_F_NEXT)) return;
      index = descriptor.next;
    }
  }

  /** Section 2.7.5.3: the rules for the descriptor that refers to a table. Its VIRTQ_DESC_F_WRITE is ignored. */
  #checkIndirect(head: number): void {
    const { address, length, flags } = this.#descriptor;
    if (!this.#indirect) {
      throw new QueueFault('indirect-not-negotiated', `chain ${head}: indirect descriptor without the feature`);
    }
    if (flags & VIRTQ_DESC_F_NEXT) {
      throw new QueueFault('indirect-and-next', `chain ${head}: descriptor with both INDIRECT and NEXT`);
    }
    if (length === 0 || length % VIRTQ_DESC_SIZE !== 0) {
      throw new QueueFault('bad-indirect-table', `chain ${head}: indirect table of ${length} bytes`);
    }
    if (!this.#memory.contains(address, length)) {
      throw new QueueFault(
        'outside-ram',
        `chain ${head}: indirect table ${range(address, length)} is not in guest RAM`,
      );
    }
  }

  /** Reads the descriptor at a linear address, which is inside RAM. */
  #read(linear: number): void {
    const descriptor = this.#descriptor;
    if (linear % 4 === 0) {
      const word = linear / 4;
      const words = this.#words;
      descriptor.address = words[word] + words[word + 1] * 2 ** 32;
      descriptor.length = words[word + 2];
      const flagsAndNext = words[word + 3];
      descriptor.flags = flagsAndNext & 0xffff;
      descriptor.next = flagsAndNext >>> 16;
    } else {
      // Nothing says that an indirect table is aligned.
      descriptor.address = this.#data.getUint32(linear, true) + this.#data.getUint32(linear + 4, true) * 2 ** 32;
      descriptor.length = this.#data.getUint32(linear + 8, true);
      descriptor.flags = this.#data.getUint16(linear + 12, true);
      descriptor.next = this.#data.getUint16(linear + 14, true);
    }
  }
}

function range(address: number, length: number): string {
  return `[0x${address.toString(16)}, +${length})`;
}
