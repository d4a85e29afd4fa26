/** Single steps: one instruction at a time, whatever the instruction. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RAM_PHYS } from '../../core/machine/virt-map.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { Program } from '../harness/asm.ts';
import { DATA, reg } from '../harness/trap-program.ts';

const { a0, a1, t0 } = reg;
const CSR = { mstatus: 0x300, mie: 0x304, mtvec: 0x305, mip: 0x344, minstret: 0xb02 } as const;
const MS_MIE = 8;
const SSIP = 2;

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create();
});
afterAll(() => bare[Symbol.asyncDispose]());

/** Addresses that a program is at, before each of `steps` steps and behind the last; from the start of RAM. */
function trace(program: Program, steps: number): number[] {
  bare.reset();
  bare.load(RAM_PHYS, program.assemble());
  const at: number[] = [];
  // The reset vector.
  while (bare.hart(0).pc !== BigInt(RAM_PHYS)) bare.step(0);
  for (let i = 0; i <= steps; i++) {
    at.push(Number(bare.hart(0).pc) - RAM_PHYS);
    if (i < steps) expect(bare.step(0)).toBe(true);
  }
  return at;
}

test('straight code, branches taken and not, jumps, both lengths', () => {
  const p = new Program(RAM_PHYS);
  p.op('addi', { rd: a0, imm: 2 })
    .op('c.addi', { rd: a0, imm: -1 })
    .label('l')
    .op('bne', { rs1: a0 }, 'on')
    .op('ebreak');
  p.label('on').op('addi', { rd: a0, rs1: a0, imm: -1 }).op('beq', { rs1: a0 }, 'l').op('ebreak');
  expect(trace(p, 6)).toEqual([0, 4, 6, 14, 18, 6, 10]);
});

test('a loop of one instruction is one step a round', () => {
  const p = new Program(RAM_PHYS).label('l').op('jal', {}, 'l');
  expect(trace(p, 4)).toEqual([0, 0, 0, 0, 0]);
});

test('from page to page, and an instruction in both', () => {
  const p = new Program(RAM_PHYS)
    .op('jal', {}, 'end')
    .org(RAM_PHYS + 0xffa)
    .label('end');
  p.op('addi', { rd: a0 }).op('addi', { rd: a0 }).op('addi', { rd: a0 });
  expect(trace(p, 4)).toEqual([0, 0xffa, 0xffe, 0x1002, 0x1006]);
});

test('memory, atomics, CSRs, fences; each is counted', () => {
  const p = new Program(RAM_PHYS).li(a1, DATA).op('csrrs', { rd: t0, imm: CSR.minstret });
  const start = p.here - RAM_PHYS;
  p.op('sd', { rs1: a1, rs2: a1 }).op('amoadd.d', { rd: a0, rs1: a1, rs2: a1 }).op('fence.i').op('fence');
  p.op('sfence.vma').op('csrrs', { rd: a0, imm: CSR.minstret }).op('sub', { rd: a0, rs1: a0, rs2: t0 });
  const steps = start / 4 + 7;
  const at = trace(p, steps);
  expect(at).toEqual(at.map((_, i) => i * 4));
  expect(bare.hart(0).x[a0]).toBe(6n);
  expect(bare.readU64(DATA)).toBe(2n * BigInt(DATA));
});

test('an instruction that traps takes its step to the handler', () => {
  const p = new Program(RAM_PHYS).la(t0, 'handler').op('csrrw', { rs1: t0, imm: CSR.mtvec }).op('ecall').op('ebreak');
  p.align(64).label('handler').op('addi', { rd: a0 });
  expect(trace(p, 5)).toEqual([0, 4, 8, 12, 64, 68]);
});

test('an interrupt that is due is taken, then one instruction of its handler', () => {
  const p = new Program(RAM_PHYS).la(t0, 'handler').op('csrrw', { rs1: t0, imm: CSR.mtvec });
  p.op('addi', { rd: a0, imm: SSIP }).op('csrrs', { rs1: a0, imm: CSR.mip }).op('csrrs', { rs1: a0, imm: CSR.mie });
  p.op('addi', { rd: a0, imm: MS_MIE }).op('csrrs', { rs1: a0, imm: CSR.mstatus }).op('ebreak');
  p.align(64).label('handler').op('addi', { rd: a0, imm: 1 }).op('addi', { rd: a0, imm: 1 });
  // The write of mstatus that lets it in takes it at once.
  expect(trace(p, 10).slice(-4)).toEqual([28, 64, 68, 72]);
});

test('wfi goes on behind it', () => {
  const p = new Program(RAM_PHYS).op('wfi').op('addi', { rd: a0 });
  expect(trace(p, 2)).toEqual([0, 4, 8]);
});
