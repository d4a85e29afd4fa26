/** Calls of leaf functions, which the translator copies to where they are called: nobody may see a difference. */
import { describe, expect, test } from 'vitest';
import { BareMetal } from '../harness/bare-metal.ts';
import { Code, DATA, firstDifference, HOT, LAZY, MODES, PASS, reg, run } from './modes.ts';
import type { Run } from './modes.ts';

const { ra, t0, t1, t2, a0, a1, a2, a3, a4, s0, s1, s2, s3, s4, s5 } = reg;
const ROUNDS = 60;

/** Runs a program in all modes; values and instructions retired must be the interpreter's. */
async function same(make: () => Code): Promise<void> {
  let cold: Run | null = null;
  for (const [name, options] of Object.entries(MODES)) {
    const result = await run(make(), { options });
    cold ??= result;
    expect({ name, value: result.value, difference: firstDifference(result.log, cold.log) }).toEqual({
      name,
      value: PASS,
      difference: null,
    });
  }
}

/** A loop around `body`, which has the round in s0; notes a0 to a3 and minstret each time. */
function loop(body: (p: Code) => void): Code {
  const p = new Code();
  p.setUp('trap').li(s0, 0).li(s1, ROUNDS).li(s4, 0).li(s5, DATA).li(a0, 1).li(a1, 2).li(a2, 3).li(a3, 4).li(a4, 5);
  p.label('round');
  body(p);
  p.csrr(t0, 'minstret').note(a0, a1, a2, a3, t0, s4);
  p.op('addi', { rd: s0, rs1: s0, imm: 1 }).op('blt', { rs1: s0, rs2: s1 }, 'round').finish();
  // Counts what is trapped, with its cause and place, and goes on behind it.
  p.align(4).label('trap').csrr(t0, 'mcause').csrr(t1, 'mepc').op('addi', { rd: s4, rs1: s4, imm: 1 });
  p.note(t0, t1, ra).op('addi', { rd: t1, rs1: t1, imm: 4 }).csrw('mepc', t1).op('mret');
  return p;
}

describe('a leaf function', () => {
  test('called from two places, with a branch and a loop in it', { timeout: 60_000 }, () =>
    same(() => {
      const p = loop((p) => {
        p.mv(a0, s0).call('f').mv(a1, a0).call('f').op('add', { rd: a2, rs1: a0, rs2: a1 });
      });
      p.label('f')
        .op('andi', { rd: t1, rs1: a0, imm: 3 })
        .op('beq', { rs1: t1 }, 'odd')
        .op('addi', { rd: a0, rs1: a0, imm: 7 });
      p.label('odd').op('andi', { rd: t1, rs1: a0, imm: 7 }).label('again').op('addi', { rd: a0, rs1: a0, imm: 3 });
      p.op('addi', { rd: t1, rs1: t1, imm: -1 }).op('bge', { rs1: t1 }, 'again').ret();
      return p;
    }),
  );

  test('that returns early, and whose last part is rarely reached', { timeout: 60_000 }, () =>
    same(() => {
      const p = loop((p) => p.mv(a0, s0).call('f').note(ra));
      p.label('f').li(t1, 50).op('blt', { rs1: a0, rs2: t1 }, 'early').op('addi', { rd: a0, rs1: a0, imm: 100 }).ret();
      p.label('early').op('xori', { rd: a0, rs1: a0, imm: 5 }).ret();
      return p;
    }),
  );

  test('that faults: registers, ra among them, are what they are there', { timeout: 60_000 }, () =>
    same(() => {
      const p = loop((p) => {
        // Every eighth round an address where nothing is.
        p.op('andi', { rd: t1, rs1: s0, imm: 7 }).mv(a4, s5).op('bne', { rs1: t1 }, 'good').li(a4, 16).label('good');
        p.mv(a0, s0).call('f');
      });
      p.label('f').op('addi', { rd: a1, rs1: a0, imm: 11 }).op('sd', { rs1: a4, rs2: a1, imm: 8 });
      p.op('addi', { rd: a2, rs1: a1, imm: 1 })
        .op('ld', { rd: a3, rs1: a4, imm: 8 })
        .op('add', { rd: a0, rs1: a3, rs2: a2 })
        .ret();
      return p;
    }),
  );

  test('that writes its link register, or returns by another, is called', { timeout: 60_000 }, () =>
    same(() => {
      const p = loop((p) => p.call('tail').call('other').call('back'));
      // Goes on in another function, which returns for it.
      p.label('tail').op('addi', { rd: a0, rs1: a0, imm: 1 }).jump('shared');
      p.label('other').mv(t2, ra).op('addi', { rd: a1, rs1: a1, imm: 1 }).op('jalr', { rs1: t2 });
      p.label('back').op('addi', { rd: ra, rs1: ra, imm: 4 }).op('addi', { rd: ra, rs1: ra, imm: -4 }).ret();
      p.label('shared').op('addi', { rd: a2, rs1: a2, imm: 9 }).ret();
      return p;
    }),
  );

  test('called by way of t0, as millicode is', { timeout: 60_000 }, () =>
    same(() => {
      const p = loop((p) => p.op('jal', { rd: t0 }, 'f'));
      p.label('f').op('addi', { rd: a0, rs1: a0, imm: 1 }).op('jalr', { rs1: t0 });
      return p;
    }),
  );

  test('that the region is made from as well, and that is also jumped into', { timeout: 60_000 }, () =>
    same(() => {
      const p = loop((p) => {
        p.call('f')
          .la(ra, 'landed')
          .op('andi', { rd: t1, rs1: s0, imm: 1 })
          .op('beq', { rs1: t1 }, 'inside')
          .label('landed');
      });
      p.label('f').op('addi', { rd: a0, rs1: a0, imm: 1 });
      p.label('inside').op('addi', { rd: a1, rs1: a1, imm: 1 }).ret();
      return p;
    }),
  );

  test('with floating point and atomics in it', { timeout: 60_000 }, () =>
    same(() => {
      const p = loop((p) => p.mv(a0, s0).call('f').call('g').op('fcvt.l.d', { rd: a2, rs1: 10, rm: 1 }));
      p.label('f').op('fcvt.d.l', { rd: 10, rs1: a0, rm: 7 }).op('fadd.d', { rd: 10, rs1: 10, rs2: 10, rm: 7 }).ret();
      p.label('g').op('amoadd.d', { rd: a1, rs1: s5, rs2: a0 }).ret();
      return p;
    }),
  );

  test('that changes, with fence.i', { timeout: 60_000 }, () =>
    same(() => {
      const p = loop((p) => {
        p.la(s2, 'patched')
          .li(s3, 0x00150513)
          .op('slli', { rd: t0, rs1: s0, imm: 20 })
          .op('add', { rd: t0, rs1: t0, rs2: s3 });
        p.op('andi', { rd: t1, rs1: s0, imm: 15 })
          .op('bne', { rs1: t1 }, 'not now')
          .op('sw', { rs1: s2, rs2: t0 })
          .op('fence.i');
        p.label('not now').li(a0, 0).call('f').call('f');
      });
      p.label('f').label('patched').op('addi', { rd: a0, rs1: a0, imm: 1 }).ret();
      return p;
    }),
  );
});

/** A leaf function at random: a few operations, forward branches, accesses, a short loop. */
function randomLeaf(p: Code, name: string, next: () => number): void {
  const registers = [a0, a1, a2, a3];
  const pick = (): number => registers[next() % registers.length]!;
  p.label(name);
  const parts = 1 + (next() % 5);
  for (let part = 0; part < parts; part++) {
    const end = `${name} ${part}`;
    if (next() % 2) p.op(next() % 2 ? 'bltu' : 'beq', { rs1: pick(), rs2: pick() }, end);
    for (let i = next() % 4; i >= 0; i--) {
      const what = next() % 5;
      if (what === 0) p.op('add', { rd: pick(), rs1: pick(), rs2: pick() });
      else if (what === 1) p.op('xori', { rd: pick(), rs1: pick(), imm: next() % 2048 });
      else if (what === 2) p.op('sd', { rs1: s5, rs2: pick(), imm: (next() % 32) * 8 });
      else if (what === 3) p.op('lw', { rd: pick(), rs1: s5, imm: (next() % 64) * 4 });
      else p.op('sraiw', { rd: pick(), rs1: pick(), imm: next() % 32 });
    }
    if (next() % 8 === 0) p.ret();
    p.label(end);
  }
  if (next() % 3 === 0) {
    p.li(t1, next() % 4)
      .label(`${name} loop`)
      .op('addi', { rd: pick(), rs1: pick(), imm: 5 });
    p.op('addi', { rd: t1, rs1: t1, imm: -1 }).op('bge', { rs1: t1 }, `${name} loop`);
  }
  p.ret();
}

test('functions at random, called at random', { timeout: 120_000 }, async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const make = (): Code => {
      let state = seed * 0x9e3779b1;
      const next = (): number => {
        state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x297a2d39) | 0;
        return (state >>> 8) & 0xffff;
      };
      const names = ['f', 'g', 'h'];
      const p = loop((p) => {
        for (let i = 0; i < 6; i++) {
          p.call(names[next() % 3]!);
          if (next() % 2) p.op('add', { rd: a0, rs1: a0, rs2: s0 });
        }
      });
      for (const name of names) randomLeaf(p, name, next);
      return p;
    };
    const cold = await run(make(), { options: MODES.interpreted });
    for (const options of [HOT, LAZY]) {
      const result = await run(make(), { options });
      expect({ seed, value: result.value, difference: firstDifference(result.log, cold.log, 6) }).toEqual({
        seed,
        value: PASS,
        difference: null,
      });
    }
  }
});

test('it is copied: a loop of calls stays in one region', async () => {
  await using bare = await BareMetal.create(HOT);
  const p = new Code().setUp().li(s0, 0).li(s1, 2000).label('round').call('f').op('addi', { rd: s0, rs1: s0, imm: 1 });
  p.op('blt', { rs1: s0, rs2: s1 }, 'round').finish();
  p.label('f').op('addi', { rd: a0, rs1: a0, imm: 1 }).ret();
  bare.load(p.origin, p.assemble());
  expect(await bare.run()).toBe(PASS);
  expect(bare.hart(0).x[a0]).toBe(2000n);
  // One region a label, and the call never asks for the function's own.
  expect(bare.statistics()!.translatedRegions).toBeLessThan(6);
});
