/** Arguments of HMP's commands, in QEMU's syntax (monitor/hmp.c, monitor_parse_arguments). */
import { MonitorError } from '../errors.ts';
import { Cursor, parseExpression } from './expression.ts';
import type { Registers } from './expression.ts';

/**
 * string: a word or a quoted string; filename, block: the same, for messages. rest: all that follows. options: a list
 * key=value,... expression: 64 bits; int: 32 bits. megabytes: a number of MiB, in bytes; size: with a suffix. bool: on or off.
 * flag: -c. format: /fmt.
 */
export type ArgumentKind =
  | 'string'
  | 'filename'
  | 'block'
  | 'rest'
  | 'options'
  | 'expression'
  | 'int'
  | 'megabytes'
  | 'bool'
  | 'flag'
  | 'format';

export interface ArgumentSpec {
  readonly name: string;
  readonly kind: ArgumentKind;
  readonly optional?: boolean;
  /** The letter of a flag. */
  readonly letter?: string;
}

/** /fmt: count, format letter, size in bytes. */
export interface Format {
  count: number;
  format: string;
  size: number;
}

export type ArgumentValue = string | bigint | boolean | Format;
export type Arguments = Readonly<Record<string, ArgumentValue | undefined>>;

const WORDS: Partial<Record<ArgumentKind, string>> = {
  string: 'string expected',
  filename: 'filename expected',
  block: 'block device name expected',
};
/** What "x" and the like show at most, so that a typing error does not fill the screen for an hour. */
export const MAX_COUNT = 65536;
const DEFAULT_FORMAT: Format = { count: 1, format: 'x', size: 4 };

export interface ParseState {
  /** As in messages, e.g. "print|p". */
  readonly command: string;
  readonly registers: Registers;
  /** The last /fmt, which the next one without takes over. */
  readonly lastFormat: Format | null;
}

/** @throws MonitorError */
export function parseArguments(cursor: Cursor, specs: readonly ArgumentSpec[], state: ParseState): Arguments {
  const values: Record<string, ArgumentValue | undefined> = {};
  for (const spec of specs) values[spec.name] = parseOne(cursor, spec, state);
  cursor.skipSpace();
  if (!cursor.ended) throw new MonitorError(`${state.command}: extraneous characters at the end of line`);
  return values;
}

function parseOne(cursor: Cursor, spec: ArgumentSpec, state: ParseState): ArgumentValue | undefined {
  const { kind, optional = false } = spec;
  cursor.skipSpace();
  if (cursor.ended && optional) return undefined;
  switch (kind) {
    case 'flag':
      return parseFlag(cursor, spec.letter ?? '', state.command);
    case 'format':
      return parseFormat(cursor, state.lastFormat ?? DEFAULT_FORMAT);
    case 'rest': {
      const text = cursor.text.slice(cursor.at).trimEnd();
      cursor.at = cursor.text.length;
      if (text === '') throw new MonitorError(`${state.command}: string expected`);
      return text;
    }
    case 'string':
    case 'filename':
    case 'block':
    case 'options': {
      const text = parseString(cursor);
      if (text !== null) return text;
      throw new MonitorError(`${state.command}: ${WORDS[kind] ?? 'string expected'}`);
    }
    case 'bool': {
      const word = cursor.take(/\S+/y)?.[0];
      if (word === 'on') return true;
      if (word === 'off') return false;
      throw new MonitorError("Expected 'on' or 'off'");
    }
    case 'expression':
      return parseExpression(cursor, state.registers);
    case 'int': {
      const value = parseExpression(cursor, state.registers);
      if (BigInt.asIntN(32, value) === value || BigInt.asUintN(32, value) === value) return value;
      throw new MonitorError(`'${state.command}' has failed: integer is for 32-bit values`);
    }
    case 'megabytes': {
      const value = parseExpression(cursor, state.registers);
      if (value < 0n || value > 2n ** 43n) throw new MonitorError('enter a positive value');
      return value * 1048576n;
    }
  }
}

function parseFlag(cursor: Cursor, letter: string, command: string): boolean {
  const match = cursor.take(/-(\S*)(?=\s|$)/y);
  if (match === null) return false;
  if (match[1] === letter) return true;
  // Maybe one of the next flags.
  cursor.at -= match[0].length;
  if (match[1].length === 1 && /[a-zA-Z]/.test(match[1])) return false;
  throw new MonitorError(`${command}: unsupported option ${match[0]}`);
}

/** A word, or what stands in double quotes with \\n, \\r, \\\\, \\' and \\". null: nothing, or no end of the quotation. */
export function parseString(cursor: Cursor): string | null {
  cursor.skipSpace();
  if (cursor.ended) return null;
  if (cursor.char() !== '"') return cursor.take(/\S+/y)![0];
  cursor.at++;
  let text = '';
  for (;;) {
    if (cursor.ended) throw new MonitorError('unterminated string');
    const char = cursor.char();
    cursor.at++;
    if (char === '"') return text;
    if (char !== '\\') {
      text += char;
      continue;
    }
    const escaped = cursor.char();
    cursor.at++;
    if (escaped === 'n') text += '\n';
    else if (escaped === 'r') text += '\r';
    else if (escaped !== '' && `\\'"`.includes(escaped)) text += escaped;
    else throw new MonitorError(`unsupported escape code: '\\${escaped}'`);
  }
}

function parseFormat(cursor: Cursor, last: Format): Format {
  if (cursor.char() !== '/') return { ...last, count: 1 };
  cursor.at++;
  let count = 1;
  const digits = cursor.take(/[0-9]+/y);
  if (digits !== null) count = Number(digits[0]);
  let { format } = last;
  let size: number | null = null;
  for (;;) {
    const letter = cursor.char();
    if (letter !== '' && 'oduxic'.includes(letter)) format = letter;
    else if (letter === 'b') size = 1;
    else if (letter === 'h') size = 2;
    else if (letter === 'w') size = 4;
    else if (letter === 'g' || letter === 'L') size = 8;
    else break;
    cursor.at++;
  }
  if (!cursor.ended && !/\s/.test(cursor.char())) {
    throw new MonitorError(`invalid char in format: '${cursor.char()}'`);
  }
  if (count > MAX_COUNT) throw new MonitorError(`the count can be ${MAX_COUNT} at most`);
  return { count, format, size: size ?? (format === 'i' ? last.size : format === 'c' ? 1 : last.size) };
}
