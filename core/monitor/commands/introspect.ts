/** What the monitor says of itself: commands, events, schema (qapi/introspect.json), and HMP by way of QMP. */
import { EVENTS } from '../events.ts';
import type { EventName } from '../events.ts';
import { any, i64, list, nothing, object, oneOf, optional, str } from '../schema.ts';
import type { ObjectType, Type } from '../schema.ts';
import type { Json } from '../qmp/json.ts';
import { action, query } from './command.ts';
import type { QmpCommand } from './command.ts';

/** The entries of query-qmp-schema: commands, events and every type they need. Type names mean nothing to clients. */
export function describeSchema(commands: readonly QmpCommand[]): Json[] {
  const types = new Map<string, { [key: string]: Json }>();
  const name = (type: Type<unknown>): string => {
    const named = type.meta === 'array' ? `[${name(type.element)}]` : type.name;
    if (types.has(named)) return named;
    // Reserved first: types may contain themselves.
    const entry: { [key: string]: Json } = { name: named, 'meta-type': type.meta };
    types.set(named, entry);
    switch (type.meta) {
      case 'builtin':
        entry['json-type'] = type.json;
        break;
      case 'enum':
        entry['members'] = type.values.map((value) => ({ name: value }));
        entry['values'] = [...type.values];
        break;
      case 'array':
        entry['element-type'] = name(type.element);
        break;
      case 'object':
        entry['members'] = Object.entries(type.members).map(([member, { type: memberType, optional }]) => ({
          name: member,
          type: name(memberType),
          ...(optional ? { default: null } : {}),
        }));
        if (type.variants !== undefined) {
          entry['tag'] = type.variants.tag;
          entry['variants'] = Object.entries(type.variants.cases).map(([value, variant]) => ({
            case: value,
            type: name(variant),
          }));
        }
        break;
    }
    return named;
  };
  const entries: Json[] = commands.map(({ name: command, args, returns }) => ({
    name: command,
    'meta-type': 'command',
    'arg-type': name(args),
    'ret-type': name(returns ?? nothing),
    'allow-oob': false,
  }));
  for (const event of Object.keys(EVENTS) as EventName[]) {
    entries.push({ name: event, 'meta-type': 'event', 'arg-type': name(EVENTS[event] as ObjectType) });
  }
  return [...entries, ...types.values()];
}

export const INTROSPECTION_COMMANDS = [
  query('query-commands', {
    help: 'the names of all commands',
    args: nothing,
    returns: list(object('CommandInfo', { name: str })),
    run: ({ commands }) => commands.map(({ name }) => ({ name })),
  }),
  query('query-events', {
    help: 'the names of all events (removed from QEMU; in its place: query-qmp-schema)',
    args: nothing,
    returns: list(object('EventInfo', { name: str })),
    run: () => Object.keys(EVENTS).map((name) => ({ name })),
  }),
  query('query-qmp-schema', {
    help: 'all commands and events with the types of their arguments and of what they return',
    args: nothing,
    returns: list(any),
    run: ({ commands }) => describeSchema(commands),
  }),
  {
    ...action('qmp_capabilities', {
      help: 'ends the negotiation: the first command of each client',
      args: object('qmp_capabilities-arg', { enable: optional(list(oneOf('QMPCapability', ['oob']))) }),
      run() {},
    }),
    negotiates: true,
  },
  query('human-monitor-command', {
    help: 'executes a line of HMP and returns what it prints',
    args: object('human-monitor-command-arg', { 'command-line': str, 'cpu-index': optional(i64) }),
    returns: str,
    run: ({ runHmp }, { 'command-line': line, 'cpu-index': cpu = 0 }) => runHmp(line, Number(cpu)),
  }),
];
