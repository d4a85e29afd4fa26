/** A board with nothing on it but guest RAM, a real I/O worker and PCI: VirtioBench's counterpart. */
import type { VirtioDeviceSnapshot } from '../../core/api/machine.ts';
import type { GuestMemory } from '../../core/memory/guest-memory.ts';
import type { PciAddress } from '../../core/pci/address.ts';
import type { PciBus } from '../../core/pci/bus.ts';
import { PciHost } from '../../core/pci/host.ts';
import type { IoErrorEvent } from '../../core/virtio/backend/backend.ts';
import type { VirtioDevice } from '../../core/virtio/device.ts';
import { deviceSnapshot } from '../../core/virtio/snapshot.ts';
import { VirtioOnPci, VirtioPciSlots } from '../../core/virtio/pci-bus.ts';
import type { VirtioPciPlug } from '../../core/virtio/pci-bus.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import type { RingFeatures } from '../../core/virtio/queue/ring-features.ts';
import { PCI_TRANSITIONAL_IDS } from '../../core/virtio/spec/pci.ts';
import { IoThreadHandle } from '../../core/worker/iothread-handle.ts';
import { GuestAllocator, HOST, makeGuest } from './guest.ts';
import type { BenchOptions } from './virtio-bench.ts';
import { IrqDouble } from './irq-double.ts';
import { BarSpace, PciAccess } from './pci-enumerator.ts';
import { PciMockDriver } from './pci-mock-driver.ts';
import type { PciDriverOptions } from './pci-mock-driver.ts';

/** The smallest module there is: the worker of the tests does not look at it. */
const NO_ENGINE = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
/** Class of the functions: "other". */
const PCI_CLASS_OTHERS = 0x00ff;

export interface PciFunctionOptions {
  /** Interfaces; by default only the modern one. */
  modern?: boolean;
  legacy?: boolean;
  /** MSI-X vectors; by default one for each queue and one for configuration changes. */
  vectors?: number;
  address?: PciAddress;
  multifunction?: boolean;
  ioeventfd?: boolean;
  ring?: Partial<RingFeatures>;
}

export class PciBench {
  readonly memory: GuestMemory;
  readonly allocator: GuestAllocator;
  readonly irq: IrqDouble;
  readonly iothread: IoThreadHandle;
  host!: PciHost;
  slots!: VirtioPciSlots;
  space!: BarSpace;
  readonly plugs = new Set<VirtioPciPlug>();
  readonly notes: string[] = [];
  readonly ioErrors: IoErrorEvent[] = [];
  readonly crashes: Error[] = [];

  constructor({ mib = 16, host = HOST, regionMib = 0 }: Omit<BenchOptions, 'legacy' | 'iothreads'> = {}) {
    this.memory = makeGuest(mib, host, regionMib);
    this.allocator = new GuestAllocator(this.memory);
    this.irq = new IrqDouble(this.memory.memory);
    this.iothread = new IoThreadHandle({
      guest: this.memory.handle,
      index: 0,
      engine: NO_ENGINE,
      host,
      entry: new URL('./iothread-entry.ts', import.meta.url),
      onCrash: (error) => this.crashes.push(error),
    });
    this.#newHost();
  }

  #newHost(): void {
    this.host = new PciHost();
    this.slots = new VirtioPciSlots({ memory: this.memory, host: this.host, sink: this.irq });
    this.space = new BarSpace();
  }

  /** Makes a function of a device. The guest has not touched it. */
  async plug(
    device: VirtioDevice,
    options: PciFunctionOptions = {},
    bus: PciBus = this.host.root,
  ): Promise<VirtioPciPlug> {
    const { modern = true, legacy = false, vectors = device.queues.length + 1, address = null } = options;
    const { multifunction = false, ioeventfd = true, ring } = options;
    const plug = await new VirtioOnPci(bus, this.slots).plugVirtio(
      device,
      {
        ringFeatures: ringFeatureBits(ring),
        server: this.iothread,
        note: (message) => this.notes.push(message),
        event: (event) => this.ioErrors.push(event),
      },
      {
        ...{ id: device.id, modern, legacy, vectors, address, multifunction, ioeventfd },
        pciClass: PCI_CLASS_OTHERS,
        transitionalId: PCI_TRANSITIONAL_IDS[device.virtioId] ?? null,
      },
    );
    this.plugs.add(plug);
    return plug;
  }

  /** A driver for a function, which has placed its BARs; not initialized yet. */
  async driver(plug: VirtioPciPlug, options: PciDriverOptions = {}, bus = 0): Promise<PciMockDriver> {
    const { devfn, transport } = plug.function;
    const access = new PciAccess(this.host, bus, devfn);
    await access.placeBars(this.space);
    return new PciMockDriver(this, access, transport.slot, transport.irq, options).probe();
  }

  /** Both. */
  async attach(
    device: VirtioDevice,
    options: PciFunctionOptions = {},
    driver: PciDriverOptions = {},
  ): Promise<PciMockDriver> {
    return this.driver(await this.plug(device, options), driver);
  }

  async unplug(plug: VirtioPciPlug): Promise<void> {
    this.plugs.delete(plug);
    await plug.unplug();
  }

  snapshot(): VirtioDeviceSnapshot[] {
    return [...this.plugs].map(({ transport }) => deviceSnapshot(transport, this.memory));
  }

  /** Takes all devices out and forgets everything: a board for the next test, with the same worker. */
  async clear(): Promise<void> {
    for (const plug of [...this.plugs]) await this.unplug(plug);
    this.allocator.reset();
    this.irq.takeMessages();
    this.notes.length = 0;
    this.ioErrors.length = 0;
    this.#newHost();
  }

  async close(): Promise<void> {
    await this.clear();
    await this.iothread.close();
  }
}
