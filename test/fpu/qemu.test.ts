/**
 * Every operation of "F" and "D", in every rounding mode, against qemu-riscv64: results and flags, bit for bit.
 * RINGSIDE_FPU_VECTORS sets the random vectors an operation and mode (20000), RINGSIDE_FPU_SEED their seed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Engine } from './engine.ts';
import type { BatchResult } from './engine.ts';
import { randomVectors, Random, specialVectors } from './operands.ts';
import { fdOps, roundingModes } from './ops.ts';
import type { Op } from './ops.ts';
import { Qemu, whyNoQemu } from './qemu.ts';

const RANDOM_VECTORS = Number(process.env.RINGSIDE_FPU_VECTORS ?? 20_000);
const SPECIAL_VECTORS = 150_000;
const SEED = Number(process.env.RINGSIDE_FPU_SEED ?? 1);
const NX = 1;

const reason = whyNoQemu();
if (reason) console.log(`floating point against qemu-riscv64: skipped, ${reason}`);

/** The first vector on which the two differ, told as a person would want to read it. */
function difference(
  op: Op,
  rm: number,
  before: number,
  vectors: Buffer,
  ours: BatchResult,
  theirs: BatchResult,
): string | undefined {
  const sameFlags =
    before === 0 ? ours.flags.equals(theirs.flags) : ours.flags.every((f, i) => f === (theirs.flags[i] | before));
  if (sameFlags && ours.results.equals(theirs.results)) return undefined;
  const hex = (buffer: Buffer, i: number): string =>
    buffer
      .readBigUInt64LE(i * 8)
      .toString(16)
      .padStart(16, '0');
  for (let i = 0; ; i++) {
    const [mine, other] = [ours, theirs].map(
      (r, side) => `${hex(r.results, i)} flags ${r.flags[i] | (side ? before : 0)}`,
    );
    if (mine === other) continue;
    const operands = op.operands.map((_, k) => hex(vectors, i * op.operands.length + k));
    return `${op.name} ${operands.join(' ')} ${roundingModes[rm]}, flags ${before} before: ${mine}, qemu ${other}`;
  }
}

describe.skipIf(reason)('against qemu-riscv64', () => {
  let engine: Engine;
  let qemu: Qemu;
  let compared = 0;

  beforeAll(async () => {
    engine = await Engine.build();
    qemu = new Qemu();
  });

  afterAll(() => {
    qemu?.[Symbol.dispose]();
    console.log(`floating point against qemu-riscv64: ${compared} operand vectors and modes, seed ${SEED}`);
  });

  test.each(fdOps.map((op): [string, Op] => [op.name, op]))('%s', { timeout: 600_000 }, (_name, op) => {
    const random = new Random(SEED);
    const modes = op.rounds ? [0, 1, 2, 3, 4] : [0];
    const fusedChoices =
      op.name.endsWith('D') && op.operands.length === 3 ? new Set([0, engine.exports.probeFma()]) : [0];
    for (const vectors of [specialVectors(op, random, SPECIAL_VECTORS), randomVectors(op, random, RANDOM_VECTORS)]) {
      const theirs = qemu.batches(op, modes, vectors);
      for (const rm of modes) {
        compared += theirs[rm].flags.length;
        for (const fused of fusedChoices) {
          engine.exports.setFmaFused(fused);
          // With NX clear and with NX set: other paths lead to the same result.
          for (const before of [0, NX]) {
            expect(
              difference(op, rm, before, vectors, engine.batch(op, rm, before, vectors), theirs[rm]),
            ).toBeUndefined();
          }
        }
      }
    }
  });
});
