/** Runs sequences on two machines, finds those that end differently, and makes such a one small. */
import { disassemble } from '../../core/cpu/isa/disassemble.ts';
import { buildImage, encodeSequence, resultOf, windowCentre } from './image.ts';
import type { Runner } from './runners.ts';
import { SP, WINDOW } from './sequence.ts';
import type { Sequence } from './sequence.ts';

const X_NAMES =
  'zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6'.split(' ');

/** Makes sequences for consecutive windows of an image. */
export type SequenceMaker = (centre: number) => Sequence;

export interface Difference {
  index: number;
  /** One line a register or memory byte: ours, theirs. */
  lines: string[];
}

const hex = (bytes: Uint8Array, at: number): string => {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getBigUint64(at, true).toString(16).padStart(16, '0');
};

function registerName(word: number): string {
  if (word === 0) return 'fcsr';
  return word < 32 ? `x${word} (${X_NAMES[word]})` : `f${word - 32}`;
}

function describe(ours: ReturnType<typeof resultOf>, theirs: ReturnType<typeof resultOf>): string[] {
  const lines: string[] = [];
  for (let word = 0; word < 64; word++) {
    const a = hex(ours.registers, word * 8);
    const b = hex(theirs.registers, word * 8);
    if (a !== b) lines.push(`${registerName(word)}: ours ${a}, theirs ${b}`);
  }
  for (let at = 0; at < WINDOW && lines.length < 20; at += 8) {
    const a = hex(ours.window, at);
    const b = hex(theirs.window, at);
    if (a !== b)
      lines.push(`memory, window ${at - WINDOW / 2 >= 0 ? '+' : ''}${at - WINDOW / 2}: ours ${a}, theirs ${b}`);
  }
  return lines;
}

/** Moves a sequence to another window: what its registers hold of the old window's addresses moves with it. */
function move(sequence: Sequence, from: number, to: number): Sequence {
  const state = sequence.state.map((value) =>
    value >= BigInt(from - WINDOW / 2) && value < BigInt(from + WINDOW / 2) ? value + BigInt(to - from) : value,
  );
  return { ...sequence, state };
}

export class Comparison {
  readonly #ours: Runner;
  readonly #theirs: Runner;

  readonly #passes: number;

  /** @param passes how often an image runs its sequences */
  constructor(ours: Runner, theirs: Runner, passes = 1) {
    this.#ours = ours;
    this.#theirs = theirs;
    this.#passes = passes;
  }

  /** Sequences that end differently, at most `most`. They must have been made for an image of as many. */
  async run(sequences: readonly Sequence[], most = 1): Promise<Difference[]> {
    const image = buildImage(sequences, this.#passes);
    const [ours, theirs] = await Promise.all([this.#ours.run(image), this.#theirs.run(image)]);
    if ('failure' in ours || 'failure' in theirs) return this.#search(sequences, most, ours, theirs);
    const outputs = [ours.output, ...(ours.others ?? [])];
    const output = outputs.find((bytes) => Buffer.compare(bytes, theirs.output) !== 0);
    if (output === undefined) return [];
    const found: Difference[] = [];
    for (let index = 0; index < sequences.length && found.length < most; index++) {
      const lines = describe(resultOf(image, output, index), resultOf(image, theirs.output, index));
      if (lines.length > 0) found.push({ index, lines });
    }
    return found;
  }

  /** One machine gave up: which sequence was it? */
  async #search(sequences: readonly Sequence[], most: number, ours: object, theirs: object): Promise<Difference[]> {
    const text = (o: object): string => ('failure' in o ? String(o.failure) : 'ran to its end');
    if (sequences.length === 1) return [{ index: 0, lines: [`ours ${text(ours)}`, `theirs ${text(theirs)}`] }];
    const half = sequences.length >> 1;
    const found: Difference[] = [];
    for (const [start, part] of [
      [0, sequences.slice(0, half)],
      [half, sequences.slice(half)],
    ] as const) {
      if (found.length >= most) break;
      const moved = part.map((s, i) =>
        move(s, windowCentre(start + i, sequences.length), windowCentre(i, part.length)),
      );
      for (const d of await this.run(moved, most - found.length)) found.push({ ...d, index: start + d.index });
    }
    return found;
  }

  /** Leaves out units as long as the two machines still differ. */
  async minimise(
    sequence: Sequence,
    centre: number,
  ): Promise<{ sequence: Sequence; centre: number; difference: Difference }> {
    let best = move(sequence, centre, windowCentre(0, 1));
    let difference = (await this.run([best]))[0];
    if (difference === undefined) throw new Error('the difference is gone when the sequence runs by itself');
    for (let chunk = Math.max(1, best.units.length >> 1); ;) {
      const variants: Sequence[] = [];
      for (let at = 0; at < best.units.length; at += chunk) {
        const gone = new Set(best.units.slice(at, at + chunk).map((u) => u.loop ?? u.id));
        variants.push({ ...best, units: best.units.filter((u) => !gone.has(u.loop ?? u.id)) });
      }
      let smaller: Sequence | undefined;
      for (const variant of variants) {
        if (variant.units.length === 0) continue;
        const d = (await this.run([variant]))[0];
        if (d !== undefined) {
          smaller = variant;
          difference = d;
          break;
        }
      }
      if (smaller !== undefined) {
        best = smaller;
        chunk = Math.min(chunk, Math.max(1, best.units.length >> 1));
      } else if (chunk === 1) break;
      else chunk >>= 1;
    }
    return { sequence: best, centre: windowCentre(0, 1), difference };
  }
}

/** A sequence as text: disassembled, with the starting values of the registers it names. */
export function show(sequence: Sequence, centre: number): string {
  const code = encodeSequence(sequence);
  const view = new DataView(code.buffer);
  const lines: string[] = [];
  const used = new Set<string>();
  for (let at = 0; at < code.length;) {
    const low = view.getUint16(at, true);
    const word = (low & 3) === 3 ? view.getUint32(at, true) : low;
    const { text, length } = disassemble(word, BigInt(at));
    for (const name of text.match(/\b(zero|[a-z]{1,2}\d{1,2}|ra|sp|gp|tp)\b/g) ?? []) used.add(name);
    lines.push(
      `  ${at.toString(16).padStart(4, '0')}  ${word
        .toString(16)
        .padStart((low & 3) === 3 ? 8 : 4, '0')
        .padEnd(9)} ${text}`,
    );
    at += length;
  }
  const F =
    'ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11'.split(
      ' ',
    );
  const start: string[] = [`fcsr=${sequence.state[0]!.toString(16)}`];
  X_NAMES.forEach((name, i) => {
    if (i > 0 && (used.has(name) || i === SP)) start.push(`${name}=${sequence.state[i]!.toString(16)}`);
  });
  F.forEach((name, i) => {
    if (used.has(name)) start.push(`${name}=${sequence.state[32 + i]!.toString(16)}`);
  });
  return [
    `start: ${start.join(' ')}`,
    `window around ${centre.toString(16)}, seed ${sequence.memorySeed}`,
    ...lines,
  ].join('\n');
}
