/** Two harts: atomics between them, reservations, ordering, interrupts, and code that the other one has written. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLINT_PHYS } from '../../core/machine/virt-map.ts';
import { Program } from '../harness/asm.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { PageTables, PTE } from '../harness/page-tables.ts';
import { DATA, INTERRUPT, reg, runHere, TrapProgram } from '../harness/trap-program.ts';

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create({ harts: 2 });
});
afterAll(() => bare[Symbol.asyncDispose]());

const { a0, a1, a2, a3, a4, t0, t1, s0, s1, ra } = reg;
/** Words by which the harts wait for one another, each in its own cache line. */
const FLAG = { mine: DATA, yours: DATA + 64, done: DATA + 128 } as const;
const SHARED = DATA + 256;
const TURNS = 20_000;

interface Sides {
  /** Before both start. */
  prepare?: () => void;
  zero: (p: TrapProgram) => void;
  one: (p: TrapProgram) => void;
}

/** Hart 0 and hart 1 each run their side; it ends when both are done. */
async function both({ prepare, zero, one }: Sides): Promise<{ kept: bigint[]; traps: { cause: bigint }[] }> {
  const p = new TrapProgram({ others: 'one' });
  zero(p);
  await_(p, FLAG.done, 1);
  p.end();
  p.label('one');
  one(p);
  signal(p, FLAG.done, 1);
  p.label('idle').op('wfi').op('jal', {}, 'idle');
  return runHere(
    bare,
    p,
    () => {
      bare.ram(DATA, 4096).fill(0);
      prepare?.();
    },
    20_000,
  );
}

function signal(p: TrapProgram, flag: number, value: number): void {
  p.op('fence').li(t0, flag).li(t1, value).op('sw', { rs1: t0, rs2: t1 }).op('fence');
}
function await_(p: TrapProgram, flag: number, value: number): void {
  const label = p.unique('await');
  p.li(t0, flag)
    .li(t1, value)
    .label(label)
    .op('lw', { rd: ra, rs1: t0 })
    .op('bne', { rs1: ra, rs2: t1 }, label)
    .op('fence');
}

describe('no increment is lost', () => {
  const repeat = (p: TrapProgram, body: () => void): void => {
    const label = p.unique('turn');
    p.li(a0, SHARED).li(a1, 1).li(s0, TURNS).label(label);
    body();
    p.op('addi', { rd: s0, rs1: s0, imm: -1 }).op('bne', { rs1: s0 }, label);
  };
  const ways: [string, (p: TrapProgram) => void][] = [
    ['amoadd.w', (p) => p.op('amoadd.w', { rs1: a0, rs2: a1 })],
    ['amoadd.d', (p) => p.op('amoadd.d', { rs1: a0, rs2: a1 })],
    [
      'lr.w and sc.w',
      (p) => {
        const again = p.unique('again');
        p.label(again)
          .op('lr.w', { rd: a2, rs1: a0 })
          .op('addiw', { rd: a2, rs1: a2, imm: 1 })
          .op('sc.w', { rd: a3, rs1: a0, rs2: a2 })
          .op('bne', { rs1: a3 }, again);
      },
    ],
    [
      'lr.d and sc.d',
      (p) => {
        const again = p.unique('again');
        p.label(again)
          .op('lr.d', { rd: a2, rs1: a0 })
          .op('addi', { rd: a2, rs1: a2, imm: 1 })
          .op('sc.d', { rd: a3, rs1: a0, rs2: a2 })
          .op('bne', { rs1: a3 }, again);
      },
    ],
    [
      'loads and stores under a lock of amoswap.w',
      (p) => {
        const lock = p.unique('lock');
        p.label(lock).op('amoswap.w', { rd: a2, rs1: a4, rs2: a1, aqrl: 2 }).op('bne', { rs1: a2 }, lock);
        p.op('ld', { rd: a3, rs1: a0 }).op('addi', { rd: a3, rs1: a3, imm: 1 }).op('sd', { rs1: a0, rs2: a3 });
        p.op('amoswap.w', { rs1: a4, aqrl: 1 });
      },
    ],
  ];
  test.each(ways)(
    '%s',
    async (_name, body) => {
      const side = (p: TrapProgram): void => {
        p.li(a4, SHARED + 64);
        repeat(p, () => body(p));
      };
      await both({ zero: side, one: side });
      expect(bare.readU64(SHARED)).toBe(BigInt(2 * TURNS));
    },
    30_000,
  );
});

test('a store by the other hart between LR and SC makes SC fail', async () => {
  const { kept } = await both({
    prepare: () => bare.writeU64(SHARED, 5n),
    zero: (p) => {
      p.li(a0, SHARED).op('lr.d', { rd: a1, rs1: a0 });
      signal(p, FLAG.mine, 1);
      await_(p, FLAG.yours, 1);
      p.li(a2, 9).op('sc.d', { rd: a3, rs1: a0, rs2: a2 }).op('ld', { rd: a4, rs1: a0 }).keep(a1, a3, a4);
    },
    one: (p) => {
      await_(p, FLAG.mine, 1);
      p.li(a0, SHARED).li(a1, 7).op('sd', { rs1: a0, rs2: a1 });
      signal(p, FLAG.yours, 1);
    },
  });
  expect(kept).toEqual([5n, 1n, 7n]);
});

test('what is written before a fence and a flag is seen behind it', async () => {
  const { kept } = await both({
    zero: (p) => {
      p.li(s0, SHARED).li(s1, 5000).li(a2, 0).li(a3, 0).label('turn');
      p.op('addi', { rd: a2, rs1: a2, imm: 1 })
        .op('sd', { rs1: s0, rs2: a2 })
        .op('fence')
        .li(t0, FLAG.mine)
        .op('sw', { rs1: t0, rs2: a2 });
      p.li(t0, FLAG.yours)
        .label('back')
        .op('lw', { rd: a1, rs1: t0 })
        .op('bne', { rs1: a1, rs2: a2 }, 'back')
        .op('fence');
      p.op('ld', { rd: a4, rs1: s0, imm: 64 }).op('add', { rd: a3, rs1: a3, rs2: a4 });
      p.op('addi', { rd: s1, rs1: s1, imm: -1 }).op('bne', { rs1: s1 }, 'turn').keep(a3);
    },
    one: (p) => {
      p.li(s0, SHARED).li(s1, 5000).li(a2, 0).label('other turn').op('addi', { rd: a2, rs1: a2, imm: 1 });
      p.li(t0, FLAG.mine)
        .label('there')
        .op('lw', { rd: a1, rs1: t0 })
        .op('bne', { rs1: a1, rs2: a2 }, 'there')
        .op('fence');
      p.op('ld', { rd: a1, rs1: s0 })
        .op('sd', { rs1: s0, rs2: a1, imm: 64 })
        .op('fence')
        .li(t0, FLAG.yours)
        .op('sw', { rs1: t0, rs2: a2 });
      p.op('addi', { rd: s1, rs1: s1, imm: -1 }).op('bne', { rs1: s1 }, 'other turn');
    },
  });
  expect(kept).toEqual([(5000n * 5001n) / 2n]);
});

test('code written by the other hart runs after fence.i', async () => {
  const code = (imm: number): number =>
    new DataView(new Program(0).op('addi', { rd: a1, imm }).assemble().buffer).getUint32(0, true);
  const { kept } = await both({
    zero: (p) => {
      p.op('jal', { rd: ra }, 'code').keep(a1);
      signal(p, FLAG.mine, 1);
      await_(p, FLAG.yours, 1);
      p.op('fence.i')
        .op('jal', { rd: ra }, 'code')
        .keep(a1)
        .op('jal', {}, 'past')
        .align(4)
        .label('code')
        .op('addi', { rd: a1, imm: 1 })
        .op('jalr', { rs1: ra })
        .label('past');
    },
    one: (p) => {
      await_(p, FLAG.mine, 1);
      p.la(a0, 'code').li(a1, code(2)).op('sw', { rs1: a0, rs2: a1 });
      signal(p, FLAG.yours, 1);
    },
  });
  expect(kept).toEqual([1n, 2n]);
});

test('a software interrupt wakes the other hart, again and again', async () => {
  const MSIP0 = CLINT_PHYS;
  const MSIP1 = CLINT_PHYS + 4;
  const MSIE = 8;
  const rounds = 500;
  /** Sleeps until its own MSIP is high, takes it back, and pokes the other. */
  const side = (p: TrapProgram, own: number, other: number, begins: boolean): void => {
    const turn = p.unique('turn');
    const sleep = p.unique('sleep');
    const awake = p.unique('awake');
    p.csrwi('mie', MSIE).li(s0, own).li(s1, other).li(a1, 1).li(a2, rounds).li(a3, 0).label(turn);
    if (begins) p.op('sw', { rs1: s1, rs2: a1 });
    p.label(sleep)
      .csrr(a4, 'mip')
      .op('andi', { rd: a4, rs1: a4, imm: MSIE })
      .op('bne', { rs1: a4 }, awake)
      .op('wfi')
      .op('jal', {}, sleep);
    p.label(awake).op('sw', { rs1: s0 }).op('addi', { rd: a3, rs1: a3, imm: 1 });
    if (!begins) p.op('sw', { rs1: s1, rs2: a1 });
    p.op('addi', { rd: a2, rs1: a2, imm: -1 }).op('bne', { rs1: a2 }, turn);
  };
  const { kept } = await both({
    zero: (p) => {
      side(p, MSIP0, MSIP1, true);
      p.keep(a3);
    },
    one: (p) => side(p, MSIP1, MSIP0, false),
  });
  expect(kept).toEqual([BigInt(rounds)]);
});

test('an interrupt from the other hart stops a loop', async () => {
  const { traps } = await both({
    zero: (p) => {
      p.csrwi('mie', 8).csrsi('mstatus', 1n << 7n);
      signal(p, FLAG.mine, 1);
      p.inMode('M', () => p.label('spin').op('addi', { rd: a0, rs1: a0, imm: 1 }).op('jal', {}, 'spin'));
      p.li(t0, CLINT_PHYS).op('sw', { rs1: t0 });
    },
    one: (p) => {
      await_(p, FLAG.mine, 1);
      p.li(t0, CLINT_PHYS).li(t1, 1).op('sw', { rs1: t0, rs2: t1 });
    },
  });
  expect(traps.map((t) => t.cause)).toEqual([INTERRUPT | 3n]);
});

test('a page-table entry loses no bit when both harts set A and D in it', async () => {
  const pages = 64;
  const tables = new PageTables(bare, DATA + 0x100000);
  const clean = PTE.V | PTE.R | PTE.W;
  for (let n = 0; n < pages; n++) tables.map(0x10000 + n * 4096, DATA + 0x200000 + n * 4096, clean);
  const touch = (p: TrapProgram, op: 'ld' | 'sd'): void => {
    const next = p.unique('page');
    p.csrwi('menvcfg', 1n << 61n)
      .csrwi('satp', tables.satp())
      .op('sfence.vma');
    p.li(a0, 0x10000)
      .li(a1, pages)
      .li(a2, 4096)
      .csrci('mstatus', 3 << 11)
      .csrsi('mstatus', (1 << 17) | (1 << 11))
      .label(next);
    p.op(op, op === 'ld' ? { rd: a3, rs1: a0 } : { rs1: a0 })
      .op('add', { rd: a0, rs1: a0, rs2: a2 })
      .op('addi', { rd: a1, rs1: a1, imm: -1 });
    p.op('bne', { rs1: a1 }, next).csrci('mstatus', 1 << 17);
  };
  await both({
    zero: (p) => {
      signal(p, FLAG.mine, 1);
      touch(p, 'ld');
    },
    one: (p) => {
      p.setUp();
      await_(p, FLAG.mine, 1);
      touch(p, 'sd');
    },
  });
  for (let n = 0; n < pages; n++) expect(tables.read(0x10000 + n * 4096) & (PTE.A | PTE.D)).toBe(PTE.A | PTE.D);
});
