/** The control thread's half of virtio-rng: the entropy device (virtio 1.3, section 5.4). */
import { RingsideError } from '../../errors.ts';
import { ConfigSpace } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import { VIRTIO_ID_ENTROPY } from '../spec/device-ids.ts';
import type { FeatureInfo } from '../spec/features.ts';
import type { RngBackendOptions, RngLimit, RngTrouble } from './backend.ts';
import { BUILTIN_RNG } from './source.ts';
import type { RngSource } from './source.ts';

export interface RngDeviceOptions {
  id: string;
  /** At most `maxBytes` (1 and up) every `period` (1 and up) milliseconds. Default: no limit. */
  limit?: RngLimit;
  /** Default: this process's generator. */
  source?: RngSource;
  /** Something the user should know, one line. */
  warn?(message: string): void;
}

export class RngDevice extends VirtioDevice {
  readonly type = 'virtio-rng';
  readonly virtioId = VIRTIO_ID_ENTROPY;
  readonly featureInfo: readonly FeatureInfo[] = [];
  readonly features = 0n;
  readonly queues: readonly QueueSpec[] = [{ name: 'requestq', maxSize: 1024 }];
  readonly config = new ConfigSpace(0, []);
  readonly backend: BackendInit;
  readonly #warn: (message: string) => void;

  /** @throws RingsideError 'bad-option' */
  constructor({ id, limit, source = BUILTIN_RNG, warn = () => {} }: RngDeviceOptions) {
    super(id);
    if (limit && !(isPositive(limit.maxBytes) && isPositive(limit.period))) {
      throw new RingsideError('bad-option', `The rate limit of ${id} needs max-bytes and period of at least 1.`);
    }
    const options: RngBackendOptions = { limit: limit ?? null, source };
    this.backend = { type: this.type, options };
    this.#warn = warn;
  }

  override backendEvent(detail: unknown): void {
    this.#warn((detail as RngTrouble).message);
  }
}

function isPositive(value: number): boolean {
  return Number.isInteger(value) && value > 0;
}
