/**
 * A VM as it is being edited: text as typed, and what the contract's schema says of it. Used to create VMs and to change
 * them.
 */
import { MIB, vmSettings } from '../../main/ipc/contract.ts';
import type {
  AppInfo,
  BackendConfig,
  DeviceConfig,
  DriveConfig,
  HardwareProblem,
  VmSettings,
  VmSettingsInput,
} from '../../main/ipc/contract.ts';
import { bytes, parseSize } from '../lib/format.ts';

export type Firmware = 'default' | 'none' | 'file';

export interface DriveDraft {
  /** Of this row of the form, not of the drive. */
  readonly key: number;
  id: string;
  file: string;
  format: DriveConfig['format'];
  readonly: boolean;
  serial: string;
  werror: DriveConfig['werror'];
  rerror: DriveConfig['rerror'];
  discard: DriveConfig['discard'];
  legacy: boolean;
  /** none: for a device that names it. */
  readonly if?: DriveConfig['if'];
  readonly slot: number | undefined;
}

/** The lists of a VM's settings that hold devices and back ends. */
export const PART_LISTS = ['devices', 'objects', 'chardevs', 'netdevs', 'fsdevs'] as const;
export type PartList = (typeof PART_LISTS)[number];

/** A device or back end as it is being edited. */
export interface PartDraft {
  readonly key: number;
  readonly list: PartList;
  type: string;
  id: string;
  /** Of a device; empty: the first with room. */
  bus: string;
  /** As typed, by name; what is not there has its default. */
  properties: Record<string, string>;
}

let nextKey = 0;

function textOf(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (!Array.isArray(value)) return String(value);
  return value.some((item) => typeof item === 'object') ? JSON.stringify(value) : value.join(':');
}

function partDraft(list: PartList, config: DeviceConfig | BackendConfig): PartDraft {
  const { id = '', type, driver, bus = '', ...properties } = config as Record<string, string | undefined>;
  const given = Object.entries(properties).filter(([, value]) => value !== null && value !== undefined);
  return {
    key: nextKey++,
    list,
    type: type ?? driver ?? '',
    id,
    bus,
    properties: Object.fromEntries(given.map(([name, value]) => [name, textOf(value)])),
  };
}

export class VmDraft {
  name = $state('');
  memory = $state('1 GiB');
  harts = $state('1');
  source = $state<'guest' | 'files'>('guest');
  guest = $state('');
  /** The guest's own command line is used unless this is set. */
  ownAppend = $state(false);
  guestAppend = $state('');
  kernel = $state('');
  initrd = $state('');
  append = $state('');
  firmware = $state<Firmware>('default');
  firmwareFile = $state('');
  drives = $state<DriveDraft[]>([]);
  parts = $state<PartDraft[]>([]);
  aia = $state<VmSettings['aia']>('none');
  accel = $state<VmSettings['accel']>('jit');
  /** What the app has said of the devices (vm.check). */
  problems = $state.raw<HardwareProblem[]>([]);
  console = $state(true);
  rng = $state(true);
  forceLegacy = $state(false);
  noReboot = $state(false);

  readonly #info: AppInfo;
  /** What these forms do not edit: devices, back ends, the kind of interrupt controllers, ... */
  readonly #rest: Partial<VmSettings> = {};
  #touched = $state<Record<string, boolean>>({});
  #all = $state(false);

  constructor(info: AppInfo, settings?: VmSettings) {
    this.#info = info;
    if (settings === undefined) return;
    this.#rest = settings;
    this.name = settings.name;
    this.memory = bytes(settings.memory);
    this.harts = String(settings.harts);
    this.firmware = settings.bios === 'default' || settings.bios === 'none' ? settings.bios : 'file';
    this.firmwareFile = this.firmware === 'file' ? settings.bios : '';
    this.source = settings.boot.source;
    if (settings.boot.source === 'guest') {
      this.guest = settings.boot.guest;
      this.ownAppend = settings.boot.append !== undefined;
      this.guestAppend = settings.boot.append ?? '';
    } else {
      this.kernel = settings.boot.kernel ?? '';
      this.initrd = settings.boot.initrd ?? '';
      this.append = settings.boot.append;
    }
    this.drives = settings.drives.map(({ serial, slot, ...drive }) => ({
      key: nextKey++,
      ...drive,
      serial: serial ?? '',
      slot,
    }));
    for (const list of PART_LISTS) this.parts.push(...settings[list].map((config) => partDraft(list, config)));
    this.aia = settings.aia;
    this.accel = settings.accel;
    this.console = settings.console;
    this.rng = settings.rng;
    this.forceLegacy = settings.forceLegacy;
    this.noReboot = settings.noReboot ?? false;
  }

  addDrive(file = ''): void {
    const taken = this.drives.map((drive) => drive.id);
    let number = 0;
    while (taken.includes(`drive${number}`)) number++;
    this.drives.push({
      key: nextKey++,
      id: `drive${number}`,
      file,
      format: 'raw',
      readonly: false,
      serial: '',
      werror: 'enospc',
      rerror: 'report',
      discard: 'unmap',
      legacy: false,
      slot: undefined,
    });
  }

  removeDrive(at: number): void {
    this.drives.splice(at, 1);
  }

  /** Every id in use: devices and back ends get one that no other has, so that no person confuses them. */
  get #ids(): string[] {
    const ids = [...this.drives.map(({ id }) => id), ...this.parts.map(({ id }) => id)];
    if (this.console) ids.push('console0');
    if (this.rng) ids.push('rng0');
    return ids;
  }

  /** @param base what the id begins with; a number follows */
  addPart(list: PartList, type: string, base: string, properties: Record<string, string> = {}): PartDraft {
    const ids = this.#ids;
    let number = 0;
    while (ids.includes(`${base}${number}`)) number++;
    const part = { key: nextKey++, list, type, id: `${base}${number}`, bus: '', properties };
    this.parts.push(part);
    return this.parts.at(-1)!;
  }

  removePart(key: number): void {
    this.parts = this.parts.filter((part) => part.key !== key);
  }

  /** @param value undefined: its default */
  setProperty(part: PartDraft, name: string, value: string | undefined): void {
    if (value === undefined) delete part.properties[name];
    else part.properties[name] = value;
  }

  /** @param linksOf names of the properties of a part that are links, so that those who name it follow */
  renamePart(part: PartDraft, id: string, linksOf: (part: PartDraft) => string[]): void {
    const before = part.id;
    part.id = id;
    for (const other of this.parts) {
      if (part.list === 'devices') {
        if (other.bus === `${before}.0`) other.bus = `${id}.0`;
        continue;
      }
      for (const name of linksOf(other)) if (other.properties[name] === before) other.properties[name] = id;
    }
  }

  /** Where a device or back end is in the settings: "devices.0". */
  pathOf(part: PartDraft): string {
    const same = this.parts.filter(({ list }) => list === part.list);
    return `${part.list}.${same.findIndex(({ key }) => key === part.key)}`;
  }

  /** What is wrong with a property (or "id", "bus") of a device or back end; null: nothing. */
  problem(part: PartDraft, name: string): string | null {
    const path = `${this.pathOf(part)}.${name}`;
    const found = this.problems.find((problem) => problem.path.join('.') === path)?.message ?? this.issues[path];
    return found?.replace(`${name}: `, '') ?? null;
  }

  /** Of all its properties. */
  problemsOf(part: PartDraft): number {
    const path = `${this.pathOf(part)}.`;
    const paths = [...this.problems.map((problem) => problem.path.join('.')), ...Object.keys(this.issues)];
    return paths.filter((each) => each.startsWith(path)).length;
  }

  #partsOf(list: PartList) {
    return this.parts
      .filter((part) => part.list === list)
      .map(({ id, bus, type, properties }) => ({
        ...properties,
        ...(id.trim() === '' ? {} : { id: id.trim() }),
        ...(bus.trim() === '' ? {} : { bus: bus.trim() }),
        ...(list === 'devices' ? { driver: type } : { type }),
      }));
  }

  /** What the contract would be given. */
  readonly input: VmSettingsInput = $derived({
    ...this.#rest,
    name: this.name,
    // A size that is none must not pass as one.
    memory: parseSize(this.memory, 'm') ?? NaN,
    harts: /^\d+$/.test(this.harts.trim()) ? Number(this.harts) : NaN,
    bios: this.firmware === 'file' ? this.firmwareFile.trim() : this.firmware,
    boot:
      this.source === 'guest'
        ? { source: 'guest', guest: this.guest, ...(this.ownAppend ? { append: this.guestAppend.trim() } : {}) }
        : {
            source: 'files',
            ...(this.kernel.trim() === '' ? {} : { kernel: this.kernel.trim() }),
            ...(this.initrd.trim() === '' ? {} : { initrd: this.initrd.trim() }),
            append: this.append.trim(),
          },
    drives: this.drives.map(({ key: _key, serial, slot, ...drive }) => ({
      ...drive,
      file: drive.file.trim(),
      ...(serial === '' ? {} : { serial }),
      ...(slot === undefined ? {} : { slot }),
    })),
    devices: this.#partsOf('devices') as VmSettingsInput['devices'],
    objects: this.#partsOf('objects') as VmSettingsInput['objects'],
    chardevs: this.#partsOf('chardevs') as VmSettingsInput['chardevs'],
    netdevs: this.#partsOf('netdevs') as VmSettingsInput['netdevs'],
    fsdevs: this.#partsOf('fsdevs') as VmSettingsInput['fsdevs'],
    aia: this.aia,
    accel: this.accel,
    console: this.console,
    rng: this.rng,
    forceLegacy: this.forceLegacy,
    noReboot: this.noReboot ? true : undefined,
  });

  readonly #checked = $derived(vmSettings.safeParse(this.input));

  /** By path ("drives.0.file"): what is wrong with it. */
  readonly issues: Readonly<Record<string, string>> = $derived.by(() => {
    const issues: Record<string, string> = {};
    const { memory: limit, harts } = this.#info.limits;
    const memory = parseSize(this.memory, 'm');
    if (memory === null) issues.memory = 'a size, like 512 MiB or 2 GiB';
    else if (memory > limit.max) issues.memory = `at most ${Math.floor(limit.max / MIB)} MiB`;
    else if (memory < limit.min) issues.memory = `at least ${bytes(limit.min)}`;
    const count = Number(this.harts);
    if (!/^\d+$/.test(this.harts.trim()) || count < 1 || count > harts) issues.harts = `a number from 1 to ${harts}`;
    if (this.source === 'guest' && this.guest === '') issues['boot.guest'] = 'choose what to boot';
    if (this.firmware === 'file' && this.firmwareFile.trim() === '') issues.bios = 'choose a firmware image';
    if (!this.#checked.success) {
      for (const issue of this.#checked.error.issues) {
        const path = issue.path.join('.');
        issues[path] ??= issue.message;
      }
    }
    return issues;
  });

  /** The settings, once nothing is wrong. */
  readonly settings: VmSettings | null = $derived(
    this.#checked.success && Object.keys(this.issues).length === 0 ? this.#checked.data : null,
  );

  /** What to show at a field: nothing before the person has been there, or has tried to finish. */
  issue(path: string): string | null {
    return this.#all || this.#touched[path] ? (this.issues[path] ?? null) : null;
  }

  touch(path: string): void {
    this.#touched[path] = true;
  }

  touchAll(): void {
    this.#all = true;
  }
}
