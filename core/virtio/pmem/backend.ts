/** The I/O worker's half of virtio-pmem: flushes. The data is guest memory; no request carries it. */
import { isHostError } from '../../host/host.ts';
import { flushRegion } from '../../memory/file-region.ts';
import type { FileRegionHandle } from '../../memory/file-region.ts';
import { errorLine } from '../../errors.ts';
import type { BackendContext, VirtioBackend } from '../backend/backend.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import {
  PMEM_REQUEST_SIZE,
  PMEM_RESPONSE_SIZE,
  VIRTIO_PMEM_REQ_TYPE_FLUSH,
  VIRTIO_PMEM_RESP_TYPE_EIO,
  VIRTIO_PMEM_RESP_TYPE_OK,
} from '../spec/pmem.ts';

export interface PmemBackendOptions {
  readonly region: FileRegionHandle;
}

/** What the control thread hears: a flush has failed, and why. */
export interface PmemReport {
  readonly failed: string;
}

/** Requests taken before they are answered: one flush serves them all. */
const TURN_REQUESTS = 64;
/** The control thread hears of failures so often at most, ms. */
const REPORT_INTERVAL = 1000;

export function createPmemBackend(options: unknown, context: BackendContext): VirtioBackend {
  return new PmemBackend(options as PmemBackendOptions, context);
}

export class PmemBackend implements VirtioBackend {
  readonly #region: FileRegionHandle;
  readonly #context: BackendContext;
  #queue: RunningQueue | null = null;
  #reported = -Infinity;

  constructor({ region }: PmemBackendOptions, context: BackendContext) {
    this.#region = region;
    this.#context = context;
  }

  start(queues: readonly RunningQueue[]): void {
    this.#queue = queues[0] ?? this.#queue;
  }

  stop(): void {
    this.#queue = null;
  }

  serve(): boolean {
    const queue = this.#queue;
    if (!queue) return false;
    const flushes: DescriptorChain[] = [];
    let more = true;
    while (more && flushes.length < TURN_REQUESTS) {
      const chain = queue.pop();
      if (chain) flushes.push(chain);
      else more = queue.enableNotifications();
    }
    const types = flushes.map(requestType);
    const wanted = types.includes(VIRTIO_PMEM_REQ_TYPE_FLUSH);
    const flushed = wanted ? this.#flush() : VIRTIO_PMEM_RESP_TYPE_OK;
    for (const [i, chain] of flushes.entries()) {
      answer(chain, types[i] === VIRTIO_PMEM_REQ_TYPE_FLUSH ? flushed : VIRTIO_PMEM_RESP_TYPE_EIO);
      queue.push(chain, PMEM_RESPONSE_SIZE);
    }
    queue.flush();
    return more;
  }

  #flush(): number {
    const { host, memory, now } = this.#context;
    try {
      flushRegion(host, memory.memory, this.#region);
      return VIRTIO_PMEM_RESP_TYPE_OK;
    } catch (error) {
      if (!isHostError(error)) throw error;
      if (now() - this.#reported >= REPORT_INTERVAL) {
        this.#reported = now();
        const detail: PmemReport = { failed: errorLine(error) };
        this.#context.report({ kind: 'device', detail });
      }
      return VIRTIO_PMEM_RESP_TYPE_EIO;
    }
  }
}

function requestType({ head, readable, writable }: DescriptorChain): number {
  const bytes = new Uint8Array(PMEM_REQUEST_SIZE);
  if (readable.copyOut(0, bytes) < PMEM_REQUEST_SIZE || writable.length < PMEM_RESPONSE_SIZE) {
    throw new QueueFault('bad-request', `chain ${head}: a request has 4 bytes and 4 for the answer (5.19.6)`);
  }
  return new DataView(bytes.buffer).getUint32(0, true);
}

function answer({ writable }: DescriptorChain, ret: number): void {
  const bytes = new Uint8Array(PMEM_RESPONSE_SIZE);
  new DataView(bytes.buffer).setUint32(0, ret, true);
  writable.copyIn(0, bytes);
}
