/**
 * A virtio device as a PCI function (virtio 1.3, sections 4.1.2 and 4.1.4): identity, BARs and capabilities, laid out as
 * QEMU does, for drivers that were only ever tried there.
 */
import { touches } from '../../pci/config-space.ts';
import { addExpressEndpoint, PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR } from '../../pci/express.ts';
import { PciFunction } from '../../pci/function.ts';
import { MsixCapability } from '../../pci/msix.ts';
import * as pci from '../../pci/spec.ts';
import * as reg from '../spec/pci.ts';
import type { PciTransport, PciTransportHost } from './pci.ts';
import {
  PCI_COMMON_OFFSET,
  PCI_DEVICE_OFFSET,
  PCI_ISR_OFFSET,
  PCI_MODERN_BAR_SIZE,
  PCI_NOTIFY_MULTIPLIER,
  PCI_NOTIFY_OFFSET,
  PCI_STRUCTURE_SIZE,
} from './pci-layout.ts';

const LEGACY_BAR = 0;
const MSIX_BAR = 1;
const MODERN_BAR = 4;
const PIN_A = 1;

// Power management (PCI Power Management 1.2, section 3.2).
const PM_SIZE = 8;
const PM_CAPABILITIES = 2;
const PM_VERSION_1_2 = 3;
const PM_CONTROL = 4;
const PM_STATE_MASK = 3;

export interface VirtioFunctionOptions {
  name: string;
  modern: boolean;
  legacy: boolean;
  /** 0x1000 to 0x1009, of a device with the legacy interface; null when its type has none. */
  transitionalId: number | null;
  /** Class << 8 | subclass. */
  pciClass: number;
  /** MSI-X table entries, at most MSIX_MAX_VECTORS; 0: no MSI-X. */
  vectors: number;
  /** Behind a PCI Express port: it has an Express capability. */
  express: boolean;
  /** Where harts see one of its BARs; null while they do not. */
  placeOf(one: PciFunction, bar: number): number | null;
}

export class VirtioPciFunction extends PciFunction implements PciTransportHost {
  readonly transport: PciTransport;
  readonly #options: VirtioFunctionOptions;
  readonly #msix: MsixCapability | null;
  /** Offset of the PCI configuration access capability; 0: none. */
  readonly #access: number = 0;
  readonly #express: number = 0;
  #busMaster = false;

  constructor(transport: PciTransport, options: VirtioFunctionOptions) {
    const { name, modern, legacy, transitionalId, pciClass, vectors, express } = options;
    const { virtioId } = transport.device;
    super(
      name,
      {
        vendor: pci.PCI_VENDOR_ID_REDHAT_QUMRANET,
        device: legacy ? (transitionalId ?? 0) : reg.PCI_DEVICE_ID_MODERN + virtioId,
        revision: legacy ? 0 : reg.PCI_REVISION_MODERN,
        classCode: pciClass << 8,
        // Section 4.1.2.1: a transitional device has the virtio device id there.
        subsystem: legacy ? virtioId : pci.PCI_SUBDEVICE_ID_QEMU,
      },
      { express },
    );
    this.#options = options;
    this.transport = transport;
    transport.pciHost = this;
    this.pin = PIN_A;
    if (express) {
      this.#express = addExpressEndpoint(this.config);
      const pm = this.config.addCapability(pci.PCI_CAP_ID_PM, PM_SIZE);
      this.config.set(pm + PM_CAPABILITIES, 2, PM_VERSION_1_2);
      this.config.allow(pm + PM_CONTROL, 2, PM_STATE_MASK);
    }
    if (modern) this.#access = this.#addModern();
    this.#msix = vectors > 0 ? new MsixCapability(this, transport.interrupt.vectors, vectors, MSIX_BAR) : null;
    if (!this.#msix) transport.interrupt.vectors.reset();
    if (legacy) this.#addLegacy();
    void this.#followCommand();
  }

  /** Returns the offset of the configuration access capability. */
  #addModern(): number {
    this.addBar({
      index: MODERN_BAR,
      kind: 'mem64',
      prefetch: true,
      size: PCI_MODERN_BAR_SIZE,
      handler: this.transport.modernBar,
    });
    this.#addStructure(reg.VIRTIO_PCI_CAP_COMMON_CFG, PCI_COMMON_OFFSET);
    this.#addStructure(reg.VIRTIO_PCI_CAP_ISR_CFG, PCI_ISR_OFFSET);
    this.#addStructure(reg.VIRTIO_PCI_CAP_DEVICE_CFG, PCI_DEVICE_OFFSET);
    const notify = this.#addStructure(reg.VIRTIO_PCI_CAP_NOTIFY_CFG, PCI_NOTIFY_OFFSET, reg.PCI_VIRTIO_CAP_SIZE_LONG);
    this.config.set(notify + reg.PCI_VIRTIO_NOTIFY_MULTIPLIER, 4, PCI_NOTIFY_MULTIPLIER);
    const size = reg.PCI_VIRTIO_CAP_SIZE_LONG;
    const access = this.config.addCapability(pci.PCI_CAP_ID_VNDR, size);
    this.config.set(access + reg.PCI_VIRTIO_CAP_LEN, 1, size);
    this.config.set(access + reg.PCI_VIRTIO_CAP_TYPE, 1, reg.VIRTIO_PCI_CAP_PCI_CFG);
    this.config.allow(access + reg.PCI_VIRTIO_CAP_BAR, 1, 0xff);
    this.config.allow(access + reg.PCI_VIRTIO_CAP_OFFSET, 4, 0xffff_ffff);
    this.config.allow(access + reg.PCI_VIRTIO_CAP_LENGTH, 4, 0xffff_ffff);
    this.config.allow(access + reg.PCI_VIRTIO_CFG_DATA, 4, 0xffff_ffff);
    return access;
  }

  #addStructure(type: number, offset: number, size = reg.PCI_VIRTIO_CAP_SIZE): number {
    const at = this.config.addCapability(pci.PCI_CAP_ID_VNDR, size);
    this.config.set(at + reg.PCI_VIRTIO_CAP_LEN, 1, size);
    this.config.set(at + reg.PCI_VIRTIO_CAP_TYPE, 1, type);
    this.config.set(at + reg.PCI_VIRTIO_CAP_BAR, 1, MODERN_BAR);
    this.config.set(at + reg.PCI_VIRTIO_CAP_OFFSET, 4, offset);
    this.config.set(at + reg.PCI_VIRTIO_CAP_LENGTH, 4, PCI_STRUCTURE_SIZE);
    return at;
  }

  #addLegacy(): void {
    const header = this.#msix ? reg.LEGACY_HEADER_MSIX : reg.LEGACY_HEADER;
    const bytes = header + this.transport.device.config.size;
    this.addBar({
      index: LEGACY_BAR,
      kind: 'io',
      size: 2 ** Math.ceil(Math.log2(bytes)),
      handler: this.transport.legacyBar,
    });
  }

  // ---- what the transport asks --------------------------------------------------------------------------------------

  get base(): number | null {
    return this.#options.modern ? this.modernPlace : this.legacyPlace;
  }

  /** Where harts see BAR 4. */
  get modernPlace(): number | null {
    return this.#options.modern ? this.#options.placeOf(this, MODERN_BAR) : null;
  }

  /** Where they see BAR 0. */
  get legacyPlace(): number | null {
    return this.#options.legacy ? this.#options.placeOf(this, LEGACY_BAR) : null;
  }

  get vectors(): number {
    return this.#msix?.size ?? 0;
  }

  get msixEnabled(): boolean {
    return this.#msix?.enabled ?? false;
  }

  get busMaster(): boolean {
    return this.#busMaster;
  }

  setBusMaster(): void {
    this.config.set(pci.PCI_COMMAND, 2, this.command | pci.PCI_COMMAND_MASTER);
    void this.#followCommand();
  }

  // ---- configuration space ------------------------------------------------------------------------------------------

  override readConfig(offset: number, size: number): number | Promise<number> {
    if (this.#touchesAccess(offset, size)) {
      const access = this.#accessed();
      if (access) {
        const value = this.transport.modernBar.read(access.offset, access.length);
        const answer = (data: number): number => {
          this.config.set(this.#access + reg.PCI_VIRTIO_CFG_DATA, access.length, data);
          return this.config.read(offset, size);
        };
        return typeof value === 'number' ? answer(value) : value.then(answer);
      }
    }
    if (touches(offset, size, pci.PCI_STATUS, 1)) this.#followStatus();
    return super.readConfig(offset, size);
  }

  protected override configWritten(offset: number, size: number): void | Promise<void> {
    if (this.#touchesAccess(offset, size)) {
      const access = this.#accessed();
      if (!access) return;
      const value = this.config.read(this.#access + reg.PCI_VIRTIO_CFG_DATA, access.length);
      return this.transport.modernBar.write(access.offset, access.length, value);
    }
    this.#msix?.follow();
    this.#followGate();
  }

  override writeConfig(offset: number, size: number, value: number): void | Promise<void> {
    if (this.#express !== 0 && offset === this.#express + PCI_EXP_DEVCTL && value & PCI_EXP_DEVCTL_BCR_FLR) {
      return this.reset();
    }
    return super.writeConfig(offset, size, value);
  }

  protected override commandChanged(): void | Promise<void> {
    return this.#followCommand();
  }

  /** Section 4.1.4.9: what an access to the data of the capability is passed on to; null: to nothing. */
  #accessed(): { offset: number; length: number } | null {
    const bar = this.config.read(this.#access + reg.PCI_VIRTIO_CAP_BAR, 1);
    const offset = this.config.read(this.#access + reg.PCI_VIRTIO_CAP_OFFSET, 4);
    const length = this.config.read(this.#access + reg.PCI_VIRTIO_CAP_LENGTH, 4);
    if (bar !== MODERN_BAR || (length !== 1 && length !== 2 && length !== 4)) return null;
    return offset % length === 0 && offset + length <= PCI_MODERN_BAR_SIZE ? { offset, length } : null;
  }

  #touchesAccess(offset: number, size: number): boolean {
    return this.#access !== 0 && touches(offset, size, this.#access + reg.PCI_VIRTIO_CFG_DATA, 4);
  }

  #followCommand(): void | Promise<void> {
    this.#msix?.follow();
    this.#followGate();
    const busMaster = (this.command & pci.PCI_COMMAND_MASTER) !== 0;
    if (busMaster === this.#busMaster) return;
    this.#busMaster = busMaster;
    return this.transport.busMasterChanged();
  }

  #followGate(): void {
    this.transport.interrupt.intxGate = !this.msixEnabled && !(this.command & pci.PCI_COMMAND_INTX_DISABLE);
  }

  /** PCI 3.0, section 6.2.3: the interrupt status bit is the pin's state before the disable bit. */
  #followStatus(): void {
    const asserted = !this.msixEnabled && this.transport.interruptStatus !== 0;
    const status = this.config.read(pci.PCI_STATUS, 2) & ~pci.PCI_STATUS_INTERRUPT;
    this.config.set(pci.PCI_STATUS, 2, status | (asserted ? pci.PCI_STATUS_INTERRUPT : 0));
  }

  override async reset(): Promise<void> {
    await this.transport.machineReset();
    await super.reset();
    this.#msix?.reset();
    await this.#followCommand();
  }
}
