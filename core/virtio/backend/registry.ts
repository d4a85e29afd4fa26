/** The back ends that our I/O workers have, by BackendInit.type. */
import { createBalloonBackend } from '../balloon/backend.ts';
import { createP9Backend } from '../9p/backend.ts';
import { createBlkBackend } from '../blk/backend.ts';
import { createConsoleBackend } from '../console/backend.ts';
import { createCryptoBackend } from '../crypto/backend.ts';
import { createInputBackend } from '../input/backend.ts';
import { createNetDeviceBackend } from '../net/backend.ts';
import { createPmemBackend } from '../pmem/backend.ts';
import { createRngBackend } from '../rng/backend.ts';
import { createVsockBackend } from '../vsock/backend.ts';
import type { BackendFactory } from './backend.ts';

export const BACKENDS: Readonly<Record<string, BackendFactory>> = {
  'virtio-balloon': createBalloonBackend,
  'virtio-9p': createP9Backend,
  'virtio-blk': createBlkBackend,
  'virtio-console': createConsoleBackend,
  'virtio-crypto': createCryptoBackend,
  'virtio-input': createInputBackend,
  'virtio-net': createNetDeviceBackend,
  'virtio-pmem': createPmemBackend,
  'virtio-rng': createRngBackend,
  'virtio-vsock': createVsockBackend,
};
