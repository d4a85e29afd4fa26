/** What running split and packed queues have in common: the buffers that the device has, their order, notifications. */
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { DescriptorChain } from './descriptor-chain.ts';
import type { HookedQueue, QueueHook } from './queue-hook.ts';
import type { InflightLog } from './inflight-log.ts';
import { QueueStats } from './queue-stats.ts';
import type { HeldChain, QueuePosition, RunningQueue, RunningQueueConfig } from './running-queue.ts';

export interface QueueOptions {
  memory: GuestMemory;
  /** Slot of the device, for the statistics. */
  slot: number;
  config: RunningQueueConfig;
  /** Sends a used buffer notification. */
  interrupt: () => void;
}

/**
 * Memory ordering: ring indices, descriptor flags and event words go through Atomics, which are sequentially consistent. What
 * says that a buffer is available is therefore loaded before the buffer's descriptors; used entries are stored before
 * what says that they are there; and that is stored before the driver's event word is loaded, which is the full fence
 * that sections 2.7.7 and 2.8.10 need against a driver that re-arms at the same moment. The same holds the other way.
 */
export abstract class BaseQueue implements RunningQueue, HookedQueue {
  readonly index: number;
  readonly size: number;
  protected readonly memory: GuestMemory;
  protected readonly stats: QueueStats;
  readonly #interrupt: () => void;
  /** All chain objects there are; as many as were ever with the device at once. */
  readonly #chains: DescriptorChain[] = [];
  /** Those that nobody has. */
  readonly #spare: DescriptorChain[] = [];
  /** VIRTIO_F_IN_ORDER: what the device has, oldest first; null without. */
  readonly #order: DescriptorChain[] | null;
  /** Of #order, those that are gone. */
  #orderStart = 0;
  #inFlight = 0;
  /** Buffers marked used that the driver cannot see yet. */
  #unpublished = 0;
  /** Somebody watches. */
  protected hook: QueueHook | null = null;
  /** Where note is kept of what the device has, for the next process. */
  protected inflight: InflightLog | null = null;

  constructor({ memory, slot, config, interrupt }: QueueOptions) {
    this.index = config.index;
    this.size = config.size;
    this.memory = memory;
    this.stats = new QueueStats(memory.memory.buffer as SharedArrayBuffer, slot, config.index);
    this.#interrupt = interrupt;
    this.#order = config.inOrder ? [] : null;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  abstract readonly position: QueuePosition;
  abstract take(): DescriptorChain | null;
  /** Whether take() would find nothing. */
  protected abstract ringIsEmpty(): boolean;
  /** Takes the position in the ring back to before a chain that was taken last. */
  protected abstract rewind(chain: DescriptorChain): void;
  abstract disableNotifications(): void;
  abstract enableNotifications(): boolean;

  /** Marks the used ring: the driver can see it from publish() on, or sooner. `buffers` were used since the last one. */
  protected abstract putUsed(id: number, written: number, slots: number, buffers: number): void;

  /**
   * Lets the driver see what was put.
   *
   * @param count buffers since the last time, at least 1
   * @returns whether the driver wants to be told
   */
  protected abstract publish(count: number): boolean;

  /** Device's positions for the inspector. */
  protected abstract get availPosition(): number;
  protected abstract get usedPosition(): number;

  /** Buffers that the driver has no reason to make available again yet. */
  protected get outstanding(): number {
    const order = this.#order;
    return order ? order.length - this.#orderStart : this.#inFlight + this.#unpublished;
  }

  pop(): DescriptorChain | null {
    return this.hook === null ? this.take() : this.hook.pop();
  }

  isEmpty(): boolean {
    return (this.hook !== null && this.hook.closed) || this.ringIsEmpty();
  }

  watch(hook: QueueHook | null): void {
    this.hook = hook;
  }

  protected spareChain(): DescriptorChain {
    let chain = this.#spare.pop();
    if (!chain) {
      chain = new DescriptorChain(this.memory);
      this.#chains.push(chain);
    }
    return chain;
  }

  /** A chain was parsed and is the device's now. */
  protected taken(chain: DescriptorChain): DescriptorChain {
    chain.live = true;
    this.#inFlight++;
    if (this.inflight !== null) this.inflight.taken(chain.head);
    if (this.#order) {
      chain.written = -1;
      this.#order.push(chain);
    }
    this.stats.popped(this.availPosition, this.#inFlight);
    return chain;
  }

  putBack(chain: DescriptorChain): void {
    this.#order?.pop();
    this.#inFlight--;
    chain.live = false;
    this.inflight?.returned(chain.head);
    this.rewind(chain);
    this.#spare.push(chain);
    this.stats.returned(this.availPosition, this.#inFlight);
  }

  push(chain: DescriptorChain, written: number): void {
    if (this.hook === null) this.put(chain, written);
    else this.hook.push(chain, written);
  }

  put(chain: DescriptorChain, written: number): void {
    this.#inFlight--;
    if (this.#order) {
      chain.written = written;
      return;
    }
    chain.live = false;
    this.putUsed(chain.head, written, chain.slots, 1);
    if (this.inflight !== null) this.inflight.using(chain.head);
    this.#unpublished++;
    this.#spare.push(chain);
  }

  flush(): void {
    if (this.#order) this.#putInOrder(this.#order);
    const count = this.#unpublished;
    if (count === 0) return;
    this.#unpublished = 0;
    const wanted = this.publish(count);
    if (this.inflight !== null) this.inflight.published(this.usedPosition);
    this.stats.used(count, this.usedPosition, this.#inFlight);
    if (this.hook === null ? wanted : this.hook.published(count, wanted)) {
      this.stats.interrupted();
      this.#interrupt();
    } else {
      this.stats.suppressed();
    }
  }

  /**
   * Sections 2.7.9 and 2.8.8: one entry for a run of buffers, with the id of the last. Those before it count as wholly
   * used, so one that was not ends its run.
   */
  #putInOrder(order: DescriptorChain[]): void {
    let slots = 0;
    let buffers = 0;
    let next = this.#orderStart;
    while (next < order.length && order[next].written >= 0) {
      const chain = order[next++];
      slots += chain.slots;
      buffers++;
      const { head, written, writable } = chain;
      const goesOn = next < order.length && order[next].written >= 0;
      if (!goesOn || written !== writable.length) {
        this.putUsed(head, written, slots, buffers);
        this.#unpublished += buffers;
        slots = buffers = 0;
      }
      this.inflight?.using(head);
      chain.live = false;
      this.#spare.push(chain);
    }
    this.#orderStart = next;
    if (next === order.length) {
      order.length = 0;
      this.#orderStart = 0;
    } else if (next > this.size) {
      order.splice(0, next);
      this.#orderStart = 0;
    }
  }

  held(): HeldChain[] {
    return this.#chains
      .filter(({ live }) => live)
      .map(({ head, position, slots, readable, writable }) => ({
        head,
        position,
        slots,
        readable: readable.ranges(),
        writable: writable.ranges(),
      }));
  }

  countNotifications(count: number): void {
    this.stats.notified(count);
    this.hook?.notified(count);
  }

  recordFault(code: number): void {
    this.stats.failed(code);
    this.hook?.failed(code);
  }
}
