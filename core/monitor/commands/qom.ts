/** The object tree and the types (qapi/qom.json). */
import { matchesPattern } from '../../trace/trace.ts';
import { deviceNotFound, MonitorError } from '../errors.ts';
import { any, bool, i64, list, nothing, object, oneOf, openObject, optional, str } from '../schema.ts';
import type { Json } from '../qmp/json.ts';
import type { MonitorTarget, QomObject, QomType } from '../target.ts';
import { action, query } from './command.ts';

/** @throws MonitorError DeviceNotFound */
export function findObject(target: MonitorTarget, path: string): QomObject {
  const found = target.qom.find(path);
  if (found === 'ambiguous') throw new MonitorError(`Path '${path}' is ambiguous`);
  if (found === null) throw deviceNotFound(path);
  return found;
}

function findType(target: MonitorTarget, name: string): QomType {
  const type = target.qom.types().find((candidate) => candidate.name === name);
  if (type === undefined) throw deviceNotFound(name);
  return type;
}

/** Names of a type's parents, nearest first, after its own. */
export function ancestry(types: ReadonlyMap<string, QomType>, name: string): string[] {
  const names: string[] = [];
  for (let next: string | null = name; next !== null && !names.includes(next);) {
    names.push(next);
    next = types.get(next)?.parent ?? null;
  }
  return names;
}

export function listProperties(target: MonitorTarget, path: string): { name: string; type: string }[] {
  return findObject(target, path)
    .properties()
    .map(({ name, type }) => ({ name, type }));
}

/** What -device, object_add and netdev_add say, split into the fixed members and the properties. */
export function propertiesOf(args: { [key: string]: Json | undefined }, ...without: string[]): Record<string, Json> {
  const properties = Object.create(null) as Record<string, Json>;
  for (const [name, value] of Object.entries(args)) {
    if (value !== undefined && !without.includes(name)) properties[name] = value;
  }
  return properties;
}

const traceState = oneOf('TraceEventState', ['unavailable', 'disabled', 'enabled']);

const propertyInfo = object('ObjectPropertyInfo', {
  name: str,
  type: str,
  description: optional(str),
  'default-value': optional(any),
});

function typeProperties(type: QomType): { name: string; type: string; description?: string; 'default-value'?: Json }[] {
  return type.properties().map((property) => ({
    name: property.name,
    type: property.type,
    ...(property.description === null ? {} : { description: property.description }),
    ...(property.default === undefined ? {} : { 'default-value': property.default }),
  }));
}

export const QOM_COMMANDS = [
  query('qom-list', {
    help: "an object's properties and children",
    args: object('qom-list-arg', { path: str }),
    returns: list(propertyInfo),
    run: ({ target }, { path }) => listProperties(target, path),
  }),
  query('qom-get', {
    help: 'the value of a property',
    args: object('qom-get-arg', { path: str, property: str }),
    returns: any,
    run: ({ target }, { path, property }) => findObject(target, path).get(property),
  }),
  action('qom-set', {
    help: 'sets a property that may be set while the machine exists',
    args: object('qom-set-arg', { path: str, property: str, value: any }),
    run: ({ target }, { path, property, value }) => findObject(target, path).set(property, value),
  }),
  query('qom-list-types', {
    help: 'the types, by default without abstract ones',
    args: object('qom-list-types-arg', { implements: optional(str), abstract: optional(bool) }),
    returns: list(object('ObjectTypeInfo', { name: str, abstract: optional(bool), parent: optional(str) })),
    run({ target }, { implements: wanted, abstract = false }) {
      const types = new Map(target.qom.types().map((type) => [type.name, type]));
      return [...types.values()]
        .filter((type) => abstract || !type.abstract)
        .filter((type) => wanted === undefined || ancestry(types, type.name).includes(wanted))
        .map((type) => ({
          name: type.name,
          ...(type.abstract ? { abstract: true } : {}),
          ...(type.parent === null ? {} : { parent: type.parent }),
        }));
    },
  }),
  query('qom-list-properties', {
    help: 'the properties of a type',
    args: object('qom-list-properties-arg', { typename: str }),
    returns: list(propertyInfo),
    run: ({ target }, { typename }) =>
      typeProperties(findType(target, typename)).map(({ 'default-value': _default, ...property }) => property),
  }),
  query('device-list-properties', {
    help: 'the properties of a type of devices, with their defaults',
    args: object('device-list-properties-arg', { typename: str }),
    returns: list(propertyInfo),
    run({ target }, { typename }) {
      const type = findType(target, typename);
      if (type.device === null) {
        throw new MonitorError(`Parameter 'typename' expects a non-abstract device type`);
      }
      return typeProperties(type);
    },
  }),
  action('device_add', {
    help: 'adds a device, with the properties of -device',
    args: openObject('device_add-arg', { driver: str, bus: optional(str), id: optional(str) }),
    run: ({ target }, args) => target.addDevice(args.driver, propertiesOf(args, 'driver')),
  }),
  action('device_del', {
    help: 'asks the guest to let go of a device; DEVICE_DELETED says when it is gone',
    args: object('device_del-arg', { id: str }),
    run: ({ target }, { id }) => target.removeDevice(id),
  }),
  action('object-add', {
    help: 'adds an object, with the properties of -object',
    args: openObject('object-add-arg', { 'qom-type': str, id: str }),
    run: ({ target }, args) => target.addObject(args['qom-type'], args.id, propertiesOf(args, 'qom-type', 'id')),
  }),
  action('object-del', {
    help: 'removes an object that nothing uses',
    args: object('object-del-arg', { id: str }),
    run: ({ target }, { id }) => target.removeObject(id),
  }),
  query('trace-event-get-state', {
    help: 'which trace events are on; * and ? stand for characters',
    args: object('trace-event-get-state-arg', { name: str, vcpu: optional(i64) }),
    returns: list(object('TraceEventInfo', { name: str, state: traceState, vcpu: bool })),
    run: ({ target }, { name, vcpu }) =>
      matchingEvents(target, name, vcpu).map((event) => ({
        name: event.name,
        state: event.enabled ? ('enabled' as const) : ('disabled' as const),
        vcpu: false,
      })),
  }),
  action('trace-event-set-state', {
    help: 'turns trace events on or off',
    args: object('trace-event-set-state-arg', {
      name: str,
      enable: bool,
      'ignore-unavailable': optional(bool),
      vcpu: optional(i64),
    }),
    run({ target }, { name, enable, vcpu }) {
      setTrace(target, name, enable, vcpu);
    },
  }),
  query('query-balloon', {
    help: 'how much memory the balloon leaves the guest',
    args: nothing,
    returns: object('BalloonInfo', { actual: i64 }),
    run: ({ target }) => ({ actual: balloonOf(target).actual }),
  }),
  action('balloon', {
    help: 'asks the guest to keep so many bytes',
    args: object('balloon-arg', { value: i64 }),
    async run({ target }, { value }) {
      const balloon = balloonOf(target);
      if (value <= 0) throw new MonitorError("Parameter 'target' expects a size");
      await balloon.setTarget(Math.min(Number(value), target.ramSize));
    },
  }),
];

export function balloonOf(target: MonitorTarget): NonNullable<MonitorTarget['balloon']> {
  if (target.balloon === null) throw new MonitorError('No balloon device has been activated', 'DeviceNotActive');
  return target.balloon;
}

/** @param vcpu of which one event is meant; there are no events of single ones */
export function matchingEvents(
  target: MonitorTarget,
  pattern: string,
  vcpu?: number | bigint,
): MonitorTarget['trace']['events'] {
  const isPattern = /[*?]/.test(pattern);
  const found = target.trace.events.filter(({ name }) => matchesPattern(pattern, name));
  if (found.length === 0 && !isPattern) throw new MonitorError(`unknown event "${pattern}"`);
  if (vcpu !== undefined) {
    if (!isPattern) throw new MonitorError(`event "${pattern}" is not vCPU-specific`);
    return [];
  }
  return found;
}

export function setTrace(target: MonitorTarget, pattern: string, enable: boolean, vcpu?: number | bigint): void {
  for (const { name } of matchingEvents(target, pattern, vcpu)) target.trace.set(name, enable);
}
