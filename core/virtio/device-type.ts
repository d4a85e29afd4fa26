/**
 * What each device folder says of its type (core/virtio/<device>/type.ts). One generic proxy makes the QOM types
 * `<base>-device` (the device itself, on a virtio bus: mmio), `<base>-pci`, `<base>-pci-transitional` and
 * `<base>-pci-non-transitional` from it; all types are listed in core/virtio/device-types.ts.
 */
import type { Host } from '../host/host.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { PropertySpec, PropertyValue, PropertyValues } from '../qom/property.ts';
import type { VirtioDevice } from './device.ts';

/** Back ends of devices that options define: -drive, -chardev, -netdev, -fsdev, -object. */
export interface BackendKinds {
  drive: unknown;
  chardev: unknown;
  netdev: unknown;
  fsdev: unknown;
  object: unknown;
}

/** What a device is made with. */
export interface DeviceContext {
  readonly host: Host;
  readonly memory: GuestMemory;
  /**
   * The back end of a kind with an id. A device has it to itself from then on, until the device is gone, unless the kind says otherwise.
   *
   * @throws RingsideError 'bad-option' when there is none, or another device has it
   */
  backend<T>(kind: keyof BackendKinds, id: string): T;
  /**
   * Request queues that the device has unless it is told how many: on PCI, where each can have a vector of its own, one for each
   * hart (QEMU: virtio_pci_optimal_num_queues), else 1.
   */
  readonly optimalQueues: number;
  /** Settles the value of a property that was left to the machine. */
  choose(property: string, value: PropertyValue): void;
  /** Called when the device is gone, also when making it failed. */
  onClose(close: () => void | Promise<void>): void;
  /** Something the user should know, one line. */
  warn(message: string): void;
}

export interface VirtioDeviceType {
  /** e.g. "virtio-rng". */
  readonly base: string;
  /** VIRTIO_ID_*. */
  readonly virtioId: number;
  /** One line for `-device help`, as QEMU's desc; no full stop. */
  readonly description: string;
  /** QEMU's category in `-device help`. */
  readonly category: 'storage' | 'network' | 'input' | 'display' | 'sound' | 'misc';
  /** PCI class code, class << 8 | subclass, e.g. 0x0100 for storage/SCSI. */
  readonly pciClass: number;
  /**
   * PCI device id of the transitional device (virtio 1.3, 4.1.2.1), 0x1000 to 0x1009; null: the device type has no legacy
   * interface, so there is no -pci-transitional.
   */
  readonly transitionalId: number | null;
  /** MSI-X vectors by default, given the device's number of queues. */
  vectors(queues: number): number;
  /** The type of the bus that it has for other devices (virtio-serial-bus); its implementation is the VirtioDevice. */
  readonly bus?: string;
  /** Those of the device; transport and ring properties come from the proxy. */
  readonly properties: readonly PropertySpec[];
  /**
   * @param id unique in the machine
   * @throws RingsideError 'bad-option' and what opening back ends throws
   */
  create(id: string, values: PropertyValues, context: DeviceContext): VirtioDevice | Promise<VirtioDevice>;
}
