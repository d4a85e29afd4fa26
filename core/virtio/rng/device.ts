/** The control thread's half of virtio-rng: the entropy device (virtio 1.3, section 5.4). */
import { RingsideError } from '../../errors.ts';
import { ConfigSpace } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import { VIRTIO_ID_ENTROPY } from '../spec/device-ids.ts';
import type { FeatureInfo } from '../spec/features.ts';
import type { RngBackendOptions, RngLimit } from './backend.ts';

export interface RngDeviceOptions {
  id: string;
  /** At most `maxBytes` (1 and up) every `period` (1 and up) milliseconds. Default: no limit. */
  limit?: RngLimit;
}

export class RngDevice extends VirtioDevice {
  readonly type = 'virtio-rng';
  readonly virtioId = VIRTIO_ID_ENTROPY;
  readonly featureInfo: readonly FeatureInfo[] = [];
  readonly features = 0n;
  readonly queues: readonly QueueSpec[] = [{ name: 'requestq', maxSize: 1024 }];
  readonly config = new ConfigSpace(0, []);
  readonly backend: BackendInit;

  /** @throws RingsideError 'bad-option' */
  constructor({ id, limit }: RngDeviceOptions) {
    super(id);
    if (limit && !(isPositive(limit.maxBytes) && isPositive(limit.period))) {
      throw new RingsideError('bad-option', `The rate limit of ${id} needs max-bytes and period of at least 1.`);
    }
    const options: RngBackendOptions = { limit: limit ?? null };
    this.backend = { type: this.type, options };
  }
}

function isPositive(value: number): boolean {
  return Number.isInteger(value) && value > 0;
}
