/** Physical memory protection (privileged manual 3.7). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Program } from '../harness/asm.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { PageTables, PTE_ALL } from '../harness/page-tables.ts';
import { CAUSE, DATA, reg, runHere, TrapProgram } from '../harness/trap-program.ts';
import type { ModeName } from '../harness/trap-program.ts';

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create();
});
afterAll(() => bare[Symbol.asyncDispose]());

const { a0, a1, t0, s0 } = reg;
const R = 1;
const W = 2;
const X = 4;
const TOR = 1 << 3;
const NA4 = 2 << 3;
const NAPOT = 3 << 3;
const L = 0x80;
const { loadAccess, storeAccess, fetchAccess, ecallU, ecallS, ecallM } = CAUSE;

/** Sets an entry; the harness keeps entry 15 open for everything. */
function entry(p: TrapProgram, i: number, config: number, address: bigint): void {
  p.csrwi(`pmpaddr${i}`, address);
  p.csrci(`pmpcfg${i < 8 ? 0 : 2}`, 0xffn << BigInt((i & 7) * 8)).csrsi(
    `pmpcfg${i < 8 ? 0 : 2}`,
    BigInt(config) << BigInt((i & 7) * 8),
  );
}
const napot = (base: number, size: number): bigint => (BigInt(base) >> 2n) | BigInt((size >> 3) - 1);
const word = (address: number): bigint => BigInt(address) >> 2n;

/** Takes entry 15 away from S and U. */
const close = (p: TrapProgram): void => void p.csrci('pmpcfg2', 0xffn << 56n);
/** The program's own code and its log stay open to all. */
const openCode = (p: TrapProgram, i: number): void => entry(p, i, NAPOT | R | W | X, napot(0x80000000, 0x100000));

type Kind = 'lb' | 'lh' | 'lw' | 'ld' | 'sb' | 'sh' | 'sw' | 'sd' | 'amoadd.w';
function access(p: TrapProgram, mode: ModeName, kind: Kind, address: number): void {
  p.inMode(mode, () => {
    p.li(a0, address);
    if (kind.startsWith('amo')) p.op(kind, { rd: a1, rs1: a0 });
    else if (kind.startsWith('l')) p.op(kind, { rd: a1, rs1: a0 });
    else p.op(kind, { rs1: a0, rs2: a1 });
  });
}
const causes = async (p: TrapProgram): Promise<bigint[]> => (await runHere(bare, p.end())).traps.map((t) => t.cause);

describe('matching', () => {
  test('without a matching entry S and U may nothing, M everything', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    close(p);
    for (const mode of ['U', 'S', 'M'] as const) for (const kind of ['ld', 'sd'] as const) access(p, mode, kind, DATA);
    expect(await causes(p)).toEqual([loadAccess, storeAccess, loadAccess, storeAccess, ecallM, ecallM]);
  });

  const ranges: [string, (p: TrapProgram) => void, start: number, end: number][] = [
    ['NA4', (p) => entry(p, 1, NA4 | R | W, word(DATA + 0x40)), DATA + 0x40, DATA + 0x44],
    ['NAPOT of 8 bytes', (p) => entry(p, 1, NAPOT | R | W, napot(DATA + 0x40, 8)), DATA + 0x40, DATA + 0x48],
    ['NAPOT of 4 KiB', (p) => entry(p, 1, NAPOT | R | W, napot(DATA + 0x1000, 4096)), DATA + 0x1000, DATA + 0x2000],
    [
      'NAPOT of 64 KiB',
      (p) => entry(p, 1, NAPOT | R | W, napot(DATA + 0x10000, 65536)),
      DATA + 0x10000,
      DATA + 0x20000,
    ],
    [
      'TOR',
      (p) => {
        entry(p, 1, 0, word(DATA + 0x104));
        entry(p, 2, TOR | R | W, word(DATA + 0x3008));
      },
      DATA + 0x104,
      DATA + 0x3008,
    ],
  ];
  test.each(ranges)('%s covers its range and no more', async (_name, set, start, end) => {
    const p = new TrapProgram();
    openCode(p, 0);
    close(p);
    set(p);
    for (const at of [start - 4, start, end - 4, end]) access(p, 'U', 'lw', at);
    for (const at of [start - 1, start, end - 1, end]) access(p, 'U', 'sb', at);
    expect(await causes(p)).toEqual([loadAccess, ecallU, ecallU, loadAccess, storeAccess, ecallU, ecallU, storeAccess]);
  });

  test('TOR in entry 0 begins at 0; an empty TOR range matches nothing', async () => {
    const p = new TrapProgram();
    entry(p, 0, TOR | R | W | X, word(DATA + 0x1000));
    close(p);
    entry(p, 1, 0, word(DATA + 0x4000));
    entry(p, 2, TOR | R | W, word(DATA + 0x3000));
    for (const at of [DATA + 0xff8, DATA + 0x1000, DATA + 0x3000, DATA + 0x3ff8]) access(p, 'S', 'ld', at);
    expect(await causes(p)).toEqual([ecallS, loadAccess, loadAccess, loadAccess]);
  });

  test('the lowest entry decides', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    entry(p, 1, NAPOT | R, napot(DATA, 4096));
    entry(p, 2, NAPOT | R | W, napot(DATA, 65536));
    for (const at of [DATA, DATA + 0x1000]) access(p, 'S', 'sd', at);
    expect(await causes(p)).toEqual([storeAccess, ecallS]);
  });

  test('an access that only partly matches fails, for M too', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    entry(p, 1, NA4 | R | W | X, word(DATA + 0x40));
    for (const mode of ['U', 'M'] as const) {
      access(p, mode, 'ld', DATA + 0x40);
      access(p, mode, 'lw', DATA + 0x40);
      access(p, mode, 'lw', DATA + 0x42);
      access(p, mode, 'lw', DATA + 0x44);
    }
    expect(await causes(p)).toEqual([loadAccess, ecallU, loadAccess, ecallU, loadAccess, ecallM, loadAccess, ecallM]);
  });

  test('an access across pages is checked in both, and writes nothing when the second fails', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    entry(p, 1, NAPOT | R, napot(DATA + 0x1000, 4096));
    bare.writeU64(DATA + 0xff8, 0x1111n);
    p.li(a1, -1);
    access(p, 'S', 'sd', DATA + 0xffd);
    p.li(t0, DATA + 0xff8)
      .op('ld', { rd: a1, rs1: t0 })
      .keep(a1);
    const { traps, kept } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ cause: storeAccess, tval: BigInt(DATA + 0x1000) });
    expect(kept).toEqual([0x1111n]);
  });
});

describe('rights', () => {
  test.each([
    ['read', R, [null, storeAccess, fetchAccess]],
    ['read and write', R | W, [null, null, fetchAccess]],
    ['execute', X, [loadAccess, storeAccess, null]],
    ['read and execute', R | X, [null, storeAccess, null]],
    ['none', 0, [loadAccess, storeAccess, fetchAccess]],
  ])('%s', async (_name, rights, expected) => {
    const p = new TrapProgram();
    openCode(p, 0);
    entry(p, 1, NAPOT | rights, napot(DATA + 0x1000, 4096));
    bare.writeU64(DATA + 0x1008, 0x00100073n);
    access(p, 'S', 'ld', DATA + 0x1000);
    access(p, 'S', 'sd', DATA + 0x1000);
    p.call('S', DATA + 0x1008);
    const got = await causes(p);
    expect(got.map((c) => (c === ecallS || c === CAUSE.breakpoint ? null : c))).toEqual(expected);
  });

  test('an atomic that may not write is a store fault; lr needs R only', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    entry(p, 1, NAPOT | R, napot(DATA, 4096));
    access(p, 'U', 'amoadd.w', DATA);
    p.inMode('U', () => p.li(a0, DATA).op('lr.w', { rd: a1, rs1: a0 }));
    p.inMode('U', () => p.li(a0, DATA).op('sc.w', { rd: a1, rs1: a0 }));
    expect(await causes(p)).toEqual([storeAccess, ecallU, storeAccess]);
  });

  test('MPRV accesses have the rights of MPP', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    entry(p, 1, NAPOT | R, napot(DATA, 4096));
    const MPRV = 1n << 17n;
    p.inMode('M', () =>
      p
        .csrci('mstatus', 3n << 11n)
        .csrsi('mstatus', MPRV)
        .li(a0, DATA)
        .op('sw', { rs1: a0 }),
    );
    p.csrci('mstatus', MPRV);
    access(p, 'M', 'sw', DATA);
    expect(await causes(p)).toEqual([storeAccess, ecallM]);
  });

  test('page tables are read and written with the rights of S', async () => {
    const p = new TrapProgram();
    const tables = DATA + 0x100000;
    const t = new PageTables(bare, tables).map(0x1000n, DATA, PTE_ALL);
    const MPRV_S = (1n << 17n) | (1n << 11n);
    p.csrwi('satp', t.satp()).op('sfence.vma');
    const look = (): void => {
      p.inMode('M', () =>
        p
          .csrci('mstatus', 3n << 11n)
          .csrsi('mstatus', MPRV_S)
          .li(a0, 0x1000)
          .op('ld', { rd: a1, rs1: a0 }),
      );
      p.csrci('mstatus', 1n << 17n);
    };
    look();
    entry(p, 1, NAPOT | W | R, napot(tables, 65536));
    look();
    entry(p, 1, NAPOT | X, napot(tables, 65536));
    p.op('sfence.vma');
    look();
    expect(await causes(p)).toEqual([ecallM, ecallM, loadAccess]);
  });

  test('setting A needs the right to write the table', async () => {
    const p = new TrapProgram();
    const tables = DATA + 0x100000;
    const t = new PageTables(bare, tables).map(0x1000n, DATA, PTE_ALL & ~0xc0n);
    p.csrwi('menvcfg', 1n << 61n)
      .csrwi('satp', t.satp())
      .op('sfence.vma');
    entry(p, 1, NAPOT | R, napot(tables, 65536));
    p.inMode('M', () =>
      p
        .csrci('mstatus', 3n << 11n)
        .csrsi('mstatus', (1n << 17n) | (1n << 11n))
        .li(a0, 0x1000)
        .op('ld', { rd: a1, rs1: a0 }),
    );
    p.csrci('mstatus', 1n << 17n);
    expect(await causes(p)).toEqual([loadAccess]);
    expect(t.read(0x1000n) & 0xc0n).toBe(0n);
  });
});

describe('locked entries', () => {
  test('bind M-mode', async () => {
    const p = new TrapProgram();
    bare.writeU64(DATA + 8, 0x00100073n);
    entry(p, 1, NAPOT | R | L, napot(DATA, 4096));
    access(p, 'M', 'ld', DATA);
    access(p, 'M', 'sd', DATA);
    p.call('M', DATA + 8);
    expect(await causes(p)).toEqual([ecallM, storeAccess, fetchAccess]);
  });

  test('cannot be changed, nor the address below a locked TOR', async () => {
    const p = new TrapProgram();
    p.csrwi('pmpaddr1', 0x1000).csrwi('pmpaddr2', 0x2000).csrwi('pmpaddr3', 0x3000);
    p.csrsi('pmpcfg0', (BigInt(TOR | L) << 16n) | (BigInt(R) << 24n));
    for (const i of [1, 2, 3]) p.csrwi(`pmpaddr${i}`, 0x7777).keepCsr(`pmpaddr${i}`);
    p.csrwi('pmpcfg0', 0).keepCsr('pmpcfg0').end();
    expect((await runHere(bare, p)).kept).toEqual([0x1000n, 0x2000n, 0x7777n, BigInt(TOR | L) << 16n]);
  });

  test('that are off are locked all the same', async () => {
    const p = new TrapProgram();
    p.csrsi('pmpcfg0', BigInt(L) << 8n)
      .csrwi('pmpaddr1', 5)
      .csrsi('pmpcfg0', BigInt(NAPOT | R) << 8n);
    p.keepCsr('pmpaddr1').keepCsr('pmpcfg0').end();
    expect((await runHere(bare, p)).kept).toEqual([0n, BigInt(L) << 8n]);
  });
});

describe('registers', () => {
  test('addresses have 54 bits; W without R does not stick; odd pmpcfg are not there', async () => {
    const p = new TrapProgram();
    p.csrwi('pmpaddr3', -1).keepCsr('pmpaddr3');
    p.csrwi('pmpcfg0', W | NAPOT)
      .csrr(t0, 'pmpcfg0')
      .op('andi', { rd: t0, rs1: t0, imm: 3 })
      .keep(t0);
    p.csrwi('pmpcfg0', 0x60).keepCsr('pmpcfg0');
    p.inMode('M', () => p.csrr(t0, 0x3a1)).end();
    const { kept, traps } = await runHere(bare, p);
    expect(kept[0]).toBe(0x3fffffffffffffn);
    expect(kept[1]).not.toBe(BigInt(W));
    expect(kept[2]).toBe(0n);
    expect(traps[0]!.cause).toBe(CAUSE.illegal);
  });
});

describe('execution', () => {
  const NOP = 0x0001;
  const EBREAK = 0x9002;
  /** Halfwords of c.nop up to an address, and c.ebreak there. */
  function code(from: number, until: number): void {
    for (let at = from; at < until; at += 2) bare.load(at, Uint8Array.of(NOP, 0));
    bare.load(until, Uint8Array.of(EBREAK & 255, EBREAK >> 8));
  }

  test('stops where a range that ends inside a page ends', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    close(p);
    entry(p, 1, NAPOT | R | X, napot(DATA + 0x100, 16));
    code(DATA + 0x100, DATA + 0x140);
    p.call('S', DATA + 0x100);
    p.call('S', DATA + 0xfe);
    const { traps } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ cause: fetchAccess, epc: BigInt(DATA + 0x110), tval: BigInt(DATA + 0x110) });
    expect(traps[1]).toMatchObject({ cause: fetchAccess, epc: BigInt(DATA + 0xfe) });
  });

  test('a jump inside the page is checked as well', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    close(p);
    entry(p, 1, NAPOT | R | X, napot(DATA + 0x100, 16));
    code(DATA + 0x180, DATA + 0x180);
    // c.j +0x80
    bare.load(DATA + 0x100, Uint8Array.of(0x41, 0xa0));
    p.call('S', DATA + 0x100);
    const { traps } = await runHere(bare, p.end());
    expect(traps[0]!.cause).toBe(fetchAccess);
    expect(traps[0]!.epc).not.toBe(BigInt(DATA + 0x100));
  });

  test('an instruction half of which may not be fetched is not executed', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    close(p);
    entry(p, 1, NAPOT | R | X, napot(DATA + 0x100, 16));
    code(DATA + 0x100, DATA + 0x120);
    // li s0, 1 (four bytes) across the end
    bare.load(DATA + 0x10e, Uint8Array.of(0x13, 0x04, 0x10, 0x00));
    p.li(s0, 0)
      .call('S', DATA + 0x100)
      .keep(s0);
    const { traps, kept } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ cause: fetchAccess, epc: BigInt(DATA + 0x10e) });
    expect(kept).toEqual([0n]);
  });

  test('inside an open page next to a closed one', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    close(p);
    entry(p, 1, NAPOT | R | X, napot(DATA + 0x1000, 4096));
    code(DATA + 0x1ff0, DATA + 0x2010);
    p.call('S', DATA + 0x1ff0);
    const { traps } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ cause: fetchAccess, epc: BigInt(DATA + 0x2000), tval: BigInt(DATA + 0x2000) });
  });

  test('loops, calls and instructions across pages run in a page that is open in part', async () => {
    const p = new TrapProgram();
    openCode(p, 0);
    close(p);
    // Up to 0x1800 into the second page; the loop straddles the boundary.
    entry(p, 1, 0, word(DATA + 0xf00));
    entry(p, 2, TOR | R | X, word(DATA + 0x1800));
    const { a2, a3, ra } = reg;
    const q = new Program(DATA + 0xfe6);
    q.li(a0, 10).li(a2, 0).li(a3, 0);
    q.label('loop')
      .op('c.add', { rd: a2, rs2: a0 })
      .op('jal', { rd: ra }, 'twice')
      .op('addi', { rd: a0, rs1: a0, imm: -1 });
    q.op('bne', { rs1: a0 }, 'loop').op('ebreak');
    q.label('twice').op('auipc', { rd: a3 }).op('slli', { rd: a2, rs1: a2, imm: 1 }).op('c.jr', { rs1: ra });
    bare.load(DATA + 0xfe6, q.assemble());
    p.call('S', DATA + 0xfe6).keep(a2, a3);
    const { traps, kept } = await runHere(bare, p.end());
    let sum = 0n;
    for (let n = 10n; n > 0n; n--) sum = (sum + n) * 2n;
    expect(traps[0]!.cause).toBe(CAUSE.breakpoint);
    expect(kept).toEqual([sum, BigInt(q.address('twice'))]);
  });

  test('M-mode runs in a page that unlocked entries cut up', async () => {
    const p = new TrapProgram();
    entry(p, 1, NA4, word(DATA + 0x20));
    code(DATA, DATA + 0x40);
    p.call('M', DATA);
    expect(await causes(p)).toEqual([CAUSE.breakpoint]);
  });

  test('a change of entries is seen by the next instruction fetched', async () => {
    const p = new TrapProgram();
    code(DATA, DATA + 0x10);
    openCode(p, 0);
    p.call('S', DATA);
    entry(p, 1, NAPOT | R, napot(DATA, 4096));
    p.call('S', DATA);
    expect(await causes(p)).toEqual([CAUSE.breakpoint, fetchAccess]);
  });
});
