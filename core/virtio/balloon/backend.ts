/** The I/O worker's half of virtio-balloon. */
import { RAM_BASE } from '../../memory/guest-memory.ts';
import { RAM_OFFSET } from '../../worker/layout.ts';
import { errorLine } from '../../errors.ts';
import { isHostError } from '../../host/host.ts';
import type { BackendContext, VirtioBackend } from '../backend/backend.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import {
  BALLOON_DEFLATEQ,
  BALLOON_FREE_PAGE_VQ,
  BALLOON_INFLATEQ,
  BALLOON_PAGE_SIZE,
  BALLOON_STATSQ,
  BALLOON_STAT_NAMES,
  BALLOON_STAT_SIZE,
  VIRTIO_BALLOON_CMD_ID_STOP,
} from '../spec/balloon.ts';
import { PageSet } from './page-set.ts';

export interface BalloonBackendOptions {
  /** Bytes of RAM that the board has: what may be in the balloon. */
  readonly ramSize: number;
}

/** Parameters of an activation. */
export interface BalloonActivation {
  /** VIRTIO_BALLOON_F_FREE_PAGE_HINT is negotiated. */
  readonly hint: boolean;
  /** poison_val, 0 when pages are not poisoned. */
  readonly poison: number;
  /** Milliseconds between requests for statistics; 0: none. */
  readonly poll: number;
}

/** Changes from the control thread. */
export type BalloonChange =
  | { readonly kind: 'poll'; readonly interval: number }
  | { readonly kind: 'poison'; readonly value: number }
  | { readonly kind: 'hint'; readonly command: number }
  /** The device was reset: the guest has all its pages again. */
  | { readonly kind: 'reset' };

/** What the worker's half tells the control thread. */
export type BalloonReport =
  /** [tag, value] as the driver gave them. */
  | { readonly kind: 'stats'; readonly values: readonly (readonly [number, bigint])[] }
  /** The driver has given all its hints for a command. */
  | { readonly kind: 'hinted'; readonly command: number; readonly bytes: number }
  /** The host does not take memory back, and why. */
  | { readonly kind: 'not-released'; readonly reason: string };

/** Page numbers looked at before other queues and the control thread have their turn. */
const TURN_PAGES = 4096;
/** Free ranges, for the same. */
const TURN_RANGES = 64;
/** Statistics looked at in one buffer: more than there are tags. */
const STATS_MAX = 64;
/** Statistics that nobody asked for are passed on so often at most, ms. */
const UNASKED_STATS_INTERVAL = 100;

export function createBalloonBackend(options: unknown, context: BackendContext): VirtioBackend {
  return new BalloonBackend(options as BalloonBackendOptions, context);
}

export class BalloonBackend implements VirtioBackend {
  readonly #context: BackendContext;
  readonly #ramSize: number;
  /** Bytes that the host releases at a time, 0 when it releases nothing. */
  #granularity: number;
  readonly #inflated: PageSet;
  readonly #queues = new Map<number, RunningQueue>();
  /** Buffers of page numbers that are not all looked at yet, by queue. */
  readonly #begun = new Map<number, { chain: DescriptorChain; done: number }>();
  readonly #numbers = new Uint8Array(TURN_PAGES * 4);
  readonly #numberView = new DataView(this.#numbers.buffer);
  #activation: BalloonActivation = { hint: false, poison: 0, poll: 0 };
  #poison = 0;

  /** The statistics buffer, which the device keeps until it wants new ones (section 5.5.6.3). */
  #statsHeld: DescriptorChain | null = null;
  #pollInterval = 0;
  #pollAt = Infinity;
  #statsReported = -Infinity;

  /** The hinting command that the driver has been given, whether it has taken it up, and bytes hinted since. */
  #hint: { command: number; started: boolean; bytes: number } | null = null;

  constructor({ ramSize }: BalloonBackendOptions, context: BackendContext) {
    this.#context = context;
    this.#ramSize = ramSize;
    this.#granularity = context.host.releaseGranularity;
    this.#inflated = new PageSet(Math.ceil(ramSize / BALLOON_PAGE_SIZE), this.#granularity);
  }

  start(queues: readonly RunningQueue[], activation: unknown): void {
    for (const queue of queues) this.#queues.set(queue.index, queue);
    this.#activation = activation as BalloonActivation;
    this.#poison = this.#activation.poison;
    this.#poll(this.#activation.poll);
  }

  stop(queues: readonly number[]): void {
    for (const index of queues) {
      this.#queues.delete(index);
      this.#begun.delete(index);
      if (index === BALLOON_STATSQ) this.#statsHeld = null;
    }
  }

  configure(change: unknown): void {
    const what = change as BalloonChange;
    switch (what.kind) {
      case 'poll':
        this.#poll(what.interval);
        break;
      case 'poison':
        this.#poison = what.value;
        break;
      case 'hint':
        this.#hint = what.command === VIRTIO_BALLOON_CMD_ID_STOP ? null : { ...what, started: false, bytes: 0 };
        break;
      case 'reset':
        this.#inflated.clear();
        this.#hint = null;
        this.#poison = 0;
        break;
    }
  }

  #poll(interval: number): void {
    this.#pollInterval = interval;
    this.#pollAt = interval > 0 ? this.#context.now() : Infinity;
  }

  isDue(queue: number): boolean {
    return queue === BALLOON_STATSQ && this.#statsHeld !== null && this.#context.now() >= this.#pollAt;
  }

  deadline(): number {
    return this.#statsHeld ? this.#pollAt : Infinity;
  }

  serve(index: number): boolean {
    const queue = this.#queues.get(index);
    if (!queue) return false;
    if (index === BALLOON_INFLATEQ || index === BALLOON_DEFLATEQ) return this.#servePages(queue);
    if (index === BALLOON_STATSQ) return this.#serveStats(queue);
    // Linux gives the reporting queue the number of the hinting queue when it does without that one.
    if (index === BALLOON_FREE_PAGE_VQ && this.#activation.hint) return this.#serveHints(queue);
    return this.#serveReports(queue);
  }

  /** Inflation and deflation (section 5.5.6). */
  #servePages(queue: RunningQueue): boolean {
    for (let left = TURN_PAGES; left > 0;) {
      const begun = this.#begun.get(queue.index) ?? this.#begin(queue);
      if (!begun) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        continue;
      }
      const { chain, done } = begun;
      const bytes = chain.readable.copyOut(done, this.#numbers, left * 4);
      const count = Math.floor(bytes / 4);
      // A buffer without a whole number costs a turn too.
      left -= Math.max(1, count);
      this.#move(queue.index === BALLOON_INFLATEQ, this.#pageNumbers(chain, count));
      begun.done += bytes;
      if (begun.done >= chain.readable.length) {
        this.#begun.delete(queue.index);
        queue.push(chain, 0);
      }
    }
    queue.flush();
    return true;
  }

  #begin(queue: RunningQueue): { chain: DescriptorChain; done: number } | null {
    const chain = queue.pop();
    if (!chain) return null;
    const begun = { chain, done: 0 };
    this.#begun.set(queue.index, begun);
    return begun;
  }

  /** Page frame numbers as numbers from the start of RAM. */
  #pageNumbers(chain: DescriptorChain, count: number): Uint32Array {
    const pages = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      const frame = this.#numberView.getUint32(i * 4, true);
      const page = frame - RAM_BASE / BALLOON_PAGE_SIZE;
      if (page < 0 || (page + 1) * BALLOON_PAGE_SIZE > this.#ramSize) {
        throw new QueueFault(
          'bad-request',
          `chain ${chain.head}: page frame 0x${frame.toString(16)} is not in guest RAM (5.5.6)`,
        );
      }
      pages[i] = page;
    }
    return pages;
  }

  #move(inflate: boolean, pages: Uint32Array): void {
    if (!inflate) return this.#inflated.remove(pages);
    for (const { start, length } of this.#inflated.add(pages)) this.#release(RAM_OFFSET + start, length);
  }

  /** Gives a range of linear memory, whole pages of the host inside RAM, back to the host. It reads as zero then. */
  #release(start: number, length: number): void {
    if (this.#granularity === 0) return;
    const { host, memory } = this.#context;
    try {
      host.releaseMemory(memory.memory, start, length);
    } catch (error) {
      if (!isHostError(error)) throw error;
      this.#granularity = 0;
      this.#report({ kind: 'not-released', reason: errorLine(error) });
    }
  }

  /** Memory statistics (section 5.5.6.3). */
  #serveStats(queue: RunningQueue): boolean {
    if (this.#statsHeld && this.#context.now() >= this.#pollAt) {
      queue.push(this.#statsHeld, 0);
      this.#statsHeld = null;
      this.#pollAt = Infinity;
    }
    for (;;) {
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        continue;
      }
      const asked = this.#statsHeld === null;
      // The driver has one buffer; if it makes another available, the older one is of no use any more.
      if (this.#statsHeld) queue.push(this.#statsHeld, 0);
      this.#statsHeld = chain;
      const now = this.#context.now();
      if (asked || now - this.#statsReported >= UNASKED_STATS_INTERVAL) {
        this.#statsReported = now;
        this.#report({ kind: 'stats', values: readStats(chain) });
      }
      if (this.#pollInterval > 0) this.#pollAt = now + this.#pollInterval;
      queue.flush();
      if (!asked) return true;
    }
  }

  /** Free page hints (section 5.5.6.7). Nothing is discarded: the driver may write to a hinted page at any time. */
  #serveHints(queue: RunningQueue): boolean {
    for (let turn = 0; turn < TURN_RANGES; turn++) {
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        continue;
      }
      const { readable, writable } = chain;
      if (readable.length > 0) {
        const id = new Uint8Array(4);
        if (readable.copyOut(0, id) !== 4) {
          throw new QueueFault('bad-request', `chain ${chain.head}: a command id has 4 bytes (5.5.6.7)`);
        }
        this.#hintCommand(new DataView(id.buffer).getUint32(0, true));
      } else if (this.#hint?.started) {
        this.#hint.bytes += writable.length;
      }
      queue.push(chain, 0);
    }
    queue.flush();
    return true;
  }

  #hintCommand(id: number): void {
    const hint = this.#hint;
    if (!hint) return;
    if (id === hint.command) {
      hint.started = true;
    } else if (hint.started && id === VIRTIO_BALLOON_CMD_ID_STOP) {
      this.#hint = null;
      // A page may be hinted twice, and by a hostile driver any number of times.
      this.#report({ kind: 'hinted', command: hint.command, bytes: Math.min(hint.bytes, this.#ramSize) });
    }
  }

  /** Free page reporting (section 5.5.6.8): until the buffer is used, nobody uses the pages. */
  #serveReports(queue: RunningQueue): boolean {
    for (let turn = 0; turn < TURN_RANGES;) {
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        turn++;
        continue;
      }
      turn += Math.max(1, chain.writable.count);
      // A poisoned page must read as poison, and what the host gives anew reads as zero (section 5.5.6.8.2).
      if (this.#granularity > 0 && this.#poison === 0) this.#releaseAll(chain);
      queue.push(chain, 0);
    }
    queue.flush();
    return true;
  }

  #releaseAll({ writable }: DescriptorChain): void {
    for (const { byteOffset, length } of writable.views(0, writable.length)) {
      const step = Math.max(this.#granularity, 1);
      const start = Math.ceil(byteOffset / step) * step;
      const end = Math.floor(Math.min(byteOffset + length, RAM_OFFSET + this.#ramSize) / step) * step;
      if (end > start) this.#release(start, end - start);
    }
  }

  #report(detail: BalloonReport): void {
    this.#context.report({ kind: 'device', detail });
  }
}

function readStats({ readable }: DescriptorChain): [number, bigint][] {
  const bytes = new Uint8Array(STATS_MAX * BALLOON_STAT_SIZE);
  const view = new DataView(bytes.buffer);
  const count = Math.floor(readable.copyOut(0, bytes) / BALLOON_STAT_SIZE);
  const values: [number, bigint][] = [];
  for (let i = 0; i < count; i++) {
    const tag = view.getUint16(i * BALLOON_STAT_SIZE, true);
    if (tag < BALLOON_STAT_NAMES.length) values.push([tag, view.getBigUint64(i * BALLOON_STAT_SIZE + 2, true)]);
  }
  return values;
}
