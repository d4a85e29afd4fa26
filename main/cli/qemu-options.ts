/**
 * `ringside run` in QEMU's spellings: from arguments to a machine configuration. The options themselves are in
 * options/run-table.ts.
 */
import { didYouMean } from '../../core/did-you-mean.ts';
import {
  type BackendConfig,
  type MachineConfig,
  type MachineConfigInput,
  machineConfig,
} from '../../core/api/machine.ts';
import { RAM_SIZE_MAX } from '../../core/memory/create.ts';
import type { JitLogItem } from '../../core/worker/jit-log.ts';
import { SLOTS, attachDrives } from './options/devices.ts';
import { busOf, linksOf } from './options/qdev.ts';
import { RUN_OPTIONS, type RunDraft, type RunOption } from './options/run-table.ts';
import { type ChardevOption, type Place, type StdioOption, chardevId } from './options/chardevs.ts';
import type { MonitorKind, MonitorOption, MonitorRequest } from './options/monitors.ts';
import { badOption, isHelp } from './options/syntax.ts';
import type { TraceRequest } from './options/trace.ts';

const MIB = 2 ** 20;
/** As QEMU's virt board has it. */
const DEFAULT_MEMORY = 128 * MIB;
/** Enough for every guest of the catalogue; pages that a guest does not touch cost nothing. */
const CATALOGUE_MEMORY = 1024 * MIB;

/** The serial port's character device, where it has no -chardev. */
const SERIAL = 'serial0';

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
  terminal: { port: string | null; escapes: EscapeRule; monitor?: MonitorKind };
  /** Monitors on character devices. */
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

/** @throws RingsideError when there is no -chardev of this id */
function findChardev(draft: RunDraft, option: string, id: string): ChardevOption {
  const chardev = draft.chardevs.find((candidate) => chardevId(candidate) === id);
  if (chardev !== undefined) return chardev;
  throw badOption(option, `there is no -chardev with id=${id}${didYouMean(id, draft.chardevs.map(chardevId))}`);
}

/** The terminal that a place is, by name or as a -chardev; null when it is none. */
function terminalAt(draft: RunDraft, option: string, place: Place): StdioOption | null {
  if (place.kind === 'stdio') return { id: '', mux: place.escapes };
  if (place.kind !== 'chardev') return null;
  const chardev = findChardev(draft, option, place.id);
  return chardev.kind === 'stdio' ? chardev.stdio : null;
}

interface TerminalUser extends NonNullable<RunRequest['terminal']> {
  what: string;
}

const monitorOption = ({ mode, place }: MonitorOption): string =>
  place.kind === 'chardev' ? '-mon' : mode === 'control' ? '-qmp' : '-monitor';

/** The monitors that are not on the terminal. */
function monitorsOf(draft: RunDraft): MonitorRequest[] {
  return draft.monitors.flatMap((monitor): MonitorRequest[] => {
    const { mode, pretty, place } = monitor;
    if (terminalAt(draft, monitorOption(monitor), place) !== null || place.kind === 'none') return [];
    return [{ mode, pretty, chardev: place.kind === 'backend' ? place.config.id : (place as { id: string }).id }];
  });
}

/** Monitors that have the terminal to themselves: with mux=on it is shared with a console, as Ctrl-A c. */
function monitorsOnTerminal(draft: RunDraft): TerminalUser[] {
  return draft.monitors.flatMap((monitor): TerminalUser[] => {
    const { mode, pretty, place } = monitor;
    const terminal = terminalAt(draft, monitorOption(monitor), place);
    if (terminal === null || terminal.mux === true) return [];
    const what = mode === 'control' ? 'QMP' : 'the monitor';
    return [{ what, port: null, escapes: 'never', monitor: { mode, pretty } }];
  });
}

/** What the terminal is connected to: a console device, or a monitor. */
function terminalOf(draft: RunDraft): RunRequest['terminal'] {
  const users = monitorsOnTerminal(draft);
  const connect = (option: string, place: Place, port: string, what: string): void => {
    const terminal = terminalAt(draft, option, place);
    if (terminal !== null) users.push({ what, port, escapes: terminal.mux === true ? 'always' : 'never' });
  };
  for (const device of draft.devices) {
    if (device.driver === 'virtconsole' && !hasType(draft, 'virtio-serial')) {
      throw badOption('-device virtconsole', 'it needs -device virtio-serial-device as well');
    }
    const option = `-device ${device.driver}`;
    for (const id of linksOf(device, 'chardev')) {
      connect(option, { kind: 'chardev', id }, id, `${option} (chardev ${id})`);
    }
  }
  const serial = serialOf(draft);
  if (serial === undefined) {
    if (users.length === 0) users.push({ what: 'the serial port', port: SERIAL, escapes: 'on-a-terminal' });
  } else {
    const how = serial.kind === 'chardev' ? `-serial (chardev ${serial.id})` : '-serial stdio';
    connect('-serial', serial, SERIAL, serial.kind === 'stdio' && serial.escapes ? 'the serial port' : how);
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

/** Where the serial port is; undefined: nobody has said. */
function serialOf(draft: RunDraft): Place | undefined {
  return draft.serial ?? (draft.nographic ? { kind: 'stdio', escapes: true } : undefined);
}

/** The machine's character devices, and which of them the serial port has. */
function chardevsOf(draft: RunDraft): Pick<MachineConfigInput, 'chardevs' | 'serial'> {
  const connected = new Set(draft.devices.flatMap((device) => linksOf(device, 'chardev')));
  const chardevs = draft.chardevs.flatMap((chardev): BackendConfig[] => {
    if (chardev.kind === 'backend') return [chardev.config];
    const { id } = chardev.stdio;
    return connected.has(id) ? [{ type: 'program', id }] : [];
  });
  for (const { place } of draft.monitors) if (place.kind === 'backend') chardevs.push(place.config);
  const serial = serialOf(draft);
  if (serial?.kind === 'chardev') {
    const isTerminal = terminalAt(draft, '-serial', serial) !== null;
    return isTerminal ? { chardevs } : { chardevs, serial: serial.id };
  }
  if (serial?.kind === 'backend') chardevs.push(serial.config);
  return serial?.kind === 'backend' ? { chardevs, serial: SERIAL } : { chardevs };
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
  const terminal = terminalOf(draft);
  const { devices, objects, netdevs, fsdevs, globals } = draft;
  const machine: Partial<MachineConfigInput> = { drives, devices, objects, netdevs, fsdevs, globals };
  Object.assign(machine, chardevsOf(draft));
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
    terminal,
    monitors,
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
