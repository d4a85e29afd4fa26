/** The back ends of I/O workers, with fake disks, and some that tests need. */
import { BACKENDS } from '../../core/virtio/backend/registry.ts';
import type { BackendFactory } from '../../core/virtio/backend/backend.ts';
import { BlkBackend, createBlkBackend } from '../../core/virtio/blk/backend.ts';
import type { BlkBackendOptions } from '../../core/virtio/blk/backend.ts';
import { RingsideError } from '../../core/errors.ts';
import { IOTHREAD_BASE } from '../../core/worker/layout.ts';
import { FakeDisk } from './fake-disk.ts';
import type { FakeDiskHandle } from './fake-disk.ts';

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

/** A device that only the first worker takes. */
const picky: BackendFactory = (options, context) => {
  if (context.waitBlock !== IOTHREAD_BASE) throw new RingsideError('internal', 'not on this worker');
  return crasher(options, context);
};

export const TEST_BACKENDS: Readonly<Record<string, BackendFactory>> = {
  ...BACKENDS,
  'virtio-blk': blkOnFakeDisks,
  crasher,
  picky,
};
