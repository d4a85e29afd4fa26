import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PLIC_PHYS } from '../../core/machine/virt-map.ts';
import { Board, compilePlatform } from './build.ts';
import { hasQemu, Qtest } from './qtest.ts';

const PENDING = 0x1000;
const MEIP = 1 << 11;
const SEIP = 1 << 9;
const priority = (source: number): number => source * 4;
const enable = (context: number, word = 0): number => 0x2000 + context * 0x80 + word * 4;
const threshold = (context: number): number => 0x200000 + context * 0x1000;
const claim = (context: number): number => threshold(context) + 4;

let module: WebAssembly.Module;
let board: Board;
beforeAll(async () => {
  module = await compilePlatform();
}, 60_000);
beforeEach(async () => {
  board = await Board.create(module);
});

const read = (offset: number): number => board.platform.plicRead(offset) >>> 0;
const write = (offset: number, value: number): void => board.platform.plicWrite(offset, value);
const setLevel = (source: number, level: number): void => board.platform.plicSetLevel(source, level);

/** Hart 0's and hart 1's contexts: M 0 and 2, S 1 and 3. */
const S0 = 1;
const M1 = 2;
const S1 = 3;

function allow(context: number, source: number, level = 1): void {
  write(priority(source), level);
  const at = enable(context, source >> 5);
  write(at, read(at) | (1 << (source & 31)));
}

describe('an interrupt', () => {
  it('reaches the context that enables it, as the line of its mode, until it is claimed', () => {
    allow(S1, 10);
    setLevel(10, 1);
    expect([board.lines(0), board.lines(1)]).toEqual([0, SEIP]);
    expect(read(PENDING)).toBe(1 << 10);

    expect(read(claim(S1))).toBe(10);
    expect([board.lines(1), read(PENDING)]).toEqual([0, 0]);
    expect(read(claim(S1))).toBe(0);
  });

  it('goes to M-mode as MEIP', () => {
    allow(M1, 10);
    setLevel(10, 1);
    expect(board.lines(1)).toBe(MEIP);
  });

  it('is pending again after completion when its level is still high', () => {
    allow(S0, 33);
    setLevel(33, 1);
    expect(read(claim(S0))).toBe(33);
    write(claim(S0), 33);
    expect(board.lines(0)).toBe(SEIP);
    expect(read(claim(S0))).toBe(33);
    setLevel(33, 0);
    write(claim(S0), 33);
    expect([board.lines(0), read(claim(S0))]).toEqual([0, 0]);
  });

  it('that comes between claim and completion is kept until completion', () => {
    allow(S0, 5);
    setLevel(5, 1);
    expect(read(claim(S0))).toBe(5);
    setLevel(5, 0);
    setLevel(5, 1);
    expect([board.lines(0), read(claim(S0))]).toEqual([0, 0]);
    write(claim(S0), 5);
    expect([board.lines(0), read(claim(S0))]).toEqual([SEIP, 5]);
  });

  it('whose level falls before it is claimed stays pending, once', () => {
    allow(S0, 5);
    setLevel(5, 1);
    setLevel(5, 0);
    expect([board.lines(0), read(claim(S0)), read(PENDING)]).toEqual([SEIP, 5, 0]);
    write(claim(S0), 5);
    expect([board.lines(0), read(claim(S0))]).toEqual([0, 0]);
  });

  it('that comes and goes between claim and completion is not seen', () => {
    allow(S0, 5);
    setLevel(5, 1);
    expect(read(claim(S0))).toBe(5);
    setLevel(5, 0);
    setLevel(5, 1);
    setLevel(5, 0);
    write(claim(S0), 5);
    expect([board.lines(0), read(claim(S0))]).toEqual([0, 0]);
  });

  it('is given to only one of the contexts that enable it', () => {
    allow(S0, 7);
    allow(S1, 7);
    setLevel(7, 1);
    expect([board.lines(0), board.lines(1)]).toEqual([SEIP, SEIP]);
    expect([read(claim(S1)), read(claim(S0))]).toEqual([7, 0]);
    expect([board.lines(0), board.lines(1)]).toEqual([0, 0]);
  });

  it('with the highest priority is claimed first, with the lowest number among equals', () => {
    for (const [source, level] of [
      [40, 3],
      [9, 3],
      [3, 1],
      [95, 7],
    ] as const) {
      allow(S0, source, level);
      setLevel(source, 1);
    }
    expect([95, 9, 40, 3].map(() => read(claim(S0)))).toEqual([95, 9, 40, 3]);
  });

  it('of priority 0, or not above the threshold, is not signalled', () => {
    allow(S0, 5, 0);
    setLevel(5, 1);
    expect(board.lines(0)).toBe(0);
    write(priority(5), 3);
    expect(board.lines(0)).toBe(SEIP);
    write(threshold(S0), 3);
    expect(board.lines(0)).toBe(0);
    write(threshold(S0), 2);
    expect(board.lines(0)).toBe(SEIP);
  });
});

describe('registers', () => {
  it('keep what fits them', () => {
    write(priority(3), 0xffffffff);
    write(threshold(S0), 0xfffffffd);
    write(enable(S0), 0xffffffff);
    write(enable(S0, 2), 0x80000000);
    expect(read(priority(3))).toBe(7);
    expect(read(threshold(S0))).toBe(5);
    // Source 0 does not exist.
    expect(read(enable(S0))).toBe(0xfffffffe);
    expect(read(enable(S0, 2))).toBe(0x80000000);
  });

  it('that do not exist read 0 and swallow writes', () => {
    for (const offset of [
      0,
      priority(96),
      PENDING,
      PENDING + 12,
      enable(4),
      enable(S0, 3),
      threshold(4),
      claim(4),
      0x5ffffc,
    ]) {
      write(offset, 0xffffffff);
      expect(read(offset), `offset ${offset}`).toBe(0);
    }
    // Nothing else changed.
    for (let source = 1; source < 96; source++) expect(read(priority(source))).toBe(0);
  });

  it('ignore the completion of what is not claimed, and sources out of range', () => {
    allow(S0, 5);
    setLevel(5, 1);
    write(claim(S0), 5);
    write(claim(S0), 96);
    write(claim(S0), 0xffffffff);
    setLevel(0, 1);
    setLevel(96, 1);
    setLevel(-1, 1);
    expect(read(claim(S0))).toBe(5);
    expect(read(PENDING)).toBe(0);
  });
});

type Operation =
  | { do: 'priority' | 'enable' | 'threshold' | 'complete'; a: number; b: number; c: number }
  | { do: 'level'; a: number; b: number; c: number }
  | { do: 'claim'; a: number; b: number; c: number };

describe.skipIf(!hasQemu)('against QEMU', () => {
  /** Few sources, so that they meet; on both sides of a word's edge. */
  const SOURCES = [1, 8, 10, 31, 32, 33, 63, 64, 95];
  const PLIC = '/machine/unattached/device[2]';
  let qemu: Qtest;
  beforeAll(() => {
    qemu = new Qtest(['-smp', '2', '-bios', 'none']);
  });
  afterAll(() => qemu.end());

  const operation: fc.Arbitrary<Operation> = fc.record({
    do: fc.constantFrom('priority', 'enable', 'threshold', 'complete', 'level', 'claim', 'level', 'claim'),
    a: fc.nat(SOURCES.length - 1),
    b: fc.nat(3),
    c: fc.nat(8),
  });

  /** Brings both PLICs to their reset state, by registers alone: whatever is pending is claimed and completed. */
  async function clear(): Promise<void> {
    await each(threshold(0), 0);
    for (let word = 0; word < 3; word++) await each(enable(0, word), -1);
    for (const source of SOURCES) {
      setLevel(source, 0);
      await qemu.setIrqIn(PLIC, source, 0);
      await each(priority(source), 7);
      await each(claim(0), source);
    }
    while (read(claim(0)) !== 0);
    while ((await qemu.readl(PLIC_PHYS + claim(0))) !== 0);
    for (const source of SOURCES) {
      await each(priority(source), 0);
      await each(claim(0), source);
    }
    for (let context = 0; context < 4; context++) {
      await each(threshold(context), 0);
      for (let word = 0; word < 3; word++) await each(enable(context, word), 0);
    }
  }

  async function each(offset: number, value: number): Promise<void> {
    write(offset, value);
    await qemu.writel(PLIC_PHYS + offset, value);
  }

  it('claims, pending bits and registers are the same after any operations', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 60 }), async (operations) => {
        await clear();
        const high = new Set<number>();
        const claimed = new Set<number>();
        for (const { do: what, a, b, c } of operations) {
          const source = SOURCES[a]!;
          if (what === 'priority') await each(priority(source), c);
          else if (what === 'threshold') await each(threshold(b), c);
          else if (what === 'enable') await each(enable(b, source >> 5), (1 << (source & 31)) | (c * 0x11111110));
          else if (what === 'level') {
            const level = c > 2 ? 1 : 0;
            high[level ? 'add' : 'delete'](source);
            setLevel(source, level);
            // QEMU's PLIC has no gateway that is shut between claim and completion: the test is it.
            if (!claimed.has(source)) await qemu.setIrqIn(PLIC, source, level);
          } else if (what === 'claim') {
            const ours = read(claim(b));
            expect(ours).toBe(await qemu.readl(PLIC_PHYS + claim(b)));
            claimed.add(ours);
          } else {
            await each(claim(b), source);
            if (claimed.delete(source)) await qemu.setIrqIn(PLIC, source, high.has(source) ? 1 : 0);
          }
          for (let word = 0; word < 3; word++) {
            expect(read(PENDING + word * 4)).toBe(await qemu.readl(PLIC_PHYS + PENDING + word * 4));
          }
        }
        for (const source of SOURCES) {
          expect(read(priority(source))).toBe(await qemu.readl(PLIC_PHYS + priority(source)));
        }
      }),
      { numRuns: 150 },
    );
  });
});
