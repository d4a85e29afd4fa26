/** The control thread's half of virtio-vsock: sockets between the guest and programs of the host (section 5.10). */
import { RingsideError } from '../../errors.ts';
import { ConfigSpace } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import { VIRTIO_ID_VSOCK } from '../spec/device-ids.ts';
import { featureMask } from '../spec/features.ts';
import {
  VIRTIO_VSOCK_F_STREAM,
  VSOCK_CID_MAX,
  VSOCK_CID_MIN,
  VSOCK_CONFIG_BYTES,
  VSOCK_CONFIG_GUEST_CID,
  VSOCK_FEATURES,
} from '../spec/vsock.ts';
import type { VsockBackendOptions, VsockChange } from './backend.ts';

const QUEUE_SIZE = 128;

export interface VsockDeviceOptions {
  id: string;
  /** 3 to 2^32 - 2. */
  guestCid: bigint;
  /** The socket worker's. */
  shared: SharedArrayBuffer;
}

export class VsockDevice extends VirtioDevice {
  readonly type = 'virtio-vsock';
  readonly virtioId = VIRTIO_ID_VSOCK;
  readonly featureInfo = VSOCK_FEATURES;
  readonly features = featureMask(VIRTIO_VSOCK_F_STREAM);
  readonly queues: readonly QueueSpec[] = [
    { name: 'rx', maxSize: QUEUE_SIZE },
    { name: 'tx', maxSize: QUEUE_SIZE },
    { name: 'event', maxSize: QUEUE_SIZE },
  ];
  readonly config = new ConfigSpace(VSOCK_CONFIG_BYTES, [
    { name: 'guest_cid', offset: VSOCK_CONFIG_GUEST_CID, size: 8 },
  ]);
  readonly backend: BackendInit;

  /** @throws RingsideError 'bad-option' */
  constructor({ id, guestCid, shared }: VsockDeviceOptions) {
    super(id);
    if (guestCid < VSOCK_CID_MIN || guestCid > VSOCK_CID_MAX) {
      throw new RingsideError('bad-option', `The guest-cid of ${id} must be ${VSOCK_CID_MIN} to ${VSOCK_CID_MAX}.`);
    }
    this.config.set(VSOCK_CONFIG_GUEST_CID, guestCid);
    const options: VsockBackendOptions = { guestCid, shared };
    this.backend = { type: this.type, options };
  }

  /** Nobody serves the sockets any more: resets all connections. */
  socketsLost(): void {
    const change: VsockChange = { socketsLost: true };
    void this.host?.configureBackend(change).catch(() => {});
  }
}
