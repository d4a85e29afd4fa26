/** What firmware and an operating system do with a PCI bus: find functions, size and place BARs, find capabilities. */
import { PCIE_ECAM_PHYS, PCIE_HIGH_MMIO_PHYS, PCIE_MMIO_PHYS, PCIE_PIO_PHYS } from '../../core/machine/virt-map.ts';
import type { PciHost } from '../../core/pci/host.ts';
import * as pci from '../../core/pci/spec.ts';

/** Where a BAR has been put. */
export interface PlacedBar {
  readonly kind: 'io' | 'mem32' | 'mem64';
  readonly prefetch: boolean;
  readonly size: number;
  /** Guest physical address. */
  readonly physical: number;
}

/** Bus addresses that are next given out; one for a whole bus. */
export class BarSpace {
  #io = 0x1000;
  #mem32 = PCIE_MMIO_PHYS;
  #mem64 = PCIE_HIGH_MMIO_PHYS;

  take(kind: PlacedBar['kind'], size: number): number {
    const align = (at: number): number => Math.ceil(at / size) * size;
    if (kind === 'io') return (this.#io = align(this.#io) + size) - size;
    if (kind === 'mem32') return (this.#mem32 = align(this.#mem32) + size) - size;
    return (this.#mem64 = align(this.#mem64) + size) - size;
  }
}

/** One function, through ECAM. */
export class PciAccess {
  readonly bars = new Map<number, PlacedBar>();
  readonly #host: PciHost;
  readonly #ecam: number;

  constructor(host: PciHost, bus: number, devfn: number) {
    this.#host = host;
    this.#ecam = PCIE_ECAM_PHYS + bus * 2 ** 20 + devfn * 2 ** 12;
  }

  async read(offset: number, size: number): Promise<number> {
    return this.#host.read(this.#ecam + offset, size);
  }

  async write(offset: number, size: number, value: number): Promise<void> {
    await this.#host.write(this.#ecam + offset, size, value);
  }

  /** Whether there is a function. */
  async present(): Promise<boolean> {
    return (await this.read(pci.PCI_VENDOR_ID, 2)) !== 0xffff;
  }

  async command(set: number, clear = 0): Promise<void> {
    await this.write(pci.PCI_COMMAND, 2, ((await this.read(pci.PCI_COMMAND, 2)) & ~clear) | set);
  }

  /** Offset of the first capability with an id for which `match` holds; 0 when there is none. */
  async capability(id: number, match: (at: number) => Promise<boolean> = async () => true): Promise<number> {
    let at = await this.read(pci.PCI_CAPABILITY_LIST, 1);
    while (at !== 0) {
      if ((await this.read(at, 1)) === id && (await match(at))) return at;
      at = await this.read(at + 1, 1);
    }
    return 0;
  }

  /** Sizes all BARs (PCI 3.0, section 6.2.5.1) and gives each a place; decoding is off meanwhile. */
  async placeBars(space: BarSpace, count = 6): Promise<void> {
    await this.command(0, pci.PCI_COMMAND_IO | pci.PCI_COMMAND_MEMORY);
    for (let index = 0; index < count; index++) {
      const offset = pci.PCI_BASE_ADDRESS_0 + 4 * index;
      await this.write(offset, 4, 0xffff_ffff);
      const low = await this.read(offset, 4);
      if (low === 0) continue;
      const io = (low & pci.PCI_BASE_ADDRESS_SPACE_IO) !== 0;
      const is64 = !io && (low & pci.PCI_BASE_ADDRESS_MEM_TYPE_64) !== 0;
      const prefetch = !io && (low & pci.PCI_BASE_ADDRESS_MEM_PREFETCH) !== 0;
      const size = 2 ** 32 - (low - (low & (io ? 0x3 : 0xf)));
      const kind = io ? 'io' : is64 ? 'mem64' : 'mem32';
      const address = space.take(kind, size);
      await this.write(offset, 4, address % 2 ** 32);
      if (is64) await this.write(offset + 4, 4, Math.floor(address / 2 ** 32));
      this.bars.set(index, { kind, prefetch, size, physical: io ? PCIE_PIO_PHYS + address : address });
      if (is64) index++;
    }
    await this.command(pci.PCI_COMMAND_IO | pci.PCI_COMMAND_MEMORY);
  }

  async readBar(index: number, offset: number, size: number): Promise<number> {
    return this.#host.read(this.#bar(index) + offset, size);
  }

  async writeBar(index: number, offset: number, size: number, value: number): Promise<void> {
    await this.#host.write(this.#bar(index) + offset, size, value);
  }

  #bar(index: number): number {
    const bar = this.bars.get(index);
    if (!bar) throw new Error(`the function has no BAR ${index}`);
    return bar.physical;
  }
}
