/** A bare-metal guest for tests of `ringside run`: it echoes what it reads, and some characters are commands. */
import { X, Program } from '../../harness/asm.ts';

const RAM = 0x80000000;
const UART = 0x10000000;
const LSR = 5;
const LSR_DR = 1;
const LSR_THRE = 0x20;
const FINISHER = 0x100000;

/** Characters that are not echoed, and the word each writes to the test finisher. */
const ENDINGS = {
  /** Power off. */
  Q: 0x5555,
  /** Failure, code 3. */
  F: 0x33333,
  /** Failure, code 256. */
  H: 0x1003333,
  /** Reset. */
  R: 0x7777,
};
/** From here on, writes without end. */
const FLOOD = 'W';

function program(): Uint8Array {
  const { t0, t1, t2, a0, s0, s1, ra, zero } = X;
  const p = new Program(RAM);
  p.li(s0, UART).li(s1, FINISHER);
  for (const letter of 'ready\n') p.li(a0, letter.charCodeAt(0)).op('jal', { rd: ra }, 'put');
  p.label('loop').op('lbu', { rd: t0, rs1: s0, imm: LSR }).op('andi', { rd: t0, rs1: t0, imm: LSR_DR });
  p.op('beq', { rs1: t0, rs2: zero }, 'loop').op('lbu', { rd: a0, rs1: s0 });
  for (const [letter, word] of Object.entries(ENDINGS)) {
    p.li(t1, letter.charCodeAt(0)).op('bne', { rs1: a0, rs2: t1 }, `not ${letter}`);
    p.li(t2, word).op('sw', { rs1: s1, rs2: t2 }).label(`${letter} done`).op('jal', { rd: zero }, `${letter} done`);
    p.label(`not ${letter}`);
  }
  p.li(t1, FLOOD.charCodeAt(0)).op('beq', { rs1: a0, rs2: t1 }, 'flood');
  p.op('jal', { rd: ra }, 'put').op('jal', { rd: zero }, 'loop');
  p.label('flood').op('jal', { rd: ra }, 'put').op('jal', { rd: zero }, 'flood');
  p.label('put').op('lbu', { rd: t0, rs1: s0, imm: LSR }).op('andi', { rd: t0, rs1: t0, imm: LSR_THRE });
  p.op('beq', { rs1: t0, rs2: zero }, 'put').op('sb', { rs1: s0, rs2: a0 }).op('jalr', { rs1: ra });
  return p.assemble();
}

/** An ELF file with the program at the start of RAM. */
export function echoGuest(): Uint8Array {
  const code = program();
  const HEADERS = 64 + 56;
  const elf = Buffer.alloc(HEADERS + code.length);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  elf.writeUInt16LE(2, 16); // ET_EXEC
  elf.writeUInt16LE(243, 18); // EM_RISCV
  elf.writeUInt32LE(1, 20);
  elf.writeBigUInt64LE(BigInt(RAM), 24); // e_entry
  elf.writeBigUInt64LE(64n, 32); // e_phoff
  elf.writeUInt16LE(64, 52);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56); // e_phnum
  elf.writeUInt32LE(1, 64); // PT_LOAD
  elf.writeUInt32LE(7, 68);
  elf.writeBigUInt64LE(BigInt(HEADERS), 72); // p_offset
  elf.writeBigUInt64LE(BigInt(RAM), 80);
  elf.writeBigUInt64LE(BigInt(RAM), 88);
  elf.writeBigUInt64LE(BigInt(code.length), 96);
  elf.writeBigUInt64LE(BigInt(code.length), 104);
  elf.set(code, HEADERS);
  return elf;
}
