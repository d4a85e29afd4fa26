/** Counters (privileged manual 3.1.10 to 3.1.12, 12.1.5). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BareMetal } from '../harness/bare-metal.ts';
import { CAUSE, DATA, reg, runHere, TrapProgram } from '../harness/trap-program.ts';

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create();
});
afterAll(() => bare[Symbol.asyncDispose]());

const { a0, a1, a2, t0, s0, s1, ra } = reg;

describe('instret counts exactly', () => {
  /** Instructions between two readings: the first of them, and what `code` executes. */
  async function count(code: (p: TrapProgram) => void): Promise<bigint> {
    const p = new TrapProgram();
    // Where mret is tried, it stays in M-mode.
    p.li(a0, DATA).csrsi('mstatus', 3 << 11);
    p.csrr(s0, 'minstret');
    code(p);
    p.csrr(s1, 'minstret').op('sub', { rd: s1, rs1: s1, rs2: s0 }).keep(s1);
    const { kept } = await runHere(bare, p.end());
    return kept[0]! - 1n;
  }

  test('nothing', async () => {
    expect(await count(() => undefined)).toBe(0n);
  });
  test('arithmetic in both lengths', async () => {
    expect(await count((p) => p.op('addi').op('c.addi').op('mul', { rd: a1 }).op('c.addi').op('c.addi'))).toBe(5n);
  });
  test('a loop', async () => {
    expect(
      await count((p) =>
        p
          .op('addi', { rd: a1, imm: 100 })
          .label('l')
          .op('addi', { rd: a1, rs1: a1, imm: -1 })
          .op('bne', { rs1: a1 }, 'l'),
      ),
    ).toBe(201n);
  });
  test('memory, atomics, CSRs, fences', async () => {
    expect(
      await count((p) =>
        p
          .op('ld', { rd: a1, rs1: a0 })
          .op('sd', { rs1: a0 })
          .op('sd', { rs1: a0, imm: 3 })
          .op('amoadd.d', { rs1: a0 })
          .op('lr.d', { rs1: a0 })
          .op('sc.d', { rd: a1, rs1: a0 })
          .csrr(a1, 'mstatus')
          .csrw('mscratch', a1)
          .op('fence')
          .op('fence.i')
          .op('sfence.vma')
          .csrw('mie', 0),
      ),
    ).toBe(12n);
  });
  test('calls into another page and back', async () => {
    expect(
      await count((p) => {
        p.op('jal', { rd: ra }, 'far')
          .op('jal', {}, 'over')
          .align(4096)
          .label('far')
          .op('addi')
          .op('jalr', { rs1: ra })
          .label('over');
      }),
    ).toBe(4n);
  });
  test('straight on into the next page, with an instruction across the boundary', async () => {
    expect(
      await count((p) => {
        p.op('jal', {}, 'edge')
          .align(4096)
          .org(p.here + 4096 - 6)
          .label('edge')
          .op('addi')
          .op('addi')
          .op('c.addi')
          .op('addi');
      }),
    ).toBe(5n);
  });
  test('mret counts, an ecall does not, a faulting instruction does not', async () => {
    const trap =
      (code: (p: TrapProgram) => void) =>
      (p: TrapProgram): void => {
        p.la(t0, 'user').csrw('mepc', t0).la(reg.s11, 'back').op('addi', { rd: reg.s8 }).op('mret').label('user');
        code(p);
        p.label('back');
      };
    const nothing = await count((p) =>
      p.la(t0, 'user').csrw('mepc', t0).la(reg.s11, 'user').op('addi', { rd: reg.s8 }).op('mret').label('user'),
    );
    expect(nothing).toBe(7n);
    // The handler: a branch, two to store the mode, four times two for the CSRs, one to move on, the jump.
    const handler = 1n + 2n + 8n + 1n + 1n;
    expect(await count(trap((p) => p.op('ecall')))).toBe(nothing + handler);
    expect(await count(trap((p) => p.op('ebreak')))).toBe(nothing + handler);
    expect(await count(trap((p) => p.word(0)))).toBe(nothing + handler);
    expect(await count(trap((p) => p.op('addi').op('ld', { rd: a1 })))).toBe(nothing + handler + 1n);
  });
});

describe('counters can be written and stopped', () => {
  test('the next instruction reads what was written', async () => {
    const p = new TrapProgram();
    p.li(t0, 1000);
    for (const name of ['minstret', 'mcycle']) p.csrw(name, t0).csrr(a1, name).csrr(a2, name).keep(a1, a2);
    const { kept } = await runHere(bare, p.end());
    expect(kept.slice(0, 2)).toEqual([1000n, 1001n]);
    expect(kept[2]).toBe(1000n);
    expect(kept[3]).toBeGreaterThan(1000n);
  });

  test('mcountinhibit stops each; bit 1 does not exist', async () => {
    const p = new TrapProgram();
    p.csrwi('mcountinhibit', -1).keepCsr('mcountinhibit');
    p.li(t0, 50)
      .csrw('minstret', t0)
      .op('addi')
      .op('addi')
      .keepCsr('minstret')
      .csrw('mcycle', t0)
      .op('addi')
      .keepCsr('mcycle');
    p.csrwi('mcountinhibit', 1)
      .csrr(a1, 'minstret')
      .csrr(a2, 'minstret')
      .op('sub', { rd: a2, rs1: a2, rs2: a1 })
      .keep(a2)
      .keepCsr('mcycle');
    const { kept } = await runHere(bare, p.end());
    expect(kept.slice(0, 4)).toEqual([kept[0]! & 0xfffffffdn, 50n, 50n, 1n]);
    expect(kept[4]).toBe(50n);
  });

  test('the user-level copies read the same', async () => {
    const p = new TrapProgram();
    p.csrwi('mcountinhibit', 5).csrwi('minstret', 123).csrwi('mcycle', 456).keepCsr('instret').keepCsr('cycle');
    expect((await runHere(bare, p.end())).kept).toEqual([123n, 456n]);
  });
});

describe('mcounteren binds S and U, scounteren U', () => {
  const { illegal, ecallS, ecallU } = CAUSE;
  test.each([
    ['cycle', 0],
    ['time', 1],
    ['instret', 2],
    ['hpmcounter3', 3],
    ['hpmcounter31', 31],
  ])('%s', async (name, index) => {
    const p = new TrapProgram();
    const both = (): void => {
      p.inMode('S', () => p.csrr(a1, name)).inMode('U', () => p.csrr(a1, name));
    };
    p.csrwi('mcounteren', 0).csrwi('scounteren', -1);
    both();
    p.csrwi('mcounteren', 1n << BigInt(index)).csrwi('scounteren', 0);
    both();
    p.csrwi('scounteren', 1n << BigInt(index));
    both();
    p.csrr(a1, name);
    const { traps } = await runHere(bare, p.end());
    expect(traps.map((t) => t.cause)).toEqual([illegal, illegal, ecallS, illegal, ecallS, ecallU]);
  });
});
