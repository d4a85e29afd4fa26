/** The memory in which a frontend keeps, for the next of us, which requests are in flight (GET_INFLIGHT_FD, SET_INFLIGHT_FD). */
import type { Host } from '../../host/host.ts';
import { isHostError } from '../../host/host.ts';
import { inflightBytes } from '../../virtio/queue/inflight-log.ts';
import type { InflightSpec } from '../../virtio/queue/inflight-log.ts';
import { VhostUserError } from '../error.ts';
import { INFLIGHT_BYTES } from '../spec.ts';
import type { InflightShape } from './payload.ts';
import type { VhostUserTransport } from './transport.ts';

const WASM_PAGE = 65536;

export interface InflightRegion {
  readonly shape: InflightShape;
  readonly memory: WebAssembly.Memory;
  /** The file, while it has to be sent; null when the frontend has it. */
  readonly fd: number | null;
  close(): void;
}

/** Bytes of a region, whole pages. */
function regionBytes({ queues, queueSize }: Pick<InflightShape, 'queues' | 'queueSize'>): number {
  return Math.ceil((queues * inflightBytes(queueSize)) / WASM_PAGE) * WASM_PAGE;
}

/** A new region, in which nothing is in flight. @throws VhostUserError */
export function createInflight(
  host: Host,
  transport: VhostUserTransport,
  queues: number,
  queueSize: number,
): InflightRegion {
  const most = Math.max(...transport.queues.map(({ maxSize }) => maxSize));
  if (queues === 0 || queues > transport.queues.length || queueSize === 0 || queueSize > most) {
    throw new VhostUserError('protocol', `${queues} rings of ${queueSize} entries, which the device does not have`);
  }
  const size = regionBytes({ queues, queueSize });
  const fd = host.createSharedMemory('ringside-inflight', size);
  try {
    const region = mapped(host, { size: BigInt(size), offset: 0n, queues, queueSize }, fd);
    return {
      ...region,
      fd,
      close: () => {
        region.close();
        host.close(fd);
      },
    };
  } catch (error) {
    host.close(fd);
    throw error;
  }
}

/** What an earlier process has left. @param fd may be closed afterwards. @throws VhostUserError */
export function readInflight(host: Host, shape: InflightShape, fd: number): InflightRegion {
  if (shape.queues === 0 || shape.queueSize === 0 || shape.size !== BigInt(regionBytes(shape))) {
    throw new VhostUserError('protocol', `${shape.size} bytes for ${shape.queues} rings of ${shape.queueSize} entries`);
  }
  return mapped(host, shape, fd);
}

function mapped(host: Host, shape: InflightShape, fd: number): InflightRegion {
  const size = Number(shape.size);
  const pages = size / WASM_PAGE;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  try {
    const mapping = host.mapGuarded(memory, 0, size, fd, Number(shape.offset));
    return { shape, memory, fd: null, close: () => host.unmapGuarded(mapping) };
  } catch (error) {
    if (!isHostError(error) && !(error instanceof RangeError)) throw error;
    throw new VhostUserError('protocol', `it cannot be mapped: ${error.message}`, { cause: error });
  }
}

/** The reply to GET_INFLIGHT_FD. */
export function describeInflight({ shape, fd }: InflightRegion): { bytes: Uint8Array; fd: number } {
  const reply = new DataView(new ArrayBuffer(INFLIGHT_BYTES));
  reply.setBigUint64(0, shape.size, true);
  reply.setBigUint64(8, shape.offset, true);
  reply.setUint16(16, shape.queues, true);
  reply.setUint16(18, shape.queueSize, true);
  return { bytes: new Uint8Array(reply.buffer), fd: fd! };
}

/** Where the log of a ring is; null when the region has none for it. */
export function inflightOf({ memory, shape }: InflightRegion, index: number): InflightSpec | null {
  if (index >= shape.queues) return null;
  return { memory, offset: index * inflightBytes(shape.queueSize) };
}
