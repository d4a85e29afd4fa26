/** The board's virtio-mmio slots, on the control thread: which device sits where, and register accesses by address. */
import type { VirtioDeviceSnapshot } from '../api/machine.ts';
import { RingsideError } from '../errors.ts';
import { VIRTIO_IRQ, VIRTIO_PHYS, VIRTIO_SLOTS, VIRTIO_SLOT_SIZE } from '../machine/virt-map.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { IoThreadHandle } from '../worker/iothread-handle.ts';
import type { IoErrorEvent } from './backend/backend.ts';
import type { Trace } from '../trace/trace.ts';
import type { QueueServer } from './backend/queue-server.ts';
import { QueueServerGroup } from './backend/queue-server-group.ts';
import type { PlugOptions, VirtioBus } from './bus.ts';
import type { VirtioDevice } from './device.ts';
import { NoteLimiter } from './note-limiter.ts';
import { deviceSnapshot } from './snapshot.ts';
import * as reg from './spec/mmio.ts';
import type { InterruptSink } from './transport/interrupt.ts';
import { MmioTransport } from './transport/mmio.ts';
import type { VirtioTransport } from './transport/transport.ts';

export interface VirtioMmioBusOptions {
  memory: GuestMemory;
  /** Drives the interrupt controller from the control thread. */
  engine: InterruptSink;
  /** At least one; the bus does not end them. */
  iothreads: readonly IoThreadHandle[];
  /** Empty slots, and devices by default, are version 1 (QEMU: -global virtio-mmio.force-legacy=true). */
  legacy?: boolean;
  /**
   * A disk's request has failed. When `action` is 'stop', the VM is to be paused: call pause(); resume() tries the request
   * again.
   */
  onIoError?(device: string, event: IoErrorEvent): void;
  trace?: Trace;
  /** A driver broke a rule of the spec; one line. At most some ten a second for each device. */
  onNote?(device: string, message: string): void;
}

export interface AttachOptions {
  /** 0..7 (QEMU: bus=virtio-mmio-bus.N). By default the highest one that is free, as in QEMU. */
  slot?: number;
  legacy?: boolean;
  /** As ringFeatureBits() gives them. */
  ringFeatures?: bigint;
  /** Which of the I/O workers serves it, or each of its queues. Default 0. */
  iothread?: number | readonly number[];
}

export class VirtioMmioBus {
  readonly #options: VirtioMmioBusOptions;
  readonly #slots: (MmioTransport | null)[] = new Array<null>(VIRTIO_SLOTS).fill(null);

  constructor(options: VirtioMmioBusOptions) {
    this.#options = options;
  }

  /**
   * Plugs a device in.
   *
   * @returns its slot
   * @throws RingsideError 'bad-option' when the slot is taken or does not exist, 'too-large' when all are taken, or what the
   *   I/O worker says
   */
  async attach(device: VirtioDevice, options: AttachOptions = {}): Promise<number> {
    const { iothreads, legacy: allLegacy = false } = this.#options;
    const slot = this.#chooseSlot(device, options.slot);
    const worker = (index: number): QueueServer => {
      const found = iothreads[index];
      if (!found) throw new RingsideError('bad-option', `${device.id} wants I/O worker ${index}; there is none.`);
      return found;
    };
    const { iothread = 0 } = options;
    const server = typeof iothread === 'number' ? worker(iothread) : new QueueServerGroup(iothread.map(worker));
    const limiter = new NoteLimiter((message) => this.#options.onNote?.(device.id, message));
    await this.#plug(slot, options.legacy ?? allLegacy, device, {
      ringFeatures: options.ringFeatures,
      server,
      note: (message) => limiter.note(message),
      event: (event) => this.#options.onIoError?.(device.id, event),
    });
    return slot;
  }

  /**
   * A slot as a bus for one device.
   *
   * @param legacy whether a device that is plugged in now is to be version 1
   */
  slotBus(slot: number, legacy: () => boolean): VirtioBus {
    return {
      interruptsByQueue: false,
      plug: async (device, options) => {
        const transport = await this.#plug(this.#chooseSlot(device, slot), legacy(), device, options);
        return {
          transport,
          unplug: () => this.detach(slot),
          reset: () => transport.machineReset(),
        };
      },
    };
  }

  async #plug(slot: number, legacy: boolean, device: VirtioDevice, options: PlugOptions): Promise<MmioTransport> {
    const { memory, engine, trace } = this.#options;
    const transport = new MmioTransport({
      memory,
      slot,
      base: VIRTIO_PHYS + slot * VIRTIO_SLOT_SIZE,
      irq: VIRTIO_IRQ + slot,
      legacy,
      device,
      sink: engine,
      ...(trace === undefined ? {} : { trace }),
      ...options,
    });
    this.#slots[slot] = transport;
    try {
      await transport.plug();
    } catch (error) {
      this.#slots[slot] = null;
      throw error;
    }
    return transport;
  }

  #chooseSlot(device: VirtioDevice, wanted: number | undefined): number {
    if (wanted !== undefined) {
      const occupant = this.#slots[wanted];
      if (occupant === undefined) {
        throw new RingsideError(
          'bad-option',
          `${device.id} cannot be in slot ${wanted}: use 0 to ${VIRTIO_SLOTS - 1}.`,
        );
      }
      if (occupant) {
        const message = `${device.id} cannot be in slot ${wanted}: ${occupant.device.id} is there. Choose another.`;
        throw new RingsideError('bad-option', message);
      }
      return wanted;
    }
    const slot = this.#slots.lastIndexOf(null);
    if (slot < 0) {
      throw new RingsideError('too-large', `No slot is left for ${device.id}: the board has ${VIRTIO_SLOTS}.`);
    }
    return slot;
  }

  /** Takes a device out; its queues are stopped when the promise resolves. */
  async detach(slot: number): Promise<void> {
    const transport = this.#slots[slot];
    if (!transport) return;
    await transport.unplug();
    this.#slots[slot] = null;
  }

  /** Whether harts serve the registers that they can serve by themselves, or have the control thread serve all. */
  serveHot(served: boolean): void {
    for (const transport of this.#slots) transport?.serveHot(served);
  }

  /** Takes all devices out. */
  async close(): Promise<void> {
    await Promise.all(this.#slots.map((_transport, slot) => this.detach(slot)));
  }

  /** Whether an access of `size` bytes at a guest physical address reaches a slot; otherwise it is an access fault. */
  accepts(address: number, size: number): boolean {
    const offset = address - VIRTIO_PHYS;
    if (offset < 0 || offset >= VIRTIO_SLOTS * VIRTIO_SLOT_SIZE) return false;
    if (size !== 1 && size !== 2 && size !== 4) return false;
    return offset % size === 0 && offset % VIRTIO_SLOT_SIZE < reg.MMIO_SIZE;
  }

  /** Only for what accepts() takes. The hart that reads waits for a promise. */
  read(address: number, size: number): number | Promise<number> {
    const offset = address - VIRTIO_PHYS;
    const transport = this.#slots[Math.floor(offset / VIRTIO_SLOT_SIZE)];
    return transport ? transport.read(offset % VIRTIO_SLOT_SIZE, size) : this.#readEmpty(offset % VIRTIO_SLOT_SIZE);
  }

  /** Only for what accepts() takes. The hart that writes waits for a promise. */
  write(address: number, size: number, value: number): void | Promise<void> {
    const offset = address - VIRTIO_PHYS;
    return this.#slots[Math.floor(offset / VIRTIO_SLOT_SIZE)]?.write(offset % VIRTIO_SLOT_SIZE, size, value);
  }

  /** Section 4.2.2: a placeholder has DeviceID 0. As in QEMU the rest reads as zero, and writes are ignored. */
  #readEmpty(offset: number): number {
    switch (offset) {
      case reg.MMIO_MAGIC_VALUE:
        return reg.MMIO_MAGIC;
      case reg.MMIO_VERSION:
        return this.#options.legacy ? reg.MMIO_VERSION_LEGACY : reg.MMIO_VERSION_MODERN;
      case reg.MMIO_VENDOR_ID:
        return reg.MMIO_VENDOR_QEMU;
      default:
        return 0;
    }
  }

  /** Machine reset: resets all devices. */
  async reset(): Promise<void> {
    await Promise.all(this.#slots.map(async (transport) => transport?.machineReset()));
  }

  /** When it resolves no device touches guest RAM, until resume(). */
  async pause(): Promise<void> {
    await Promise.all(this.#options.iothreads.map((iothread) => iothread.quiesce()));
  }

  /** Lets the devices go on; requests that stopped the VM are tried again. */
  async resume(): Promise<void> {
    await Promise.all(this.#options.iothreads.map((iothread) => iothread.resume()));
  }

  /** By slot. */
  get transports(): VirtioTransport[] {
    return this.#slots.filter((transport) => transport !== null);
  }

  /** By slot. */
  snapshot(): VirtioDeviceSnapshot[] {
    const { memory } = this.#options;
    return this.transports.map((transport) => deviceSnapshot(transport, memory));
  }
}
