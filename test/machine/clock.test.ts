/** The clock that harts share. */
import { expect, test } from 'vitest';
import { RAM_PHYS, TEST_PHYS } from '../../core/machine/virt-map.ts';
import { Program, X } from '../harness/asm.ts';
import { BareMetal } from '../harness/bare-metal.ts';

const CSR_TIME = 0xc01;
const LOOKS = 500_000;
/** The latest time that any hart has read; what went wrong, a word a hart; how many harts are done. */
const LATEST = RAM_PHYS + 0x10000;
const WORST = LATEST + 0x100;
const DONE = LATEST + 0x200;

/** Each hart compares its clock with the latest time that another one has read before, and then tells its own. */
function compareClocks(harts: number): Uint8Array {
  const { a0, t0, t1, t2, s0, s1, s2, zero } = X;
  const p = new Program(RAM_PHYS).li(s0, LATEST).li(s1, LOOKS).li(s2, 0);
  p.label('look').op('ld', { rd: t0, rs1: s0 }).op('fence').op('csrrs', { rd: t1, imm: CSR_TIME });
  p.op('bgeu', { rs1: t1, rs2: t0 }, 'later').op('sub', { rd: t2, rs1: t0, rs2: t1 });
  p.op('bgeu', { rs1: s2, rs2: t2 }, 'later').op('addi', { rd: s2, rs1: t2 });
  p.label('later').op('amomaxu.d', { rs1: s0, rs2: t1 }).op('addi', { rd: s1, rs1: s1, imm: -1 });
  p.op('bne', { rs1: s1, rs2: zero }, 'look');
  p.li(t0, WORST).op('slli', { rd: t1, rs1: a0, imm: 3 }).op('add', { rd: t0, rs1: t0, rs2: t1 });
  p.op('sd', { rs1: t0, rs2: s2 }).op('fence');
  p.li(t0, DONE)
    .li(t1, 1)
    .op('amoadd.d', { rd: t2, rs1: t0, rs2: t1 })
    .li(t1, harts - 1);
  p.op('bne', { rs1: t2, rs2: t1 }, 'end').li(t0, TEST_PHYS).li(t1, 0x5555).op('sw', { rs1: t0, rs2: t1 });
  p.label('end').op('jal', { rd: zero }, 'end');
  return p.assemble();
}

test.each([2, 4])('never goes back from one of %i harts to another', { timeout: 60_000 }, async (harts) => {
  // Threads that are started anew have other ideas of what time it is.
  for (let attempt = 0; attempt < 4; attempt++) {
    await using board = await BareMetal.create({ harts });
    board.load(RAM_PHYS, compareClocks(harts));
    await board.run(30_000);
    const worst = Array.from({ length: harts }, (_, hart) => Number(board.readU64(WORST + 8 * hart)));
    expect(worst, 'ticks of 100 ns').toEqual(worst.map(() => 0));
  }
});
