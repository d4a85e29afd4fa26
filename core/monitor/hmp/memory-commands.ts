/** HMP: memory and expressions. */
import { disassemble } from '../../cpu/isa/disassemble.ts';
import { MonitorError } from '../errors.ts';
import { mappings, pagingLevels, translate } from '../page-walk.ts';
import { flag, takes } from './command.ts';
import type { HmpCommand, HmpContext } from './command.ts';
import type { Arguments, Format } from './arguments.ts';

const hex16 = (value: bigint): string => BigInt.asUintN(64, value).toString(16).padStart(16, '0');

/** Copies memory piece by piece: a piece may end at a page. null: nothing is there. */
function readMemory(context: HmpContext, address: bigint, length: number, physical: boolean): Uint8Array | null {
  const { target, state } = context;
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const at = BigInt.asUintN(64, address + BigInt(done));
    const place = physical ? { physical: at, left: 2n ** 64n - at } : translate(target, state.cpu, at);
    if (place === null) return null;
    const left = BigInt(length - done);
    const count = Number(place.left < left ? place.left : left);
    const piece = target.readMemory(place.physical, count);
    if (piece === null) return null;
    bytes.set(piece, done);
    done += count;
  }
  return bytes;
}

function load(view: DataView, at: number, size: number, signed: boolean): bigint {
  if (size === 1) return BigInt(signed ? view.getInt8(at) : view.getUint8(at));
  if (size === 2) return BigInt(signed ? view.getInt16(at, true) : view.getUint16(at, true));
  if (size === 4) return BigInt(signed ? view.getInt32(at, true) : view.getUint32(at, true));
  return signed ? view.getBigInt64(at, true) : view.getBigUint64(at, true);
}

/** A byte as a character constant (monitor_printc). */
function character(value: bigint): string {
  const code = Number(BigInt.asUintN(8, value));
  const named: Record<number, string> = { 0x27: "\\'", 0x5c: '\\\\', 0x0a: '\\n', 0x0d: '\\r' };
  if (named[code] !== undefined) return `'${named[code]}'`;
  if (code >= 32 && code <= 126) return `'${String.fromCharCode(code)}'`;
  return `'\\x${code.toString(16).padStart(2, '0')}'`;
}

function number(value: bigint, format: string, size: number): string {
  const bits = size * 8;
  switch (format) {
    case 'o': {
      const digits = value === 0n ? '0' : `0${value.toString(8)}`;
      return digits.padStart(Math.ceil(bits / 3));
    }
    case 'u':
    case 'd':
      return value.toString().padStart(Math.ceil((bits * 10) / 33));
    case 'c':
      return character(value);
    default:
      return `0x${value.toString(16).padStart(bits / 4, '0')}`;
  }
}

function dumpLines(context: HmpContext, address: bigint, { count, format, size }: Format, physical: boolean): string {
  if (format === 'i') return dumpInstructions(context, address, count, physical);
  const width = format === 'c' ? 1 : size;
  const line = width === 1 ? 8 : 16;
  let text = '';
  for (let left = count * width, at = BigInt.asUintN(64, address); left > 0;) {
    const length = Math.min(left, line);
    text += `${hex16(at)}:`;
    const bytes = readMemory(context, at, length, physical);
    if (bytes === null) return `${text} Cannot access memory\n`;
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < length; i += width) text += ` ${number(load(view, i, width, format === 'd'), format, width)}`;
    text += '\n';
    at = BigInt.asUintN(64, at + BigInt(length));
    left -= length;
  }
  return text;
}

function dumpInstructions(context: HmpContext, address: bigint, count: number, physical: boolean): string {
  let text = '';
  let at = BigInt.asUintN(64, address);
  for (let i = 0; i < count; i++) {
    // An instruction may straddle two pages, of which the second need not be there if it is a short one.
    const first = readMemory(context, at, 2, physical);
    const rest = first !== null && (first[0] & 3) === 3 ? readMemory(context, at + 2n, 2, physical) : null;
    if (first === null || ((first[0] & 3) === 3 && rest === null)) {
      return `${text}0x${hex16(at)}:  Cannot access memory\n`;
    }
    const word = first[0] | (first[1] << 8) | (rest === null ? 0 : (rest[0] << 16) | (rest[1] << 24));
    const { length, text: instruction } = disassemble(word >>> 0, at);
    const code =
      length === 2 ? (word & 0xffff).toString(16).padStart(4, '0') : (word >>> 0).toString(16).padStart(8, '0');
    text += `0x${hex16(at)}:  ${code.padEnd(18)}${instruction}\n`;
    at = BigInt.asUintN(64, at + BigInt(length));
  }
  return text;
}

function dumper(physical: boolean) {
  return async (context: HmpContext, args: Arguments): Promise<void> => {
    const format = args['fmt'] as Format;
    context.state.format = { ...format, count: 1 };
    context.print(await context.target.halted(() => dumpLines(context, args['addr'] as bigint, format, physical)));
  };
}

export const MEMORY_COMMANDS: readonly HmpCommand[] = [
  {
    names: ['x'],
    args: [takes('fmt', 'format'), takes('addr', 'expression')],
    params: '/fmt addr',
    help: "virtual memory dump starting at 'addr'",
    run: dumper(false),
  },
  {
    names: ['xp'],
    args: [takes('fmt', 'format'), takes('addr', 'expression')],
    params: '/fmt addr',
    help: "physical memory dump starting at 'addr'",
    run: dumper(true),
  },
  {
    names: ['print', 'p'],
    args: [takes('fmt', 'format'), takes('val', 'expression')],
    params: '/fmt expr',
    help: 'print expression value (use $reg for CPU register access)',
    run({ print, state }, { fmt, val }) {
      const { format, size } = fmt as Format;
      state.format = { format, size, count: 1 };
      const value = val as bigint;
      const unsigned = BigInt.asUintN(64, value);
      const text: Record<string, string> = {
        o: unsigned === 0n ? '0' : `0${unsigned.toString(8)}`,
        x: unsigned === 0n ? '0' : `0x${unsigned.toString(16)}`,
        u: unsigned.toString(),
        c: character(value),
      };
      print(`${text[format] ?? value.toString()}\n`);
    },
  },
  {
    names: ['gva2gpa'],
    args: [takes('addr', 'expression')],
    params: 'addr',
    help: 'print the guest physical address corresponding to a guest virtual address',
    async run({ print, target, state }, { addr }) {
      const found = await target.halted(() => translate(target, state.cpu, BigInt.asUintN(64, addr as bigint)));
      print(found === null ? 'Unmapped\n' : `gpa: 0x${found.physical.toString(16)}\n`);
    },
  },
  {
    names: ['memsave'],
    args: [takes('val', 'expression'), takes('size', 'int'), takes('filename', 'filename')],
    params: 'addr size file',
    help: "save to disk virtual memory dump starting at 'addr' of size 'size'",
    async run({ qmp, state }, { val, size, filename }) {
      const arguments_ = { val: val as bigint, size: size as bigint, filename: filename as string };
      await qmp('memsave', { ...arguments_, 'cpu-index': state.cpu });
    },
  },
  {
    names: ['pmemsave'],
    args: [takes('val', 'expression'), takes('size', 'int'), takes('filename', 'filename')],
    params: 'addr size file',
    help: "save to disk physical memory dump starting at 'addr' of size 'size'",
    async run({ qmp }, { val, size, filename }) {
      await qmp('pmemsave', { val: val as bigint, size: size as bigint, filename: filename as string });
    },
  },
];

/** Entries of page tables that "info mem" looks at. */
const MEM_ENTRIES = 4_000_000;

export const MEMORY_INFO: readonly HmpCommand[] = [
  {
    names: ['mem'],
    args: [],
    params: '',
    help: 'show the active virtual memory mappings',
    async run({ print, target, state }) {
      const found = await target.halted(() =>
        pagingLevels(target, state.cpu) === 0 ? null : mappings(target, state.cpu, MEM_ENTRIES),
      );
      if (found === null) return print('No translation or protection\n');
      let text = 'vaddr            paddr            size             attr\n';
      text += '---------------- ---------------- ---------------- -------\n';
      for (const { address, physical, size, attributes } of found.ranges) {
        text += `${hex16(address)} ${hex16(physical)} ${hex16(size)} ${attributes}\n`;
      }
      if (!found.complete) text += `(the tables have more than ${MEM_ENTRIES} entries)\n`;
      print(text);
    },
  },
  {
    names: ['registers'],
    args: [flag('cpustate_all', 'a'), takes('vcpu', 'int', true)],
    params: '[-a|vcpu]',
    help: "show the cpu registers (-a: show register info for all cpus; vcpu: specific vCPU to query; show the current CPU's registers if no argument is specified)",
    async run(context, { cpustate_all: all, vcpu }) {
      const { target, state, print } = context;
      const wanted = vcpu === undefined ? state.cpu : Number(vcpu);
      const cpus = all === true ? target.cpus : target.cpus.filter(({ index }) => index === wanted);
      if (cpus.length === 0) throw new MonitorError(`CPU#${wanted} not available`);
      print(await target.halted(() => cpus.map(({ index }) => registerDump(context, index)).join('')));
    },
    complete: (target) => target.cpus.map(({ index }) => String(index)),
  },
];

const X_LABELS = 'zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6'
  .split(' ')
  .map((name, index) => `x${index}/${name}`);
const F_LABELS = (
  'ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ' +
  'ft8 ft9 ft10 ft11'
)
  .split(' ')
  .map((name, index) => `f${index}/${name}`);

function registerDump({ target }: HmpContext, cpu: number): string {
  const { pc, csrs, x, f } = target.hart(cpu);
  const bank = (labels: readonly string[], values: readonly bigint[]): string => {
    let text = '';
    values.forEach((value, index) => {
      text += ` ${labels[index].padEnd(8)} ${hex16(value)}${index % 4 === 3 ? '\n' : ''}`;
    });
    return text;
  };
  let text = `\nCPU#${cpu}\n ${'pc'.padEnd(8)} ${hex16(pc)}\n`;
  for (const [name, value] of csrs) text += ` ${name.padEnd(8)} ${hex16(value)}\n`;
  return text + bank(X_LABELS, x) + bank(F_LABELS, f);
}

/** $name in expressions. Of halted harts only. */
export function registerValue(context: HmpContext, name: string): bigint | null {
  const { pc, csrs, x, f } = context.target.hart(context.state.cpu);
  if (name === 'pc') return pc;
  if (name === 'fp') return x[8];
  for (const [labels, values] of [
    [X_LABELS, x],
    [F_LABELS, f],
  ] as const) {
    const index = labels.findIndex((label) => label.split('/').includes(name));
    if (index >= 0) return values[index];
  }
  return csrs.get(name) ?? null;
}

/** Names that $ can be followed by. */
export function registerNames(context: HmpContext): string[] {
  const labels = [...X_LABELS, ...F_LABELS].flatMap((label) => label.split('/'));
  return ['pc', 'fp', ...labels, ...context.target.hart(context.state.cpu).csrs.keys()];
}
