/** Property values from text (options) and from JSON (VM files, QMP), checked; and as QEMU shows them. */
import { didYouMean } from '../did-you-mean.ts';
import { RingsideError } from '../errors.ts';
import type {
  ArrayProperty,
  BigProperty,
  EnumProperty,
  LinkProperty,
  NumberProperty,
  PropertySpec,
  PropertyValue,
  StringProperty,
  StructListProperty,
} from './property.ts';

const ON_OFF: Readonly<Record<string, boolean>> = {
  on: true,
  yes: true,
  true: true,
  y: true,
  off: false,
  no: false,
  false: false,
  n: false,
};

interface Range {
  readonly min: bigint;
  readonly max: bigint;
}

const unsigned = (bits: number): Range => ({ min: 0n, max: 2n ** BigInt(bits) - 1n });
const signed = (bits: number): Range => ({ min: -(2n ** BigInt(bits - 1)), max: 2n ** BigInt(bits - 1) - 1n });

const RANGES = {
  u8: unsigned(8),
  u16: unsigned(16),
  u32: unsigned(32),
  u64: unsigned(64),
  size: unsigned(64),
  i32: signed(32),
  i64: signed(64),
} as const;

const UNITS = 'BKMGTPE';
/** What links to back ends are called when they are missing. */
export const BACKEND_KINDS = ['drive', 'chardev', 'netdev', 'fsdev'] as const;

/**
 * The value that a property gets from `input`: what is not text must have the JSON type of the property; text is read as
 * on a command line, whatever the kind.
 *
 * @throws RingsideError 'bad-option': "NAME: what is wrong, and what is allowed"
 */
export function readProperty(spec: PropertySpec, input: unknown): PropertyValue {
  try {
    return typeof input === 'string' ? fromText(spec, input) : fromJson(spec, input);
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    throw new RingsideError('bad-option', `${spec.name}: ${error.message}`);
  }
}

/** What is wrong with a value, without the name of the property. */
class BadValue extends Error {}

function fromText(spec: PropertySpec, text: string): PropertyValue {
  switch (spec.kind) {
    case 'bool':
    case 'bit':
      return onOff(text);
    case 'on-off-auto':
      return text === 'auto' ? text : onOff(text, ', auto') ? 'on' : 'off';
    case 'u8':
    case 'u16':
    case 'u32':
    case 'i32':
      return Number(inRange(spec, wholeNumber(text), text));
    case 'u64':
    case 'i64':
      return inRange(spec, wholeNumber(text), text);
    case 'size':
      return inRange(spec, bytes(text), text);
    case 'string':
      return plainText(spec, text);
    case 'enum':
      return oneOf(spec, text);
    case 'link':
      return idOf(spec, text);
    case 'struct-list':
      return structs(spec, json(text));
    case 'array':
      return list(spec, text === '' ? [] : text.split(':'), (element, value) => fromText(element, value as string));
  }
}

function fromJson(spec: PropertySpec, value: unknown): PropertyValue {
  switch (spec.kind) {
    case 'bool':
    case 'bit':
      if (typeof value === 'boolean') return value;
      throw new BadValue(`${show(value)} is not allowed: true, false`);
    case 'on-off-auto':
      if (typeof value === 'boolean') return value ? 'on' : 'off';
      throw new BadValue(`${show(value)} is not allowed: "on", "off", "auto"`);
    case 'u8':
    case 'u16':
    case 'u32':
    case 'i32':
      return Number(inRange(spec, jsonNumber(value), show(value)));
    case 'u64':
    case 'i64':
    case 'size':
      return inRange(spec, jsonNumber(value), show(value));
    case 'string':
    case 'enum':
    case 'link':
      if (value === null && spec.default === null) return null;
      throw new BadValue(`${show(value)} is not a string`);
    case 'struct-list':
      return structs(spec, value);
    case 'array':
      if (Array.isArray(value)) return list(spec, value, (element, item) => readElement(element, item));
      throw new BadValue(`${show(value)} is not an array`);
  }
}

function readElement(spec: PropertySpec, value: unknown): PropertyValue {
  return typeof value === 'string' ? fromText(spec, value) : fromJson(spec, value);
}

function onOff(text: string, more = ''): boolean {
  if (Object.hasOwn(ON_OFF, text)) return ON_OFF[text];
  throw new BadValue(`"${text}" is not allowed: on, off${more}`);
}

function wholeNumber(text: string): bigint {
  if (/^-?(\d{1,40}|0x[\da-f]{1,40})$/i.test(text)) {
    return text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text);
  }
  throw new BadValue(`"${text}" is not a whole number`);
}

function jsonNumber(value: unknown): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === 'number' && Number.isInteger(value)) {
    throw new BadValue(`${value} is not exact as a JSON number: write it as a string`);
  }
  throw new BadValue(`${show(value)} is not a whole number`);
}

/** As QEMU: a number, with a fraction if a unit follows, and B, K, M, G, T, P or E. */
function bytes(text: string): bigint {
  if (/^0x[\da-f]{1,40}$/i.test(text)) return BigInt(text);
  const match = /^(\d{1,40})(?:\.(\d{1,12}))?([bkmgtpe]?)$/i.exec(text);
  const shape = 'a number, maybe with K, M, G or T after it, such as 512M';
  if (match === null) throw new BadValue(`"${text}" is not a size: ${shape}`);
  const [, whole, fraction = '', unit] = match;
  const scale = 1024n ** BigInt(Math.max(0, UNITS.indexOf(unit.toUpperCase())));
  const denominator = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * scale;
  if (fraction !== '' && scale === 1n) throw new BadValue(`"${text}" is not a whole number of bytes`);
  return scaled / denominator;
}

function inRange(spec: NumberProperty | BigProperty, value: bigint, text: string): bigint {
  const { min, max } = bounds(spec);
  const given = text.startsWith('"') ? text : `"${text}"`;
  if (value < min || value > max) throw new BadValue(`${given} is not from ${min} to ${max}`);
  if ('powerOf2' in spec && spec.powerOf2 && (value <= 0n || (value & (value - 1n)) !== 0n)) {
    throw new BadValue(`${given} is not a power of 2`);
  }
  return value;
}

/** Both inclusive. */
export function bounds({ kind, min, max }: NumberProperty | BigProperty): Range {
  const range = RANGES[kind];
  return { min: min === undefined ? range.min : BigInt(min), max: max === undefined ? range.max : BigInt(max) };
}

function plainText({ maxBytes }: StringProperty, text: string): string {
  if (text.includes('\0')) throw new BadValue('NUL characters are not allowed');
  if (maxBytes !== undefined && new TextEncoder().encode(text).length > maxBytes) {
    throw new BadValue(`"${text}" is longer than ${maxBytes} bytes`);
  }
  return text;
}

function oneOf({ values }: EnumProperty, text: string): string {
  if (values.includes(text)) return text;
  throw new BadValue(`"${text}" is not allowed${didYouMean(text, values)}: ${values.join(', ')}`);
}

/** Objects may be given by their path too, as QEMU has it. */
function idOf({ target }: LinkProperty, text: string): string {
  const id = /^\/(?:objects|chardevs)\/([^/]+)$/.exec(text)?.[1] ?? text;
  if (id !== '') return id;
  throw new BadValue(`needs the id of ${isBackendKind(target) ? `a -${target}` : `an object (${target})`}`);
}

export function isBackendKind(target: string): boolean {
  return (BACKEND_KINDS as readonly string[]).includes(target);
}

function list(
  { name, element, maxLength }: ArrayProperty,
  items: readonly unknown[],
  read: (element: PropertySpec, item: unknown) => PropertyValue,
): readonly PropertyValue[] {
  if (maxLength !== undefined && items.length > maxLength) {
    throw new BadValue(`${items.length} values are too many: at most ${maxLength}`);
  }
  const spec = { name, kind: element, description: '', default: null } as unknown as PropertySpec;
  return items.map((item) => read(spec, item));
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new BadValue(`"${text}" is not JSON: a list such as [{...}, {...}]`);
  }
}

function structs({ fields }: StructListProperty, items: unknown): readonly PropertyValue[] {
  if (!Array.isArray(items)) throw new BadValue(`${show(items)} is not a list`);
  return items.map((item: unknown, i) => {
    const where = `item ${i}`;
    if (typeof item !== 'object' || item === null || Array.isArray(item)) {
      throw new BadValue(`${where}: ${show(item)} is not an object`);
    }
    const names = fields.map(({ name }) => name);
    const unknown = Object.keys(item).find((name) => !names.includes(name));
    if (unknown !== undefined) {
      throw new BadValue(`${where}: there is no "${unknown}"${didYouMean(unknown, names)}: ${names.join(', ')}`);
    }
    const value: Record<string, PropertyValue> = {};
    for (const field of fields) {
      const given = (item as Record<string, unknown>)[field.name];
      if (given === undefined) {
        if (field.required) throw new BadValue(`${where}: ${field.name} is missing`);
        continue;
      }
      try {
        // Numbers and lists as text would be for a command line; this is JSON.
        if (typeof given === 'string' && field.kind !== 'string') throw new BadValue(`${show(given)} is not allowed`);
        value[field.name] = readElement(field, given);
      } catch (error) {
        if (!(error instanceof BadValue)) throw error;
        throw new BadValue(`${where}: ${field.name}: ${error.message}`);
      }
    }
    return value;
  });
}

function show(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  // JSON of an undefined or a function is undefined.
  return (JSON.stringify(value) as string | undefined) ?? String(value);
}

// ---- as QEMU shows them -------------------------------------------------------------------------------------------

const TYPE_NAMES = {
  bool: 'bool',
  bit: 'bool',
  'on-off-auto': 'OnOffAuto',
  u8: 'uint8',
  u16: 'uint16',
  u32: 'uint32',
  u64: 'uint64',
  i32: 'int32',
  i64: 'int64',
  size: 'size',
  string: 'str',
} as const;

/** QEMU's name of a property's type, e.g. "uint16", "link<iothread>". */
export function propertyTypeName(spec: PropertySpec): string {
  switch (spec.kind) {
    case 'struct-list':
      return spec.typeName;
    case 'enum':
    case 'string':
      return spec.typeName ?? 'str';
    case 'link':
      return isBackendKind(spec.target) ? 'str' : `link<${spec.target}>`;
    case 'array':
      return `list<${TYPE_NAMES[spec.element]}>`;
    default:
      return TYPE_NAMES[spec.kind];
  }
}

/** A value as in `-device X,help`: strings in quotes; null for one that is not set. */
export function formatDefault(value: PropertyValue): string | null {
  if (value === null || (Array.isArray(value) && value.length === 0)) return null;
  if (typeof value === 'string') return `"${value}"`;
  if (typeof value === 'object' && !Array.isArray(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((item) => formatDefault(item as PropertyValue)).join(', ')}]`;
  return String(value as boolean | number | bigint);
}

/** A value as `info qtree` prints it: `1 (0x1)`, `4096 (4 KiB)`, `"auto"`, `true`. */
export function formatValue(spec: PropertySpec, value: PropertyValue): string {
  switch (spec.kind) {
    case 'u8':
    case 'u16':
    case 'u32':
    case 'u64':
      return `${value as number} (0x${(value as number).toString(16)})`;
    case 'size':
      return `${value as bigint} (${humanSize(value as bigint)})`;
    case 'i32':
    case 'i64':
    case 'bool':
    case 'bit':
      return String(value as number);
    case 'array':
    case 'struct-list':
      return formatDefault(value) ?? '[]';
    default:
      return `"${(value as string | null) ?? ''}"`;
  }
}

/** As QEMU's size_to_str(): three significant digits. */
function humanSize(size: bigint): string {
  const value = Number(size);
  let unit = 0;
  while (unit < UNITS.length - 1 && value / 1024 ** unit >= 1000) unit++;
  return `${Number((value / 1024 ** unit).toPrecision(3))} ${unit === 0 ? 'B' : `${UNITS[unit]}iB`}`;
}
