/** The control thread's half of virtio-9p: a folder of the host, by its mount tag. */
import { RingsideError } from '../../errors.ts';
import type { SharedFolderHandle } from '../../hostfs/shared-folder.ts';
import { ConfigSpace } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import { P9_CONFIG_TAG, P9_CONFIG_TAG_LEN, P9_FEATURES, VIRTIO_9P_MOUNT_TAG } from '../spec/9p.ts';
import { VIRTIO_ID_9P } from '../spec/device-ids.ts';
import { featureMask } from '../spec/features.ts';
import type { P9BackendOptions, P9Event } from './backend.ts';

/** QEMU's MAX_REQ; Linux's driver has as many requests in flight. */
const QUEUE_SIZE = 128;
/** QEMU's MAX_TAG_LEN. */
const TAG_BYTES_MAX = 32;

export interface P9DeviceOptions {
  id: string;
  /** By which the guest mounts it: 1 to 32 bytes of UTF-8. */
  mountTag: string;
  /** Open; closed by its owner when the device is gone. */
  folder: SharedFolderHandle;
  /** Something the user should know, one line. */
  warn?(message: string): void;
}

export class P9Device extends VirtioDevice {
  readonly type = 'virtio-9p';
  readonly virtioId = VIRTIO_ID_9P;
  readonly featureInfo = P9_FEATURES;
  readonly features = featureMask(VIRTIO_9P_MOUNT_TAG);
  readonly queues: readonly QueueSpec[] = [{ name: 'requests', maxSize: QUEUE_SIZE }];
  readonly config: ConfigSpace;
  readonly backend: BackendInit;
  readonly #warn: (message: string) => void;

  /** @throws RingsideError 'bad-option' */
  constructor({ id, mountTag, folder, warn = () => {} }: P9DeviceOptions) {
    super(id);
    const tag = new TextEncoder().encode(mountTag);
    if (tag.length === 0 || tag.length > TAG_BYTES_MAX || tag.includes(0)) {
      throw new RingsideError('bad-option', `The mount_tag of ${id} must have 1 to ${TAG_BYTES_MAX} bytes.`);
    }
    this.config = new ConfigSpace(P9_CONFIG_TAG + tag.length, [
      { name: 'tag_len', offset: P9_CONFIG_TAG_LEN, size: 2 },
      ...Array.from(tag, (_, i) => ({ name: `tag[${i}]`, offset: P9_CONFIG_TAG + i, size: 1 })),
    ]);
    this.config.set(P9_CONFIG_TAG_LEN, tag.length);
    tag.forEach((byte, i) => this.config.set(P9_CONFIG_TAG + i, byte));
    const options: P9BackendOptions = { folder };
    this.backend = { type: this.type, options };
    this.#warn = warn;
  }

  override backendEvent(detail: unknown): void {
    this.#warn((detail as P9Event).warning);
  }
}
