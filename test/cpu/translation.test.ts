/** Address translation (privileged manual 12.3 to 12.6, Svnapot, Svpbmt, Svadu) and mstatus.SUM, MXR, MPRV. */
import { describe, expect, test } from 'vitest';
import { leaf, PageTables, PTE, PTE_ALL } from '../harness/page-tables.ts';
import type { Mode } from '../harness/page-tables.ts';
import { CAUSE, runHere, reg, TrapProgram } from '../harness/trap-program.ts';
import type { Result } from '../harness/trap-program.ts';
import { bare, TABLES, FRAME, frame, MS, ENV, VA, U, run, faults } from './translation-setup.ts';
import type { Access } from './translation-setup.ts';

const { a0, a1 } = reg;

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
