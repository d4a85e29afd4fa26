/** The control thread's half of virtio-pmem: a file as persistent memory (virtio 1.3, section 5.19). */
import type { FileRegion } from '../../memory/file-region.ts';
import { ConfigSpace } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import { VIRTIO_ID_PMEM } from '../spec/device-ids.ts';
import type { FeatureInfo } from '../spec/features.ts';
import { PMEM_CONFIG_BYTES, PMEM_CONFIG_SIZE, PMEM_CONFIG_START } from '../spec/pmem.ts';
import type { PmemBackendOptions, PmemReport } from './backend.ts';

/** As QEMU's. */
const QUEUE_SIZE = 128;

export interface PmemDeviceOptions {
  id: string;
  /** Owned by the caller, who closes it when the device is unplugged. */
  region: FileRegion;
  /** Something the user should know, one line. */
  warn?: (message: string) => void;
}

export class PmemDevice extends VirtioDevice {
  readonly type = 'virtio-pmem';
  readonly virtioId = VIRTIO_ID_PMEM;
  readonly featureInfo: readonly FeatureInfo[] = [];
  readonly features = 0n;
  readonly queues: readonly QueueSpec[] = [{ name: 'req_vq', maxSize: QUEUE_SIZE }];
  readonly config = new ConfigSpace(PMEM_CONFIG_BYTES, [
    { name: 'start', offset: PMEM_CONFIG_START, size: 8 },
    { name: 'size', offset: PMEM_CONFIG_SIZE, size: 8 },
  ]);
  readonly backend: BackendInit;
  readonly #file: string;
  readonly #warn: (message: string) => void;

  constructor({ id, region, warn = () => {} }: PmemDeviceOptions) {
    super(id);
    this.#file = region.file;
    this.#warn = warn;
    this.config.set(PMEM_CONFIG_START, region.address);
    this.config.set(PMEM_CONFIG_SIZE, region.size);
    const options: PmemBackendOptions = { region: region.handle };
    this.backend = { type: this.type, options };
  }

  override backendEvent(detail: unknown): void {
    this.#warn(`"${this.#file}" could not be flushed: ${(detail as PmemReport).failed}. The guest was told.`);
  }
}
