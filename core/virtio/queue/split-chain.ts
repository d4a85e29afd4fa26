/** Descriptor chains of split virtqueues (virtio 1.3, section 2.7.5). */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_SIZE } from '../spec/split-ring.ts';
import { DescriptorReader, addBuffer, checkTable } from './descriptor-chain.ts';
import type { DescriptorChain } from './descriptor-chain.ts';
import { QueueFault } from './queue-fault.ts';

export interface ChainParserOptions {
  memory: GuestMemory;
  /** Guest physical; the table is wholly inside RAM and aligned. */
  descriptorArea: number;
  /** Entries in the table. */
  size: number;
  /** VIRTIO_F_INDIRECT_DESC is negotiated. */
  indirect: boolean;
}

export class SplitChainParser {
  readonly #memory: GuestMemory;
  readonly #table: number;
  readonly #size: number;
  readonly #indirect: boolean;
  readonly #descriptor: DescriptorReader;

  constructor({ memory, descriptorArea, size, indirect }: ChainParserOptions) {
    this.#memory = memory;
    this.#table = memory.linear(descriptorArea, size * VIRTQ_DESC_SIZE);
    this.#size = size;
    this.#indirect = indirect;
    this.#descriptor = new DescriptorReader(memory);
  }

  /**
   * Fills `chain` with the buffers of the chain that begins at `head`.
   *
   * @throws QueueFault when the driver broke a rule; the chain is then of no use
   */
  parse(chain: DescriptorChain, head: number): void {
    const descriptor = this.#descriptor;
    chain.head = head;
    chain.readable.clear();
    chain.writable.clear();

    let table = this.#table;
    let entries = this.#size;
    let index = head;
    let inIndirect = false;
    // Descriptors seen in the present table: more than it has entries is a loop.
    let seen = 0;
    for (;;) {
      if (index >= entries) {
        throw new QueueFault('bad-next', `chain ${head}: next is ${index} in a table of ${entries} descriptors`);
      }
      if (++seen > entries) throw new QueueFault('loop', `chain ${head}: loops after ${entries} descriptors`);
      descriptor.read(table + index * VIRTQ_DESC_SIZE);
      const { address, length, low: flags, high: next } = descriptor;

      if (flags & VIRTQ_DESC_F_INDIRECT) {
        if (inIndirect) {
          throw new QueueFault('indirect-in-indirect', `chain ${head}: indirect table in an indirect table`);
        }
        this.#checkIndirect(address, length, flags, head);
        table = this.#memory.linear(address, length);
        entries = length / VIRTQ_DESC_SIZE;
        index = 0;
        inIndirect = true;
        seen = 0;
        continue;
      }
      addBuffer(this.#memory, chain, address, length, flags, head, index);
      if (!(flags & VIRTQ_DESC_F_NEXT)) return;
      index = next;
    }
  }

  /** Section 2.7.5.3: the rules for the descriptor that refers to a table. Its VIRTQ_DESC_F_WRITE is ignored. */
  #checkIndirect(address: number, length: number, flags: number, head: number): void {
    if (!this.#indirect) {
      throw new QueueFault('indirect-not-negotiated', `chain ${head}: indirect descriptor without the feature`);
    }
    if (flags & VIRTQ_DESC_F_NEXT) {
      throw new QueueFault('indirect-and-next', `chain ${head}: descriptor with both INDIRECT and NEXT`);
    }
    checkTable(this.#memory, address, length, head);
  }
}
