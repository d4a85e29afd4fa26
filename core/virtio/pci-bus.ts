/** Virtio devices as functions of a PCI bus, on the control thread. */
import { PCIE_IRQ } from '../machine/virt-map.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { PciBus } from '../pci/bus.ts';
import type { PciHost } from '../pci/host.ts';
import { INTX_INPUT, INTX_LINE_INPUTS } from '../pci/intx.ts';
import type { PciPortBus } from '../pci/port-bus.ts';
import { RingsideError } from '../errors.ts';
import { MAX_VIRTIO } from '../worker/layout.ts';
import type { PlugOptions, VirtioFunctionPlug, VirtioPciBus, VirtioPciOptions } from './bus.ts';
import type { VirtioDevice } from './device.ts';
import type { Trace } from '../trace/trace.ts';
import type { InterruptSink } from './transport/interrupt.ts';
import { PciTransport } from './transport/pci.ts';
import { VirtioPciFunction } from './transport/pci-function.ts';
import { FIRST_PCI_SLOT } from './transport/pci-layout.ts';
import { PciMap } from './transport/pci-map.ts';

export interface VirtioPciSlotsOptions {
  memory: GuestMemory;
  host: PciHost;
  sink: InterruptSink;
  trace?: Trace;
}

/** The virtio slots (layout.ts) that PCI devices of a machine have, and where harts find their registers. */
export class VirtioPciSlots {
  readonly memory: GuestMemory;
  readonly host: PciHost;
  readonly sink: InterruptSink;
  readonly trace: Trace | null;
  readonly #functions: (VirtioPciFunction | 'reserved' | null)[] = new Array<null>(MAX_VIRTIO).fill(null);
  /** Those whose doorbells harts do not ring themselves. */
  readonly #slow = new Set<VirtioPciFunction>();
  readonly #map: PciMap;

  constructor({ memory, host, sink, trace }: VirtioPciSlotsOptions) {
    this.trace = trace ?? null;
    this.memory = memory;
    this.host = host;
    this.sink = sink;
    this.#map = new PciMap(memory.memory);
    host.onMappingChanged(() => this.#remap());
  }

  /** @throws RingsideError 'too-large' when all are taken */
  reserve(name: string): number {
    const slot = this.#functions.indexOf(null, FIRST_PCI_SLOT);
    if (slot < 0) {
      const most = MAX_VIRTIO - FIRST_PCI_SLOT;
      throw new RingsideError('too-large', `A machine has at most ${most} virtio PCI devices: remove one for ${name}.`);
    }
    this.#functions[slot] = 'reserved';
    return slot;
  }

  fill(slot: number, one: VirtioPciFunction, ioeventfd: boolean): void {
    this.#functions[slot] = one;
    if (!ioeventfd) this.#slow.add(one);
  }

  release(slot: number): void {
    this.#map.clear(slot);
    const one = this.#functions[slot];
    if (one instanceof VirtioPciFunction) this.#slow.delete(one);
    this.#functions[slot] = null;
  }

  #remap(): void {
    for (const [slot, one] of this.#functions.entries()) {
      if (!(one instanceof VirtioPciFunction)) continue;
      if (this.#slow.has(one)) this.#map.set(slot, { modern: null, legacy: null });
      else this.#map.set(slot, { modern: one.modernPlace, legacy: one.legacyPlace });
    }
  }
}

/** A device that is plugged in. */
export interface VirtioPciPlug extends VirtioFunctionPlug {
  readonly function: VirtioPciFunction;
}

/** A PCI bus as virtio devices and ports see it. */
export class VirtioOnPci implements VirtioPciBus, PciPortBus {
  readonly bus: PciBus;
  readonly #slots: VirtioPciSlots;

  constructor(bus: PciBus, slots: VirtioPciSlots) {
    this.bus = bus;
    this.#slots = slots;
  }

  get behindPort(): boolean {
    return this.bus.express && this.bus.bridge !== null;
  }

  get host(): PciHost {
    return this.#slots.host;
  }

  get sink(): InterruptSink {
    return this.#slots.sink;
  }

  behind(bus: PciBus): VirtioOnPci {
    return new VirtioOnPci(bus, this.#slots);
  }

  /**
   * Makes a PCI function of the device.
   *
   * @throws RingsideError 'bad-option', 'too-large', or what the I/O worker says; the bus is as before then
   */
  async plugVirtio(device: VirtioDevice, options: PlugOptions, pci: VirtioPciOptions): Promise<VirtioPciPlug> {
    const { ringFeatures, server, note, event } = options;
    const { id, address, multifunction, modern, legacy, transitionalId, pciClass, vectors, ioeventfd } = pci;
    if (!modern && !legacy) {
      throw new RingsideError('bad-option', `${id} has no interface left: leave out disable-modern or disable-legacy.`);
    }
    if (legacy && transitionalId === null) {
      throw new RingsideError('bad-option', `${device.type} has no legacy interface: give ${id} disable-legacy=on.`);
    }
    const { bus } = this;
    const { memory, sink, host, trace } = this.#slots;
    const devfn = bus.reserve(id, address, multifunction);
    let slot: number | null = null;
    try {
      slot = this.#slots.reserve(id);
      const line = bus.line(devfn, 1);
      const transport = new PciTransport({
        memory,
        slot,
        device,
        server,
        ...(ringFeatures === undefined ? {} : { ringFeatures }),
        note,
        event,
        ...(trace === null ? {} : { trace }),
        sink,
        intx: INTX_INPUT + line * INTX_LINE_INPUTS + slot,
        irq: PCIE_IRQ + line,
        modern,
        legacy,
      });
      const one = new VirtioPciFunction(transport, {
        name: id,
        modern,
        legacy,
        transitionalId,
        pciClass,
        vectors,
        express: this.behindPort,
        placeOf: (self, bar) => host.placeOf(self, bar),
      });
      one.multifunction = multifunction;
      await transport.plug();
      this.#slots.fill(slot, one, ioeventfd);
      bus.add(one, devfn);
      return this.#plugged(one, slot);
    } catch (error) {
      if (slot !== null) this.#slots.release(slot);
      bus.release(devfn);
      throw error;
    }
  }

  #plugged(one: VirtioPciFunction, slot: number): VirtioPciPlug {
    return {
      function: one,
      transport: one.transport,
      unplug: async () => {
        this.bus.remove(one);
        await one.transport.unplug();
        this.#slots.release(slot);
      },
      reset: () => one.reset(),
    };
  }
}
