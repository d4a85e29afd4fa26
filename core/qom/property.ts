/**
 * Properties of types, as data: from these tables come the parsing of -device and -object, their help, QMP's
 * device-list-properties, the GUI's forms and the checks of VM files. The kinds are QEMU's (qdev-properties.h).
 */

/** What a property holds: u64 and size beyond 2^53 are bigint, arrays hold values of their element's kind, links an id or null. */
export type PropertyValue =
  boolean | number | bigint | string | null | readonly PropertyValue[] | { readonly [field: string]: PropertyValue };

interface PropertyBase {
  /** As in QEMU, e.g. "num-queues". */
  readonly name: string;
  /** One line for the help; no full stop. */
  readonly description: string;
  /** May be set after realize; without it only before. */
  readonly live?: boolean;
  /** realize fails without it. */
  readonly required?: boolean;
  /** Other names for it. */
  readonly aliases?: readonly string[];
}

/** on/off (also yes/no, true/false). `bit`: shown by QEMU as bit of a feature word. */
export interface BoolProperty extends PropertyBase {
  readonly kind: 'bool' | 'bit';
  readonly default: boolean;
}

/** on/off/auto. */
export interface OnOffAutoProperty extends PropertyBase {
  readonly kind: 'on-off-auto';
  readonly default: 'on' | 'off' | 'auto';
}

/** A number, in bounds both inclusive; by default those of the kind. */
export interface NumberProperty extends PropertyBase {
  readonly kind: 'u8' | 'u16' | 'u32' | 'i32';
  readonly default: number;
  readonly min?: number;
  readonly max?: number;
  readonly powerOf2?: boolean;
  /** For forms, e.g. "ms"; none for mere numbers. */
  readonly unit?: string;
}

/** `size`: bytes, with the suffixes K, M, G, T. */
export interface BigProperty extends PropertyBase {
  readonly kind: 'u64' | 'i64' | 'size';
  readonly default: bigint;
  readonly min?: bigint;
  readonly max?: bigint;
  /** For forms. Of a `size` always bytes. */
  readonly unit?: string;
}

export interface StringProperty extends PropertyBase {
  readonly kind: 'string';
  readonly default: string | null;
  /** Bytes of UTF-8 at most. */
  readonly maxBytes?: number;
  /** The text is a path on the host, of such a thing. */
  readonly holds?: 'file' | 'folder' | 'socket';
  /** QEMU's name of the type in the help, where it is not "str". */
  readonly typeName?: string;
}

export interface EnumProperty extends PropertyBase {
  readonly kind: 'enum';
  readonly values: readonly string[];
  /** QEMU's name of the type in the help, e.g. "BlockdevOnError"; by default "str". */
  readonly typeName?: string;
  readonly default: string | null;
}

/** The id of another object: a drive, chardev, netdev, fsdev, or an object of a QOM type. */
export interface LinkProperty extends PropertyBase {
  readonly kind: 'link';
  /** What it links to: a backend kind, or the name of a QOM type. */
  readonly target: string;
  readonly default: null;
}

export interface ArrayProperty extends PropertyBase {
  readonly kind: 'array';
  readonly element: 'bool' | 'u8' | 'u16' | 'u32' | 'u64' | 'string';
  readonly default: readonly PropertyValue[];
  readonly maxLength?: number;
}

/** A list of structures; as text it is JSON. In a value, fields that were not given are not there. */
export interface StructListProperty extends PropertyBase {
  readonly kind: 'struct-list';
  /** QEMU's name of the list's type. */
  readonly typeName: string;
  readonly fields: readonly StructField[];
  readonly default: readonly PropertyValue[];
}

/** A field without which a structure is not whole is `required`. */
export type StructField = (StringProperty | NumberProperty | ArrayProperty) & { readonly required?: boolean };

export type PropertySpec =
  | BoolProperty
  | OnOffAutoProperty
  | NumberProperty
  | BigProperty
  | StringProperty
  | EnumProperty
  | LinkProperty
  | ArrayProperty
  | StructListProperty;

/** Values by property name; every property of the type is there. */
export type PropertyValues = Readonly<Record<string, PropertyValue>>;

/** A property of one object that is computed. Any JSON. */
export interface ComputedProperty {
  readonly type: string;
  readonly description?: string;
  get(): unknown;
  /** Without it the property is read-only. @throws RingsideError */
  set?(value: unknown): void;
}
