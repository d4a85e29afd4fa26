/** Loads and stores off their alignment and across pages, LR/SC, instructions across pages, self-modifying code. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Program } from '../harness/asm.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { PageTables, PTE, PTE_ALL } from '../harness/page-tables.ts';
import { CAUSE, DATA, reg, runHere, TrapProgram } from '../harness/trap-program.ts';

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create();
});
afterAll(() => bare[Symbol.asyncDispose]());

const { a0, a1, a2, a3, t0, s0, ra } = reg;
const MPRV_S = (1n << 17n) | (1n << 11n);
const TABLES = DATA + 0x100000;
const LOW = DATA + 0x200000;
/** Where the page behind LOW in virtual memory is, far away in physical. */
const HIGH = DATA + 0x300000;
const VA = 0x1000n;
/** Two pages that follow one another in virtual memory only. */
const EDGE = VA + 0x1000n;

/** Data accesses of the code between are translated. */
function translated(p: TrapProgram, code: () => void): void {
  p.csrci('mstatus', 3n << 11n).csrsi('mstatus', MPRV_S);
  code();
  p.csrci('mstatus', MPRV_S);
}

function fill(at: number, from: number): void {
  bare.load(
    at,
    Uint8Array.from({ length: 4096 }, (_, i) => (from + i) & 255),
  );
}

const SIZES = [
  ['lh', 'sh', 2],
  ['lw', 'sw', 4],
  ['ld', 'sd', 8],
] as const;

describe('across a page boundary', () => {
  test.each(SIZES)('%s and %s at every offset', async (load, store, size) => {
    fill(LOW, 1);
    fill(HIGH, 101);
    const t = new PageTables(bare, TABLES).map(VA, LOW).map(EDGE, HIGH);
    const p = new TrapProgram();
    p.csrwi('satp', t.satp()).op('sfence.vma').li(a0, EDGE).li(a2, 0x8877665544332211n);
    for (let back = 1; back < size; back++) {
      translated(p, () => p.op(load, { rd: a1, rs1: a0, imm: -back }));
      p.keep(a1);
      translated(p, () => p.op(store, { rs1: a0, rs2: a2, imm: -back }).op(load, { rd: a1, rs1: a0, imm: -back }));
      p.keep(a1);
      // Put back.
      translated(p, () => p.li(a3, 0));
      for (let i = -back; i < size - back; i++) {
        const value = i < 0 ? (1 + 4096 + i) & 255 : 101 + i;
        translated(p, () => p.li(a3, value).op('sb', { rs1: a0, rs2: a3, imm: i }));
      }
    }
    const { kept } = await runHere(bare, p.end());
    const expected: bigint[] = [];
    for (let back = 1; back < size; back++) {
      let value = 0n;
      for (let i = size - 1; i >= 0; i--)
        value = (value << 8n) | BigInt(i < back ? (1 + 4096 - back + i) & 255 : 101 + i - back);
      const bits = size * 8;
      expected.push(
        BigInt.asUintN(64, BigInt.asIntN(bits, value)),
        BigInt.asUintN(64, BigInt.asIntN(bits, 0x8877665544332211n)),
      );
    }
    expect(kept).toEqual(expected);
  });

  test('a fault on the second page: its address as tval, nothing written, no register changed', async () => {
    fill(LOW, 1);
    const before = bare.ram(LOW, 4096).slice();
    const t = new PageTables(bare, TABLES).map(VA, LOW).map(EDGE, HIGH, PTE_ALL & ~PTE.W);
    const p = new TrapProgram();
    p.csrwi('satp', t.satp()).op('sfence.vma').li(a0, EDGE).li(a1, -1);
    for (const back of [1, 3, 4, 7])
      p.inMode('M', () =>
        p
          .csrci('mstatus', 3n << 11n)
          .csrsi('mstatus', MPRV_S)
          .op('sd', { rs1: a0, rs2: a1, imm: -back }),
      ).csrci('mstatus', MPRV_S);
    p.li(t0, Number(t.entry(EDGE)))
      .op('sd', { rs1: t0 })
      .op('sfence.vma')
      .li(a1, 5);
    for (const back of [1, 7])
      p.inMode('M', () =>
        p
          .csrci('mstatus', 3n << 11n)
          .csrsi('mstatus', MPRV_S)
          .op('ld', { rd: a1, rs1: a0, imm: -back }),
      ).csrci('mstatus', MPRV_S);
    const { traps, kept } = await runHere(bare, p.keep(a1).end());
    expect(traps.map((x) => x.cause)).toEqual([...Array(4).fill(CAUSE.storePage), CAUSE.loadPage, CAUSE.loadPage]);
    for (const x of traps) expect(x.tval).toBe(EDGE);
    expect(kept).toEqual([5n]);
    expect(bare.ram(LOW, 4096)).toEqual(before);
  });

  test('a fault on the first page comes first', async () => {
    const t = new PageTables(bare, TABLES);
    const p = new TrapProgram();
    p.csrwi('satp', t.satp()).op('sfence.vma').li(a0, EDGE);
    p.inMode('M', () =>
      p
        .csrci('mstatus', 3n << 11n)
        .csrsi('mstatus', MPRV_S)
        .op('ld', { rd: a1, rs1: a0, imm: -3 }),
    ).csrci('mstatus', MPRV_S);
    const { traps } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ cause: CAUSE.loadPage, tval: EDGE - 3n });
  });

  test('past the end of RAM', async () => {
    const end = 0x80000000 + bare.ramSize;
    const p = new TrapProgram();
    bare.writeU64(end - 8, 0n);
    p.li(a1, -1).li(a0, end);
    p.inMode('M', () => p.op('sd', { rs1: a0, rs2: a1, imm: -4 }));
    p.inMode('M', () => p.op('ld', { rd: a2, rs1: a0, imm: -4 }));
    p.inMode('M', () => p.op('ld', { rd: a2, rs1: a0, imm: -8 })).keep(a2);
    const { traps, kept } = await runHere(bare, p.end());
    expect(traps.map((x) => x.cause)).toEqual([CAUSE.storeAccess, CAUSE.loadAccess, CAUSE.ecallM]);
    expect(traps[0]!.tval).toBe(BigInt(end));
    expect(kept).toEqual([0n]);
  });

  test('misaligned atomics are refused there as everywhere', async () => {
    const p = new TrapProgram();
    p.li(a0, LOW + 4094);
    p.inMode('M', () => p.op('amoadd.w', { rd: a1, rs1: a0 })).inMode('M', () => p.op('lr.w', { rd: a1, rs1: a0 }));
    expect((await runHere(bare, p.end())).traps.map((x) => x.cause)).toEqual([
      CAUSE.storeMisaligned,
      CAUSE.loadMisaligned,
    ]);
  });
});

describe('an instruction across a page boundary', () => {
  /** `addi s0, s0, 1; ebreak` whose first halfword is the last of LOW, the rest in another page. */
  function place(high: number): void {
    const code = new Program(0).op('addi', { rd: s0, rs1: s0, imm: 1 }).op('ebreak').assemble();
    bare.load(LOW + 4094, code.subarray(0, 2));
    bare.load(high, code.subarray(2));
  }

  test('is put together from two physical pages', async () => {
    place(HIGH);
    place(LOW + 4096);
    bare.load(LOW + 4096, Uint8Array.of(0, 0, 0, 0));
    const t = new PageTables(bare, TABLES).map(VA, LOW).map(EDGE, HIGH);
    const p = new TrapProgram();
    p.csrwi('satp', t.satp())
      .op('sfence.vma')
      .li(s0, 1)
      .call('S', EDGE - 2n)
      .keep(s0);
    const { traps, kept } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ cause: CAUSE.breakpoint, epc: EDGE + 2n });
    expect(kept).toEqual([2n]);
  });

  test('faults with its own address as epc and that of the second page as tval', async () => {
    place(HIGH);
    const t = new PageTables(bare, TABLES).map(VA, LOW).map(EDGE, HIGH, PTE_ALL & ~PTE.X);
    const p = new TrapProgram();
    p.csrwi('satp', t.satp())
      .op('sfence.vma')
      .li(s0, 1)
      .call('S', EDGE - 2n)
      .keep(s0);
    // The page is put right, and the same instruction runs.
    p.li(t0, t.entry(EDGE))
      .li(a0, t.read(EDGE) | PTE.X)
      .op('sd', { rs1: t0, rs2: a0 })
      .op('sfence.vma')
      .call('S', EDGE - 2n)
      .keep(s0);
    const { traps, kept } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ cause: CAUSE.fetchPage, epc: EDGE - 2n, tval: EDGE });
    expect(traps[1]).toMatchObject({ cause: CAUSE.breakpoint });
    expect(kept).toEqual([1n, 2n]);
  });

  test('sees a new second page after the mapping has changed', async () => {
    place(HIGH);
    const other = DATA + 0x400000;
    const code = new Program(0).op('addi', { rd: s0, rs1: s0, imm: 0x700 }).op('ebreak').assemble();
    bare.load(other, code.subarray(2));
    const t = new PageTables(bare, TABLES).map(VA, LOW).map(EDGE, HIGH);
    const p = new TrapProgram();
    p.csrwi('satp', t.satp())
      .op('sfence.vma')
      .li(s0, 0)
      .call('S', EDGE - 2n)
      .keep(s0);
    const entry = t.entry(EDGE);
    t.map(EDGE, other);
    const changed = t.read(EDGE);
    t.map(EDGE, HIGH);
    p.li(t0, entry)
      .li(a0, changed)
      .op('sd', { rs1: t0, rs2: a0 })
      .op('sfence.vma')
      .li(s0, 0)
      .call('S', EDGE - 2n)
      .keep(s0);
    expect((await runHere(bare, p.end())).kept).toEqual([1n, 0x700n]);
  });
});

describe('LR and SC', () => {
  /** Runs code with a0 = an aligned address that holds 5; keeps a1 (result of sc) and memory. */
  async function reservation(code: (p: TrapProgram) => void): Promise<bigint[]> {
    const p = new TrapProgram();
    bare.writeU64(DATA, 5n);
    bare.writeU64(DATA + 64, 5n);
    p.li(a0, DATA).li(a2, 9).li(a1, 42);
    code(p);
    return (await runHere(bare, p.keep(a1).op('ld', { rd: a3, rs1: a0 }).keep(a3).end())).kept;
  }
  const lr = (p: TrapProgram): TrapProgram => p.op('lr.d', { rd: a3, rs1: a0 });
  const sc = (p: TrapProgram): TrapProgram => p.op('sc.d', { rd: a1, rs1: a0, rs2: a2 });

  test('succeed together', async () => {
    expect(await reservation((p) => sc(lr(p)))).toEqual([0n, 9n]);
  });
  test('SC alone fails and writes nothing', async () => {
    expect(await reservation(sc)).toEqual([1n, 5n]);
  });
  test('a second SC fails', async () => {
    expect(await reservation((p) => sc(sc(lr(p)).li(a2, 10)))).toEqual([1n, 9n]);
  });
  test('SC to another address fails, and uses the reservation up', async () => {
    expect(
      await reservation((p) =>
        sc(
          lr(p)
            .li(t0, DATA + 64)
            .op('sc.d', { rd: a1, rs1: t0, rs2: a2 }),
        ),
      ),
    ).toEqual([1n, 5n]);
  });
  test('a trap in between makes SC fail: its handler may have been another context', async () => {
    expect(await reservation((p) => sc(lr(p).inMode('U', () => p.op('ecall'))))).toEqual([1n, 5n]);
  });
  test('SC faults as a store, reservation or not', async () => {
    const p = new TrapProgram();
    p.li(a0, 0x18000000).inMode('M', () => p.op('sc.w', { rd: a1, rs1: a0 }));
    expect((await runHere(bare, p.end())).traps[0]!.cause).toBe(CAUSE.storeAccess);
  });
  test('lr.w gives the word with its sign', async () => {
    bare.writeU64(DATA, 0x1_8000_0000n);
    const p = new TrapProgram();
    p.li(a0, DATA).op('lr.w', { rd: a1, rs1: a0 }).li(a2, 1).op('sc.w', { rd: a3, rs1: a0, rs2: a2 }).keep(a1, a3);
    expect((await runHere(bare, p.end())).kept).toEqual([0xffff_ffff_8000_0000n, 0n]);
    expect(bare.readU64(DATA)).toBe(0x1_0000_0001n);
  });
});

describe('self-modifying code', () => {
  const addi = (imm: number): number =>
    new DataView(new Program(0).op('addi', { rd: a1, imm }).assemble().buffer).getUint32(0, true);

  test('is seen after fence.i', async () => {
    const p = new TrapProgram();
    p.la(a0, 'code').li(a2, addi(2));
    p.op('jal', { rd: ra }, 'code')
      .keep(a1)
      .op('sw', { rs1: a0, rs2: a2 })
      .op('fence.i')
      .op('jal', { rd: ra }, 'code')
      .keep(a1)
      .end();
    p.align(4).label('code').op('addi', { rd: a1, imm: 1 }).op('jalr', { rs1: ra });
    expect((await runHere(bare, p)).kept).toEqual([1n, 2n]);
  });

  test('in the same page, and the instruction right behind the fence', async () => {
    const p = new TrapProgram();
    p.la(a0, 'patch').li(a2, addi(2)).li(a1, 0).li(s0, 2).label('again');
    p.op('sw', { rs1: a0, rs2: a2 }).op('fence.i').align(4).label('patch').op('addi', { rd: a1, imm: 1 }).keep(a1);
    p.li(a2, addi(3)).op('addi', { rd: s0, rs1: s0, imm: -1 }).op('bne', { rs1: s0 }, 'again').end();
    expect((await runHere(bare, p)).kept).toEqual([2n, 3n]);
  });

  test('through another mapping of the page', async () => {
    const t = new PageTables(bare, TABLES).map(VA, LOW).map(0x9000n, LOW);
    bare.load(LOW, new Program(0).op('addi', { rd: a1, imm: 1 }).op('ebreak').assemble());
    const p = new TrapProgram();
    p.csrwi('satp', t.satp()).op('sfence.vma').call('S', VA).keep(a1).li(a0, 0x9000).li(a2, addi(7));
    translated(p, () => p.op('sw', { rs1: a0, rs2: a2 }));
    p.op('fence.i').call('S', VA).keep(a1);
    expect((await runHere(bare, p.end())).kept).toEqual([1n, 7n]);
  });

  test('two thousand pages of code, more than are ever in use at once', async () => {
    const p = new TrapProgram();
    const count = 2000;
    const first = DATA + 0x400000;
    for (let i = 0; i < count; i++)
      bare.load(
        first + i * 4096,
        new Program(0).op('addi', { rd: a1, rs1: a1, imm: 1 }).op('jalr', { rs1: ra }).assemble(),
      );
    p.li(a1, 0).li(a3, 3).label('round').li(a0, first).li(a2, count).li(s0, 4096);
    p.label('next')
      .op('jalr', { rd: ra, rs1: a0 })
      .op('add', { rd: a0, rs1: a0, rs2: s0 })
      .op('addi', { rd: a2, rs1: a2, imm: -1 })
      .op('bne', { rs1: a2 }, 'next');
    p.op('addi', { rd: a3, rs1: a3, imm: -1 }).op('bne', { rs1: a3 }, 'round').keep(a1).end();
    expect((await runHere(bare, p)).kept).toEqual([BigInt(3 * count)]);
  });
});

describe('cache-block operations', () => {
  const CBZE = 1 << 7;
  const CBCFE = 1 << 6;
  const CBIE = 3 << 4;

  test('cbo.zero clears the 64 bytes around its address', async () => {
    bare.load(DATA, new Uint8Array(256).fill(0xff));
    const p = new TrapProgram();
    p.li(a0, DATA + 64 + 13)
      .op('cbo.zero', { rs1: a0 })
      .end();
    await runHere(bare, p);
    expect([...bare.ram(DATA, 256)].map((b, i) => (b === 0 ? i : -1)).filter((i) => i >= 0)).toEqual(
      Array.from({ length: 64 }, (_, i) => 64 + i),
    );
  });

  test('menvcfg lets S, senvcfg lets U', async () => {
    const ops = ['cbo.zero', 'cbo.clean', 'cbo.flush', 'cbo.inval'] as const;
    const p = new TrapProgram();
    p.li(a0, DATA);
    const all = (): void => {
      for (const mode of ['S', 'U'] as const) for (const name of ops) p.inMode(mode, () => p.op(name, { rs1: a0 }));
    };
    all();
    p.csrwi('menvcfg', CBZE | CBCFE | CBIE);
    all();
    p.csrwi('senvcfg', CBZE | CBCFE | CBIE);
    all();
    const { illegal, ecallS, ecallU } = CAUSE;
    const four = (cause: bigint): bigint[] => Array<bigint>(4).fill(cause);
    expect((await runHere(bare, p.end())).traps.map((x) => x.cause)).toEqual([
      ...four(illegal),
      ...four(illegal),
      ...four(ecallS),
      ...four(illegal),
      ...four(ecallS),
      ...four(ecallU),
    ]);
  });

  test('fault as stores do', async () => {
    const t = new PageTables(bare, TABLES).map(VA, LOW, PTE.V | PTE.X | PTE.A | PTE.D);
    const p = new TrapProgram();
    p.csrwi('satp', t.satp()).op('sfence.vma').li(a0, VA);
    for (const name of ['cbo.zero', 'cbo.clean', 'cbo.flush', 'cbo.inval']) {
      p.inMode('M', () =>
        p
          .csrci('mstatus', 3n << 11n)
          .csrsi('mstatus', MPRV_S)
          .op(name, { rs1: a0 }),
      ).csrci('mstatus', MPRV_S);
    }
    p.li(a0, 0x18000000).inMode('M', () => p.op('cbo.zero', { rs1: a0 }));
    const { traps } = await runHere(bare, p.end());
    expect(traps.map((x) => x.cause)).toEqual([...Array(4).fill(CAUSE.storePage), CAUSE.storeAccess]);
  });
});
