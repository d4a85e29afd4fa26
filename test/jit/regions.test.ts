/**
 * How regions come to be entered and how they go: heat, requests, attaching, what a region may answer, pages that change,
 * the bounded cache. With regions made by hand (region-module.ts), so that it is known who executes what.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { RAM_PHYS } from '../../core/machine/virt-map.ts';
import type { JitOptions } from '../../core/machine/hart-group.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { CAUSE, DATA, INTERRUPT, reg, runHere, TrapProgram } from '../harness/trap-program.ts';
import { KIND } from './region-module.ts';

const { a0, a1, a2, a3, s0, s1, s2, s3, t0, ra } = reg;
const THRESHOLD = 20;
/** A page of code of its own. */
const CODE = RAM_PHYS + 0x10000;

let bare: BareMetal | null = null;
afterEach(async () => {
  await bare?.[Symbol.asyncDispose]();
  bare = null;
});

const make = async (jit: JitOptions = {}, harts = 1): Promise<BareMetal> => {
  const worker = new URL('./worker.ts', import.meta.url);
  bare = await BareMetal.create({
    harts,
    accel: 'jit',
    jit: { worker, synchronous: true, threshold: THRESHOLD, ...jit },
  });
  return bare;
};

const marker = (p: TrapProgram, kind: number): TrapProgram => p.op('lui', { rd: 0, imm: kind << 12 });

/** The loop that a region of KIND.LOOP is made of; a0 rounds. */
function loop(p: TrapProgram, label: string, rounds: number): TrapProgram {
  marker(p.li(a0, rounds).label(label), KIND.LOOP);
  return p.op('addi', { rd: a0, rs1: a0, imm: -1 }).op('bne', { rs1: a0 }, label);
}

/** `rounds` times `code`; s3 is the counter. */
function repeat(p: TrapProgram, rounds: number, code: () => void): TrapProgram {
  const label = p.unique('repeat');
  p.li(s3, rounds).label(label);
  code();
  return p.op('addi', { rd: s3, rs1: s3, imm: -1 }).op('bne', { rs1: s3 }, label);
}

describe('a hot loop', () => {
  test('is taken over by its region, and every instruction is counted once', async () => {
    const machine = await make();
    const p = new TrapProgram().li(s2, 0);
    p.csrr(s0, 'minstret');
    loop(p, 'l', 1000);
    p.csrr(s1, 'minstret').op('sub', { rd: s1, rs1: s1, rs2: s0 }).keep(s1, s2, a0);
    const { kept } = await runHere(machine, p.end());
    // li is one instruction here.
    expect(kept[0]).toBe(3002n);
    expect(kept[1]).toBeGreaterThan(900n);
    expect(kept[1]).toBeLessThanOrEqual(1000n - BigInt(THRESHOLD));
    expect(kept[2]).toBe(0n);
    const stats = machine.statistics()!;
    expect(stats).toMatchObject({ regions: 1, translatedRegions: 1, batches: 1, failedBatches: 0 });
    expect(stats.harts[0]).toMatchObject({ attached: 1, notAttached: 0, declined: 0 });
    expect(stats.harts[0]!.entries).toBeGreaterThan(0);
    expect(stats.harts[0]!.stops.count).toBeGreaterThan(0);
  });

  test('is not asked for below the threshold', async () => {
    const machine = await make();
    await runHere(machine, loop(new TrapProgram(), 'l', THRESHOLD).end());
    expect(machine.statistics()!.translatedRegions).toBe(0);
  });

  test('leaves when the hart is polled: a pause ends it in time', async () => {
    const machine = await make();
    const p = loop(new TrapProgram(), 'l', 2 ** 31 - 1).op('jal', {}, 'l');
    await expect(runHere(machine, p.end(), undefined, 300)).rejects.toThrow('not ended');
    expect(machine.statistics()!.harts[0]!.retired).toBeGreaterThan(1_000_000);
  });

  test('is translated once for two harts', async () => {
    const machine = await make({}, 2);
    const p = new TrapProgram({ others: 'begin2' });
    p.op('jal', {}, 'run').label('begin2').setUp();
    p.label('run').op('addi', { rd: s2 });
    loop(p, 'l', 100_000);
    // Both meet; hart 0 ends the program.
    p.li(t0, DATA).li(a1, 1).op('amoadd.w', { rs1: t0, rs2: a1 }).csrr(a1, 'mhartid').op('beq', { rs1: a1 }, 'wait');
    p.label('asleep').op('wfi').op('jal', {}, 'asleep');
    p.label('wait').op('lw', { rd: a1, rs1: t0 }).li(a2, 2).op('bne', { rs1: a1, rs2: a2 }, 'wait').keep(s2);
    await runHere(machine, p.end());
    const { translatedRegions, harts } = machine.statistics()!;
    expect(translatedRegions).toBe(1);
    expect(harts.every(({ entries }) => entries > 0)).toBe(true);
  });
});

describe('what a region answers', () => {
  test('declining: the interpreter executes the instruction, and the region goes after a while', async () => {
    const machine = await make();
    const p = new TrapProgram().li(s2, 0);
    p.csrr(s0, 'minstret');
    repeat(p, 3000, () => {
      p.op('jal', { rd: ra }, 'f');
    });
    p.csrr(s1, 'minstret').op('sub', { rd: s1, rs1: s1, rs2: s0 }).keep(s1, s2).op('jal', {}, 'done');
    p.org(CODE).label('f');
    marker(p, KIND.DECLINE).op('addi', { rd: s2, rs1: s2, imm: 1 }).op('jalr', { rs1: ra });
    const { kept } = await runHere(machine, p.label('done').end());
    expect(kept).toEqual([3000n * 6n + 3n, 3000n]);
    const { declined, entries } = machine.statistics()!.harts[0]!;
    expect(declined).toBeGreaterThan(500);
    expect(declined).toBe(entries);
    // Taken out after some thousand times, asked for anew, and put in again as it was.
    expect(machine.statistics()).toMatchObject({ translatedRegions: 1, resent: 2 });
  });

  test('an exception: taken at the instruction that raised it, which does not retire', async () => {
    const machine = await make();
    const p = new TrapProgram().li(s2, 0).li(a0, DATA).li(a2, 0);
    const call = () => p.op('jal', { rd: ra }, 'f');
    repeat(p, 100, call);
    p.li(a0, 0x10).la(s0, 'f').csrr(a2, 'minstret');
    p.inMode('M', call).csrr(a3, 'minstret').keep(s0, s2).op('jal', {}, 'done');
    p.org(CODE).label('f');
    marker(p, KIND.LOAD).op('ld', { rd: a1, rs1: a0 }).op('jalr', { rs1: ra });
    const { kept, traps } = await runHere(machine, p.label('done').end());
    expect(kept[1]).toBeGreaterThan(50n);
    expect(kept[1]).toBeLessThan(100n);
    expect(traps).toMatchObject([{ mode: 'M', cause: CAUSE.loadAccess, epc: kept[0]! + 4n, tval: 0x10n }]);
  });

  test('an interrupt that a CSR write lets in is taken behind the write', async () => {
    const machine = await make();
    const SSIP = 2n;
    const p = new TrapProgram().li(s2, 0).li(a1, 0).csrwi('mip', SSIP);
    const call = () => p.op('jal', { rd: ra }, 'f');
    repeat(p, 100, call);
    p.la(s0, 'f').li(a1, SSIP);
    p.inMode('M', () => {
      p.csrsi('mstatus', 8);
      call();
    });
    p.keep(s0, s2).op('jal', {}, 'done');
    p.org(CODE).label('f');
    marker(p, KIND.CSR).csrw('mie', a1).op('jalr', { rs1: ra });
    const { kept, traps } = await runHere(machine, p.label('done').end());
    expect(kept[1]).toBeGreaterThan(50n);
    expect(traps).toMatchObject([{ mode: 'M', cause: INTERRUPT | 1n, epc: kept[0]! + 8n }]);
  });
});

describe('code that changes', () => {
  /** Stores the instruction at label `from` over the one at label `to`. */
  const patch = (p: TrapProgram, to: string, from: string): TrapProgram =>
    p.la(t0, from).op('lw', { rd: a2, rs1: t0 }).la(t0, to).op('sw', { rs1: t0, rs2: a2 }).op('fence.i');

  /**
   * Calls `f` 100 times, patches label `to` with label `new`, and calls it 10 times more. Keeps, of each of the two: what
   * the region counted (s2), and the register that `f` counts in.
   */
  function patchWhenHot(to: string, counter: number): TrapProgram {
    const p = new TrapProgram().li(s2, 0).li(counter, 0);
    const call = () => p.op('jal', { rd: ra }, 'f');
    repeat(p, 100, call);
    p.keep(s2, counter);
    patch(p, to, 'new').li(s2, 0).li(counter, 0);
    repeat(p, 10, call);
    return p.keep(s2, counter).op('jal', {}, 'done');
  }

  test('takes its region away with fence.i', async () => {
    const machine = await make();
    const p = patchWhenHot('patched', a0);
    p.org(CODE).label('f');
    marker(p, KIND.STEP).label('patched').op('addi', { rd: a0, rs1: a0, imm: -1 }).op('jalr', { rs1: ra });
    p.label('new').op('addi', { rd: a0, rs1: a0, imm: 5 });
    const { kept } = await runHere(machine, p.label('done').end());
    expect(kept[0]).toBeGreaterThan(50n);
    expect(kept.slice(1)).toEqual([-100n & (2n ** 64n - 1n), 0n, 50n]);
  });

  test('fence.i without a change keeps it', async () => {
    const machine = await make();
    const p = new TrapProgram().li(s2, 0).li(a0, 0);
    repeat(p, 100, () => p.op('fence.i').op('jal', { rd: ra }, 'f'));
    p.keep(s2).op('jal', {}, 'done');
    p.org(CODE).label('f');
    marker(p, KIND.STEP).op('addi', { rd: a0, rs1: a0, imm: -1 }).op('jalr', { rs1: ra });
    const { kept } = await runHere(machine, p.label('done').end());
    expect(kept[0]).toBeGreaterThan(50n);
  });

  test('the same code again gets its old region', async () => {
    const machine = await make();
    const p = new TrapProgram().li(s2, 0).li(a0, 0);
    const call = () => p.op('jal', { rd: ra }, 'f');
    repeat(p, 100, call);
    patch(p, 'patched', 'new').op('jal', { rd: ra }, 'f');
    patch(p, 'patched', 'old').li(s2, 0);
    repeat(p, 100, call);
    p.keep(s2).op('jal', {}, 'done');
    p.org(CODE).label('f');
    marker(p, KIND.STEP).label('patched').op('addi', { rd: a0, rs1: a0, imm: -1 }).op('jalr', { rs1: ra });
    p.label('new').op('addi', { rd: a0, rs1: a0, imm: 5 });
    p.label('old').op('addi', { rd: a0, rs1: a0, imm: -1 });
    const { kept } = await runHere(machine, p.label('done').end());
    expect(kept[0]).toBeGreaterThan(50n);
    expect(machine.statistics()).toMatchObject({ translatedRegions: 1, resent: 1 });
  });

  test('in the page behind: the guard no longer holds, and a new region is made', async () => {
    const machine = await make();
    const p = patchWhenHot('behind', s1);
    p.org(CODE + 0xffc).label('f');
    marker(p, KIND.GUARDED).label('behind').op('addi', { rd: s1, rs1: s1, imm: 1 }).op('jalr', { rs1: ra });
    p.label('new').op('addi', { rd: s1, rs1: s1, imm: 2 });
    const { kept } = await runHere(machine, p.label('done').end());
    expect(kept[0]).toBeGreaterThan(50n);
    expect(kept.slice(1)).toEqual([100n, 0n, 20n]);
    expect(machine.statistics()!.harts[0]!.declined).toBe(10);
  });
});

describe('the cache', () => {
  test('is emptied when it is full, and goes on', async () => {
    const machine = await make({ regions: 4 });
    const p = new TrapProgram().li(s2, 0).li(a0, 0);
    repeat(p, 300, () => {
      for (let i = 0; i < 10; i++) p.op('jal', { rd: ra }, `f${i}`);
    });
    p.keep(a0, s2).op('jal', {}, 'done');
    p.org(CODE);
    for (let i = 0; i < 10; i++) {
      marker(p.label(`f${i}`), KIND.STEP)
        .op('addi', { rd: a0, rs1: a0, imm: -1 })
        .op('jalr', { rs1: ra });
    }
    const { kept } = await runHere(machine, p.label('done').end());
    expect(kept[0]).toBe(BigInt.asUintN(64, -3000n));
    expect(kept[1]).toBeGreaterThan(0n);
    const { flushes, translatedRegions, regions } = machine.statistics()!;
    expect(flushes).toBeGreaterThan(2);
    expect(translatedRegions).toBeGreaterThan(10);
    expect(regions).toBeLessThanOrEqual(4);
  });

  test('survives a module that does not compile, and says so once', async () => {
    const machine = await make();
    const p = new TrapProgram().li(s2, 0).li(a0, 0);
    for (const name of ['bad', 'bad2', 'good']) repeat(p, 100, () => p.op('jal', { rd: ra }, name));
    p.keep(s2, a0).op('jal', {}, 'done');
    p.org(CODE);
    for (const name of ['bad', 'bad2']) marker(p.label(name), KIND.BROKEN).op('jalr', { rs1: ra });
    marker(p.label('good'), KIND.STEP).op('addi', { rd: a0, rs1: a0, imm: -1 }).op('jalr', { rs1: ra });
    const { kept } = await runHere(machine, p.label('done').end());
    expect(kept[0]).toBeGreaterThan(50n);
    expect(kept[1]).toBe(BigInt.asUintN(64, -100n));
    expect(machine.statistics()).toMatchObject({ failedBatches: 2, translatedRegions: 1 });
    expect(machine.messages).toEqual([expect.stringContaining('could not be translated')]);
  });
});

test('accel=interp: nothing is asked for', async () => {
  bare = await BareMetal.create({ accel: 'interp' });
  await runHere(bare, loop(new TrapProgram(), 'l', 100_000).end());
  expect(bare.statistics()).toBeNull();
});
