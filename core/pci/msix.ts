/** The MSI-X capability of a function: its registers, and its table and pending bits in a BAR (PCI 3.0, section 6.8.2). */
import { MSIX_MAX_VECTORS } from '../worker/layout.ts';
import type { BarHandler, BarSpec } from './bar.ts';
import type { PciFunction } from './function.ts';
import { MSIX_BUS_MASTER, MSIX_ENABLED, MSIX_FUNCTION_MASK } from './msix-vectors.ts';
import type { MsixVectors } from './msix-vectors.ts';
import * as pci from './spec.ts';

/** The smallest BAR that QEMU makes for it. */
const BAR_SIZE_MIN = 4096;

export class MsixCapability implements BarHandler {
  readonly vectors: MsixVectors;
  /** Entries of the table. */
  readonly size: number;
  readonly #function: PciFunction;
  readonly #offset: number;
  readonly #pbaOffset: number;

  /**
   * @param size entries of the table, 1..MSIX_MAX_VECTORS
   * @param bar which BAR is to have table and pending bits, and nothing else
   * @param offset of the capability; by default behind those that there are
   */
  constructor(one: PciFunction, vectors: MsixVectors, size: number, bar: number, offset?: number) {
    if (size < 1 || size > MSIX_MAX_VECTORS) throw new RangeError(`MSI-X with ${size} vectors`);
    this.vectors = vectors;
    this.size = size;
    this.#function = one;
    const { config } = one;
    let barSize = BAR_SIZE_MIN;
    // The table is the lower half, as QEMU has it.
    while (barSize / 2 < size * pci.MSIX_ENTRY_SIZE) barSize *= 2;
    this.#pbaOffset = barSize / 2;
    this.#offset = config.addCapability(pci.PCI_CAP_ID_MSIX, pci.PCI_CAP_MSIX_SIZEOF, offset);
    config.set(this.#offset + pci.PCI_MSIX_FLAGS, 2, size - 1);
    config.set(this.#offset + pci.PCI_MSIX_TABLE, 4, bar);
    config.set(this.#offset + pci.PCI_MSIX_PBA, 4, this.#pbaOffset | bar);
    config.allow(this.#offset + pci.PCI_MSIX_FLAGS, 2, pci.PCI_MSIX_FLAGS_ENABLE | pci.PCI_MSIX_FLAGS_MASKALL);
    const spec: BarSpec = { index: bar, kind: 'mem32', size: barSize, handler: this };
    one.addBar(spec);
    vectors.reset();
  }

  get enabled(): boolean {
    return this.vectors.enabled;
  }

  /** The capability or the command register has been written. */
  follow(): void {
    const flags = this.#function.config.read(this.#offset + pci.PCI_MSIX_FLAGS, 2);
    let state = 0;
    if (flags & pci.PCI_MSIX_FLAGS_ENABLE) state |= MSIX_ENABLED;
    if (flags & pci.PCI_MSIX_FLAGS_MASKALL) state |= MSIX_FUNCTION_MASK;
    if (this.#function.command & pci.PCI_COMMAND_MASTER) state |= MSIX_BUS_MASTER;
    if (state !== this.vectors.state) this.vectors.state = state;
  }

  reset(): void {
    this.vectors.reset();
    this.follow();
  }

  read(offset: number, size: number): number {
    const shift = 8 * (offset & 3);
    const word = this.#readWord(offset & ~3);
    return size === 4 ? word : (word >>> shift) & (2 ** (8 * size) - 1);
  }

  #readWord(offset: number): number {
    if (offset < this.size * pci.MSIX_ENTRY_SIZE) return this.vectors.readTable(offset);
    const pending = offset - this.#pbaOffset;
    return pending >= 0 && pending < Math.ceil(this.size / 64) * 8 ? this.vectors.readPending(pending) : 0;
  }

  /** Whole words (section 6.8.2: software uses aligned 32 or 64 bit accesses); the pending bits are read-only. */
  write(offset: number, size: number, value: number): void {
    if (size === 4 && offset < this.size * pci.MSIX_ENTRY_SIZE) this.vectors.writeTable(offset, value);
  }
}
