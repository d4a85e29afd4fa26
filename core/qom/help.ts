/** Help texts made from types, in QEMU's formats. */
import { DEVICE_CATEGORIES } from './object.ts';
import type { DeviceCategory, QomType } from './object.ts';
import { formatDefault, propertyTypeName } from './property-value.ts';
import type { TypeRegistry } from './registry.ts';

/** Column of the description of a property. */
const DESCRIPTION_COLUMN = 24;

/** `-device help`: all devices that can be made, by category. */
export function deviceListHelp(types: TypeRegistry): string {
  const devices = types.creatables('device');
  const sections: [string, QomType[]][] = [];
  for (const category of Object.keys(DEVICE_CATEGORIES) as DeviceCategory[]) {
    sections.push([DEVICE_CATEGORIES[category], devices.filter((type) => type.category === category)]);
  }
  sections.push(['Uncategorized', devices.filter(({ category }) => category === null)]);
  return sections
    .filter(([, members]) => members.length > 0)
    .map(([title, members]) => `${title} devices:\n${members.map(deviceLine).join('')}`)
    .join('\n');
}

function deviceLine(type: QomType): string {
  const parts = [`name "${type.name}"`];
  if (type.bus !== null) parts.push(`bus ${type.bus}`);
  for (const alias of type.info.aliases ?? []) parts.push(`alias "${alias}"`);
  if (type.description !== null) parts.push(`desc "${type.description}"`);
  return `${parts.join(', ')}\n`;
}

/** `-device X,help` and `-object X,help`: the properties of a type, by name. */
export function typeHelp(type: QomType, name = type.name): string {
  const entries = [...type.properties.values()].map((spec) => ({
    name: spec.name,
    type: propertyTypeName(spec),
    description: spec.description,
    default: formatDefault(spec.default),
  }));
  if (type.child) {
    const { name, type: child } = type.child;
    entries.push({ name, type: `child<${child.name}>`, description: '', default: null });
  }
  if (entries.length === 0) return `There are no options for ${name}.\n`;
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  const lines = entries.map((entry) => {
    const left = `  ${entry.name}=<${entry.type}>`;
    const value = entry.default === null ? '' : `(default: ${entry.default})`;
    const right = [entry.description, value].filter((text) => text !== '').join(' ');
    return right === '' ? `${left}\n` : `${left.padEnd(DESCRIPTION_COLUMN)} - ${right}\n`;
  });
  return `${name} options:\n${lines.join('')}`;
}

/** `-object help` and its like. */
export function typeListHelp(title: string, names: readonly string[]): string {
  return `${title}:\n${names.map((name) => `  ${name}\n`).join('')}`;
}
