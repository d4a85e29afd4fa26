/** What a command of HMP is. */
import type { CommandContext } from '../commands/command.ts';
import type { Json } from '../qmp/json.ts';
import type { MonitorTarget } from '../target.ts';
import type { Arguments, ArgumentSpec, Format } from './arguments.ts';

/** What one client has set: it lasts as long as the client. */
export interface HmpState {
  /** Index of the current CPU. */
  cpu: number;
  format: Format | null;
  history: readonly string[];
}

export interface HmpContext extends CommandContext {
  readonly state: HmpState;
  print(text: string): void;
  /** Executes a command of QMP. */
  qmp(name: string, args?: { [key: string]: Json }): Promise<Json>;
}

export interface HmpCommand {
  /** The name, and other names for it. */
  readonly names: readonly string[];
  readonly args: readonly ArgumentSpec[];
  /** How the help shows the arguments, e.g. "[-a|vcpu]". */
  readonly params: string;
  readonly help: string;
  /** @throws what is then printed as "Error: ..." */
  run(context: HmpContext, args: Arguments): void | Promise<void>;
  /**
   * Candidates for the argument that is being typed, whole words.
   *
   * @param before the words before it, without the command
   */
  complete?(target: MonitorTarget, word: string, before: readonly string[]): readonly string[];
}

export function takes(name: string, kind: ArgumentSpec['kind'], optional = false): ArgumentSpec {
  return { name, kind, optional };
}
export function flag(name: string, letter: string): ArgumentSpec {
  return { name, kind: 'flag', letter };
}
