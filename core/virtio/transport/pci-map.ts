/**
 * Where the registers of virtio-pci devices are mapped, in shared words: by these a hart finds out whose doorbell it rings
 * (pci-hot.as.ts).
 */
import { DEVICE_BASE, DEV_INTX, MAX_VIRTIO } from '../../worker/layout.ts';
import { PCI_MAP, PCI_MAP_ENTRY, PCI_MAP_LEGACY, PCI_MAP_MODERN, PCI_MAP_SLOTS } from './pci-layout.ts';

const NOWHERE = 2n ** 64n - 1n;

export interface PciPlaces {
  /** Guest physical address of BAR 4; null: nowhere, or harts are not to serve it themselves. */
  readonly modern: number | null;
  /** The same of BAR 0. */
  readonly legacy: number | null;
}

export class PciMap {
  readonly #entries: BigUint64Array<SharedArrayBuffer>;
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor(memory: WebAssembly.Memory) {
    const buffer = memory.buffer as SharedArrayBuffer;
    const base = DEVICE_BASE + DEV_INTX;
    this.#entries = new BigUint64Array(buffer, base + PCI_MAP, (MAX_VIRTIO * PCI_MAP_ENTRY) / 8);
    this.#words = new Int32Array(buffer, base, PCI_MAP / 4);
  }

  set(slot: number, { modern, legacy }: PciPlaces): void {
    const at = (slot * PCI_MAP_ENTRY) / 8;
    this.#store(at + PCI_MAP_MODERN / 8, modern);
    this.#store(at + PCI_MAP_LEGACY / 8, legacy);
    // Entries that were never written are zeros: none of them is looked at.
    for (let next = Atomics.load(this.#words, PCI_MAP_SLOTS / 4); next <= slot; next++) {
      if (next < slot) this.clear(next);
      Atomics.store(this.#words, PCI_MAP_SLOTS / 4, next + 1);
    }
  }

  clear(slot: number): void {
    const at = (slot * PCI_MAP_ENTRY) / 8;
    this.#store(at + PCI_MAP_MODERN / 8, null);
    this.#store(at + PCI_MAP_LEGACY / 8, null);
  }

  #store(at: number, address: number | null): void {
    Atomics.store(this.#entries, at, address === null ? NOWHERE : BigInt(address));
  }
}
