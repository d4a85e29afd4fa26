/** Regions that are kept from one machine to the next. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RAM_PHYS } from '../../core/machine/virt-map.ts';
import { Machine } from '../../core/machine/machine.ts';
import type { JitStatistics } from '../../core/worker/jit-stats.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import type { BareMetalOptions } from '../harness/bare-metal.ts';
import { Random } from '../differential/random.ts';
import { Code, DATA, firstDifference, LOG, PASS, reg } from './modes.ts';

const { t0, t1, t2, a0, a1, a2, s0, s1 } = reg;
const FUNCTIONS = 12;
/** Functions lie this far apart, so that one is cut by the end of a page. */
const SPREAD = 1000;
const ROUNDS = 40_000;
const NEVER = 65535;
const WORDS = 64;

interface Shape {
  /** Changes one constant in one function. */
  odd?: number;
  /** Where the functions are. */
  at?: number;
}

/** Calls functions that loop, switch (an indirect jump) and lie across pages; the log has what they make of a0. */
function program({ odd = -1, at = RAM_PHYS + 0x8000 }: Shape = {}): Code {
  const p = new Code().setUp();
  p.li(a0, 1).li(s0, 0).li(s1, ROUNDS);
  p.label('round');
  for (let i = 0; i < FUNCTIONS; i++) p.la(t0, `f${i}`).callAt(t0);
  p.op('addi', { rd: s0, rs1: s0, imm: 1 }).op('blt', { rs1: s0, rs2: s1 }, 'round');
  p.note(a0, a1, a2).finish();
  for (let i = 0; i < FUNCTIONS; i++) {
    p.org(at + i * SPREAD).label(`f${i}`);
    p.li(a1, 3).label(`loop${i}`);
    // A jump to one of four places, 16 bytes apart.
    p.op('andi', { rd: t1, rs1: a0, imm: 3 }).op('slli', { rd: t1, rs1: t1, imm: 4 }).la(t2, `case${i}`);
    p.op('add', { rd: t2, rs1: t2, rs2: t1 }).op('jalr', { rs1: t2 });
    p.align(16).label(`case${i}`);
    for (let n = 0; n < 4; n++) {
      p.op('addi', { rd: a0, rs1: a0, imm: n * 7 + i + (i === odd ? 100 : 0) }).op('xori', {
        rd: a0,
        rs1: a0,
        imm: 85,
      });
      p.op('slli', { rd: a2, rs1: a0, imm: 1 }).jump(`join${i}`);
    }
    p.label(`join${i}`).op('addi', { rd: a1, rs1: a1, imm: -1 }).op('bne', { rs1: a1 }, `loop${i}`).ret();
  }
  return p;
}

interface Result {
  log: bigint[];
  statistics: JitStatistics | null;
  messages: string[];
}

async function run(code: Code, options: BareMetalOptions = {}): Promise<Result> {
  await using bare = await BareMetal.create(options);
  bare.load(RAM_PHYS, code.assemble());
  expect(await bare.run(30_000)).toBe(PASS);
  const log = Array.from({ length: WORDS }, (_, i) => bare.readU64(LOG + i * 8));
  return { log, statistics: bare.statistics(), messages: bare.messages };
}

let folder: string;
let expected: bigint[];
beforeEach(async () => {
  folder = fs.mkdtempSync(join(tmpdir(), 'ringside-jit-'));
  expected ??= (await run(program(), { accel: 'interp' })).log;
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

const cache = (guest = 'aa') => ({ folder, guest });
/** What this machine finds out for itself. */
const learning = (harts = 1): BareMetalOptions => ({ accel: 'jit', jit: { threshold: 20 }, harts, jitCache: cache() });
/** Only what was kept is translated. */
const knowing = (harts = 1): BareMetalOptions => ({
  accel: 'jit',
  jit: { threshold: NEVER },
  harts,
  jitCache: cache(),
});
const retired = ({ statistics }: Result): number => statistics!.harts.reduce((sum, hart) => sum + hart.retired, 0);

function same(result: Result, log = expected): void {
  expect(firstDifference(result.log, log)).toBeNull();
  expect(result.messages).toEqual([]);
}

describe('a machine that has been seen before', () => {
  test('is given its regions without asking for them', async () => {
    const cold = await run(program(), learning());
    same(cold);
    expect(cold.statistics!.loadedRegions).toBe(0);
    const warm = await run(program(), knowing());
    same(warm);
    expect(warm.statistics!.loadedRegions).toBeGreaterThan(FUNCTIONS);
    expect(warm.statistics!.replayedRegions).toBeGreaterThan(FUNCTIONS);
    expect(warm.statistics!.translatedRegions).toBe(warm.statistics!.replayedRegions);
    expect(retired(warm)).toBeGreaterThan(0.5 * retired(cold));
  });

  test('leaves the file as it is when there is nothing new', async () => {
    await run(program(), learning());
    const [file] = fs.readdirSync(folder);
    const before = fs.readFileSync(join(folder, file!));
    const warm = await run(program(), knowing());
    same(warm);
    expect(fs.readFileSync(join(folder, file!)).equals(before)).toBe(true);
  });

  test('may have another number of harts', async () => {
    await run(program(), learning(1));
    const warm = await run(program(), knowing(2));
    same(warm);
    expect(warm.statistics!.replayedRegions).toBeGreaterThan(FUNCTIONS);
    expect(retired(warm)).toBeGreaterThan(0);
  });

  test('keeps its regions over a flush of the translated code', async () => {
    await run(program(), { ...learning(), jit: { threshold: 20, regions: 8 } });
    const warm = await run(program(), { ...knowing(), jit: { threshold: NEVER, regions: 8 } });
    same(warm);
    expect(warm.statistics!.flushes).toBeGreaterThan(0);
  });
});

describe('other code', () => {
  test('at the same place is not given a region of what was there', async () => {
    await run(program(), learning());
    for (const odd of [0, 5, FUNCTIONS - 1]) {
      const other = program({ odd });
      const { log } = await run(other, { accel: 'interp' });
      expect(log).not.toEqual(expected);
      const warm = await run(other, knowing());
      same(warm, log);
      // The other functions are what they were.
      expect(retired(warm)).toBeGreaterThan(0);
    }
  });

  test('that was kept at another place is found by its page', async () => {
    await run(program(), learning());
    const moved = program({ at: DATA });
    const warm = await run(moved, knowing());
    same(warm);
    expect(warm.statistics!.replayedRegions).toBeGreaterThan(0);
    expect(retired(warm)).toBeGreaterThan(0);
  });

  test('of another guest is in a file of its own', async () => {
    await run(program(), learning());
    const other = await run(program(), { ...knowing(), jitCache: cache('bb') });
    same(other);
    expect(other.statistics!.loadedRegions).toBe(0);
  });
});

describe('what is wrong with the file', () => {
  test(
    'bits that have flipped: the machine starts cold, or does what it would have done',
    { timeout: 120_000 },
    async () => {
      await run(program(), learning());
      const path = join(folder, fs.readdirSync(folder)[0]!);
      const good = fs.readFileSync(path);
      const random = new Random(7);
      for (let i = 0; i < 5; i++) {
        const bad = Buffer.from(good);
        bad[random.below(bad.length)]! ^= 1 << random.below(8);
        fs.writeFileSync(path, bad);
        const result = await run(program(), knowing());
        same(result);
        expect(result.statistics!.loadedRegions).toBe(0);
      }
    },
  );

  test('regions that somebody made up are no more than a loss of time', { timeout: 120_000 }, async () => {
    const { decode, encode } = await import('../../core/worker/jit-disk.ts');
    await run(program(), learning());
    const path = join(folder, fs.readdirSync(folder)[0]!);
    const good = fs.readFileSync(path);
    const random = new Random(8);
    for (let i = 0; i < 8; i++) {
      const regions = decode(good)!;
      // Where instructions begin and jumps go is for the file to say; what they are is not.
      for (const { starts, cases } of regions) {
        for (let n = 0; n < starts.length; n++) if (random.chance(0.3)) starts[n] = random.below(256);
        for (let n = 0; n < cases.length; n++) if (random.chance(0.3)) cases[n] = random.below(256);
      }
      fs.writeFileSync(path, encode(regions, 2 ** 24));
      const result = await run(program(), knowing());
      same(result);
      expect(result.statistics!.loadedRegions).toBeGreaterThan(0);
    }
  });

  test('a folder that is open to others: said once, nothing kept', async () => {
    fs.chmodSync(folder, 0o755);
    const result = await run(program(), learning());
    expect(firstDifference(result.log, expected)).toBeNull();
    expect(result.messages).toEqual([expect.stringMatching(/open to others.*cache=off/)]);
    expect(fs.readdirSync(folder)).toEqual([]);
  });
});

test('two machines at once', async () => {
  const results = await Promise.all([run(program(), learning()), run(program({ odd: 3 }), learning())]);
  same(results[0]);
  expect(fs.readdirSync(folder)).toHaveLength(1);
  const warm = await run(program(), knowing());
  same(warm);
  expect(warm.statistics!.replayedRegions).toBeGreaterThan(FUNCTIONS);
});

test('without a folder nothing is kept', async () => {
  const { jitCache: _, ...options } = learning();
  const result = await run(program(), options);
  same(result);
  expect(result.statistics).toMatchObject({ loadedRegions: 0, savedRegions: 0, pages: 0 });
  expect(fs.readdirSync(folder)).toEqual([]);
});

test('a machine names its file by what it boots', { timeout: 60_000 }, async () => {
  const image = join(folder, 'image');
  const cached = join(folder, 'cache');
  const boot = async (code: Code): Promise<JitStatistics> => {
    fs.writeFileSync(image, code.assemble());
    const machine = await Machine.create(
      { memory: 32 * 2 ** 20, bios: 'none', kernel: image, jitCache: cached, console: false, rng: false },
      { jit: { threshold: 20 } },
    );
    try {
      const ended = new Promise((resolve) => machine.once('exit', resolve));
      await machine.start();
      await ended;
      return machine.statistics()!;
    } finally {
      await machine.dispose();
    }
  };
  expect((await boot(program())).savedRegions).toBeGreaterThan(0);
  expect((await boot(program())).loadedRegions).toBeGreaterThan(0);
  // It begins otherwise.
  expect((await boot(program({ odd: 1 }))).loadedRegions).toBe(0);
  expect(fs.readdirSync(cached)).toHaveLength(2);
});
