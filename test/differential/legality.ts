/**
 * Which encodings are instructions? A program that executes given words one by one, each with the same registers, and finds out
 * which are illegal: under Linux from SIGILL, on our side from the monitor's log.
 */
import { encode, Program, X } from '../harness/asm.ts';
import { elfHeader, enter, HEADERS, STATE_WORDS, writeAndExit } from './image.ts';
import { IMAGE_BASE } from './elf-image.ts';
import type { Image } from './elf-image.ts';
import { LINK } from './sequence.ts';

/** Bytes of a word's place in the program: two to find the state, a jump, the word. */
const SLOT = 16;
const PAGE = 4096;
const SIGILL = 4;
const SYS_RT_SIGACTION = 134;
/** Offset of the pc in struct ucontext of riscv64 Linux. */
const UCONTEXT_PC = 176;
const SA_SIGINFO = 4n;

export const MAX_WORDS = 16384;

const { t0, t1, t2, a0, a1, a2, a3, a7, ra } = X as Record<
  't0' | 't1' | 't2' | 'a0' | 'a1' | 'a2' | 'a3' | 'a7' | 'ra',
  number
>;

export interface LegalityImage extends Image {
  words: readonly number[];
  first: number;
}

export function buildLegalityImage(words: readonly number[]): LegalityImage {
  if (words.length > MAX_WORDS) throw new RangeError('too many words');
  const p = new Program(IMAGE_BASE + HEADERS);
  p.li(a0, SIGILL).la(a1, 'sigaction').li(a2, 0).li(a3, 8).li(a7, SYS_RT_SIGACTION).op('ecall');
  p.op('jal', {}, 'first');
  enter(p);
  p.align(8).label('sigaction');
  const action = p.here;
  p.quad(0n, SA_SIGINFO, 0n, 0n).label('place').quad(0n);
  p.label('handler').op('ld', { rd: t0, rs1: a2, imm: UCONTEXT_PC });
  p.la(t1, 'place').op('ld', { rd: t2, rs1: t1 }).op('sd', { rs1: t2, rs2: t0 });
  p.op('addi', { rd: t2, rs1: t2, imm: 8 }).op('sd', { rs1: t1, rs2: t2 });
  p.op('addi', { rd: t0, rs1: t0, imm: 4 }).op('sd', { rs1: a2, rs2: t0, imm: UCONTEXT_PC }).op('jalr', { rs1: ra });
  p.align(8).label('state');
  const stateAt = p.here;
  p.quad(...Array.from({ length: STATE_WORDS }, () => 0n));
  p.align(SLOT).label('first');
  const first = p.here;
  for (const word of words) {
    p.la(31, 'state').op('jal', { rd: LINK }, 'enter');
    if ((word & 3) === 3) p.word(word);
    else p.half(word, encode('c.addi', { rd: 0, imm: 0 }));
  }
  const data = Math.ceil((p.here + 256) / PAGE) * PAGE;
  const output = data;
  const outputSize = Math.ceil((words.length * 8) / PAGE) * PAGE;
  // Four pages of data around the address that all registers hold.
  const centre = output + outputSize + 2 * PAGE;
  writeAndExit(p, output, outputSize);
  const elf = new Uint8Array(centre + 2 * PAGE - IMAGE_BASE);
  elf.set(elfHeader(p.origin, elf.length));
  elf.set(p.assemble(), HEADERS);
  const view = new DataView(elf.buffer);
  view.setBigUint64(action - IMAGE_BASE, BigInt(p.address('handler')), true);
  view.setBigUint64(p.address('place') - IMAGE_BASE, BigInt(output), true);
  for (let x = 1; x < 32; x++) view.setBigUint64(stateAt - IMAGE_BASE + x * 8, BigInt(centre), true);
  return { entry: p.origin, elf, output, outputSize, words, first };
}

/** The words at addresses. */
export function wordsAt(image: LegalityImage, addresses: Iterable<number>): Set<number> {
  const found = new Set<number>();
  for (const at of addresses) {
    const word = image.words[(at - image.first - (SLOT - 4)) / SLOT];
    if (word === undefined) throw new Error(`an illegal instruction at 0x${at.toString(16)}, which is no word's place`);
    found.add(word);
  }
  return found;
}

/** The words that QEMU's run found illegal. */
export function illegalInOutput(image: LegalityImage, output: Uint8Array): Set<number> {
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  const addresses: number[] = [];
  for (let at = 0; at + 8 <= output.length; at += 8) {
    const address = Number(view.getBigUint64(at, true));
    if (address === 0) break;
    addresses.push(address);
  }
  return wordsAt(image, addresses);
}
