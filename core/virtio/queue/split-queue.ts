/** A running split virtqueue (virtio 1.3, section 2.7). */
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_USED_F_NO_NOTIFY,
  availRingBytes,
  usedRingBytes,
} from '../spec/split-ring.ts';
import { BaseQueue } from './base-queue.ts';
import type { QueueOptions } from './base-queue.ts';
import type { DescriptorChain } from './descriptor-chain.ts';
import { InflightLog } from './inflight-log.ts';
import { QueueFault } from './queue-fault.ts';
import type { QueuePosition } from './running-queue.ts';
import { SplitChainParser } from './split-chain.ts';

// Indices of 16-bit words in the rings.
const FLAGS = 0;
const IDX = 1;
const RING = 2;
/** DescriptorChain.position of what is taken again. */
const AGAIN = -1;

export class SplitQueue extends BaseQueue {
  readonly #mask: number;
  readonly #eventIdx: boolean;
  readonly #notifyOnEmpty: boolean;
  readonly #avail: Uint16Array<SharedArrayBuffer>;
  readonly #used: Uint16Array<SharedArrayBuffer>;
  /** The used ring as 32-bit words: word 0 is flags and idx, then (id, len) pairs. */
  readonly #usedWords: Uint32Array<SharedArrayBuffer>;
  readonly #parser: SplitChainParser;

  #availIdx: number;
  /** The available index as last read. */
  #availSeen: number;
  /** Used index, with what the driver cannot see yet. */
  #usedIdx: number;
  /** What an earlier process had taken and not used: taken again first. Empty: there is none (left). */
  #again: number[] = [];

  constructor(options: QueueOptions) {
    super(options);
    const { memory, config } = options;
    const { size, descriptorArea, driverArea, deviceArea, indirect, eventIdx, notifyOnEmpty, position } = config;
    const buffer = memory.memory.buffer as SharedArrayBuffer;
    this.#mask = size - 1;
    this.#eventIdx = eventIdx;
    this.#notifyOnEmpty = notifyOnEmpty;
    const driver = memory.linear(driverArea, availRingBytes(size));
    const device = memory.linear(deviceArea, usedRingBytes(size));
    this.#avail = new Uint16Array(buffer, driver, availRingBytes(size) / 2);
    this.#used = new Uint16Array(buffer, device, usedRingBytes(size) / 2);
    this.#usedWords = new Uint32Array(buffer, device, 1 + 2 * size);
    this.#parser = new SplitChainParser({ memory, descriptorArea, size, indirect });
    this.#availIdx = position.availIdx;
    this.#usedIdx = position.usedIdx;
    if (config.inflight) {
      this.inflight = new InflightLog(config.inflight, size);
      this.#usedIdx = Atomics.load(this.#used, IDX);
      this.#again = this.inflight.recover(this.#usedIdx);
      this.#availIdx = (this.#usedIdx + this.#again.length) & 0xffff;
    }
    this.#availSeen = this.#availIdx;
    this.stats.started(this.#availIdx, this.#usedIdx);
  }

  get position(): QueuePosition {
    return { availIdx: this.#availIdx, usedIdx: this.#usedIdx };
  }

  protected get availPosition(): number {
    return this.#availIdx;
  }

  protected get usedPosition(): number {
    return this.#usedIdx;
  }

  take(): DescriptorChain | null {
    if (this.#again.length > 0) return this.#takeAgain(this.#again.shift()!);
    if (this.#availIdx === this.#availSeen && !this.#refresh()) return null;
    if (this.outstanding === this.size) {
      throw new QueueFault('too-many-in-flight', `more than ${this.size} buffers made available at once`);
    }
    const head = this.#avail[RING + (this.#availIdx & this.#mask)];
    if (head >= this.size) {
      throw new QueueFault('bad-head', `available entry ${this.#availIdx} is ${head} in a queue of ${this.size}`);
    }
    const chain = this.spareChain();
    this.#parser.parse(chain, head);
    chain.position = this.#availIdx;
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    return this.taken(chain);
  }

  #takeAgain(head: number): DescriptorChain {
    const chain = this.spareChain();
    this.#parser.parse(chain, head);
    chain.position = AGAIN;
    return this.taken(chain);
  }

  protected rewind(chain: DescriptorChain): void {
    if (chain.position === AGAIN) this.#again.unshift(chain.head);
    else this.#availIdx = chain.position;
  }

  protected ringIsEmpty(): boolean {
    return (
      this.#again.length === 0 &&
      this.#availIdx === this.#availSeen &&
      Atomics.load(this.#avail, IDX) === this.#availIdx
    );
  }

  /** Reads the available index again; whether it has moved. */
  #refresh(): boolean {
    const seen = Atomics.load(this.#avail, IDX);
    const ahead = (seen - this.#availIdx) & 0xffff;
    if (ahead > this.size) {
      throw new QueueFault('index-jump', `available index went from ${this.#availIdx} to ${seen}, size ${this.size}`);
    }
    this.#availSeen = seen;
    if (ahead !== 0) this.hook?.available(this.#availIdx, ahead);
    return ahead !== 0;
  }

  protected putUsed(id: number, written: number, _slots: number, buffers: number): void {
    const entry = 1 + 2 * (this.#usedIdx & this.#mask);
    this.#usedWords[entry] = id;
    this.#usedWords[entry + 1] = written;
    this.#usedIdx = (this.#usedIdx + buffers) & 0xffff;
  }

  protected publish(count: number): boolean {
    Atomics.store(this.#used, IDX, this.#usedIdx);
    return this.#driverWantsNotification(count);
  }

  /** Section 2.7.7, for the `count` entries before the used index. */
  #driverWantsNotification(count: number): boolean {
    if (this.#notifyOnEmpty && this.inFlight === 0 && this.ringIsEmpty()) return true;
    if (!this.#eventIdx) return (Atomics.load(this.#avail, FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    const usedEvent = Atomics.load(this.#avail, RING + this.size);
    // Whether usedEvent is one of the entries just written, modulo 2^16.
    return ((this.#usedIdx - usedEvent - 1) & 0xffff) < count;
  }

  disableNotifications(): void {
    // With event indices nothing is to be done: avail_event stays behind, and the driver passes it once.
    if (!this.#eventIdx) Atomics.store(this.#used, FLAGS, VIRTQ_USED_F_NO_NOTIFY);
  }

  enableNotifications(): boolean {
    if (this.#eventIdx) {
      Atomics.store(this.#used, RING + 4 * this.size, this.#availIdx);
      this.hook?.armed(this.#availIdx);
    } else {
      Atomics.store(this.#used, FLAGS, 0);
    }
    return !this.isEmpty();
  }
}
