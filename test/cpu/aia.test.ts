/** The CSRs of Smaia and Ssaia (RISC-V AIA 1.0, chapters 2, 3 and 5), from bare metal; QEMU's virt board beside it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { csrName } from '../../core/cpu/isa/csr-names.ts';
import { CLINT_PHYS, IMSIC_M_PHYS, IMSIC_S_PHYS } from '../../core/machine/virt-map.ts';
import { IRQCHIP_APLIC, IRQCHIP_IMSIC } from '../../core/worker/layout.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { CAUSE, INTERRUPT, reg, runHere, runInQemu, TrapProgram, whyNoQemuSystem } from '../harness/trap-program.ts';
import type { ModeName, Result } from '../harness/trap-program.ts';

const { a0, a1, a2, t0, t1 } = reg;
const noQemu = whyNoQemuSystem() !== undefined;
const QEMU = { cpu: 'rv64,h=off,v=off,sstc=on', aia: 'aplic-imsic' } as const;

const AIA_S = ['siselect', 'stopei', 'stopi'];
const AIA_M = ['miselect', 'mtopei', 'mtopi', 'mvien', 'mvip'];
const EIDELIVERY = 0x70;
const EITHRESHOLD = 0x72;
const EIP0 = 0x80;
const EIE0 = 0xc0;
const [SSIP, MSIP, STIP, SEIP, MEIP] = [1n << 1n, 1n << 3n, 1n << 5n, 1n << 9n, 1n << 11n];
/** Of hart 0, from the CLINT's base. */
const MTIMECMP = 0x4000;
const STCE = 1n << 63n;
const topi = (number: number, priority: number): bigint => (BigInt(number) << 16n) | BigInt(priority);
const topei = (identity: number): bigint => topi(identity, identity);

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create({ irqchip: IRQCHIP_IMSIC });
});
afterAll(() => bare[Symbol.asyncDispose]());

class AiaProgram extends TrapProgram {
  /** As our harts come out of reset; QEMU's have a machine timer interrupt pending, and numbers in the iprio arrays. */
  quiet(): this {
    this.li(t0, CLINT_PHYS + MTIMECMP)
      .li(t1, -1)
      .op('sd', { rs1: t0, rs2: t1 });
    for (const register of [0x30, 0x32]) this.indirect('m', register, 0).indirect('s', register, 0);
    return this;
  }

  /** Writes a register behind mireg or sireg. */
  indirect(level: 'm' | 's', register: number, value: number | bigint): this {
    return this.csrwi(`${level}iselect`, register).csrwi(`${level}ireg`, value);
  }

  keepIndirect(level: 'm' | 's', register: number): this {
    return this.csrwi(`${level}iselect`, register).keepCsr(`${level}ireg`);
  }

  /** A message to hart 0. Clobbers t0, t1. */
  send(level: 'm' | 's', identity: number): this {
    return this.li(t0, level === 'm' ? IMSIC_M_PHYS : IMSIC_S_PHYS)
      .li(t1, identity)
      .op('sw', { rs1: t0, rs2: t1 });
  }

  /** A file that delivers what it gets. */
  open(level: 'm' | 's'): this {
    return this.indirect(level, EIDELIVERY, 1)
      .indirect(level, EIE0, -1)
      .indirect(level, EIE0 + 6, -1);
  }

  /** Claims the top of a file and notes what it was. */
  claim(csr: 'mtopei' | 'stopei'): this {
    return this.op('csrrw', { rd: a0, rs1: 0, imm: csr === 'mtopei' ? 0x35c : 0x15c }).keep(a0);
  }
}

/** Runs a program here, and on QEMU too: both must come to the same. */
async function run(program: AiaProgram, { compare = true } = {}): Promise<Result> {
  const here = await runHere(bare, program);
  if (compare && !noQemu) {
    const { traps, kept } = runInQemu(bare, program, QEMU);
    expect({ traps, kept }, 'on QEMU').toEqual(here);
  }
  return here;
}

/** Whether reading a CSR in a mode is legal. */
async function legal(on: BareMetal, mode: ModeName, csrs: readonly string[]): Promise<string[]> {
  const p = new AiaProgram();
  for (const csr of csrs) p.inMode(mode, () => p.csrr(a0, csr));
  const { traps } = await runHere(on, p.end());
  return csrs.filter((_, i) => traps[i]!.cause !== CAUSE.illegal);
}

describe('the CSRs', () => {
  const all = [...AIA_S, ...AIA_M, 'sireg', 'mireg'];

  test('are there in their modes; mireg and sireg only with something selected', async () => {
    expect(await legal(bare, 'M', all)).toEqual([...AIA_S, ...AIA_M]);
    expect(await legal(bare, 'S', all)).toEqual(AIA_S);
    expect(await legal(bare, 'U', all)).toEqual([]);
  });

  test('are not there without IMSICs', async () => {
    for (const irqchip of [undefined, IRQCHIP_APLIC]) {
      await using other = await BareMetal.create(irqchip === undefined ? {} : { irqchip });
      expect(await legal(other, 'M', all)).toEqual([]);
    }
  });

  test('of RV32 are not there, and the names are the specification’s', async () => {
    const p = new AiaProgram();
    for (const csr of [0x114, 0x154, 0x313, 0x314, 0x318, 0x319, 0x354]) p.inMode('M', () => p.csrr(a0, csr));
    const { traps } = await run(p.end());
    expect(traps.map(({ cause }) => cause)).toEqual(Array(7).fill(CAUSE.illegal));
    expect([0x150, 0x151, 0x15c, 0xdb0].map(csrName)).toEqual(['siselect', 'sireg', 'stopei', 'stopi']);
    expect([0x308, 0x309, 0x350, 0x351, 0x35c, 0xfb0].map(csrName)).toEqual([
      ...['mvien', 'mvip', 'miselect', 'mireg', 'mtopei', 'mtopi'],
    ]);
  });

  test('mtopi and stopi are read-only', async () => {
    const p = new AiaProgram();
    for (const csr of ['mtopi', 'stopi']) p.inMode('M', () => p.csrw(csr, 0));
    const { traps } = await run(p.end());
    expect(traps.map(({ cause }) => cause)).toEqual([CAUSE.illegal, CAUSE.illegal]);
  });
});

describe('what sticks', () => {
  test('in miselect and siselect: nine bits', async () => {
    const p = new AiaProgram();
    for (const csr of ['miselect', 'siselect']) {
      for (const value of [0, 0x70, 0xff, 0x1ff, 0x200, -1]) p.csrwi(csr, value).keepCsr(csr);
    }
    const { kept } = await run(p.end());
    expect(kept).toEqual(Array(2).fill([0n, 0x70n, 0xffn, 0x1ffn, 0n, 0x1ffn]).flat());
  });

  test('in the registers of interrupt files', async () => {
    const p = new AiaProgram();
    for (const level of ['m', 's'] as const) {
      for (const register of [EIDELIVERY, EITHRESHOLD, EIP0, EIP0 + 2, EIP0 + 6, EIE0, EIE0 + 4, EIE0 + 6]) {
        p.indirect(level, register, 0).keepIndirect(level, register);
        p.indirect(level, register, -1).keepIndirect(level, register);
        p.indirect(level, register, 0);
      }
    }
    const { kept } = await run(p.end());
    const all = 2n ** 64n - 1n;
    const one = [1n, 0x7ffn, all - 1n, all, all, all - 1n, all, all].flatMap((value) => [0n, value]);
    expect(kept).toEqual([...one, ...one]);
  });

  test('in priority numbers: those of interrupts that may be taken at the level, but not the external one', async () => {
    const p = new AiaProgram();
    p.csrwi('mideleg', -1);
    for (const level of ['m', 's'] as const) {
      for (let register = 0x30; register < 0x40; register += 2)
        p.indirect(level, register, -1).keepIndirect(level, register);
    }
    p.csrwi('mideleg', 0).keepIndirect('s', 0x30);
    // QEMU has numbers for interrupts that it does not have.
    const { kept } = await run(p.end(), { compare: false });
    const bytes = (...interrupts: number[]): bigint =>
      interrupts.reduce((sum, i) => sum | (0xffn << BigInt(8 * i)), 0n);
    const none = Array<bigint>(6).fill(0n);
    expect(kept).toEqual([bytes(1, 3, 5, 7), bytes(1), ...none, bytes(1, 5), 0n, ...none, 0n]);
  });

  test('in mvien nothing; in mvip what sticks in mip', async () => {
    const p = new AiaProgram();
    p.csrwi('mvien', -1).keepCsr('mvien');
    p.csrwi('mvip', -1).keepCsr('mvip').keepCsr('mip');
    p.csrwi('mip', 0).keepCsr('mvip');
    p.csrsi('menvcfg', STCE).csrwi('stimecmp', -1).csrwi('mvip', -1).keepCsr('mvip').csrwi('mvip', 0).keepCsr('mip');
    // QEMU 7.2 has no mvip to speak of.
    const { kept } = await run(p.end(), { compare: false });
    expect(kept).toEqual([0n, SSIP | STIP | SEIP, SSIP | STIP | SEIP, 0n, SSIP | SEIP, 0n]);
  });

  test('mip.SEIP shows the interrupt file, mvip the bit that software wrote', async () => {
    const p = new AiaProgram().open('s').send('s', 5).keepCsr('mip').keepCsr('mvip');
    const { kept } = await run(p.csrwi('mvip', SEIP).claim('stopei').keepCsr('mip').end(), { compare: false });
    expect(kept).toEqual([SEIP, 0n, topei(5), SEIP]);
  });
});

test('registers that do not exist behind mireg and sireg are illegal', async () => {
  const p = new AiaProgram();
  const registers = [0, 0x2f, 0x31, 0x3f, 0x40, 0x6f, 0x81, 0xbf, 0xc1, 0xff, 0x100, 0x1ff];
  for (const register of registers) {
    p.csrwi('miselect', register).inMode('M', () => p.csrr(a0, 'mireg'));
    p.csrwi('siselect', register).inMode('S', () => p.csrw('sireg', 0));
  }
  const { traps } = await run(p.end());
  expect(traps.map(({ cause }) => cause)).toEqual(Array(2 * registers.length).fill(CAUSE.illegal));
});

test('reserved registers among an interrupt file’s are read-only zero, identities that there are not too', async () => {
  const p = new AiaProgram();
  const registers = [0x71, 0x73, 0x7f, EIP0 + 8, EIP0 + 62, EIE0 + 8, EIE0 + 62];
  for (const register of registers) p.indirect('m', register, -1).keepIndirect('m', register);
  // QEMU 7.2: illegal.
  const { traps, kept } = await run(p.end(), { compare: false });
  expect([traps, kept]).toEqual([[], registers.map(() => 0n)]);
});

describe('external interrupts', () => {
  test('come by message, and are claimed by writing topei', async () => {
    const p = new AiaProgram().quiet().open('m').open('s');
    for (const identity of [200, 3, 3]) p.send('s', identity);
    p.send('m', 7).keepCsr('mip').keepCsr('stopei').keepCsr('mtopei');
    for (let i = 0; i < 3; i++) p.claim('stopei');
    p.claim('mtopei').keepCsr('mip');
    const { kept } = await run(p.end());
    expect(kept).toEqual([MEIP | SEIP, topei(3), topei(7), topei(3), topei(200), 0n, topei(7), 0n]);
  });

  test('are claimed by any instruction that writes, and by no other', async () => {
    const p = new AiaProgram().quiet().open('s').li(a1, 0);
    for (const identity of [1, 2, 3, 4, 5]) p.send('s', identity);
    p.op('csrrs', { rd: a0, rs1: 0, imm: 0x15c }).keep(a0);
    p.op('csrrs', { rd: a0, rs1: a1, imm: 0x15c }).keep(a0);
    p.op('csrrc', { rd: a0, rs1: a1, imm: 0x15c }).keep(a0);
    p.op('csrrw', { rd: 0, rs1: a1, imm: 0x15c });
    p.op('csrrwi', { rd: a0, imm: 0x15c }).keep(a0).keepCsr('stopei');
    // QEMU 7.2 takes csrrs and csrrc of a register that is 0 for reads.
    const { kept } = await run(p.end(), { compare: false });
    expect(kept).toEqual([1, 1, 2, 4, 5].map(topei));
  });

  test('can be set, cleared and read as bits without disturbing others', async () => {
    const p = new AiaProgram().quiet().indirect('s', EIE0, -1).send('s', 5).csrwi('siselect', EIP0);
    p.csrsi('sireg', 1n << 9n)
      .csrci('sireg', 1n << 5n)
      .keepCsr('sireg')
      .keepCsr('stopei');
    p.csrwi('siselect', EIE0)
      .csrci('sireg', 1n << 9n)
      .keepCsr('stopei')
      .keepCsr('sireg');
    const { kept } = await run(p.end());
    expect(kept).toEqual([1n << 9n, topei(9), 0n, 2n ** 64n - 2n - (1n << 9n)]);
  });

  test.each([
    ['S', 's', SEIP, 9n],
    ['M', 'm', MEIP, 11n],
  ] as const)('trap to %s-mode', async (mode, level, bit, number) => {
    const p = new AiaProgram().quiet().open(level).csrwi('mideleg', SEIP).csrwi('mie', bit);
    p.inMode('U', () => p.op('addi', {}));
    p.send(level, 20);
    p.inMode('U', () => p.op('addi', {}));
    p.claim(`${level}topei`);
    p.inMode(mode, () => {
      p.csrsi(`${level}status`, mode === 'S' ? 2 : 8).send(level, 21);
      const wait = p.unique('wait');
      p.label(wait).op('jal', {}, wait);
    });
    const { traps, kept } = await run(p.end(), { compare: false });
    expect(traps.map((trap) => [trap.mode, trap.cause])).toEqual([
      ['M', CAUSE.ecallU],
      [mode, INTERRUPT | number],
      [mode, INTERRUPT | number],
    ]);
    expect(kept).toEqual([topei(20)]);
  });

  test('at the threshold wait', async () => {
    const p = new AiaProgram().quiet().open('m').send('m', 9);
    for (const threshold of [9, 10, 0]) p.indirect('m', EITHRESHOLD, threshold).keepCsr('mip').keepCsr('mtopei');
    const { kept } = await run(p.end());
    expect(kept).toEqual([0n, 0n, MEIP, topei(9), MEIP, topei(9)]);
  });

  test('end a wfi', async () => {
    await using two = await BareMetal.create({ irqchip: IRQCHIP_IMSIC, harts: 2 });
    const p = new AiaProgram({ others: 'other' });
    p.open('m')
      .csrwi('mie', MEIP)
      .label('wait')
      .op('wfi')
      .csrr(a0, 'mtopei')
      .op('beq', { rs1: a0 }, 'wait')
      .keep(a0)
      .end();
    p.label('other')
      .li(t1, 50_000)
      .label('idle')
      .op('addi', { rd: t1, rs1: t1, imm: -1 })
      .op('bne', { rs1: t1 }, 'idle');
    p.send('m', 33).label('for ever').op('wfi').op('jal', {}, 'for ever');
    const { kept } = await runHere(two, p);
    expect(kept).toEqual([topei(33)]);
  });
});

describe('priorities', () => {
  /** Interrupts that are pending in M-mode, software's bits and the CLINT's. */
  const pend = (p: AiaProgram, mip: bigint, msip = false): AiaProgram => {
    p.csrwi('mip', mip);
    if (msip) p.li(t0, CLINT_PHYS).li(t1, 1).op('sw', { rs1: t0, rs2: t1 });
    return p;
  };

  test('mtopi is zero until something is pending, enabled and not delegated', async () => {
    const p = new AiaProgram().quiet().keepCsr('mtopi');
    pend(p, SSIP).keepCsr('mtopi').csrwi('mie', SSIP).keepCsr('mtopi').keepCsr('stopi');
    p.csrwi('mideleg', SSIP).keepCsr('mtopi').keepCsr('stopi');
    const { kept } = await run(p.end());
    expect(kept).toEqual([0n, 0n, topi(1, 255), 0n, 0n, topi(1, 255)]);
  });

  test('are the default order where all numbers are zero', async () => {
    const p = pend(new AiaProgram().quiet().csrwi('mie', -1), SSIP | STIP | SEIP, true);
    p.keepCsr('mtopi').csrci('mie', MSIP).keepCsr('mtopi').csrci('mie', SEIP).keepCsr('mtopi').csrci('mie', SSIP);
    // QEMU 7.2 prefers the higher number among equals, here and below.
    const { kept } = await run(p.keepCsr('mtopi').end(), { compare: false });
    expect(kept).toEqual([3, 9, 1, 5].map((number) => topi(number, 255)));
  });

  test('are the numbers otherwise, the default order among equals', async () => {
    const p = pend(new AiaProgram().quiet().csrwi('mie', -1), SSIP | STIP, true);
    const numbers = (ssi: number, msi: number, sti: number): bigint =>
      (BigInt(ssi) << 8n) | (BigInt(msi) << 24n) | (BigInt(sti) << 40n);
    for (const value of [numbers(0, 0, 3), numbers(2, 9, 3), numbers(5, 9, 5), numbers(255, 0, 0), numbers(7, 7, 7)]) {
      p.indirect('m', 0x30, value).keepCsr('mtopi');
    }
    const { kept } = await run(p.end(), { compare: false });
    expect(kept).toEqual([topi(5, 3), topi(1, 2), topi(1, 5), topi(1, 255), topi(3, 7)]);
  });

  test('of external interrupts are their identities', async () => {
    const p = pend(new AiaProgram().quiet().csrwi('mie', -1).open('m'), STIP);
    p.indirect('m', 0x30, 4n << 40n)
      .send('m', 9)
      .keepCsr('mtopi')
      .send('m', 4)
      .keepCsr('mtopi')
      .claim('mtopei')
      .keepCsr('mtopi');
    const { kept } = await run(p.end(), { compare: false });
    // Among equals the external one is first by default.
    expect(kept).toEqual([topi(5, 4), topi(11, 4), topei(4), topi(5, 4)]);
  });

  test('in S-mode: SEI by its identity, or last of the numbered ones when software made it pending', async () => {
    const p = new AiaProgram()
      .quiet()
      .open('s')
      .csrwi('mideleg', -1)
      .csrwi('mie', -1)
      .csrwi('mip', SSIP | STIP | SEIP);
    p.keepCsr('stopi')
      .indirect('s', 0x30, 0xffn << 40n)
      .keepCsr('stopi');
    p.send('s', 8)
      .keepCsr('stopi')
      .csrwi('mip', SSIP | STIP)
      .keepCsr('stopi')
      .claim('stopei')
      .keepCsr('stopi');
    const { kept } = await run(p.end(), { compare: false });
    expect(kept).toEqual([topi(9, 255), topi(5, 255), topi(9, 8), topi(9, 8), topei(8), topi(5, 255)]);
  });

  test('say which trap is taken', async () => {
    const p = pend(new AiaProgram().quiet().csrwi('mie', -1), SSIP | STIP);
    for (const value of [0n, 3n << 40n]) p.indirect('m', 0x30, value).inMode('U', () => p.op('addi', {}));
    p.csrwi('mideleg', -1);
    for (const value of [0n, 3n << 40n]) p.indirect('s', 0x30, value).inMode('U', () => p.op('addi', {}));
    const { traps } = await run(p.end(), { compare: false });
    expect(traps.map(({ mode, cause }) => [mode, cause & 63n])).toEqual([
      ['M', 1n],
      ['M', 5n],
      ['S', 1n],
      ['S', 5n],
    ]);
  });
});

test('a reset forgets it all', async () => {
  const p = new AiaProgram()
    .quiet()
    .open('m')
    .send('m', 9)
    .csrwi('mie', -1)
    .indirect('m', 0x30, -1)
    .csrr(a2, 'mtopi')
    .keep(a2);
  expect((await runHere(bare, p.end())).kept).toEqual([topi(11, 9)]);
  const q = new AiaProgram();
  for (const csr of ['miselect', 'siselect', 'mtopei', 'mtopi', 'mip']) q.keepCsr(csr);
  for (const register of [0x30, EIDELIVERY, EITHRESHOLD, EIP0, EIE0, EIE0 + 6]) q.keepIndirect('m', register);
  expect((await runHere(bare, q.end())).kept).toEqual(Array(11).fill(0n));
});
