/**
 * Rows device-FORMAT-OP-SIZE-qdN: requests of virtio-blk on an I/O worker without a guest, the driver on another thread, a
 * cached file behind it. What the device itself can do.
 */
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';

import { openDisk } from '../../../core/block/open.ts';
import { createHost } from '../../../core/host/node-host.ts';
import { BlkDevice } from '../../../core/virtio/blk/device.ts';
import { ringFeatureBits } from '../../../core/virtio/queue/ring-features.ts';
import { HOST } from '../../harness/guest.ts';
import { VirtioBench } from '../../harness/virtio-bench.ts';
import type { DriverData, DriverResult } from '../lib/blk-driver.ts';
import type { Figure } from '../lib/report.ts';
import type { Context } from '../lib/suite.ts';

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const DISK_MIB = 256;
/** Room for 128 requests of 1 MiB, the rings and the headers. */
const RAM_MIB = 136;
const QUEUE_SIZE = 1024;
/** Milliseconds a sample. */
const WARM_UP = 150;
const DURATION = 400;

interface Case {
  readonly name: string;
  readonly packed: boolean;
  readonly write: boolean;
  /** Bytes of a request. */
  readonly block: number;
  readonly depth: number;
  /** The iothread's poll-max-ns. */
  readonly pollMaxNs?: number;
}

function* cases(): Generator<Case> {
  for (const packed of [false, true]) {
    for (const write of [false, true]) {
      for (const [size, block] of [
        ['4k', 4 * KIB],
        ['1m', MIB],
      ] as const) {
        for (const depth of [1, 8, 32, 128]) {
          const name = `device-${packed ? 'packed' : 'split'}-${write ? 'write' : 'read'}-${size}-qd${depth}`;
          yield { name, packed, write, block, depth };
        }
      }
    }
  }
}

/** What polling before sleeping is worth, with QEMU's default. */
const POLLING: Case = {
  ...{ name: 'device-split-read-4k-qd1-poll', packed: false, write: false, block: 4 * KIB, depth: 1 },
  pollMaxNs: 32_768,
};
const CASES = [...cases(), POLLING];
export const BLK_DEVICE_ROWS = CASES.map(({ name }) => name);

/** @param folder where the image is */
export async function blkDevice(context: Context, rows: ReadonlySet<string>, folder: string): Promise<Figure[]> {
  const wanted = CASES.filter(({ name }) => rows.has(name));
  if (wanted.length === 0) return [];
  const file = path.join(folder, 'device.raw');
  writeFileSync(file, Buffer.alloc(DISK_MIB * MIB, 0x5a));
  const figures = new Map<string, Figure>();
  for (let sample = 1; sample <= context.samples; sample++) {
    for (const one of wanted) {
      context.progress(`blk: ${one.name} ${sample}/${context.samples}`);
      const { requests, seconds } = await measure(file, one);
      const small = one.block < MIB;
      const unit = small ? 'IOPS' : 'MiB/s';
      const figure = figures.get(one.name) ?? { name: one.name, unit, better: 'more', ours: [], peer: [] };
      figures.set(one.name, figure);
      figure.ours.push((requests / seconds) * (small ? 1 : one.block / MIB));
    }
  }
  rmSync(file);
  return [...figures.values()];
}

async function measure(file: string, { packed, write, block, depth, pollMaxNs = 0 }: Case): Promise<DriverResult> {
  const { disk } = openDisk({ file, host: createHost(HOST), locking: 'off' });
  const bench = new VirtioBench({ mib: RAM_MIB });
  try {
    const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk }), {
      ringFeatures: ringFeatureBits({ packed }),
    });
    await driver.init({ queueSize: QUEUE_SIZE });
    bench.iothread.tune({ pollMaxNs });
    const workerData: DriverData = {
      guest: bench.memory.handle,
      slot: driver.slot,
      areas: driver.queues[0].areas,
      packed,
      write,
      size: QUEUE_SIZE,
      depth,
      block,
      diskSize: disk.size,
      warmUp: WARM_UP,
      duration: DURATION,
    };
    const worker = new Worker(new URL('../lib/blk-driver.ts', import.meta.url), { workerData });
    const [result] = (await once(worker, 'message')) as [DriverResult];
    return result;
  } finally {
    await bench.close();
    disk.close();
  }
}
