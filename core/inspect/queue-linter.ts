/** Looks at what a driver does with a queue, on the I/O worker, while somebody watches: the rules that cost a look at each chain. */
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { QueueDecoder } from '../virtio/decoder.ts';
import { LintFindings } from '../virtio/lint/findings.ts';
import type { RuleCount } from '../virtio/lint/findings.ts';
import type { DescriptorChain } from '../virtio/queue/descriptor-chain.ts';
import type { RunningQueueConfig } from '../virtio/queue/running-queue.ts';
import { PACKED_OFFSET_MASK, PVIRTQ_DESC_F_AVAIL, PVIRTQ_DESC_F_USED } from '../virtio/spec/packed-ring.ts';
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
  VIRTQ_USED_IDX,
} from '../virtio/spec/split-ring.ts';

const KNOWN = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT;
const KNOWN_PACKED = KNOWN | PVIRTQ_DESC_F_AVAIL | PVIRTQ_DESC_F_USED;

const DESCRIPTOR_WORDS = VIRTQ_DESC_SIZE / 4;
const FNV_PRIME = 0x0100_0193;

/** Notifications that may be on their way at once. */
const MOST_ASKED = 4;

export class QueueLinter {
  readonly #findings = new LintFindings();
  #decoder: QueueDecoder | null = null;
  readonly #report = (rule: Parameters<LintFindings['add']>[0], detail: () => string): void =>
    this.#findings.add(rule, this.#config?.index ?? null, detail);
  #memory: GuestMemory | null = null;
  #config: RunningQueueConfig | null = null;
  /** All of linear memory. */
  #words: Uint32Array = new Uint32Array(0);
  /** Where the descriptor area begins in it. */
  #table = 0;
  /** Notifications for which there was no buffer yet. */
  #notified = 0;
  /** Ring entries that were seen: a notification of each may come when the device has it already. */
  #excuses = 0;
  /** With VIRTIO_F_EVENT_IDX: notifications that the device has asked for and not got. */
  #asked = 0;
  #askedAt = -1;
  /** Of a split ring: whether the device has the chain that begins at a descriptor, and a digest of its descriptors. */
  #held = new Uint8Array(0);
  #digests = new Int32Array(0);
  /** Of a split ring: the used index as the device has shown it. */
  #usedIdx = 0;

  started(memory: GuestMemory, config: RunningQueueConfig, decoder: QueueDecoder): void {
    this.#decoder = decoder;
    this.#memory = memory;
    this.#config = config;
    this.#words = new Uint32Array(memory.memory.buffer);
    this.#table = memory.linear(config.descriptorArea, config.size * VIRTQ_DESC_SIZE) / 4;
    this.#notified = 0;
    // What was made available before somebody watched.
    this.#excuses = config.size;
    // It has asked before somebody watched; and what was rung then may be counted yet.
    this.#asked = MOST_ASKED;
    this.#askedAt = -1;
    this.#held = new Uint8Array(config.size);
    this.#digests = new Int32Array(config.size);
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
    this.#decoder?.lint?.(chain.readable, chain.writable, this.#report, this.#config!.features ?? 0n);
    if (this.#config!.packed) return this.#lookAtPacked(chain);
    const { head } = chain;
    if (this.#held[head] !== 0) {
      this.#report('in-flight-again', () => `descriptor ${head} made available while the device has it`);
    }
    this.#held[head] = 1;
    this.#digests[head] = this.#digest(head, true);
  }

  /** The device is about to give a chain back. In a packed ring it writes over descriptors itself by then. */
  given({ head }: DescriptorChain): void {
    if (this.#config!.packed || this.#held[head] === 0) return;
    this.#held[head] = 0;
    if (this.#digest(head, false) !== this.#digests[head]) {
      this.#report('in-flight-changed', () => `the chain of descriptor ${head} is not as the device took it`);
    }
  }

  /**
   * The descriptors of a split queue's own table, from `head` on.
   *
   * @param report whether what is wrong with them is to be said
   * @returns a digest of them (FNV-1a, 32 bits at a time)
   */
  #digest(head: number, report: boolean): number {
    const { size } = this.#config!;
    const words = this.#words;
    let digest = head;
    for (let index = head, seen = 0; seen < size && index < size; seen++) {
      const at = this.#table + index * DESCRIPTOR_WORDS;
      const flagsAndNext = words[at + 3];
      digest = Math.imul(digest ^ words[at], FNV_PRIME);
      digest = Math.imul(digest ^ words[at + 1], FNV_PRIME);
      digest = Math.imul(digest ^ words[at + 2], FNV_PRIME);
      digest = Math.imul(digest ^ flagsAndNext, FNV_PRIME);
      if (report) this.#checkFlags(index, flagsAndNext & 0xffff, KNOWN);
      if (!(flagsAndNext & VIRTQ_DESC_F_NEXT)) break;
      index = flagsAndNext >>> 16;
    }
    return digest;
  }

  #lookAtPacked({ position }: DescriptorChain): void {
    const { size } = this.#config!;
    let index = position & PACKED_OFFSET_MASK;
    for (let seen = 0; seen < size; seen++) {
      const flags = this.#words[this.#table + index * DESCRIPTOR_WORDS + 3] >>> 16;
      this.#checkFlags(index, flags, KNOWN_PACKED);
      if (!(flags & VIRTQ_DESC_F_NEXT)) break;
      index = (index + 1) % size;
    }
  }

  #checkFlags(descriptor: number, flags: number, known: number): void {
    if ((flags & ~known) === 0) return;
    this.#report('flags-reserved', () => `descriptor ${descriptor}: flags 0x${flags.toString(16)}`);
  }
}
