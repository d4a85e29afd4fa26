/** Collects what an importer finds into the settings of a VM, and notes what cannot be taken over. */
import { deviceConfig, driveConfig } from '../../../core/api/machine.ts';
import type { BackendConfig, DeviceConfig, DriveConfig } from '../../../core/api/machine.ts';
import { errorLine } from '../../../core/errors.ts';
import { backendType } from '../../../core/machine/object-model.ts';
import type { BackendKind } from '../../../core/machine/object-model.ts';
import { machineTypes } from '../../../core/machine/types.ts';
import { readProperty } from '../../../core/qom/property-value.ts';
import type { QomType } from '../../../core/qom/object.ts';
import { MIB, vmSettingsDraft } from '../../ipc/contract.ts';
import { freeId } from './model.ts';
import type { Imported } from './model.ts';

const MIN_MEMORY = 16 * MIB;
const MAX_HARTS = 8;
const NAME_CHARS = 80;
const ID = /^[A-Za-z][A-Za-z0-9._-]{0,63}$/;

export class Parts {
  name = 'Imported VM';
  memory = 128 * MIB;
  harts = 1;
  aia: 'none' | 'aplic' | 'aplic-imsic' = 'none';
  bios = 'default';
  kernel: string | null = null;
  initrd: string | null = null;
  append = '';
  noReboot = false;
  forceLegacy = false;
  readonly drives: DriveConfig[] = [];
  readonly devices: DeviceConfig[] = [];
  readonly objects: BackendConfig[] = [];
  readonly netdevs: BackendConfig[] = [];
  readonly fsdevs: BackendConfig[] = [];
  readonly chardevs: BackendConfig[] = [];
  readonly notes: string[] = [];
  readonly #ids = new Set<string>();

  note(text: string): void {
    if (!this.notes.includes(text)) this.notes.push(text);
  }

  /** The id as it is if it can be one and is free, else a new one. */
  id(wanted: string | undefined, base: string): string {
    if (wanted === undefined || !ID.test(wanted) || this.#ids.has(wanted)) return freeId(base, this.#ids);
    this.#ids.add(wanted);
    return wanted;
  }

  /** @param change keys of -drive with other values than usual; null, with a note, when it cannot be a drive here */
  drive(
    wanted: string | undefined,
    file: string,
    format: string | undefined,
    change: Record<string, unknown>,
  ): string | null {
    if (format !== undefined && format !== 'raw' && format !== 'qcow2') {
      this.note(
        `${file} is left out: it is a ${format} image. “qemu-img convert -O qcow2” makes one that you can attach.`,
      );
      return null;
    }
    if (!/^([/~]|[A-Za-z]:)/.test(file)) this.note(`${file} has no whole path: give it under Disks.`);
    const id = this.id(wanted, 'drive');
    const parsed = driveConfig.safeParse({ id, file, format, ...change });
    if (!parsed.success) {
      this.note(`${file} is left out: ${parsed.error.issues[0].message}.`);
      return null;
    }
    this.drives.push(parsed.data);
    return id;
  }

  /** A device with what its type knows of `properties`; what it does not know is noted. @returns whether it was added */
  device(driver: string, id: string | undefined, bus: string | undefined, properties: Record<string, string>): boolean {
    const what = id ?? driver;
    let type: QomType;
    try {
      type = machineTypes().creatable(driver, 'device', 'device');
    } catch {
      this.note(`${what} is left out: there is no device type ${driver} here.`);
      return false;
    }
    const known = this.#known(what, type, properties);
    const device = deviceConfig.safeParse({
      driver: type.name,
      ...(id === undefined ? {} : { id: this.id(id, 'device') }),
      // Buses of QEMU's PCI bridges are not here; the board's own are.
      ...(bus === undefined || !/^(virtio-mmio-bus\.|pcie\.0$|.*\.0$)/.test(bus) ? {} : { bus }),
      ...known,
    });
    if (device.success) this.devices.push(device.data);
    else this.note(`${what} is left out: ${device.error.issues[0].message}.`);
    return device.success;
  }

  /** @returns its id, or null when it cannot be here */
  backend(
    kind: Exclude<BackendKind, 'drive'>,
    name: string,
    wanted: string | undefined,
    properties: Record<string, string>,
  ): string | null {
    let type: QomType;
    try {
      type = backendType(machineTypes(), kind, name);
    } catch {
      this.note(
        kind === 'netdev' && (name === 'user' || name === 'tap' || name === 'bridge')
          ? `The network ${wanted ?? ''} (${name}) is left out: there is no such networking here yet; its card is connected to nothing.`
          : `${kind} ${wanted ?? name} is left out: there is no ${kind} of type ${name} here.`,
      );
      return null;
    }
    const id = this.id(wanted, kind === 'object' ? 'object' : kind.slice(0, 3));
    const lists = { object: this.objects, netdev: this.netdevs, fsdev: this.fsdevs, chardev: this.chardevs };
    lists[kind].push({ type: name, id, ...this.#known(`${kind} ${id}`, type, properties) });
    return id;
  }

  #known(what: string, type: QomType, properties: Record<string, string>): Record<string, string> {
    const known: Record<string, string> = {};
    for (const [name, value] of Object.entries(properties)) {
      try {
        const spec = type.property(name);
        readProperty(spec, value);
        known[spec.name] = value;
      } catch (error) {
        const why = errorLine(error).replace(/; ".*,help" lists what there is$/, '');
        this.note(`${what}: ${name}=${value} is left out: ${why}.`);
      }
    }
    return known;
  }

  finish(): Imported {
    if (this.memory < MIN_MEMORY) {
      this.note('It has less memory than a machine can have here: 16 MiB are taken.');
      this.memory = MIN_MEMORY;
    }
    this.memory = Math.ceil(this.memory / MIB) * MIB;
    if (this.harts > MAX_HARTS) {
      this.note(`It has ${this.harts} CPUs; a machine has at most ${MAX_HARTS} here.`);
      this.harts = MAX_HARTS;
    }
    if (this.kernel === null && (this.bios === 'default' || this.bios === 'none')) {
      this.note('It does not say what to boot: choose a kernel or a firmware image below.');
    }
    this.#unlink();
    const name =
      this.name
        .replace(/\p{Cc}/gu, ' ')
        .trim()
        .slice(0, NAME_CHARS) || 'Imported VM';
    const settings = vmSettingsDraft.parse({
      name,
      memory: this.memory,
      harts: Math.max(1, Math.floor(this.harts) || 1),
      aia: this.aia,
      bios: this.bios,
      boot: {
        source: 'files',
        ...(this.kernel ? { kernel: this.kernel } : {}),
        ...(this.initrd ? { initrd: this.initrd } : {}),
        append: this.append,
      },
      drives: this.drives,
      devices: this.devices,
      objects: this.objects,
      netdevs: this.netdevs,
      fsdevs: this.fsdevs,
      chardevs: this.chardevs,
      console: false,
      rng: false,
      forceLegacy: this.forceLegacy,
      ...(this.noReboot ? { noReboot: true } : {}),
    });
    return { settings, notes: this.notes };
  }

  /** Devices whose link leads to what was left out: without the link where they can be, else not at all. */
  #unlink(): void {
    const ids = new Set(
      [this.drives, this.objects, this.netdevs, this.fsdevs, this.chardevs].flatMap((list) => list.map(({ id }) => id)),
    );
    for (const device of [...this.devices]) {
      for (const spec of machineTypes().get(device.driver).properties.values()) {
        if (spec.kind !== 'link') continue;
        const target = device[spec.name];
        if (typeof target === 'string' && ids.has(target)) continue;
        if (target === undefined && !spec.required) continue;
        if (!spec.required) delete device[spec.name];
        else {
          this.note(`${device.id ?? device.driver} is left out: what it is for (${spec.name}) is not there.`);
          this.devices.splice(this.devices.indexOf(device), 1);
          break;
        }
      }
    }
  }
}
