/**
 * What a virtio device is plugged into. A transport implements VirtioBus; one that is itself a device on a PCI bus is asked
 * for by VirtioPciBus.
 */
import type { PciAddress } from '../pci/address.ts';
import type { IoErrorEvent } from './backend/backend.ts';
import type { QueueServer } from './backend/queue-server.ts';
import type { VirtioDevice } from './device.ts';
import type { VirtioTransport } from './transport/transport.ts';

export interface PlugOptions {
  /** Bits of transport and rings that are offered: ringFeatureBits(). Default: QEMU's. */
  readonly ringFeatures?: bigint | undefined;
  /** Serves the queues. */
  readonly server: QueueServer;
  /** The driver broke a rule of the spec; one line. As often as it does so. */
  note(message: string): void;
  event(event: IoErrorEvent): void;
}

/** A device that is plugged in. */
export interface VirtioPlug {
  readonly transport: VirtioTransport;
  /** Resets the device and takes it from its server; its queues are stopped when it resolves. */
  unplug(): Promise<void>;
  /** Machine reset. */
  reset(): Promise<void>;
}

/** The implementation (QomBus.instance) of a bus of a type derived from virtio-bus. */
export interface VirtioBus {
  /** Each queue can have an interrupt of its own. */
  readonly interruptsByQueue: boolean;
  /** @throws RingsideError; the bus is as before then */
  plug(device: VirtioDevice, options: PlugOptions): Promise<VirtioPlug>;
}

/** What makes a virtio device a PCI function. Automatic values are settled. */
export interface VirtioPciOptions {
  /** Name of the function, for messages: the device's id. */
  readonly id: string;
  /** Where the user wants it; null: the first free slot, function 0. */
  readonly address: PciAddress | null;
  readonly multifunction: boolean;
  /** Legacy I/O registers. With `modern` too it is a transitional device. */
  readonly legacy: boolean;
  readonly modern: boolean;
  /** 0x1000 to 0x1009, of a device with `legacy`. */
  readonly transitionalId: number | null;
  /** Class << 8 | subclass. */
  readonly pciClass: number;
  /** MSI-X table entries; 0: no MSI-X. */
  readonly vectors: number;
  /** False: a notification of the driver is served by the control thread, not handed straight to the queue's worker. */
  readonly ioeventfd: boolean;
}

/** A device that is plugged in as a PCI function. */
export interface VirtioFunctionPlug extends VirtioPlug {
  /** Where it is on its bus. */
  readonly function: PciAddress;
}

/** What virtio-X-pci needs of the implementation (QomBus.instance) of the PCI bus that it is on. */
export interface VirtioPciBus {
  /** Of a PCI Express port, not the root bus: devices are modern only unless disable-legacy=off. */
  readonly behindPort: boolean;
  /**
   * Makes a PCI function of the device.
   *
   * @throws RingsideError; the bus is as before then
   */
  plugVirtio(device: VirtioDevice, options: PlugOptions, pci: VirtioPciOptions): Promise<VirtioFunctionPlug>;
}
