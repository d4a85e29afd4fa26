/**
 * 4 KiB random reads of a cached file through virtio-blk on an I/O worker, the driver on another thread. No guest code:
 * what the device itself can do.
 *
 *     node test/bench/virtio-blk.ts [MILLISECONDS]
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { openDisk } from '../../core/block/open.ts';
import { createHost } from '../../core/host/node-host.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { HOST } from '../harness/guest.ts';
import { VirtioBench } from '../harness/virtio-bench.ts';
import type { DriverData, DriverResult } from './virtio-blk-driver.ts';

const MIB = 2 ** 20;
const duration = Number(process.argv[2] ?? 2000);
const folder = mkdtempSync(join(tmpdir(), 'ringside-bench-'));
const file = join(folder, 'disk.raw');
writeFileSync(file, Buffer.alloc(64 * MIB, 0x5a));

try {
  for (const [depth, block] of [
    [1, 4096],
    [4, 4096],
    [32, 4096],
    [128, 4096],
    [4, MIB],
  ]) {
    const { disk } = openDisk({ file, host: createHost(HOST), locking: 'off' });
    const bench = new VirtioBench({ mib: 64 });
    const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk }));
    const size = 1024;
    await driver.init({ queueSize: size });
    const workerData: DriverData = {
      guest: bench.memory.handle,
      slot: driver.slot,
      areas: driver.queues[0].areas,
      size,
      depth,
      block,
      diskSize: disk.size,
      duration,
    };
    // A driver that polls wants no interrupts, so none are asked for: used_event stays behind.
    const worker = new Worker(new URL('./virtio-blk-driver.ts', import.meta.url), { workerData });
    const [result] = (await once(worker, 'message')) as [DriverResult];
    const [queue] = bench.bus.snapshot()[0].queues;
    console.log(
      JSON.stringify({
        name: `virtio-blk read ${block / 1024} KiB QD${depth}`,
        unit: 'requests/s',
        ours: Math.round(result.requests / result.seconds),
        kicksPerRequest: Number((result.kicks / result.requests).toFixed(3)),
        interrupts: queue.counters.interrupts,
      }),
    );
    await bench.close();
    disk.close();
  }
} finally {
  rmSync(folder, { recursive: true });
}
