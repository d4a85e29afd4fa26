/** The options that take lists, as QMP's query-command-line-options shows them: names and types are QEMU's. */
import type { CommandLineOption } from '../../../core/monitor/commands/command.ts';
import { machineTypes } from '../../../core/machine/types.ts';
import { DRIVE_KEYS } from './devices.ts';
import { MON_KEYS } from './monitors.ts';
import { ACCEL_KEYS, MACHINE_KEYS, MEMORY_KEYS, NAME_KEYS, SMP_KEYS } from './run-table.ts';
import type { Key, KeyTable } from './syntax.ts';
import { TRACE_KEYS } from './trace.ts';
import { VIRTFS_KEYS } from './virtfs.ts';

/** Without keys: those are of types, which device-list-properties shows. */
const TABLES: Readonly<Record<string, KeyTable>> = {
  machine: MACHINE_KEYS,
  accel: ACCEL_KEYS,
  'smp-opts': SMP_KEYS,
  memory: MEMORY_KEYS,
  name: NAME_KEYS,
  global: {},
  drive: DRIVE_KEYS,
  device: {},
  object: {},
  netdev: {},
  fsdev: {},
  virtfs: VIRTFS_KEYS,
  mon: MON_KEYS,
  trace: TRACE_KEYS,
};

function typeOf({ bare, shape }: Key<unknown>): 'boolean' | 'size' | 'number' | 'string' {
  if (bare) return 'boolean';
  if (shape === 'SIZE') return 'size';
  return shape === 'N' ? 'number' : 'string';
}

/** The keys of all kinds of character devices together, as QEMU has them. */
function chardevParameters(): CommandLineOption['parameters'] {
  const specs = machineTypes()
    .creatables('chardev')
    .flatMap(({ properties }) => [...properties.values()]);
  return [...new Map(specs.map((spec) => [spec.name, spec])).values()].map(({ name, kind, description }) => {
    const type = kind === 'bool' ? 'boolean' : kind === 'size' ? 'size' : kind === 'u32' ? 'number' : 'string';
    return { name, type, help: description };
  });
}

export function commandLineOptions(): CommandLineOption[] {
  const tables = Object.entries(TABLES).map(([option, keys]) => ({
    option,
    parameters: Object.entries(keys).map(([name, key]) => ({ name, type: typeOf(key), help: key.help })),
  }));
  return [...tables, { option: 'chardev', parameters: chardevParameters() }];
}
