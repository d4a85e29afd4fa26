/** A board with nothing on it but guest RAM, real I/O workers and the virtio-mmio bus. */
import type { VirtioDeviceSnapshot } from '../../core/api/machine.ts';
import type { HostSpec } from '../../core/host/host.ts';
import type { GuestMemory } from '../../core/memory/guest-memory.ts';
import type { IoErrorEvent } from '../../core/virtio/backend/backend.ts';
import type { VirtioDevice } from '../../core/virtio/device.ts';
import { VirtioMmioBus } from '../../core/virtio/mmio-bus.ts';
import type { AttachOptions } from '../../core/virtio/mmio-bus.ts';
import { IoThreadHandle } from '../../core/worker/iothread-handle.ts';
import { GuestAllocator, HOST, makeGuest } from './guest.ts';
import { IrqDouble } from './irq-double.ts';
import { MockDriver } from './mock-driver.ts';

/** The smallest module there is: the worker of the tests does not look at it. */
const NO_ENGINE = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));

export interface BenchOptions {
  /** MiB of guest RAM. */
  mib?: number;
  legacy?: boolean;
  /** I/O workers. Default 1. */
  iothreads?: number;
  /** Default: without the addon. */
  host?: HostSpec;
  /** MiB behind RAM for files as memory. */
  regionMib?: number;
}

export class VirtioBench {
  readonly memory: GuestMemory;
  readonly allocator: GuestAllocator;
  readonly irq: IrqDouble;
  readonly iothreads: readonly IoThreadHandle[];
  readonly bus: VirtioMmioBus;
  /** What the bus has told. */
  readonly notes: string[] = [];
  readonly ioErrors: IoErrorEvent[] = [];
  readonly crashes: Error[] = [];

  constructor({ mib = 16, legacy = false, iothreads = 1, host = HOST, regionMib = 0 }: BenchOptions = {}) {
    this.memory = makeGuest(mib, host, regionMib);
    this.allocator = new GuestAllocator(this.memory);
    this.irq = new IrqDouble(this.memory.memory);
    this.iothreads = Array.from(
      { length: iothreads },
      (_, index) =>
        new IoThreadHandle({
          guest: this.memory.handle,
          index,
          engine: NO_ENGINE,
          host,
          entry: new URL('./iothread-entry.ts', import.meta.url),
          onCrash: (error) => this.crashes.push(error),
        }),
    );
    this.bus = new VirtioMmioBus({
      memory: this.memory,
      engine: this.irq,
      iothreads: this.iothreads,
      legacy,
      onIoError: (_device, event) => this.ioErrors.push(event),
      onNote: (_device, message) => this.notes.push(message),
    });
  }

  /** The first one, which serves what is not told otherwise. */
  get iothread(): IoThreadHandle {
    return this.iothreads[0];
  }

  /** Plugs a device in and gives a driver for it, not initialized yet. */
  async attach(device: VirtioDevice, options?: AttachOptions): Promise<MockDriver> {
    return new MockDriver(this, await this.bus.attach(device, options));
  }

  snapshot(): VirtioDeviceSnapshot[] {
    return this.bus.snapshot();
  }

  /** Takes all devices out and forgets everything: a board for the next test, with the same worker. */
  async clear(): Promise<void> {
    await this.bus.close();
    this.allocator.reset();
    this.notes.length = 0;
    this.ioErrors.length = 0;
  }

  async close(): Promise<void> {
    await this.bus.close();
    await Promise.all(this.iothreads.map((iothread) => iothread.close()));
  }
}

/** Waits, a turn of the event loop at a time, until something holds. */
export async function until(condition: () => boolean, what = 'it', milliseconds = 10_000): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${milliseconds} ms for ${what} in vain`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
