/** The I/O worker's half of virtio-blk: executes requests on a disk. */
import { RingsideError, errorLine } from '../../errors.ts';
import type { Disk, DiskHandle } from '../../block/disk.ts';
import { DiskError } from '../../block/errors.ts';
import { diskFromHandle } from '../../block/open.ts';
import type { BackendContext, IoErrorEvent, VirtioBackend } from '../backend/backend.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import { VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_LIFETIME_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '../spec/blk.ts';
import { errorAction } from './error-policy.ts';
import type { ReadPolicy, WritePolicy } from './error-policy.ts';
import { parseBlkRequest } from './request.ts';
import type { BlkLimits, BlkRequest } from './request.ts';
import { BlkCounters } from './statistics.ts';
import type { BlkOperation } from './statistics.ts';

export interface BlkBackendOptions {
  readonly disk: DiskHandle;
  readonly serial: string;
  readonly werror: WritePolicy;
  readonly rerror: ReadPolicy;
  /** Logical block, bytes. */
  readonly blockSize?: number;
  readonly lifetime?: BlkLifetime | null;
  /** Counters of the device's queues (createBlkCounters()). */
  readonly statistics?: SharedArrayBuffer;
}

/** struct virtio_blk_lifetime (section 5.2.6), each 0 to 0xffff; 0: not defined. */
export interface BlkLifetime {
  /** Spare blocks used up: 1 less than 80 %, 2 80 %, 3 90 %. */
  readonly preEol: number;
  /** Wear of memory of types A (e.g. SLC) and B (e.g. MLC): 1 up to 10 %, ... 11 more than 100 %. */
  readonly typeA: number;
  readonly typeB: number;
}

/** What follows from the negotiated features. */
export interface BlkActivation {
  /** Sectors a request at most; 0 when the feature is not negotiated. */
  readonly discard: number;
  readonly writeZeroes: number;
  readonly secureErase: number;
  readonly lifetime: boolean;
  /** Every write is on stable storage before it completes (section 5.2.6.2). */
  readonly writeThrough: boolean;
}

export interface BlkChange {
  readonly writeThrough?: boolean;
  /** The disk is larger now. */
  readonly disk?: DiskHandle;
}

/** Requests served before other queues and the control thread have their turn. */
const TURN_REQUESTS = 64;
/**
 * Unless the user says otherwise, used buffers are shown to the driver, and an interrupt sent, at the latest after so many requests or bytes: a batch
 * costs the driver one interrupt, but must not keep its first request waiting for long.
 */
const BATCH_REQUESTS = 8;
const BATCH_BYTES = 128 * 1024;
/** Errors that stop nothing are told no more often than this, milliseconds. */
const REPORT_INTERVAL = 100;

/** Bytes of zeroes written at a time. */
const ERASE_CHUNK = 2 ** 20;

/** What requests count as: as in QEMU, zeroes are written. */
const COUNTED: Record<Exclude<BlkRequest['op'], 'fail'>, BlkOperation | null> = {
  read: 'read',
  write: 'write',
  flush: 'flush',
  discard: 'unmap',
  'write-zeroes': 'write',
  'secure-erase': 'unmap',
  'get-id': null,
  'get-lifetime': null,
};

interface Stalled {
  readonly queue: RunningQueue;
  readonly chain: DescriptorChain;
  readonly request: BlkRequest;
}

export function createBlkBackend(options: unknown, context: BackendContext): VirtioBackend {
  const blk = options as BlkBackendOptions;
  let disk;
  try {
    disk = diskFromHandle(blk.disk, context.host);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    throw new RingsideError('io', errorLine(error), { cause: error });
  }
  return new BlkBackend(disk, blk, context);
}

export class BlkBackend implements VirtioBackend {
  #disk: Disk;
  readonly #options: Omit<BlkBackendOptions, 'disk'>;
  readonly #context: BackendContext;
  readonly #serial: Uint8Array;
  readonly #lifetime: Uint8Array;
  readonly #queues = new Map<number, RunningQueue>();
  /** Of those queues. */
  readonly #counters = new Map<number, BlkCounters>();
  /** When the last request was done, or when serving began, ms. */
  #clock = 0;
  #limits: BlkLimits;
  #writeThrough = false;
  /** Failed requests that are tried again when the VM is resumed. While there are any, nothing else is served. */
  #stalled: Stalled[] = [];
  #lastReport = -Infinity;
  #unreported = 0;

  constructor(disk: Disk, options: Omit<BlkBackendOptions, 'disk'>, context: BackendContext) {
    this.#disk = disk;
    this.#options = options;
    this.#context = context;
    const { size, readonly } = disk;
    const blockSize = options.blockSize ?? disk.blockSize;
    this.#limits = { size, readonly, blockSize, discard: 0, writeZeroes: 0, secureErase: 0, lifetime: false };
    const { preEol = 0, typeA = 0, typeB = 0 } = options.lifetime ?? {};
    this.#lifetime = new Uint8Array(VIRTIO_BLK_LIFETIME_BYTES);
    for (const [i, value] of [preEol, typeA, typeB].entries()) {
      new DataView(this.#lifetime.buffer).setUint16(2 * i, value, true);
    }
    this.#serial = new Uint8Array(VIRTIO_BLK_ID_BYTES);
    this.#serial.set(new TextEncoder().encode(options.serial).subarray(0, VIRTIO_BLK_ID_BYTES));
  }

  start(queues: readonly RunningQueue[], activation: unknown): void {
    const { discard, writeZeroes, secureErase, lifetime, writeThrough } = activation as BlkActivation;
    const { statistics } = this.#options;
    for (const queue of queues) {
      this.#queues.set(queue.index, queue);
      if (statistics) this.#counters.set(queue.index, new BlkCounters(statistics, queue.index));
    }
    this.#limits = { ...this.#limits, discard, writeZeroes, secureErase, lifetime };
    this.#writeThrough = writeThrough;
  }

  stop(queues: readonly number[]): void {
    for (const index of queues) this.#queues.delete(index);
    this.#stalled = this.#stalled.filter(({ queue }) => !queues.includes(queue.index));
  }

  configure(change: unknown): void {
    const { writeThrough, disk } = change as BlkChange;
    if (writeThrough !== undefined) this.#writeThrough = writeThrough;
    if (disk === undefined) return;
    // The file is its owner's: this one lets go of nothing.
    this.#disk.close();
    this.#disk = diskFromHandle(disk, this.#context.host);
    this.#limits = { ...this.#limits, size: this.#disk.size };
  }

  serve(index: number): boolean {
    const queue = this.#queues.get(index);
    if (!queue || this.#stalled.length > 0) return false;
    const batch = this.#context.maxBatch || BATCH_REQUESTS;
    let batchRequests = 0;
    let batchBytes = 0;
    this.#clock = this.#context.now();
    queue.disableNotifications();
    for (let turn = 0; turn < TURN_REQUESTS; turn++) {
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        queue.disableNotifications();
        this.#clock = this.#context.now();
        continue;
      }
      const request = parseBlkRequest(chain, this.#limits);
      if (isSlow(request, this.#writeThrough)) {
        queue.flush();
        batchRequests = batchBytes = 0;
      }
      if (!this.#serveRequest(queue, chain, request)) {
        queue.flush();
        return false;
      }
      batchBytes += 'length' in request ? request.length : 0;
      if (++batchRequests >= batch || batchBytes >= BATCH_BYTES) {
        queue.flush();
        batchRequests = batchBytes = 0;
      }
    }
    queue.flush();
    return true;
  }

  resumed(): void {
    const stalled = this.#stalled;
    this.#stalled = [];
    this.#clock = this.#context.now();
    for (const [i, { queue, chain, request }] of stalled.entries()) {
      if (this.#serveRequest(queue, chain, request)) continue;
      this.#stalled.push(...stalled.slice(i + 1));
      break;
    }
    for (const queue of this.#queues.values()) queue.flush();
  }

  close(): void {
    try {
      // A host's write-back cache outlives us, but not a power cut: who has ended the VM expects its disk to be safe.
      if (!this.#disk.readonly) this.#disk.flush();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      const message = `${error.message} What was not flushed may be lost.`;
      const { outOfSpace: noSpace } = error;
      const unreported = this.#unreported;
      this.#context.report({ kind: 'io-error', operation: 'write', action: 'report', noSpace, message, unreported });
    }
    this.#disk.close();
  }

  /**
   * Does a request and pushes its chain.
   *
   * @returns false when the VM is to stop: the request is kept, and nothing more may be served
   */
  #serveRequest(queue: RunningQueue, chain: DescriptorChain, request: BlkRequest): boolean {
    let status = VIRTIO_BLK_S_OK;
    let failed = false;
    try {
      status = this.#execute(chain, request);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      const operation = request.op === 'read' ? 'read' : 'write';
      const policy = operation === 'read' ? this.#options.rerror : this.#options.werror;
      const action = errorAction(policy, error.outOfSpace);
      this.#report({ operation, action, noSpace: error.outOfSpace, message: error.message });
      if (action === 'stop') {
        this.#stalled.push({ queue, chain, request });
        return false;
      }
      if (action === 'report') {
        status = VIRTIO_BLK_S_IOERR;
        failed = true;
      }
    }
    const counters = this.#counters.get(queue.index);
    if (counters) this.#count(counters, request, failed);
    const { writable } = chain;
    writable.putByte(writable.length - 1, status);
    queue.push(chain, bytesWritten(chain, request, status));
    return true;
  }

  /** One look at the clock for each request: they come one behind the other, so each took what has passed since the last. */
  #count(counters: BlkCounters, request: BlkRequest, failed: boolean): void {
    const now = this.#context.now();
    const time = now - this.#clock;
    this.#clock = now;
    if (request.op === 'fail') {
      if (request.of !== null) counters.invalid(request.of);
      return;
    }
    const operation = COUNTED[request.op];
    if (operation === null) return;
    if (failed) return counters.failed(operation, time);
    counters.done(operation, 'offset' in request ? request.length : 0, time);
    if ('offset' in request && operation === 'write') counters.wroteUpTo(request.offset + request.length);
  }

  /** @returns the status byte; throws DiskError */
  #execute(chain: DescriptorChain, request: BlkRequest): number {
    const disk = this.#disk;
    switch (request.op) {
      case 'read':
        disk.readv(chain.writable.views(0, request.length), request.offset);
        break;
      case 'write':
        disk.writev(chain.readable.views(chain.readable.length - request.length, request.length), request.offset);
        if (this.#writeThrough) disk.flush();
        break;
      case 'flush':
        disk.flush();
        break;
      case 'get-id':
        chain.writable.copyIn(0, this.#serial, request.length);
        break;
      case 'discard':
        // Advice: a disk that cannot has taken it.
        if (disk.canDiscard) disk.discard(request.offset, request.length);
        break;
      case 'write-zeroes':
        disk.writeZeroes(request.offset, request.length, request.unmap);
        if (this.#writeThrough) disk.flush();
        break;
      case 'secure-erase':
        this.#erase(request.offset, request.length);
        break;
      case 'get-lifetime':
        chain.writable.copyIn(0, this.#lifetime, request.length);
        break;
      case 'fail':
        return request.status;
    }
    return VIRTIO_BLK_S_OK;
  }

  /**
   * Overwrites with zeroes, on stable storage, and gives the space back. That is all that a file can promise: what the
   * host's file system or drive has copied elsewhere is out of reach.
   */
  #erase(offset: number, length: number): void {
    const zeroes = new Uint8Array(Math.min(length, ERASE_CHUNK));
    for (let done = 0; done < length; done += zeroes.length) {
      this.#disk.writev([zeroes.subarray(0, Math.min(zeroes.length, length - done))], offset + done);
    }
    this.#disk.flush();
    if (this.#disk.canDiscard) this.#disk.writeZeroes(offset, length, true);
  }

  #report(event: Omit<IoErrorEvent, 'kind' | 'unreported'>): void {
    const now = this.#context.now();
    if (event.action !== 'stop' && now - this.#lastReport < REPORT_INTERVAL) {
      this.#unreported++;
      return;
    }
    this.#context.report({ kind: 'io-error', ...event, unreported: this.#unreported });
    this.#lastReport = now;
    this.#unreported = 0;
  }
}

/** Whether a request may take milliseconds, for which completed ones should not wait. */
function isSlow(request: BlkRequest, writeThrough: boolean): boolean {
  switch (request.op) {
    case 'flush':
    case 'discard':
    case 'write-zeroes':
    case 'secure-erase':
      return true;
    case 'write':
      return writeThrough || request.length >= BATCH_BYTES;
    case 'read':
      return request.length >= BATCH_BYTES;
    default:
      return false;
  }
}

/**
 * The used length: bytes written from the start of the device-writable part. Where what lies before the status byte was
 * not all written it is less than was written, which section 2.7.8.2 allows, and not more, which it does not.
 */
function bytesWritten(chain: DescriptorChain, request: BlkRequest, status: number): number {
  const data = chain.writable.length - 1;
  const answers = request.op === 'read' || request.op === 'get-id' || request.op === 'get-lifetime';
  const filled = status === VIRTIO_BLK_S_OK && answers ? request.length : 0;
  return filled === data ? data + 1 : filled;
}
