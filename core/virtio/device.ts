/**
 * The control thread's half of a virtio device: features, configuration space, and what an I/O worker must know to serve
 * its queues. It knows neither its transport nor where its queues are served; each device type derives one in its folder.
 */
import type { ComputedProperty } from '../qom/property.ts';
import type { ConfigSpace } from './config-space.ts';
import type { QueueSpec } from './queue/configured-queue.ts';
import type { FeatureInfo } from './spec/features.ts';

/**
 * What the worker's half of a device is made from: structured-clonable, `type` is a key of the worker's back ends
 * (core/virtio/backend/registry.ts).
 */
export interface BackendInit {
  readonly type: string;
  readonly options: unknown;
}

/** What a device can ask of the transport that it is plugged into. */
export interface DeviceHost {
  /** The configuration space has changed: tells the driver (section 3.2.1). */
  configChanged(): void;
  /** Gives the worker's half new parameters; resolves when it obeys them. */
  configureBackend(change: unknown): Promise<void>;
  /** Makes the worker's half look at what it watches. */
  wakeBackend(): void;
}

export abstract class VirtioDevice {
  /** Unique in the machine, e.g. "drive0". */
  readonly id: string;
  /** e.g. "virtio-blk". */
  abstract readonly type: string;
  /** VIRTIO_ID_*. */
  abstract readonly virtioId: number;
  /** Bits of the device type, named. */
  abstract readonly featureInfo: readonly FeatureInfo[];
  /** Bits of the device type that are offered. Transport and ring bits are the transport's. */
  abstract readonly features: bigint;
  abstract readonly queues: readonly QueueSpec[];
  abstract readonly config: ConfigSpace;
  abstract readonly backend: BackendInit;

  /** Why all its queues must be served by one I/O worker; null when they need not. */
  readonly oneWorker: string | null = null;

  /** Properties of its object besides those of its type, by name. */
  readonly computed: Readonly<Record<string, ComputedProperty>> = {};

  /** Set while the device is plugged into a transport. */
  host: DeviceHost | null = null;

  constructor(id: string) {
    this.id = id;
  }

  /**
   * Queues are about to be handed to the worker's half: its parameters, what follows from the negotiated features.
   *
   * @param _queues their indices
   */
  activation(_negotiated: bigint, _queues: readonly number[]): unknown {
    return null;
  }

  /** What a queue is to a driver with these features. */
  queueName(index: number, _negotiated: bigint): string {
    return this.queues[index].name;
  }

  /** Feature negotiation is complete: FEATURES_OK, or for a legacy driver each write of its features. */
  negotiated(_features: bigint, _legacy: boolean): void {}

  /**
   * The driver has written configuration bytes. A promise holds the driver's access until the change holds.
   */
  configWritten(_offset: number, _size: number): void | Promise<void> {}

  /** The worker's half has something to tell (DeviceEvent). */
  backendEvent(_detail: unknown): void {}

  /** Device reset (section 2.4). The queues are stopped by now. */
  reset(): void {}
}
