/**
 * `ringside run` in QEMU's spellings: from arguments to a machine configuration. The options themselves are in
 * options/run-table.ts.
 */
import { didYouMean } from '../../core/did-you-mean.ts';
import { type MachineConfig, type MachineConfigInput, machineConfig } from '../../core/api/machine.ts';
import { RAM_SIZE_MAX } from '../../core/memory/create.ts';
import type { JitLogItem } from '../../core/worker/jit-log.ts';
import { SLOTS, attachDrives } from './options/devices.ts';
import { busOf, linksOf } from './options/qdev.ts';
import { RUN_OPTIONS, type RunDraft, type RunOption } from './options/run-table.ts';
import { type MonitorRequest, socketPlace } from './options/monitors.ts';
import { badOption, isHelp } from './options/syntax.ts';
import type { TraceRequest } from './options/trace.ts';

const MIB = 2 ** 20;
/** As QEMU's virt board has it. */
const DEFAULT_MEMORY = 128 * MIB;
/** Enough for every guest of the catalogue; pages that a guest does not touch cost nothing. */
const CATALOGUE_MEMORY = 1024 * MIB;

/** When the escape key (Ctrl-A) is looked for in what comes from stdin. */
export type EscapeRule = 'always' | 'on-a-terminal' | 'never';

export interface RunRequest {
  /** What the options say; a guest of the catalogue fills in the rest (`completeConfig`). */
  machine: Partial<MachineConfigInput>;
  guest?: string;
  mirror?: string;
  name?: string;
  startPaused: boolean;
  /**
   * `port`: the character device, serial0 (the UART) or the id of a -chardev. `monitor`: it has a monitor instead of a
   * console.
   */
  terminal: { port: string | null; escapes: EscapeRule; monitor?: Pick<MonitorRequest, 'mode' | 'pretty'> };
  /** Monitors on sockets. */
  monitors: MonitorRequest[];
  /** What the translator is to write down, and where: null is stderr. */
  log?: { items: JitLogItem[]; file: string | null };
  /** Trace events that are on from the beginning, and where lines go, also those that are turned on later: null is stderr. */
  trace: TraceRequest;
  /** Files of drives whose format was not said, to be looked at before they are taken for raw. */
  unnamedFormats: string[];
}

/** What a guest of the catalogue brings. */
export interface CatalogueGuest {
  kernel: string;
  initrd?: string;
  append: string;
}

const byName = new Map(
  RUN_OPTIONS.flatMap((option) => option.names.map((name) => [name.replace(/^--?/, ''), option] as const)),
);

function findOption(argument: string): RunOption {
  const match = /^--?([A-Za-z].*)$/.exec(argument);
  if (match === null) {
    throw badOption(`"${argument}"`, 'options begin with "-"; an image is given as -drive file=FILE,format=raw');
  }
  const option = byName.get(match[1]);
  if (option !== undefined) return option;
  const [before, after] = match[1].split('=', 2);
  const meant = after === undefined ? undefined : byName.get(before);
  if (meant !== undefined) throw badOption(argument, `the value follows after a space: ${meant.names[0]} ${after}`);
  const names = RUN_OPTIONS.flatMap(({ names }) => names.map((name) => name.replace(/^-+/, '')));
  throw badOption(argument, `unknown option${didYouMean(before, names, '-')}; "ringside run -help" lists them`);
}

/** Null when help was asked for. */
function readArguments(args: readonly string[]): RunDraft | null {
  const draft: RunDraft = {
    drives: [],
    devices: [],
    objects: [],
    netdevs: [],
    fsdevs: [],
    globals: [],
    chardevs: [],
    monitors: [],
    monitorsOnChardevs: [],
    nographic: false,
    nodefaults: false,
    noReboot: false,
    startPaused: false,
  };
  for (let i = 0; i < args.length; i++) {
    if (isHelp(args[i])) return null;
    const option = findOption(args[i]);
    if (option.argument === undefined) {
      option.apply(draft, '');
      continue;
    }
    i++;
    if (i >= args.length) throw badOption(option.names[0], `it needs a value: ${option.names[0]} ${option.argument}`);
    if (option.keys && (args[i] === 'help' || args[i] === '?')) return null;
    if (option.describe && option.describe(args[i]) !== null) return null;
    option.apply(draft, args[i]);
  }
  return draft;
}

/** Whether a -device is of a virtio type, on whatever bus. */
function hasType(draft: RunDraft, base: string): boolean {
  return draft.devices.some(({ driver }) => driver === `${base}-device` || driver.startsWith(`${base}-pci`));
}

/** The monitors, those of -mon on what their chardevs are. */
function monitorsOf(draft: RunDraft): MonitorRequest[] {
  const onChardevs = draft.monitorsOnChardevs.flatMap(({ chardev: id, mode, pretty }): MonitorRequest[] => {
    const chardev = draft.chardevs.find((candidate) => candidate.id === id);
    if (chardev === undefined) {
      const known = draft.chardevs.map((candidate) => candidate.id!);
      throw badOption('-mon', `there is no -chardev with id=${id}${didYouMean(id, known)}`);
    }
    if (chardev.backend === 'null') return [];
    // With mux=on it shares the terminal with a console, as Ctrl-A c.
    if (chardev.backend === 'stdio') return chardev.mux ? [] : [{ mode, pretty, place: { kind: 'stdio' } }];
    return [{ mode, pretty, place: socketPlace('-chardev socket', chardev) }];
  });
  return [...draft.monitors, ...onChardevs];
}

/** What the terminal is connected to: a console device, or a monitor. */
function terminalOf(draft: RunDraft, monitors: readonly MonitorRequest[]): RunRequest['terminal'] {
  const users: ({ what: string } & RunRequest['terminal'])[] = [];
  for (const { mode, pretty, place } of monitors) {
    if (place.kind !== 'stdio') continue;
    users.push({
      what: mode === 'control' ? 'QMP' : 'the monitor',
      port: null,
      escapes: 'never',
      monitor: { mode, pretty },
    });
  }
  const connect = (option: string, id: string, port: string) => {
    const chardev = draft.chardevs.find((candidate) => candidate.id === id);
    if (chardev === undefined) {
      const known = draft.chardevs.map((candidate) => candidate.id!);
      throw badOption(option, `there is no -chardev with id=${id}${didYouMean(id, known)}`);
    }
    const what = `${option} (chardev ${id})`;
    if (chardev.backend === 'socket') throw badOption(option, `chardev ${id} is a socket, which only -mon can use`);
    if (chardev.backend === 'stdio') users.push({ what, port, escapes: chardev.mux ? 'always' : 'never' });
  };

  for (const device of draft.devices) {
    if (device.driver === 'virtconsole' && !hasType(draft, 'virtio-serial')) {
      throw badOption('-device virtconsole', 'it needs -device virtio-serial-device as well');
    }
    for (const id of linksOf(device, 'chardev')) connect(`-device ${device.driver}`, id, id);
  }
  const serial = draft.serial ?? (draft.nographic ? 'mon:stdio' : undefined);
  if (serial === 'stdio') users.push({ what: '-serial stdio', port: 'serial0', escapes: 'never' });
  else if (serial === 'mon:stdio') users.push({ what: 'the serial port', port: 'serial0', escapes: 'always' });
  else if (serial?.startsWith('chardev:')) connect('-serial', serial.slice('chardev:'.length), 'serial0');
  else if (serial === undefined && users.length === 0) {
    users.push({ what: 'the serial port', port: 'serial0', escapes: 'on-a-terminal' });
  }
  if (users.length > 1) {
    throw badOption(
      '-chardev',
      `${users.map(({ what }) => what).join(' and ')} cannot share the terminal: one may be null`,
    );
  }
  if (users.length === 0) return { port: null, escapes: 'never' };
  const [{ what: _what, ...terminal }] = users;
  return terminal;
}

function checkTogether(draft: RunDraft): void {
  if (draft.guest !== undefined) {
    for (const name of ['kernel', 'initrd'] as const) {
      if (draft[name] !== undefined) throw badOption(`-${name}`, '--guest brings its own: leave out one of the two');
    }
  } else {
    if (draft.mirror !== undefined) throw badOption('--mirror', 'it is for --guest NAME');
    if (draft.kernel === undefined && (draft.bios === undefined || draft.bios === 'default' || draft.bios === 'none')) {
      throw badOption(
        '-kernel',
        'nothing to boot: give -kernel FILE, -bios FILE or --guest NAME ("ringside guest list")',
      );
    }
    if (draft.kernel === undefined) {
      if (draft.append !== undefined) throw badOption('-append', 'it is for a kernel: give -kernel FILE as well');
      if (draft.initrd !== undefined) throw badOption('-initrd', 'it is for a kernel: give -kernel FILE as well');
    }
  }
  if (draft.accel === 'interp' && draft.jitCache !== undefined) {
    throw badOption('-accel', 'a cache is for jit: leave out cache= and --jit-cache');
  }
  if (draft.memory !== undefined) checkMemory(draft.memory);
  if (draft.logFile !== undefined && draft.log === undefined && draft.trace === undefined) {
    throw badOption('-D', 'it is for -d ITEM and -trace');
  }
  if (draft.log !== undefined && draft.accel === 'interp') {
    throw badOption('-d', 'nothing is translated with -accel interp: leave out one of the two');
  }
}

function checkMemory(memory: number): void {
  if (memory < 16 * MIB) throw badOption('-m', `${memory / MIB} MiB is too little: at least 16M`);
  if (memory > RAM_SIZE_MAX) throw badOption('-m', `${memory / MIB} MiB is too much: at most ${RAM_SIZE_MAX / MIB}M`);
  if (memory % MIB !== 0) throw badOption('-m', `${memory} bytes is not a whole number of MiB`);
}

/**
 * Reads the arguments of `ringside run`. Null when they ask for help.
 * @throws RingsideError bad-option, one line
 */
export function parseRunArguments(args: readonly string[]): RunRequest | null {
  const draft = readArguments(args);
  if (draft === null) return null;
  checkTogether(draft);
  const drives = attachDrives(draft.drives, draft.devices);
  const monitors = monitorsOf(draft);
  const { devices, objects, netdevs, fsdevs, globals } = draft;
  const machine: Partial<MachineConfigInput> = { drives, devices, objects, netdevs, fsdevs, globals };
  const connected = new Set(devices.flatMap((device) => linksOf(device, 'chardev')));
  machine.chardevs = [...connected].map((id) => ({ type: 'program', id }));
  for (const key of ['memory', 'harts', 'kernel', 'initrd', 'append', 'bios', 'accel', 'aia', 'forceLegacy'] as const) {
    if (draft[key] !== undefined) Object.assign(machine, { [key]: draft[key] });
  }
  machine.console = !draft.nodefaults && !hasType(draft, 'virtio-serial');
  machine.rng = !draft.nodefaults && !hasType(draft, 'virtio-rng');
  if (draft.jitCache !== undefined) machine.jitCache = draft.jitCache === 'off' ? null : draft.jitCache;
  if (draft.noReboot) machine.noReboot = true;
  const own = drives.filter((drive) => drive.if !== 'none').length + Number(machine.console) + Number(machine.rng);
  const slots = own + devices.filter((device) => busOf(device) === 'virtio-bus').length;
  if (slots > SLOTS) {
    const spare = draft.nodefaults ? '' : '; -nodefaults leaves out the console and rng that you have not asked for';
    throw badOption('-drive', `${slots} virtio devices, but the board has ${SLOTS} slots${spare}`);
  }

  return {
    machine,
    guest: draft.guest,
    mirror: draft.mirror,
    name: draft.name,
    startPaused: draft.startPaused,
    terminal: terminalOf(draft, monitors),
    monitors: monitors.filter(({ place }) => place.kind === 'socket'),
    ...(draft.log === undefined ? {} : { log: { items: draft.log, file: draft.logFile ?? null } }),
    trace: { events: draft.trace?.events ?? [], file: draft.trace?.file ?? draft.logFile ?? null },
    unnamedFormats: draft.drives.filter(({ format }) => format === undefined).map(({ file }) => file!),
  };
}

/** The help of a type that an argument asks for (`-device help`, `-device TYPE,help`); null when none does. */
export function typeHelpText(args: readonly string[]): string | null {
  for (let i = 0; i + 1 < args.length; i++) {
    const option = byName.get(args[i].replace(/^--?/, ''));
    if (option?.argument === undefined) continue;
    i++;
    const text = option.describe?.(args[i]);
    if (text) return text;
  }
  return null;
}

/** The configuration, with a catalogue guest's files and QEMU's defaults filled in. */
export function completeConfig(request: RunRequest, guest?: CatalogueGuest): MachineConfig {
  const { machine } = request;
  const memory = machine.memory ?? (guest === undefined ? DEFAULT_MEMORY : CATALOGUE_MEMORY);
  const brought: Partial<MachineConfigInput> = {};
  if (guest !== undefined) {
    brought.kernel = guest.kernel;
    if (guest.initrd !== undefined) brought.initrd = guest.initrd;
    brought.append = [guest.append, machine.append].filter(Boolean).join(' ');
  }
  const parsed = machineConfig.safeParse({ ...machine, ...brought, memory });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badOption(`-${String(issue.path[0])}`, issue.message);
}

/** `ringside run -help`. */
export function runHelp(): string {
  const lines = [
    'Usage: ringside run [OPTION...]',
    "Boots a machine with its console on the terminal. Options are QEMU's.",
    '',
  ];
  const column = 26;
  const width = 100;
  const add = (indent: number, head: string, help: string) => {
    const left = `${' '.repeat(indent)}${head}`;
    let line = left.length < column - 1 ? left.padEnd(column) : `${left}\n${' '.repeat(column)}`;
    let used = column;
    for (const word of help.split(' ')) {
      if (used + word.length > width) {
        line += `\n${' '.repeat(column)}`;
        used = column;
      }
      line += `${word} `;
      used += word.length + 1;
    }
    lines.push(...line.split('\n').map((part) => part.trimEnd()));
  };
  let section = '';
  for (const option of RUN_OPTIONS) {
    if (option.section !== section) {
      if (section !== '') lines.push('');
      section = option.section;
      lines.push(`${section}:`);
    }
    add(2, `${option.names.join(', ')}${option.argument ? ` ${option.argument}` : ''}`, option.help);
    for (const [heading, keys] of Object.entries(option.keys ?? {})) {
      if (heading !== '') lines.push(`    ${heading}`);
      const indent = heading === '' ? 4 : 6;
      for (const [key, { shape, help }] of Object.entries(keys))
        add(indent, shape === '' ? key : `${key}=${shape}`, help);
    }
  }
  return `${lines.join('\n')}\n`;
}
