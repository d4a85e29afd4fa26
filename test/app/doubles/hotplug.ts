/** The slots of a scripted machine: devices come at once, and go as the "guest" is told to let them. */
import type { LiveParts, PluggedDevice } from '../../../core/api/live.ts';
import type { MachineConfig } from '../../../core/api/machine.ts';
import { RingsideError } from '../../../core/errors.ts';
import type { DeviceInput } from '../../../core/machine/object-model.ts';

interface Sitting {
  driver: string;
  bus: string | null;
  hotplugged: boolean;
  drive: string | null;
}

export class FakeHotplug {
  /** What the guest does when it is asked for a device. */
  guest: 'lets go' | 'refuses' | 'is silent' = 'lets go';
  /** Whether it has a driver for its slots. */
  served = true;
  /** Why the next device cannot come. */
  failure: Error | null = null;
  /** "KIND ID" of what was made behind devices, and whether it goes with its device. */
  readonly backends = new Map<string, boolean>();
  readonly #ports: string[];
  readonly #devices = new Map<string, Sitting>();
  readonly #sizes = new Map<string, number>();
  readonly #links = new Map<string, boolean>();
  readonly #emit: (event: 'device-deleted' | 'device-kept', id: string) => void;

  constructor(config: MachineConfig, emit: (event: 'device-deleted' | 'device-kept', id: string) => void) {
    this.#emit = emit;
    this.#ports = config.devices.filter(({ driver }) => driver === 'pcie-root-port').map(({ id }) => id!);
    for (const { id, driver, bus, drive } of config.devices) {
      if (id === undefined) continue;
      const where = bus ?? (driver.endsWith('-device') ? 'virtio-mmio-bus.7' : 'pcie.0');
      this.#devices.set(id, { driver, bus: where, hotplugged: false, drive: typeof drive === 'string' ? drive : null });
    }
    for (const drive of config.drives) {
      if (drive.if === 'none') continue;
      const sitting = { driver: 'virtio-blk-device', bus: 'virtio-mmio-bus.7', hotplugged: false, drive: drive.id };
      this.#devices.set(drive.id, sitting);
    }
  }

  /** A drive's image is larger now. */
  resize(drive: string, size: number): void {
    this.#sizes.set(drive, size);
  }

  setLink(id: string, up: boolean): void {
    this.#links.set(id, up);
  }

  parts(): LiveParts {
    const sitting = [...this.#devices];
    return {
      ports: this.#ports.map((id, at) => {
        const devices = sitting.filter(([, { bus }]) => bus === id).map(([device]) => device);
        return {
          id,
          bus: id,
          address: `0000:00:0${at + 1}.0`,
          slotControl: 0x6c,
          secondary: at + 1,
          devices,
          served: this.served,
          powered: devices.length > 0,
          busy: false,
        };
      }),
      devices: sitting.map(([id, { driver, bus, hotplugged, drive }]): PluggedDevice => {
        const port = this.#ports.indexOf(bus ?? '');
        return {
          id,
          driver,
          bus,
          busKind: port >= 0 ? 'port' : driver.endsWith('-device') ? 'virtio-mmio' : 'pci',
          hotplugged,
          removable: port >= 0,
          address: port < 0 ? null : `0000:0${port + 1}:00.0`,
          ready: driver === 'pcie-root-port' ? null : this.served || !hotplugged,
          link: driver.startsWith('virtio-net') ? (this.#links.get(id) ?? true) : null,
          disk:
            drive === null
              ? null
              : {
                  drive,
                  file: `/images/${drive}.raw`,
                  size: this.#sizes.get(drive) ?? 64 * 2 ** 20,
                  writeCache: true,
                  format: 'raw',
                  readonly: false,
                },
        };
      }),
      objects: [...this.backends.keys()].flatMap((backend) => /^object (.*)/.exec(backend)?.[1] ?? []),
    };
  }

  add({ driver, id, bus, properties }: DeviceInput): void {
    if (this.failure !== null) throw this.failure;
    if (this.#devices.has(id!)) throw new RingsideError('bad-option', `there is a device of the id ${id!} already`);
    const drive = typeof properties.drive === 'string' ? properties.drive : null;
    this.#devices.set(id!, { driver, bus: bus ?? null, hotplugged: true, drive });
  }

  remove(id: string): void {
    const device = this.#devices.get(id);
    if (device === undefined) throw new RingsideError('not-found', `Device '${id}' not found`);
    if (!this.#ports.includes(device.bus ?? '')) {
      throw new RingsideError('unsupported', `Bus '${device.bus ?? ''}' does not support hotplugging`);
    }
    if (this.guest === 'refuses') setImmediate(() => this.#emit('device-kept', id));
    if (this.guest === 'lets go') setImmediate(() => this.letGo(id));
  }

  /** The guest does so now. */
  letGo(id: string): void {
    this.#devices.delete(id);
    for (const [backend, withDevice] of this.backends) if (withDevice) this.backends.delete(backend);
    this.#emit('device-deleted', id);
  }
}
