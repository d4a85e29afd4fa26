/** The cache of translated code is bounded: a guest that makes code for ever goes on, and memory stays flat. */
import { expect, test } from 'vitest';
import { BareMetal } from '../harness/bare-metal.ts';
import { endlessCode } from './endless-code.ts';

const MIB = 2 ** 20;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test.each([{ regions: 1000 }, { moduleBytes: MIB }])('with at most %o', { timeout: 120_000 }, async (limits) => {
  await using bare = await BareMetal.create({ accel: 'jit', jit: { threshold: 20, ...limits }, harts: 2 });
  const p = endlessCode();
  bare.load(p.origin, p.assemble());
  // It ends only when a function did not do what it says.
  const ended = bare.run(12_000).then(
    (value) => `wrong result ${value}`,
    () => 'ran on',
  );
  const sizes: number[] = [];
  const translated: number[] = [];
  for (let n = 0; n < 11; n++) {
    await sleep(1000);
    sizes.push(Math.round(process.memoryUsage().rss / MIB));
    translated.push(bare.statistics()!.translatedRegions);
  }
  expect(await ended).toBe('ran on');
  const { flushes, regions, failedBatches } = bare.statistics()!;
  console.log(
    `${translated.at(-1)} regions made, ${flushes} flushes, ${regions} at the end; RSS ${sizes.join(', ')} MiB`,
  );
  expect(bare.messages).toEqual([]);
  expect(failedBatches).toBe(0);
  expect(flushes).toBeGreaterThan(2);
  // It goes on being translated to the end.
  expect(translated.at(-1)).toBeGreaterThan(translated.at(-4)! + 100);
  // By then some hundred megabytes of machine code have been made. It comes and goes with the collector's turns, which a minute's
  // run shows to be all.
  expect(Math.max(...sizes.slice(8)) - Math.max(...sizes.slice(0, 6))).toBeLessThan(128);
});
