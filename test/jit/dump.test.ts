/** What `-d in_asm,out_wasm,jit` writes, and the disassembler of WebAssembly behind it. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { COMPRESSED, INSTRUCTIONS } from '../../core/cpu/isa/table.ts';
import {
  JIT_FLAGS,
  JIT_MARKS,
  JIT_RING_DATA,
  JIT_RINGS,
  PAGE_COPY,
  PAGE_STRIDE,
  PAGE_VERSION,
  TRANSLATOR_OUT,
} from '../../core/cpu/jit/abi.ts';
import { functionText, readModule } from '../../core/cpu/jit/wasm-text.ts';
import type { WasmFunction, WasmModule } from '../../core/cpu/jit/wasm-text.ts';
import { monotonicNow, translatorModule } from '../../core/engine.ts';
import { RAM_PHYS } from '../../core/machine/virt-map.ts';
import { dumpingTranslator } from '../../core/worker/jit-dump.ts';
import type { DumpedTranslator } from '../../core/worker/jit-dump.ts';
import { JIT_LOG_ITEMS, JitLog } from '../../core/worker/jit-log.ts';
import type { JitLogItem } from '../../core/worker/jit-log.ts';
import { CODE_BASE, HART_BASE, RAM_OFFSET } from '../../core/worker/layout.ts';
import { Random } from '../differential/random.ts';
import { encode } from '../harness/asm.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { Code, DATA, PASS, reg } from './modes.ts';

const { a0, a1, a2, a3, ra } = reg;
const ALL = Object.keys(JIT_LOG_ITEMS) as JitLogItem[];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringside-dump-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Lets `use` write to a file. @returns its lines */
async function written(use: (fd: number) => unknown): Promise<string[]> {
  const file = join(folder, 'log');
  const fd = openSync(file, 'w');
  try {
    await use(fd);
  } finally {
    closeSync(fd);
  }
  return readFileSync(file, 'utf8').trimEnd().split('\n');
}

/** A loop that sums a word of memory. */
function summing(): Code {
  const p = new Code().li(a0, 100).li(a1, DATA).li(a2, 0);
  p.label('loop').op('ld', { rd: a3, rs1: a1, imm: 8 }).op('add', { rd: a2, rs1: a2, rs2: a3 });
  p.op('addi', { rd: a0, rs1: a0, imm: -1 }).op('bne', { rs1: a0 }, 'loop');
  return p.finish();
}

const dumpLoop = (harts: number, items = ALL): Promise<string[]> =>
  written(async (fd) => {
    const jit = { threshold: 2, synchronous: true, log: { items, fd } };
    await using machine = await BareMetal.create({ harts, accel: 'jit', jit });
    machine.load(RAM_PHYS, summing().assemble());
    expect(await machine.run()).toBe(PASS);
  });

const GUEST = ['ld a3,8(a1)', 'add a2,a2,a3', 'addi a0,a0,-1'];

describe('a loop', () => {
  // The block is a constant in the code of few harts; with many it is a parameter.
  test.each([1, 2, 5])('%i harts: guest code, and the WebAssembly made of it with names', async (harts) => {
    const lines = await dumpLoop(harts);
    const start = lines.findIndex((line) => line.startsWith('IN: region 256, physical 0x800000'));
    expect(lines[start]).toMatch(/, 4 instructions$/);
    const shown = lines.slice(start + 1, start + 5);
    const entry = /^(0x\w+):/.exec(shown[0]!)![1]!;
    expect(shown.map((line) => line.replace(/^0x\w+: {2}\w+ +/, ''))).toEqual([...GUEST, `bne a0,zero,${entry}`]);

    const head = lines.findIndex((line) => line.startsWith(`OUT: region 256, physical ${entry}, `));
    const end = lines.indexOf(')', head);
    expect(lines[head + 1]).toMatch(/^\(func \$region256 \(param \$block i32\) .*\(result i64\)$/);
    const body = lines.slice(head, end).map((line) => line.trim());
    // Each instruction is announced, once and in order.
    const announced = body.filter((line) => line.startsWith(';; ')).map((line) => line.replace(/^;; 0x\w+: /, ''));
    expect(announced).toEqual([...GUEST, `bne a0,zero,${entry}`]);
    expect(body).toContain('local.get $a3');
    expect(body).toContain(`i64.load offset=0x${(harts <= 4 ? HART_BASE + 8 * a1 : 8 * a1).toString(16)} (;a1;)`);
    for (const known of [
      /\(;H_INSTRET;\)$/,
      /\(;H_POLL;\)$/,
      /^i64\.load .*\(;H_DTLB;\)$/,
      /call_indirect .*\(;jitLoad;\)$/,
    ])
      expect(body.some((line) => known.test(line))).toBe(true);
    expect(body).toContain('if (result i64) (;likely;)');
    expect(body).toContain(harts <= 4 ? 'i32.const 4194304 (;hart block;)' : 'local.get $block');

    expect(lines.some((line) => /^jit: module 0: regions 256 to 256, \d+ bytes, [\d.]+ ms$/.test(line))).toBe(true);
    expect(lines).toContain('jit: hart 0 is given 1 regions');
  });

  test('only what is asked for', async () => {
    const guest = await dumpLoop(1, ['in_asm']);
    expect(guest.filter((line) => /^(OUT|jit|\()/.test(line))).toEqual([]);
    expect(guest.some((line) => line.startsWith('IN: '))).toBe(true);
    const lines = await dumpLoop(1, ['jit']);
    expect(lines.filter((line) => !line.startsWith('jit: '))).toEqual([]);
    expect(lines.length).toBeGreaterThan(1);
  });

  test('a reader that has gone does not stop the machine', async () => {
    const fd = openSync(join(folder, 'read-only'), 'w+');
    closeSync(fd);
    const readOnly = openSync(join(folder, 'read-only'), 'r');
    try {
      const jit = { threshold: 2, synchronous: true, log: { items: ALL, fd: readOnly } };
      await using machine = await BareMetal.create({ accel: 'jit', jit });
      machine.load(RAM_PHYS, summing().assemble());
      expect(await machine.run()).toBe(PASS);
      expect(machine.statistics()!.regions).toBeGreaterThan(0);
    } finally {
      closeSync(readOnly);
    }
  });
});

const PAGE = 4096;
const CELL = 16;
const VARIANTS = 4;

/** Instructions in cells of their own: addi, the instruction, addi (or c.addi twice), ret. */
function cells(random: Random): Uint8Array {
  const list = [...INSTRUCTIONS, ...COMPRESSED].flatMap((insn) => Array.from({ length: VARIANTS }, () => insn));
  const code = new Uint8Array(Math.ceil((list.length * CELL) / PAGE) * PAGE);
  const view = new DataView(code.buffer);
  const step = encode('addi', { rd: a0, rs1: a0, imm: 1 });
  list.forEach((insn, i) => {
    const at = i * CELL;
    const bits = (insn.match | (random.u32() & ~insn.mask)) >>> 0;
    view.setUint32(at, step, true);
    if ('base' in insn) {
      view.setUint16(at + 4, bits, true);
      view.setUint16(at + 6, encode('c.addi', { rd: a0, imm: 1 }), true);
    } else view.setUint32(at + 4, bits, true);
    view.setUint32(at + 8, step, true);
    view.setUint32(at + 12, encode('jalr', { rd: 0, rs1: ra }), true);
  });
  return code;
}

describe('whatever the translator makes', () => {
  test.each([0, HART_BASE])('every instruction, for the hart block %i', async (block) => {
    const random = new Random(1);
    const memory = new WebAssembly.Memory({ initial: RAM_OFFSET / 65536, maximum: 65536, shared: true });
    const bytes = new Uint8Array(memory.buffer);
    const data = new DataView(memory.buffer);
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 1 });
    const made = await WebAssembly.instantiate(await translatorModule(), { env: { memory, now: monotonicNow, table } });
    data.setInt32(JIT_FLAGS, JIT_MARKS, true);
    const code = cells(random);
    const pages = code.length / PAGE;
    const pageAt = (page: number): number => (page >= 0 && page < pages ? CODE_BASE + page * PAGE_STRIDE : 0);
    for (let page = 0; page < pages; page++) {
      const at = pageAt(page);
      bytes.set(code.subarray(page * PAGE, (page + 1) * PAGE), at + PAGE_COPY);
      // Any handler: it has been executed.
      for (let slot = 0; slot < PAGE / 2; slot++) data.setUint16(at + slot * 16, 5, true);
      data.setUint32(at + PAGE_VERSION, page + 1, true);
    }
    const request = JIT_RINGS + JIT_RING_DATA;
    let regions = 0;
    const lines = await written((fd) => {
      const log = new JitLog({ items: ALL, fd });
      const translator = dumpingTranslator(memory, made.exports as unknown as DumpedTranslator, log);
      const finish = (): void => {
        const size = translator.finish();
        if (size === 0) return;
        expect(WebAssembly.validate(bytes.slice(TRANSLATOR_OUT, TRANSLATOR_OUT + size))).toBe(true);
      };
      translator.begin(256, block);
      for (let at = 0; at < code.length; at += CELL) {
        const page = (at / PAGE) | 0;
        data.setBigUint64(request, BigInt(RAM_PHYS + at), true);
        [page, page - 1, page + 1].forEach((p, i) => {
          data.setUint32(request + 8 + i * 4, pageAt(p), true);
          data.setUint32(request + 20 + i * 4, pageAt(p) === 0 ? 0 : p + 1, true);
        });
        if (translator.addRegion(request) > 0) regions++;
        if (translator.room() !== 0) continue;
        finish();
        translator.begin(256, block);
      }
      finish();
    });
    expect(lines.filter((line) => line.startsWith('OUT: '))).toHaveLength(regions);
    // A comment that stands alone says what could not be read.
    expect(lines.filter((line) => /^\s*\(;|cannot be shown|not kept/.test(line))).toEqual([]);
    const shown = new Set(lines.map((line) => /^0x\w+: {2}\w+ +(\S+)/.exec(line)?.[1]?.replace(/\.(aq|rl|aqrl)$/, '')));
    expect([...INSTRUCTIONS, ...COMPRESSED].map(({ name }) => name).filter((name) => !shown.has(name))).toEqual([]);
  });
});

describe('the disassembler of WebAssembly', () => {
  const type = { params: ['i32'], results: ['i64'] };
  const module: WasmModule = { types: [type], imported: 0, functions: [] };
  const of = (body: readonly number[]): WasmFunction => ({ type, body: new Uint8Array(body), hints: new Map() });

  test('labels, prefixes, br_table, numbers', () => {
    const body = [
      1, 2, 0x7e, 0x02, 0x40, 0x03, 0x40, 0x20, 0, 0x0e, 1, 0, 1, 0x0b, 0x0b, 0x42, 0x80, 0x7f, 0x21, 1, 0x44, 0, 0, 0,
      0, 0, 0, 0xf0, 0x3f, 0xfc, 6, 0xfd, 0x12, 0xfd, 0x87, 0x02, 0xfe, 0x1f, 3, 16, 0x0b,
    ];
    expect(functionText(module, of(body), 'f')).toEqual({
      problem: null,
      lines: [
        '(func $f (param 0 i32) (result i64)',
        '  (local 1 i64) (local 2 i64)',
        '  block $1',
        '    loop $2',
        '      local.get 0',
        '      br_table $2 $1',
        '    end',
        '  end',
        '  i64.const -128',
        '  local.set 1',
        '  f64.const 1',
        '  i64.trunc_sat_f64_s',
        '  i64x2.splat',
        '  f64x2.relaxed_madd',
        '  i64.atomic.rmw.add offset=0x10',
        ')',
      ],
    });
  });

  test.each([
    ['an opcode nobody knows', [0, 0x27], 'unknown opcode 0x27 at 0x1; 0 bytes follow'],
    ['one behind a prefix', [0, 0xfd, 0x80, 0x08, 0x0b], 'unknown opcode 0xfd 0x400 at 0x1; 1 bytes follow'],
    ['an end in the middle', [0, 0x41], 'ends in the middle of an instruction'],
    ['no end', [0, 0x01], 'ends in the middle of an instruction'],
    ['a branch to nowhere', [0, 0x0c, 9], 'branches out of 9 blocks, and there are fewer'],
    ['a number too long', [0, 0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0], 'has a number of more than 32 bits'],
    ['bytes behind its end', [0, 0x0b, 0], 'goes on behind its end: 1 bytes'],
    ['a type that there is not', [0, 0x41, 0, 0x11, 7, 0], 'calls a function of no known type'],
  ])('%s', (_, body, problem) => {
    const text = functionText(module, of(body), 'f');
    expect(text.problem).toBe(problem);
    expect(text.lines.at(-2)).toBe(`  (;${problem};)`);
    expect(text.lines.at(-1)).toBe(')');
  });

  test('noise does not make it throw, nor does a module of noise make anything but a RangeError', () => {
    const random = new Random(2);
    for (let i = 0; i < 2000; i++) {
      const noise = Array.from({ length: random.below(60) }, () => random.below(256));
      expect(functionText(module, of([0, ...noise]), 'f').lines.at(-1)).toBe(')');
      try {
        readModule(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...noise]));
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }
  });
});
