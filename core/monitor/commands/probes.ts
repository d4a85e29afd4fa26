/**
 * What management programs ask of QEMU before and while they use it, where the answer is always the same here: there are no
 * jobs, no migration, no TPM, no VNC. libvirt does not go on without some of them.
 */
import { MonitorError } from '../errors.ts';
import { any, bool, i64, list, nothing, object, oneOf, optional, str } from '../schema.ts';
import type { ObjectType } from '../schema.ts';
import type { Json } from '../qmp/json.ts';
import { query } from './command.ts';
import type { QmpCommand } from './command.ts';

/** There are none. */
function none(name: string, what: string, args: ObjectType = nothing): QmpCommand {
  return query(name, { help: `${what}: there are none`, args, returns: list(any), run: () => [] });
}

function always(name: string, help: string, returns: ObjectType, answer: { [key: string]: Json }): QmpCommand {
  return query(name, { help, args: nothing, returns, run: () => answer });
}

function unsupported(name: string, help: string, message: string): QmpCommand {
  return query(name, {
    help,
    args: nothing,
    returns: any,
    run() {
      throw new MonitorError(message);
    },
  });
}

const statsTarget = oneOf('StatsTarget', ['vm', 'vcpu']);
const statsProvider = oneOf('StatsProvider', ['kvm']);

export const PROBE_COMMANDS: readonly QmpCommand[] = [
  none('query-fdsets', 'sets of file descriptors'),
  none('query-jobs', 'background jobs'),
  none('query-block-jobs', 'background jobs of disks'),
  none('query-block-exports', 'disks exported to others'),
  none('query-pr-managers', 'managers of persistent reservations'),
  none('query-tpm', 'TPM devices'),
  none('query-tpm-models', 'models of TPM devices'),
  none('query-tpm-types', 'back ends of TPM devices'),
  none('query-migrate-capabilities', 'capabilities of migration'),
  none('query-yank', 'what yank could act on'),
  none(
    'query-stats-schemas',
    'statistics of query-stats',
    object('query-stats-schemas-arg', { provider: optional(statsProvider) }),
  ),
  none(
    'query-stats',
    'statistics',
    object('StatsFilter', {
      target: statsTarget,
      providers: optional(list(object('StatsRequest', { provider: statsProvider, names: optional(list(str)) }))),
      vcpus: optional(list(str)),
    }),
  ),
  always(
    'query-migrate',
    'migration: there is none',
    object('MigrationInfo', { status: optional(oneOf('MigrationStatus', ['none'])) }),
    {},
  ),
  always('query-vnc', 'VNC: there is none', object('VncInfo', { enabled: bool }), { enabled: false }),
  always(
    'query-display-options',
    'the display: there is none',
    object('DisplayOptions', { type: oneOf('DisplayType', ['none']) }),
    {
      type: 'none',
    },
  ),
  always(
    'query-replay',
    'record and replay: there is none',
    object('ReplayInfo', { mode: oneOf('ReplayMode', ['none', 'record', 'play']), icount: i64 }),
    {
      mode: 'none',
      icount: 0,
    },
  ),
  always(
    'query-current-machine',
    'whether the guest can be woken up: it does not sleep',
    object('CurrentMachineParams', { 'wakeup-suspend-support': bool }),
    { 'wakeup-suspend-support': false },
  ),
  unsupported(
    'query-hotpluggable-cpus',
    'harts do not come and go',
    "The feature 'query-hotpluggable-cpus' is not enabled",
  ),
  unsupported('query-acpi-ospm-status', 'there is no ACPI', 'command is not supported, missing ACPI device'),
  unsupported(
    'query-vm-generation-id',
    'there is no such device',
    'this feature or command is not currently supported',
  ),
  query('query-cpu-definitions', {
    help: 'the models of CPUs',
    args: nothing,
    returns: list(object('CpuDefinitionInfo', { name: str, typename: str, static: bool, deprecated: bool })),
    run: ({ target: { machine } }) => [
      { name: machine.cpuType.replace(/-riscv-cpu$/, ''), typename: machine.cpuType, static: false, deprecated: false },
    ],
  }),
  query('query-command-line-options', {
    help: 'the options of `ringside run` that take lists, and their parameters',
    args: object('query-command-line-options-arg', { option: optional(str) }),
    returns: list(
      object('CommandLineOptionInfo', {
        option: str,
        parameters: list(
          object('CommandLineParameterInfo', {
            name: str,
            type: oneOf('CommandLineParameterType', ['string', 'boolean', 'number', 'size']),
            help: optional(str),
          }),
        ),
      }),
    ),
    run({ commandLine }, { option }) {
      const found = commandLine.filter((one) => option === undefined || one.option === option);
      if (option !== undefined && found.length === 0) throw new MonitorError(`invalid option name: ${option}`);
      return found.map(({ option: name, parameters }) => ({ option: name, parameters: [...parameters] }));
    },
  }),
];
