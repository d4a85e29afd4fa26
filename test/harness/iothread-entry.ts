/** An I/O worker as core/worker/iothread.ts makes it, but with the interrupt controller and fake disks of the tests. */
import { workerData } from 'node:worker_threads';

import { createHost } from '../../core/host/node-host.ts';
import { GuestMemory } from '../../core/memory/guest-memory.ts';
import { BACKENDS } from '../../core/virtio/backend/registry.ts';
import type { BackendFactory } from '../../core/virtio/backend/backend.ts';
import { BlkBackend, createBlkBackend } from '../../core/virtio/blk/backend.ts';
import type { BlkBackendOptions } from '../../core/virtio/blk/backend.ts';
import { IoLoop } from '../../core/worker/io-loop.ts';
import type { IoThreadData } from '../../core/worker/iothread-messages.ts';
import { FakeDisk } from './fake-disk.ts';
import type { FakeDiskHandle } from './fake-disk.ts';
import { IrqDouble } from './irq-double.ts';

const blkOnFakeDisks: BackendFactory = (options, context) => {
  const blk = options as BlkBackendOptions;
  if (!('fake' in blk.disk)) return createBlkBackend(options, context);
  return new BlkBackend(new FakeDisk(blk.disk as FakeDiskHandle), blk, context);
};

/** A device that has a bug. */
const crasher: BackendFactory = () => ({
  start() {},
  stop() {},
  serve() {
    throw new Error('a bug in a back end');
  },
});

const { guest, index, port, host } = workerData as IoThreadData;
const memory = new GuestMemory(guest);
new IoLoop({
  memory,
  index,
  port,
  irq: new IrqDouble(memory.memory),
  host: createHost(host),
  backends: { ...BACKENDS, 'virtio-blk': blkOnFakeDisks, crasher },
}).run();
port.close();
