/** Zfa against a plain reference in exact integers: special values in all combinations, and random ones. */
import { beforeAll, describe, expect, test } from 'vitest';
import { Engine } from './engine.ts';
import { doubleBits, randomVectors, Random, singleBits, specialVectors } from './operands.ts';
import { roundingModes, zfaOps } from './ops.ts';
import type { Op } from './ops.ts';
import { zfa } from './reference.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.build();
});

test.each(zfaOps.map((op): [string, Op] => [op.name, op]))('%s', { timeout: 120_000 }, (name, op) => {
  const random = new Random(1);
  const modes = op.rounds ? [0, 1, 2, 3, 4] : [1];
  const wrong: string[] = [];
  for (const vectors of [specialVectors(op, random, 20_000), randomVectors(op, random, 20_000)]) {
    const words = new BigUint64Array(new Uint8Array(vectors).buffer);
    for (const rm of modes) {
      const ours = engine.batch(op, rm, 0, vectors);
      for (let i = 0; i < ours.flags.length; i++) {
        const operands = Array.from(words.subarray(i * op.operands.length, (i + 1) * op.operands.length));
        const expected = zfa(name, operands, rm);
        const result = ours.results.readBigUInt64LE(i * 8);
        if (result === expected.result && ours.flags[i] === expected.flags) continue;
        const hex = operands.map((o) => o.toString(16)).join(' ');
        wrong.push(
          `${name} ${hex} ${roundingModes[rm]}: ${result.toString(16)} flags ${ours.flags[i]}, ` +
            `not ${expected.result.toString(16)} flags ${expected.flags}`,
        );
      }
    }
  }
  expect(wrong.slice(0, 5)).toEqual([]);
});

describe('fli', () => {
  // The table of the manual, "Zfa": rs1 0..31.
  const values = [
    ...[
      -1,
      NaN,
      2 ** -16,
      2 ** -15,
      2 ** -8,
      2 ** -7,
      0.0625,
      0.125,
      0.25,
      0.3125,
      0.375,
      0.4375,
      0.5,
      0.625,
      0.75,
      0.875,
    ],
    ...[1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 8, 16, 128, 256, 2 ** 15, 2 ** 16, Infinity, NaN],
  ];

  test('singles', () => {
    values.forEach((value, index) => {
      const expected = index === 1 ? singleBits(2 ** -126) : index === 31 ? 0xffffffff_7fc00000n : singleBits(value);
      expect(BigInt.asUintN(64, engine.exports.fliS(index))).toBe(expected);
    });
  });

  test('doubles', () => {
    values.forEach((value, index) => {
      const expected = index === 1 ? doubleBits(2 ** -1022) : index === 31 ? 0x7ff80000_00000000n : doubleBits(value);
      expect(BigInt.asUintN(64, engine.exports.fliD(index))).toBe(expected);
    });
  });
});
