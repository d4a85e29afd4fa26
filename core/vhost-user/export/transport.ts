/** A virtio device whose driver is behind a vhost-user socket: the transport that a session drives. */
import { RingsideError } from '../../errors.ts';
import type { ConfiguredQueue } from '../../virtio/queue/configured-queue.ts';
import { startPosition } from '../../virtio/queue/running-queue.ts';
import type { QueuePosition } from '../../virtio/queue/running-queue.ts';
import { VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1, hasFeature } from '../../virtio/spec/features.ts';
import { STATUS_ACKNOWLEDGE, STATUS_DRIVER, STATUS_DRIVER_OK, STATUS_FEATURES_OK } from '../../virtio/spec/status.ts';
import type { Interrupt, InterruptSpec } from '../../virtio/transport/interrupt.ts';
import { VirtioTransport } from '../../virtio/transport/transport.ts';
import type { TransportOptions } from '../../virtio/transport/transport.ts';
import { VhostUserError } from '../error.ts';
import { CONFIG_BYTES_MAX, VHOST_F_LOG_ALL, VHOST_USER_F_PROTOCOL_FEATURES } from '../spec.ts';

/** Bits that are between frontend and back end. */
const VHOST_BITS = (1n << BigInt(VHOST_F_LOG_ALL)) | (1n << BigInt(VHOST_USER_F_PROTOCOL_FEATURES));

/** Where the parts of a ring are, guest physical. */
export interface RingAddresses {
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
}

export class VhostUserTransport extends VirtioTransport {
  readonly name = 'vhost-user';
  readonly base = null;
  readonly irq = 0;
  readonly version = 2;
  /** Tells the frontend that the configuration space has changed. */
  onConfigChange: (() => void) | null = null;
  protected readonly interrupt: Interrupt;
  protected readonly interruptSpec: InterruptSpec = { kind: 'call', irq: 0 };
  #legacy = false;

  constructor(options: TransportOptions) {
    super(options, { initialQueueSize: null, legacy: false });
    // Used buffer notifications are the worker's, who has the call descriptors.
    this.interrupt = {
      status: 0,
      usedBuffer: () => {},
      configChange: () => this.onConfigChange?.(),
      acknowledge: () => {},
      clear: () => {},
    };
  }

  get legacy(): boolean {
    return this.#legacy;
  }

  /** Bits for GET_FEATURES. */
  get features(): bigint {
    return this.offeredTo(false) | this.offeredTo(true) | (1n << BigInt(VHOST_USER_F_PROTOCOL_FEATURES));
  }

  /**
   * The driver's features, as SET_FEATURES has them: none of the device's queues runs yet, or they are as before.
   *
   * @throws VhostUserError 'protocol'
   */
  async negotiate(features: bigint): Promise<void> {
    const unknown = features & ~(this.features | VHOST_BITS);
    if (unknown !== 0n) {
      throw new VhostUserError('protocol', `bits 0x${unknown.toString(16)} were not offered`);
    }
    // Bits that only legacy drivers know are offered to all: who asks depends on what is accepted.
    const legacy = !hasFeature(features, VIRTIO_F_VERSION_1);
    const wanted = features & this.offeredTo(legacy);
    if ((this.status & STATUS_DRIVER_OK) !== 0 && wanted === this.driverFeatures) return;
    if (this.queues.some(({ running }) => running)) {
      throw new VhostUserError('protocol', 'other features while rings run');
    }
    await this.reset();
    this.#legacy = legacy;
    const acknowledged = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
    await this.writeStatus(acknowledged);
    if (this.#legacy) {
      await this.writeLegacyFeatures(Number(wanted));
      await this.writeStatus(acknowledged | STATUS_DRIVER_OK);
      return;
    }
    this.writeDriverFeatures(0, Number(wanted & 0xffff_ffffn));
    this.writeDriverFeatures(1, Number(wanted >> 32n));
    await this.writeStatus(acknowledged | STATUS_FEATURES_OK);
    if ((this.status & STATUS_FEATURES_OK) === 0) throw new VhostUserError('protocol', this.error ?? 'SET_FEATURES');
    await this.writeStatus(acknowledged | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
  }

  get packed(): boolean {
    return hasFeature(this.negotiated, VIRTIO_F_RING_PACKED);
  }

  /**
   * Runs a ring.
   *
   * @param base where it goes on, as SET_VRING_BASE has it
   * @throws VhostUserError 'protocol' when it cannot run
   */
  start(queue: ConfiguredQueue, size: number, { descriptors, available, used }: RingAddresses, base: number): void {
    queue.size = size;
    for (const [register, address] of [
      [queue.descriptor, descriptors],
      [queue.driver, available],
      [queue.device, used],
    ] as const) {
      register.low = address % 2 ** 32;
      register.high = Math.floor(address / 2 ** 32);
    }
    const problem = queue.problem(this.options.memory, this.negotiated);
    if (problem) throw new VhostUserError('protocol', `ring ${queue.index} cannot run: ${problem}`);
    queue.position = this.#position(queue, base);
    this.enableQueue(queue);
  }

  #position(queue: ConfiguredQueue, base: number): QueuePosition {
    if (this.packed) {
      // Nobody has said: from the start.
      if (base === 0) return startPosition(true);
      return { availIdx: base & 0xffff, usedIdx: base >>> 16 };
    }
    return { availIdx: base & 0xffff, usedIdx: this.options.memory.readU16(queue.areas.deviceArea + 2) };
  }

  /** @returns where it stands, as GET_VRING_BASE tells it */
  async stop(queue: ConfiguredQueue): Promise<number> {
    await this.stopQueue(queue);
    const { availIdx, usedIdx } = queue.position ?? startPosition(this.packed);
    return this.packed ? ((usedIdx << 16) | availIdx) >>> 0 : availIdx;
  }

  /** Bytes of the configuration space; beyond its end zeroes. */
  configBytes(offset: number, size: number): Uint8Array {
    const { config } = this.device;
    const bytes = new Uint8Array(size);
    for (let i = 0; i < size && offset + i < config.size; i++) bytes[i] = config.read(offset + i, 1);
    return bytes;
  }

  /** The driver writes its configuration space. */
  async setConfig(offset: number, bytes: Uint8Array): Promise<void> {
    if (offset + bytes.length > CONFIG_BYTES_MAX) throw new RingsideError('internal', 'configuration out of range');
    for (const [i, byte] of bytes.entries()) this.device.config.write(offset + i, 1, byte);
    await this.device.configWritten(offset, bytes.length);
  }
}
