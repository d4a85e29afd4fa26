/** A guest program that makes code for ever. */
import { encode } from '../harness/asm.ts';
import { Code, DATA, reg } from './modes.ts';

const { t0, t1, t2, t3, t4, a0, a1, s0, s1, s2, s3, s4 } = reg;
const MIB = 2 ** 20;
const AREA = DATA;
const AREA_END = DATA + 4 * MIB;
/** Bytes from one function to the next. */
const FUNCTION = 128;

/**
 * Writes a function that adds a number of its own in a loop, calls it until it is hot, sees whether the result is right; goes on
 * for ever with others. Each hart has half of the area.
 */
export function endlessCode(): Code {
  const size = (AREA_END - AREA) / 2;
  const p = new Code()
    .li(t0, size)
    .op('mul', { rd: s4, rs1: a0, rs2: t0 })
    .li(t0, AREA)
    .op('add', { rd: s4, rs1: s4, rs2: t0 });
  p.setUp().li(s0, 0).mv(s1, s4).la(s2, 'template').label('round');
  // A row of them, then one fence.i for all.
  p.mv(s3, s1).li(t4, 16).label('make').mv(t1, s2).mv(t2, s1).op('addi', { rd: t3, rs1: s1, imm: FUNCTION });
  p.label('copy').op('ld', { rd: t0, rs1: t1 }).op('sd', { rs1: t2, rs2: t0 }).op('addi', { rd: t1, rs1: t1, imm: 8 });
  p.op('addi', { rd: t2, rs1: t2, imm: 8 }).op('bltu', { rs1: t2, rs2: t3 }, 'copy');
  p.op('andi', { rd: t0, rs1: s0, imm: 1023 })
    .op('slli', { rd: t0, rs1: t0, imm: 20 })
    .li(t1, encode('addi', { rd: a0, rs1: a0 }))
    .op('add', { rd: t0, rs1: t0, rs2: t1 });
  p.op('sw', { rs1: s1, rs2: t0, imm: 4 })
    .op('addi', { rd: s0, rs1: s0, imm: 1 })
    .op('addi', { rd: s1, rs1: s1, imm: FUNCTION });
  p.op('addi', { rd: t4, rs1: t4, imm: -1 }).op('bne', { rs1: t4 }, 'make').op('fence.i');
  p.li(t3, 30).label('repeat').mv(t2, s3).op('addi', { rd: t4, rs1: s0, imm: -16 }).label('use').li(a0, 0).callAt(t2);
  p.op('andi', { rd: t0, rs1: t4, imm: 1023 })
    .li(t1, 9)
    .op('mul', { rd: t0, rs1: t0, rs2: t1 })
    .op('bne', { rs1: t0, rs2: a0 }, 'wrong');
  p.op('addi', { rd: t4, rs1: t4, imm: 1 })
    .op('addi', { rd: t2, rs1: t2, imm: FUNCTION })
    .op('bltu', { rs1: t2, rs2: s1 }, 'use');
  p.op('addi', { rd: t3, rs1: t3, imm: -1 }).op('bne', { rs1: t3 }, 'repeat');
  p.li(t0, size)
    .op('add', { rd: t0, rs1: t0, rs2: s4 })
    .op('bltu', { rs1: s1, rs2: t0 }, 'go on')
    .mv(s1, s4)
    .label('go on')
    .jump('round');
  p.label('wrong').finish(a0);
  p.align(64)
    .label('template')
    .li(a1, 9)
    .label('loop')
    .op('addi', { rd: a0, rs1: a0 })
    .op('addi', { rd: a1, rs1: a1, imm: -1 })
    .op('bne', { rs1: a1 }, 'loop')
    .ret();
  return p.org(p.address('template') + FUNCTION);
}
