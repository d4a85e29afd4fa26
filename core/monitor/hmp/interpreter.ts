/** Lines of HMP: which command they are, its arguments, its help; and what Tab can make of one that is not finished. */
import { whyAbsent } from '../absent.ts';
import type { CommandContext } from '../commands/command.ts';
import { errorLine } from '../../errors.ts';
import { MonitorError } from '../errors.ts';
import type { Json } from '../qmp/json.ts';
import { parseArguments } from './arguments.ts';
import type { HmpCommand, HmpContext, HmpState } from './command.ts';
import { Cursor } from './expression.ts';
import { registerNames, registerValue } from './memory-commands.ts';
import type { Completion } from './readline.ts';
import { findCommand, HMP_COMMANDS, HMP_INFO } from './table.ts';

/** A name ends at a space or at the format. */
const NAME = /[^\s/]+/y;

export class HmpInterpreter {
  readonly #context: HmpContext;
  /** Where what commands print goes. */
  #print: (text: string) => void = () => {};

  constructor(context: CommandContext, state: HmpState) {
    this.#context = {
      ...context,
      state,
      print: (text) => this.#print(text),
      qmp: (name, args = {}) => this.#qmp(name, args),
    };
  }

  async #qmp(name: string, args: { [key: string]: Json }): Promise<Json> {
    const command = this.#context.commands.find((candidate) => candidate.name === name);
    if (command === undefined) throw new MonitorError(`The command ${name} has not been found`, 'CommandNotFound');
    return command.run(this.#context, args);
  }

  /** Executes a line; what it prints, errors as well, goes to `print`. Lines end in \n. One at a time. */
  async execute(line: string, print: (text: string) => void): Promise<void> {
    this.#print = print;
    const cursor = new Cursor(line);
    cursor.skipSpace();
    if (cursor.ended || cursor.char() === '#') return;
    const start = cursor.at;
    let name = cursor.take(NAME)?.[0] ?? '';
    let command: HmpCommand | undefined;
    if (name === 'help' || name === '?') return this.#help(cursor.text.slice(cursor.at));
    if (name === 'info') {
      cursor.skipSpace();
      const subcommand = cursor.take(NAME)?.[0];
      if (subcommand === undefined) return this.#help('info');
      command = findCommand(HMP_INFO, subcommand);
      name = `info ${subcommand}`;
    } else {
      command = findCommand(HMP_COMMANDS, name);
    }
    if (command === undefined) {
      const given = line.slice(start, cursor.at).trimEnd();
      const why = whyAbsent(given.replace(/^info\s+/, ''));
      return print(`unknown command: '${given}'${why === null ? '' : ` (${why})`}\n`);
    }
    try {
      await this.#run(command, cursor, name);
    } catch (error) {
      const { message } = error as Error;
      if (error instanceof UsageError) print(`${message}\nTry "help ${name}" for more information\n`);
      else print(`Error: ${errorLine(error)}\n`);
    }
  }

  async #run(command: HmpCommand, cursor: Cursor, name: string): Promise<void> {
    const context = this.#context;
    const { state } = context;
    // Registers in expressions are those of one moment.
    const wanted = new Map<string, bigint | null>();
    const names = [...cursor.text.matchAll(/\$([A-Za-z0-9_.]+)/g)].map((match) => match[1]);
    if (names.length > 0) {
      await context.target.halted(() => {
        for (const register of names) wanted.set(register, registerValue(context, register));
      });
    }
    let args;
    try {
      args = parseArguments(cursor, command.args, {
        command: command.names.join('|'),
        registers: (register) => wanted.get(register) ?? null,
        lastFormat: state.format,
      });
    } catch (error) {
      throw new UsageError(
        (error as Error).message.replace(`${command.names.join('|')}: `, `${usageName(command, name)}: `),
      );
    }
    await command.run(context, args);
  }

  #help(rest: string): void {
    const words = rest.trim().split(/\s+/).filter(Boolean);
    const [first, second] = words;
    const line = (prefix: string, { names, params, help }: HmpCommand): string =>
      `${prefix}${names.join('|')} ${params} -- ${help}\n`;
    const all = (prefix: string, commands: readonly HmpCommand[]): void =>
      this.#print(commands.map((command) => line(prefix, command)).join(''));
    if (first === undefined) {
      const own: HmpCommand[] = [
        { names: ['help', '?'], args: [], params: '[cmd]', help: 'show the help', run: () => {} },
        {
          names: ['info'],
          args: [],
          params: '[subcommand]',
          help: 'show various information about the system state',
          run: () => {},
        },
      ];
      return all(
        '',
        [...HMP_COMMANDS, ...own].sort((a, b) => (a.names[0] < b.names[0] ? -1 : 1)),
      );
    }
    if (first === 'info' && second === undefined) return all('info ', HMP_INFO);
    const command = first === 'info' ? findCommand(HMP_INFO, second) : findCommand(HMP_COMMANDS, first);
    if (command === undefined) return this.#print(`unknown command: '${words.slice(0, 2).join(' ')}'\n`);
    this.#print(line(first === 'info' ? 'info ' : '', command));
  }

  /** For the text before the cursor. */
  complete(before: string): Completion {
    const words = before.trimStart().split(/\s+/);
    const word = words.pop()!;
    const candidates = this.#candidates(words, word).filter((candidate) => candidate.startsWith(word));
    return { length: [...word].length, candidates: [...new Set(candidates)].sort() };
  }

  #candidates(before: readonly string[], word: string): readonly string[] {
    const [first, second] = before;
    const names = (commands: readonly HmpCommand[]): string[] => commands.flatMap((command) => command.names);
    if (first === undefined) return [...names(HMP_COMMANDS), 'info', 'help', '?'];
    if (first === 'help' || first === '?') {
      if (second === undefined) return [...names(HMP_COMMANDS), 'info'];
      return second === 'info' && before.length === 2 ? names(HMP_INFO) : [];
    }
    if (first === 'info' && second === undefined) return names(HMP_INFO);
    const isInfo = first === 'info';
    const command = isInfo ? findCommand(HMP_INFO, second) : findCommand(HMP_COMMANDS, first.split('/')[0]);
    if (command === undefined) return [];
    const given = before.slice(isInfo ? 2 : 1);
    if (word.startsWith('-'))
      return command.args.filter(({ kind }) => kind === 'flag').map(({ letter }) => `-${letter}`);
    if (word.startsWith('$') && command.args.some(({ kind }) => kind === 'expression')) {
      return registerNames(this.#context).map((name) => `$${name}`);
    }
    return command.complete?.(this.#context.target, word, given) ?? [];
  }
}

/** A command was given in a way that it does not take. */
class UsageError extends Error {}

function usageName(command: HmpCommand, name: string): string {
  return name.startsWith('info ') ? command.names[0] : command.names.join('|');
}
