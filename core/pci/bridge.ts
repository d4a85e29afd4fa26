/** A PCI-to-PCI bridge: type 1 header, windows, and the bus behind it (PCI-to-PCI Bridge Architecture 1.2, chapter 3). */
import { PciBus } from './bus.ts';
import { PciFunction } from './function.ts';
import type { PciBridge, PciIdentity, PciSpace } from './function.ts';
import * as pci from './spec.ts';

const CONTROL_WRITABLE =
  pci.PCI_BRIDGE_CTL_PARITY |
  pci.PCI_BRIDGE_CTL_SERR |
  pci.PCI_BRIDGE_CTL_ISA |
  pci.PCI_BRIDGE_CTL_VGA |
  pci.PCI_BRIDGE_CTL_VGA_16BIT |
  pci.PCI_BRIDGE_CTL_BUS_RESET;
/** What windows are multiples of: 4 KiB of I/O, 1 MiB of memory. */
const IO_GRANULE = 0x1000;
const MEMORY_GRANULE = 0x10_0000;

export interface PciBridgeOptions {
  /** The bus that it is on. */
  parent: PciBus;
  /** Name of the bus behind it. */
  busName: string;
  /** Slots that there are on that. */
  slots: number;
}

export class PciBridgeFunction extends PciFunction implements PciBridge {
  /** The bus behind it. */
  readonly bus: PciBus;

  constructor(name: string, identity: PciIdentity, { parent, busName, slots }: PciBridgeOptions) {
    super(name, identity, { express: true, bridge: true });
    this.bus = new PciBus({
      name: busName,
      slots,
      express: true,
      bridge: { self: this, parent },
      mappingChanged: () => this.host?.mappingChanged(),
    });
    const { config } = this;
    for (const number of [pci.PCI_PRIMARY_BUS, pci.PCI_SECONDARY_BUS, pci.PCI_SUBORDINATE_BUS]) {
      config.allow(number, 1, 0xff);
    }
    config.allow(pci.PCI_SEC_LATENCY_TIMER, 1, 0xff);
    config.allow(pci.PCI_IO_BASE, 1, pci.PCI_IO_RANGE_MASK);
    config.allow(pci.PCI_IO_LIMIT, 1, pci.PCI_IO_RANGE_MASK);
    for (const range of [
      pci.PCI_MEMORY_BASE,
      pci.PCI_MEMORY_LIMIT,
      pci.PCI_PREF_MEMORY_BASE,
      pci.PCI_PREF_MEMORY_LIMIT,
    ]) {
      config.allow(range, 2, pci.PCI_MEMORY_RANGE_MASK);
    }
    config.allow(pci.PCI_PREF_BASE_UPPER32, 4, 0xffff_ffff);
    config.allow(pci.PCI_PREF_LIMIT_UPPER32, 4, 0xffff_ffff);
    config.allow(pci.PCI_BRIDGE_CONTROL, 2, CONTROL_WRITABLE);
    // No window leads anywhere at power-on: each begins behind its end.
    config.set(pci.PCI_IO_BASE, 1, pci.PCI_IO_RANGE_MASK);
    config.set(pci.PCI_MEMORY_BASE, 2, pci.PCI_MEMORY_RANGE_MASK);
    config.set(pci.PCI_PREF_MEMORY_BASE, 2, pci.PCI_MEMORY_RANGE_MASK | pci.PCI_PREF_RANGE_TYPE_64);
    config.set(pci.PCI_PREF_MEMORY_LIMIT, 2, pci.PCI_PREF_RANGE_TYPE_64);
  }

  override get bridge(): PciBridge {
    return this;
  }

  get reachable(): boolean {
    return true;
  }

  get secondaryNumber(): number {
    return this.config.read(pci.PCI_SECONDARY_BUS, 1);
  }

  get subordinateNumber(): number {
    return this.config.read(pci.PCI_SUBORDINATE_BUS, 1);
  }

  forwards(space: PciSpace, address: number): boolean {
    if (!this.reachable) return false;
    if (space === 'io') return (this.command & pci.PCI_COMMAND_IO) !== 0 && this.#inIoWindow(address);
    if (!(this.command & pci.PCI_COMMAND_MEMORY)) return false;
    return this.#inMemoryWindow(address) || this.#inPrefetchableWindow(address);
  }

  #inIoWindow(address: number): boolean {
    const bound = (offset: number): number => (this.config.read(offset, 1) & pci.PCI_IO_RANGE_MASK) << 8;
    return address >= bound(pci.PCI_IO_BASE) && address < bound(pci.PCI_IO_LIMIT) + IO_GRANULE;
  }

  #memoryBound(offset: number): number {
    return (this.config.read(offset, 2) & pci.PCI_MEMORY_RANGE_MASK) * 2 ** 16;
  }

  #inMemoryWindow(address: number): boolean {
    const limit = this.#memoryBound(pci.PCI_MEMORY_LIMIT) + MEMORY_GRANULE;
    return address >= this.#memoryBound(pci.PCI_MEMORY_BASE) && address < limit;
  }

  #inPrefetchableWindow(address: number): boolean {
    const bound = (low: number, high: number): number => this.#memoryBound(low) + this.config.read(high, 4) * 2 ** 32;
    const limit = bound(pci.PCI_PREF_MEMORY_LIMIT, pci.PCI_PREF_LIMIT_UPPER32) + MEMORY_GRANULE;
    return address >= bound(pci.PCI_PREF_MEMORY_BASE, pci.PCI_PREF_BASE_UPPER32) && address < limit;
  }

  override writeConfig(offset: number, size: number, value: number): void | Promise<void> {
    const before = this.#control;
    const written = super.writeConfig(offset, size, value);
    // Section 3.2.5.17: the secondary bus is reset.
    if (!(~before & this.#control & pci.PCI_BRIDGE_CTL_BUS_RESET)) return written;
    return written ? written.then(() => this.resetBehind()) : this.resetBehind();
  }

  get #control(): number {
    return this.config.read(pci.PCI_BRIDGE_CONTROL, 2);
  }

  /** Resets all functions behind it; when it resolves their queues stand still. */
  async resetBehind(): Promise<void> {
    await Promise.all(this.bus.functions.map(async (one) => one.reset()));
  }
}
