/** One PCI function: its header, BARs, capabilities and interrupt pin. Device models derive from it. */
import type { BarSpec, MappedBar } from './bar.ts';
import { PciConfigSpace } from './config-space.ts';
import * as pci from './spec.ts';

export interface PciIdentity {
  readonly vendor: number;
  readonly device: number;
  readonly revision?: number;
  /** Class << 16 | subclass << 8 | programming interface. */
  readonly classCode: number;
  readonly subsystemVendor?: number;
  readonly subsystem?: number;
}

/** What a function can ask of the bus that it is on. */
export interface PciFunctionHost {
  /** Where its BARs are, or whether they decode, may have changed. */
  mappingChanged(): void;
}

export type PciSpace = 'io' | 'mem';

/** A bridge's other side, for the decoding of addresses. */
export interface PciBridge {
  readonly bus: {
    readonly functions: readonly PciFunction[];
    at(devfn: number): PciFunction | null;
  };
  /** Whether anything reaches what is behind it: its slot has power. */
  readonly reachable: boolean;
  /** Bus numbers as the guest has set them: that of the bus behind it, and the highest behind that. */
  readonly secondaryNumber: number;
  readonly subordinateNumber: number;
  /** Whether it passes an access on from its primary to its secondary side. */
  forwards(space: PciSpace, address: number): boolean;
}

const BAR_COUNT = { endpoint: 6, bridge: 2 };

export class PciFunction {
  /** For people and the inspector: a device's id. */
  readonly name: string;
  readonly config: PciConfigSpace;
  /** Slot << 3 | function. */
  devfn = 0;
  /** Set while it is on a bus. */
  host: PciFunctionHost | null = null;
  readonly #bars: BarSpec[] = [];
  readonly #barCount: number;
  /** Configuration space after power-on; null until then. */
  #initial: Uint8Array | null = null;

  constructor(name: string, identity: PciIdentity, { express = false, bridge = false } = {}) {
    this.name = name;
    this.#barCount = bridge ? BAR_COUNT.bridge : BAR_COUNT.endpoint;
    this.config = new PciConfigSpace(express ? pci.PCIE_CONFIG_SPACE_SIZE : pci.PCI_CONFIG_SPACE_SIZE);
    const { config } = this;
    config.set(pci.PCI_VENDOR_ID, 2, identity.vendor);
    config.set(pci.PCI_DEVICE_ID, 2, identity.device);
    config.set(pci.PCI_REVISION_ID, 1, identity.revision ?? 0);
    config.set(pci.PCI_CLASS_PROG, 1, identity.classCode);
    config.set(pci.PCI_CLASS_DEVICE, 2, identity.classCode >>> 8);
    config.set(pci.PCI_HEADER_TYPE, 1, bridge ? pci.PCI_HEADER_TYPE_BRIDGE : 0);
    config.allow(
      pci.PCI_COMMAND,
      2,
      pci.PCI_COMMAND_IO |
        pci.PCI_COMMAND_MEMORY |
        pci.PCI_COMMAND_MASTER |
        pci.PCI_COMMAND_SERR |
        pci.PCI_COMMAND_INTX_DISABLE,
    );
    config.allow(pci.PCI_CACHE_LINE_SIZE, 1, 0xff);
    config.allow(pci.PCI_INTERRUPT_LINE, 1, 0xff);
    if (!bridge) {
      config.set(pci.PCI_SUBSYSTEM_VENDOR_ID, 2, identity.subsystemVendor ?? pci.PCI_VENDOR_ID_REDHAT_QUMRANET);
      config.set(pci.PCI_SUBSYSTEM_ID, 2, identity.subsystem ?? pci.PCI_SUBDEVICE_ID_QEMU);
    }
  }

  get slot(): number {
    return this.devfn >>> 3;
  }

  get function(): number {
    return this.devfn & 7;
  }

  /** Interrupt pin: 1 is INTA; 0: none. */
  get pin(): number {
    return this.config.read(pci.PCI_INTERRUPT_PIN, 1);
  }

  set pin(pin: number) {
    this.config.set(pci.PCI_INTERRUPT_PIN, 1, pin);
  }

  set multifunction(multi: boolean) {
    const type = this.config.read(pci.PCI_HEADER_TYPE, 1) & ~pci.PCI_HEADER_TYPE_MULTI_FUNCTION;
    this.config.set(pci.PCI_HEADER_TYPE, 1, type | (multi ? pci.PCI_HEADER_TYPE_MULTI_FUNCTION : 0));
  }

  get multifunction(): boolean {
    return (this.config.read(pci.PCI_HEADER_TYPE, 1) & pci.PCI_HEADER_TYPE_MULTI_FUNCTION) !== 0;
  }

  get command(): number {
    return this.config.read(pci.PCI_COMMAND, 2);
  }

  addBar(bar: BarSpec): void {
    const offset = pci.PCI_BASE_ADDRESS_0 + 4 * bar.index;
    const is64 = bar.kind === 'mem64';
    if (bar.index + (is64 ? 2 : 1) > this.#barCount) throw new RangeError(`no BAR ${bar.index}`);
    const mask = 2 ** 32 - bar.size;
    if (bar.kind === 'io') {
      this.config.set(offset, 4, pci.PCI_BASE_ADDRESS_SPACE_IO);
      this.config.allow(offset, 4, mask & ~3);
    } else {
      const type = is64 ? pci.PCI_BASE_ADDRESS_MEM_TYPE_64 : 0;
      this.config.set(offset, 4, type | (bar.prefetch ? pci.PCI_BASE_ADDRESS_MEM_PREFETCH : 0));
      this.config.allow(offset, 4, mask & ~0xf);
      if (is64) this.config.allow(offset + 4, 4, 0xffff_ffff);
    }
    this.#bars.push(bar);
  }

  /** All BARs, where the guest has put them. */
  get bars(): MappedBar[] {
    return this.#bars.map((bar) => ({ ...bar, address: this.#decodes(bar) ? this.barBase(bar) : null }));
  }

  /** What a BAR register says, whether or not it decodes. */
  barBase({ index, kind }: BarSpec): number {
    const offset = pci.PCI_BASE_ADDRESS_0 + 4 * index;
    const low = this.config.read(offset, 4);
    if (kind === 'io') return low - (low & 3);
    return low - (low & 0xf) + (kind === 'mem64' ? this.config.read(offset + 4, 4) * 2 ** 32 : 0);
  }

  #decodes(bar: BarSpec): boolean {
    const needed = bar.kind === 'io' ? pci.PCI_COMMAND_IO : pci.PCI_COMMAND_MEMORY;
    if (!(this.command & needed)) return false;
    const base = this.barBase(bar);
    // One whose size was just asked for is nowhere, as in QEMU. Address 0 is an address on this board.
    return base + bar.size < (bar.kind === 'mem64' ? 2 ** 63 : 2 ** 32);
  }

  /**
   * A read of configuration space. Behind its end all ones.
   *
   * @param size 1, 2 or 4 bytes
   */
  readConfig(offset: number, size: number): number | Promise<number> {
    return this.config.read(offset, size);
  }

  writeConfig(offset: number, size: number, value: number): void | Promise<void> {
    const before = this.command;
    this.config.write(offset, size, value);
    if (offset < pci.PCI_HEADER_SIZE) this.host?.mappingChanged();
    return before === this.command ? this.configWritten(offset, size) : this.commandChanged();
  }

  /** Bytes other than the command register were written. */
  protected configWritten(_offset: number, _size: number): void | Promise<void> {}

  /** Bits of the command register have changed: bus mastering, INTx disable. */
  protected commandChanged(): void | Promise<void> {}

  /** Notes the state that reset() brings back. Called when it is complete: it is put on a bus. */
  poweredOn(): void {
    this.#initial = this.config.snapshot();
  }

  /** Conventional reset: what the guest could write is as at power-on. */
  reset(): void | Promise<void> {
    if (this.#initial) this.config.restoreWritable(this.#initial);
    this.host?.mappingChanged();
    return this.commandChanged();
  }

  /** What makes it a bridge; null when it is none. */
  get bridge(): PciBridge | null {
    return null;
  }
}
