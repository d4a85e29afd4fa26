/** Whether a word is an instruction: QEMU's decoder, configured with our extensions, must agree. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { disassemble } from '../../core/cpu/isa/disassemble.ts';
import { decodeNarrow, decodeWide, INSTRUCTIONS } from '../../core/cpu/isa/table.ts';
import { findQemuUser } from '../harness/qemu-user.ts';
import { buildLegalityImage, illegalInOutput, MAX_WORDS, wordsAt } from './legality.ts';
import { Random } from './random.ts';
import { OurRunner, QemuRunner } from './runners.ts';

const qemu = await findQemuUser();
const seed = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 1_000_000);

// An older emulator knows fewer extensions, or more than we can take from it.
describe.skipIf(qemu === null || qemu.version < 9)('legal encodings are those of QEMU', () => {
  let ours: OurRunner;
  let theirs: QemuRunner;

  beforeAll(async () => {
    ours = await OurRunner.create('user');
    theirs = new QemuRunner(qemu!);
  });
  afterAll(async () => {
    await ours[Symbol.asyncDispose]();
    await theirs[Symbol.asyncDispose]();
  });

  /** Words about which the two disagree, in words. */
  async function disagreements(words: readonly number[]): Promise<string[]> {
    const found: string[] = [];
    let illegal = 0;
    for (let start = 0; start < words.length; start += MAX_WORDS) {
      const image = buildLegalityImage(words.slice(start, start + MAX_WORDS));
      const log = await ours.illegal(image);
      const run = await theirs.run(image);
      if ('failure' in log) throw new Error(`ours: ${log.failure}`);
      if ('failure' in run) throw new Error(`QEMU: ${run.failure}`);
      const illegalHere = wordsAt(image, log);
      const illegalThere = illegalInOutput(image, run.output);
      illegal += illegalHere.size;
      for (const word of new Set(image.words)) {
        if (illegalHere.has(word) === illegalThere.has(word)) continue;
        found.push(
          `${word.toString(16)} (${disassemble(word, 0n).text}) is ${illegalHere.has(word) ? 'illegal' : 'legal'} here`,
        );
      }
    }
    // That the question was put at all.
    expect(illegal).toBeGreaterThan(1000);
    return found;
  }

  test('all compressed ones', { timeout: 120_000 }, async () => {
    // Jumps would leave; ebreak is another signal.
    const leaves = /^c\.(j|jr|jalr|beqz|bnez|ebreak)$/;
    const words: number[] = [];
    for (let word = 0; word < 0x10000; word++) {
      if ((word & 3) !== 3 && !leaves.test(decodeNarrow(word)?.name ?? '')) words.push(word);
    }
    expect(await disagreements(words)).toEqual([]);
  });

  test(`40,000 words near instructions, seed ${seed}`, { timeout: 120_000 }, async () => {
    const random = new Random(seed);
    const words: number[] = [];
    while (words.length < 40_000) {
      const insn = random.pick(INSTRUCTIONS);
      let word = insn.match | (random.u32() & ~insn.mask);
      for (let flips = random.below(4); flips > 0; flips--) word ^= 1 << random.below(32);
      if (random.chance(0.1)) word = random.u32() | 3;
      word >>>= 0;
      if ((word & 3) !== 3 || (word & 0x1f) === 0x1f) continue;
      // Loads and stores of whole vector registers (mew 0, mop 0, vm 1, lumop 8): QEMU 10 takes them without V, too.
      const isVector = (word & 0x5f) === 0x07 && [0, 5, 6, 7].includes((word >>> 12) & 7);
      if (isVector && ((word >>> 20) & 0x1ff) === 0x028) continue;
      // Those that only compute: the others would go somewhere or touch memory.
      if (decodeWide(word)?.body.some((s) => s.s !== 'set' && s.s !== 'let')) continue;
      words.push(word);
    }
    expect(await disagreements(words)).toEqual([]);
  });
});
