/** The disassembler against GNU binutils', for every instruction of the table with random operands. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { csrName, csrNumber } from '../../core/cpu/isa/csr-names.ts';
import { disassemble } from '../../core/cpu/isa/disassemble.ts';
import { COMPRESSED, INSTRUCTIONS, decodeNarrow, decodeWide } from '../../core/cpu/isa/table.ts';
import type { Insn } from '../../core/cpu/isa/dsl.ts';
import { Random } from '../differential/random.ts';
import { encode } from '../harness/asm.ts';

const OBJDUMP = 'riscv64-linux-gnu-objdump';
const AS = 'riscv64-linux-gnu-as';
const ARCH = 'rv64gc_zba_zbb_zbc_zbs_zicbom_zicboz_svinval';
/** What binutils of Debian 12 (2.40) does not know. */
const UNKNOWN_TO_BINUTILS = new Set(['zfa', 'zicond']);

const CSRS = [
  'fflags',
  'frm',
  'fcsr',
  'cycle',
  'sstatus',
  'satp',
  'mstatus',
  'medeleg',
  'mhpmevent31',
  'pmpaddr15',
].map((n) => csrNumber(n)!);

/** Each word in a place of four bytes, from address 0 on. */
function objdump(words: readonly number[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'ringside-disassemble-'));
  try {
    const object = join(folder, 'code.o');
    const source =
      words.map((word) => ((word & 3) === 3 ? `.insn 4, ${word}` : `.insn 2, ${word}\n.insn 2, 1`)).join('\n') + '\n';
    execFileSync(AS, [`-march=${ARCH}`, '-mno-relax', '-o', object, '-'], { input: source });
    const text = execFileSync(OBJDUMP, ['-d', '-M', 'no-aliases', object], { encoding: 'utf8', maxBuffer: 2 ** 28 });
    const lines = new Map<number, string>();
    for (const line of text.split('\n')) {
      const match = /^\s*([0-9a-f]+):\s+[0-9a-f]+\s+(.*)$/.exec(line);
      if (match) lines.set(parseInt(match[1]!, 16), match[2]!);
    }
    return words.map((_, i) => lines.get(i * 4) ?? '');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The same notation on both sides: one blank, no comments; shifts by 0, which binutils takes for RV128's by 64. */
function normal(text: string): string {
  return text
    .replace(/\s+/g, ' ')
    .replace(/ #.*$/, '')
    .replace(/ <.*>$/, '')
    .replaceAll('unknown', '0')
    .trim()
    .replace(/^(c\.s..i)64 (\w+)$/, '$1 $2,0x0');
}

/** Words that the two write differently. */
function differences(words: readonly number[]): string[] {
  const theirs = objdump(words);
  return (
    words
      .map(
        (word, i) => [`${word.toString(16)}:`, disassemble(word, BigInt(i * 4)).text, '|', normal(theirs[i]!)] as const,
      )
      // binutils writes targets without 0x.
      .filter(([, ours, , other]) => ours !== other && ours.replace(/0x(?=[0-9a-f]+$)/, '') !== other)
      .map((parts) => parts.join(' '))
  );
}

/** Random operands, as assemblers write them: nothing in reserved fields, CSRs that have names. */
function sample(random: Random, insn: Insn): number {
  const word = (insn.match | (random.u32() & ~insn.mask)) >>> 0;
  if (insn.rm) {
    const mode = /^fcvt\.d\.(w|wu|s)$/.test(insn.name) ? 0 : random.pick([0, 1, 2, 3, 4, 7]);
    return ((word & ~0x7000) | (mode << 12)) >>> 0;
  }
  if (insn.name === 'fence') return word & 0x0ff0707f;
  if (insn.name === 'fence.i') return insn.match;
  if (insn.ext === 'zicsr') return ((word & 0xfffff) | (random.pick(CSRS) << 20)) >>> 0;
  return word;
}

describe.skipIf(spawnSync(OBJDUMP, ['--version']).status !== 0)('disassembly is that of binutils', () => {
  const random = new Random(7);

  test('of every 32-bit instruction', () => {
    const list = INSTRUCTIONS.filter((i) => !UNKNOWN_TO_BINUTILS.has(i.ext));
    const words = list.flatMap((insn) => Array.from({ length: 20 }, () => sample(random, insn)));
    expect(differences(words)).toEqual([]);
  });

  test('of every 16-bit instruction', () => {
    const words: number[] = [];
    for (let half = 0; half < 0x10000; half += random.between(1, 5))
      if ((half & 3) !== 3 && decodeNarrow(half)) words.push(half);
    expect(differences(words)).toEqual([]);
  });
});

describe('the table', () => {
  test('decodes what it encodes', () => {
    for (const insn of INSTRUCTIONS) expect(decodeWide(encode(insn.name))?.name).toBe(insn.name);
    expect(COMPRESSED.length).toBeGreaterThan(30);
  });

  test('names CSRs both ways', () => {
    expect(csrName(0x300)).toBe('mstatus');
    expect(csrNumber('pmpaddr15')).toBe(0x3bf);
    expect(csrNumber('pmpcfg2')).toBe(0x3a2);
    expect(csrName(0x7ff)).toBeUndefined();
  });

  test('an unknown word is shown as data', () => {
    expect(disassemble(0xffffffff, 0n)).toEqual({ length: 4, name: null, text: '.word 0xffffffff' });
    expect(disassemble(0x12340000, 0n)).toEqual({ length: 2, name: null, text: '.half 0x0' });
  });
});
