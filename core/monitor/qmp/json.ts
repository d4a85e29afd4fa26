/**
 * JSON as QMP speaks it: whole numbers have 64 bits (bigint beyond 2^53), strings may be in single quotes, and what is
 * written is ASCII. The messages of errors are QEMU's.
 */

export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };

/** Lists and objects inside one another. */
export const MAX_NESTING = 128;

const UINT64_MAX = 2n ** 64n - 1n;
const INT64_MIN = -(2n ** 63n);

/** As QEMU writes it: one line, a space behind commas and colons. */
export function stringifyJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(stringifyJson).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${members(value)
      .map(([key, member]) => `${quote(key)}: ${stringifyJson(member)}`)
      .join(', ')}}`;
  }
  return scalar(value);
}

/** On several lines, four spaces to a level, as QEMU's pretty=on. */
export function prettyJson(value: Json, indent = ''): string {
  const deeper = `${indent}    `;
  if (Array.isArray(value)) {
    if (value.length === 0) return '[\n' + indent + ']';
    return `[\n${value.map((item) => deeper + prettyJson(item, deeper)).join(',\n')}\n${indent}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const lines = members(value).map(([key, member]) => `${deeper}${quote(key)}: ${prettyJson(member, deeper)}`);
    return `{\n${lines.join(',\n')}${lines.length === 0 ? '' : '\n'}${indent}}`;
  }
  return scalar(value);
}

/** What is undefined is not there, as for JSON.stringify. */
function members(value: { [key: string]: Json }): [string, Json][] {
  return Object.entries(value).filter(([, member]) => member !== undefined);
}

function scalar(value: null | boolean | number | bigint | string): string {
  return typeof value === 'string' ? quote(value) : String(value);
}

function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** @throws SyntaxError whose message QEMU would give as well */
export function parseJson(text: string): Json {
  const parser = new Parser(text);
  const value = parser.value(0);
  parser.end();
  return value;
}

const ESCAPES: Record<string, string> = {
  '"': '"',
  "'": "'",
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): Json {
    if (depth > MAX_NESTING) throw fault('nesting depth limit exceeded');
    const first = this.#peek();
    if (first === '{') return this.#object(depth);
    if (first === '[') return this.#list(depth);
    if (first === '"' || first === "'") return this.#string();
    if (/[-0-9]/.test(first)) return this.#number();
    if (/[a-z]/.test(first)) return this.#keyword();
    throw fault('expecting value');
  }

  end(): void {
    if (this.#peek() !== '') throw fault('expecting value');
  }

  /** The next character that is no white space; '' at the end. */
  #peek(): string {
    while (/[ \t\r\n]/.test(this.#text[this.#at] ?? '')) this.#at++;
    return this.#text[this.#at] ?? '';
  }

  #object(depth: number): Json {
    // No prototype: "__proto__" is a name like any other.
    const object = Object.create(null) as { [key: string]: Json };
    this.#at++;
    if (this.#peek() === '}') {
      this.#at++;
      return object;
    }
    for (;;) {
      const first = this.#peek();
      if (first !== '"' && first !== "'")
        throw fault(first === '}' ? 'expecting value' : 'key is not a string in object');
      const key = this.#string();
      if (this.#peek() !== ':') throw fault('missing : in object pair');
      this.#at++;
      const value = this.value(depth + 1);
      if (key in object) throw fault('duplicate key');
      object[key] = value;
      const next = this.#peek();
      this.#at++;
      if (next === '}') return object;
      if (next !== ',') throw fault('expected separator in dict');
    }
  }

  #list(depth: number): Json {
    const list: Json[] = [];
    this.#at++;
    if (this.#peek() === ']') {
      this.#at++;
      return list;
    }
    for (;;) {
      list.push(this.value(depth + 1));
      const next = this.#peek();
      this.#at++;
      if (next === ']') return list;
      if (next !== ',') throw fault('expected separator in list');
    }
  }

  #string(): string {
    const quotation = this.#text[this.#at++];
    let result = '';
    for (;;) {
      const char = this.#text[this.#at++];
      if (char === undefined) throw fault('unterminated string');
      if (char === quotation) return result;
      if (char < ' ') throw fault('control character in string');
      result += char === '\\' ? this.#escape() : char;
    }
  }

  #escape(): string {
    const char = this.#text[this.#at++] ?? '';
    if (char !== 'u') {
      if (Object.hasOwn(ESCAPES, char)) return ESCAPES[char];
      throw fault(`invalid escape sequence '\\${char}'`);
    }
    const digits = this.#text.slice(this.#at, this.#at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw fault('invalid hex escape in string');
    this.#at += 4;
    const code = parseInt(digits, 16);
    // As in QEMU: names and values end up in C strings.
    if (code === 0) throw fault("invalid escape sequence '\\u0000'");
    return String.fromCharCode(code);
  }

  #number(): number | bigint {
    const match = /^-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/.exec(this.#text.slice(this.#at, this.#at + 400));
    if (match === null) throw fault('expecting value');
    this.#at += match[0].length;
    if (/[0-9a-zA-Z.]/.test(this.#text[this.#at] ?? '')) throw fault('invalid number');
    const number = Number(match[0]);
    const whole = match[1] === undefined && match[2] === undefined;
    if (!whole || Number.isSafeInteger(number)) return number;
    const big = BigInt(match[0]);
    return big > UINT64_MAX || big < INT64_MIN ? number : big;
  }

  #keyword(): boolean | null {
    const [word] = /^[a-z]+/.exec(this.#text.slice(this.#at, this.#at + 40))!;
    this.#at += word.length;
    if (word === 'true') return true;
    if (word === 'false') return false;
    if (word === 'null') return null;
    throw fault(`invalid keyword '${word}'`);
  }
}

function fault(what: string): SyntaxError {
  return new SyntaxError(`JSON parse error, ${what}`);
}
