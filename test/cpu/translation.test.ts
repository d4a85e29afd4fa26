/** Address translation (privileged manual 12.3 to 12.6, Svnapot, Svpbmt, Svadu) and mstatus.SUM, MXR, MPRV. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Program } from '../harness/asm.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { leaf, PageTables, PTE, PTE_ALL } from '../harness/page-tables.ts';
import type { Mode } from '../harness/page-tables.ts';
import { CAUSE, DATA, reg, runHere, TrapProgram } from '../harness/trap-program.ts';
import type { ModeName, Result } from '../harness/trap-program.ts';

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create();
});
afterAll(() => bare[Symbol.asyncDispose]());

const { a0, a1, a2, t0 } = reg;
const TABLES = DATA + 0x100000;
/** Physical pages that tests map, each filled with its own number. */
const FRAME = DATA + 0x300000;
const frame = (n: number): number => FRAME + n * 4096;
const MS = { SUM: 1n << 18n, MXR: 1n << 19n, MPRV: 1n << 17n, MPP: 3n << 11n, MPP_S: 1n << 11n } as const;
const ENV = { ADUE: 1n << 61n, PBMTE: 1n << 62n } as const;
const VA = 0x40_0000_0000n - 0x4000_0000n;
const U = PTE_ALL | PTE.U;

/** An access to one address, and what is expected of it. */
interface Access {
  mode?: ModeName;
  /** What the program's own code does: `ld`, `sd`, `amoadd.d`, `lr.d` at the address, or `fetch` from it. */
  kind: 'load' | 'store' | 'amo' | 'lr' | 'fetch';
  va: bigint;
  /** Bits of mstatus to be set. */
  status?: bigint;
}

interface Setup {
  mode?: Mode;
  tables: (t: PageTables) => void;
  menvcfg?: bigint;
  accesses: Access[];
}

const OPS = { load: 'ld', store: 'sd', amo: 'amoadd.d', lr: 'lr.d' } as const;

/**
 * Does accesses one after the other, from identity-mapped code. Data accesses are made in M-mode with MPRV, so that the code
 * itself needs no mapping; fetches are real jumps to the address, where `ebreak` awaits them.
 */
async function run({ mode = 'sv39', tables, menvcfg = 0n, accesses }: Setup): Promise<Result & { tables: PageTables }> {
  const t = new PageTables(bare, TABLES, mode);
  for (let n = 0; n < 64; n++) {
    bare.ram(frame(n), 4096).fill(0);
    bare.writeU64(frame(n), BigInt(n));
    bare.writeU64(frame(n) + 8, 0x0010_0073n);
  }
  tables(t);
  const p = new TrapProgram();
  p.csrwi('menvcfg', menvcfg).csrwi('satp', t.satp()).op('sfence.vma');
  for (const { mode: as = 'S', kind, va, status = 0n } of accesses) {
    p.csrci('mstatus', MS.SUM | MS.MXR | MS.MPRV).csrsi('mstatus', status);
    if (kind === 'fetch') {
      p.call(as, va).li(a1, 0);
    } else {
      p.li(a0, va).li(a1, -1).li(a2, 0x1000);
      p.inMode('M', () => {
        p.csrci('mstatus', MS.MPP).csrsi('mstatus', MS.MPRV | (as === 'S' ? MS.MPP_S : 0n));
        p.op(
          OPS[kind],
          kind === 'store' ? { rs1: a0, rs2: a2 } : kind === 'amo' ? { rd: a1, rs1: a0, rs2: a2 } : { rd: a1, rs1: a0 },
        );
        p.csrci('mstatus', MS.MPRV);
      });
      p.csrci('mstatus', MS.MPRV);
    }
    p.keep(a1);
  }
  p.end();
  return { ...(await runHere(bare, p)), tables: t };
}

/** Causes of the accesses' traps; null for those that did not fault. */
const faults = (r: Result): (bigint | null)[] =>
  r.traps.map((t) => (t.cause === CAUSE.ecallM || t.cause === CAUSE.breakpoint ? null : t.cause));

describe.each<[Mode, bigint, number]>([
  ['sv39', 0x3f_ffff_f000n, 3],
  ['sv48', 0x7fff_ffff_f000n, 4],
  ['sv57', 0xff_ffff_ffff_f000n, 5],
])('%s', (mode, top, levels) => {
  test('translates the first, the last and a negative page', async () => {
    const negative = BigInt.asUintN(64, -4096n);
    const r = await run({
      mode,
      tables: (t) => t.map(0n, frame(1)).map(top, frame(2)).map(negative, frame(3)),
      accesses: [0n, top, negative].map((va) => ({ kind: 'load', va })),
    });
    expect(r.kept).toEqual([1n, 2n, 3n]);
  });

  test.each(['load', 'store', 'amo', 'fetch'] as const)(
    'refuses addresses that are not canonical: %s',
    async (kind) => {
      const cause = { load: CAUSE.loadPage, store: CAUSE.storePage, amo: CAUSE.storePage, fetch: CAUSE.fetchPage }[
        kind
      ];
      const bad = [top + 0x1000n, 1n << 63n, BigInt.asUintN(64, -top - 0x2000n)];
      const r = await run({ mode, tables: (t) => t.map(0n, frame(1)), accesses: bad.map((va) => ({ kind, va })) });
      expect(faults(r)).toEqual(bad.map(() => cause));
      expect(r.traps.map((t) => t.tval)).toEqual(bad);
    },
  );

  test('superpages of every size translate, and must be aligned', async () => {
    const accesses: Access[] = [];
    const r = await run({
      mode,
      tables: (t) => {
        for (let level = 1; level < levels; level++) {
          const size = 1n << (12n + 9n * BigInt(level));
          const va = size * 3n;
          // Frames lie where the physical address has the page's offset; only the first GiB of it is RAM.
          const pa = (BigInt(FRAME) / size) * size;
          t.map(va, pa, PTE_ALL, level);
          accesses.push({ kind: 'load', va: va + (BigInt(frame(5)) - pa) });
        }
      },
      accesses,
    });
    expect(r.kept).toEqual(accesses.map(() => 5n));
    for (let level = 1; level < levels; level++) {
      const va = (1n << (12n + 9n * BigInt(level))) * 3n;
      const bad = await run({
        mode,
        tables: (t) => void bare.writeU64(t.entry(va, level), leaf(0x8000_0000n + 0x1000n, PTE_ALL)),
        accesses: [
          { kind: 'load', va },
          { kind: 'fetch', va },
        ],
      });
      expect(faults(bad)).toEqual([CAUSE.loadPage, CAUSE.fetchPage]);
    }
  });

  test('a pointer at the last level is a page fault', async () => {
    const r = await run({
      mode,
      tables: (t) => void bare.writeU64(t.entry(0n), leaf(frame(0), PTE.V)),
      accesses: [{ kind: 'load', va: 0n }],
    });
    expect(faults(r)).toEqual([CAUSE.loadPage]);
  });
});

describe('permissions', () => {
  const { V, R, W, X, A, D } = PTE;
  const all = ['load', 'store', 'amo', 'lr', 'fetch'] as const;
  /** Where the page has code that a fetch may meet. */
  const at = (kind: Access['kind']): bigint => (kind === 'fetch' ? 8n : 24n);
  const page = {
    load: CAUSE.loadPage,
    store: CAUSE.storePage,
    amo: CAUSE.storePage,
    lr: CAUSE.loadPage,
    fetch: CAUSE.fetchPage,
  };
  const cases: [string, bigint, readonly (typeof all)[number][]][] = [
    ['nothing when not valid', R | W | X, []],
    ['read only', V | R, ['load', 'lr']],
    ['read and write', V | R | W, ['load', 'store', 'amo', 'lr']],
    ['execute only', V | X, ['fetch']],
    ['read and execute', V | R | X, ['load', 'lr', 'fetch']],
    ['everything', V | R | W | X, [...all]],
    ['write without read is reserved', V | W, []],
    ['write and execute without read too', V | W | X, []],
  ];
  test.each(cases)('%s', async (_name, flags, allowed) => {
    const r = await run({
      tables: (t) => t.map(VA, frame(1), flags | A | D),
      accesses: all.map((kind) => ({ kind, va: VA + at(kind) })),
    });
    expect(faults(r)).toEqual(all.map((kind) => (allowed.includes(kind) ? null : page[kind])));
    all.forEach((kind, i) => {
      if (!allowed.includes(kind)) expect(r.traps[i]!.tval).toBe(VA + at(kind));
    });
  });

  test('U pages are for U; S may use their data under SUM, never their code', async () => {
    const r = await run({
      tables: (t) => t.map(VA, frame(1), U).map(VA + 0x1000n, frame(2)),
      accesses: [
        { mode: 'U', kind: 'load', va: VA },
        { mode: 'U', kind: 'fetch', va: VA + 8n },
        { mode: 'S', kind: 'load', va: VA },
        { mode: 'S', kind: 'load', va: VA, status: MS.SUM },
        { mode: 'S', kind: 'store', va: VA },
        { mode: 'S', kind: 'store', va: VA + 16n, status: MS.SUM },
        { mode: 'S', kind: 'fetch', va: VA + 8n },
        { mode: 'S', kind: 'fetch', va: VA + 8n, status: MS.SUM },
        { mode: 'U', kind: 'load', va: VA + 0x1000n },
        { mode: 'U', kind: 'load', va: VA + 0x1000n, status: MS.SUM },
        { mode: 'U', kind: 'fetch', va: VA + 0x1008n },
        { mode: 'S', kind: 'load', va: VA },
      ],
    });
    const { loadPage, storePage, fetchPage } = CAUSE;
    expect(faults(r)).toEqual([
      null,
      null,
      loadPage,
      null,
      storePage,
      null,
      fetchPage,
      fetchPage,
      loadPage,
      loadPage,
      fetchPage,
      loadPage,
    ]);
  });

  test('MXR makes executable pages readable, not writable', async () => {
    const r = await run({
      tables: (t) => t.map(VA, frame(1), PTE.V | PTE.X | PTE.A | PTE.D),
      accesses: [
        { kind: 'load', va: VA },
        { kind: 'load', va: VA, status: MS.MXR },
        { kind: 'store', va: VA, status: MS.MXR },
        { kind: 'load', va: VA },
      ],
    });
    expect(faults(r)).toEqual([CAUSE.loadPage, null, CAUSE.storePage, CAUSE.loadPage]);
  });

  test('MPRV with MPP M does not translate', async () => {
    const p = new TrapProgram();
    const t = new PageTables(bare, TABLES);
    bare.writeU64(frame(9), 99n);
    p.csrwi('satp', t.satp())
      .op('sfence.vma')
      .csrsi('mstatus', MS.MPRV | MS.MPP)
      .li(a0, frame(9))
      .op('ld', { rd: a1, rs1: a0 })
      .keep(a1);
    p.csrci('mstatus', MS.MPP).inMode('M', () =>
      p.csrci('mstatus', MS.MPP).csrsi('mstatus', MS.MPRV).op('ld', { rd: a1, rs1: a0 }),
    );
    p.csrci('mstatus', MS.MPRV).end();
    const r = await runHere(bare, p);
    expect(r.kept).toEqual([99n]);
    expect(r.traps[0]!.cause).toBe(CAUSE.loadPage);
  });
});

describe('accessed and dirty bits', () => {
  const clean = PTE.V | PTE.R | PTE.W | PTE.X;
  const accesses: Access[] = [
    { kind: 'load', va: VA },
    { kind: 'store', va: VA + 0x1000n },
    { kind: 'fetch', va: VA + 0x2008n },
    { kind: 'amo', va: VA + 0x3000n },
    { kind: 'store', va: VA + 0x4000n },
  ];
  const tables = (t: PageTables): void => {
    for (let n = 0n; n < 4n; n++) t.map(VA + n * 0x1000n, frame(Number(n)), clean);
    t.map(VA + 0x4000n, frame(4), clean | PTE.A);
  };
  const bits = (t: PageTables): bigint[] => [0n, 1n, 2n, 3n, 4n].map((n) => t.read(VA + n * 0x1000n) & (PTE.A | PTE.D));

  test('raise page faults without Svadu', async () => {
    const r = await run({ tables, accesses });
    const { loadPage, storePage, fetchPage } = CAUSE;
    expect(faults(r)).toEqual([loadPage, storePage, fetchPage, storePage, storePage]);
    expect(bits(r.tables)).toEqual([0n, 0n, 0n, 0n, PTE.A]);
  });

  test('are set with Svadu: D by stores only', async () => {
    const r = await run({ tables, accesses, menvcfg: ENV.ADUE });
    expect(faults(r)).toEqual([null, null, null, null, null]);
    expect(bits(r.tables)).toEqual([PTE.A, PTE.A | PTE.D, PTE.A, PTE.A | PTE.D, PTE.A | PTE.D]);
  });

  test('a store after a load sets D, though the translation is cached', async () => {
    const r = await run({
      tables,
      menvcfg: ENV.ADUE,
      accesses: [
        { kind: 'load', va: VA },
        { kind: 'store', va: VA },
      ],
    });
    expect(r.tables.read(VA) & (PTE.A | PTE.D)).toBe(PTE.A | PTE.D);
  });

  test('are not set by an access that faults', async () => {
    const r = await run({
      tables: (t) => t.map(VA, frame(1), PTE.V | PTE.R),
      menvcfg: ENV.ADUE,
      accesses: [
        { kind: 'store', va: VA },
        { kind: 'fetch', va: VA },
        { mode: 'U', kind: 'load', va: VA },
      ],
    });
    expect(faults(r)).toEqual([CAUSE.storePage, CAUSE.fetchPage, CAUSE.loadPage]);
    expect(r.tables.read(VA) & (PTE.A | PTE.D)).toBe(0n);
  });
});

describe('bits above the page number', () => {
  const one = (flags: bigint, menvcfg = 0n): Promise<Result> =>
    run({
      tables: (t) => t.map(VA, frame(16), PTE_ALL | flags),
      menvcfg,
      accesses: [
        { kind: 'load', va: VA },
        { kind: 'store', va: VA },
        { kind: 'fetch', va: VA + 8n },
      ],
    });
  const refused = [CAUSE.loadPage, CAUSE.storePage, CAUSE.fetchPage];
  const taken = [null, null, null];

  test.each([54n, 57n, 60n])('bit %d is reserved', async (bit) => {
    expect(faults(await one(1n << bit))).toEqual(refused);
  });

  test('Svpbmt: memory types are reserved without menvcfg.PBMTE, and type 3 always', async () => {
    expect(faults(await one(PTE.NC))).toEqual(refused);
    expect(faults(await one(PTE.NC, ENV.PBMTE))).toEqual(taken);
    expect(faults(await one(PTE.IO, ENV.PBMTE))).toEqual(taken);
    expect(faults(await one(PTE.PBMT_RESERVED, ENV.PBMTE))).toEqual(refused);
  });

  test('Svnapot: 64 KiB pages, of which any entry translates', async () => {
    const napot = (n: number): bigint => leaf(frame(16), PTE_ALL | PTE.N) | (8n << 10n) | (0n * BigInt(n));
    expect(frame(16) % 65536).toBe(0);
    const r = await run({
      tables: (t) => {
        for (let n = 0; n < 16; n++) bare.writeU64(t.entry(VA + BigInt(n) * 4096n), napot(n));
      },
      accesses: [0n, 1n, 7n, 8n, 15n].map((n) => ({ kind: 'load', va: VA + n * 4096n })),
    });
    expect(r.kept).toEqual([16n, 17n, 23n, 24n, 31n]);
  });

  test('Svnapot: other sizes are reserved, and so is N in superpages', async () => {
    for (const low of [0n, 1n, 2n, 4n, 12n, 15n]) {
      const r = await run({
        tables: (t) => void bare.writeU64(t.entry(VA), leaf(frame(16), PTE_ALL | PTE.N) | (low << 10n)),
        accesses: [{ kind: 'load', va: VA }],
      });
      expect(faults(r)).toEqual([CAUSE.loadPage]);
    }
    const r = await run({
      tables: (t) => t.map(VA, 0x80000000n, PTE_ALL | PTE.N, 1),
      accesses: [{ kind: 'load', va: VA }],
    });
    expect(faults(r)).toEqual([CAUSE.loadPage]);
  });

  test.each([
    ['A', PTE.A],
    ['D', PTE.D],
    ['U', PTE.U],
    ['N', PTE.N],
    ['PBMT', PTE.NC],
  ])('%s in a pointer is reserved', async (_name, bit) => {
    const r = await run({
      tables: (t) => {
        t.map(VA, frame(1));
        const at = t.entry(VA, 1);
        bare.writeU64(at, bare.readU64(at) | bit);
      },
      menvcfg: ENV.PBMTE,
      accesses: [{ kind: 'load', va: VA }],
    });
    expect(faults(r)).toEqual([CAUSE.loadPage]);
  });
});

describe('tables that are not in memory', () => {
  test.each(['load', 'store', 'fetch'] as const)('give an access fault of the kind of access: %s', async (kind) => {
    const r = await run({
      tables: (t) => void bare.writeU64(t.entry(VA, 2), leaf(0x4000_0000n, PTE.V)),
      accesses: [{ kind, va: VA }],
    });
    expect(faults(r)).toEqual([{ load: CAUSE.loadAccess, store: CAUSE.storeAccess, fetch: CAUSE.fetchAccess }[kind]]);
    expect(r.traps[0]!.tval).toBe(VA);
  });

  test('so does a page that is not in memory', async () => {
    const r = await run({
      tables: (t) => t.map(VA, 0x1800_0000n),
      accesses: [
        { kind: 'load', va: VA + 4n * 8n },
        { kind: 'store', va: VA },
        { kind: 'fetch', va: VA },
      ],
    });
    expect(faults(r)).toEqual([CAUSE.loadAccess, CAUSE.storeAccess, CAUSE.fetchAccess]);
  });
});

describe('sfence.vma', () => {
  /** Loads from VA, changes the entry, fences as told, loads again. */
  async function remap(
    fence: (p: TrapProgram) => void,
    options: { level?: number; asid?: number; flags?: bigint } = {},
  ): Promise<bigint[]> {
    const { level = 0, asid = 0, flags = PTE_ALL } = options;
    const t = new PageTables(bare, TABLES);
    bare.writeU64(frame(1), 1n);
    bare.writeU64(frame(2), 2n);
    t.map(VA, level === 0 ? frame(1) : FRAME, flags, level);
    const entry = t.entry(VA, level);
    const other = level === 0 ? leaf(frame(2), flags) : leaf(FRAME + 0x200000, flags);
    if (level > 0) {
      bare.writeU64(FRAME, 1n);
      bare.writeU64(FRAME + 0x200000, 2n);
    }
    const p = new TrapProgram();
    p.csrwi('satp', t.satp(asid)).op('sfence.vma').li(a0, VA);
    const look = (): void =>
      void p
        .csrsi('mstatus', MS.MPRV | MS.MPP_S)
        .op('ld', { rd: a1, rs1: a0 })
        .csrci('mstatus', MS.MPRV)
        .keep(a1);
    look();
    p.li(t0, entry).li(a1, other).op('sd', { rs1: t0, rs2: a1 });
    fence(p);
    look();
    p.end();
    return (await runHere(bare, p)).kept;
  }
  const changed = [1n, 2n];

  test('of everything', async () => {
    expect(await remap((p) => p.op('sfence.vma'))).toEqual(changed);
  });
  test('of one address', async () => {
    expect(await remap((p) => p.op('sfence.vma', { rs1: a0 }))).toEqual(changed);
  });
  test('of an address inside a superpage', async () => {
    const inside = (p: TrapProgram): void => void p.li(t0, VA + 0x12345n).op('sfence.vma', { rs1: t0 });
    expect(await remap(inside, { level: 1 })).toEqual(changed);
  });
  test('of an address space', async () => {
    expect(await remap((p) => p.li(t0, 7).op('sfence.vma', { rs2: t0 }), { asid: 7 })).toEqual(changed);
  });
  test('of an address in an address space', async () => {
    expect(await remap((p) => p.li(t0, 7).op('sfence.vma', { rs1: a0, rs2: t0 }), { asid: 7 })).toEqual(changed);
  });
  test('sinval.vma between its fences', async () => {
    expect(await remap((p) => p.op('sfence.w.inval').op('sinval.vma', { rs1: a0 }).op('sfence.inval.ir'))).toEqual(
      changed,
    );
  });

  test('an entry made valid is seen at the latest after a fence', async () => {
    const t = new PageTables(bare, TABLES);
    const entry = t.entry(VA);
    bare.writeU64(frame(1), 1n);
    const p = new TrapProgram();
    p.csrwi('satp', t.satp()).op('sfence.vma').li(a0, VA);
    p.inMode('M', () =>
      p
        .csrci('mstatus', MS.MPP)
        .csrsi('mstatus', MS.MPRV | MS.MPP_S)
        .op('ld', { rd: a1, rs1: a0 }),
    );
    p.csrci('mstatus', MS.MPRV)
      .li(t0, entry)
      .li(a1, leaf(frame(1), PTE_ALL))
      .op('sd', { rs1: t0, rs2: a1 })
      .op('sfence.vma');
    p.csrci('mstatus', MS.MPP)
      .csrsi('mstatus', MS.MPRV | MS.MPP_S)
      .op('ld', { rd: a1, rs1: a0 })
      .csrci('mstatus', MS.MPRV)
      .keep(a1)
      .end();
    const r = await runHere(bare, p);
    expect(r.traps.map((x) => x.cause)).toEqual([CAUSE.loadPage]);
    expect(r.kept).toEqual([1n]);
  });

  test('address spaces with the same addresses do not mix, and survive hundreds of switches', async () => {
    const spaces = 600;
    const tables = Array.from({ length: spaces }, (_, i) =>
      new PageTables(bare, DATA + 0x800000 + i * 0x4000).map(VA, frame(i % 64)),
    );
    for (let n = 0; n < 64; n++) bare.writeU64(frame(n), BigInt(n));
    const list = DATA + 0x1000;
    tables.forEach((t, i) => bare.writeU64(list + i * 8, t.satp(i % 200)));
    const p = new TrapProgram();
    const { s0, s1, s2, s3, a3 } = reg;
    // Twice over all, adding up what is read times its place.
    p.li(s3, 2).label('again').li(s0, list).li(s1, spaces).li(s2, 0).li(a0, VA);
    p.label('next').op('ld', { rd: t0, rs1: s0 }).csrw('satp', t0);
    p.csrsi('mstatus', MS.MPRV | MS.MPP_S)
      .op('ld', { rd: a1, rs1: a0 })
      .csrci('mstatus', MS.MPRV);
    p.op('mul', { rd: a3, rs1: a1, rs2: s1 }).op('add', { rd: s2, rs1: s2, rs2: a3 });
    p.op('addi', { rd: s0, rs1: s0, imm: 8 })
      .op('addi', { rd: s1, rs1: s1, imm: -1 })
      .op('bne', { rs1: s1 }, 'next')
      .keep(s2);
    p.op('addi', { rd: s3, rs1: s3, imm: -1 }).op('bne', { rs1: s3 }, 'again').end();
    const expected = tables.reduce((sum, _, i) => sum + BigInt((i % 64) * (spaces - i)), 0n);
    expect((await runHere(bare, p)).kept).toEqual([expected, expected]);
  });
});

describe('global pages', () => {
  const G = PTE_ALL | PTE.G;
  const second = TABLES + 0x10000;
  /** In the instruction TLB the program's own pages are elsewhere. */
  const PAGE = VA + 0x12_3000n;

  /**
   * Two address spaces, in which PAGE leads to frames 1 and 2: what is seen in the one, then in the other, and there again behind
   * each of the fences. Software that marks different pages as global must expect either (12.2.1): so it is seen what is cached.
   */
  async function seen(flags: bigint, kind: 'load' | 'fetch', fences: ((p: TrapProgram) => void)[]): Promise<bigint[]> {
    const spaces = [TABLES, second].map((area, i) => new PageTables(bare, area).map(PAGE, frame(1 + i), flags));
    const code = [1, 2].map((n) => new Program(0).op('addi', { rd: a1, imm: n }).op('ebreak').assemble());
    code.forEach((bytes, i) => {
      bare.writeU64(frame(1 + i), BigInt(1 + i));
      bare.load(frame(1 + i) + 16, bytes);
    });
    const p = new TrapProgram();
    const look = (): void => {
      if (kind === 'fetch') p.call('S', PAGE + 16n).keep(a1);
      else
        p.li(a0, PAGE)
          .csrsi('mstatus', MS.MPRV | MS.MPP_S)
          .op('ld', { rd: a1, rs1: a0 })
          .csrci('mstatus', MS.MPRV)
          .keep(a1);
    };
    p.csrwi('satp', spaces[0]!.satp(1)).op('sfence.vma');
    look();
    p.csrwi('satp', spaces[1]!.satp(2));
    look();
    for (const fence of fences) {
      fence(p);
      look();
    }
    p.end();
    return (await runHere(bare, p)).kept;
  }
  const all = (p: TrapProgram): void => void p.op('sfence.vma');
  const ofSpace = (p: TrapProgram): void => void p.li(t0, 2).op('sfence.vma', { rs2: t0 });
  const ofPage = (p: TrapProgram): void => void p.li(t0, PAGE).op('sfence.vma', { rs1: t0 });

  test.each(['load', 'fetch'] as const)('are translated once for all address spaces: %s', async (kind) => {
    expect(await seen(PTE_ALL, kind, [])).toEqual([1n, 2n]);
    expect(await seen(G, kind, [ofSpace, all])).toEqual([1n, 1n, 1n, 2n]);
    expect(await seen(G, kind, [ofPage])).toEqual([1n, 1n, 2n]);
  });

  test('are so too when a pointer above them is marked', async () => {
    const t = new PageTables(bare, TABLES).map(VA, frame(1), PTE_ALL);
    const other = new PageTables(bare, second).map(VA, frame(2), PTE_ALL);
    const root = Number(t.root) + Number((VA >> 30n) & 511n) * 8;
    bare.writeU64(root, bare.readU64(root) | PTE.G);
    bare.writeU64(frame(1), 1n);
    bare.writeU64(frame(2), 2n);
    const p = new TrapProgram();
    for (const satp of [t.satp(1), other.satp(2)]) {
      p.csrwi('satp', satp).li(a0, VA);
      p.csrsi('mstatus', MS.MPRV | MS.MPP_S)
        .op('ld', { rd: a1, rs1: a0 })
        .csrci('mstatus', MS.MPRV)
        .keep(a1);
    }
    p.end();
    expect((await runHere(bare, p)).kept).toEqual([1n, 1n]);
  });

  test('keep their rights: no U, no store to a clean page, no other scheme', async () => {
    const clean = G & ~PTE.D;
    const r = await run({
      tables: (t) => t.map(VA, frame(1), clean),
      accesses: [
        { kind: 'load', va: VA },
        { kind: 'load', mode: 'U', va: VA },
        { kind: 'fetch', va: VA + 8n },
        { kind: 'fetch', mode: 'U', va: VA + 8n },
        { kind: 'store', va: VA },
        { kind: 'load', va: VA },
      ],
    });
    expect(faults(r)).toEqual([null, CAUSE.loadPage, null, CAUSE.fetchPage, CAUSE.storePage, null]);
    // The same address in another scheme leads elsewhere, or nowhere.
    const t = new PageTables(bare, TABLES).map(VA, frame(1), G);
    const p = new TrapProgram();
    for (const satp of [t.satp(1), new PageTables(bare, second, 'sv48').satp(1), 0n]) {
      p.csrwi('satp', satp).li(a0, VA).li(a1, -1);
      p.inMode('M', () =>
        p
          .csrci('mstatus', MS.MPP)
          .csrsi('mstatus', MS.MPRV | MS.MPP_S)
          .op('ld', { rd: a1, rs1: a0 })
          .csrci('mstatus', MS.MPRV),
      );
      p.csrci('mstatus', MS.MPRV).keep(a1);
    }
    p.end();
    const other = await runHere(bare, p);
    expect(faults(other)).toEqual([null, CAUSE.loadPage, CAUSE.loadAccess]);
  });
});
