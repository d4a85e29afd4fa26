/** A machine may be reset at any moment, whatever the translator is at. */
import { expect, test } from 'vitest';
import { BareMetal } from '../harness/bare-metal.ts';
import type { BareMetalOptions } from '../harness/bare-metal.ts';
import { tempFolder } from '../harness/debian.ts';
import { endlessCode } from './endless-code.ts';

const ROUNDS = 100;
const folder = tempFolder();
const program = endlessCode();

async function start(bare: BareMetal, time: number): Promise<void> {
  bare.reset();
  bare.load(program.origin, program.assemble());
  const ended = await bare.run(time).catch(() => null);
  // It ends only when a function did not do what it says.
  expect(ended).toBe(null);
}

// With regions of an earlier run, harts tell of the pages that they make, too.
test.each([{ kept: false }, { kept: true }])(
  'while code is being translated, %o',
  { timeout: 60_000 },
  async ({ kept }) => {
    const options: BareMetalOptions = { accel: 'jit', jit: { threshold: 20 }, harts: 2 };
    if (kept) {
      options.jitCache = { folder, guest: 'abc' };
      await using before = await BareMetal.create(options);
      await start(before, 1000);
    }
    await using bare = await BareMetal.create(options);
    for (let round = 0; round < ROUNDS; round++) await start(bare, 10 + (round % 30));
    const { failedBatches, translatedRegions, pages } = bare.statistics()!;
    expect(bare.messages).toEqual([]);
    expect(failedBatches).toBe(0);
    expect(translatedRegions).toBeGreaterThan(ROUNDS);
    if (kept) expect(pages).toBeGreaterThan(ROUNDS);
  },
);
