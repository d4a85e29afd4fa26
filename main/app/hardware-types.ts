/** What a machine can be made of, as data for forms: the types of core's registry. */
import { machineTypes } from '../../core/machine/types.ts';
import { DEVICE_CATEGORIES } from '../../core/qom/object.ts';
import type { QomType } from '../../core/qom/object.ts';
import type { PropertySpec, PropertyValue } from '../../core/qom/property.ts';
import { bounds } from '../../core/qom/property-value.ts';
import type { BackendTypeInfo, DeviceTypeInfo, HardwareTypes, PropertyInfo } from '../ipc/contract.ts';

/** What the types of a virtio device are called on each bus. */
const BUS_SUFFIX = /-(?:device|pci|pci-transitional|pci-non-transitional)$/;
/** "Not given" among numbers. */
const UNSET: readonly bigint[] = [2n ** 16n - 1n, 2n ** 32n - 1n, 2n ** 64n - 1n];

let types: HardwareTypes | null = null;

export function hardwareTypes(): HardwareTypes {
  types ??= {
    devices: machineTypes().creatables('device').map(deviceType),
    backends: [
      backendType('drive', machineTypes().get('drive'), ''),
      ...machineTypes()
        .creatables('user-creatable')
        .map((type) => backendType('object', type, '')),
      ...(['netdev', 'fsdev', 'chardev'] as const).flatMap((kind) =>
        machineTypes()
          .creatables(kind)
          .map((type) => backendType(kind, type, `${kind}-`)),
      ),
    ],
  };
  return types;
}

function deviceType(type: QomType): DeviceTypeInfo {
  const { name, description, category, bus, info } = type;
  return {
    name,
    family: name.replace(BUS_SUFFIX, ''),
    description: description ?? '',
    category: category === null ? 'Other' : DEVICE_CATEGORIES[category],
    bus,
    aliases: [...(info.aliases ?? [])],
    properties: propertiesOf(type),
  };
}

function backendType(kind: BackendTypeInfo['kind'], type: QomType, prefix: string): BackendTypeInfo {
  return {
    kind,
    name: type.name.slice(prefix.length),
    isA: type.chain.map(({ name }) => name),
    description: type.description ?? '',
    shared: type.shared,
    properties: propertiesOf(type),
  };
}

function propertiesOf(type: QomType): PropertyInfo[] {
  const core = type.child?.type ?? type;
  const own = new Set((core.info.properties ?? []).map(({ name }) => name));
  return [...type.properties.values()].map((spec) => ({
    name: spec.name,
    kind: spec.kind,
    description: spec.description,
    default: defaultText(spec),
    group: spec.kind === 'bit' ? 'features' : own.has(spec.name) || spec.kind === 'link' ? 'device' : 'bus',
    required: spec.required ?? false,
    live: spec.live ?? false,
    values: spec.kind === 'enum' ? [...spec.values] : null,
    target: spec.kind === 'link' ? spec.target : null,
    unit: 'unit' in spec ? (spec.unit ?? null) : spec.kind === 'size' ? 'bytes' : null,
    range: rangeOf(spec),
    fields:
      spec.kind === 'struct-list'
        ? spec.fields.map(({ name, kind, description, required = false }) => ({ name, kind, description, required }))
        : null,
    holds: spec.kind === 'string' ? (spec.holds ?? null) : null,
  }));
}

/** As it is typed into a form; null for what is not set, or chosen by the machine. */
function defaultText(spec: PropertySpec): string | null {
  const value: PropertyValue = spec.default;
  if (value === null) return null;
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (Array.isArray(value)) return value.length === 0 ? null : value.join(':');
  if ((typeof value === 'number' || typeof value === 'bigint') && UNSET.includes(BigInt(value))) return null;
  return String(value as string | number | bigint);
}

function rangeOf(spec: PropertySpec): { min: string; max: string } | null {
  switch (spec.kind) {
    case 'u8':
    case 'u16':
    case 'u32':
    case 'i32':
    case 'u64':
    case 'i64':
    case 'size': {
      const { min, max } = bounds(spec);
      return { min: String(min), max: String(max) };
    }
    default:
      return null;
  }
}
