/**
 * Modules of regions made by hand (core/cpu/jit/abi.ts), for tests of what surrounds the translator. Which region an entry
 * gets is said by the guest: its first instruction is `lui x0, kind << 12`, which does nothing.
 */
import { FN_HELPERS, H_JIT_FAULT } from '../../core/cpu/jit/abi.ts';
import { HELPERS } from '../../core/cpu/gen/jit-helpers.ts';
import { H_INSTRET, H_POLL } from '../../core/worker/layout.ts';

/** What the region at a marker does; each adds 1 to s2 when it has done something, so that tests see who executed the code. */
export const KIND = {
  /** marker; addi a0, a0, -1; bnez a0, marker: all of it, until polled; s2 counts the rounds. */
  LOOP: 1,
  /** Declines. */
  DECLINE: 2,
  /** marker; ld a1, 0(a0) */
  LOAD: 3,
  /** marker; csrw mie, a1 */
  CSR: 4,
  /** marker, in the halfwords that end the page; goes on in the page behind, whose guard it looks at. */
  GUARDED: 5,
  /** The module does not compile. */
  BROKEN: 6,
  /** marker; addi a0, a0, -1 */
  STEP: 7,
} as const;

/** Bytes of code that a region is made of. */
export const SIZE: Readonly<Record<number, number>> = { 1: 12, 2: 4, 3: 8, 4: 8, 5: 4, 6: 4, 7: 8 };

const I32 = 0x7f;
const I64 = 0x7e;
const A0 = 80;
const A1 = 88;
const S2 = 144;

function leb(value: number | bigint, signed = false): number[] {
  const out: number[] = [];
  let v = BigInt(value);
  for (;;) {
    const byte = Number(v & 127n);
    v >>= 7n;
    const last = signed ? (v === 0n && byte < 64) || (v === -1n && byte >= 64) : v === 0n;
    out.push(last ? byte : byte | 128);
    if (last) return out;
  }
}

const BLOCK = [0x20, 0];
const PC = [0x20, 1];
const i32 = (n: number): number[] => [0x41, ...leb(n, true)];
const i64 = (n: number | bigint): number[] => [0x42, ...leb(n, true)];
const load64 = (offset: number): number[] => [...BLOCK, 0x29, 3, ...leb(offset)];
const load32 = (offset: number): number[] => [...BLOCK, 0x28, 2, ...leb(offset)];
const store64 = (offset: number, value: number[]): number[] => [...BLOCK, ...value, 0x37, 3, ...leb(offset)];
const add = (offset: number, n: number): number[] => store64(offset, [...load64(offset), ...i64(n), 0x7c]);
const retire = (n: number): number[] => add(H_INSTRET, n);
const goTo = (distance: number): number[] => [...PC, ...i64(distance), 0x7c, 0x0f];
const when = (condition: number[], then: number[]): number[] => [...condition, 0x04, 0x40, ...then, 0x0b];

/** Types: 0 a region, and jitLoad; 1 jitSystem; 2 jitGuard. */
const TYPES = [
  [[I32, I64, I32], I64],
  [[I32, I32, I64], I32],
  [[I32, I64, I32], I32],
] as const;

function helper(name: string, type: number): number[] {
  const index = HELPERS.findIndex((h) => h.name === name);
  return [...i32(FN_HELPERS + index), 0x11, ...leb(type), 0];
}

function body(kind: number, insn: number, guard: number): number[] {
  switch (kind) {
    case KIND.LOOP: {
      const round = [...add(A0, -1), ...add(S2, 1), ...retire(3)];
      const polled = [...load32(H_POLL), 0x45, 0x0d, 0];
      return [0x03, 0x40, ...round, ...when([...load64(A0), 0x50], goTo(12)), ...polled, 0x0b, ...goTo(0)];
    }
    case KIND.LOAD: {
      const faulted = [...PC, ...i64(5), 0x7c, 0x0f];
      return [
        ...retire(1),
        ...store64(A1, [...BLOCK, ...load64(A0), ...i32(8), ...helper('jitLoad', 0)]),
        ...when(load32(H_JIT_FAULT), faulted),
        ...add(S2, 1),
        ...retire(1),
        ...goTo(8),
      ];
    }
    case KIND.CSR: {
      const call = [...BLOCK, ...i32(insn | 0), ...PC, ...i64(4), 0x7c, ...helper('jitSystem', 1)];
      return [...retire(2), ...add(S2, 1), ...when([...call, ...i32(2), 0x46], [0x00]), ...goTo(8)];
    }
    case KIND.GUARDED: {
      const there = [...BLOCK, ...PC, ...i64(4), 0x7c, ...i32(guard), ...helper('jitGuard', 2)];
      return [...when([...there, 0x45], goTo(0)), ...retire(1), ...add(S2, 1), ...goTo(4)];
    }
    case KIND.BROKEN:
      return [0x7c];
    case KIND.STEP:
      return [...retire(2), ...add(A0, -1), ...add(S2, 1), ...goTo(8)];
    default:
      return goTo(0);
  }
}

const vector = (items: number[][]): number[] => [...leb(items.length), ...items.flat()];
const section = (id: number, content: number[]): number[] => [id, ...leb(content.length), ...content];
const text = (s: string): number[] => [...leb(s.length), ...Buffer.from(s)];

/** One region of a module. */
export interface HandMade {
  kind: number;
  /** The instruction behind the marker. */
  insn: number;
  /** Linear address of the guard of the page behind. */
  guard: number;
}

/** A module whose element segment puts the regions at `first` and behind it. */
export function regionModule(first: number, regions: HandMade[]): Uint8Array {
  const code = regions.map(({ kind, insn, guard }) => {
    const content = [0, ...body(kind, insn, guard), 0x0b];
    return [...leb(content.length), ...content];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(TYPES.map(([params, result]) => [0x60, ...vector(params.map((p) => [p])), 1, result]))),
    ...section(2, [
      2,
      ...[...text('env'), ...text('memory'), 2, 3, ...leb(0), ...leb(65536)],
      ...[...text('env'), ...text('table'), 1, 0x70, 0, 0],
    ]),
    ...section(3, vector(regions.map(() => [0]))),
    ...section(9, [1, 0, ...i32(first), 0x0b, ...vector(regions.map((_, i) => leb(i)))]),
    ...section(10, vector(code)),
  ]);
}
