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
  VIRTQ_USED_IDX,
} from '../virtio/spec/split-ring.ts';

const KNOWN = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT;
const KNOWN_PACKED = KNOWN | PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED;

/** Notifications that may be on their way at once. */
const MOST_ASKED = 4;

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
  /** With VIRTIO_F_EVENT_IDX: notifications that the device has asked for and not got. */
  #asked = 0;
  #askedAt = -1;
  /** Of a split ring: digests of the descriptors that the device has, by head. */
  readonly #taken = new Map<number, number>();
  /** Of a split ring: the used index as the device has shown it. */
  #usedIdx = 0;

  started(memory: GuestMemory, config: RunningQueueConfig, decoder: QueueDecoder): void {
    this.#decoder = decoder;
    this.#memory = memory;
    this.#config = config;
    this.#words = new Uint16Array(memory.memory.buffer);
    this.#notified = 0;
    // What was made available before somebody watched.
    this.#excuses = config.size;
    // It has asked before somebody watched; and what was rung then may be counted yet.
    this.#asked = MOST_ASKED;
    this.#askedAt = -1;
    this.#taken.clear();
    this.#usedIdx = config.packed ? 0 : memory.loadU16(config.deviceArea + VIRTQ_USED_IDX);
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
    if (!this.#config!.eventIdx || this.#config!.packed) return;
    this.#asked -= count;
    if (this.#asked >= 0) return;
    const needless = -this.#asked;
    this.#asked = 0;
    this.#report('notify-unwanted', () => `${needless} more than the device asked for`);
  }

  armed(position: number): void {
    // Asked for again, and not given: once is enough.
    if (position === this.#askedAt) return;
    this.#askedAt = position;
    this.#asked = Math.min(MOST_ASKED, this.#asked + 1);
  }

  /** The device has shown used buffers. */
  published(count: number): void {
    this.#usedIdx = (this.#usedIdx + count) & 0xffff;
  }

  available(entries: number): void {
    const { packed, eventIdx, driverArea, deviceArea, size } = this.#config!;
    this.#notified = 0;
    this.#excuses = Math.min(size, this.#excuses + entries);
    if (packed) return;
    const idx = this.#memory!.loadU16(deviceArea + VIRTQ_USED_IDX);
    if (idx !== this.#usedIdx) {
      const shown = this.#usedIdx;
      this.#usedIdx = idx;
      this.#report('used-written', () => `used.idx is ${idx}; the device has written ${shown}`);
    }
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
    const digest = this.#look(chain, true);
    this.#decoder?.lint?.(chain.readable, chain.writable, this.#report, this.#config?.features ?? 0n);
    if (this.#config!.packed) return;
    const { head } = chain;
    if (this.#taken.has(head)) {
      this.#report('in-flight-again', () => `descriptor ${head} made available while the device has it`);
    }
    this.#taken.set(head, digest);
  }

  /** The device is about to give a chain back. In a packed ring it writes over descriptors itself by then. */
  given(chain: DescriptorChain): void {
    const { head } = chain;
    const before = this.#taken.get(head);
    if (before === undefined) return;
    this.#taken.delete(head);
    if (this.#look(chain, false) !== before) {
      this.#report('in-flight-changed', () => `the chain of descriptor ${head} is not as the device took it`);
    }
  }

  /**
   * The descriptors of the queue's own table.
   *
   * @param report whether what is wrong with them is to be said
   * @returns a digest of them
   */
  #look({ head, position }: DescriptorChain, report: boolean): number {
    const { packed, size, descriptorArea } = this.#config!;
    const words = this.#words!;
    const table = this.#memory!.linear(descriptorArea, size * VIRTQ_DESC_SIZE);
    const [flagsAt, known] = packed ? [PVIRTQ_DESC_FLAGS, KNOWN_PACKED] : [VIRTQ_DESC_FLAGS, KNOWN];
    let index = packed ? position & PACKED_OFFSET_MASK : head;
    let digest = index;
    for (let seen = 0; seen < size && index < size; seen++) {
      const at = table + index * VIRTQ_DESC_SIZE;
      for (let word = 0; word < VIRTQ_DESC_SIZE / 2; word++) digest = mix(digest, words[at / 2 + word]);
      const flags = words[(at + flagsAt) / 2];
      if (report && flags & ~known) {
        const name = index;
        this.#report('flags-reserved', () => `descriptor ${name}: flags 0x${flags.toString(16)}`);
      }
      if (!(flags & VIRTQ_DESC_F_NEXT)) break;
      index = packed ? (index + 1) % size : words[(at + VIRTQ_DESC_NEXT) / 2];
    }
    return digest;
  }
}

/** FNV-1a, 16 bits at a time. */
function mix(digest: number, word: number): number {
  return Math.imul(digest ^ word, 0x0100_0193);
}
