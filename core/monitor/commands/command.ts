/** What a command of the monitor is. QMP's dispatcher, its schema and HMP's commands are all made from these. */
import type { ObjectTypeOf, Type, ObjectType } from '../schema.ts';
import { check } from '../schema.ts';
import type { Json } from '../qmp/json.ts';
import type { MonitorTarget } from '../target.ts';

/** What a command can use. */
export interface CommandContext {
  readonly target: MonitorTarget;
  readonly version: VersionInfo;
  readonly commandLine: readonly CommandLineOption[];
  /** All of QMP's commands, for query-commands and the like. */
  readonly commands: readonly QmpCommand[];
  /** Executes one line of HMP and gives what it prints. */
  runHmp(line: string, cpu: number): Promise<string>;
}

/** An option of the command line that takes a list. */
export interface CommandLineOption {
  /** As in QEMU, e.g. "smp-opts". */
  readonly option: string;
  readonly parameters: readonly {
    readonly name: string;
    readonly type: 'boolean' | 'size' | 'number' | 'string';
    readonly help: string;
  }[];
}

export interface VersionInfo {
  /** Ringside's. */
  readonly ringside: string;
}

export interface QmpCommand {
  readonly name: string;
  /** One line, for docs/monitor.md. */
  readonly help: string;
  readonly args: ObjectType;
  /** null: {}. */
  readonly returns: Type<unknown> | null;
  /** May be given before capabilities are negotiated, and only then. */
  readonly negotiates?: boolean;
  /** @throws MonitorError, RingsideError */
  run(context: CommandContext, args: Json): Promise<Json>;
}

interface Definition<A, R> {
  readonly help: string;
  readonly args: ObjectTypeOf<A>;
  readonly returns: Type<R>;
  run(context: CommandContext, args: A): R | Promise<R>;
}

/** A command that returns something. */
export function query<A, R>(name: string, { help, args, returns, run }: Definition<A, R>): QmpCommand {
  return {
    name,
    help,
    args,
    returns,
    async run(context, given) {
      check(args, given, '');
      return (await run(context, given as A)) as Json;
    },
  };
}

/** A command that does something and returns {}. */
export function action<A>(name: string, definition: Omit<Definition<A, void>, 'returns'>): QmpCommand {
  const { help, args, run } = definition;
  return {
    name,
    help,
    args,
    returns: null,
    async run(context, given) {
      check(args, given, '');
      await run(context, given as A);
      return {};
    },
  };
}
