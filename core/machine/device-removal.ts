/** Devices that are asked for back from the guest while the machine is there (device_del): who has been asked, and what came of it. */
import { RingsideError } from '../errors.ts';
import type { PluggedDevice, QomObject } from '../qom/object.ts';

/** A device by id and path, as QEMU's events name it. */
export interface DeviceName {
  readonly id: string | null;
  readonly path: string;
}

export interface RemovalPatience {
  /** Until the guest may be asked again, ms; QEMU's is 5 s. */
  readonly again: number;
  /** Until the user is told that the guest has not answered, ms. Linux waits 5 s before it acts. */
  readonly answer: number;
}

export interface RemovalOptions {
  /** Takes a device out. */
  remove(object: QomObject): Promise<void>;
  /** Runs an operation when no other is under way. */
  later(operation: () => Promise<void>): void;
  /** The guest does not give it back. */
  onKept(device: DeviceName): void;
  warn(message: string): void;
  readonly patience?: RemovalPatience;
}

const PATIENCE: RemovalPatience = { again: 5000, answer: 15_000 };

interface Request {
  readonly since: number;
  readonly timer: NodeJS.Timeout;
}

export class DeviceRemovals {
  readonly #o: RemovalOptions;
  readonly #requests = new Map<QomObject, Request>();

  constructor(options: RemovalOptions) {
    this.#o = options;
  }

  /**
   * Asks the guest to let go of a device.
   *
   * @throws RingsideError 'unsupported' where devices do not go, 'bad-state' when it has just been asked, or is busy
   */
  request(object: QomObject): void {
    const { bus } = object;
    if (!bus?.hotplug) {
      throw new RingsideError('unsupported', `Bus '${bus?.name ?? ''}' does not support hotplugging`);
    }
    const { again, answer } = this.#o.patience ?? PATIENCE;
    const name = nameOf(object);
    const before = this.#requests.get(object);
    if (before && performance.now() - before.since < again) {
      throw new RingsideError('bad-state', `Device ${name} is already in the process of unplug`);
    }
    bus.hotplug.unplugRequest(object);
    this.forget(object);
    const timer = setTimeout(() => {
      const remedy = 'It stays until the guest does so or the VM is reset. Not every guest can (docs/pci.md).';
      this.#o.warn(`${name}: the guest has not let go of it. ${remedy}`);
    }, answer);
    timer.unref();
    this.#requests.set(object, { since: performance.now(), timer });
  }

  /** For the handler of the bus that a device is on. */
  plugged(object: QomObject): PluggedDevice {
    return {
      remove: () =>
        this.#o.later(async () => {
          // It may have gone by another way meanwhile.
          if (object.realized) await this.#o.remove(object);
        }),
      kept: () => {
        if (!this.#requests.has(object)) return;
        this.forget(object);
        this.#o.onKept({ id: object.id, path: object.path });
      },
    };
  }

  /** It is gone, or to stay. */
  forget(object: QomObject): void {
    clearTimeout(this.#requests.get(object)?.timer);
    this.#requests.delete(object);
  }

  /** Machine reset: the guest has let go of everything, so what was asked for goes, with all that is on its bus. */
  async complete(): Promise<void> {
    const buses = new Set([...this.#requests.keys()].map(({ bus }) => bus));
    for (const bus of buses) {
      for (const device of bus?.devices.toReversed() ?? []) await this.#o.remove(device);
    }
  }
}

function nameOf({ id, path }: QomObject): string {
  return id ?? path;
}
