/** A PCI bus: functions by slot and number, and how their INTx pins reach the host bridge. */
import { RingsideError } from '../errors.ts';
import { pciAddressText } from './address.ts';
import type { PciAddress } from './address.ts';
import { INTX_LINES } from './intx.ts';
import type { PciFunction, PciFunctionHost } from './function.ts';

export const PCI_SLOTS = 32;
const FUNCTIONS = 8;

/** The bridge that a bus is behind. */
export interface PciBridgeEnd {
  /** As a function of its own bus. */
  readonly self: PciFunction;
  readonly parent: PciBus;
}

export interface PciBusOptions {
  /** e.g. "pcie.0". */
  name: string;
  /** Slots that devices may have: a PCIe link has but slot 0. */
  slots?: number;
  /** PCIe device ports are behind it. */
  express: boolean;
  /** Null for the root bus. */
  bridge: PciBridgeEnd | null;
  /** Where BARs are may have changed. */
  mappingChanged(): void;
}

export class PciBus implements PciFunctionHost {
  readonly name: string;
  readonly express: boolean;
  readonly bridge: PciBridgeEnd | null;
  readonly slots: number;
  readonly #functions: (PciFunction | null)[] = new Array<null>(PCI_SLOTS * FUNCTIONS).fill(null);
  /** Places that are spoken for, and by whom. */
  readonly #reserved = new Map<number, string>();
  readonly #mappingChanged: () => void;

  constructor({ name, slots = PCI_SLOTS, express, bridge, mappingChanged }: PciBusOptions) {
    this.name = name;
    this.slots = slots;
    this.express = express;
    this.bridge = bridge;
    this.#mappingChanged = mappingChanged;
  }

  /** By devfn. */
  get functions(): PciFunction[] {
    return this.#functions.filter((one) => one !== null);
  }

  at(devfn: number): PciFunction | null {
    return this.#functions[devfn] ?? null;
  }

  /** Bus number: 0 for the root bus, else as the guest has set it. */
  get number(): number {
    return this.bridge?.self.bridge?.secondaryNumber ?? 0;
  }

  mappingChanged(): void {
    this.#mappingChanged();
  }

  /**
   * Speaks for a place: the one that is wanted, else function 0 of the first free slot. Until add() or release().
   *
   * @returns its devfn
   * @throws RingsideError 'bad-option' when the place is taken or there is none, 'too-large' when none is left
   */
  reserve(name: string, wanted: PciAddress | null, multifunction: boolean): number {
    const devfn = this.#place(name, wanted, multifunction);
    this.#reserved.set(devfn, name);
    return devfn;
  }

  release(devfn: number): void {
    this.#reserved.delete(devfn);
  }

  #place(name: string, wanted: PciAddress | null, multifunction: boolean): number {
    if (!wanted) {
      for (let slot = 0; slot < this.slots; slot++) {
        if (!this.#occupant(slot << 3)) return slot << 3;
      }
      const message =
        this.slots === 1 ? `it is taken by ${this.#occupant(0)}` : `the bus has ${this.slots} slots, all of them taken`;
      throw new RingsideError('too-large', `No slot of ${this.name} is left for ${name}: ${message}.`);
    }
    const { slot, function: fn } = wanted;
    const where = pciAddressText(wanted);
    if (slot >= this.slots || fn >= FUNCTIONS || slot < 0 || fn < 0) {
      const last = (this.slots - 1).toString(16);
      throw new RingsideError(
        'bad-option',
        `${name} cannot be at addr=${where} of ${this.name}: use slots 0 to ${last} and functions 0 to 7.`,
      );
    }
    const devfn = (slot << 3) | fn;
    const occupant = this.#occupant(devfn);
    if (occupant) {
      const message = `${name} cannot be at addr=${where} of ${this.name}: ${occupant} is there. Choose another.`;
      throw new RingsideError('bad-option', message);
    }
    // PCI 3.0, section 3.2.2.3.4, as QEMU checks it: software looks at functions 1 to 7 only where function 0 says so.
    const first = this.at(slot << 3);
    if (fn !== 0 && first && !first.multifunction) {
      const message = `${name} cannot be function ${fn} of ${first.name}'s slot: give ${first.name} multifunction=on.`;
      throw new RingsideError('bad-option', message);
    }
    if (fn === 0 && !multifunction && this.functions.some((one) => one.slot === slot)) {
      throw new RingsideError(
        'bad-option',
        `${name} shares slot ${slot} with other functions: give it multifunction=on.`,
      );
    }
    return devfn;
  }

  #occupant(devfn: number): string | undefined {
    return this.#functions[devfn]?.name ?? this.#reserved.get(devfn);
  }

  /** Puts a function where reserve() said. */
  add(one: PciFunction, devfn: number): void {
    this.#reserved.delete(devfn);
    this.#functions[devfn] = one;
    one.devfn = devfn;
    one.host = this;
    one.poweredOn();
    this.#mappingChanged();
  }

  remove(one: PciFunction): void {
    if (this.#functions[one.devfn] !== one) return;
    this.#functions[one.devfn] = null;
    one.host = null;
    this.#mappingChanged();
  }

  /**
   * The host bridge's line (0 for INTA) that a pin of this bus arrives at: each bridge swizzles by slot (PCI-to-PCI
   * Bridge 1.2, section 9.1), and so does the board (its interrupt-map).
   *
   * @param pin 1 for INTA
   */
  line(devfn: number, pin: number): number {
    const swizzled = (pin - 1 + (devfn >>> 3)) % INTX_LINES;
    return this.bridge ? this.bridge.parent.line(this.bridge.self.devfn, swizzled + 1) : swizzled;
  }
}
