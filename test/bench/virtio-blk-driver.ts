/** The guest's part of the virtio-blk bench: a driver that polls, on a thread of its own as a hart would be. */
import { parentPort, workerData } from 'node:worker_threads';

import { GuestMemory, RAM_BASE } from '../../core/memory/guest-memory.ts';
import type { GuestMemoryHandle } from '../../core/memory/guest-memory.ts';
import { VIRTIO_BLK_HEADER_SIZE, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN } from '../../core/virtio/spec/blk.ts';
import {
  VIRTQ_AVAIL_IDX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
  VIRTQ_USED_IDX,
  VIRTQ_USED_RING,
  availEventOffset,
  usedEventOffset,
} from '../../core/virtio/spec/split-ring.ts';
import type { QueueAreas } from '../../core/virtio/spec/split-ring.ts';
import { HotWords } from '../../core/virtio/transport/hot-words.ts';

export interface DriverData {
  guest: GuestMemoryHandle;
  slot: number;
  areas: QueueAreas;
  /** Entries of the queue. */
  size: number;
  /** Requests in flight. */
  depth: number;
  /** Bytes of a request. */
  block: number;
  diskSize: number;
  /** Milliseconds. */
  duration: number;
}

export interface DriverResult {
  requests: number;
  seconds: number;
  kicks: number;
}

const { guest, slot, areas, size, depth, block, diskSize, duration } = workerData as DriverData;
const memory = new GuestMemory(guest);
const hot = new HotWords(memory.memory, slot);
const buffer = memory.memory.buffer as SharedArrayBuffer;
const avail = new Uint16Array(buffer, memory.linear(areas.driverArea, 2), usedEventOffset(size) / 2 + 1);
const used = new Uint16Array(buffer, memory.linear(areas.deviceArea, 2), availEventOffset(size) / 2 + 1);
const usedWords = new Uint32Array(buffer, memory.linear(areas.deviceArea, 4), VIRTQ_USED_RING / 4 + 2 * size);

// Slot i has descriptors 3i, 3i+1, 3i+2; its header, status and data lie behind the rings.
const headers = RAM_BASE + 2 ** 20;
const data = RAM_BASE + 2 ** 21;
for (let i = 0; i < depth; i++) {
  const header = headers + 64 * i;
  memory.writeU32(header, VIRTIO_BLK_T_IN);
  describe(3 * i, header, VIRTIO_BLK_HEADER_SIZE, VIRTQ_DESC_F_NEXT, 3 * i + 1);
  describe(3 * i + 1, data + block * i, block, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 3 * i + 2);
  describe(3 * i + 2, header + 32, 1, VIRTQ_DESC_F_WRITE, 0);
}

function describe(index: number, address: number, length: number, flags: number, next: number): void {
  const at = areas.descriptorArea + index * VIRTQ_DESC_SIZE;
  memory.writeU64(at, BigInt(address));
  memory.writeU32(at + 8, length);
  memory.writeU16(at + 12, flags);
  memory.writeU16(at + 14, next);
}

const sectors = new Uint32Array(buffer, memory.linear(headers, 64 * depth), 16 * depth);
const statuses = new Uint8Array(buffer, memory.linear(headers, 64 * depth), 64 * depth);
const blocks = Math.floor(diskSize / block);
let availIdx = 0;
let usedIdx = 0;
let random = 1;
let kicks = 0;
let requests = 0;

/** Makes slot i's request available. */
function submit(i: number): void {
  random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
  sectors[16 * i + 2] = (random % blocks) * (block / 512);
  avail[VIRTQ_AVAIL_RING / 2 + (availIdx & (size - 1))] = 3 * i;
  availIdx = (availIdx + 1) & 0xffff;
}

function publish(added: number): void {
  Atomics.store(avail, VIRTQ_AVAIL_IDX / 2, availIdx);
  const event = Atomics.load(used, availEventOffset(size) / 2);
  if (((availIdx - event - 1) & 0xffff) >= added) return;
  kicks++;
  hot.notify(0);
}

for (let i = 0; i < depth; i++) submit(i);
publish(depth);
const start = performance.now();
const end = start + duration;
for (let spins = 0; ;) {
  const seen = Atomics.load(used, VIRTQ_USED_IDX / 2);
  let done = 0;
  while (usedIdx !== seen) {
    const i = usedWords[VIRTQ_USED_RING / 4 + 2 * (usedIdx & (size - 1))] / 3;
    if (statuses[64 * i + 32] !== VIRTIO_BLK_S_OK) throw new Error(`request failed: status ${statuses[64 * i + 32]}`);
    usedIdx = (usedIdx + 1) & 0xffff;
    submit(i);
    done++;
  }
  if (done > 0) {
    publish(done);
    requests += done;
    spins = 0;
  } else if (++spins === 2 ** 28) {
    throw new Error('the device does nothing');
  }
  if ((done > 0 || (spins & 1023) === 0) && performance.now() >= end) break;
}
const result: DriverResult = { requests, seconds: (performance.now() - start) / 1000, kicks };
parentPort?.postMessage(result);
