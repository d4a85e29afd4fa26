/** Interrupts, pauses and stops while translated code runs. */
import { describe, expect, test } from 'vitest';
import { csrNumber } from '../../core/cpu/isa/csr-names.ts';
import { monotonicNow } from '../../core/engine.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import type { BareMetalOptions } from '../harness/bare-metal.ts';
import { Code, COLD, DATA, LOG, MODES, MTIME, MTIMECMP, PASS, reg, run, WARM } from './modes.ts';

const { ra, sp, t0, t1, t2, t3, a0, a1, a2, a3, a4, s0, s1, s2, s3, s4 } = reg;
const MIE_MTIE = 1 << 7;
const COUNT = DATA;
/** Instructions of the timer's handler. */
const HANDLER = 12;

/** Calls, loops, memory, floating point: `rounds` times, and what comes of it in a0. */
function work(p: Code, rounds: number): Code {
  p.li(a0, 1)
    .li(s0, rounds)
    .li(s1, DATA + 4096)
    .li(sp, DATA + 0x10000)
    .op('fcvt.d.w', { rd: 8, rs1: a0 });
  p.label('round').li(a1, 50);
  p.label('inner').op('andi', { rd: t0, rs1: a1, imm: 31 }).op('sh3add', { rd: t0, rs1: t0, rs2: s1 });
  p.op('ld', { rd: t1, rs1: t0 }).op('add', { rd: t1, rs1: t1, rs2: a0 }).op('sd', { rs1: t0, rs2: t1 });
  p.op('xor', { rd: a0, rs1: a0, rs2: t1 })
    .op('mul', { rd: a2, rs1: a0, rs2: a1 })
    .op('add', { rd: a0, rs1: a0, rs2: a2 });
  p.op('fcvt.d.l', { rd: 9, rs1: a1 }).op('fadd.d', { rd: 8, rs1: 8, rs2: 9 }).op('fdiv.d', { rd: 8, rs1: 8, rs2: 9 });
  p.op('addi', { rd: a1, rs1: a1, imm: -1 }).op('bne', { rs1: a1 }, 'inner');
  p.li(a3, 7).call('recursive').op('addi', { rd: s0, rs1: s0, imm: -1 }).op('bne', { rs1: s0 }, 'round');
  // No interrupt comes between what is counted here and what the handler counts.
  p.op('csrrci', { imm: csrNumber('mstatus')!, uimm: 8 });
  p.op('fmv.x.d', { rd: a1, rs1: 8 }).op('csrrs', { rd: a2, imm: 3 }).csrr(a4, 'minstret').note(a0, a1, a2, a4);
  return p;
}
/** Fibonacci, as it should not be done. */
function recursive(p: Code): Code {
  p.label('recursive')
    .li(t0, 2)
    .op('bge', { rs1: a3, rs2: t0 }, 'deeper')
    .op('addi', { rd: a0, rs1: a0, imm: 1 })
    .ret();
  p.label('deeper')
    .op('addi', { rd: sp, rs1: sp, imm: -16 })
    .op('sd', { rs1: sp, rs2: ra })
    .op('sd', { rs1: sp, rs2: a3, imm: 8 });
  p.op('addi', { rd: a3, rs1: a3, imm: -1 }).call('recursive').op('ld', { rd: a3, rs1: sp, imm: 8 });
  p.op('addi', { rd: a3, rs1: a3, imm: -2 }).call('recursive');
  return p.op('ld', { rd: ra, rs1: sp }).op('addi', { rd: sp, rs1: sp, imm: 16 }).ret();
}

/** @param period ticks of 100 ns between interrupts; 0: none */
function interrupted(rounds: number, period: number): Code {
  const p = new Code().setUp('handler').li(s2, MTIMECMP).li(s3, MTIME).li(s4, COUNT);
  if (period > 0) p.li(t0, MIE_MTIE).csrw('mie', t0).li(t0, 8).csrs('mstatus', t0).op('sd', { rs1: s2 });
  work(p, rounds).csrw('mie', 0).op('ld', { rd: t0, rs1: s4 }).note(t0).finish();
  recursive(p);
  // t5 and t6 are the handler's. 12 instructions.
  p.align(4).label('handler').op('ld', { rd: 30, rs1: s3 });
  if (period < 2048) p.op('addi', { rd: 30, rs1: 30, imm: period }).op('addi', {});
  else p.op('lui', { rd: 31, imm: period & ~4095 }).op('add', { rd: 30, rs1: 30, rs2: 31 });
  p.op('sd', { rs1: s2, rs2: 30 })
    .op('ld', { rd: 31, rs1: s4 })
    .op('addi', { rd: 31, rs1: 31, imm: 1 })
    .op('sd', { rs1: s4, rs2: 31 });
  return p.op('addi', {}).op('addi', {}).op('addi', {}).op('addi', {}).op('mret');
}

describe('timer interrupts at any time', () => {
  test.each(Object.entries(MODES))(
    'change nothing, and every instruction is counted; %s',
    { timeout: 60_000 },
    async (_name, options) => {
      const quiet = (await run(interrupted(3000, 0), { options: COLD })).log;
      for (const period of [150, 400, 1999, 8192]) {
        const { value, log, translated } = await run(interrupted(3000, period), { options });
        expect(value).toBe(PASS);
        expect(log.slice(0, 3)).toEqual(quiet.slice(0, 3));
        const interrupts = log[4]!;
        expect(interrupts).toBeGreaterThan(0n);
        // A handler that runs in between adds its own; the five that enable it come on top.
        const extra = log[3]! - quiet[3]! - 5n;
        expect(extra % BigInt(HANDLER)).toBe(0n);
        expect(extra / BigInt(HANDLER)).toBe(interrupts);
        if (options.jit?.synchronous) expect(translated).toBeGreaterThan(1000);
      }
    },
  );
});

/** Programs that never end. */
const ENDLESS: Record<string, (p: Code) => unknown> = {
  'a tight loop': (p) => p.label('loop').op('addi', { rd: a0, rs1: a0, imm: 1 }).jump('loop'),
  'loops and recursion': (p) => recursive(work(p.label('again'), 1000).li(reg.s11, LOG).jump('again')),
  'functions that call each other without a loop': (p) => {
    p.label('top').call('f').jump('top');
    for (let n = 0; n < 30; n++)
      p.label(n === 0 ? 'f' : `f${n}`)
        .mv(8 + (n % 24), ra)
        .op('addi', { rd: a0, rs1: a0, imm: n })
        .jump(n < 29 ? `f${n + 1}` : 'last');
    return p.label('last').jump('top');
  },
  memory: (p) => {
    p.label('top')
      .li(t0, DATA)
      .li(t1, DATA + 0x100000)
      .label('loop')
      .op('ld', { rd: t2, rs1: t0 });
    for (let i = 0; i < 64; i++) p.op('ld', { rd: t3, rs1: t0, imm: i * 8 }).op('sd', { rs1: t0, rs2: t2, imm: i * 8 });
    return p.op('addi', { rd: t0, rs1: t0, imm: 512 }).op('bltu', { rs1: t0, rs2: t1 }, 'loop').jump('top');
  },
};

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('pausing', () => {
  test.each(Object.keys(ENDLESS))('stops two harts within 10 ms: %s', { timeout: 120_000 }, async (name) => {
    await using bare = await BareMetal.create({ ...WARM, harts: 2 });
    const p = new Code().setUp();
    ENDLESS[name]!(p);
    bare.load(p.origin, p.assemble());
    bare.start();
    await sleep(300);
    // A pause is measured by the clock on the wall, and this thread or a hart may have to wait for its turn on a busy host. Code
    // that does not look whether it is wanted makes all pauses long; so the longest is printed, and nine of ten are held
    // to the limit, in one of three attempts.
    let most = Infinity;
    let last = 0n;
    let moved = 0;
    for (let attempt = 0; attempt < 3 && most >= 10; attempt++) {
      const times: number[] = [];
      for (let n = 0; n < 100; n++) {
        const before = monotonicNow();
        await bare.park();
        times.push(monotonicNow() - before);
        const { retired } = bare.hart(0);
        await sleep(2);
        expect(bare.hart(0).retired).toBe(retired);
        bare.start();
        await sleep(3);
        if (retired > last) moved++;
        last = retired;
      }
      times.sort((a, b) => a - b);
      most = times[89]!;
      console.log(
        `${name}: 100 pauses, median ${times[50]!.toFixed(2)} ms, nine of ten within ${most.toFixed(2)} ms, longest ${times[99]!.toFixed(2)} ms`,
      );
    }
    expect(most).toBeLessThan(10);
    // It ran in between.
    expect(moved).toBeGreaterThan(50);
    await bare.park();
    expect(bare.statistics()!.harts[0]!.retired).toBeGreaterThan(1000);
  });
});

describe('stops of a hart that takes translated code in', () => {
  test('are short: a thousand functions become hot', { timeout: 120_000 }, async () => {
    const FUNCTIONS = 1000;
    const attempt = async (options: BareMetalOptions): Promise<{ p99: number; max: number }> => {
      await using bare = await BareMetal.create(options);
      const p = new Code().setUp().li(s0, 1000);
      p.label('round').la(s1, 'functions').li(s2, FUNCTIONS);
      p.label('next')
        .callAt(s1)
        .op('addi', { rd: s1, rs1: s1, imm: 256 })
        .op('addi', { rd: s2, rs1: s2, imm: -1 })
        .op('bne', { rs1: s2 }, 'next');
      p.op('addi', { rd: s0, rs1: s0, imm: -1 }).op('bne', { rs1: s0 }, 'round').finish();
      p.align(256).label('functions');
      for (let n = 0; n < FUNCTIONS; n++) {
        p.align(256).li(a1, 4).label(`loop ${n}`);
        for (let i = 0; i < 20; i++)
          p.op(i & 1 ? 'add' : 'xor', { rd: 10 + (i % 5), rs1: 10 + ((i + n) % 6), rs2: 12 + (i % 3) });
        p.li(a2, n).op('addi', { rd: a1, rs1: 0, imm: 0 }).op('bne', { rs1: a1 }, `loop ${n}`).ret();
      }
      bare.load(p.origin, p.assemble());
      expect(await bare.run(60_000)).toBe(PASS);
      const { stops, attached } = bare.statistics()!.harts[0]!;
      expect(attached).toBeGreaterThan(FUNCTIONS / 2);
      const rows = stops.histogram.map(([bound, n]) => `${bound < 1 ? bound.toFixed(3) : bound.toFixed(2)}: ${n}`);
      console.log(
        `${attached} regions in ${stops.count} stops, p99 ${stops.p99.toFixed(2)} ms, longest ${stops.max.toFixed(2)} ms; up to ms: ${rows.join(', ')}`,
      );
      return stops;
    };
    // A stop is measured by the clock on the wall: on a busy host the hart may have lost its processor in the middle of one. Of
    // five attempts one must do without.
    let best = await attempt(WARM);
    for (let n = 0; n < 4 && best.max >= 5; n++) best = await attempt(WARM);
    expect(best.max).toBeLessThan(5);
  });
});
