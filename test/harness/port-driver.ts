/** What an operating system does with a root port: bus numbers, windows, and the slot, as Linux's pciehp has it. */
import { PCIE_HIGH_MMIO_PHYS, PCIE_MMIO_PHYS } from '../../core/machine/virt-map.ts';
import * as exp from '../../core/pci/express.ts';
import type { PciHost } from '../../core/pci/host.ts';
import * as pci from '../../core/pci/spec.ts';
import { PciAccess } from './pci-enumerator.ts';

/** What pciehp has enabled: all events, with the interrupt. */
const EVENTS_ENABLED = exp.PCI_EXP_SLT_ABP | exp.PCI_EXP_SLT_PDC | exp.PCI_EXP_SLT_CC | exp.PCI_EXP_SLTCTL_HPIE;
const IO_BASE = 0x1000;
/** Of each window. */
const WINDOW = 0x20_0000;

export class PortDriver {
  readonly port: PciAccess;
  /** Function 0 of what is behind it. */
  readonly card: PciAccess;
  readonly bus: number;
  readonly #host: PciHost;
  #express = 0;

  constructor(host: PciHost, devfn: number, bus = 1) {
    this.#host = host;
    this.bus = bus;
    this.port = new PciAccess(host, 0, devfn);
    this.card = new PciAccess(host, bus, 0);
  }

  function(fn: number): PciAccess {
    return new PciAccess(this.#host, this.bus, fn);
  }

  /** Numbers the bus behind the port and opens its windows: where BarSpace begins to give out. */
  async enumerate(): Promise<this> {
    const { port, bus } = this;
    this.#express = await port.capability(pci.PCI_CAP_ID_EXP);
    await port.write(pci.PCI_PRIMARY_BUS, 4, (bus << 16) | (bus << 8));
    await this.setIoWindow(IO_BASE, 0x1fff);
    await this.setMemoryWindow(PCIE_MMIO_PHYS, PCIE_MMIO_PHYS + WINDOW - 1);
    await this.setPrefetchableWindow(PCIE_HIGH_MMIO_PHYS, PCIE_HIGH_MMIO_PHYS + WINDOW - 1);
    await port.command(pci.PCI_COMMAND_IO | pci.PCI_COMMAND_MEMORY | pci.PCI_COMMAND_MASTER);
    return this;
  }

  async setIoWindow(base: number, limit: number): Promise<void> {
    await this.port.write(pci.PCI_IO_BASE, 2, ((base >>> 8) & 0xf0) | (((limit >>> 8) & 0xf0) << 8));
  }

  async setMemoryWindow(base: number, limit: number): Promise<void> {
    await this.port.write(pci.PCI_MEMORY_BASE, 4, windowWord(base, limit));
  }

  async setPrefetchableWindow(base: number, limit: number): Promise<void> {
    await this.port.write(pci.PCI_PREF_MEMORY_BASE, 4, windowWord(base % 2 ** 32, limit % 2 ** 32));
    await this.port.write(pci.PCI_PREF_BASE_UPPER32, 4, Math.floor(base / 2 ** 32));
    await this.port.write(pci.PCI_PREF_LIMIT_UPPER32, 4, Math.floor(limit / 2 ** 32));
  }

  // ---- the slot ---------------------------------------------------------------------------------------------------

  capabilities(): Promise<number> {
    return this.port.read(this.#express + exp.PCI_EXP_SLTCAP, 4);
  }

  control(): Promise<number> {
    return this.port.read(this.#express + exp.PCI_EXP_SLTCTL, 2);
  }

  status(): Promise<number> {
    return this.port.read(this.#express + exp.PCI_EXP_SLTSTA, 2);
  }

  link(): Promise<number> {
    return this.port.read(this.#express + exp.PCI_EXP_LNKSTA, 2);
  }

  async writeControl(control: number): Promise<void> {
    await this.port.write(this.#express + exp.PCI_EXP_SLTCTL, 2, control);
  }

  async writeStatus(bits: number): Promise<void> {
    await this.port.write(this.#express + exp.PCI_EXP_SLTSTA, 2, bits);
  }

  /** Control and status by one access. */
  async writeBoth(word: number): Promise<void> {
    await this.port.write(this.#express + exp.PCI_EXP_SLTCTL, 4, word);
  }

  /** A command, which is waited for. */
  async command(set: number, clear = 0): Promise<void> {
    await this.writeControl(((await this.control()) & ~clear) | set);
    if (!((await this.status()) & exp.PCI_EXP_SLT_CC)) throw new Error('the command has not been completed');
    await this.writeStatus(exp.PCI_EXP_SLT_CC);
  }

  /** What the driver has been told since it last asked. */
  async takeEvents(): Promise<number> {
    const events = (await this.status()) & (exp.PCI_EXP_SLT_ABP | exp.PCI_EXP_SLT_PDC);
    await this.writeStatus(events);
    return events;
  }

  async enableEvents(): Promise<void> {
    await this.command(EVENTS_ENABLED);
  }

  async powerOn(): Promise<void> {
    await this.command(0, exp.PCI_EXP_SLTCTL_PCC);
    await this.indicate(exp.PCI_EXP_SLTCTL_PIC_ON);
  }

  async powerOff(): Promise<void> {
    await this.command(exp.PCI_EXP_SLTCTL_PCC);
    await this.indicate(exp.PCI_EXP_SLTCTL_PIC_OFF);
  }

  /** The power indicator. */
  async indicate(state: number): Promise<void> {
    await this.command(state, exp.PCI_EXP_SLTCTL_PIC);
  }
}

function windowWord(base: number, limit: number): number {
  return (Math.floor(base / 2 ** 16) & 0xfff0) + (Math.floor(limit / 2 ** 16) & 0xfff0) * 2 ** 16;
}
