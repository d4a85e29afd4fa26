/**
 * The virtual machine's part of the vhost-user bench, a process of its own: a driver of virtio-blk that sleeps on the call
 * descriptor as a guest would wait for its interrupt. Its arguments are a VhostClientJob as JSON; it prints a
 * VhostClientResult.
 */
import { RAM_BASE } from '../../../core/memory/guest-memory.ts';
import {
  VIRTIO_BLK_HEADER_SIZE,
  VIRTIO_BLK_SECTOR_SIZE,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '../../../core/virtio/spec/blk.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1, featureMask } from '../../../core/virtio/spec/features.ts';
import { POLLIN } from '../../../core/host/host.ts';
import { nativeHostSpec } from '../../../native/index.ts';
import { VhostFrontend } from '../../harness/vhost-frontend.ts';
import { SplitBenchRing } from './blk-rings.ts';

export interface VhostClientJob {
  readonly socket: string;
  readonly write: boolean;
  /** Requests in flight. */
  readonly depth: number;
  /** Bytes of a request. */
  readonly block: number;
  readonly diskSize: number;
  /** Milliseconds before the clock starts, and of the measurement. */
  readonly warmUp: number;
  readonly duration: number;
}

export interface VhostClientResult {
  readonly requests: number;
  readonly seconds: number;
}

const QUEUE_SIZE = 128;
const RAM_MIB = 144;
/** Where things are in guest RAM, bytes from its start: behind the rings. */
const HEADERS = 2 ** 20;
const DATA = 2 ** 21;
const HEADER_STRIDE = 64;
const STATUS = 32;
const SECTOR_WORD = 2;
const STUCK_MS = 10_000;

const job = JSON.parse(process.argv[2]) as VhostClientJob;
const { depth, block } = job;
const frontend = new VhostFrontend({ spec: nativeHostSpec(), mib: RAM_MIB });
frontend.connect(job.socket);
frontend.negotiate({ features: featureMask(VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1) });
// Three descriptors a request: what the queue has room for is in flight at most.
const size = depth * 4 > QUEUE_SIZE ? 512 : QUEUE_SIZE;
const queueSize = Math.min(size, maxQueueSize());
frontend.start({ size: queueSize });
const { memory, host } = frontend;
const [{ areas }] = frontend.queues;
const ring = new SplitBenchRing({ memory, areas, size: queueSize });

/** qemu-storage-daemon's queues have 128 entries unless told otherwise. */
function maxQueueSize(): number {
  return Number(process.env.QUEUE_SIZE ?? size);
}

const headers = RAM_BASE + HEADERS;
for (let i = 0; i < depth; i++) {
  const header = headers + HEADER_STRIDE * i;
  memory.writeU32(header, job.write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN);
  ring.describe(i, [
    { address: header, length: VIRTIO_BLK_HEADER_SIZE, writable: false },
    { address: RAM_BASE + DATA + block * i, length: block, writable: !job.write },
    { address: header + STATUS, length: 1, writable: true },
  ]);
}
const buffer = memory.memory.buffer as SharedArrayBuffer;
const words = new Uint32Array(buffer, memory.linear(headers, HEADER_STRIDE * depth), (HEADER_STRIDE * depth) / 4);
const bytes = new Uint8Array(buffer, memory.linear(headers, HEADER_STRIDE * depth), HEADER_STRIDE * depth);
const blocks = Math.floor(job.diskSize / block);
let random = 1;

function submit(i: number): void {
  random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
  const at = Math.floor((random / 2 ** 32) * blocks);
  words[(HEADER_STRIDE / 4) * i + SECTOR_WORD] = at * (block / VIRTIO_BLK_SECTOR_SIZE);
  ring.submit(i);
}

function publish(): void {
  if (ring.publish()) host.ringEvent(frontend.kicks[0]);
}

const entry = Int32Array.of(frontend.calls[0], POLLIN, 0);

function wait(): void {
  if (!ring.arm()) return;
  if (host.poll(entry, STUCK_MS) === 0) throw new Error('the device does nothing');
  host.readEvent(frontend.calls[0]);
}

/** Keeps the queue full until a time; requests that were used. */
function drive(end: number): number {
  let requests = 0;
  while (performance.now() < end) {
    let done = 0;
    for (let i = ring.take(); i >= 0; i = ring.take()) {
      const status = bytes[HEADER_STRIDE * i + STATUS];
      if (status !== VIRTIO_BLK_S_OK) throw new Error(`request failed: status ${status}`);
      submit(i);
      done++;
    }
    requests += done;
    if (done > 0) publish();
    else wait();
  }
  return requests;
}

for (let i = 0; i < depth; i++) submit(i);
publish();
drive(performance.now() + job.warmUp);
const start = performance.now();
const requests = drive(start + job.duration);
const result: VhostClientResult = { requests, seconds: (performance.now() - start) / 1000 };
process.stdout.write(`${JSON.stringify(result)}\n`);
frontend.close();
process.exit(0);
