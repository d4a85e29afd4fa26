/** Floating point in regions: every rounding mode, static, dynamic and invalid, with and without flags accrued, and FS off. */
import { expect, test } from 'vitest';
import { Random, floatRegister } from '../differential/random.ts';
import { Code, COLD, DATA, firstDifference, HOT, PASS, reg, run, WARM } from './modes.ts';

const { t0, t1, t2, a0, s0, s1, s2, s3, s4, s5 } = reg;
const seed = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 1_000_000);
const ROUNDS = 60;
const OPERANDS = DATA;
const FFLAGS = 1;
const FRM = 2;
const FCSR = 3;

const THREE = ['fmadd', 'fmsub', 'fnmsub', 'fnmadd'];
const TWO = ['fadd', 'fsub', 'fmul', 'fdiv', 'fmin', 'fmax', 'fsgnj', 'fsgnjn', 'fsgnjx'];
const COMPARE = ['feq', 'flt', 'fle'];
const TO_INTEGER = ['fcvt.w', 'fcvt.wu', 'fcvt.l', 'fcvt.lu'];
const ROUNDED = new Set([...THREE, 'fadd', 'fsub', 'fmul', 'fdiv', 'fsqrt', ...TO_INTEGER]);

/** All of them once on f1, f2, f3, in a format; results to where s2 points, flags to where s5 does. */
function operations(p: Code, format: 's' | 'd', rm: number, note: (x: number) => void): void {
  const mode = (name: string): object => (ROUNDED.has(name) ? { rm } : {});
  const flags = (): void => {
    p.op('csrrs', { rd: a0, imm: FCSR });
    note(a0);
  };
  const result = (f: number): void => {
    p.op('fmv.x.d', { rd: a0, rs1: f });
    note(a0);
  };
  for (const name of THREE) {
    p.op(`${name}.${format}`, { rd: 4, rs1: 1, rs2: 2, rs3: 3, ...mode(name) });
    result(4);
  }
  flags();
  for (const name of TWO) {
    p.op(`${name}.${format}`, { rd: 4, rs1: 1, rs2: 2, ...mode(name) });
    result(4);
  }
  flags();
  p.op(`fsqrt.${format}`, { rd: 4, rs1: 1, ...mode('fsqrt') });
  result(4);
  for (const name of COMPARE) {
    p.op(`${name}.${format}`, { rd: a0, rs1: 1, rs2: 2 });
    note(a0);
  }
  flags();
  for (const name of TO_INTEGER) {
    p.op(`${name}.${format}`, { rd: a0, rs1: 2, ...mode(name) });
    note(a0);
  }
  flags();
  p.op('fmv.x.d', { rd: t0, rs1: 3 });
  for (const from of ['l', 'lu', 'w', 'wu']) {
    // Exact ones have no rounding mode that matters, but may have one that is invalid.
    p.op(`fcvt.${format}.${from}`, { rd: 4, rs1: t0, rm });
    result(4);
  }
  p.op(format === 'd' ? 'fcvt.d.s' : 'fcvt.s.d', { rd: 4, rs1: 2, rm });
  result(4);
  flags();
}

/** For all frm and flags before: operations with a static or the dynamic rounding mode. A sum of all goes to the log. */
function program(rm: number, format: 's' | 'd', set: 'before' | 'inside'): Code {
  const p = new Code().setUp('trap').li(s0, 0).li(s4, 0);
  p.label('round').li(s1, ROUNDS).li(s2, OPERANDS).li(s3, 0);
  p.op('csrrw', { rs1: s0, imm: FCSR }).jump('loop').align(64);
  p.label('loop');
  // Regions that set frm and flags themselves, or find them.
  if (set === 'inside')
    p.op('andi', { rd: t0, rs1: s0, imm: 31 })
      .op('srli', { rd: t1, rs1: s0, imm: 5 })
      .op('csrrw', { rs1: t0, imm: FFLAGS })
      .op('csrrw', { rs1: t1, imm: FRM });
  for (let f = 1; f <= 3; f++) p.op('fld', { rd: f, rs1: s2, imm: f * 8 });
  operations(p, format, rm, (x) => {
    p.op('rori', { rd: s3, rs1: s3, imm: 13 }).op('add', { rd: s3, rs1: s3, rs2: x });
  });
  p.label('next')
    .op('addi', { rd: s2, rs1: s2, imm: 24 })
    .op('addi', { rd: s1, rs1: s1, imm: -1 })
    .note(s3)
    .op('beq', { rs1: s1 }, 'done')
    .jump('loop');
  // All modes, 5 to 7 invalid, and flags: none, NX, all.
  p.label('done').op('andi', { rd: t0, rs1: s0, imm: 31 }).li(t1, 1).li(s5, 0);
  p.op('beq', { rs1: t0 }, 'to nx')
    .op('beq', { rs1: t0, rs2: t1 }, 'to all')
    .op('addi', { rd: s0, rs1: s0, imm: 1 })
    .jump('check');
  p.label('to nx')
    .op('addi', { rd: s0, rs1: s0, imm: 1 })
    .jump('check')
    .label('to all')
    .op('addi', { rd: s0, rs1: s0, imm: 30 });
  p.label('check')
    .li(t0, 8 << 5)
    .op('bge', { rs1: s0, rs2: t0 }, 'end')
    .jump('round')
    .label('end')
    .note(s4)
    .finish();
  // An illegal instruction is passed over, and noted by where it is.
  p.align(4)
    .label('trap')
    .csrr(t1, 'mepc')
    .csrr(t2, 'mtval')
    .op('rori', { rd: s4, rs1: s4, imm: 7 })
    .op('add', { rd: s4, rs1: s4, rs2: t1 });
  p.op('add', { rd: s4, rs1: s4, rs2: t2 }).op('addi', { rd: t1, rs1: t1, imm: 4 }).csrw('mepc', t1).op('mret');
  return p;
}

const CASES = (['s', 'd'] as const).flatMap((format) => [0, 1, 2, 3, 4, 7].map((rm) => ({ format, rm })));

test.each(CASES)(
  'format $format, rounding mode $rm, with every frm and flags set and clear',
  { timeout: 120_000 },
  async ({ format, rm }) => {
    for (const set of ['before', 'inside'] as const) {
      const once = (options: typeof COLD): ReturnType<typeof run> =>
        run(program(rm, format, set), {
          options,
          words: 8 * 3 * ROUNDS + 1,
          prepare: (bare) => {
            const random = new Random(seed);
            for (let n = 0; n < ROUNDS * 3 + 3; n++) bare.writeU64(OPERANDS + n * 8, floatRegister(random));
          },
        });
      const cold = await once(COLD);
      expect(cold.value).toBe(PASS);
      expect(new Set(cold.log).size).toBeGreaterThan(ROUNDS);
      for (const [name, options] of Object.entries({ HOT, WARM })) {
        const other = await once(options);
        const difference = firstDifference(other.log, cold.log);
        expect({ name, set, seed, value: other.value, difference }).toMatchObject({ value: PASS, difference: null });
        if (options === HOT) expect(other.translated).toBeGreaterThan(ROUNDS * 100);
      }
    }
  },
);

test('FS: off is illegal, what is written makes it dirty', { timeout: 60_000 }, async () => {
  const program = (): Code => {
    const p = new Code()
      .setUp('trap')
      .li(reg.sp, DATA)
      .li(s2, 0)
      .li(s0, 0)
      .li(s1, 200)
      .li(s5, 3 << 13)
      .op('fcvt.d.w', { rd: 1, rs1: s1 });
    p.label('round')
      .op('andi', { rd: t0, rs1: s0, imm: 3 })
      .op('slli', { rd: t0, rs1: t0, imm: 13 })
      .csrc('mstatus', s5)
      .csrs('mstatus', t0);
    p.call('function').csrr(a0, 'mstatus').note(a0, s2);
    p.op('addi', { rd: s0, rs1: s0, imm: 1 }).op('blt', { rs1: s0, rs2: s1 }, 'round').finish();
    p.align(64).label('function').op('addi', { rd: s2, rs1: s2, imm: 1 });
    // Now and then FS changes in the middle.
    p.op('andi', { rd: t0, rs1: s0, imm: 7 }).op('bne', { rs1: t0 }, 'as it is').csrs('mstatus', s5).label('as it is');
    p.op('feq.d', { rd: t0, rs1: 1, rs2: 1 }).op('add', { rd: s2, rs1: s2, rs2: t0 }).op('fmv.x.d', { rd: t0, rs1: 1 });
    p.op('xor', { rd: s2, rs1: s2, rs2: t0 })
      .op('fadd.d', { rd: 1, rs1: 1, rs2: 1 })
      .op('fld', { rd: 2, rs1: reg.sp })
      .ret();
    p.align(4)
      .label('trap')
      .csrr(t1, 'mepc')
      .csrr(t2, 'mtval')
      .note(t1, t2)
      .op('addi', { rd: t1, rs1: t1, imm: 4 })
      .csrw('mepc', t1)
      .op('mret');
    return p;
  };
  const make = (): Code => program();
  const cold = await run(make(), { options: COLD });
  expect(cold.value).toBe(PASS);
  for (const [name, options] of Object.entries({ HOT, WARM })) {
    const other = await run(make(), { options });
    expect({ name, value: other.value, difference: firstDifference(other.log, cold.log) }).toEqual({
      name,
      value: PASS,
      difference: null,
    });
  }
});
