/** Arguments of the img commands, in the spelling of qemu-img. */
import { RingsideError } from '../../../core/errors.ts';

export interface Options {
  /** By the letter or the long name; flags are ''. */
  readonly values: ReadonlyMap<string, string>;
  /** What is no option. */
  readonly words: readonly string[];
}

/**
 * @param takesValue names of options with a value, e.g. "f", "output"
 * @param flags names of those without
 * @throws RingsideError bad-option
 */
export function parseArguments(
  command: string,
  args: readonly string[],
  takesValue: readonly string[],
  flags: readonly string[],
): Options {
  const values = new Map<string, string>();
  const words: string[] = [];
  const refuse = (problem: string): never => {
    throw new RingsideError('bad-option', `img ${command}: ${problem}`);
  };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === '--') {
      words.push(...args.slice(i + 1));
      break;
    }
    if (!arg.startsWith('-') || arg === '-') {
      words.push(arg);
      continue;
    }
    const [, name, given] = /^--?([^=]*)(?:=(.*))?$/s.exec(arg) ?? [];
    if (flags.includes(name) && given === undefined) values.set(name, '');
    else if (takesValue.includes(name)) values.set(name, given ?? args[++i] ?? refuse(`${arg} needs a value`));
    else refuse(`unknown option "${arg}"; "ringside img help" lists them`);
  }
  return { values, words };
}

const UNITS = 'bkmgtpe';

/** Bytes: a number, maybe with a fraction, and K, M, G, T, P or E. */
export function parseSize(text: string): number {
  const [, number, unit = 'b'] = /^(\d+(?:\.\d+)?)([bkmgtpe])?$/i.exec(text) ?? [];
  const size = number === undefined ? NaN : Number(number) * 1024 ** UNITS.indexOf(unit.toLowerCase());
  if (!Number.isSafeInteger(size)) {
    throw new RingsideError('bad-option', `"${text}" is not a size: a number with K, M, G or T after it, such as 512M`);
  }
  return size;
}

/** `-o name=value,...`; a name alone is "on". */
export function parseCreateOptions(text: string | undefined): Map<string, string> {
  const options = new Map<string, string>();
  for (const part of text ? text.split(/(?<!,),(?!,)/) : []) {
    const at = part.indexOf('=');
    const name = at < 0 ? part : part.slice(0, at);
    options.set(name, at < 0 ? 'on' : part.slice(at + 1).replaceAll(',,', ','));
  }
  return options;
}
