/** Expressions of HMP (monitor/hmp.c, expr_sum): 64 bits, with the registers of the current CPU as $name. */
import { MonitorError } from '../errors.ts';

/** A place in a command line. */
export class Cursor {
  readonly text: string;
  at = 0;

  constructor(text: string) {
    this.text = text;
  }

  /** The character here; empty at the end. */
  char(): string {
    return this.text[this.at] ?? '';
  }

  get ended(): boolean {
    return this.at >= this.text.length;
  }

  skipSpace(): void {
    while (/\s/.test(this.char())) this.at++;
  }

  /** Takes what the pattern matches here; it must be sticky. */
  take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (match !== null) this.at += match[0].length;
    return match;
  }
}

/** null: there is no register of the name. */
export type Registers = (name: string) => bigint | null;

const NESTING = 64;

/**
 * @returns as signed 64-bit number
 * @throws MonitorError
 */
export function parseExpression(cursor: Cursor, registers: Registers): bigint {
  return new Evaluator(cursor, registers).sum();
}

class Evaluator {
  readonly #cursor: Cursor;
  readonly #registers: Registers;
  #depth = 0;

  constructor(cursor: Cursor, registers: Registers) {
    this.#cursor = cursor;
    this.#registers = registers;
  }

  sum(): bigint {
    if (++this.#depth > NESTING) throw new MonitorError('expression is nested too deeply');
    let value = this.#logic();
    for (;;) {
      const operator = this.#operator('+-');
      if (operator === '') break;
      const right = this.#logic();
      value = wrap(operator === '+' ? value + right : value - right);
    }
    this.#depth--;
    return value;
  }

  #logic(): bigint {
    let value = this.#product();
    for (;;) {
      const operator = this.#operator('&|^');
      if (operator === '') return value;
      const right = this.#product();
      value = wrap(operator === '&' ? value & right : operator === '|' ? value | right : value ^ right);
    }
  }

  #product(): bigint {
    let value = this.#unary();
    for (;;) {
      const operator = this.#operator('*/%');
      if (operator === '') return value;
      const right = this.#unary();
      if (operator === '*') value = wrap(value * right);
      else if (right === 0n) throw new MonitorError('division by zero');
      else value = wrap(operator === '/' ? value / right : value % right);
    }
  }

  #operator(allowed: string): string {
    this.#cursor.skipSpace();
    const char = this.#cursor.char();
    if (char === '' || !allowed.includes(char)) return '';
    this.#cursor.at++;
    return char;
  }

  #unary(): bigint {
    // Signs in a row need no recursion.
    const signs: string[] = [];
    for (let sign = this.#operator('+-~'); sign !== ''; sign = this.#operator('+-~')) signs.push(sign);
    let value = this.#primary();
    for (const sign of signs.reverse()) {
      if (sign === '-') value = wrap(-value);
      else if (sign === '~') value = ~value;
    }
    return value;
  }

  #primary(): bigint {
    const cursor = this.#cursor;
    cursor.skipSpace();
    if (cursor.char() === '(') {
      cursor.at++;
      const value = this.sum();
      cursor.skipSpace();
      if (cursor.char() !== ')') throw new MonitorError("')' expected");
      cursor.at++;
      return value;
    }
    if (cursor.char() === "'") {
      const char = cursor.text.codePointAt(cursor.at + 1);
      if (char === undefined) throw new MonitorError('character constant expected');
      cursor.at += 1 + String.fromCodePoint(char).length;
      if (cursor.char() !== "'") throw new MonitorError("missing terminating ' character");
      cursor.at++;
      return BigInt(char);
    }
    if (cursor.char() === '$') {
      const name = cursor.take(/\$([A-Za-z0-9_.]*)/y)![1];
      const value = this.#registers(name);
      if (value === null) throw new MonitorError('unknown register');
      return wrap(value);
    }
    if (cursor.ended) throw new MonitorError('unexpected end of expression');
    const match = cursor.take(/0[xX][0-9a-fA-F]{1,64}|[0-9]{1,64}/y);
    if (match === null || /[0-9a-zA-Z_]/.test(cursor.char())) throw new MonitorError('invalid char in expression');
    const [digits] = match;
    if (!/^0[0-9]/.test(digits)) return wrap(BigInt(digits));
    if (/[89]/.test(digits)) throw new MonitorError('invalid char in expression');
    return wrap(BigInt(`0o${digits.slice(1)}`));
  }
}

function wrap(value: bigint): bigint {
  return BigInt.asIntN(64, value);
}
