/** The options of `ringside run`: one table, from which the parser and `ringside run -help` are made. */
import type { BackendConfig, GlobalConfig } from '../../../core/api/machine.ts';
import { didYouMean } from '../../../core/did-you-mean.ts';
import { JIT_LOG_ITEMS, type JitLogItem } from '../../../core/worker/jit-log.ts';
import { type ChardevOption, type Place, chardevId, parseChardev, parsePlace } from './chardevs.ts';
import { DRIVE_KEYS, type DriveOption, parseDrive } from './devices.ts';
import {
  type BackendOption,
  type DeviceOption,
  backendHelp,
  deviceHelp,
  parseBackend,
  parseDevice,
  parseGlobal,
} from './qdev.ts';
import { MON_KEYS, type MonitorKind, type MonitorOption } from './monitors.ts';
import { type KeyTable, badOption, choice, count, parseList, size, text } from './syntax.ts';
import { TRACE_KEYS, type TraceRequest, addTrace, traceHelp } from './trace.ts';
import { VIRTFS_KEYS, parseVirtfs } from './virtfs.ts';

/** What the options said, before they are looked at together. */
export interface RunDraft {
  memory?: number;
  harts?: number;
  kernel?: string;
  initrd?: string;
  append?: string;
  bios?: string;
  accel?: 'jit' | 'interp';
  aia?: 'none' | 'aplic' | 'aplic-imsic';
  /** `off`, or a folder. */
  jitCache?: string;
  drives: DriveOption[];
  devices: DeviceOption[];
  objects: BackendConfig[];
  netdevs: BackendConfig[];
  fsdevs: BackendConfig[];
  globals: GlobalConfig[];
  chardevs: ChardevOption[];
  serial?: Place;
  monitors: MonitorOption[];
  nographic: boolean;
  nodefaults: boolean;
  forceLegacy?: boolean;
  noReboot: boolean;
  startPaused: boolean;
  log?: JitLogItem[];
  logFile?: string;
  trace?: TraceRequest;
  name?: string;
  guest?: string;
  mirror?: string;
}

export interface RunOption {
  /** As written in messages and in the help; one or two dashes are the same. The first is the usual one. */
  names: readonly string[];
  /** What stands after it in the help; absent: it takes no value. */
  argument?: string;
  section: 'Guest' | 'Machine' | 'Disks and devices' | 'Console' | 'Running' | 'Debugging';
  help: string;
  /** Keys to list below it in the help, by heading. */
  keys?: Record<string, KeyTable>;
  /** The text that the value asks for (`help`, `TYPE,help`); null when it asks for none. */
  describe?(value: string): string | null;
  apply(draft: RunDraft, value: string): void;
}

export const MEMORY_KEYS = { size: size('m', 'guest RAM; without a unit, MiB') };
export const SMP_KEYS = { cpus: count('N', 1, 8, 'number of harts') };
export const ACCEL_KEYS = {
  accel: choice(['jit', 'interp'], 'how guest code is executed'),
  cache: text('off|DIR', 'folder in which the translator keeps what it has found, or off'),
};
export const MACHINE_KEYS = {
  type: choice(['virt'], "QEMU's riscv64 virt board"),
  aia: choice(
    ['none', 'aplic', 'aplic-imsic'],
    'interrupt controllers: a PLIC, an APLIC, an APLIC and IMSICs (for MSI)',
  ),
  'aia-guests': count('0', 0, 0, 'interrupt files for guests of the guest: harts have no hypervisor extension'),
};
export const NAME_KEYS = { guest: text('NAME', 'name of the VM') };

/** For the help only: items stand alone. */
const LOG_KEYS: KeyTable = Object.fromEntries(
  Object.entries(JIT_LOG_ITEMS).map(([item, help]) => [item, { ...text('', help), bare: true }]),
);

function logItem(option: string, item: string): JitLogItem {
  const known = Object.keys(JIT_LOG_ITEMS);
  if (Object.hasOwn(JIT_LOG_ITEMS, item)) return item as JitLogItem;
  throw badOption(option, `"${item}" is not allowed${didYouMean(item, known)}: ${known.join(', ')}, trace:PATTERN`);
}

function addBackend(list: BackendConfig[], option: BackendOption, value: string): void {
  const backend = parseBackend(option, value);
  if (list.some(({ id }) => id === backend.id)) throw badOption(option, `id=${backend.id} is given twice`);
  list.push(backend);
}

function addMonitor(draft: RunDraft, option: string, value: string, how: MonitorKind): void {
  const places = draft.monitors.filter(({ place }) => place.kind !== 'chardev');
  draft.monitors.push({ ...how, place: parsePlace(option, value, `compat_monitor${places.length}`) });
}

/** An option that defines back ends of devices. */
function backendOption(
  name: '-object' | '-netdev' | '-fsdev',
  help: string,
  list: (draft: RunDraft) => RunDraft['objects'],
): RunOption {
  return {
    names: [name],
    argument: 'TYPE,id=ID[,KEY=VALUE...]',
    section: 'Disks and devices',
    help,
    describe: (value) => backendHelp(name, value),
    apply(draft, value) {
      addBackend(list(draft), name, value);
    },
  };
}

export const RUN_OPTIONS: readonly RunOption[] = [
  {
    names: ['--guest'],
    argument: 'NAME',
    section: 'Guest',
    help: 'boot a guest of the catalogue ("ringside guest list"), fetched if need be',
    apply(draft, value) {
      draft.guest = value;
    },
  },
  {
    names: ['--mirror'],
    argument: 'URL',
    section: 'Guest',
    help: 'Debian mirror for --guest',
    apply(draft, value) {
      if (!/^https?:\/\/./.test(value)) throw badOption('--mirror', `"${value}" is not an http:// or https:// address`);
      draft.mirror = value;
    },
  },
  {
    names: ['-kernel'],
    argument: 'FILE',
    section: 'Guest',
    help: 'RISC-V Image or ELF',
    apply(draft, value) {
      draft.kernel = value;
    },
  },
  {
    names: ['-initrd'],
    argument: 'FILE',
    section: 'Guest',
    help: 'initial ramdisk',
    apply(draft, value) {
      draft.initrd = value;
    },
  },
  {
    names: ['-append'],
    argument: 'TEXT',
    section: 'Guest',
    help: "kernel command line (with --guest: added to the guest's own)",
    apply(draft, value) {
      draft.append = value;
    },
  },
  {
    names: ['-bios'],
    argument: 'default|none|FILE',
    section: 'Guest',
    help: 'firmware: the built-in SBI, none (the kernel starts in M-mode), or an image such as OpenSBI',
    apply(draft, value) {
      if (value === '') throw badOption('-bios', 'empty; allowed: default, none, FILE');
      draft.bios = value;
    },
  },
  {
    names: ['-m'],
    argument: '[size=]SIZE',
    section: 'Machine',
    help: 'guest RAM: 512 (MiB), 512M, 1G; default 128M, with --guest 1G',
    apply(draft, value) {
      draft.memory = parseList('-m', value, MEMORY_KEYS, 'size').size;
    },
  },
  {
    names: ['-smp'],
    argument: '[cpus=]N',
    section: 'Machine',
    help: 'number of harts, 1 to 8; default 1',
    apply(draft, value) {
      draft.harts = parseList('-smp', value, SMP_KEYS, 'cpus').cpus;
    },
  },
  {
    names: ['-machine', '-M'],
    argument: '[type=]virt[,KEY=VALUE...]',
    section: 'Machine',
    help: 'the board; there is this one',
    keys: { '': MACHINE_KEYS },
    apply(draft, value) {
      const { aia } = parseList('-machine', value, MACHINE_KEYS, 'type');
      if (aia !== undefined) draft.aia = aia;
    },
  },
  {
    names: ['-accel'],
    argument: '[accel=]jit|interp[,cache=off|DIR]',
    section: 'Machine',
    help: 'guest code: translated where it is hot, or only interpreted; default jit',
    apply(draft, value) {
      const { accel, cache } = parseList('-accel', value, ACCEL_KEYS, 'accel');
      if (accel !== undefined) draft.accel = accel;
      if (cache !== undefined) draft.jitCache = cache;
    },
  },
  {
    names: ['--jit-cache'],
    argument: 'off|DIR',
    section: 'Machine',
    help:
      'where the translator keeps what it has found, so that a kernel seen before starts faster (as -accel jit,cache=); ' +
      'DIR must be yours alone. Default: jit in RINGSIDE_CACHE or in the folder "ringside" of your cache folder',
    apply(draft, value) {
      if (value === '') throw badOption('--jit-cache', 'empty; allowed: off, DIR');
      draft.jitCache = value;
    },
  },
  {
    names: ['-nodefaults'],
    section: 'Machine',
    help: 'no virtio-console and no virtio-rng unless a -device asks for them',
    apply(draft) {
      draft.nodefaults = true;
    },
  },
  {
    names: ['-global'],
    argument: 'TYPE.PROPERTY=VALUE',
    section: 'Machine',
    help: 'a property of all devices of a type, e.g. virtio-mmio.force-legacy=on (virtio-mmio version 1)',
    apply(draft, value) {
      const global = parseGlobal(value);
      if (global.driver === 'virtio-mmio' && global.property === 'force-legacy') {
        draft.forceLegacy = /^(on|yes|true|y)$/.test(global.value);
      } else draft.globals.push(global);
    },
  },
  {
    names: ['-drive'],
    argument: 'file=FILE[,KEY=VALUE...]',
    section: 'Disks and devices',
    help: 'a disk image',
    keys: { '': DRIVE_KEYS },
    apply(draft, value) {
      draft.drives.push(parseDrive(value));
    },
  },
  {
    names: ['-device'],
    argument: 'TYPE[,KEY=VALUE...]',
    section: 'Disks and devices',
    help: 'a device; "-device help" lists the types, "-device TYPE,help" the keys of one',
    describe: deviceHelp,
    apply(draft, value) {
      draft.devices.push(parseDevice(value));
    },
  },
  backendOption(
    '-object',
    'what devices name: an I/O worker (iothread), a source of entropy, ...; "-object help" lists the types',
    ({ objects }) => objects,
  ),
  backendOption(
    '-netdev',
    'what a network card is connected to; "-netdev help" lists the types',
    ({ netdevs }) => netdevs,
  ),
  backendOption('-fsdev', 'a folder for a virtio-9p device; "-fsdev help" lists the types', ({ fsdevs }) => fsdevs),
  {
    names: ['-virtfs'],
    argument: 'local,path=DIR,mount_tag=TAG,security_model=MODEL[,KEY=VALUE...]',
    section: 'Disks and devices',
    help: 'a shared folder: -fsdev with the same keys, and a virtio-9p-pci device',
    keys: { '': VIRTFS_KEYS },
    apply(draft, value) {
      const { fsdev, device } = parseVirtfs(value, draft.fsdevs.length);
      if (draft.fsdevs.some(({ id }) => id === fsdev.id)) throw badOption('-virtfs', `id=${fsdev.id} is given twice`);
      draft.fsdevs.push(fsdev);
      draft.devices.push(device);
    },
  },
  {
    names: ['-nographic'],
    section: 'Console',
    help: 'as -serial mon:stdio -display none',
    apply(draft) {
      draft.nographic = true;
    },
  },
  {
    names: ['-serial'],
    argument: 'TARGET',
    section: 'Console',
    help:
      'serial port: mon:stdio (the terminal, Ctrl-A is the escape key), stdio (no escape key, Ctrl-C ends the VM), ' +
      'pty, unix:PATH,server=on,wait=off, tcp:[HOST]:PORT, telnet:[HOST]:PORT, udp:[HOST]:PORT, file:PATH, pipe:PATH, null, ' +
      'none, chardev:ID. Default: the terminal, with the escape key if stdin is one',
    apply(draft, value) {
      draft.serial = parsePlace('-serial', value, 'serial0');
    },
  },
  {
    names: ['-chardev'],
    argument: 'TYPE,id=ID[,KEY=VALUE...]',
    section: 'Console',
    help: 'what a console, a port or (-mon) a monitor is connected to; "-chardev help" lists the types',
    describe: (value) => backendHelp('-chardev', value),
    apply(draft, value) {
      const chardev = parseChardev(value);
      const id = chardevId(chardev);
      if (draft.chardevs.some((other) => chardevId(other) === id))
        throw badOption('-chardev', `id=${id} is given twice`);
      draft.chardevs.push(chardev);
    },
  },
  {
    names: ['-display'],
    argument: 'none',
    section: 'Console',
    help: 'there is no display in a terminal',
    apply(_draft, value) {
      if (value !== 'none') throw badOption('-display', `"${value}" is not allowed: none (for a window: npm start)`);
    },
  },
  {
    names: ['-monitor'],
    argument: 'PLACE',
    section: 'Console',
    help:
      'monitor for people (HMP): stdio, unix:PATH,server=on,wait=off, tcp:[HOST]:PORT,server=on,wait=off (127.0.0.1 without ' +
      'HOST), telnet:..., pty, none. With -serial mon:stdio or on a terminal, Ctrl-A c is one as well',
    apply(draft, value) {
      addMonitor(draft, '-monitor', value, { mode: 'readline', pretty: false });
    },
  },
  {
    names: ['-qmp'],
    argument: 'PLACE',
    section: 'Console',
    help: 'monitor for programs (QMP); PLACE as for -monitor',
    apply(draft, value) {
      addMonitor(draft, '-qmp', value, { mode: 'control', pretty: false });
    },
  },
  {
    names: ['-qmp-pretty'],
    argument: 'PLACE',
    section: 'Console',
    help: 'QMP on several lines',
    apply(draft, value) {
      addMonitor(draft, '-qmp-pretty', value, { mode: 'control', pretty: true });
    },
  },
  {
    names: ['-mon'],
    argument: '[chardev=]ID[,mode=readline|control]',
    section: 'Console',
    help: 'monitor on a -chardev',
    keys: { '': MON_KEYS },
    apply(draft, value) {
      const { chardev, mode = 'readline', pretty = false } = parseList('-mon', value, MON_KEYS, 'chardev');
      if (chardev === undefined) throw badOption('-mon', 'on which -chardev? Give chardev=ID');
      draft.monitors.push({ mode, pretty, place: { kind: 'chardev', id: chardev } });
    },
  },
  {
    names: ['-no-reboot'],
    section: 'Running',
    help: 'end when the guest resets the machine',
    apply(draft) {
      draft.noReboot = true;
    },
  },
  {
    names: ['-S'],
    section: 'Running',
    help: 'do not start the harts: Ctrl-A p does',
    apply(draft) {
      draft.startPaused = true;
    },
  },
  {
    names: ['-name'],
    argument: 'NAME',
    section: 'Running',
    help: 'name of the VM, in messages',
    apply(draft, value) {
      draft.name = parseList('-name', value, NAME_KEYS, 'guest').guest;
    },
  },
  {
    names: ['-d'],
    argument: 'ITEM[,ITEM...]',
    section: 'Debugging',
    help: 'write down what the translator does, or trace:PATTERN, to stderr or the file of -D',
    keys: { '': LOG_KEYS },
    apply(draft, value) {
      for (const item of value.split(',')) {
        if (item.startsWith('trace:')) draft.trace = addTrace('-d', item.slice('trace:'.length), draft.trace);
        else draft.log = [...(draft.log ?? []), logItem('-d', item)];
      }
    },
  },
  {
    names: ['-trace'],
    argument: '[[enable=]PATTERN][,events=FILE][,file=FILE]',
    section: 'Debugging',
    help: 'turn trace events on: lines about what devices do; "-trace help" lists them',
    keys: { '': TRACE_KEYS },
    describe: traceHelp,
    apply(draft, value) {
      draft.trace = addTrace('-trace', value, draft.trace);
    },
  },
  {
    names: ['-D'],
    argument: 'FILE',
    section: 'Debugging',
    help: 'where -d and -trace write; what was in the file goes',
    apply(draft, value) {
      if (value === '') throw badOption('-D', 'empty; it is the name of a file');
      draft.logFile = value;
    },
  },
];
