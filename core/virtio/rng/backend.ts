/** The I/O worker's half of virtio-rng. */
import { randomFillSync } from 'node:crypto';
import { readSync } from 'node:fs';

import type { BackendContext, VirtioBackend } from '../backend/backend.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import { isHostError } from '../../host/host.ts';
import type { RngSource } from './source.ts';

/** QEMU's max-bytes and period: at most so many bytes in so many milliseconds. */
export interface RngLimit {
  readonly maxBytes: number;
  readonly period: number;
}

export interface RngBackendOptions {
  readonly limit: RngLimit | null;
  readonly source: RngSource;
}

/** Bytes for one buffer at most: the device may use less than all of it (section 5.4.6.2). */
const REQUEST_BYTES = 64 * 1024;
const TURN_REQUESTS = 16;
/** When a source that has nothing now is asked again, milliseconds. */
const RETRY_MS = 20;

/** DeviceEvent.detail: the source cannot be read; one line. Told once. */
export interface RngTrouble {
  readonly message: string;
}

export function createRngBackend(options: unknown, context: BackendContext): VirtioBackend {
  return new RngBackend(options as RngBackendOptions, context);
}

export class RngBackend implements VirtioBackend {
  readonly #limit: RngLimit | null;
  readonly #source: RngSource;
  readonly #context: BackendContext;
  /** The generator does not fill shared memory. */
  readonly #bounce = new Uint8Array(REQUEST_BYTES);
  #queue: RunningQueue | null = null;
  /** A buffer that waits for the next period. */
  #held: DescriptorChain | null = null;
  #periodEnd = -Infinity;
  #left = Infinity;
  /** Until when the source is left alone: it had nothing. */
  #retryAt = -Infinity;
  #troubled = false;

  constructor({ limit, source }: RngBackendOptions, context: BackendContext) {
    this.#limit = limit;
    this.#source = source;
    this.#context = context;
  }

  start(queues: readonly RunningQueue[]): void {
    this.#queue = queues[0] ?? this.#queue;
  }

  stop(queues: readonly number[]): void {
    if (!this.#queue || !queues.includes(this.#queue.index)) return;
    this.#queue = null;
    this.#held = null;
  }

  isDue(): boolean {
    return this.#held !== null && this.#context.now() >= this.deadline();
  }

  deadline(): number {
    if (!this.#held) return Infinity;
    return this.#left > 0 ? this.#retryAt : Math.max(this.#periodEnd, this.#retryAt);
  }

  serve(): boolean {
    const queue = this.#queue;
    if (!queue) return false;
    for (let turn = 0; turn < TURN_REQUESTS; turn++) {
      const chain = this.#held ?? queue.pop();
      this.#held = null;
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        continue;
      }
      const { writable } = chain;
      if (writable.length === 0) {
        throw new QueueFault('bad-request', `chain ${chain.head}: no device-writable buffer (5.4.6.1)`);
      }
      const wanted = Math.min(writable.length, REQUEST_BYTES, this.#quota());
      const count = wanted === 0 ? 0 : this.#fill(this.#bounce.subarray(0, wanted));
      if (count === 0) {
        this.#held = chain;
        queue.flush();
        return false;
      }
      this.#left -= count;
      writable.copyIn(0, this.#bounce.subarray(0, count));
      queue.push(chain, count);
    }
    queue.flush();
    return true;
  }

  /** @returns bytes that the source has given, from the start */
  #fill(target: Uint8Array): number {
    if (this.#source.kind === 'builtin') return randomFillSync(target).length;
    let count = 0;
    let trouble = 'it has come to its end';
    try {
      count = readSync(this.#source.fd, target, 0, target.length, null);
    } catch (error) {
      if (!isHostError(error)) throw error;
      if (error.code === 'EAGAIN') trouble = '';
      else trouble = error.message;
    }
    if (count > 0) return count;
    this.#retryAt = this.#context.now() + RETRY_MS;
    if (trouble !== '' && !this.#troubled) {
      this.#troubled = true;
      const detail: RngTrouble = { message: `its source of entropy gives nothing: ${trouble}` };
      this.#context.report({ kind: 'device', detail });
    }
    return 0;
  }

  /** Bytes that may be given now. */
  #quota(): number {
    if (!this.#limit) return Infinity;
    const now = this.#context.now();
    if (now >= this.#periodEnd) {
      this.#periodEnd = now + this.#limit.period;
      this.#left = this.#limit.maxBytes;
    }
    return this.#left;
  }
}
