/**
 * Random instruction sequences on our harts and on QEMU's user-mode emulation, which somebody else wrote: registers, fcsr and
 * memory must come out the same.
 *
 * RINGSIDE_SEED repeats a run (the seed is in the failure's text), RINGSIDE_SEQUENCES makes a long one.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findQemuUser } from '../harness/qemu-user.ts';
import { Comparison, show } from './compare.ts';
import { MAX_SEQUENCES, windowCentre } from './image.ts';
import type { MonitorMode } from './monitor.ts';
import { Random } from './random.ts';
import { OurRunner, QemuRunner } from './runners.ts';
import { Generator } from './sequence.ts';

const qemu = await findQemuUser();
const seed = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 1_000_000);
const wanted = Number(process.env['RINGSIDE_SEQUENCES'] ?? 60_000);
const TIME_LIMIT = 300_000;

describe.skipIf(qemu === null).each<MonitorMode>(['machine', 'user', 'interrupted'])('sequences in %s mode', (mode) => {
  let ours: OurRunner;
  let theirs: QemuRunner;

  beforeAll(async () => {
    ours = await OurRunner.create(mode);
    theirs = new QemuRunner(qemu!);
  }, TIME_LIMIT);
  afterAll(async () => {
    await ours[Symbol.asyncDispose]();
    await theirs[Symbol.asyncDispose]();
  });

  test('end as they do in QEMU', { timeout: TIME_LIMIT }, async () => {
    const comparison = new Comparison(ours, theirs);
    let interruptions = 0;
    // An interrupt between LR and SC makes SC fail, as it should.
    const without = mode === 'interrupted' ? ['sc.w', 'sc.d'] : [];
    const images = Math.ceil(wanted / 3 / MAX_SEQUENCES);
    for (let image = 0; image < images; image++) {
      const generator = new Generator(new Random(seed + image), qemu!.extensions, without);
      const sequences = Array.from({ length: MAX_SEQUENCES }, (_, i) =>
        generator.sequence(windowCentre(i, MAX_SEQUENCES)),
      );
      const [difference] = await comparison.run(sequences);
      interruptions += ours.interruptions;
      if (difference === undefined) continue;
      const centre = windowCentre(difference.index, MAX_SEQUENCES);
      const small = await comparison.minimise(sequences[difference.index]!, centre);
      expect.fail(
        [
          `sequence ${difference.index} with RINGSIDE_SEED=${seed + image}:`,
          show(small.sequence, small.centre),
          ...small.difference.lines,
        ].join('\n'),
      );
    }
    // That timer interrupts came in between at all.
    if (mode === 'interrupted') expect(interruptions).toBeGreaterThan(0);
  });
});
