/**
 * The slot of a PCI Express port: power, indicators and hot-plug events (PCI Express 5.0, sections 6.7 and 7.5.3.9 to
 * 7.5.3.11). It has an attention button, indicators, a power controller and an electromechanical lock, as QEMU's.
 */
import { touches } from './config-space.ts';
import type { PciConfigSpace } from './config-space.ts';
import * as exp from './express.ts';

/** Bits of Slot Status that are cleared by writing 1. */
const EVENTS =
  exp.PCI_EXP_SLT_ABP | exp.PCI_EXP_SLT_PFD | exp.PCI_EXP_SLT_MRLSC | exp.PCI_EXP_SLT_PDC | exp.PCI_EXP_SLT_CC;
/** Those that there are here. */
const OWN_EVENTS = exp.PCI_EXP_SLT_ABP | exp.PCI_EXP_SLT_PDC | exp.PCI_EXP_SLT_CC;

const CONTROL_WRITABLE =
  OWN_EVENTS |
  exp.PCI_EXP_SLTCTL_HPIE |
  exp.PCI_EXP_SLTCTL_AIC |
  exp.PCI_EXP_SLTCTL_PIC |
  exp.PCI_EXP_SLTCTL_PCC |
  exp.PCI_EXP_SLTCTL_EIC;

/** What the slot asks of its port. */
export interface SlotPort {
  /** Whether there is a card: function 0. */
  readonly occupied: boolean;
  /** Link Status of function 0: speed and width; null without one. */
  readonly linkOfCard: number | null;
  /** A hot-plug event wants the driver's attention, or none does any more. */
  attention(wanted: boolean): void;
  /** Power is gone, or is back. When what it gives resolves, nothing in the slot does anything any more. */
  powerChanged(on: boolean): void | Promise<void>;
  /** The driver has let go of all that is in the slot: takes it from the bus. Resolves when it is at rest. */
  eject(): void | Promise<void>;
  /** The driver had begun to let go of it, and has not. */
  keeps(): void;
}

/** Slot Control and Slot Status before a write. */
export interface SlotRegisters {
  readonly control: number;
  readonly status: number;
}

export class PcieSlot {
  readonly #config: PciConfigSpace;
  /** Offset of the PCI Express capability. */
  readonly #at: number;
  readonly #port: SlotPort;
  /** Of the link, as long as there is no card. */
  readonly #ownLink: number;
  #attention = false;

  /**
   * @param at offset of the PCI Express capability
   * @param options number: Physical Slot Number, 0..8191; hotplug: cards come and go
   */
  constructor(
    config: PciConfigSpace,
    at: number,
    { number, hotplug }: { number: number; hotplug: boolean },
    port: SlotPort,
  ) {
    this.#config = config;
    this.#at = at;
    this.#port = port;
    this.#ownLink = config.read(at + exp.PCI_EXP_LNKSTA, 2) & exp.PCI_EXP_LNKSTA_SPEED_WIDTH;
    let capabilities =
      exp.PCI_EXP_SLTCAP_ABP |
      exp.PCI_EXP_SLTCAP_PCP |
      exp.PCI_EXP_SLTCAP_AIP |
      exp.PCI_EXP_SLTCAP_PIP |
      exp.PCI_EXP_SLTCAP_EIP;
    if (hotplug) capabilities |= exp.PCI_EXP_SLTCAP_HPS | exp.PCI_EXP_SLTCAP_HPC;
    config.set(at + exp.PCI_EXP_SLTCAP, 4, (capabilities | (number << exp.PCI_EXP_SLTCAP_PSN_SHIFT)) >>> 0);
    config.allow(at + exp.PCI_EXP_SLTCTL, 2, CONTROL_WRITABLE);
    config.allowClear(at + exp.PCI_EXP_SLTSTA, 2, OWN_EVENTS);
    this.#control = controlAtReset(false);
  }

  // ---- registers --------------------------------------------------------------------------------------------------

  get registers(): SlotRegisters {
    return { control: this.#control, status: this.#status };
  }

  get #control(): number {
    return this.#config.read(this.#at + exp.PCI_EXP_SLTCTL, 2);
  }

  set #control(control: number) {
    this.#config.set(this.#at + exp.PCI_EXP_SLTCTL, 2, control);
  }

  get #status(): number {
    return this.#config.read(this.#at + exp.PCI_EXP_SLTSTA, 2);
  }

  set #status(status: number) {
    this.#config.set(this.#at + exp.PCI_EXP_SLTSTA, 2, status);
  }

  get powered(): boolean {
    return !(this.#control & exp.PCI_EXP_SLTCTL_PCC);
  }

  get locked(): boolean {
    return (this.#status & exp.PCI_EXP_SLTSTA_EIS) !== 0;
  }

  /** The driver is busy with it: the power indicator blinks. */
  get busy(): boolean {
    return (this.#control & exp.PCI_EXP_SLTCTL_PIC) === exp.PCI_EXP_SLTCTL_PIC_BLINK;
  }

  /**
   * A write to configuration space has been done.
   *
   * @param before the registers as they were
   * @returns when power has gone, and with it what the functions in the slot were about; then the command is completed
   */
  written(offset: number, size: number, value: number, before: SlotRegisters): void | Promise<void> {
    if (touches(offset, size, this.#at + exp.PCI_EXP_SLTSTA, 2)) {
      const asked = bitsOf(value, this.#at + exp.PCI_EXP_SLTSTA - offset);
      // Drivers clear everything when they begin. As in QEMU that does not lose what they have not seen yet.
      if (asked & ~before.status & EVENTS) this.#status = (this.#status & ~EVENTS) | (before.status & EVENTS);
      this.#notify();
    }
    if (!touches(offset, size, this.#at + exp.PCI_EXP_SLTCTL, 2)) return;
    const power = this.#command(before.control);
    if (power) return power.then(() => this.#event(exp.PCI_EXP_SLT_CC));
    this.#event(exp.PCI_EXP_SLT_CC);
  }

  /** Any write to Slot Control is a command (section 6.7.3.2). */
  #command(before: number): void | Promise<void> {
    if (this.#control & exp.PCI_EXP_SLTCTL_EIC) {
      this.#control &= ~exp.PCI_EXP_SLTCTL_EIC;
      this.#status ^= exp.PCI_EXP_SLTSTA_EIS;
    }
    const { powered } = this;
    const wasPowered = !(before & exp.PCI_EXP_SLTCTL_PCC);
    let ejected: void | Promise<void> = undefined;
    // As in QEMU: with power and its indicator off it is safe to take the card, if they were not both off already.
    if (this.#isOff(this.#control) && !this.#isOff(before) && this.#status & exp.PCI_EXP_SLTSTA_PDS) {
      ejected = this.#port.eject();
      this.follow(true);
    } else if (powered && indicator(before) === exp.PCI_EXP_SLTCTL_PIC_BLINK) {
      if (indicator(this.#control) === exp.PCI_EXP_SLTCTL_PIC_ON) this.#port.keeps();
    }
    this.#notify();
    const switched = powered === wasPowered ? undefined : this.#port.powerChanged(powered);
    return ejected ? ejected.then(() => switched) : switched;
  }

  #isOff(control: number): boolean {
    return !!(control & exp.PCI_EXP_SLTCTL_PCC) && indicator(control) === exp.PCI_EXP_SLTCTL_PIC_OFF;
  }

  #event(event: number): void {
    this.#status |= event;
    this.#notify();
  }

  /** Section 6.7.3.4. */
  #notify(): void {
    const control = this.#control;
    const wanted = (control & exp.PCI_EXP_SLTCTL_HPIE) !== 0 && (this.#status & control & OWN_EVENTS) !== 0;
    if (wanted === this.#attention) return;
    this.#attention = wanted;
    this.#port.attention(wanted);
  }

  // ---- what is in it ----------------------------------------------------------------------------------------------

  pressAttentionButton(): void {
    this.#event(exp.PCI_EXP_SLT_ABP);
  }

  /** A card is in it, or is not any more. While the machine is there (`hot`) the driver is told. */
  follow(hot: boolean): void {
    const { occupied } = this.#port;
    if (occupied === ((this.#status & exp.PCI_EXP_SLTSTA_PDS) !== 0)) return;
    this.#followPresence();
    // A card that has gone needs no attention any more.
    if (!occupied) this.#status &= ~exp.PCI_EXP_SLT_ABP;
    if (!hot) this.#control = controlAtReset(occupied);
    else this.#event(occupied ? exp.PCI_EXP_SLT_PDC | exp.PCI_EXP_SLT_ABP : exp.PCI_EXP_SLT_PDC);
  }

  #followPresence(): void {
    const { linkOfCard, occupied } = this.#port;
    const link = (linkOfCard ?? this.#ownLink) & exp.PCI_EXP_LNKSTA_SPEED_WIDTH;
    this.#config.set(this.#at + exp.PCI_EXP_LNKSTA, 2, link | (occupied ? exp.PCI_EXP_LNKSTA_DLLLA : 0));
    const status = this.#status & ~exp.PCI_EXP_SLTSTA_PDS;
    this.#status = status | (occupied ? exp.PCI_EXP_SLTSTA_PDS : 0);
  }

  /** As at power-on: unlocked, no event, and power on if there is a card. */
  reset(): void {
    this.#status = 0;
    this.#followPresence();
    this.#control = controlAtReset(this.#port.occupied);
    this.#notify();
  }
}

function controlAtReset(occupied: boolean): number {
  const power = occupied ? exp.PCI_EXP_SLTCTL_PIC_ON : exp.PCI_EXP_SLTCTL_PIC_OFF | exp.PCI_EXP_SLTCTL_PCC;
  return exp.PCI_EXP_SLTCTL_AIC_OFF | power;
}

function indicator(control: number): number {
  return control & exp.PCI_EXP_SLTCTL_PIC;
}

/** What a write has for the 16-bit register that is `distance` bytes behind its first byte, or before it. */
function bitsOf(value: number, distance: number): number {
  return Math.floor(distance < 0 ? value * 2 ** (-8 * distance) : value / 2 ** (8 * distance)) & 0xffff;
}
