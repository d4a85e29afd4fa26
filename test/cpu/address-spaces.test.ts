/** What is cached of translations: sfence.vma, address spaces, global pages (privileged manual 12.2). */
import { describe, expect, test } from 'vitest';
import { Program } from '../harness/asm.ts';
import { leaf, PageTables, PTE, PTE_ALL } from '../harness/page-tables.ts';
import { CAUSE, DATA, reg, runHere, TrapProgram } from '../harness/trap-program.ts';
import { bare, TABLES, FRAME, frame, MS, VA, run, faults } from './translation-setup.ts';

const { a0, a1, t0 } = reg;

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
