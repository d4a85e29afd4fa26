/** Interrupts, wfi and timers (privileged manual 3.1.9, 3.3.3; Sstc; ACLINT). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLINT_PHYS, PLIC_PHYS, UART_PHYS, UART_IRQ } from '../../core/machine/virt-map.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { CAUSE, INTERRUPT, reg, runHere, TrapProgram } from '../harness/trap-program.ts';
import type { ModeName } from '../harness/trap-program.ts';

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create();
});
afterAll(() => bare[Symbol.asyncDispose]());

const { a0, a1, a2, t0, t1, s0, zero } = reg;
/** Interrupt numbers: bits of mip and mie. */
const I = { SS: 1, MS: 3, ST: 5, MT: 7, SE: 9, ME: 11 } as const;
const bit = (...numbers: number[]): bigint => numbers.reduce((m, n) => m | (1n << BigInt(n)), 0n);
const MS = { SIE: 1n << 1n, MIE: 1n << 3n, SPIE: 1n << 5n, MPIE: 1n << 7n } as const;
const STCE = 1n << 63n;
const MTIMECMP = CLINT_PHYS + 0x4000;
const MTIME = CLINT_PHYS + 0xbff8;
const TICKS_PER_MS = 10_000;

const interrupt = (n: number): bigint => INTERRUPT | BigInt(n);
const program = (): TrapProgram => new TrapProgram();
/** No enabled interrupt is left behind for the code that follows. */
const calm = (p: TrapProgram): void => void p.csrw('mie', zero).csrci('mstatus', MS.MIE | MS.MPIE | MS.SIE | MS.SPIE);
const causes = async (p: TrapProgram): Promise<bigint[]> => (await runHere(bare, p.end())).traps.map((t) => t.cause);

/** Goes into a mode with interrupts enabled there, or not, and finds out what happens: an interrupt, or the ecall. */
function look(p: TrapProgram, mode: ModeName, enabled: boolean, mie: bigint): void {
  p.csrwi('mie', mie);
  // mret makes MPIE to MIE; in S it is SIE that counts.
  if (mode === 'M' && enabled) p.csrsi('mstatus', MS.MPIE);
  if (mode === 'S' && enabled) p.csrsi('mstatus', MS.SIE);
  p.inMode(mode, () => undefined);
  calm(p);
}

describe('an interrupt that is pending and enabled is taken', () => {
  const { ecallU, ecallS, ecallM } = CAUSE;
  test('not delegated: always below M, in M under MIE', async () => {
    const p = program();
    p.csrwi('mip', bit(I.ST));
    look(p, 'U', false, bit(I.ST));
    look(p, 'S', false, bit(I.ST));
    look(p, 'M', false, bit(I.ST));
    look(p, 'M', true, bit(I.ST));
    look(p, 'U', true, 0n);
    const got = await causes(p);
    expect(got).toEqual([interrupt(I.ST), interrupt(I.ST), ecallM, interrupt(I.ST), ecallU]);
  });

  test('delegated: always in U, in S under SIE, never in M', async () => {
    const p = program();
    p.csrwi('mip', bit(I.SE)).csrwi('mideleg', bit(I.SE));
    look(p, 'U', false, bit(I.SE));
    look(p, 'S', false, bit(I.SE));
    look(p, 'S', true, bit(I.SE));
    look(p, 'M', true, bit(I.SE));
    const { traps } = await runHere(bare, p.end());
    expect(traps.map((t) => [t.mode, t.cause])).toEqual([
      ['S', interrupt(I.SE)],
      ['M', ecallS],
      ['S', interrupt(I.SE)],
      ['M', ecallM],
    ]);
  });

  test('with the address of the instruction that was not executed, tval 0, and interrupts off', async () => {
    const p = program();
    p.csrwi('mip', bit(I.SS)).csrwi('mie', bit(I.SS)).li(s0, 0);
    p.inMode('M', () => p.csrsi('mstatus', MS.MIE).label('next').op('addi', { rd: s0, imm: 1 }));
    calm(p);
    const { traps, kept } = await runHere(bare, p.keep(s0).end());
    expect(traps[0]).toMatchObject({ cause: interrupt(I.SS), epc: BigInt(p.address('next')), tval: 0n });
    expect(traps[0]!.status & (MS.MIE | MS.MPIE)).toBe(MS.MPIE);
    expect(kept).toEqual([0n]);
  });

  const enablers: [string, (p: TrapProgram) => void, (p: TrapProgram) => void][] = [
    [
      'a write to mie',
      (p) => p.csrwi('mip', bit(I.SS)).csrsi('mstatus', MS.MIE).li(a0, bit(I.SS)),
      (p) => p.csrs('mie', a0),
    ],
    [
      'a write to mip',
      (p) => p.csrwi('mie', bit(I.SS)).csrsi('mstatus', MS.MIE).li(a0, bit(I.SS)),
      (p) => p.csrs('mip', a0),
    ],
    [
      'a write to mideleg',
      (p) => p.csrwi('mideleg', bit(I.SS)).csrwi('mip', bit(I.SS)).csrwi('mie', bit(I.SS)).csrsi('mstatus', MS.MIE),
      (p) => p.csrw('mideleg', zero),
    ],
  ];
  test.each(enablers)('at once after %s', async (_name, before, enable) => {
    const p = program();
    p.inMode('M', () => {
      before(p);
      enable(p);
      p.label('next').op('addi', { rd: s0, imm: 1 });
    });
    calm(p);
    const { traps } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ cause: interrupt(I.SS), epc: BigInt(p.address('next')) });
  });

  test('at once after sret into a mode where it is enabled', async () => {
    const p = program();
    p.csrwi('mip', bit(I.SS)).csrwi('mideleg', bit(I.SS)).csrwi('mie', bit(I.SS));
    p.inMode('S', () =>
      p
        .la(a0, 'user')
        .csrw('sepc', a0)
        .csrci('sstatus', 1n << 8n)
        .op('sret')
        .label('user')
        .op('addi', { rd: s0, imm: 1 }),
    );
    calm(p);
    const { traps } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ mode: 'S', cause: interrupt(I.SS), epc: BigInt(p.address('user')) });
  });
});

test('priority is MEI, MSI, MTI, SEI, SSI, STI', async () => {
  const p = program();
  const poke = (address: number, value: number): void =>
    void p.li(t0, address).li(t1, value).op('sw', { rs1: t0, rs2: t1 });
  // The UART's transmitter is empty: that is an interrupt, which the PLIC hands to hart 0's M-mode.
  poke(PLIC_PHYS + UART_IRQ * 4, 1);
  poke(PLIC_PHYS + 0x2000, 1 << UART_IRQ);
  p.li(t0, UART_PHYS).li(t1, 2).op('sb', { rs1: t0, rs2: t1, imm: 1 });
  poke(CLINT_PHYS, 1);
  p.li(t0, MTIMECMP).op('sd', { rs1: t0 });
  p.csrwi('mip', bit(I.SS, I.ST, I.SE)).keepCsr('mip');
  const order = [I.ME, I.MS, I.MT, I.SE, I.SS, I.ST];
  order.forEach((_, i) => look(p, 'M', true, bit(...order.slice(i))));
  const { traps, kept } = await runHere(bare, p.end());
  expect(kept[0]).toBe(bit(...order));
  expect(traps.map((t) => t.cause)).toEqual(order.map(interrupt));
});

test('what is not delegated comes before what is', async () => {
  const p = program();
  p.csrwi('mip', bit(I.SS, I.SE)).csrwi('mideleg', bit(I.SE));
  look(p, 'U', true, bit(I.SS, I.SE));
  const { traps } = await runHere(bare, p.end());
  expect(traps.map((t) => [t.mode, t.cause])).toEqual([['M', interrupt(I.SS)]]);
});

test('vectored mode sends interrupts to base + 4 x number, exceptions to the base', async () => {
  const p = program();
  p.la(t0, 'table').op('addi', { rd: t0, rs1: t0, imm: 1 }).csrw('mtvec', t0);
  p.csrwi('mip', bit(I.SS, I.SE)).li(s0, 0);
  for (const n of [I.SS, I.SE]) look(p, 'U', true, bit(n));
  look(p, 'U', true, 0n);
  p.keep(s0).end();
  p.align(256).label('table');
  for (let n = 0; n < 12; n++) p.op('jal', {}, `slot${n}`);
  for (let n = 0; n < 12; n++)
    p.label(`slot${n}`).op('slli', { rd: s0, rs1: s0, imm: 8 }).op('ori', { rd: s0, rs1: s0, imm: n }).jump('mtrap');
  const { kept, traps } = await runHere(bare, p);
  expect(traps).toHaveLength(3);
  // An ecall comes in at slot 0.
  expect(kept).toEqual([BigInt((I.SS << 16) | (I.SE << 8))]);
});

describe('views of S-mode', () => {
  test('sip and sie show and change what is delegated', async () => {
    const p = program();
    p.csrwi('mip', bit(I.SS, I.ST, I.SE)).csrwi('mie', bit(I.SS, I.SE, I.MT));
    p.csrwi('mideleg', bit(I.SS, I.ST)).keepCsr('sip').keepCsr('sie');
    p.csrwi('sie', -1).keepCsr('mie').csrwi('sie', 0).keepCsr('mie');
    // Only SSIP is S-mode's to change.
    p.csrwi('sip', 0).keepCsr('mip').csrwi('sip', -1).keepCsr('mip');
    p.csrwi('mideleg', 0).csrwi('sip', 0).keepCsr('mip').keepCsr('sip');
    const { kept } = await runHere(bare, p.end());
    expect(kept).toEqual([
      bit(I.SS, I.ST),
      bit(I.SS),
      bit(I.SS, I.ST, I.SE, I.MT),
      bit(I.SE, I.MT),
      bit(I.ST, I.SE),
      bit(I.SS, I.ST, I.SE),
      bit(I.SS, I.ST, I.SE),
      0n,
    ]);
  });

  test('M-mode cannot write the lines of its own devices', async () => {
    const p = program();
    p.csrwi('mip', -1).keepCsr('mip').csrwi('mip', 0).keepCsr('mip').csrwi('mie', -1).keepCsr('mie');
    expect((await runHere(bare, p.end())).kept).toEqual([bit(I.SS, I.ST, I.SE), 0n, bit(1, 3, 5, 7, 9, 11)]);
  });
});

describe('wfi', () => {
  test('goes on at once when something enabled is pending, enabled globally or not', async () => {
    const p = program();
    p.csrwi('mip', bit(I.SS)).csrwi('mie', bit(I.SS)).li(s0, 1).op('wfi').op('addi', { rd: s0, imm: 2 }).keep(s0);
    p.csrwi('mideleg', bit(I.SS))
      .inMode('S', () => p.op('wfi').op('addi', { rd: s0, imm: 3 }))
      .keep(s0);
    const { kept, traps } = await runHere(bare, p.end());
    expect(kept).toEqual([2n, 3n]);
    expect(traps.map((t) => t.cause)).toEqual([CAUSE.ecallS]);
  });

  test('sleeps until the timer, though interrupts are off', async () => {
    const p = program();
    p.csrwi('mie', bit(I.MT)).li(a0, MTIME).li(a1, MTIMECMP).op('ld', { rd: a2, rs1: a0 });
    p.li(t0, 20 * TICKS_PER_MS)
      .op('add', { rd: a2, rs1: a2, rs2: t0 })
      .op('sd', { rs1: a1, rs2: a2 });
    p.label('sleep again').op('wfi').csrr(t0, 'mip').op('beq', { rs1: t0 }, 'sleep again');
    p.csrr(t1, 'time').op('sub', { rd: t1, rs1: t1, rs2: a2 }).keep(t0, t1);
    const { kept } = await runHere(bare, p.end());
    expect(kept[0]).toBe(bit(I.MT));
    // Not before its time; how much later is up to the host.
    expect(BigInt.asIntN(64, kept[1]!)).toBeGreaterThanOrEqual(0n);
    expect(kept[1]).toBeLessThan(BigInt(1000 * TICKS_PER_MS));
  });

  test('an interrupt taken from it has the next instruction as epc', async () => {
    const p = program();
    p.csrwi('mie', bit(I.MT)).li(a0, MTIME).li(a1, MTIMECMP).op('ld', { rd: a2, rs1: a0 });
    p.li(t0, 5 * TICKS_PER_MS)
      .op('add', { rd: a2, rs1: a2, rs2: t0 })
      .op('sd', { rs1: a1, rs2: a2 });
    p.csrsi('mstatus', MS.MPIE).inMode('M', () => p.op('wfi').label('behind').op('jal', {}, 'behind'));
    calm(p);
    const { traps } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ cause: interrupt(I.MT), epc: BigInt(p.address('behind')) });
  });
});

describe('timers', () => {
  /** rd <- time + milliseconds. */
  const soon = (p: TrapProgram, rd: number, ms: number): TrapProgram =>
    p
      .csrr(rd, 'time')
      .li(t0, ms * TICKS_PER_MS)
      .op('add', { rd, rs1: rd, rs2: t0 });

  test('mtimecmp interrupts a loop; a later compare value takes the line back', async () => {
    const p = program();
    soon(p, a2, 5).li(a1, MTIMECMP).op('sd', { rs1: a1, rs2: a2 }).csrwi('mie', bit(I.MT)).csrsi('mstatus', MS.MPIE);
    p.inMode('M', () => p.label('spin').op('jal', {}, 'spin'));
    calm(p);
    p.keepCsr('mip').li(t0, -1).li(a1, MTIMECMP).op('sd', { rs1: a1, rs2: t0 }).keepCsr('mip');
    const { traps, kept } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ cause: interrupt(I.MT), epc: BigInt(p.address('spin')) });
    expect(kept).toEqual([bit(I.MT), 0n]);
  });

  test('stimecmp interrupts S-mode under STCE', async () => {
    const p = program();
    p.csrwi('stimecmp', -1)
      .csrsi('menvcfg', STCE)
      .csrwi('mcounteren', 2)
      .csrwi('mideleg', bit(I.ST))
      .csrwi('mie', bit(I.ST))
      .csrsi('mstatus', MS.SIE);
    p.inMode('S', () => soon(p, a2, 5).csrw('stimecmp', a2).label('spin').op('jal', {}, 'spin'));
    calm(p);
    p.keepCsr('sip').csrwi('stimecmp', -1).keepCsr('sip');
    const { traps, kept } = await runHere(bare, p.end());
    expect(traps[0]).toMatchObject({ mode: 'S', cause: interrupt(I.ST), epc: BigInt(p.address('spin')) });
    expect(kept).toEqual([bit(I.ST), 0n]);
  });

  test('under STCE, STIP is the comparator’s; without, it is M-mode’s and stimecmp does nothing', async () => {
    const p = program();
    p.csrwi('stimecmp', -1).csrsi('menvcfg', STCE).csrsi('mip', bit(I.ST)).keepCsr('mip');
    p.csrwi('stimecmp', 0).keepCsr('mip').csrci('mip', bit(I.ST)).keepCsr('mip');
    p.csrci('menvcfg', STCE)
      .keepCsr('mip')
      .csrsi('mip', bit(I.ST))
      .keepCsr('mip')
      .csrci('mip', bit(I.ST))
      .keepCsr('mip');
    const st = bit(I.ST);
    expect((await runHere(bare, p.end())).kept).toEqual([0n, st, st, 0n, st, 0n]);
  });

  test('S-mode may touch stimecmp only with STCE and mcounteren.TM', async () => {
    const p = program();
    const attempt = (): void => void p.inMode('S', () => p.csrr(a0, 'stimecmp'));
    p.csrci('menvcfg', STCE).csrwi('mcounteren', 2);
    attempt();
    p.csrsi('menvcfg', STCE).csrwi('mcounteren', 0);
    attempt();
    p.csrwi('mcounteren', 2);
    attempt();
    p.inMode('U', () => p.csrr(a0, 'stimecmp'));
    const { illegal, ecallS } = CAUSE;
    expect(await causes(p)).toEqual([illegal, illegal, ecallS, illegal]);
  });

  test('time is mtime, and a write to mtime moves both', async () => {
    const p = program();
    p.li(a0, MTIME).op('ld', { rd: a1, rs1: a0 }).csrr(a2, 'time').op('sub', { rd: a1, rs1: a2, rs2: a1 }).keep(a1);
    p.li(a1, 1n << 40n)
      .op('sd', { rs1: a0, rs2: a1 })
      .csrr(a2, 'time')
      .op('sub', { rd: a2, rs1: a2, rs2: a1 })
      .keep(a2);
    const { kept } = await runHere(bare, p.end());
    for (const difference of kept) expect(difference).toBeLessThan(BigInt(100 * TICKS_PER_MS));
  });
});
