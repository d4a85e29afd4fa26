/**
 * The PCI Express host bridge of the board (QEMU: gpex): configuration space of all functions as memory (ECAM; PCI Express
 * 5.0, section 7.2.2), and windows onto the buses' I/O and memory spaces. On the control thread.
 */
import {
  PCIE_ECAM_PHYS,
  PCIE_ECAM_SIZE,
  PCIE_HIGH_MMIO_PHYS,
  PCIE_HIGH_MMIO_SIZE,
  PCIE_MMIO_PHYS,
  PCIE_MMIO_SIZE,
  PCIE_PIO_PHYS,
  PCIE_PIO_SIZE,
} from '../machine/virt-map.ts';
import type { MappedBar } from './bar.ts';
import { PciBus } from './bus.ts';
import { PciFunction } from './function.ts';
import { PortNumbers } from './port-numbers.ts';
import type { PciBridge, PciSpace } from './function.ts';
import { PCI_DEVICE_ID_REDHAT_PCIE_HOST, PCI_VENDOR_ID_REDHAT } from './spec.ts';

/** Of its function of the root bus, for messages. */
export const HOST_BRIDGE_NAME = 'the host bridge';
const CLASS_BRIDGE_HOST = 0x06_0000;
const BUS_SIZE = 1 << 20;
const FUNCTION_SIZE = 1 << 12;

interface Window {
  readonly space: PciSpace;
  readonly base: number;
  readonly size: number;
  /** Bus address of its first byte. */
  readonly first: number;
}

const WINDOWS: readonly Window[] = [
  { space: 'io', base: PCIE_PIO_PHYS, size: PCIE_PIO_SIZE, first: 0 },
  { space: 'mem', base: PCIE_MMIO_PHYS, size: PCIE_MMIO_SIZE, first: PCIE_MMIO_PHYS },
  { space: 'mem', base: PCIE_HIGH_MMIO_PHYS, size: PCIE_HIGH_MMIO_SIZE, first: PCIE_HIGH_MMIO_PHYS },
];

/** A BAR that decodes an address. */
export interface PciTarget {
  readonly one: PciFunction;
  readonly bar: MappedBar & { readonly address: number };
}

export class PciHost {
  readonly root: PciBus;
  readonly ports = new PortNumbers();
  /** Called when BARs may have moved. */
  readonly #listeners = new Set<() => void>();

  constructor() {
    this.root = new PciBus({
      name: 'pcie.0',
      express: true,
      bridge: null,
      mappingChanged: () => this.mappingChanged(),
    });
    const bridge = new PciFunction(HOST_BRIDGE_NAME, {
      vendor: PCI_VENDOR_ID_REDHAT,
      device: PCI_DEVICE_ID_REDHAT_PCIE_HOST,
      classCode: CLASS_BRIDGE_HOST,
    });
    this.root.add(bridge, 0);
  }

  /** Has `listener` called whenever BARs may have moved; gives back what ends that. */
  onMappingChanged(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  mappingChanged(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Guest physical address of a bus address; null where no window leads there. */
  static physical(space: PciSpace, address: number): number | null {
    const window = WINDOWS.find((one) => {
      return one.space === space && address >= one.first && address < one.first + one.size;
    });
    return window ? window.base + (address - window.first) : null;
  }

  /** Whether an access of `size` bytes at a guest physical address is the bridge's; otherwise it is an access fault. */
  accepts(address: number, size: number): boolean {
    if (size !== 1 && size !== 2 && size !== 4) return false;
    if (address % size !== 0) return false;
    return within(address, PCIE_ECAM_PHYS, PCIE_ECAM_SIZE) || windowOf(address) !== undefined;
  }

  /** Only for what accepts() takes. All ones where no function answers. */
  read(address: number, size: number): number | Promise<number> {
    if (within(address, PCIE_ECAM_PHYS, PCIE_ECAM_SIZE)) {
      const offset = address - PCIE_ECAM_PHYS;
      return this.#functionAt(offset)?.readConfig(offset % FUNCTION_SIZE, size) ?? allOnes(size);
    }
    const target = this.#targetAt(address);
    return target ? target.bar.handler.read(this.#offset(target, address), size) : allOnes(size);
  }

  write(address: number, size: number, value: number): void | Promise<void> {
    if (within(address, PCIE_ECAM_PHYS, PCIE_ECAM_SIZE)) {
      const offset = address - PCIE_ECAM_PHYS;
      return this.#functionAt(offset)?.writeConfig(offset % FUNCTION_SIZE, size, value);
    }
    const target = this.#targetAt(address);
    return target?.bar.handler.write(this.#offset(target, address), size, value);
  }

  /** By bus number as the guest has set them, and devfn. */
  functionAt(bus: number, devfn: number): PciFunction | null {
    let at: PciBusLike = this.root;
    let number = 0;
    while (number !== bus) {
      const bridge = at.functions
        .map((one) => one.bridge)
        .find((one) => one && bus >= one.secondaryNumber && bus <= one.subordinateNumber);
      // Numbers that lead back up, or nowhere, are no way down.
      if (!bridge?.reachable || bridge.secondaryNumber <= number) return null;
      at = bridge.bus;
      number = bridge.secondaryNumber;
    }
    return at.at(devfn);
  }

  #functionAt(offset: number): PciFunction | null {
    return this.functionAt(Math.floor(offset / BUS_SIZE), Math.floor((offset % BUS_SIZE) / FUNCTION_SIZE));
  }

  /** All functions, those behind bridges too, a bridge before what is behind it. */
  get functions(): PciFunction[] {
    const all = (bus: PciBusLike): PciFunction[] =>
      bus.functions.flatMap((one) => [one, ...(one.bridge ? all(one.bridge.bus) : [])]);
    return all(this.root);
  }

  #targetAt(physical: number): PciTarget | null {
    const window = windowOf(physical)!;
    return findTarget(this.root, window.space, physical - window.base + window.first);
  }

  #offset({ bar }: PciTarget, physical: number): number {
    const window = windowOf(physical)!;
    return physical - window.base + window.first - bar.address;
  }

  /** Where a function's BAR is seen by harts: a guest physical address; null while it is not. */
  placeOf(one: PciFunction, index: number): number | null {
    const bar = one.bars.find((candidate) => candidate.index === index);
    if (!bar || bar.address === null) return null;
    const space = bar.kind === 'io' ? 'io' : 'mem';
    const first = PciHost.physical(space, bar.address);
    if (first === null || PciHost.physical(space, bar.address + bar.size - 1) !== first + bar.size - 1) return null;
    // Others may overlap it, or a bridge not lead there.
    return findTarget(this.root, space, bar.address)?.one === one ? first : null;
  }

  /** Resets all functions. */
  async reset(): Promise<void> {
    await Promise.all(this.functions.map(async (one) => one.reset()));
  }
}

type PciBusLike = PciBridge['bus'];

function findTarget(bus: PciBusLike, space: PciSpace, address: number): PciTarget | null {
  for (const one of bus.functions) {
    for (const bar of one.bars) {
      if (bar.address === null || (bar.kind === 'io') !== (space === 'io')) continue;
      if (within(address, bar.address, bar.size)) return { one, bar: { ...bar, address: bar.address } };
    }
    const bridge = one.bridge;
    const behind = bridge?.forwards(space, address) ? findTarget(bridge.bus, space, address) : null;
    if (behind) return behind;
  }
  return null;
}

function windowOf(address: number): Window | undefined {
  return WINDOWS.find(({ base, size }) => within(address, base, size));
}

function within(address: number, base: number, size: number): boolean {
  return address >= base && address < base + size;
}

function allOnes(size: number): number {
  return 2 ** (8 * size) - 1;
}
