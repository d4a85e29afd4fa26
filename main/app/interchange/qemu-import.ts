/** A VM from a command line of qemu-system-riscv64 or `ringside run`, as copied from a script. */
import { RingsideError } from '../../../core/errors.ts';
import { splitList } from '../../cli/options/syntax.ts';
import { MAX_TEXT } from './model.ts';
import type { Imported } from './model.ts';
import { Parts } from './parts.ts';
import { shellWords } from './shell-words.ts';

const SCALE: Readonly<Record<string, number>> = { '': 2 ** 20, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };
/** What has no meaning here, or is always so: not worth a note. */
const SILENT = new Set(
  'nographic,display,serial,monitor,qmp,qmp-pretty,mon,daemonize,pidfile,nodefaults,no-user-config,msg,uuid,rtc,boot,parallel,S,s,d,D,sandbox,runas,chroot,overcommit,vga,k,name'.split(
    ',',
  ),
);
/** Options without a value, of those that are not taken over. */
const FLAGS = new Set(
  'nographic,daemonize,nodefaults,no-user-config,S,s,enable-kvm,no-acpi,no-hpet,snapshot,no-shutdown,only-migratable,usb,full-screen,no-reboot,version'.split(
    ',',
  ),
);
const DRIVE_VALUES: Readonly<Record<string, readonly string[]>> = {
  werror: ['report', 'stop', 'enospc', 'ignore'],
  rerror: ['report', 'stop', 'ignore'],
};

/** @throws RingsideError 'bad-option' when it is no such command line, or one for another architecture */
export function importQemu(text: string): Imported {
  if (text.length > MAX_TEXT) throw new RingsideError('bad-option', 'this is no command line: it is far too long');
  const words = shellWords(text);
  const first = words.findIndex((word) => word.startsWith('-'));
  const program = words.slice(0, Math.max(0, first)).findLast((word) => /qemu|ringside/.test(word));
  if (first < 0) {
    throw new RingsideError(
      'bad-option',
      'this is no command line of QEMU: it begins with qemu-system-riscv64 or an option',
    );
  }
  const arch =
    /qemu-system-(\w+)/.exec(program ?? '')?.[1] ?? (/qemu-kvm/.test(program ?? '') ? 'the host' : 'riscv64');
  if (arch !== 'riscv64') {
    throw new RingsideError('unsupported', `this VM is for ${arch}: Ringside emulates riscv64 machines only`);
  }
  const reader = new Reader(new Parts());
  reader.read(words.slice(first));
  return reader.parts.finish();
}

type Entries = Record<string, string>;

class Reader {
  readonly parts: Parts;
  /** Drives that a -device must name: QEMU's if=none. */
  readonly #named = new Map<string, string | null>();

  constructor(parts: Parts) {
    this.parts = parts;
  }

  read(words: readonly string[]): void {
    const devices: string[] = [];
    for (let at = 0; at < words.length; at++) {
      const word = words[at];
      const option = /^--?([A-Za-z][\w-]*)$/.exec(word)?.[1];
      if (option === undefined) {
        // A disk image may stand alone.
        this.#image(word);
        continue;
      }
      const next = words[at + 1];
      const takes = !FLAGS.has(option) && next !== undefined && (!/^--?[A-Za-z]/.test(next) || option === 'append');
      const value = takes ? next : '';
      if (takes) at++;
      if (/[$`]/.test(value) && option !== 'append') {
        this.parts.note(`-${option} ${value}: a shell would put something in here; say what.`);
      }
      // What devices name may come after them.
      if (option === 'device') devices.push(value);
      else this.#option(option, value);
    }
    for (const value of devices) this.#device(value);
    for (const { id, if: how } of this.parts.drives) {
      const used = this.parts.devices.some((device) => device['drive'] === id);
      if (how === 'none' && !used) this.parts.note(`Disk ${id} is in no device: add one that has it, or remove it.`);
    }
  }

  #option(option: string, value: string): void {
    const { parts } = this;
    switch (option) {
      case 'name':
        parts.name = listOf(value, 'guest').entries['guest'] ?? parts.name;
        return;
      case 'm':
        this.#memory(listOf(value, 'size').entries['size'] ?? '');
        return;
      case 'smp': {
        const { cpus, cores = '1', sockets = '1', threads = '1' } = listOf(value, 'cpus').entries;
        parts.harts = Number(cpus ?? Number(cores) * Number(sockets) * Number(threads));
        return;
      }
      case 'machine':
      case 'M':
        this.#machine(value);
        return;
      case 'cpu':
        if (!/^(rv64|max)$/.test(value))
          parts.note(`-cpu ${value} is left out: harts are RV64GC with the extensions of the board.`);
        return;
      case 'accel':
        if (!/^(tcg|jit)/.test(value)) parts.note(`-accel ${value} is left out: guest code is translated.`);
        return;
      case 'kernel':
        parts.kernel = value;
        return;
      case 'initrd':
        parts.initrd = value;
        return;
      case 'append':
        parts.append = value;
        return;
      case 'bios':
        parts.bios = value === '' ? 'default' : value;
        return;
      case 'no-reboot':
        parts.noReboot = true;
        return;
      case 'global':
        this.#global(value);
        return;
      case 'drive':
        this.#drive(listOf(value, 'file').entries);
        return;
      case 'hda':
      case 'hdb':
      case 'hdc':
      case 'hdd':
        this.#image(value);
        return;
      case 'cdrom':
        this.#drive({ file: value, readonly: 'on' });
        return;
      case 'object':
      case 'netdev':
      case 'fsdev': {
        const { first, entries } = listOf(
          value,
          option === 'object' ? 'qom-type' : option === 'fsdev' ? 'fsdriver' : 'type',
        );
        const { id, ...properties } = entries;
        parts.backend(option, first, id, properties);
        return;
      }
      case 'chardev': {
        const { first, entries } = listOf(value, 'backend');
        parts.backend('chardev', 'program', entries['id'], {});
        if (!/^(stdio|null|program)$/.test(first)) {
          parts.note(`Chardev ${entries['id'] ?? ''} (${first}) is a console in this window here.`);
        }
        return;
      }
      default:
        if (!SILENT.has(option)) parts.note(`${`-${option} ${value}`.trim()} is left out: Ringside does not know it.`);
    }
  }

  #memory(text: string): void {
    const match = /^(\d+(?:\.\d+)?)([bkmgt]?)$/i.exec(text);
    if (match === null) this.parts.note(`-m ${text} is not a size.`);
    else this.parts.memory = Number(match[1]) * SCALE[match[2].toLowerCase()];
  }

  #machine(value: string): void {
    const { first, entries } = listOf(value, 'type');
    if (first !== '' && first !== 'virt') this.parts.note(`The board ${first} is replaced by virt, the only one here.`);
    const { type: _type, aia, ...others } = entries;
    if (aia === 'aplic' || aia === 'aplic-imsic' || aia === 'none') this.parts.aia = aia;
    for (const [key, text] of Object.entries(others)) this.parts.note(`-machine ${key}=${text} is left out.`);
  }

  #global(value: string): void {
    const match = /^(?:driver=)?virtio-mmio(?:\.|,property=)force-legacy(?:=|,value=)(\w+)$/.exec(value);
    if (match === null) this.parts.note(`-global ${value} is left out: set the property of each device.`);
    else this.parts.forceLegacy = /^(on|yes|true|y)$/.test(match[1]);
  }

  #image(file: string): void {
    this.#drive({ file });
  }

  #drive(given: Entries): void {
    const { file, format, id, if: how = 'virtio', ...rest } = given;
    const { parts } = this;
    if (file === undefined) return parts.note('A -drive without file= is left out.');
    if (how === 'pflash')
      return parts.note(`${file} is left out: the flash of the board cannot be filled here; -bios can.`);
    const change: Record<string, unknown> = how === 'none' ? { if: 'none' } : {};
    if (/^(on|yes|true|y)$/.test(rest['readonly'] ?? '') || rest['media'] === 'cdrom') change['readonly'] = true;
    if (rest['serial'] !== undefined) change['serial'] = rest['serial'];
    for (const [key, values] of Object.entries(DRIVE_VALUES)) if (values.includes(rest[key])) change[key] = rest[key];
    if (/^(ignore|off)$/.test(rest['discard'] ?? '')) change['discard'] = 'ignore';
    if (!['virtio', 'none'].includes(how)) parts.note(`${file}: if=${how} becomes a virtio disk.`);
    const made = parts.drive(id, file, format, change);
    if (how === 'none' && id !== undefined) this.#named.set(id, made);
  }

  #device(value: string): void {
    const { first: driver, entries } = listOf(value, 'driver');
    const { driver: _driver, id, bus, bootindex: _boot, romfile: _rom, ...properties } = entries;
    const drive = properties['drive'];
    // A drive whose id had to be changed, or that was left out.
    if (drive !== undefined && this.#named.has(drive)) properties['drive'] = this.#named.get(drive) ?? drive;
    this.parts.device(driver, id, bus, properties);
  }
}

/** `first,key=value,flag`; `first` is the value of `implied` as well. */
function listOf(value: string, implied: string): { first: string; entries: Entries } {
  const entries: Entries = {};
  for (const [at, { key, value: given }] of splitList(value).entries()) {
    if (key === '' && given === undefined) continue;
    if (at === 0 && given === undefined) entries[implied] = key;
    else
      Object.defineProperty(entries, key, {
        value: given ?? 'on',
        enumerable: true,
        configurable: true,
        writable: true,
      });
  }
  return { first: entries[implied] ?? '', entries };
}
