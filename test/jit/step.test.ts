/** Single steps through code that is hot: one instruction each, by the interpreter, whatever has been translated. */
import { expect, test } from 'vitest';
import { BareMetal } from '../harness/bare-metal.ts';
import { Code, DATA, reg, WARM } from './modes.ts';

const { ra, sp, t0, t1, a0, a1, a2 } = reg;

/** A loop with a call, memory and floating point in it that never ends. */
function program(): Code {
  const p = new Code().setUp().li(sp, DATA).li(a0, 1).li(a1, 0);
  p.op('fcvt.d.w', { rd: 8, rs1: a0 }).label('loop').op('addi', { rd: a1, rs1: a1, imm: 1 }).call('function');
  p.op('andi', { rd: t0, rs1: a0, imm: 255 })
    .op('beq', { rs1: t0 }, 'loop')
    .op('csrrs', { rd: a2, imm: 3 })
    .jump('loop');
  p.label('function')
    .op('sd', { rs1: sp, rs2: ra })
    .op('ld', { rd: t1, rs1: sp, imm: 8 })
    .op('add', { rd: t1, rs1: t1, rs2: a1 });
  p.op('sd', { rs1: sp, rs2: t1, imm: 8 })
    .op('slli', { rd: t0, rs1: a0, imm: 5 })
    .op('xor', { rd: a0, rs1: t0, rs2: t1 });
  p.op('fcvt.d.l', { rd: 9, rs1: a1 }).op('fadd.d', { rd: 8, rs1: 8, rs2: 9 }).op('fmv.x.d', { rd: 13, rs1: 8 });
  return p
    .op('amoadd.d', { rd: 14, rs1: sp, rs2: a1 })
    .op('ld', { rd: ra, rs1: sp })
    .op('sub', { rd: ra, rs1: ra, rs2: a1 })
    .ret();
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test(
  'steps from wherever translated code stopped are those of a hart that only steps',
  { timeout: 60_000 },
  async () => {
    await using hot = await BareMetal.create(WARM);
    await using cold = await BareMetal.create({ accel: 'interp' });
    const p = program();
    for (const bare of [hot, cold]) bare.load(p.origin, p.assemble());
    for (let round = 0; round < 20; round++) {
      hot.start();
      await sleep(20);
      await hot.park();
      const start = hot.hart(0);
      // The other one takes over where it is.
      cold.setHart(0, hot);
      for (let n = 0; n < 100; n++) {
        expect(hot.step(0)).toBe(true);
        expect(cold.step(0)).toBe(true);
        const here = hot.hart(0);
        expect(here).toEqual(cold.hart(0));
        expect(here.retired).toBe(start.retired + BigInt(n) + 1n);
      }
      expect(Buffer.compare(hot.ram(DATA, 64), cold.ram(DATA, 64))).toBe(0);
    }
    expect(hot.statistics()!.harts[0]!.retired).toBeGreaterThan(10_000);
  },
);
