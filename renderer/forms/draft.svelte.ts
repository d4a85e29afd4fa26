/**
 * A VM as it is being edited: text as typed, and what the contract's schema says of it. Used to create VMs and to change
 * them.
 */
import { MIB, vmSettings } from '../../main/ipc/contract.ts';
import type { AppInfo, DriveConfig, VmSettings, VmSettingsInput } from '../../main/ipc/contract.ts';
import { bytes, parseSize } from '../lib/format.ts';

export type Firmware = 'default' | 'none' | 'file';

export interface DriveDraft {
  /** Of this row of the form, not of the drive. */
  readonly key: number;
  id: string;
  file: string;
  readonly: boolean;
  serial: string;
  werror: DriveConfig['werror'];
  rerror: DriveConfig['rerror'];
  discard: DriveConfig['discard'];
  legacy: boolean;
  readonly slot: number | undefined;
}

let nextKey = 0;

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
    this.drives = settings.drives.map(({ format: _format, serial, slot, ...drive }) => ({
      key: nextKey++,
      ...drive,
      serial: serial ?? '',
      slot,
    }));
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
