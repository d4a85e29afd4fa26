/** What is in a message, read with care: a field that is not there is an error of the frontend's. */
import { VhostUserError } from '../error.ts';
import { INFLIGHT_BYTES_MIN, VRING_ADDR_BYTES, VRING_INDEX_MASK, VRING_NO_FD, VRING_STATE_BYTES } from '../spec.ts';
import type { Region } from './memory-map.ts';

export interface VringAddress {
  readonly index: number;
  readonly flags: number;
  /** What the frontend calls their addresses. */
  readonly descriptors: bigint;
  readonly used: bigint;
  readonly available: bigint;
}

/** All bytes. */
export interface InflightShape {
  readonly size: bigint;
  readonly offset: bigint;
  readonly queues: number;
  /** Entries of a queue. */
  readonly queueSize: number;
}

export class Payload {
  readonly #bytes: Uint8Array;
  readonly #data: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get length(): number {
    return this.#bytes.length;
  }

  #has(offset: number, size: number): void {
    if (offset + size <= this.length) return;
    throw new VhostUserError('protocol', `a payload of ${this.length} bytes is too short`);
  }

  u32(offset: number): number {
    this.#has(offset, 4);
    return this.#data.getUint32(offset, true);
  }

  u64(offset: number): bigint {
    this.#has(offset, 8);
    return this.#data.getBigUint64(offset, true);
  }

  bytes(offset: number, size: number): Uint8Array {
    this.#has(offset, size);
    return this.#bytes.subarray(offset, offset + size);
  }

  #only(size: number): void {
    if (this.length !== size) throw new VhostUserError('protocol', `${this.length} bytes of payload, not ${size}`);
  }

  u64Only(): bigint {
    this.#only(8);
    return this.u64(0);
  }

  region(offset: number): Region {
    return {
      guest: this.u64(offset),
      size: this.u64(offset + 8),
      user: this.u64(offset + 16),
      offset: this.u64(offset + 24),
    };
  }

  vringState(): { index: number; number: number } {
    this.#only(VRING_STATE_BYTES);
    return { index: this.u32(0), number: this.u32(4) };
  }

  vringAddress(): VringAddress {
    this.#only(VRING_ADDR_BYTES);
    return {
      index: this.u32(0),
      flags: this.u32(4),
      descriptors: this.u64(8),
      used: this.u64(16),
      available: this.u64(24),
    };
  }

  vringFd(): { index: number; withFd: boolean } {
    const value = this.u64Only();
    return { index: Number(value & VRING_INDEX_MASK), withFd: (value & VRING_NO_FD) === 0n };
  }

  inflight(): InflightShape {
    this.#has(0, INFLIGHT_BYTES_MIN);
    return {
      size: this.u64(0),
      offset: this.u64(8),
      queues: this.#data.getUint16(16, true),
      queueSize: this.#data.getUint16(18, true),
    };
  }
}
