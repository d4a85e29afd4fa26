/** A running split virtqueue (virtio 1.3, section 2.7). */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_USED_F_NO_NOTIFY,
  availRingBytes,
  usedRingBytes,
} from '../spec/split-ring.ts';
import { ChainParser, DescriptorChain } from './descriptor-chain.ts';
import { QueueFault } from './queue-fault.ts';
import { QueueStats } from './queue-stats.ts';
import type { QueuePosition, RunningQueue, RunningQueueConfig } from './running-queue.ts';

// Indices of 16-bit words in the rings.
const FLAGS = 0;
const IDX = 1;
const RING = 2;

export interface SplitQueueOptions {
  memory: GuestMemory;
  /** Slot of the device, for the statistics. */
  slot: number;
  config: RunningQueueConfig;
  /** Sends a used buffer notification. */
  interrupt: () => void;
}

/**
 * Memory ordering: ring indices, flags and event indices go through Atomics, which are sequentially consistent. A load of
 * the available index therefore comes before the loads of the entries it covers; stores of used entries come before the
 * store of the used index; and that store comes before the load of used_event or flags, which is the full fence that
 * section 2.7.7 needs against a driver that re-arms at the same moment. The same holds for avail_event.
 */
export class SplitQueue implements RunningQueue {
  readonly index: number;
  readonly size: number;
  readonly #mask: number;
  readonly #eventIdx: boolean;
  readonly #notifyOnEmpty: boolean;
  readonly #avail: Uint16Array<SharedArrayBuffer>;
  readonly #used: Uint16Array<SharedArrayBuffer>;
  /** The used ring as 32-bit words: word 0 is flags and idx, then (id, len) pairs. */
  readonly #usedWords: Uint32Array<SharedArrayBuffer>;
  readonly #parser: ChainParser;
  readonly #stats: QueueStats;
  readonly #memory: GuestMemory;
  readonly #interrupt: () => void;
  /** Chain objects that nobody holds. */
  readonly #spare: DescriptorChain[] = [];

  #availIdx: number;
  /** The available index as last read. */
  #availSeen: number;
  #usedIdx: number;
  /** Buffers in the used ring that the used index does not cover yet. */
  #unpublished = 0;
  #inFlight = 0;

  constructor({ memory, slot, config, interrupt }: SplitQueueOptions) {
    const { index, size, descriptorArea, driverArea, deviceArea, indirect, eventIdx, notifyOnEmpty } = config;
    const buffer = memory.memory.buffer as SharedArrayBuffer;
    this.index = index;
    this.size = size;
    this.#mask = size - 1;
    this.#eventIdx = eventIdx;
    this.#notifyOnEmpty = notifyOnEmpty;
    const driver = memory.linear(driverArea, availRingBytes(size));
    const device = memory.linear(deviceArea, usedRingBytes(size));
    this.#avail = new Uint16Array(buffer, driver, availRingBytes(size) / 2);
    this.#used = new Uint16Array(buffer, device, usedRingBytes(size) / 2);
    this.#usedWords = new Uint32Array(buffer, device, 1 + 2 * size);
    this.#parser = new ChainParser({ memory, descriptorArea, size, indirect });
    this.#stats = new QueueStats(buffer, slot, index);
    this.#memory = memory;
    this.#interrupt = interrupt;
    this.#availIdx = config.position.availIdx;
    this.#availSeen = this.#availIdx;
    this.#usedIdx = config.position.usedIdx;
    this.#stats.started(this.#availIdx, this.#usedIdx);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get position(): QueuePosition {
    return { availIdx: this.#availIdx, usedIdx: this.#usedIdx };
  }

  pop(): DescriptorChain | null {
    if (this.#availIdx === this.#availSeen && !this.#refresh()) return null;
    if (this.#inFlight === this.size) {
      throw new QueueFault('too-many-in-flight', `more than ${this.size} buffers made available at once`);
    }
    const head = this.#avail[RING + (this.#availIdx & this.#mask)];
    if (head >= this.size) {
      throw new QueueFault('bad-head', `available entry ${this.#availIdx} is ${head} in a queue of ${this.size}`);
    }
    const chain = this.#spare.pop() ?? new DescriptorChain(this.#memory);
    this.#parser.parse(chain, head);
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    this.#inFlight++;
    this.#stats.popped(this.#availIdx, this.#inFlight);
    return chain;
  }

  isEmpty(): boolean {
    return this.#availIdx === this.#availSeen && Atomics.load(this.#avail, IDX) === this.#availIdx;
  }

  /** Reads the available index again; whether it has moved. */
  #refresh(): boolean {
    const seen = Atomics.load(this.#avail, IDX);
    const ahead = (seen - this.#availIdx) & 0xffff;
    if (ahead > this.size) {
      throw new QueueFault('index-jump', `available index went from ${this.#availIdx} to ${seen}, size ${this.size}`);
    }
    this.#availSeen = seen;
    return ahead !== 0;
  }

  push(chain: DescriptorChain, written: number): void {
    const entry = 1 + 2 * ((this.#usedIdx + this.#unpublished) & this.#mask);
    this.#usedWords[entry] = chain.head;
    this.#usedWords[entry + 1] = written;
    this.#unpublished++;
    this.#inFlight--;
    this.#spare.push(chain);
  }

  flush(): void {
    const count = this.#unpublished;
    if (count === 0) return;
    const usedIdx = (this.#usedIdx + count) & 0xffff;
    this.#unpublished = 0;
    this.#usedIdx = usedIdx;
    Atomics.store(this.#used, IDX, usedIdx);
    this.#stats.used(count, usedIdx, this.#inFlight);
    if (this.#driverWantsNotification(usedIdx, count)) {
      this.#stats.interrupted();
      this.#interrupt();
    } else {
      this.#stats.suppressed();
    }
  }

  /** Section 2.7.7, for the `count` entries before `usedIdx`. */
  #driverWantsNotification(usedIdx: number, count: number): boolean {
    if (this.#notifyOnEmpty && this.#inFlight === 0 && this.isEmpty()) return true;
    if (!this.#eventIdx) return (Atomics.load(this.#avail, FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    const usedEvent = Atomics.load(this.#avail, RING + this.size);
    // Whether usedEvent is one of the entries just written, modulo 2^16.
    return ((usedIdx - usedEvent - 1) & 0xffff) < count;
  }

  disableNotifications(): void {
    // With event indices nothing is to be done: avail_event stays behind, and the driver passes it once.
    if (!this.#eventIdx) Atomics.store(this.#used, FLAGS, VIRTQ_USED_F_NO_NOTIFY);
  }

  enableNotifications(): boolean {
    if (this.#eventIdx) Atomics.store(this.#used, RING + 4 * this.size, this.#availIdx);
    else Atomics.store(this.#used, FLAGS, 0);
    return !this.isEmpty();
  }

  countNotifications(count: number): void {
    this.#stats.notified(count);
  }

  recordFault(code: number): void {
    this.#stats.failed(code);
  }
}
