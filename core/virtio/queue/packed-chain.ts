/** Descriptor lists of packed virtqueues (virtio 1.3, sections 2.8.5 to 2.8.7). */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { isAvailable } from '../spec/packed-ring.ts';
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_SIZE } from '../spec/split-ring.ts';
import { DescriptorReader, addBuffer, checkTable } from './descriptor-chain.ts';
import type { DescriptorChain } from './descriptor-chain.ts';
import { QueueFault } from './queue-fault.ts';
import type { ChainParserOptions } from './split-chain.ts';

export class PackedChainParser {
  readonly #memory: GuestMemory;
  readonly #words: Uint32Array<SharedArrayBuffer>;
  readonly #size: number;
  readonly #indirect: boolean;
  readonly #descriptor: DescriptorReader;

  constructor({ memory, descriptorArea, size, indirect }: ChainParserOptions) {
    this.#memory = memory;
    this.#words = new Uint32Array(
      memory.memory.buffer as SharedArrayBuffer,
      memory.linear(descriptorArea, size * VIRTQ_DESC_SIZE),
      (size * VIRTQ_DESC_SIZE) / 4,
    );
    this.#size = size;
    this.#indirect = indirect;
    this.#descriptor = new DescriptorReader(memory);
  }

  /**
   * Fills `chain` with the buffers of the list that begins at ring offset `first`, its id and the descriptors it takes.
   *
   * @param idAndFlags the first descriptor's last four bytes, by which it was found available: they are not read again
   * @param wrap the device's wrap counter there, 0 or 1
   * @throws QueueFault when the driver broke a rule; the chain is then of no use
   */
  parse(chain: DescriptorChain, first: number, idAndFlags: number, wrap: number): void {
    const words = this.#words;
    chain.readable.clear();
    chain.writable.clear();
    let index = first;
    let last = idAndFlags;
    for (let slots = 1; ; slots++) {
      const word = 4 * index;
      const address = words[word] + words[word + 1] * 2 ** 32;
      const length = words[word + 2];
      const flags = last >>> 16;
      if (flags & VIRTQ_DESC_F_INDIRECT) {
        if (slots > 1 || flags & VIRTQ_DESC_F_NEXT) {
          throw new QueueFault('indirect-and-next', `chain at ${first}: indirect descriptor in a list (2.8.19)`);
        }
        this.#parseTable(chain, address, length, first);
      } else {
        addBuffer(this.#memory, chain, address, length, flags, first, index);
      }
      if (!(flags & VIRTQ_DESC_F_NEXT)) {
        // The id is in the last descriptor of the list.
        chain.head = last & 0xffff;
        chain.slots = slots;
        return;
      }
      if (slots === this.#size) throw new QueueFault('loop', `chain at ${first}: more than ${slots} descriptors`);
      if (++index === this.#size) {
        index = 0;
        wrap ^= 1;
      }
      last = words[4 * index + 3];
      if (!isAvailable(last >>> 16, wrap)) {
        throw new QueueFault('partial-chain', `chain at ${first}: goes on at ${index}, which is not available`);
      }
    }
  }

  /** Section 2.8.7: all of the table, in its order; VIRTQ_DESC_F_WRITE is the only flag there, others are ignored. */
  #parseTable(chain: DescriptorChain, address: number, length: number, first: number): void {
    if (!this.#indirect) {
      throw new QueueFault('indirect-not-negotiated', `chain at ${first}: indirect descriptor without the feature`);
    }
    checkTable(this.#memory, address, length, first);
    const descriptor = this.#descriptor;
    const table = this.#memory.linear(address, length);
    for (let offset = 0; offset < length; offset += VIRTQ_DESC_SIZE) {
      descriptor.read(table + offset);
      const index = offset / VIRTQ_DESC_SIZE;
      addBuffer(this.#memory, chain, descriptor.address, descriptor.length, descriptor.high, first, index);
    }
  }
}
