/** Device registers in the middle of regions, and memory accesses that are not aligned or in two pages. */
import { expect, test } from 'vitest';
import { CLINT_PHYS, RAM_PHYS } from '../../core/machine/virt-map.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { PageTables } from '../harness/page-tables.ts';
import { Code, DATA, firstDifference, HOT, MODES, PASS, reg, run } from './modes.ts';
import type { Run } from './modes.ts';

const { t0, t1, t2, t3, t4, a0, a1, a2, a3, s0, s1, s2, s3 } = reg;
const ROUNDS = 200;
const UART = 0x1000_0000;
const SCRATCH = 7;
const LINE_STATUS = 5;
/** A device that the control thread serves: it reads as 0. */
const RTC = 0x10_1000;
const MSIP = CLINT_PHYS;
const MTIME = CLINT_PHYS + 0xbff8;

async function same(make: () => Code, prepare?: (bare: BareMetal) => void): Promise<void> {
  let cold: Run | null = null;
  for (const [name, options] of Object.entries(MODES)) {
    const result = await run(make(), { options, ...(prepare === undefined ? {} : { prepare }) });
    cold ??= result;
    expect({ name, value: result.value, difference: firstDifference(result.log, cold.log) }).toEqual({
      name,
      value: PASS,
      difference: null,
    });
    if (options === HOT) expect(result.translated).toBeGreaterThan(ROUNDS * 10);
  }
}

test('UART, CLINT and a device of the control thread', { timeout: 60_000 }, () =>
  same(() => {
    const p = new Code().setUp().li(s0, 0).li(s1, ROUNDS).li(s2, UART).li(s3, RTC).li(a0, 1).li(a3, 0).li(t4, MSIP);
    p.label('round').op('addi', { rd: a0, rs1: a0, imm: 5 }).op('sb', { rs1: s2, rs2: a0, imm: SCRATCH });
    p.op('slli', { rd: a1, rs1: a0, imm: 3 })
      .op('lbu', { rd: t0, rs1: s2, imm: SCRATCH })
      .op('add', { rd: a0, rs1: a0, rs2: t0 });
    p.op('lbu', { rd: t1, rs1: s2, imm: LINE_STATUS }).op('xor', { rd: a0, rs1: a0, rs2: t1 });
    // Raised and lowered; it is not enabled. What the CSR shows depends on it.
    p.li(t2, 1)
      .op('sw', { rs1: t4, rs2: t2 })
      .csrr(a2, 'mip')
      .op('lw', { rd: t3, rs1: t4 })
      .op('sw', { rs1: t4, rs2: 0 })
      .csrr(a1, 'mip');
    p.op('lw', { rd: t2, rs1: s3 }).op('add', { rd: a0, rs1: a0, rs2: t2 }).op('sw', { rs1: s3, rs2: a0, imm: 8 });
    // Time goes on, never back; its value is nobody's.
    p.li(t0, MTIME).op('ld', { rd: t1, rs1: t0 }).op('bltu', { rs1: t1, rs2: a3 }, 'wrong').mv(a3, t1);
    p.csrr(t1, 'minstret').note(a0, a1, a2, t3, t1);
    p.op('addi', { rd: s0, rs1: s0, imm: 1 }).op('blt', { rs1: s0, rs2: s1 }, 'round').finish();
    return p.label('wrong').li(a0, 1).finish(a0);
  }),
);

test('a device write that interrupts the hart that makes it is followed by the interrupt', { timeout: 60_000 }, () =>
  same(() => {
    const p = new Code()
      .setUp('trap')
      .li(s0, 0)
      .li(s1, ROUNDS)
      .li(s2, MSIP)
      .li(t0, 8)
      .csrw('mie', t0)
      .csrs('mstatus', t0)
      .li(a0, 0)
      .li(a2, 0);
    p.label('round').li(t1, 1).op('sw', { rs1: s2, rs2: t1 });
    // Not at once, but when the hart looks: this loop ends by the handler only.
    p.label('wait').op('addi', { rd: a1, rs1: a1, imm: 1 }).op('bge', { rs1: s0, rs2: a2 }, 'wait');
    p.note(a0, a2).op('addi', { rd: s0, rs1: s0, imm: 1 }).op('blt', { rs1: s0, rs2: s1 }, 'round').finish();
    p.align(4)
      .label('trap')
      .op('sw', { rs1: s2, rs2: 0 })
      .op('addi', { rd: a2, rs1: a2, imm: 1 })
      .csrr(t2, 'mcause')
      .op('add', { rd: a0, rs1: a0, rs2: t2 })
      .op('mret');
    return p;
  }),
);

test(
  'accesses of all sizes at all offsets about the end of a page, whose next one is elsewhere',
  { timeout: 60_000 },
  () => {
    const TABLES = DATA + 0x100000;
    const VA = 0x1_0000_0000;
    const LOADS = ['lb', 'lbu', 'lh', 'lhu', 'lw', 'lwu', 'ld'];
    const STORES = ['sb', 'sh', 'sw', 'sd'];
    return same(
      () => {
        const p = new Code()
          .setUp('trap')
          .csrwi('satp', (8n << 60n) | (BigInt(TABLES) >> 12n))
          .op('sfence.vma')
          .to(1);
        p.li(s0, VA + 4096 - 20)
          .li(s1, VA + 4096 + 20)
          .li(a0, 12345)
          .op('fcvt.d.l', { rd: 1, rs1: a0 })
          .op('fcvt.s.l', { rd: 2, rs1: a0 });
        p.label('round');
        for (const name of LOADS)
          p.op(name, { rd: t0, rs1: s0 })
            .op('rori', { rd: a0, rs1: a0, imm: 5 })
            .op('add', { rd: a0, rs1: a0, rs2: t0 });
        for (const name of STORES)
          p.op(name, { rs1: s0, rs2: a0, imm: -8 })
            .op('ld', { rd: t0, rs1: s0, imm: -4 })
            .op('xor', { rd: a0, rs1: a0, rs2: t0 });
        p.op('fsd', { rs1: s0, rs2: 1, imm: 3 })
          .op('fld', { rd: 3, rs1: s0, imm: 1 })
          .op('fsw', { rs1: s0, rs2: 3, imm: -3 })
          .op('flw', { rd: 4, rs1: s0, imm: -5 });
        p.op('fmv.x.d', { rd: t0, rs1: 3 })
          .op('fmv.x.d', { rd: t1, rs1: 4 })
          .op('add', { rd: a0, rs1: a0, rs2: t0 })
          .op('xor', { rd: a0, rs1: a0, rs2: t1 });
        p.note(a0)
          .op('addi', { rd: s0, rs1: s0, imm: 1 })
          .op('bge', { rs1: s0, rs2: s1 }, 'over')
          .jump('round')
          .label('over');
        // Once more and more often, so that it is hot for all.
        p.op('addi', { rd: s2, rs1: s2, imm: 1 })
          .li(t0, 100)
          .op('bge', { rs1: s2, rs2: t0 }, 'end')
          .li(s0, VA + 4096 - 20)
          .jump('round')
          .label('end')
          .op('ecall');
        return p.align(4).label('trap').csrr(t0, 'mcause').note(t0).finish();
      },
      (bare) => {
        const tables = new PageTables(bare, TABLES).map(RAM_PHYS, RAM_PHYS, undefined, 2);
        tables
          .map(VA, DATA)
          .map(VA + 4096, DATA + 0x9000)
          .map(VA + 8192, DATA + 0x4000);
        for (let i = 0; i < 4096; i++) bare.writeU64(DATA + i * 8, BigInt(i) * 0x0123_4567_89ab_cdefn);
      },
    );
  },
);
