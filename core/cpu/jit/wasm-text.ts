/** A small WebAssembly disassembler: functions of a module in the text format, with names that the caller knows. */
import { OPCODES, prefixed } from './wasm-opcodes.ts';
import type { Opcode } from './wasm-opcodes.ts';

const VALUE_TYPES: Record<number, string> = {
  0x7f: 'i32',
  0x7e: 'i64',
  0x7d: 'f32',
  0x7c: 'f64',
  0x7b: 'v128',
  0x70: 'funcref',
  0x6f: 'externref',
};
const VOID = 0x40;

export interface FunctionType {
  params: string[];
  results: string[];
}

export interface WasmFunction {
  type: FunctionType;
  /** The body without its size: locals, then instructions. */
  body: Uint8Array;
  /** Offset in the body of a branch -> whether it is likely taken (metadata.code.branch_hint). */
  hints: ReadonlyMap<number, boolean>;
}

export interface WasmModule {
  types: FunctionType[];
  /** How many functions it imports: those have the first indices. */
  imported: number;
  /** Those that it defines. */
  functions: WasmFunction[];
}

/** Where a value on the stack comes from, as far as it matters for names. */
export type Origin = { local: number } | { constant: number } | null;

/** What the caller knows; each may give null. */
export interface Names {
  local?(index: number): string | null;
  /** A function of the module, by its index. */
  function?(index: number): string | null;
  /** What is in the table at an index that is a constant. */
  element?(index: number): string | null;
  /** An access at a constant offset from a base; also sums with a local come from that local. */
  address?(offset: number, base: Origin): string | null;
  constant?(value: number): string | null;
  /** Lines to be put before the instruction at an offset in the body. */
  comments?(offset: number): readonly string[];
}

export interface FunctionText {
  lines: string[];
  /** What is wrong with it: an opcode that is not known, an end in the middle. Null: nothing. */
  problem: string | null;
}

const hex = (n: number): string => `0x${n.toString(16)}`;

// ---- bytes ------------------------------------------------------------------------------------------------------

class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }
  get left(): number {
    return this.#bytes.length - this.at;
  }
  byte(): number {
    const value = this.#bytes[this.at];
    if (value === undefined) throw new RangeError('ends in the middle of an instruction');
    this.at++;
    return value;
  }
  take(count: number): Uint8Array {
    if (count > this.left) throw new RangeError('ends in the middle of an instruction');
    this.at += count;
    return this.#bytes.subarray(this.at - count, this.at);
  }
  #leb(bits: number, signed: boolean): bigint {
    let value = 0n;
    for (let shift = 0; shift < bits; shift += 7) {
      const low = this.byte();
      value |= BigInt(low & 0x7f) << BigInt(shift);
      if ((low & 0x80) !== 0) continue;
      return signed ? BigInt.asIntN(Math.min(bits, shift + 7), value) : BigInt.asUintN(bits, value);
    }
    throw new RangeError(`has a number of more than ${bits} bits`);
  }
  u32(): number {
    return Number(this.#leb(32, false));
  }
  i32(): number {
    return Number(this.#leb(32, true));
  }
  i64(): bigint {
    return this.#leb(64, true);
  }
  f32(): number {
    const bytes = this.take(4);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
  }
  f64(): number {
    const bytes = this.take(8);
    return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
  }
  valueType(): string {
    const code = this.byte();
    return VALUE_TYPES[code] ?? `type ${hex(code)}`;
  }
  text(): string {
    return new TextDecoder().decode(this.take(this.u32()));
  }
}

// ---- modules ----------------------------------------------------------------------------------------------------

const SECTION = { CUSTOM: 0, TYPE: 1, IMPORT: 2, FUNCTION: 3, CODE: 10 } as const;

function list<T>(r: Reader, item: () => T): T[] {
  const count = r.u32();
  const items: T[] = [];
  for (let i = 0; i < count; i++) items.push(item());
  return items;
}

function readLimits(r: Reader): void {
  const flags = r.byte();
  r.u32();
  if ((flags & 1) !== 0) r.u32();
}

/** @returns whether it is a function */
function readImport(r: Reader): boolean {
  r.text();
  r.text();
  const kind = r.byte();
  if (kind === 0) r.u32();
  else if (kind === 1) {
    r.valueType();
    readLimits(r);
  } else if (kind === 2) readLimits(r);
  else if (kind === 3) {
    r.valueType();
    r.byte();
  } else throw new RangeError(`imports something of kind ${kind}`);
  return kind === 0;
}

/**
 * Reads what is of interest in a module: types, functions, branch hints.
 * @throws RangeError when it is not well-formed
 */
export function readModule(bytes: Uint8Array): WasmModule {
  const r = new Reader(bytes);
  r.take(8);
  let types: FunctionType[] = [];
  let imported = 0;
  let declared: number[] = [];
  let bodies: Uint8Array[] = [];
  const hints = new Map<number, Map<number, boolean>>();
  while (r.left > 0) {
    const id = r.byte();
    const s = new Reader(r.take(r.u32()));
    if (id === SECTION.TYPE) {
      types = list(s, () => {
        s.byte();
        return { params: list(s, () => s.valueType()), results: list(s, () => s.valueType()) };
      });
    } else if (id === SECTION.IMPORT) imported = list(s, () => readImport(s)).filter(Boolean).length;
    else if (id === SECTION.FUNCTION) declared = list(s, () => s.u32());
    else if (id === SECTION.CODE) bodies = list(s, () => s.take(s.u32()));
    else if (id === SECTION.CUSTOM && s.text() === 'metadata.code.branch_hint') {
      list(s, () => {
        const of = s.u32();
        const pairs = list(s, () => {
          const at = s.u32();
          return [at, s.take(s.u32())[0] === 1] as const;
        });
        hints.set(of, new Map(pairs));
      });
    }
  }
  const functions = bodies.map((body, i): WasmFunction => {
    const type = types[declared[i] ?? -1];
    if (type === undefined) throw new RangeError(`function ${i} has no type`);
    return { type, body, hints: hints.get(imported + i) ?? new Map<number, boolean>() };
  });
  return { types, imported, functions };
}

// ---- functions --------------------------------------------------------------------------------------------------

interface Line {
  indent: number;
  text: string;
  /** The structure whose label goes behind the first word, or that it branches to: its place among all. */
  opens?: number;
  targets?: number[];
  note?: string;
}

interface Frame {
  id: number;
  /** Height of the stack below it. */
  height: number;
  results: number;
}

const LABEL = (id: number): string => `$${id}`;

class Printer {
  readonly #r: Reader;
  readonly #module: WasmModule;
  readonly #fn: WasmFunction;
  readonly #names: Names;
  readonly #lines: Line[] = [];
  readonly #targeted = new Set<number>();
  #stack: Origin[] = [];
  #frames: Frame[] = [];
  #opened = 0;

  constructor(module: WasmModule, fn: WasmFunction, names: Names) {
    this.#module = module;
    this.#fn = fn;
    this.#names = names;
    this.#r = new Reader(fn.body);
  }

  #local(index: number): string {
    const name = this.#names.local?.(index) ?? null;
    return name === null ? String(index) : `$${name}`;
  }

  print(name: string): FunctionText {
    const { type } = this.#fn;
    let problem: string | null = null;
    let head = `(func $${name}`;
    type.params.forEach((t, i) => (head += ` (param ${this.#local(i)} ${t})`));
    if (type.results.length > 0) head += ` (result ${type.results.join(' ')})`;
    this.#lines.push({ indent: 0, text: head });
    try {
      this.#declarations(type.params.length);
      this.#frames = [{ id: this.#opened++, height: 0, results: type.results.length }];
      while (this.#frames.length > 0) this.#instruction();
      if (this.#r.left > 0) throw new RangeError(`goes on behind its end: ${this.#r.left} bytes`);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      problem = error.message;
      this.#lines.push({ indent: 1, text: `(;${problem};)` });
    }
    this.#lines.push({ indent: 0, text: ')' });
    return { lines: this.#lines.map((line) => this.#format(line)), problem };
  }

  #declarations(first: number): void {
    let index = first;
    for (let groups = this.#r.u32(); groups > 0; groups--) {
      const count = this.#r.u32();
      const type = this.#r.valueType();
      if (count > 50000) throw new RangeError(`declares ${count} locals`);
      let text = '';
      for (let i = 0; i < count; i++) text += `${i > 0 ? ' ' : ''}(local ${this.#local(index++)} ${type})`;
      if (count > 0) this.#lines.push({ indent: 1, text });
    }
  }

  #format({ indent, text, opens, targets, note }: Line): string {
    const label = opens !== undefined && this.#targeted.has(opens) ? LABEL(opens) : null;
    let out = text;
    if (label !== null) out = text.replace(/^\S+/, (word) => `${word} ${label}`);
    if (targets !== undefined) out = `${text} ${targets.map(LABEL).join(' ')}`;
    return '  '.repeat(indent) + out + (note === undefined ? '' : ` (;${note};)`);
  }

  #pop(): Origin {
    const floor = this.#frames.at(-1)?.height ?? 0;
    return this.#stack.length > floor ? this.#stack.pop()! : null;
  }
  #popMany(count: number): Origin[] {
    const values: Origin[] = [];
    for (let i = 0; i < count; i++) values.unshift(this.#pop());
    return values;
  }
  #push(count: number, origin: Origin = null): void {
    for (let i = 0; i < count; i++) this.#stack.push(origin);
  }
  /** Behind what does not go on. */
  #unreachable(): void {
    this.#stack.length = this.#frames.at(-1)?.height ?? 0;
  }

  #target(depth: number): number {
    const frame = this.#frames.at(-1 - depth);
    if (frame === undefined) throw new RangeError(`branches out of ${depth} blocks, and there are fewer`);
    this.#targeted.add(frame.id);
    return frame.id;
  }

  #instruction(): void {
    const r = this.#r;
    const start = r.at;
    const indent = this.#frames.length;
    for (const text of this.#names.comments?.(start) ?? []) this.#lines.push({ indent, text: `;; ${text}` });
    const first = r.byte();
    const code = first >= 0xfc && first <= 0xfe ? prefixed(first, r.u32()) : first;
    const op = OPCODES.get(code);
    if (op === undefined) {
      const number = code > 0xff ? `${hex(first)} ${hex(code & 0xffff)}` : hex(code);
      throw new RangeError(`unknown opcode ${number} at ${hex(start)}; ${r.left} bytes follow`);
    }
    const hint = this.#fn.hints.get(start);
    const line = this.#one(op, indent);
    if (hint !== undefined) line.note = [line.note, hint ? 'likely' : 'unlikely'].filter(Boolean).join(', ');
    // The function's own end is the closing parenthesis.
    if (this.#frames.length > 0) this.#lines.push(line);
  }

  /** Reads what follows the opcode and keeps the books. */
  #one(op: Opcode, indent: number): Line {
    const r = this.#r;
    const line: Line = { indent, text: op.name };
    switch (op.immediate) {
      case 'none':
        this.#plain(op, line);
        return line;
      case 'blockType': {
        this.#popMany(op.pops);
        const type = this.#blockType();
        line.opens = this.#opened;
        if (type.params.length > 0) line.text += ` (param ${type.params.join(' ')})`;
        if (type.results.length > 0) line.text += ` (result ${type.results.join(' ')})`;
        this.#popMany(type.params.length);
        this.#frames.push({ id: this.#opened++, height: this.#stack.length, results: type.results.length });
        this.#push(type.params.length);
        return line;
      }
      case 'label': {
        this.#popMany(op.pops);
        line.targets = [this.#target(r.u32())];
        if (op.name === 'br') this.#unreachable();
        return line;
      }
      case 'labels': {
        this.#popMany(op.pops);
        line.targets = [...list(r, () => this.#target(r.u32())), this.#target(r.u32())];
        this.#unreachable();
        return line;
      }
      case 'local':
        this.#variable(op, r.u32(), line);
        return line;
      case 'global':
        line.text += ` ${r.u32()}`;
        this.#popMany(op.pops);
        this.#push(op.pushes);
        return line;
      case 'function': {
        const index = r.u32();
        const name = this.#names.function?.(index) ?? null;
        line.text += name === null ? ` ${index}` : ` $${name}`;
        this.#call(op, this.#module.functions[index - this.#module.imported]?.type);
        return line;
      }
      case 'indirect': {
        const type = r.u32();
        const tableIndex = r.u32();
        const callee = this.#pop();
        line.text += `${tableIndex === 0 ? '' : ` ${tableIndex}`} (type ${type})`;
        const name = callee !== null && 'constant' in callee ? this.#names.element?.(callee.constant) : null;
        if (name !== null && name !== undefined) line.note = name;
        this.#call(op, this.#module.types[type]);
        return line;
      }
      case 'memory':
        this.#access(op, line);
        return line;
      case 'i32': {
        const value = r.i32();
        line.text += ` ${value}`;
        const name = this.#names.constant?.(value) ?? null;
        if (name !== null) line.note = name;
        this.#push(1, { constant: value });
        return line;
      }
      case 'i64': {
        const value = r.i64();
        line.text += ` ${value}`;
        if (value > 0xffffn || value < -0xffffn) line.note = `0x${BigInt.asUintN(64, value).toString(16)}`;
        this.#push(1);
        return line;
      }
      case 'f32':
      case 'f64':
        line.text += ` ${op.immediate === 'f32' ? r.f32() : r.f64()}`;
        this.#push(1);
        return line;
      case 'byte':
      case 'bytes2': {
        const bytes = r.take(op.immediate === 'byte' ? 1 : 2);
        if (op.name.endsWith('_lane')) line.text += ` ${bytes[0]}`;
        this.#popMany(op.pops);
        this.#push(op.pushes);
        return line;
      }
      case 'types':
        line.text += ` (result ${list(r, () => r.valueType()).join(' ')})`;
        this.#popMany(op.pops);
        this.#push(op.pushes);
        return line;
    }
  }

  #plain(op: Opcode, line: Line): void {
    const frame = this.#frames.at(-1)!;
    switch (op.name) {
      case 'end':
        this.#frames.pop();
        this.#stack.length = frame.height;
        this.#push(frame.results);
        line.indent--;
        return;
      case 'else':
        this.#stack.length = frame.height;
        line.indent--;
        return;
      case 'return':
      case 'unreachable':
        this.#unreachable();
        return;
      default: {
        const values = this.#popMany(op.pops);
        const from = op.name === 'i32.add' ? values.find((value) => value !== null && 'local' in value) : undefined;
        this.#push(op.pushes, from ?? null);
      }
    }
  }

  #variable(op: Opcode, index: number, line: Line): void {
    line.text += ` ${this.#local(index)}`;
    if (op.name === 'local.get') this.#push(1, { local: index });
    else this.#pop();
    if (op.name === 'local.tee') this.#push(1, { local: index });
  }

  #access(op: Opcode, line: Line): void {
    this.#r.u32();
    const offset = this.#r.u32();
    const base = this.#popMany(op.pops)[0] ?? null;
    this.#push(op.pushes);
    if (offset !== 0) line.text += ` offset=${hex(offset)}`;
    const name = this.#names.address?.(offset, base) ?? null;
    if (name !== null) line.note = name;
  }

  #call(op: Opcode, type: FunctionType | undefined): void {
    if (type === undefined) throw new RangeError('calls a function of no known type');
    this.#popMany(type.params.length);
    if (op.name.startsWith('return_')) this.#unreachable();
    else this.#push(type.results.length);
  }

  /** Shorthands are negative numbers of one byte; others are type indices. */
  #blockType(): FunctionType {
    const code = this.#r.i32();
    if (code >= 0) {
      const type = this.#module.types[code];
      if (type === undefined) throw new RangeError(`has a block of type ${code}, which there is not`);
      return type;
    }
    const short = code & 0x7f;
    return { params: [], results: short === VOID ? [] : [VALUE_TYPES[short] ?? `type ${hex(short)}`] };
  }
}

/**
 * A function in the text format. What is not known ends it with a comment; nothing makes it throw.
 * @param name of the function
 */
export function functionText(module: WasmModule, fn: WasmFunction, name: string, names: Names = {}): FunctionText {
  return new Printer(module, fn, names).print(name);
}
