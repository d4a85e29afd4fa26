/**
 * A static RISC-V Linux program that runs many sequences one after the other and then writes what they have left: for each
 * its registers (64 doublewords: fcsr, x1 .. x31, f0 .. f31), then all the windows. The same bytes run bare-metal in our
 * machine, at the same addresses, up to the first ecall.
 */
import { encode, Program, X } from '../harness/asm.ts';
import { Random } from './random.ts';
import { IMAGE_BASE } from './elf-image.ts';
import type { Image } from './elf-image.ts';
import { LINK, unitSize, WINDOW } from './sequence.ts';
import type { Sequence } from './sequence.ts';

const PAGE = 4096;
/** The ELF headers have a page of their own. */
export const HEADERS = 0x1000;
export const STATE_WORDS = 64;
export const STATE_BYTES = STATE_WORDS * 8;
/** Room for code; also how far a jal reaches. */
const CODE_MAX = 0x100000 - HEADERS;
const SYS_WRITE = 64;
const SYS_EXIT = 93;

export interface SequenceImage extends Image {
  count: number;
}

const pageUp = (n: number): number => Math.ceil(n / PAGE) * PAGE;

/** Sequences that one image can hold. */
export const MAX_SEQUENCES = 2000;

/** The window of sequence `index` of `count`. */
export function windowCentre(index: number, count: number): number {
  return windowsStart(count) + index * WINDOW + WINDOW / 2;
}
function statesStart(): number {
  return IMAGE_BASE + HEADERS + CODE_MAX;
}
function outputStart(count: number): number {
  return statesStart() + pageUp(count * STATE_BYTES);
}
function windowsStart(count: number): number {
  // Windows begin half a page into a page, so that their middles are page boundaries.
  return outputStart(count) + pageUp(count * STATE_BYTES) + PAGE / 2;
}

/** Loads all registers from the state at x31, which goes last; comes from `jal x3`. */
export function enter(p: Program): void {
  const at = (word: number): number => word * 8;
  p.label('enter');
  p.op('ld', { rd: 1, rs1: 31, imm: at(0) }).op('csrrw', { rd: 0, rs1: 1, imm: 3 });
  for (let f = 0; f < 32; f++) p.op('fld', { rd: f, rs1: 31, imm: at(32 + f) });
  for (let x = 1; x < 32; x++) if (x !== LINK) p.op('ld', { rd: x, rs1: 31, imm: at(x) });
  p.op('jalr', { rd: 0, rs1: LINK });
}

/** Stores all registers but x1 (stored already) at x3; comes from `jal x1`. Leaves no reservation behind. */
function leave(p: Program): void {
  const at = (word: number): number => word * 8;
  p.label('leave');
  for (let x = 2; x < 32; x++) if (x !== LINK) p.op('sd', { rs1: LINK, rs2: x, imm: at(x) });
  for (let f = 0; f < 32; f++) p.op('fsd', { rs1: LINK, rs2: f, imm: at(32 + f) });
  p.op('csrrs', { rd: 5, imm: 3 }).op('sd', { rs1: LINK, rs2: 5, imm: at(0) });
  p.op('sc.d', { rd: 0, rs1: LINK, rs2: 0 });
  p.op('jalr', { rd: 0, rs1: 1 });
}

/** Encodes a sequence; it may be put anywhere. */
export function encodeSequence(sequence: Sequence): Uint8Array {
  const { units } = sequence;
  const starts: number[] = [];
  let size = 0;
  for (const unit of units) {
    starts.push(size);
    size += unitSize(unit);
  }
  const startOf = (id: number): number => {
    const index = units.findIndex((u) => u.id >= id);
    return index < 0 ? size : (starts[index] ?? size);
  };
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  let at = 0;
  for (const { pieces } of units) {
    const addresses: number[] = [];
    for (const { name, fields, bits = 0, target } of pieces) {
      addresses.push(at);
      let operands = fields;
      if (target !== undefined) {
        const from = addresses[addresses.length - 1 - target.from] ?? at;
        operands = { ...fields, imm: startOf(target.unit) - from + target.plus };
      }
      const word = encode(name, operands) | bits;
      if ((word & 3) === 3) {
        view.setUint32(at, word, true);
        at += 4;
      } else {
        view.setUint16(at, word, true);
        at += 2;
      }
    }
  }
  return out;
}

export function elfHeader(entry: number, fileSize: number): Uint8Array {
  const out = new Uint8Array(64 + 56);
  const view = new DataView(out.buffer);
  const EM_RISCV = 243;
  const PF_RWX = 7;
  out.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, EM_RISCV, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(entry), true);
  view.setBigUint64(32, 64n, true);
  // RVC, double-float ABI.
  view.setUint32(48, 5, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint16(58, 64, true);
  const program = 64;
  view.setUint32(program, 1, true);
  view.setUint32(program + 4, PF_RWX, true);
  view.setBigUint64(program + 16, BigInt(IMAGE_BASE), true);
  view.setBigUint64(program + 24, BigInt(IMAGE_BASE), true);
  view.setBigUint64(program + 32, BigInt(fileSize), true);
  view.setBigUint64(program + 40, BigInt(fileSize), true);
  view.setBigUint64(program + 48, BigInt(PAGE), true);
  return out;
}

/** write(1, output, size) and exit. */
export function writeAndExit(p: Program, output: number, size: number): void {
  const { a0, a1, a2, a7 } = X as Record<'a0' | 'a1' | 'a2' | 'a7', number>;
  p.li(a1, output).li(a2, size);
  p.label('more').li(a0, 1).li(a7, SYS_WRITE).op('ecall');
  p.op('bge', { rs1: 0, rs2: a0 }, 'done');
  p.op('add', { rd: a1, rs1: a1, rs2: a0 }).op('sub', { rd: a2, rs1: a2, rs2: a0 });
  p.op('bne', { rs1: a2, rs2: 0 }, 'more');
  p.label('done').op('addi', { rd: a0, rs1: a2 }).li(a7, SYS_EXIT).op('ecall');
}

/**
 * Builds the program. The sequences must have been made for the windows of an image of as many sequences.
 * @param passes how often all of them are run, one after the other, in the memory that the pass before has left
 */
export function buildImage(sequences: readonly Sequence[], passes = 1): SequenceImage {
  const count = sequences.length;
  const p = new Program(IMAGE_BASE + HEADERS);
  // Near the middle, the routines are in reach of all.
  const middle = count >> 1;
  p.op('jal', { rd: 0 }, 'sequence0');
  sequences.forEach((sequence, i) => {
    if (i === middle) {
      p.op('jal', { rd: 0 }, 'over');
      enter(p);
      leave(p);
      p.label('over');
    }
    p.label(`sequence${i}`);
    const state = statesStart() + i * STATE_BYTES;
    p.op('lui', { rd: 31, imm: ((state + 0x800) & 0xfffff000) | 0 });
    p.op('addi', { rd: 31, rs1: 31, imm: (state << 20) >> 20 });
    // lui sign-extends; the image is above 2 GiB.
    p.op('slli', { rd: 31, rs1: 31, imm: 32 }).op('srli', { rd: 31, rs1: 31, imm: 32 });
    p.op('jal', { rd: LINK }, 'enter');
    p.bytes(encodeSequence(sequence));
    const out = outputStart(count) + i * STATE_BYTES;
    p.op('auipc', { rd: LINK, imm: (out - p.here + 0x800) & 0xfffff000 });
    p.op('addi', { rd: LINK, rs1: LINK, imm: ((out - (p.here - 4)) << 20) >> 20 });
    p.op('sd', { rs1: LINK, rs2: 1, imm: 8 });
    p.op('jal', { rd: 1 }, 'leave');
  });
  const output = outputStart(count);
  // In the half page before the windows.
  const passesLeft = windowsStart(count) - 8;
  if (passes > 1) {
    p.li(5, passesLeft).op('ld', { rd: 6, rs1: 5 }).op('addi', { rd: 6, rs1: 6, imm: -1 });
    p.op('sd', { rs1: 5, rs2: 6 }).op('bge', { rs1: 0, rs2: 6 }, 'finished').op('jal', {}, 'sequence0');
    p.label('finished');
  }
  const outputSize = pageUp(count * STATE_BYTES) + PAGE / 2 + count * WINDOW;
  writeAndExit(p, output, outputSize);
  const code = p.assemble();
  if (code.length > CODE_MAX) throw new RangeError(`${count} sequences are too much code for one image`);

  const elf = new Uint8Array(output + outputSize - IMAGE_BASE);
  const view = new DataView(elf.buffer);
  elf.set(elfHeader(p.origin, elf.length));
  elf.set(code, HEADERS);
  view.setBigUint64(passesLeft - IMAGE_BASE, BigInt(passes), true);
  sequences.forEach((sequence, i) => {
    const at = statesStart() - IMAGE_BASE + i * STATE_BYTES;
    sequence.state.forEach((value, word) => view.setBigUint64(at + word * 8, value, true));
    const fill = new Random(sequence.memorySeed);
    const window = windowsStart(count) - IMAGE_BASE + i * WINDOW;
    for (let n = 0; n < WINDOW; n += 4) view.setUint32(window + n, fill.u32(), true);
  });
  return { entry: p.origin, elf, output, outputSize, count, codeEnd: HEADERS + code.length };
}

/** What a sequence has left: its registers and its window. */
export function resultOf(
  image: SequenceImage,
  output: Uint8Array,
  index: number,
): { registers: Uint8Array; window: Uint8Array } {
  const windows = windowsStart(image.count) - outputStart(image.count) + index * WINDOW;
  return {
    registers: output.subarray(index * STATE_BYTES, (index + 1) * STATE_BYTES),
    window: output.subarray(windows, windows + WINDOW),
  };
}
