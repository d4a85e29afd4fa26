/**
 * Random instruction sequences on our harts and on QEMU's user-mode emulation, which somebody else wrote: registers, fcsr and
 * memory must come out the same. They run interpreted, translated before anything is executed, and partly so; on one hart and on two.
 *
 * RINGSIDE_SEED repeats a run (the seed is in the failure's text), RINGSIDE_SEQUENCES makes a long one.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findQemuUser } from '../harness/qemu-user.ts';
import { Comparison, show } from './compare.ts';
import { buildImage, MAX_SEQUENCES, windowCentre } from './image.ts';
import type { MonitorMode } from './monitor.ts';
import { Random } from './random.ts';
import { OurRunner, QemuRunner } from './runners.ts';
import type { OurOptions } from './runners.ts';
import { Generator } from './sequence.ts';

const qemu = await findQemuUser();
const seed = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 1_000_000);
const wanted = Number(process.env['RINGSIDE_SEQUENCES'] ?? 60_000);
const TIME_LIMIT = 300_000;

interface Variant {
  name: string;
  mode: MonitorMode;
  options: OurOptions;
  /** How often the sequences of an image run. */
  passes?: number;
  /** Which part of the sequences. */
  share: number;
}

const COLD: OurOptions = { accel: 'interp' };
/** Whatever is jumped to is translated before it is executed. */
const HOT: OurOptions = { accel: 'jit', jit: { threshold: 1, eager: true, synchronous: true } };
/** Code becomes hot while it runs. */
const MIXED: OurOptions = { accel: 'jit', jit: { threshold: 2 } };

const VARIANTS: Variant[] = [
  { name: 'interpreted, in M-mode', mode: 'machine', options: COLD, share: 0.15 },
  { name: 'interpreted, in U-mode', mode: 'user', options: COLD, share: 0.15 },
  { name: 'interpreted and interrupted', mode: 'interrupted', options: COLD, share: 0.15 },
  { name: 'translated, in M-mode', mode: 'machine', options: HOT, share: 0.1 },
  { name: 'translated, in U-mode', mode: 'user', options: HOT, share: 0.1 },
  { name: 'translated and interrupted', mode: 'interrupted', options: HOT, share: 0.1 },
  { name: 'translated, on two harts', mode: 'user', options: { ...HOT, harts: 2 }, share: 0.05 },
  {
    name: 'translated, on two harts with the same code',
    mode: 'user',
    options: { ...HOT, harts: 2, shareCode: true },
    share: 0.05,
  },
  { name: 'becoming hot, in M-mode', mode: 'machine', options: MIXED, passes: 60, share: 0.04 },
  { name: 'becoming hot, interrupted', mode: 'interrupted', options: MIXED, passes: 60, share: 0.04 },
  {
    name: 'becoming hot, on two harts with the same code',
    mode: 'interrupted',
    options: { ...MIXED, harts: 2, shareCode: true },
    passes: 60,
    share: 0.04,
  },
  {
    name: 'translated again and again, in a small cache',
    mode: 'user',
    options: { ...HOT, harts: 2, shareCode: true, jit: { ...HOT.jit, regions: 300 } },
    passes: 2,
    share: 0.03,
  },
];

describe.skipIf(qemu === null).each(VARIANTS)('sequences: $name', ({ mode, options, passes = 1, share }) => {
  let ours: OurRunner;
  let theirs: QemuRunner;

  beforeAll(async () => {
    ours = await OurRunner.create(mode, options);
    theirs = new QemuRunner(qemu!);
  }, TIME_LIMIT);
  afterAll(async () => {
    await ours[Symbol.asyncDispose]();
    await theirs[Symbol.asyncDispose]();
  });

  test('end as they do in QEMU', { timeout: TIME_LIMIT }, async () => {
    const comparison = new Comparison(ours, theirs, passes);
    let interruptions = 0;
    let retired = 0;
    let translated = 0;
    // An interrupt between LR and SC makes SC fail, as it should.
    const without = mode === 'interrupted' ? ['sc.w', 'sc.d'] : [];
    const images = Math.ceil((wanted * share) / MAX_SEQUENCES);
    for (let image = 0; image < images; image++) {
      const generator = new Generator(new Random(seed + image), qemu!.extensions, without);
      const sequences = Array.from({ length: MAX_SEQUENCES }, (_, i) =>
        generator.sequence(windowCentre(i, MAX_SEQUENCES)),
      );
      const before = ours.translated;
      const [difference] = await comparison.run(sequences);
      interruptions += ours.interruptions;
      retired += ours.retired.reduce((sum, n) => sum + Number(n), 0);
      translated += ours.translated - before;
      if (difference === undefined) continue;
      const centre = windowCentre(difference.index, MAX_SEQUENCES);
      const text = [`sequence ${difference.index} with RINGSIDE_SEED=${seed + image}:`];
      try {
        const small = await comparison.minimise(sequences[difference.index]!, centre);
        text.push(show(small.sequence, small.centre), ...small.difference.lines);
      } catch (error) {
        text.push(show(sequences[difference.index]!, centre), ...difference.lines, (error as Error).message);
      }
      expect.fail(text.join('\n'));
    }
    // That timer interrupts came in between at all.
    if (mode === 'interrupted') expect(interruptions).toBeGreaterThan(0);
    if (options.accel === 'jit') {
      // That it was translated code that ran; every pass but the first is, in part.
      const part = translated / retired;
      const { translatedRegions, flushes } = ours.statistics()!;
      const percent = (part * 100).toFixed(1);
      console.log(
        `${translatedRegions} regions, ${flushes} flushes; ${percent} % of ${retired} instructions retired in regions`,
      );
      if (options.jit?.regions !== undefined) expect(flushes).toBeGreaterThan(0);
      expect(part).toBeGreaterThan(options.jit?.synchronous ? 0.5 : 0.01);
    }
  });
});

// Interpreted and translated, the same instructions retire: regions count exactly.
describe.skipIf(qemu === null)('minstret', () => {
  test.each<MonitorMode>(['machine', 'user'])('is the same in %s mode', { timeout: TIME_LIMIT }, async (mode) => {
    await using cold = await OurRunner.create(mode, COLD);
    await using hot = await OurRunner.create(mode, HOT);
    const generator = new Generator(new Random(seed), qemu!.extensions);
    const sequences = Array.from({ length: 500 }, (_, i) => generator.sequence(windowCentre(i, 500)));
    const image = buildImage(sequences);
    const outcomes = [await cold.run(image), await hot.run(image)];
    // Not toEqual, which takes its time with so many bytes.
    const [coldOutput, hotOutput] = outcomes.map((o) => ('output' in o ? o.output : expect.fail(o.failure)));
    expect(Buffer.compare(coldOutput!, hotOutput!)).toBe(0);
    expect(hot.retired).toEqual(cold.retired);
  });
});
