/** `ringside export`: one of our devices for the virtual machines of others, over vhost-user. */
import { constants } from 'node:os';

import { didYouMean } from '../../core/did-you-mean.ts';
import { errorLine } from '../../core/errors.ts';
import type { ExportBackend, ExportOptions } from '../../core/vhost-user/export/export.ts';
import { machineTypes } from '../../core/machine/types.ts';
import { nativeHostSpec } from '../../native/index.ts';
import { say } from './messages.ts';
import { parseDrive } from './options/devices.ts';
import { parseBackend, parseDevice } from './options/qdev.ts';
import { type KeyTable, type Values, badOption, choice, count, isHelp, text } from './options/syntax.ts';

const COMMON = {
  socket: text('PATH', 'the unix socket that the virtual machine connects to'),
  'second-client': choice(['wait', 'refuse'], 'what a client gets while another is served; default wait'),
  'poll-max-ns': count('NS', 0, 999_999_999, 'look for requests so long before sleeping; default 0'),
  drive: text('file=FILE,id=ID[,...]', 'an image that the device uses, as with "ringside run"'),
  object: text('TYPE,id=ID[,...]', 'an object that it uses; both may be given more than once'),
} satisfies KeyTable;

const BLK = {
  file: text('FILE', 'the image'),
  format: choice(['raw'], 'its format; default raw'),
  readonly: { shape: '', help: 'the client cannot write', bare: true, parse: () => true },
  'num-queues': count('N', 1, 16, 'request queues; default 1'),
  'queue-size': count('N', 4, 1024, 'entries of each at most; default 1024'),
  serial: text('TEXT', 'serial number, at most 20 bytes'),
  discard: choice(['unmap', 'ignore'], 'whether discards free space in the file; default unmap'),
} satisfies KeyTable;

const RNG = { file: text('FILE', 'where entropy is read from; default: our own generator') } satisfies KeyTable;

type Common = Values<typeof COMMON>;
type Wanted = Pick<ExportOptions, 'devices' | 'backends'>;

interface Shorthand {
  readonly help: string;
  readonly keys: KeyTable;
  make(values: Record<string, unknown>): Wanted;
}

const SHORTHANDS: Readonly<Record<string, Shorthand>> = {
  blk: { help: 'a disk image', keys: BLK, make: (values) => blk(values as Values<typeof BLK>) },
  rng: { help: 'entropy', keys: RNG, make: (values) => rng(values as Values<typeof RNG>) },
};

function blk({ file, format, readonly, serial, discard, ...queues }: Values<typeof BLK>): Wanted {
  if (file === undefined) throw badOption('--file', 'which image? Give --file FILE');
  const drive = given({ file, format, readonly, serial, discard });
  return {
    backends: [{ kind: 'drive', type: 'drive', id: 'drive0', properties: drive }],
    devices: [{ driver: 'virtio-blk-device', id: 'disk', properties: { drive: 'drive0', ...given(queues) } }],
  };
}

function rng({ file }: Values<typeof RNG>): Wanted {
  const source: ExportBackend = { kind: 'object', type: 'rng-random', id: 'source', properties: { filename: file } };
  return {
    backends: file === undefined ? [] : [source],
    devices: [{ driver: 'virtio-rng-device', id: 'rng', properties: file === undefined ? {} : { rng: 'source' } }],
  };
}

function given(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function help(): string {
  const lines = (keys: KeyTable): string[] =>
    Object.entries(keys).map(([name, { shape, help }]) => `  ${`--${name} ${shape}`.padEnd(28)}${help}`);
  const shorthands = Object.entries(SHORTHANDS).flatMap(([name, { help, keys }]) => [
    `${name}: ${help}`,
    ...lines(keys),
    '',
  ]);
  return [
    'Usage: ringside export blk|rng|TYPE[,PROPERTY=VALUE...] --socket PATH [OPTION...]',
    'Serves a device to a virtual machine of another program (a vhost-user back end) until a signal ends it.',
    'TYPE is a virtio device as "ringside run -device help" lists them, ending in "-device".',
    '',
    ...shorthands,
    'all:',
    ...lines(COMMON),
    '',
    'With QEMU: -object memory-backend-memfd,id=mem,size=SIZE,share=on -numa node,memdev=mem',
    '           -chardev socket,id=c,path=PATH -device vhost-user-blk-pci,chardev=c',
    '',
  ].join('\n');
}

/** @returns null when help was asked for. @throws RingsideError 'bad-option' */
export function parseExportArguments(
  args: readonly string[],
): (Wanted & { socket: string; second: 'wait' | 'refuse'; pollMaxNs: number }) | null {
  const [what, ...rest] = args;
  if (what === undefined || [what, ...rest].some(isHelp)) return null;
  const shorthand = Object.hasOwn(SHORTHANDS, what) ? SHORTHANDS[what] : null;
  if (!shorthand && what.startsWith('-'))
    throw badOption(what, 'what is to be exported comes first: blk, rng, or a type');
  const keys: KeyTable = { ...COMMON, ...shorthand?.keys };
  const lists = { object: [], drive: [] };
  const values = readValues(keys, rest, lists);
  const { socket, 'second-client': second = 'wait', 'poll-max-ns': pollMaxNs = 0, ...own } = values as Common;
  if (socket === undefined) throw badOption('--socket', 'where is it to be served? Give --socket PATH');
  const made = shorthand ? shorthand.make(own) : deviceOf(what);
  const backends = [...lists.object.map(objectOf), ...lists.drive.map(driveOf), ...made.backends];
  return { socket, second, pollMaxNs, devices: made.devices, backends };
}

function readValues(keys: KeyTable, args: readonly string[], lists: Record<string, string[]>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  const rest = [...args];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    const [, name, attached] = /^--?([A-Za-z][\w-]*)(?:=(.*))?$/s.exec(argument) ?? [];
    if (name === undefined || !Object.hasOwn(keys, name)) {
      const hint = name === undefined ? '' : didYouMean(name, Object.keys(keys), '--');
      throw badOption(argument, `unknown option${hint}; "ringside export --help" lists them`);
    }
    const key = keys[name];
    const value = attached ?? (key.bare ? '' : rest.shift());
    if (value === undefined) throw badOption(`--${name}`, `it needs a value: --${name} ${key.shape}`);
    try {
      const parsed = key.parse(value);
      if (Object.hasOwn(lists, name)) lists[name].push(parsed as string);
      else values[name] = parsed;
    } catch (error) {
      throw badOption(`--${name}`, errorLine(error));
    }
  }
  return values;
}

function objectOf(value: string): ExportBackend {
  const { type, id, ...properties } = parseBackend('-object', value);
  return { kind: 'object', type, id, properties };
}

function driveOf(value: string): ExportBackend {
  const { id, if: _if, ...properties } = parseDrive(value);
  if (id === undefined) throw badOption('--drive', 'it needs a name: id=ID');
  return { kind: 'drive', type: 'drive', id, properties: given(properties) };
}

function deviceOf(value: string): Wanted {
  const { driver, id = 'device', bus: _bus, ...properties } = parseDevice(value);
  if (machineTypes().find(driver)?.bus !== 'virtio-bus') {
    throw badOption(driver, `it is no virtio device by itself: its name ends in "-device"`);
  }
  return { backends: [], devices: [{ driver, id, properties }] };
}

/** @returns the exit status: 128 + N after signal N */
export async function exportCommand(args: readonly string[]): Promise<number> {
  const wanted = parseExportArguments(args);
  if (wanted === null) {
    process.stdout.write(help());
    return 0;
  }
  const { VhostUserExport } = await import('../../core/vhost-user/export/export.ts');
  const { socket, second, pollMaxNs, devices, backends } = wanted;
  const tuning = { pollMaxNs };
  const served = await VhostUserExport.create({
    ...{ host: nativeHostSpec(), socket, second, devices, backends, tuning },
    log: say,
  });
  say(`serving on "${socket}"; Ctrl-C ends it`);
  const signal = new Promise<number>((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(name, () => {
        resolve(128 + constants.signals[name]);
        // The second one does not wait.
        process.once(name, () => process.exit(128 + constants.signals[name]));
      });
    }
  });
  try {
    return await Promise.race([signal, served.failed]);
  } finally {
    await served.close();
  }
}
