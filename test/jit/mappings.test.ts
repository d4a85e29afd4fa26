/** Code at virtual addresses whose mappings change: remapped pages, address spaces, regions of more than one page. */
import { expect, test } from 'vitest';
import { RAM_PHYS } from '../../core/machine/virt-map.ts';
import { encode } from '../harness/asm.ts';
import type { BareMetal } from '../harness/bare-metal.ts';
import { leaf, PageTables, PTE, PTE_ALL } from '../harness/page-tables.ts';
import { Code, DATA, firstDifference, HOT, MODES, PASS, reg, run } from './modes.ts';
import type { Run } from './modes.ts';

const { ra, sp, t0, t1, t2, a0, a1, a2, a3, s0, s1, s2, s3, s4, s5 } = reg;
const ROUNDS = 200;
const TABLES = DATA + 0x100000;
const OTHER_TABLES = DATA + 0x140000;
/** Pages of code, physical. */
const PAGES = DATA + 0x200000;
/** Where code runs. */
const VA = 0x1_0000_0000;
const page = (n: number): number => PAGES + n * 4096;

/** A function that is never the same: in a loop it makes a0 from a0, `seed` and where it is. */
function place(bare: BareMetal, at: number, seed: number): void {
  const p = new Code(at).li(a1, 12).label('loop');
  p.op('addi', { rd: a0, rs1: a0, imm: seed }).op('xori', { rd: a0, rs1: a0, imm: seed * 3 });
  p.op('auipc', { rd: t0 }).op('add', { rd: a0, rs1: a0, rs2: t0 });
  p.op('addi', { rd: a1, rs1: a1, imm: -1 }).op('bne', { rs1: a1 }, 'loop').ret();
  bare.load(at, p.assemble());
}

/** Where the function of placeAcross begins in its page; with an instruction whose halves are in two pages. */
const ACROSS = 4096 - 10;
const ACROSS_STRADDLING = 4096 - 6;

/** A function that goes over the end of page `n`, whose part in the next page is that of each of `tails`. */
function placeAcross(bare: BareMetal, n: number, tails: number[], start: number): void {
  for (const tail of tails) {
    const p = new Code(page(n) + start).li(a1, 12);
    if (start === ACROSS) p.half(encode('c.addi', { rd: a0, rs1: a0, imm: 3 }));
    p.label('loop')
      .op('addi', { rd: a0, rs1: a0, imm: 1 })
      .op('addi', { rd: a0, rs1: a0, imm: tail * 5 })
      .op('slli', { rd: a2, rs1: a0, imm: 3 });
    p.op('xor', { rd: a0, rs1: a0, rs2: a2 })
      .op('addi', { rd: a1, rs1: a1, imm: -1 })
      .op('bne', { rs1: a1 }, 'loop')
      .ret();
    const bytes = p.assemble();
    bare.load(p.origin, bytes.subarray(0, 4096 - start));
    bare.load(page(tail), bytes.subarray(4096 - start));
  }
}

/** S-mode with RAM where it is; both spaces have the entry of VA in a table of their own. */
function spaces(bare: BareMetal): [PageTables, PageTables] {
  const made = [TABLES, OTHER_TABLES].map((area) =>
    new PageTables(bare, area).map(RAM_PHYS, RAM_PHYS, PTE_ALL | PTE.G, 2),
  );
  for (const tables of made) for (let n = 0; n < 8; n++) tables.map(VA + n * 4096, page(n));
  return made as [PageTables, PageTables];
}
const satp = (area: number, asid: number): bigint => (8n << 60n) | (BigInt(asid) << 44n) | (BigInt(area) >> 12n);
const entryOf = (n: number): number => ENTRIES + n * 8;
/** The last-level table of VA: the third that is made (root, 1 GiB at VA, 2 MiB). */
const ENTRIES = TABLES + 2 * 4096;

async function same(body: (p: Code) => void, prepare: (bare: BareMetal) => void, atLeast = ROUNDS): Promise<void> {
  let cold: Run | null = null;
  for (const [name, options] of Object.entries(MODES)) {
    const p = new Code()
      .setUp('trap')
      .csrwi('satp', satp(TABLES, 1))
      .op('sfence.vma')
      .to(1)
      .li(s0, 0)
      .li(s1, ROUNDS)
      .li(a0, 0);
    p.label('round');
    body(p);
    p.op('addi', { rd: s0, rs1: s0, imm: 1 })
      .op('bge', { rs1: s0, rs2: s1 }, 'over')
      .jump('round')
      .label('over')
      .op('ecall');
    p.align(4).label('trap').csrr(t0, 'mcause').csrr(t1, 'mepc').csrr(t2, 'mtval').note(t0, t1, t2);
    // A page fault of code ends the call that it is in.
    p.li(t1, 12).op('bne', { rs1: t0, rs2: t1 }, 'stop').csrw('mepc', ra).op('mret');
    p.label('stop').finish();
    const result = await run(p, {
      options,
      prepare: (bare) => {
        spaces(bare);
        prepare(bare);
      },
    });
    cold ??= result;
    expect({ name, value: result.value, difference: firstDifference(result.log, cold.log) }).toEqual({
      name,
      value: PASS,
      difference: null,
    });
    // The last trap is the ecall.
    expect(result.log.filter((word) => word !== 0n).length).toBeGreaterThan(ROUNDS / 2);
    if (options === HOT) expect(result.translated).toBeGreaterThan(atLeast);
  }
}

/** Writes the leaf of page `n` of VA: to what is at the physical address in a register. */
function remap(p: Code, n: number, pa: number): Code {
  p.op('srli', { rd: t0, rs1: pa, imm: 2 }).li(t1, PTE_ALL).op('or', { rd: t0, rs1: t0, rs2: t1 });
  return p.li(t1, entryOf(n)).op('sd', { rs1: t1, rs2: t0 });
}

/** pa of page (first + (s0 & 1)) into a3. */
function alternate(p: Code, first: number): Code {
  return p
    .op('andi', { rd: a3, rs1: s0, imm: 1 })
    .op('slli', { rd: a3, rs1: a3, imm: 12 })
    .li(t0, page(first))
    .op('add', { rd: a3, rs1: a3, rs2: t0 });
}

const twoFunctions = (bare: BareMetal): void => {
  place(bare, page(0), 5);
  place(bare, page(1), 77);
};

test.each([
  ['all', (p: Code) => p.op('sfence.vma')],
  ['its address', (p: Code) => p.li(t0, VA).op('sfence.vma', { rs1: t0 })],
  ['its ASID', (p: Code) => p.li(t0, 1).op('sfence.vma', { rs2: t0 })],
  ['its address and ASID', (p: Code) => p.li(t0, VA).li(t1, 1).op('sfence.vma', { rs1: t0, rs2: t1 })],
])('a page is remapped, sfence.vma of %s', { timeout: 60_000 }, (_name, fence) =>
  same((p) => {
    fence(remap(alternate(p, 0), 0, a3));
    p.li(s2, VA).callAt(s2).note(a0).callAt(s2).note(a0);
  }, twoFunctions),
);

test('a page is unmapped and mapped again', { timeout: 60_000 }, () =>
  same(
    (p) => {
      remap(
        p
          .op('andi', { rd: a3, rs1: s0, imm: 3 })
          .op('slli', { rd: a3, rs1: a3, imm: 12 })
          .li(t0, page(0))
          .op('add', { rd: a3, rs1: a3, rs2: t0 }),
        0,
        a3,
      );
      // Every fourth time there is nothing.
      p.op('andi', { rd: t2, rs1: s0, imm: 3 }).op('bne', { rs1: t2 }, 8).op('sd', { rs1: t1, rs2: 0 });
      p.op('sfence.vma').li(s2, VA).callAt(s2).note(a0).callAt(s2).note(a0);
    },
    (bare) => [1, 2, 3, 4].forEach((seed, n) => place(bare, page(n), seed * 31)),
  ),
);

test('two address spaces with other code at one address', { timeout: 60_000 }, () =>
  same(
    (p) => {
      // Spaces by ASID, without sfence.vma.
      p.li(s2, VA).li(s3, satp(TABLES, 1)).li(s4, satp(OTHER_TABLES, 2));
      p.op('csrrw', { rs1: s4, imm: 0x180 }).callAt(s2).note(a0);
      p.op('csrrw', { rs1: s3, imm: 0x180 }).callAt(s2).note(a0).callAt(s2).note(a0);
    },
    (bare) => {
      twoFunctions(bare);
      bare.writeU64(OTHER_TABLES + 2 * 4096, leaf(page(1), PTE_ALL));
    },
  ),
);

test('a switch of address spaces in the middle of code that both have at one address', { timeout: 60_000 }, () =>
  same(
    (p) => {
      p.li(s2, VA).li(s3, satp(TABLES, 1)).li(s4, satp(OTHER_TABLES, 2)).callAt(s2).note(a0);
    },
    (bare) => {
      // The same up to the switch; behind it each page goes on as it does.
      [0, 1].forEach((n) => {
        const p = new Code(page(n)).li(a1, 9).label('loop').op('addi', { rd: a0, rs1: a0, imm: 1 });
        p.op('csrrw', { rs1: s4, imm: 0x180 })
          .op('addi', { rd: a0, rs1: a0, imm: 100 + n })
          .op('slli', { rd: a2, rs1: a0, imm: 1 });
        p.op('csrrw', { rs1: s3, imm: 0x180 })
          .op('addi', { rd: a0, rs1: a0, imm: 1000 * (n + 1) })
          .op('xor', { rd: a0, rs1: a0, rs2: a2 });
        p.op('addi', { rd: a1, rs1: a1, imm: -1 }).op('bne', { rs1: a1 }, 'loop').ret();
        bare.load(p.origin, p.assemble());
      });
      bare.writeU64(OTHER_TABLES + 2 * 4096, leaf(page(1), PTE_ALL));
    },
  ),
);

test('one page at two addresses', { timeout: 60_000 }, () =>
  same(
    (p) => {
      p.li(s2, VA)
        .li(s3, VA + 4096)
        .callAt(s2)
        .note(a0)
        .callAt(s3)
        .note(a0);
    },
    (bare) => {
      place(bare, page(0), 9);
      bare.writeU64(entryOf(1), leaf(page(0), PTE_ALL));
    },
  ),
);

test.each([
  [ACROSS, true],
  [ACROSS, false],
  [ACROSS_STRADDLING, true],
  [ACROSS_STRADDLING, false],
])(
  'a region from %i on into the next page, which is remapped; with sfence.vma of its address: %s',
  { timeout: 60_000 },
  (start, byAddress) =>
    same(
      (p) => {
        remap(alternate(p, 2), 1, a3);
        if (byAddress) p.li(t0, VA + 4096).op('sfence.vma', { rs1: t0 });
        else p.op('sfence.vma');
        p.li(s2, VA + start)
          .callAt(s2)
          .note(a0)
          .callAt(s2)
          .note(a0);
      },
      (bare) => placeAcross(bare, 0, [2, 3], start),
    ),
);

test('a region of two pages, the second of which is written to', { timeout: 60_000 }, () =>
  same(
    (p) => {
      // The immediate of the first instruction in the second page.
      p.op('slli', { rd: t0, rs1: s0, imm: 20 })
        .li(t1, encode('addi', { rd: a0, rs1: a0 }))
        .op('add', { rd: t0, rs1: t0, rs2: t1 });
      p.li(t1, page(1)).op('sw', { rs1: t1, rs2: t0 }).op('fence.i');
      p.li(s2, VA + ACROSS)
        .callAt(s2)
        .note(a0)
        .callAt(s2)
        .note(a0);
    },
    (bare) => placeAcross(bare, 0, [1], ACROSS),
  ),
);

test.each([ACROSS, ACROSS_STRADDLING])(
  'a region from %i on into the next page, which comes and goes',
  { timeout: 60_000 },
  (start) =>
    same(
      (p) => {
        remap(alternate(p, 2), 1, a3);
        p.op('andi', { rd: t2, rs1: s0, imm: 3 }).op('bne', { rs1: t2 }, 8).op('sd', { rs1: t1, rs2: 0 });
        p.op('sfence.vma')
          .li(s2, VA + start)
          .callAt(s2)
          .note(a0);
      },
      (bare) => placeAcross(bare, 0, [2, 3], start),
    ),
);

test('a function that unmaps its own second page, and one that another function returns to', { timeout: 60_000 }, () =>
  same(
    (p) => {
      // Page 0 calls page 4 by a register; page 4 remaps page 0 (where it returns to) to a copy that goes on otherwise.
      alternate(p, 0)
        .mv(sp, a3)
        .li(s2, VA)
        .li(s3, VA + 4 * 4096)
        .callAt(s2)
        .note(a0);
      remap(p.li(a3, page(0)), 0, a3).op('sfence.vma');
    },
    (bare) => {
      [0, 1].forEach((n) => {
        const p = new Code(page(n))
          .mv(s5, ra)
          .li(a1, 6)
          .label('loop')
          .op('addi', { rd: a0, rs1: a0, imm: 1 })
          .callAt(s3);
        p.op('addi', { rd: a0, rs1: a0, imm: 50 * (n + 1) })
          .op('addi', { rd: a1, rs1: a1, imm: -1 })
          .op('bne', { rs1: a1 }, 'loop')
          .mv(ra, s5)
          .ret();
        bare.load(p.origin, p.assemble());
      });
      const p = new Code(page(4));
      remap(p.op('xori', { rd: a0, rs1: a0, imm: 21 }), 0, sp)
        .op('sfence.vma')
        .ret();
      bare.load(p.origin, p.assemble());
    },
  ),
);
