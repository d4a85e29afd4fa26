/**
 * A root port with a slot, pcie-root-port of QEMU 7.2: the same identity, capabilities and slot registers. It has no
 * error reporting and no access control, hence no extended capabilities.
 */
import { touches } from './config-space.ts';
import { PCI_EXP_LNKSTA, addExpressRootPort } from './express.ts';
import { PciBridgeFunction } from './bridge.ts';
import type { PciBus } from './bus.ts';
import { INTX_INPUT, INTX_LINE_INPUTS } from './intx.ts';
import { MsixCapability } from './msix.ts';
import { MsixVectors } from './msix-vectors.ts';
import { PcieSlot } from './slot.ts';
import type { SlotPort } from './slot.ts';
import type { InterruptSink } from '../virtio/transport/interrupt.ts';
import * as pci from './spec.ts';

const PIN_A = 1;
const MSIX_BAR = 0;
/** There is but one, for hot-plug events. */
const VECTORS = 1;
const HOTPLUG_VECTOR = 0;
const SSVID_SIZE = 8;
const SSVID_VENDOR = 4;

// QEMU's capability for firmware that places windows (docs/pcie_pci_bridge.txt).
const RESERVE_SIZE = 0x20;
const RESERVE_LENGTH = 2;
const RESERVE_TYPE = 3;
const RESERVE_TYPE_RESOURCES = 1;
const RESERVE_BUS = 4;
const RESERVE_IO = 8;
const RESERVE_MEM32 = 16;
const RESERVE_PREF32 = 20;
const RESERVE_PREF64 = 24;
const NOTHING_32 = 0xffff_ffff;
const NOTHING_64 = 2n ** 64n - 1n;

/** What firmware is asked to keep free behind the port; all ones: nothing in particular. */
export interface ReservedResources {
  /** Bus numbers. */
  readonly bus: number;
  /** Bytes. */
  readonly io: bigint;
  readonly mem32: bigint;
  readonly pref32: bigint;
  readonly pref64: bigint;
}

export const NOTHING_RESERVED: ReservedResources = {
  bus: NOTHING_32,
  io: NOTHING_64,
  mem32: NOTHING_64,
  pref32: NOTHING_64,
  pref64: NOTHING_64,
};

export interface RootPortOptions {
  name: string;
  /** The root bus. */
  parent: PciBus;
  busName: string;
  /** Port number, 0..255. */
  port: number;
  /** Physical Slot Number, 0..8191. */
  slot: number;
  hotplug: boolean;
  multifunction: boolean;
  reserved: ReservedResources;
  sink: InterruptSink;
  /** Its input of an INTx line. */
  intx: number;
  /** The driver has let go of all functions behind it, which are on no bus any more. */
  onEject(): void;
  /** The driver was asked to let go of them, had begun to, and keeps them. */
  onKept(): void;
}

export class PcieRootPort extends PciBridgeFunction implements SlotPort {
  readonly slotRegisters: PcieSlot;
  readonly hotplug: boolean;
  readonly #options: RootPortOptions;
  readonly #msix: MsixCapability;
  /** Wants the driver's attention. */
  #attention = false;
  #asserted = false;

  constructor(options: RootPortOptions) {
    const { name, parent, busName, port, slot, hotplug, multifunction, reserved, sink } = options;
    const identity = {
      vendor: pci.PCI_VENDOR_ID_REDHAT,
      device: pci.PCI_DEVICE_ID_REDHAT_PCIE_RP,
      classCode: pci.PCI_CLASS_BRIDGE_PCI,
    };
    super(name, identity, { parent, busName, slots: 1 });
    this.#options = options;
    this.hotplug = hotplug;
    this.multifunction = multifunction;
    this.pin = PIN_A;
    const { config } = this;
    const ssvid = config.addCapability(pci.PCI_CAP_ID_SSVID, SSVID_SIZE);
    config.set(ssvid + SSVID_VENDOR, 2, pci.PCI_VENDOR_ID_REDHAT);
    this.#msix = new MsixCapability(this, MsixVectors.own(sink), VECTORS, MSIX_BAR);
    const express = addExpressRootPort(config, port);
    this.slotRegisters = new PcieSlot(config, express, { number: slot, hotplug }, this);
    this.#reserve(reserved);
  }

  #reserve({ bus, io, mem32, pref32, pref64 }: ReservedResources): void {
    if (bus === NOTHING_32 && [io, mem32, pref32, pref64].every((size) => size === NOTHING_64)) return;
    const { config } = this;
    const at = config.addCapability(pci.PCI_CAP_ID_VNDR, RESERVE_SIZE);
    const set64 = (offset: number, value: bigint): void => {
      config.set(at + offset, 4, Number(value & 0xffff_ffffn));
      config.set(at + offset + 4, 4, Number(value >> 32n));
    };
    config.set(at + RESERVE_LENGTH, 1, RESERVE_SIZE);
    config.set(at + RESERVE_TYPE, 1, RESERVE_TYPE_RESOURCES);
    config.set(at + RESERVE_BUS, 4, bus);
    set64(RESERVE_IO, io);
    config.set(at + RESERVE_MEM32, 4, Number(mem32 & 0xffff_ffffn));
    config.set(at + RESERVE_PREF32, 4, Number(pref32 & 0xffff_ffffn));
    set64(RESERVE_PREF64, pref64);
  }

  // ---- as a function ------------------------------------------------------------------------------------------------

  override get reachable(): boolean {
    return this.slotRegisters.powered;
  }

  override readConfig(offset: number, size: number): number | Promise<number> {
    if (touches(offset, size, pci.PCI_STATUS, 1)) {
      // PCI 3.0, section 6.2.3: the pin's state before the disable bit.
      const status = this.config.read(pci.PCI_STATUS, 2) & ~pci.PCI_STATUS_INTERRUPT;
      const pending = this.#attention && !this.#msix.enabled;
      this.config.set(pci.PCI_STATUS, 2, status | (pending ? pci.PCI_STATUS_INTERRUPT : 0));
    }
    return super.readConfig(offset, size);
  }

  override writeConfig(offset: number, size: number, value: number): void | Promise<void> {
    const before = this.slotRegisters.registers;
    const written = super.writeConfig(offset, size, value);
    const commanded = this.slotRegisters.written(offset, size, value, before);
    return written ? written.then(() => commanded) : commanded;
  }

  protected override configWritten(): void {
    this.#followInterrupts();
  }

  protected override commandChanged(): void {
    this.#followInterrupts();
  }

  #followInterrupts(): void {
    this.#msix.follow();
    const disabled = this.#msix.enabled || (this.command & pci.PCI_COMMAND_INTX_DISABLE) !== 0;
    const assert = this.#attention && !disabled;
    if (assert === this.#asserted) return;
    this.#asserted = assert;
    const { parent, intx, sink } = this.#options;
    const input = INTX_INPUT + parent.line(this.devfn, PIN_A) * INTX_LINE_INPUTS + intx;
    sink.setIrq(input, assert ? 1 : 0);
  }

  override async reset(): Promise<void> {
    await super.reset();
    this.#msix.reset();
    this.slotRegisters.reset();
    this.#followInterrupts();
    this.host?.mappingChanged();
  }

  /** It leaves its bus: nothing of it stays asserted. */
  retire(): void {
    this.#attention = false;
    this.#followInterrupts();
  }

  // ---- as what the slot is in ---------------------------------------------------------------------------------------

  get occupied(): boolean {
    return this.bus.at(0) !== null;
  }

  get linkOfCard(): number | null {
    const card = this.bus.at(0);
    const express = card?.config.findCapability(pci.PCI_CAP_ID_EXP) ?? 0;
    return card && express !== 0 ? card.config.read(express + PCI_EXP_LNKSTA, 2) : null;
  }

  attention(wanted: boolean): void {
    this.#attention = wanted;
    if (wanted && this.#msix.enabled) this.#msix.vectors.fire(HOTPLUG_VECTOR);
    this.#followInterrupts();
  }

  powerChanged(on: boolean): void | Promise<void> {
    this.host?.mappingChanged();
    if (!on) return this.resetBehind();
  }

  async eject(): Promise<void> {
    const { functions } = this.bus;
    for (const one of functions) this.bus.remove(one);
    this.#options.onEject();
    await Promise.all(functions.map(async (one) => one.reset()));
  }

  keeps(): void {
    this.#options.onKept();
  }
}
