/** Zicond, for which an older QEMU cannot vouch: against the manual's definition. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BareMetal } from '../harness/bare-metal.ts';
import { reg, runHere, TrapProgram } from '../harness/trap-program.ts';

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create();
});
afterAll(() => bare[Symbol.asyncDispose]());

const { a0, a1, a2 } = reg;
const VALUES = [0n, 1n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 32n];

test('czero.eqz and czero.nez', async () => {
  const p = new TrapProgram();
  const expected: bigint[] = [];
  for (const value of VALUES) {
    for (const condition of VALUES) {
      p.li(a0, value).li(a1, condition);
      p.op('czero.eqz', { rd: a2, rs1: a0, rs2: a1 }).keep(a2).op('czero.nez', { rd: a2, rs1: a0, rs2: a1 }).keep(a2);
      expected.push(condition === 0n ? 0n : value, condition !== 0n ? 0n : value);
    }
  }
  expect((await runHere(bare, p.end())).kept).toEqual(expected);
});
