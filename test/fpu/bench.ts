/**
 * Price of the floating-point unit's operations: `node test/fpu/bench.ts`. ns an operation, loop, loads and stores
 * included (fsgnjD is hardly more than those), medians. Columns: RNE with NX set (native); RNE with NX clear, on
 * ordinary fractions and on small integers (exact results); RTZ; RDN; and RNE on subnormals with NX set.
 */
import { Engine } from './engine.ts';
import { doubleBits, singleBits, Random } from './operands.ts';
import { allOps } from './ops.ts';
import type { Kind, Op } from './ops.ts';

const VECTORS = 4096;
const ROUNDS = 15;
const [RNE, RTZ, RDN] = [0, 1, 2];
const NX = 1;

const random = new Random(1);
type Make = (kind: Kind) => bigint;
const bits = (kind: Kind, value: number): bigint => (kind === 's' ? singleBits(value) : doubleBits(value));
const fractions: Make = (kind) =>
  kind === 'x' ? random.u64() : bits(kind, 0.5 + random.u32() / 2 ** 30 + random.u32() / 2 ** 60);
const integers: Make = (kind) => (kind === 'x' ? BigInt(random.below(1000) + 1) : bits(kind, random.below(1000) + 1));
const subnormals: Make = (kind) =>
  kind === 'x' ? 0n : bits(kind, random.u32() * 2 ** -33 * (kind === 's' ? 2 ** -126 : 2 ** -1022));

const engine = await Engine.build();
const fused = engine.exports.probeFma();

function price(op: Op, rm: number, flags: number, make: Make): string {
  const operands = Array.from({ length: VECTORS }, () => op.operands.map(make)).flat();
  const vectors = Buffer.from(BigUint64Array.from(operands).buffer);
  const samples = Array.from({ length: ROUNDS }, () => engine.time(op, rm, flags, vectors, 40));
  const median = samples.sort((a, b) => a - b)[ROUNDS >> 1];
  return median.toFixed(1).padStart(8);
}

/** Heading, rounding mode, flags before, operands. */
const columns: [string, number, number, Make][] = [
  ['native', RNE, NX, fractions],
  ['clear', RNE, 0, fractions],
  ['integer', RNE, 0, integers],
  ['RTZ', RTZ, NX, fractions],
  ['RDN', RDN, NX, fractions],
  ['subnorm', RNE, NX, subnormals],
];

function line(op: Op, label = op.name): void {
  const prices = columns.map(([, rm, flags, make]) => price(op, rm, flags, make));
  console.log(label.padEnd(14) + prices.join(''));
}

console.log(' '.repeat(14) + columns.map(([heading]) => heading.padStart(8)).join(''));
for (const op of allOps) {
  line(op);
  if (fused && /^fmaddD$/.test(op.name)) {
    engine.exports.setFmaFused(0);
    line(op, `${op.name} exact`);
    engine.exports.setFmaFused(1);
  }
}
