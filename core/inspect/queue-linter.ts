/** Looks at what a driver does with a queue, on the I/O worker, while somebody watches: the rules that cost a look at each chain. */
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { QueueDecoder } from '../virtio/decoder.ts';
import { LintFindings } from '../virtio/lint/findings.ts';
import type { RuleCount } from '../virtio/lint/findings.ts';
import type { DescriptorChain } from '../virtio/queue/descriptor-chain.ts';
import type { RunningQueueConfig } from '../virtio/queue/running-queue.ts';
import {
  PACKED_OFFSET_MASK,
  PVIRTQ_DESC_F_AVAIL,
  PVIRTQ_DESC_F_USED,
  PVIRTQ_DESC_FLAGS,
} from '../virtio/spec/packed-ring.ts';
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_FLAGS,
  VIRTQ_DESC_NEXT,
  VIRTQ_DESC_SIZE,
} from '../virtio/spec/split-ring.ts';

const KNOWN = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT;
const KNOWN_PACKED = KNOWN | PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED;

export class QueueLinter {
  readonly #findings = new LintFindings();
  #decoder: QueueDecoder | null = null;
  readonly #report = (rule: Parameters<LintFindings['add']>[0], detail: () => string): void =>
    this.#findings.add(rule, this.#config?.index ?? null, detail);
  #memory: GuestMemory | null = null;
  #config: RunningQueueConfig | null = null;
  #words: Uint16Array | null = null;
  /** Notifications for which there was no buffer yet. */
  #notified = 0;
  /** Ring entries that were seen: a notification of each may come when the device has it already. */
  #excuses = 0;

  started(memory: GuestMemory, config: RunningQueueConfig, decoder: QueueDecoder): void {
    this.#decoder = decoder;
    this.#memory = memory;
    this.#config = config;
    this.#words = new Uint16Array(memory.memory.buffer);
    this.#notified = 0;
    // What was made available before somebody watched.
    this.#excuses = config.size;
  }

  get counts(): RuleCount[] {
    return this.#findings.counts;
  }

  clear(): void {
    this.#findings.clear();
  }

  notified(count: number): void {
    const excused = Math.min(count, this.#excuses);
    this.#excuses -= excused;
    this.#notified += count - excused;
  }

  available(entries: number): void {
    const { packed, eventIdx, driverArea, size } = this.#config!;
    this.#notified = 0;
    this.#excuses = Math.min(size, this.#excuses + entries);
    if (packed) return;
    const flags = this.#memory!.loadU16(driverArea);
    if ((flags & ~VIRTQ_AVAIL_F_NO_INTERRUPT) !== 0 || (eventIdx && flags !== 0)) {
      this.#report('avail-flags', () => `flags ${flags}${eventIdx ? ' with VIRTIO_F_EVENT_IDX' : ''}`);
    }
  }

  /** The device looked for buffers and found none. */
  empty(): void {
    if (this.#notified > 0) {
      const count = this.#notified;
      this.#notified = 0;
      this.#report('notify-empty', () => `notified (${count}) with nothing new in the ring`);
    }
  }

  chain(chain: DescriptorChain): void {
    this.#flags(chain);
    this.#decoder?.lint?.(chain.readable, chain.writable, this.#report);
  }

  /** The descriptors of the queue's own table. */
  #flags({ head, position }: DescriptorChain): void {
    const { packed, size, descriptorArea } = this.#config!;
    const words = this.#words!;
    const table = this.#memory!.linear(descriptorArea, size * VIRTQ_DESC_SIZE);
    const [flagsAt, known] = packed ? [PVIRTQ_DESC_FLAGS, KNOWN_PACKED] : [VIRTQ_DESC_FLAGS, KNOWN];
    let index = packed ? position & PACKED_OFFSET_MASK : head;
    for (let seen = 0; seen < size && index < size; seen++) {
      const at = table + index * VIRTQ_DESC_SIZE;
      const flags = words[(at + flagsAt) / 2];
      if (flags & ~known) {
        const name = index;
        this.#report('flags-reserved', () => `descriptor ${name}: flags 0x${flags.toString(16)}`);
      }
      if (!(flags & VIRTQ_DESC_F_NEXT)) return;
      index = packed ? (index + 1) % size : words[(at + VIRTQ_DESC_NEXT) / 2];
    }
  }
}
