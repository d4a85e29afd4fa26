/** The object tree and the types, as the monitor's commands name and print them. */
import { RingsideError } from '../errors.ts';
import { MonitorError } from '../monitor/errors.ts';
import type { Json } from '../monitor/qmp/json.ts';
import type { QomObject as MonitorObject, QomType as MonitorType, QomView } from '../monitor/target.ts';
import { DEVICE_CATEGORIES, propertyInfo } from '../qom/object.ts';
import type { PropertyInfo, QomObject, QomType } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';

type Operate = <T>(work: () => T | Promise<T>) => Promise<T>;

/** @param operate does work in the machine's operation queue */
export function qomView(tree: ObjectTree, operate: Operate): QomView {
  let types: MonitorType[] | null = null;
  return {
    find(path) {
      if (!path.startsWith('/') && isAmbiguous(tree, path)) return 'ambiguous';
      const object = tree.find(path);
      return object === null ? null : monitorObject(object, operate);
    },
    types: () => (types ??= tree.types.all('object').map(monitorType)),
  };
}

function isAmbiguous(tree: ObjectTree, path: string): boolean {
  const last = path.split('/').findLast((name) => name !== '');
  return tree.find(path) === null && [...tree.root.walk()].filter(({ name }) => name === last).length > 1;
}

function monitorObject(object: QomObject, operate: Operate): MonitorObject {
  return {
    path: object.path,
    type: object.type.name,
    get children() {
      return [...object.children]
        .map(([name, child]) => ({ name, object: monitorObject(child, operate) }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    properties: () => object.list().map(({ name, type }) => ({ name, type })),
    get(property) {
      known(object, property);
      return toJson(object.get(property));
    },
    async set(property, value) {
      known(object, property);
      await operate(() => setProperty(object, property, value));
    },
  };
}

function setProperty(object: QomObject, property: string, value: Json): void {
  try {
    object.set(property, value);
  } catch (error) {
    if (!(error instanceof RingsideError) || error.kind !== 'bad-state') throw error;
    const device = object.id === null ? '' : ` on device '${object.id}'`;
    throw new MonitorError(
      `Attempt to set property '${property}'${device} (type '${object.type.name}') after it was realized`,
    );
  }
}

function known(object: QomObject, property: string): void {
  if (object.list().some(({ name }) => name === property)) return;
  throw new MonitorError(`Property '${object.type.name}.${property}' not found`);
}

/** JSON has all that properties hold; what is not set is an empty string, as in QEMU. */
function toJson(value: unknown): Json {
  if (value === null || value === undefined) return '';
  switch (typeof value) {
    case 'boolean':
    case 'number':
    case 'bigint':
    case 'string':
      return value;
    case 'object':
      if (Array.isArray(value)) return value.map(toJson);
      return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, toJson(member)]));
    default:
      return '';
  }
}

function monitorType(type: QomType): MonitorType {
  const { info } = type;
  const isDevice = type.isA('device');
  return {
    name: type.name,
    parent: type.parent?.name ?? null,
    abstract: info.abstract ?? false,
    description: type.description,
    device: isDevice
      ? {
          bus: type.bus,
          category: type.category !== null && type.category in DEVICE_CATEGORIES ? type.category : '',
          userCreatable: !(info.abstract ?? false) && !(info.internal ?? false),
        }
      : null,
    properties: () => [...type.properties.values()].map((spec) => typeProperty(propertyInfo(spec))),
  };
}

function typeProperty({ name, type, description, defaultValue }: PropertyInfo): {
  name: string;
  type: string;
  description: string | null;
  default?: Json;
} {
  return {
    name,
    type,
    description: description ?? null,
    ...(defaultValue === undefined || defaultValue === null ? {} : { default: toJson(defaultValue) }),
  };
}
