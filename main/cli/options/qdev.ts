/**
 * `-device`, `-object`, `-chardev`, `-netdev`, `-fsdev` and `-global`: their types and properties are those of the object model
 * (core/machine/types.ts), and so are their help texts.
 */
import type { BackendConfig, DeviceConfig, GlobalConfig } from '../../../core/api/machine.ts';
import { errorLine } from '../../../core/errors.ts';
import { backendType, checkGlobal } from '../../../core/machine/object-model.ts';
import type { BackendKind } from '../../../core/machine/object-model.ts';
import { machineTypes } from '../../../core/machine/types.ts';
import { deviceListHelp, typeHelp, typeListHelp } from '../../../core/qom/help.ts';
import type { QomType } from '../../../core/qom/object.ts';
import { readProperty } from '../../../core/qom/property-value.ts';
import { badOption, parseList, splitList, text } from './syntax.ts';

/** As the user wrote it: values are text. */
export type DeviceOption = DeviceConfig;

/** Options that name a type of back end, and the kind. */
export const BACKEND_OPTIONS = {
  '-object': 'object',
  '-chardev': 'chardev',
  '-netdev': 'netdev',
  '-fsdev': 'fsdev',
} as const;
export type BackendOption = keyof typeof BACKEND_OPTIONS;

const isHelp = (value: string): boolean => value === 'help' || value === '?';

/** An entry of an option: text, or of a JSON option what JSON has. */
interface Entry {
  readonly key: string;
  readonly value?: unknown;
}
type Entries = Record<string, BackendConfig[string]>;

/** The entry that names a type, and the others: the first one of a list, or of a JSON object that of its name. */
export function splitTyped(option: string, value: string, typeKey: string): { type: string; rest: readonly Entry[] } {
  if (value.startsWith('{')) {
    const { [typeKey]: type, ...rest } = readJson(option, value);
    return {
      type: typeof type === 'string' ? type : '',
      rest: Object.entries(rest).map(([key, value]) => ({ key, value })),
    };
  }
  const [first, ...rest] = splitList(value);
  if (first.value === undefined) return { type: first.key, rest };
  return { type: first.key === typeKey ? first.value : '', rest };
}

function readJson(option: string, text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw badOption(option, `it begins with {, but is not JSON: ${errorLine(error)}`);
  }
}

/** The text that is asked for by `help`, `TYPE,help`; null when no help is asked for. */
function help(
  option: string,
  value: string,
  typeKey: string,
  list: () => string,
  find: (name: string) => QomType,
): string | null {
  const { type, rest } = splitTyped(option, value, typeKey);
  if (isHelp(type)) return list();
  const asks = rest.some((entry) => entry.value === undefined && isHelp(entry.key));
  return asks ? typeHelp(find(type), type) : null;
}

function deviceType(name: string): QomType {
  return named('-device', () => machineTypes().creatable(name, 'device', 'device'));
}

function typeOf(option: BackendOption, name: string): QomType {
  return named(option, () => backendType(machineTypes(), BACKEND_OPTIONS[option], name));
}

/** Puts the option before what is wrong. */
function named<T>(option: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw badOption(option, errorLine(error));
  }
}

export function deviceHelp(value: string): string | null {
  return help('-device', value, 'driver', () => deviceListHelp(machineTypes()), deviceType);
}

const LIST_TITLES: Record<BackendOption, string> = {
  '-object': 'List of user creatable objects',
  '-chardev': 'Available chardev backend types',
  '-netdev': 'Available netdev backend types',
  '-fsdev': 'Available fsdev types',
};

export function backendHelp(option: BackendOption, value: string): string | null {
  const kind = BACKEND_OPTIONS[option];
  const [base, prefix] = kind === 'object' ? ['user-creatable', ''] : [kind, `${kind}-`];
  const list = (): string => {
    const names = machineTypes()
      .creatables(base)
      .map(({ name }) => name.slice(prefix.length));
    // The terminal is this program's, and what "program" means.
    const shown = kind === 'chardev' ? names.map((name) => (name === 'program' ? 'stdio' : name)) : names;
    return typeListHelp(LIST_TITLES[option], shown);
  };
  return help(option, value, typeKeyOf(kind), list, (name) => typeOf(option, name));
}

function typeKeyOf(kind: BackendKind): string {
  return { object: 'qom-type', chardev: 'backend', fsdev: 'fsdriver' }[kind as string] ?? 'type';
}

/** The entries behind the type: properties of it, and the given keys. */
function readEntries(option: string, type: QomType, rest: readonly Entry[], own: readonly string[]): Entries {
  const found: Entries = {};
  for (const { key, value: given } of rest) {
    if (key === '' && given === undefined) throw badOption(option, 'an empty entry between commas');
    const spec = own.includes(key) ? null : named(option, () => type.property(key));
    const name = spec?.name ?? key;
    if (Object.hasOwn(found, name)) throw badOption(option, `${key} is given twice`);
    const isSwitch = spec?.kind === 'bool' || spec?.kind === 'bit' || spec?.kind === 'on-off-auto';
    if (given === undefined && !isSwitch) throw badOption(option, `${key} needs a value: ${key}=...`);
    const value = (given ?? 'on') as Entries[string];
    if (spec === null && typeof value !== 'string') throw badOption(option, `${key} needs text`);
    if (spec === null && value === '') throw badOption(option, `${key} needs a value: ${key}=...`);
    if (spec !== null) named(option, () => readProperty(spec, value));
    found[name] = value;
  }
  for (const spec of type.properties.values()) {
    if (spec.kind !== 'link' || !spec.required || Object.hasOwn(found, spec.name)) continue;
    throw badOption(option, `which ${spec.target}? Give ${spec.name}=ID`);
  }
  return found;
}

/** @throws RingsideError bad-option */
export function parseDevice(value: string): DeviceOption {
  const { type: driver, rest } = splitTyped('-device', value, 'driver');
  const type = deviceType(driver);
  return { driver: type.name, ...readEntries(`-device ${driver}`, type, rest, ['id', 'bus']) };
}

/** @throws RingsideError bad-option */
export function parseBackend(option: BackendOption, value: string): BackendConfig {
  const { type: name, rest } = splitTyped(option, value, typeKeyOf(BACKEND_OPTIONS[option]));
  const type = typeOf(option, name);
  const { id, ...entries } = readEntries(`${option} ${name}`, type, rest, ['id']);
  if (typeof id !== 'string') throw badOption(`${option} ${name}`, 'it needs a name: id=ID');
  return { type: name, id, ...entries };
}

const GLOBAL_KEYS = {
  driver: text('TYPE', 'the type'),
  property: text('NAME', 'the property'),
  value: text('VALUE', 'its value'),
};

/** @throws RingsideError bad-option */
export function parseGlobal(value: string): GlobalConfig {
  const short = /^([^.,=]+)\.([^.,=]+)=(.*)$/.exec(value);
  const parsed = short
    ? { driver: short[1], property: short[2], value: short[3] }
    : parseList('-global', value, GLOBAL_KEYS);
  const { driver, property, value: given } = parsed;
  if (driver === undefined || property === undefined || given === undefined) {
    throw badOption('-global', 'allowed: TYPE.PROPERTY=VALUE, e.g. virtio-mmio.force-legacy=on');
  }
  const global = { driver, property, value: given };
  named('-global', () => checkGlobal(machineTypes(), global));
  return global;
}

/** Links of a device's type to a kind of back end, with the ids that it gives. */
export function linksOf(device: DeviceOption, kind: string): string[] {
  const links = [...deviceType(device.driver).properties.values()].filter((spec) => spec.kind === 'link');
  return links
    .filter(({ target }) => target === kind)
    .flatMap(({ name }) => (device[name] as string | undefined) ?? []);
}

/** The type of bus that a device needs. */
export function busOf({ driver }: DeviceOption): string | null {
  return deviceType(driver).bus;
}
