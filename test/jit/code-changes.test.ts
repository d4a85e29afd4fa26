/** Code that changes while it is hot: with fence.i on the hart itself and on others, and without. */
import { describe, expect, test } from 'vitest';
import { encode } from '../harness/asm.ts';
import type { BareMetalOptions } from '../harness/bare-metal.ts';
import { Code, DATA, firstDifference, HOT, MODES, MSIP, PASS, reg, run } from './modes.ts';
import type { Run } from './modes.ts';

const { t0, t1, t2, t3, t4, a0, a1, a2, a3, s0, s1, s2, s3, s4 } = reg;
const ROUNDS = 300;
const MIE_MSIE = 1 << 3;
const modes = Object.entries(MODES);

/** `addi a0, a0, n`: bits above the immediate are added by the program. */
const ADDI = encode('addi', { rd: a0, rs1: a0 });

/** Runs a program in all modes; logs must be the interpreter's. */
async function same(make: () => Code, harts = 1): Promise<void> {
  let cold: Run | null = null;
  for (const [name, options] of modes) {
    const result = await run(make(), { options, harts });
    cold ??= result;
    expect({ name, value: result.value, difference: firstDifference(result.log, cold.log) }).toEqual({
      name,
      value: PASS,
      difference: null,
    });
    // In other modes a page may be new too soon.
    if (options === HOT) expect(result.translated).toBeGreaterThan(ROUNDS);
  }
}

describe('on one hart', () => {
  test('an instruction of a hot loop changes, then fence.i', { timeout: 60_000 }, () =>
    same(() => {
      const p = new Code().setUp();
      p.li(s0, 0).li(s1, ROUNDS).la(s2, 'patched').li(s3, ADDI);
      p.label('round').op('slli', { rd: t0, rs1: s0, imm: 20 }).op('add', { rd: t0, rs1: t0, rs2: s3 });
      p.op('sw', { rs1: s2, rs2: t0 }).op('fence.i').li(a0, 0).li(a1, 30).call('function').note(a0);
      p.op('addi', { rd: s0, rs1: s0, imm: 1 }).op('blt', { rs1: s0, rs2: s1 }, 'round').finish();
      p.align(64).label('function');
      p.label('patched').op('addi', { rd: a0, rs1: a0 });
      p.op('addi', { rd: a1, rs1: a1, imm: -1 }).op('bne', { rs1: a1 }, 'function').ret();
      return p;
    }),
  );

  test('a region changes code of its own, behind it and before it', { timeout: 60_000 }, () =>
    same(() => {
      const p = new Code().setUp();
      p.li(s0, 0).li(s1, ROUNDS).la(s2, 'patched').la(s4, 'earlier').li(s3, ADDI).li(a0, 0);
      p.label('round').label('earlier').op('addi', { rd: a0, rs1: a0 });
      p.op('slli', { rd: t0, rs1: s0, imm: 20 }).op('add', { rd: t0, rs1: t0, rs2: s3 });
      p.op('sw', { rs1: s2, rs2: t0 }).op('sw', { rs1: s4, rs2: t0 }).op('fence.i');
      p.label('patched').op('addi', { rd: a0, rs1: a0 }).note(a0);
      p.op('addi', { rd: s0, rs1: s0, imm: 1 }).op('blt', { rs1: s0, rs2: s1 }, 'round').finish();
      return p;
    }),
  );

  test('a page is used for other code again and again', { timeout: 60_000 }, () =>
    same(() => {
      // Functions of different lengths and shapes are copied to one place; some are called while another is there no more.
      const p = new Code().setUp();
      const shapes = [1, 3, 9, 40];
      p.li(s0, 0).li(s1, ROUNDS).li(s2, DATA);
      p.label('round').op('andi', { rd: t0, rs1: s0, imm: 3 }).op('slli', { rd: t0, rs1: t0, imm: 9 }).la(t1, 'shapes');
      p.op('add', { rd: t1, rs1: t1, rs2: t0 }).mv(t2, s2).op('addi', { rd: t3, rs1: t1, imm: 504 });
      p.label('copy').op('ld', { rd: t4, rs1: t1 }).op('sd', { rs1: t2, rs2: t4 });
      p.op('addi', { rd: t1, rs1: t1, imm: 8 })
        .op('addi', { rd: t2, rs1: t2, imm: 8 })
        .op('bltu', { rs1: t1, rs2: t3 }, 'copy');
      p.op('fence.i').mv(a0, s0).callAt(s2).note(a0).callAt(s2).note(a0);
      p.op('addi', { rd: s0, rs1: s0, imm: 1 }).op('blt', { rs1: s0, rs2: s1 }, 'round').finish();
      p.align(512).label('shapes');
      const start = p.here;
      shapes.forEach((length, i) => {
        p.org(start + i * 512);
        for (let n = 0; n < length; n++) p.op(i & 1 ? 'addi' : 'xori', { rd: a0, rs1: a0, imm: n * 13 + i });
        if (i >= 2)
          p.li(a1, 5)
            .label(`loop ${i}`)
            .op('mul', { rd: a0, rs1: a0, rs2: a1 })
            .op('addi', { rd: a1, rs1: a1, imm: -1 })
            .op('bne', { rs1: a1 }, `loop ${i}`);
        p.ret();
      });
      p.org(start + 2048);
      return p;
    }),
  );

  test.each(modes)(
    'without fence.i old code or new runs, whole instructions of it; %s',
    { timeout: 60_000 },
    async (_name, options: BareMetalOptions) => {
      const p = new Code().setUp();
      p.li(s0, 0).li(s1, ROUNDS).la(s2, 'patched').li(s3, ADDI);
      p.label('round').op('slli', { rd: t0, rs1: s0, imm: 20 }).op('add', { rd: t0, rs1: t0, rs2: s3 });
      p.op('sw', { rs1: s2, rs2: t0 }).li(a0, 0).call('function').note(a0);
      p.op('addi', { rd: s0, rs1: s0, imm: 1 }).op('blt', { rs1: s0, rs2: s1 }, 'round');
      // With one at last it is the new.
      p.op('fence.i').li(a0, 0).call('function').note(a0).finish();
      p.align(64).label('function').label('patched').op('addi', { rd: a0, rs1: a0 }).ret();
      const { value, log } = await run(p, { options });
      expect(value).toBe(PASS);
      log.slice(0, ROUNDS).forEach((n, i) => expect(n <= BigInt(i)).toBe(true));
      expect(log[ROUNDS]).toBe(BigInt(ROUNDS - 1));
    },
  );
});

/**
 * Hart 0 writes generation n into a function that hart 1 runs all the time, and sends hart 1 an interrupt whose handler does
 * fence.i. Hart 1 notes, for every call: acknowledged before it <= result <= written after it.
 */
describe('across harts', () => {
  const WRITTEN = DATA;
  const ACKNOWLEDGED = DATA + 64;
  const DONE = DATA + 128;
  const WRONG = DATA + 192;

  function program(fence: boolean): Code {
    const p = new Code();
    p.mv(s0, a0).setUp('handler').op('bne', { rs1: s0 }, 'other');
    p.li(s0, 1).li(s1, ROUNDS).la(s2, 'patched').li(s3, ADDI);
    p.label('round').op('slli', { rd: t0, rs1: s0, imm: 20 }).op('add', { rd: t0, rs1: t0, rs2: s3 });
    p.li(t1, WRITTEN).op('sd', { rs1: t1, rs2: s0 }).op('fence').op('sw', { rs1: s2, rs2: t0 }).op('fence');
    p.li(t1, MSIP + 4)
      .li(t2, 1)
      .op('sw', { rs1: t1, rs2: t2 })
      .li(t1, ACKNOWLEDGED);
    p.label('wait').op('ld', { rd: t2, rs1: t1 }).op('bne', { rs1: t2, rs2: s0 }, 'wait');
    // The other one has some time with it.
    p.li(t3, 2000).label('delay').op('addi', { rd: t3, rs1: t3, imm: -1 }).op('bne', { rs1: t3 }, 'delay');
    p.op('addi', { rd: s0, rs1: s0, imm: 1 }).op('bge', { rs1: s1, rs2: s0 }, 'round');
    p.li(t1, DONE).li(t2, 1).op('sd', { rs1: t1, rs2: t2 });
    p.label('end').op('ld', { rd: t2, rs1: t1 }).li(t3, 2).op('bne', { rs1: t2, rs2: t3 }, 'end').finish();

    p.label('other').li(t0, MIE_MSIE).csrw('mie', t0).csrs('mstatus', t0);
    p.li(s0, WRITTEN).li(s1, ACKNOWLEDGED).li(s2, DONE).li(s3, 0).li(s4, 0);
    p.label('again').op('ld', { rd: a2, rs1: s1 }).li(a0, 0).call('function').op('fence').op('ld', { rd: a3, rs1: s0 });
    p.op('bltu', { rs1: a0, rs2: a2 }, 'wrong').op('bltu', { rs1: a3, rs2: a0 }, 'wrong');
    p.label('go on')
      .op('addi', { rd: s3, rs1: s3, imm: 1 })
      .op('ld', { rd: t0, rs1: s2 })
      .op('beq', { rs1: t0 }, 'again');
    p.li(a0, 0)
      .call('function')
      .li(t1, WRONG)
      .op('sd', { rs1: t1, rs2: s4 })
      .op('sd', { rs1: t1, rs2: s3, imm: 8 })
      .op('sd', { rs1: t1, rs2: a0, imm: 16 })
      .op('fence');
    p.li(t0, 2).op('sd', { rs1: s2, rs2: t0 }).label('asleep').op('wfi').jump('asleep');
    p.label('wrong').op('addi', { rd: s4, rs1: s4, imm: 1 }).jump('go on');

    // Only hart 1 has interrupts; t5 and t6 are the handler's.
    p.align(4)
      .label('handler')
      .li(30, MSIP + 4)
      .op('sw', { rs1: 30, rs2: 0 })
      .li(30, WRITTEN)
      .op('ld', { rd: 31, rs1: 30 });
    if (fence) p.op('fence.i');
    p.li(30, ACKNOWLEDGED).op('fence').op('sd', { rs1: 30, rs2: 31 }).op('mret');
    p.align(64).label('function').label('patched').op('addi', { rd: a0, rs1: a0 }).ret();
    return p;
  }

  test.each(modes)(
    'after a remote fence.i the new code runs, and none that is newer; %s',
    { timeout: 60_000 },
    async (_name, options) => {
      const { value, calls, wrong, last } = await observe(true, options);
      expect({ value, wrong }).toEqual({ value: PASS, wrong: 0n });
      expect(last).toBe(BigInt(ROUNDS));
      expect(calls).toBeGreaterThan(ROUNDS);
    },
  );

  test.each(modes)('without one old code or new runs; %s', { timeout: 60_000 }, async (_name, options) => {
    const { value, calls, last } = await observe(false, options);
    expect(value).toBe(PASS);
    expect(last <= BigInt(ROUNDS)).toBe(true);
    expect(calls).toBeGreaterThan(ROUNDS);
  });

  async function observe(
    fence: boolean,
    options: BareMetalOptions,
  ): Promise<{ value: number; calls: number; wrong: bigint; last: bigint }> {
    const { value, data } = await run(program(fence), { options, harts: 2, data: [WRONG, 3] });
    return { value, wrong: data[0]!, calls: Number(data[1]!), last: data[2]! };
  }
});
