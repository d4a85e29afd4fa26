/** The guest's part of the virtio-blk bench: a driver that polls, on a thread of its own as a hart would be. */
import { parentPort, workerData } from 'node:worker_threads';

import { GuestMemory, RAM_BASE } from '../../../core/memory/guest-memory.ts';
import type { GuestMemoryHandle } from '../../../core/memory/guest-memory.ts';
import {
  VIRTIO_BLK_HEADER_SIZE,
  VIRTIO_BLK_SECTOR_SIZE,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '../../../core/virtio/spec/blk.ts';
import type { QueueAreas } from '../../../core/virtio/spec/split-ring.ts';
import { HotWords } from '../../../core/virtio/transport/hot-words.ts';
import { PackedBenchRing, SplitBenchRing } from './blk-rings.ts';

export interface DriverData {
  guest: GuestMemoryHandle;
  slot: number;
  /** Of queue 0. */
  areas: QueueAreas;
  packed: boolean;
  write: boolean;
  /** Entries of the queue. */
  size: number;
  /** Requests in flight. */
  depth: number;
  /** Bytes of a request. */
  block: number;
  diskSize: number;
  /** Milliseconds before the clock starts, and of the measurement. */
  warmUp: number;
  duration: number;
}

export interface DriverResult {
  requests: number;
  seconds: number;
}

/** Where things are in guest RAM, bytes from its start: behind the rings. */
const HEADERS = 2 ** 20;
export const DATA = 2 ** 21;
const HEADER_STRIDE = 64;
const STATUS = 32;
const SECTOR_WORD = 2;

const job = workerData as DriverData;
const { depth, block } = job;
const memory = new GuestMemory(job.guest);
const hot = new HotWords(memory.memory, job.slot);
const ring = job.packed ? new PackedBenchRing({ memory, ...job }) : new SplitBenchRing({ memory, ...job });

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
  // The upper bits are the random ones.
  const at = Math.floor((random / 2 ** 32) * blocks);
  words[(HEADER_STRIDE / 4) * i + SECTOR_WORD] = at * (block / VIRTIO_BLK_SECTOR_SIZE);
  ring.submit(i);
}

function publish(): void {
  if (ring.publish()) hot.notify(0);
}

/** Keeps the queue full until a time; requests that were used. */
function drive(end: number): number {
  let requests = 0;
  for (let spins = 0; ;) {
    let done = 0;
    for (let i = ring.take(); i >= 0; i = ring.take()) {
      const status = bytes[HEADER_STRIDE * i + STATUS];
      if (status !== VIRTIO_BLK_S_OK) throw new Error(`request failed: status ${status}`);
      submit(i);
      done++;
    }
    if (done > 0) {
      publish();
      requests += done;
      spins = 0;
    } else if (++spins === 2 ** 30) {
      throw new Error('the device does nothing');
    }
    if ((done > 0 || (spins & 1023) === 0) && performance.now() >= end) return requests;
  }
}

for (let i = 0; i < depth; i++) submit(i);
publish();
drive(performance.now() + job.warmUp);
const start = performance.now();
const requests = drive(start + job.duration);
const result: DriverResult = { requests, seconds: (performance.now() - start) / 1000 };
parentPort?.postMessage(result);
