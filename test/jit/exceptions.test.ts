/**
 * Exceptions at every access of long regions: whichever of them faults, registers, pc, tval and minstret are what the
 * interpreter has there.
 */
import { expect, test } from 'vitest';
import { RAM_PHYS } from '../../core/machine/virt-map.ts';
import { Random } from '../differential/random.ts';
import type { BareMetal, BareMetalOptions } from '../harness/bare-metal.ts';
import { PageTables, PTE, PTE_ALL } from '../harness/page-tables.ts';
import { Code, COLD, DATA, firstDifference, HOT, LAZY, PASS, reg, run, WARM } from './modes.ts';

const { t0, t1, s11 } = reg;
const seed = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 1_000_000);
const TABLE = DATA;
const GOOD = DATA + 0x10000;
const TABLES = DATA + 0x100000;
/** Virtual addresses: read-only page, and one before a page that is not there. */
const READ_ONLY = 0x1_0000_0000n;
const LAST = 0x1_0001_0000n;
const UNMAPPED = 0x1_0002_0000n;
/** Nothing is there in physical memory. */
const NOWHERE = 0x7000_0000n;
const END_OF_RAM = BigInt(RAM_PHYS) + 0x200_0000n;
const FREE = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29];
/** Points to TABLE. */
const POINTERS = 30;
/** Base of an access, loaded just before it. */
const BASE = 31;
const ACCESSES = 60;
const WORDS = 40;

/** Accesses of a kind, and their size. */
const LOADS = { ld: 8, lw: 4, lwu: 4, lhu: 2, lh: 2, lb: 1, lbu: 1 };
const STORES = { sd: 8, sw: 4, sh: 2, sb: 1 };
const FLOAT_LOADS = { fld: 8, flw: 4 };
const FLOAT_STORES = { fsd: 8, fsw: 4 };
const named = (table: Record<string, number>, random: Random): [string, number] => random.pick(Object.entries(table));

/**
 * A long stretch of code that goes by way of ACCESSES pointers of its own in TABLE, once or a few times by each.
 * @param counter the name of instructions retired in the mode it runs in
 * @param scratch a CSR that can be read there
 */
function body(p: Code, random: Random, counter: string, scratch: string): void {
  const any = (): number => random.pick(FREE);
  let skip = 0;
  for (let access = 0; access < ACCESSES; access++) {
    for (let n = random.below(5); n > 0; n--) {
      const kind = random.below(10);
      if (kind < 5)
        p.op(random.pick(['add', 'xor', 'mul', 'sltu', 'subw', 'sll']), { rd: any(), rs1: any(), rs2: any() });
      else if (kind < 7) p.op('addi', { rd: any(), rs1: any(), imm: random.between(-2048, 2047) });
      else if (kind < 8)
        p.op(random.pick(['fadd.d', 'fmul.d', 'fsub.s']), {
          rd: random.below(32),
          rs1: random.below(32),
          rs2: random.below(32),
        });
      else if (kind < 9) p.csrr(any(), random.pick([counter, 'fcsr', scratch]));
      else
        p.op('beq', { rs1: any(), rs2: any() }, `skip ${skip}`)
          .op('addi', { rd: any(), rs1: any(), imm: 1 })
          .label(`skip ${skip++}`);
    }
    p.op('ld', { rd: BASE, rs1: POINTERS, imm: access * 8 });
    for (let n = random.pick([1, 1, 2, 3, 5]); n > 0; n--) one(p, random, any, n === 1);
    if (random.chance(0.15)) p.call('leaf');
  }
}

/** One access off BASE. */
function one(p: Code, random: Random, any: () => number, last: boolean): void {
  const offset = (size: number): number => random.below(64) & (random.chance(0.85) ? -size : -1);
  const anyFloat = (): number => random.below(32);
  const kind = random.below(last ? 9 : 6);
  if (kind < 2) {
    const [name, size] = named(LOADS, random);
    p.op(name, { rd: any(), rs1: BASE, imm: offset(size) });
  } else if (kind < 4) {
    const [name, size] = named(STORES, random);
    p.op(name, { rs1: BASE, rs2: any(), imm: offset(size) });
  } else if (kind === 4) {
    const [name, size] = named(FLOAT_LOADS, random);
    p.op(name, { rd: anyFloat(), rs1: BASE, imm: offset(size) });
  } else if (kind === 5) {
    const [name, size] = named(FLOAT_STORES, random);
    p.op(name, { rs1: BASE, rs2: anyFloat(), imm: offset(size) });
  } else if (kind === 6) p.op(random.pick(['amoadd.d', 'amoswap.w', 'amomaxu.d', 'lr.d']), { rd: any(), rs1: BASE });
  else if (kind === 7) p.op('sc.w', { rd: any(), rs1: BASE, rs2: any() });
  // Its own base goes.
  else p.op('ld', { rd: BASE, rs1: BASE, imm: offset(8) });
}

/** For each access in turn and each way to fault: sets registers, runs the body, notes what the handler sees. */
function program(random: Random, paging: boolean, bad: readonly bigint[], tables: bigint): Code {
  const p = new Code().setUp('trap');
  if (paging) p.csrwi('satp', tables).op('sfence.vma').csrwi('mcounteren', 7);
  p.li(3, 0).li(4, 0);
  // x3: the access that faults, x4: how.
  p.label('round');
  p.li(POINTERS, TABLE).li(t0, GOOD).li(t1, ACCESSES);
  p.label('fill')
    .op('sd', { rs1: POINTERS, rs2: t0 })
    .op('addi', { rd: POINTERS, rs1: POINTERS, imm: 8 })
    .op('addi', { rd: t1, rs1: t1, imm: -1 });
  p.op('bne', { rs1: t1 }, 'fill').li(POINTERS, TABLE);
  p.la(t1, 'bad').op('sh3add', { rd: t1, rs1: 4, rs2: t1 }).op('ld', { rd: t1, rs1: t1 });
  p.op('sh3add', { rd: t0, rs1: 3, rs2: POINTERS }).op('sd', { rs1: t0, rs2: t1 });
  // What accesses find there is the same every time, and an address (for the access by way of its own result).
  p.li(t0, GOOD).op('addi', { rd: t1, rs1: t0, imm: 128 });
  p.label('clear')
    .op('sd', { rs1: t0, rs2: t0 })
    .op('addi', { rd: t0, rs1: t0, imm: 8 })
    .op('bltu', { rs1: t0, rs2: t1 }, 'clear');
  FREE.forEach((x, i) => p.op('addi', { rd: x, rs1: 3, imm: i * 37 }));
  for (let f = 0; f < 32; f++) p.op('fcvt.d.w', { rd: f, rs1: FREE[f % FREE.length]! });
  p.li(1, 0).op('csrrw', { imm: 3 }).csrw('mscratch', s11);
  if (paging) {
    // In S-mode; x2 is free.
    p.li(2, 3 << 11)
      .csrc('mstatus', 2)
      .li(2, 1 << 11)
      .csrs('mstatus', 2)
      .la(2, 'body')
      .csrw('mepc', 2)
      .op('mret');
  }
  p.label('body');
  if (paging) body(p, random, 'instret', 'sscratch');
  else body(p, random, 'minstret', 'mscratch');
  p.op('ebreak');
  p.label('leaf').op('addi', { rd: 10, rs1: 10, imm: 3 }).op('xor', { rd: 11, rs1: 11, rs2: 10 }).ret();

  p.align(4).label('trap').op('csrrw', { rd: s11, rs1: s11, imm: 0x340 });
  for (let x = 1; x < 32; x++) if (x !== s11) p.op('sd', { rs1: s11, rs2: x, imm: x * 8 });
  ['mepc', 'mtval', 'mcause', 'minstret', 'mstatus', 'fcsr'].forEach((name, i) =>
    p.csrr(t0, name).op('sd', { rs1: s11, rs2: t0, imm: (32 + i) * 8 }),
  );
  // All of f as one sum: registers that were not written back show.
  p.li(t0, 0);
  for (let f = 0; f < 32; f++)
    p.op('fmv.x.d', { rd: t1, rs1: f }).op('rori', { rd: t0, rs1: t0, imm: 7 }).op('xor', { rd: t0, rs1: t0, rs2: t1 });
  p.op('sd', { rs1: s11, rs2: t0, imm: 38 * 8 }).op('addi', { rd: s11, rs1: s11, imm: WORDS * 8 });
  p.op('addi', { rd: 4, rs1: 4, imm: 1 }).li(t0, bad.length).op('blt', { rs1: 4, rs2: t0 }, 'round');
  p.li(4, 0)
    .op('addi', { rd: 3, rs1: 3, imm: 1 })
    .li(t0, ACCESSES)
    .op('bge', { rs1: 3, rs2: t0 }, 'over')
    .jump('round');
  p.label('over').finish();
  p.align(8)
    .label('bad')
    .quad(...bad);
  return p;
}

function map(bare: BareMetal): void {
  const tables = new PageTables(bare, TABLES);
  tables.map(RAM_PHYS, RAM_PHYS, PTE_ALL, 2);
  tables.map(READ_ONLY, GOOD, PTE.V | PTE.R | PTE.A);
  tables.map(LAST, GOOD);
}
const SATP = (8n << 60n) | (BigInt(TABLES) >> 12n);

test.each([
  { name: 'without translation', paging: false, bad: [NOWHERE, END_OF_RAM - 40n, BigInt(GOOD) + 3n] },
  { name: 'with Sv39', paging: true, bad: [UNMAPPED, READ_ONLY, LAST + 4064n, LAST + 4092n, BigInt(GOOD) + 1n] },
])('every access of a region faults in turn, $name', { timeout: 120_000 }, async ({ paging, bad }) => {
  for (let round = 0; round < 3; round++) {
    const words = ACCESSES * bad.length * WORDS;
    const once = (options: BareMetalOptions): ReturnType<typeof run> =>
      run(program(new Random(seed + round), paging, bad, SATP), {
        options,
        words,
        prepare: map,
        data: [GOOD - 256, 1024],
      });
    const cold = await once(COLD);
    expect(cold.value).toBe(PASS);
    // Most faults are at accesses of their own; some ways are none to some.
    const places = new Set(Array.from({ length: words / WORDS }, (_, i) => cold.log[i * WORDS + 32]));
    expect(places.size).toBeGreaterThan(ACCESSES / 2);
    for (const [name, options] of Object.entries({ HOT, LAZY, WARM })) {
      const other = await once(options);
      const difference = firstDifference(other.log, cold.log, WORDS);
      expect(firstDifference(other.data, cold.data)).toBeNull();
      expect({ name, seed: seed + round, value: other.value, difference }).toMatchObject({
        value: PASS,
        difference: null,
      });
      if (options !== WARM)
        expect({ name, translated: other.translated > words / WORDS }).toMatchObject({ translated: true });
    }
  }
});
