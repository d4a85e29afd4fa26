/** The window (H_WINDOW): regions that go past the TLB while M-mode may access all of RAM, and what closes it under them. */
import { expect, test } from 'vitest';
import { RAM_PHYS } from '../../core/machine/virt-map.ts';
import type { BareMetal } from '../harness/bare-metal.ts';
import { PageTables, PTE_ALL } from '../harness/page-tables.ts';
import { Code, DATA, firstDifference, HOT, MODES, PASS, reg, run } from './modes.ts';
import type { Run } from './modes.ts';

const { t0, t1, a0, a1, a2, a3, a4, s0, s1, s2, s3 } = reg;
const ROUNDS = 60;
const TABLES = DATA + 0x100000;
const [HERE, ELSEWHERE] = [DATA, DATA + 0x2000];
const END_OF_RAM = RAM_PHYS + 0x200_0000;
const MPRV = 1 << 17;
const MPP_S = 1 << 11;
const [R, W, X, NA4, NAPOT, LOCKED] = [1, 2, 4, 2 << 3, 3 << 3, 0x80];
const ALL = NAPOT | R | W | X;

/** In the page at HERE other values than in the one that S-mode sees there. */
function prepare(bare: BareMetal): void {
  new PageTables(bare, TABLES).map(HERE, ELSEWHERE, PTE_ALL);
  for (let i = 0; i < 1024; i++) bare.writeU64(HERE + i * 8, 0x1111_0000n + BigInt(i));
  for (let i = 0; i < 1024; i++) bare.writeU64(ELSEWHERE + i * 8, 0x2222_0000n + BigInt(i));
}

/** Entry 0 as given, entry 1 open for all of memory. */
const protect = (p: Code, config: number, address: number): Code =>
  p
    .csrwi('pmpaddr1', -1)
    .csrwi('pmpaddr0', BigInt(address) >> 2n)
    .csrwi('pmpcfg0', (ALL << 8) | config);

/**
 * Calls a function of loads and stores in each round, around which `before` and `after` change what it may access.
 * @param address guest physical, of its first access
 */
async function same(address: number, before: (p: Code) => void, after: (p: Code) => void): Promise<Run> {
  let cold: Run | null = null;
  for (const [name, options] of Object.entries(MODES)) {
    const p = new Code().setUp('trap');
    p.csrwi('satp', (8n << 60n) | (BigInt(TABLES) >> 12n)).op('sfence.vma');
    p.li(s0, 0).li(s1, ROUNDS).li(s2, address);
    p.label('round');
    // Every third round is one in which all is as at first.
    p.li(t0, 3).op('remu', { rd: s3, rs1: s0, rs2: t0 }).li(a1, 0).li(a2, 0).li(a3, 0).mv(a0, s2);
    p.op('beq', { rs1: s3 }, 'plain');
    before(p);
    p.call('accesses');
    after(p);
    p.jump('noted').label('plain').call('accesses').label('noted').note(a1, a2, a3, a4);
    p.op('addi', { rd: s0, rs1: s0, imm: 1 }).op('blt', { rs1: s0, rs2: s1 }, 'round').finish();

    p.align(4096).label('accesses');
    // A group, and two of bases of their own: one that is misaligned.
    p.op('ld', { rd: a1, rs1: a0 }).op('addi', { rd: a1, rs1: a1, imm: 1 }).op('sd', { rs1: a0, rs2: a1 });
    p.op('lw', { rd: a2, rs1: a0, imm: 8 }).op('sw', { rs1: a0, rs2: a2, imm: 20 });
    p.op('addi', { rd: a4, rs1: a0, imm: 33 }).op('ld', { rd: a3, rs1: a4 });
    p.op('addi', { rd: a4, rs1: a4, imm: 6 }).op('sb', { rs1: a4, rs2: a3 }).op('lbu', { rd: a4, rs1: a4 }).ret();

    p.align(4).label('trap').csrr(t0, 'mcause').csrr(t1, 'mtval').note(t0, t1);
    p.csrr(t0, 'mepc').op('addi', { rd: t0, rs1: t0, imm: 4 }).csrw('mepc', t0).op('mret');
    const result = await run(p, { options, prepare, data: [HERE, 16] });
    cold ??= result;
    expect({ name, value: result.value, difference: firstDifference(result.log, cold.log) }).toEqual({
      name,
      value: PASS,
      difference: null,
    });
    expect(result.data).toEqual(cold.data);
    if (options === HOT) expect(result.translated).toBeGreaterThan(ROUNDS * 5);
  }
  return cold!;
}

/** Traps in the log: causes of access faults are small numbers, which nothing else there is. */
const faults = ({ log }: Run): number => log.filter((word) => word === 5n || word === 7n).length;

test('MPRV and S-mode: its page tables hold', { timeout: 60_000 }, async () => {
  const result = await same(
    HERE,
    (p) => p.li(t0, MPRV | MPP_S).csrs('mstatus', t0),
    (p) => p.li(t0, MPRV | MPP_S).csrc('mstatus', t0),
  );
  expect(result.log.some((word) => word >> 16n === 0x2222n)).toBe(true);
  expect(faults(result)).toBe(0);
});

test('MPRV and U-mode: what PMP keeps from it', { timeout: 60_000 }, async () => {
  const result = await same(
    HERE,
    (p) =>
      protect(p.csrwi('satp', 0), NAPOT, HERE + 0x7ff)
        .li(t0, MPRV)
        .csrs('mstatus', t0),
    (p) => p.li(t0, MPRV).csrc('mstatus', t0),
  );
  expect(faults(result)).toBeGreaterThan(ROUNDS);
});

test('an access that an entry of PMP matches in part fails in M-mode too', { timeout: 60_000 }, async () => {
  const result = await same(
    HERE,
    (p) => protect(p, NA4 | R | W, HERE),
    (p) => protect(p, 0, 0),
  );
  expect(faults(result)).toBeGreaterThanOrEqual(ROUNDS);
});

test('an entry of PMP that is locked', { timeout: 60_000 }, async () => {
  const result = await same(
    HERE,
    (p) =>
      p.li(t0, 40).op('bltu', { rs1: s0, rs2: t0 }, 'not yet') &&
      protect(p, LOCKED | NAPOT | R, HERE + 0x7ff).label('not yet'),
    () => {},
  );
  expect(faults(result)).toBeGreaterThan(20);
});

test.each([
  ['the start of RAM', RAM_PHYS - 16],
  ['the end of RAM', END_OF_RAM - 16],
  ['the end of what the window has', END_OF_RAM - 536],
  ['memory that is not there', END_OF_RAM + 0x1000],
])('about %s', { timeout: 60_000 }, async (_name, address) => {
  // What is below the start of RAM is nothing, and the program is behind it: it is not written to.
  const p = address < RAM_PHYS ? address - 64 : address;
  await same(
    p,
    () => {},
    () => {},
  );
});
