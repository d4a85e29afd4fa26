/**
 * The types of commands and events: a small language like QAPI's, from which arguments are checked, TypeScript's types are
 * inferred and query-qmp-schema is answered (docs/devel/qapi-code-gen of QEMU, "Client JSON Protocol introspection").
 */
import { MonitorError } from './errors.ts';
import type { Json } from './qmp/json.ts';

/** `int` is any whole number of 64 bits. */
export type JsonType = 'string' | 'number' | 'int' | 'boolean' | 'null' | 'object' | 'array' | 'value';

export interface BuiltinType {
  readonly meta: 'builtin';
  readonly name: string;
  readonly json: JsonType;
  /** Bounds of whole numbers, and the name that QEMU's message gives them. */
  readonly range?: { readonly min: bigint; readonly max: bigint; readonly says: string };
}
export interface EnumType {
  readonly meta: 'enum';
  readonly name: string;
  readonly values: readonly string[];
}
export interface ArrayType {
  readonly meta: 'array';
  readonly element: Type<unknown>;
}
export interface ObjectType {
  readonly meta: 'object';
  readonly name: string;
  readonly members: Readonly<Record<string, Member>>;
  /** Takes members that it does not name (device_add's properties). */
  readonly open: boolean;
  /** More members by the value of one, which is an enum. */
  readonly variants?: { readonly tag: string; readonly cases: Readonly<Record<string, ObjectType>> };
}
export interface Member {
  readonly type: Type<unknown>;
  readonly optional: boolean;
}

declare const VALUE: unique symbol;
/** Describes values of the TypeScript type V. */
export type Type<V> = (BuiltinType | EnumType | ArrayType | ObjectType) & { readonly [VALUE]?: V };
export type Infer<T> = T extends Type<infer V> ? V : never;
export type ObjectTypeOf<V> = ObjectType & { readonly [VALUE]?: V };

const builtin = <V>(name: string, json: JsonType, range?: BuiltinType['range']): Type<V> => ({
  meta: 'builtin',
  name,
  json,
  ...(range === undefined ? {} : { range }),
});

export const str = builtin<string>('str', 'string');
export const bool = builtin<boolean>('bool', 'boolean');
export const any = builtin<Json>('any', 'value');
export const number = builtin<number>('number', 'number');
const whole = <V>(min: bigint, max: bigint, says: string): Type<V> => builtin<V>('int', 'int', { min, max, says });
export const u16 = whole<number>(0n, 0xffffn, 'uint16_t');
export const u32 = whole<number>(0n, 0xffff_ffffn, 'uint32_t');
export const i64 = whole<number | bigint>(-(2n ** 63n), 2n ** 63n - 1n, 'int64');
/** Addresses, sizes, feature words; as QEMU's visitors do, negative numbers are taken for their two's complement. */
export const u64 = whole<number | bigint>(-(2n ** 63n), 2n ** 64n - 1n, 'uint64');

export function oneOf<const V extends string>(name: string, values: readonly V[]): Type<V> {
  return { meta: 'enum', name, values };
}
export function list<V>(element: Type<V>): Type<V[]> {
  return { meta: 'array', element };
}

interface Optional<V> {
  readonly optional: Type<V>;
}
export function optional<V>(type: Type<V>): Optional<V> {
  return { optional: type };
}

type Fields = Record<string, Type<unknown> | Optional<unknown>>;
type RequiredKeys<F extends Fields> = { [K in keyof F]: F[K] extends Optional<unknown> ? never : K }[keyof F];
type FieldValue<T> = T extends Optional<infer V> ? V : Infer<T>;
type ObjectValue<F extends Fields> = { [K in RequiredKeys<F>]: FieldValue<F[K]> } & {
  [K in Exclude<keyof F, RequiredKeys<F>>]?: FieldValue<F[K]> | undefined;
};

export function object<F extends Fields>(name: string, fields: F): ObjectTypeOf<ObjectValue<F>> {
  const members: Record<string, Member> = {};
  for (const [key, field] of Object.entries(fields)) {
    members[key] = 'optional' in field ? { type: field.optional, optional: true } : { type: field, optional: false };
  }
  return { meta: 'object', name, members, open: false };
}
/** With members beyond those it names. */
export function openObject<F extends Fields>(
  name: string,
  fields: F,
): ObjectTypeOf<ObjectValue<F> & { [key: string]: Json | undefined }> {
  return { ...(object(name, fields) as ObjectType), open: true };
}

/** One of several objects; the member `tag` says which. */
export function union<T extends string, C extends Record<string, ObjectType>>(
  name: string,
  tag: T,
  cases: C,
): ObjectTypeOf<{ [K in keyof C]: { readonly [P in T]: K } & Infer<C[K]> }[keyof C]> {
  const kind = oneOf(`${name}Kind`, Object.keys(cases));
  const base = object(name, { [tag]: kind }) as ObjectType;
  return { ...base, variants: { tag, cases } };
}

const EMPTY = object('Empty', {});
/** No arguments; nothing to return. */
export const nothing: ObjectTypeOf<Record<never, never>> = EMPTY;

const EXPECTED: Record<JsonType, string> = {
  string: 'string',
  number: 'number',
  int: 'integer',
  boolean: 'boolean',
  null: 'null',
  object: 'object',
  array: 'array',
  value: 'value',
};

/** @throws MonitorError in QEMU's words; `path` names the value in it */
export function check(type: Type<unknown>, value: Json, path: string): void {
  switch (type.meta) {
    case 'builtin':
      return checkBuiltin(type, value, path);
    case 'enum':
      if (typeof value !== 'string') throw wrongType(path, 'string');
      if (!type.values.includes(value)) throw new MonitorError(`Parameter '${path}' does not accept value '${value}'`);
      return;
    case 'array':
      if (!Array.isArray(value)) throw wrongType(path, 'array');
      value.forEach((item, index) => check(type.element, item, `${path}[${index}]`));
      return;
    case 'object':
      return checkObject(type, value, path);
  }
}

function checkBuiltin({ json, range }: BuiltinType, value: Json, path: string): void {
  if (json === 'value') return;
  if (json === 'int' || json === 'number') {
    if (typeof value !== 'number' && typeof value !== 'bigint') throw wrongType(path, EXPECTED[json]);
    if (json === 'number') return;
    const says = range?.says ?? 'int64';
    if (typeof value === 'number' && !Number.isInteger(value)) {
      throw new MonitorError(`Parameter '${path}' expects ${says}`);
    }
    const big = BigInt(value);
    if (range !== undefined && (big < range.min || big > range.max)) {
      throw new MonitorError(`Parameter '${path}' expects ${says}`);
    }
    return;
  }
  const actual = value === null ? 'null' : typeof value;
  if (actual !== json) throw wrongType(path, EXPECTED[json]);
}

function checkObject(type: ObjectType, value: Json, path: string): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongType(path, 'object');
  const prefix = path === '' ? '' : `${path}.`;
  for (const [key, { type: memberType, optional }] of Object.entries(type.members)) {
    if (Object.hasOwn(value, key)) check(memberType, value[key], prefix + key);
    else if (!optional) throw new MonitorError(`Parameter '${prefix}${key}' is missing`);
  }
  const more = variantOf(type, value);
  if (more !== null) {
    const own = Object.entries(value).filter(([key]) => !Object.hasOwn(type.members, key));
    return checkObject(more, Object.fromEntries(own), path);
  }
  if (type.open) return;
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(type.members, key)) throw new MonitorError(`Parameter '${prefix}${key}' is unexpected`);
  }
}

/** What an object has beside its members, which have been checked. */
function variantOf({ variants }: ObjectType, value: { [key: string]: Json }): ObjectType | null {
  return variants === undefined ? null : variants.cases[value[variants.tag] as string];
}

function wrongType(path: string, expected: string): MonitorError {
  return new MonitorError(`Invalid parameter type for '${path}', expected: ${expected}`);
}
