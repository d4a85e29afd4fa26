/** The rings of one frontend: what it has said of each, and which of them run. */
import type { Host } from '../../host/host.ts';
import type { ConfiguredQueue } from '../../virtio/queue/configured-queue.ts';
import type { InflightSpec } from '../../virtio/queue/inflight-log.ts';
import type { IoThreadHandle } from '../../worker/iothread-handle.ts';
import { VhostUserError } from '../error.ts';
import type { MemoryMap } from './memory-map.ts';
import type { VringAddress } from './payload.ts';
import type { VhostUserTransport } from './transport.ts';

/** A ring runs from SET_VRING_KICK on, while it is enabled; GET_VRING_BASE stops it. */
interface Ring {
  readonly queue: ConfiguredQueue;
  size: number;
  addresses: VringAddress | null;
  base: number;
  started: boolean;
  enabled: boolean;
  kick: number | null;
  call: number | null;
  error: number | null;
}

export interface RingsOptions {
  host: Host;
  transport: VhostUserTransport;
  worker: IoThreadHandle;
  memory: MemoryMap;
  log(message: string): void;
}

export class Rings {
  readonly #o: RingsOptions;
  readonly #rings: readonly Ring[];

  constructor(options: RingsOptions) {
    this.#o = options;
    this.#rings = options.transport.queues.map((queue) => ({
      ...{ queue, size: 0, addresses: null, base: 0, started: false, enabled: false },
      ...{ kick: null, call: null, error: null },
    }));
  }

  #ring(index: number): Ring {
    const ring = this.#rings[index] as Ring | undefined;
    if (ring) return ring;
    throw new VhostUserError('protocol', `there is no ring ${index}: the device has ${this.#rings.length}`);
  }

  /** Of a ring that does not run. */
  #still(index: number): Ring {
    const ring = this.#ring(index);
    if (ring.queue.running) throw new VhostUserError('protocol', `ring ${index} runs`);
    return ring;
  }

  setSize(index: number, size: number): void {
    const ring = this.#still(index);
    if (size === 0 || size > ring.queue.maxSize) {
      throw new VhostUserError('protocol', `ring ${index} cannot have ${size} entries, but 1 to ${ring.queue.maxSize}`);
    }
    ring.size = size;
  }

  setAddresses(addresses: VringAddress): void {
    // A frontend says it again when it begins to log writes: then they are the same.
    const ring = this.#ring(addresses.index);
    if (ring.queue.running && !sameAddresses(ring.addresses, addresses)) {
      throw new VhostUserError('protocol', `ring ${addresses.index} runs`);
    }
    ring.addresses = addresses;
  }

  setBase(index: number, base: number): void {
    this.#still(index).base = base;
  }

  /** @param fd the ring's from now on; null: it is to be polled */
  async setKick(index: number, fd: number | null, inflight: InflightSpec | null): Promise<void> {
    if (fd === null) throw new VhostUserError('unsupported', `ring ${index} without a kick descriptor`);
    const ring = this.#adopt(index, fd, 'kick');
    await this.#o.worker.setRingFds(this.#o.transport.slot, index, { kick: fd });
    this.#dispose(ring, 'kick');
    ring.kick = fd;
    ring.started = true;
    ring.queue.inflight = inflight;
    await this.#update(ring);
  }

  async setCall(index: number, fd: number | null): Promise<void> {
    const ring = fd === null ? this.#ring(index) : this.#adopt(index, fd, 'call');
    await this.#o.worker.setRingFds(this.#o.transport.slot, index, { call: fd });
    this.#dispose(ring, 'call');
    ring.call = fd;
  }

  setError(index: number, fd: number | null): void {
    const ring = fd === null ? this.#ring(index) : this.#adopt(index, fd, 'error');
    this.#dispose(ring, 'error');
    ring.error = fd;
  }

  /** The descriptor is ours: closed when it cannot be used. */
  #adopt(index: number, fd: number, _what: string): Ring {
    try {
      const ring = this.#ring(index);
      this.#o.host.setNonBlocking(fd);
      return ring;
    } catch (error) {
      this.#o.host.close(fd);
      throw error;
    }
  }

  #dispose(ring: Ring, what: 'kick' | 'call' | 'error'): void {
    const fd = ring[what];
    if (fd !== null) this.#o.host.close(fd);
    ring[what] = null;
  }

  async enable(index: number, enabled: boolean): Promise<void> {
    const ring = this.#ring(index);
    ring.enabled = enabled;
    await this.#update(ring);
  }

  async enableAll(): Promise<void> {
    for (const { queue } of this.#rings) await this.enable(queue.index, true);
  }

  /** Runs the ring, or stops it, as it should be. */
  async #update(ring: Ring): Promise<void> {
    const { queue, addresses, size, base } = ring;
    const { transport } = this.#o;
    if (!(ring.started && ring.enabled)) {
      if (queue.running) ring.base = await transport.stop(queue);
      return;
    }
    if (queue.running) return;
    if (!addresses) throw new VhostUserError('protocol', `ring ${queue.index} is started without addresses`);
    transport.start(queue, size, this.#guestAddresses(addresses), base);
  }

  #guestAddresses({ index, descriptors, available, used }: VringAddress) {
    const guest = (what: string, user: bigint): number => {
      const address = this.#o.memory.guestAddress(user);
      if (address !== null) return address;
      throw new VhostUserError(
        'protocol',
        `${what} of ring ${index} is at 0x${user.toString(16)}, in no memory region`,
      );
    };
    return {
      descriptors: guest('the descriptor table', descriptors),
      available: guest('the available ring', available),
      used: guest('the used ring', used),
    };
  }

  /** GET_VRING_BASE. */
  async stop(index: number): Promise<number> {
    const ring = this.#ring(index);
    await this.#halt(ring);
    return ring.base;
  }

  async #halt(ring: Ring): Promise<void> {
    if (ring.queue.running) ring.base = await this.#o.transport.stop(ring.queue);
    ring.started = false;
    if (ring.kick === null) return;
    await this.#o.worker.setRingFds(this.#o.transport.slot, ring.queue.index, { kick: null });
    this.#dispose(ring, 'kick');
  }

  async stopAll(): Promise<void> {
    for (const ring of this.#rings) await this.#halt(ring);
  }

  /** The memory has changed: what is not inside any more stops. */
  async checkMemory(): Promise<void> {
    const { transport, memory } = this.#o;
    for (const ring of this.#rings.filter(({ queue }) => queue.running)) {
      const problem = ring.queue.problem(memory.memory, transport.negotiated);
      if (!problem) continue;
      await this.#halt(ring);
      throw new VhostUserError('protocol', `ring ${ring.queue.index} runs, and now ${problem}`);
    }
  }

  /** Tells the frontend that its rings are of no use any more. */
  broken(): void {
    for (const { error } of this.#rings) if (error !== null) this.#o.host.ringEvent(error);
  }

  async close(): Promise<void> {
    for (const ring of this.#rings) {
      await this.#o.worker.setRingFds(this.#o.transport.slot, ring.queue.index, { kick: null, call: null });
      for (const what of ['kick', 'call', 'error'] as const) this.#dispose(ring, what);
    }
  }
}

function sameAddresses(a: VringAddress | null, b: VringAddress): boolean {
  return a !== null && a.descriptors === b.descriptors && a.used === b.used && a.available === b.available;
}
