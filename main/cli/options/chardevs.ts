/**
 * `-chardev`, and the places of `-serial`, `-monitor` and `-qmp` in QEMU's older spellings (chardev/char.c,
 * qemu_chr_parse_compat). Kinds and keys are those of the object model; the terminal is this program's own.
 */
import type { BackendConfig } from '../../../core/api/machine.ts';
import { parseBackend, splitTyped } from './qdev.ts';
import { type KeyTable, type Values, badOption, choice, onOff, parseList, text } from './syntax.ts';

/** The terminal as a character device. */
const STDIO_KEYS = {
  backend: choice(['stdio'], 'the terminal'),
  id: text('ID', 'name, unique in the machine'),
  mux: onOff('Ctrl-A is the escape key'),
  signal: onOff('for compatibility'),
} satisfies KeyTable;

export type StdioOption = { readonly id: string } & Omit<Values<typeof STDIO_KEYS>, 'id'>;

export type ChardevOption =
  | { readonly kind: 'stdio'; readonly stdio: StdioOption }
  | { readonly kind: 'backend'; readonly config: BackendConfig };

export function chardevId(chardev: ChardevOption): string {
  return chardev.kind === 'stdio' ? chardev.stdio.id : chardev.config.id;
}

/** Keys that QEMU's older command lines have, and what they stand for. */
const OLD_KEYS: Readonly<Record<string, string>> = { nowait: 'wait=off', noserver: 'server=off' };

/** @throws RingsideError bad-option */
export function parseChardev(value: string): ChardevOption {
  const { type } = splitTyped('-chardev', value, 'backend');
  if (type === '') throw badOption('-chardev', 'its type comes first; "-chardev help" lists them');
  if (type === 'stdio' && !value.startsWith('{')) {
    const { id, ...stdio } = parseList('-chardev', value, STDIO_KEYS, 'backend');
    if (id === undefined) throw badOption('-chardev', 'it needs a name: id=ID');
    return { kind: 'stdio', stdio: { id, ...stdio } };
  }
  return { kind: 'backend', config: backendOf(value) };
}

/** Of kinds other than stdio. */
function backendOf(value: string): BackendConfig {
  const entries = value.startsWith('{') ? [value] : value.split(/(?<!,),(?!,)/);
  const given = entries.map((entry) => (Object.hasOwn(OLD_KEYS, entry) ? OLD_KEYS[entry] : entry));
  const mux = given.findIndex((entry) => /^mux(=|$)/.test(entry));
  if (mux >= 0 && !/^mux=(off|no|false|n)$/.test(given[mux])) {
    throw badOption('-chardev', 'mux=on is for stdio: give each console and monitor a -chardev of its own');
  }
  const config = parseBackend('-chardev', given.filter((_, at) => at !== mux).join(','));
  const isOn = (key: string): boolean => /^(on|yes|true|y)$/.test(String(config[key]));
  // As in QEMU, a server on the command line waits unless it is told otherwise.
  if (config.type === 'socket' && isOn('server') && config['wait'] === undefined) return { ...config, wait: 'on' };
  return config;
}

/** Where a console or a monitor is: the terminal, a -chardev, nothing, or a back end of its own. */
export type Place =
  | { readonly kind: 'none' }
  | { readonly kind: 'stdio'; readonly escapes: boolean }
  | { readonly kind: 'chardev'; readonly id: string }
  | { readonly kind: 'backend'; readonly config: BackendConfig };

const comma = (part: string): string => part.replaceAll(',', ',,');

/** The back end that one of QEMU's older spellings stands for, in those of -chardev; null for what there is not. */
function modern(value: string): string | null {
  const match = /^([a-z0-9]+):(.*)$/s.exec(value);
  if (value === 'null' || value === 'pty') return value;
  if (match === null) return null;
  const [, kind, rest] = match;
  switch (kind) {
    case 'file':
    case 'pipe':
      return `${kind},path=${comma(rest)}`;
    case 'unix': {
      const [path, ...keys] = rest.split(/(?<!,),(?!,)/);
      return ['socket', `path=${path}`, ...keys].join(',');
    }
    case 'tcp':
    case 'telnet': {
      const found = /^(?:\[([^\]]*)\]|([^:,]*)):([^,]+)(.*)$/s.exec(rest);
      if (found === null) return null;
      const host = found[1] ?? found[2];
      const telnet = kind === 'telnet' ? ',telnet=on' : '';
      return `socket,${host === '' ? '' : `host=${host},`}port=${found[3]}${telnet}${found[4]}`;
    }
    case 'udp': {
      const found = /^([^:@,]*):([^@,]+)(?:@([^:,]*):([^,]+))?$/.exec(rest);
      if (found === null) return null;
      const keys = { host: found[1], port: found[2], localaddr: found[3], localport: found[4] };
      return ['udp', ...Object.entries(keys).flatMap(([key, text]) => (text ? [`${key}=${text}`] : []))].join(',');
    }
    default:
      return null;
  }
}

const PLACES =
  'none, null, stdio, pty, file:PATH, pipe:PATH, unix:PATH, tcp:[HOST]:PORT, telnet:[HOST]:PORT, udp:[HOST]:PORT';

/**
 * @param id of the character device that it makes
 * @throws RingsideError bad-option
 */
export function parsePlace(option: string, value: string, id: string): Place {
  // There is no window to put a virtual console into.
  if (value === 'none' || /^vc(:|$)/.test(value)) return { kind: 'none' };
  if (value === 'stdio') return { kind: 'stdio', escapes: false };
  if (value === 'mon:stdio') return { kind: 'stdio', escapes: true };
  const chardev = /^chardev:(.+)$/.exec(value);
  if (chardev !== null) return { kind: 'chardev', id: chardev[1] };
  const spelled = modern(value);
  if (spelled === null) throw badOption(option, `"${value}" is not allowed: ${PLACES}, chardev:ID`);
  try {
    return { kind: 'backend', config: backendOf(`${spelled},id=${id}`) };
  } catch (error) {
    throw badOption(option, (error as Error).message.replace(/^-chardev( \w+)?: /, ''));
  }
}
