/** Running queues against a driver gone mad, with a device that completes buffers in any order. */
import type { GuestMemory } from '../../core/memory/guest-memory.ts';
import { createRunningQueue } from '../../core/virtio/queue/create-queue.ts';
import type { DescriptorChain } from '../../core/virtio/queue/descriptor-chain.ts';
import { QueueFault } from '../../core/virtio/queue/queue-fault.ts';
import { startPosition } from '../../core/virtio/queue/running-queue.ts';
import { RAM_OFFSET } from '../../core/worker/layout.ts';
import { GuestAllocator } from '../harness/guest.ts';
import { Random } from './random.ts';
import { WildRing } from './wild-ring.ts';

export interface QueueFuzzResult {
  operations: number;
  /** Chains that kept the rules. */
  taken: number;
  /** By kind of fault. */
  faults: Map<string, number>;
}

/** @throws Error for whatever is not a QueueFault, and for a buffer outside RAM */
export function fuzzQueues(memory: GuestMemory, seed: number, operations: number, packed: boolean): QueueFuzzResult {
  const random = new Random(seed);
  const faults = new Map<string, number>();
  const allocator = new GuestAllocator(memory);
  const end = RAM_OFFSET + memory.ramSize;
  let done = 0;
  let taken = 0;
  while (done < operations) {
    allocator.reset();
    const size = packed ? 1 + random.below(40) : 2 ** random.below(6);
    const areas = {
      descriptorArea: allocator.alloc(16 * size),
      driverArea: allocator.alloc(6 + 2 * size, 4),
      deviceArea: allocator.alloc(6 + 8 * size, 4),
    };
    const config = {
      index: 0,
      size,
      ...areas,
      packed,
      indirect: !random.oneIn(4),
      eventIdx: random.oneIn(2),
      inOrder: random.oneIn(2),
      notifyOnEmpty: !packed && random.oneIn(4),
      position: startPosition(packed),
      doorbell: 0,
    };
    const queue = createRunningQueue({ memory, slot: 0, config, interrupt: () => {} });
    const ring = new WildRing({ memory, random, areas, size, packed, reach: memory.ramSize });
    const held: DescriptorChain[] = [];
    try {
      for (let life = 0; life < 4000 && done < operations; life++, done++) {
        const choice = random.below(10);
        if (choice < 5) {
          ring.write();
        } else if (choice < 7) {
          const chain = queue.pop();
          if (!chain) continue;
          taken++;
          for (const part of [chain.readable, chain.writable]) {
            let total = 0;
            for (const { address, length } of part.ranges()) {
              if (!memory.contains(address, length)) throw new Error(`a buffer outside RAM: ${address}, ${length}`);
              total += length;
            }
            if (total !== part.length) throw new Error(`segments of ${total} bytes say ${part.length}`);
            if (part.length > 0 && part.length < 4096) {
              for (const view of part.views(0, part.length)) {
                if (view.byteOffset < RAM_OFFSET || view.byteOffset + view.length > end) throw new Error('a bad view');
              }
            }
          }
          held.push(chain);
        } else if (choice < 8) {
          if (held.length === 0) continue;
          const [chain] = held.splice(random.below(held.length), 1);
          const written = Math.min(chain.writable.length, 8);
          if (written > 0) chain.writable.copyIn(0, new Uint8Array(written).fill(life & 0xff));
          queue.push(chain, random.oneIn(2) ? written : chain.writable.length);
        } else if (choice < 9) {
          queue.flush();
        } else if (random.oneIn(2)) {
          queue.disableNotifications();
        } else {
          queue.enableNotifications();
        }
        if (queue.inFlight !== held.length) throw new Error(`${queue.inFlight} in flight, ${held.length} held`);
        if (held.length > size) throw new Error(`${held.length} buffers of a queue of ${size}`);
      }
    } catch (error) {
      if (!(error instanceof QueueFault) || error.message === '') throw error;
      faults.set(error.kind, (faults.get(error.kind) ?? 0) + 1);
    }
  }
  return { operations: done, taken, faults };
}
