/** Exceptions: causes, tval, delegation, return from traps (privileged manual 3.1.6 to 3.1.16, 3.3, 12.1). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BareMetal } from '../harness/bare-metal.ts';
import { encode } from '../harness/asm.ts';
import { CAUSE, DATA, reg, runHere, TrapProgram } from '../harness/trap-program.ts';
import type { ModeName } from '../harness/trap-program.ts';

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create();
});
afterAll(() => bare[Symbol.asyncDispose]());

const { t0, t1, a0, a1, zero } = reg;
/** Nothing is there on the board. */
const NOWHERE = 0x18000000;
const MS = {
  SIE: 1n << 1n,
  MIE: 1n << 3n,
  SPIE: 1n << 5n,
  MPIE: 1n << 7n,
  SPP: 1n << 8n,
  MPP: 3n << 11n,
  FS: 3n << 13n,
  MPRV: 1n << 17n,
  TVM: 1n << 20n,
  TW: 1n << 21n,
  TSR: 1n << 22n,
  SD: 1n << 63n,
} as const;

describe('an exception tells cause, epc and tval', () => {
  const illegal32 = 0xffffffff;
  const cases: [string, ModeName, (p: TrapProgram) => void, { cause: bigint; tval: bigint }][] = [
    ['ecall from U', 'U', (p) => p.op('ecall'), { cause: CAUSE.ecallU, tval: 0n }],
    ['ecall from S', 'S', (p) => p.op('ecall'), { cause: CAUSE.ecallS, tval: 0n }],
    ['ecall from M', 'M', (p) => p.op('ecall'), { cause: CAUSE.ecallM, tval: 0n }],
    ['an illegal word', 'U', (p) => p.word(illegal32), { cause: CAUSE.illegal, tval: 0xffffffffn }],
    ['an illegal halfword', 'U', (p) => p.half(0), { cause: CAUSE.illegal, tval: 0n }],
    ['a reserved compressed instruction', 'M', (p) => p.half(0x8000), { cause: CAUSE.illegal, tval: 0x8000n }],
    ['mret below M', 'S', (p) => p.op('mret'), { cause: CAUSE.illegal, tval: BigInt(encode('mret')) }],
    ['sret in U', 'U', (p) => p.op('sret'), { cause: CAUSE.illegal, tval: BigInt(encode('sret')) }],
    ['wfi in U', 'U', (p) => p.op('wfi'), { cause: CAUSE.illegal, tval: BigInt(encode('wfi')) }],
    ['sfence.vma in U', 'U', (p) => p.op('sfence.vma'), { cause: CAUSE.illegal, tval: BigInt(encode('sfence.vma')) }],
    [
      'a CSR of a higher mode',
      'U',
      (p) => p.csrr(t0, 'sstatus'),
      { cause: CAUSE.illegal, tval: BigInt(encode('csrrs', { rd: t0, imm: 0x100 })) },
    ],
    [
      'a write to a read-only CSR',
      'M',
      (p) => p.csrw('mhartid', t0),
      { cause: CAUSE.illegal, tval: BigInt(encode('csrrw', { rs1: t0, imm: 0xf14 })) },
    ],
    [
      'a CSR that is not there',
      'M',
      (p) => p.csrr(t0, 0x7c0),
      { cause: CAUSE.illegal, tval: BigInt(encode('csrrs', { rd: t0, imm: 0x7c0 })) },
    ],
    [
      'a load from nowhere',
      'M',
      (p) => p.li(a0, NOWHERE).op('ld', { rd: a1, rs1: a0, imm: 8 }),
      { cause: CAUSE.loadAccess, tval: BigInt(NOWHERE + 8) },
    ],
    [
      'a store to nowhere',
      'M',
      (p) => p.li(a0, NOWHERE).op('sb', { rs2: a1, rs1: a0, imm: 3 }),
      { cause: CAUSE.storeAccess, tval: BigInt(NOWHERE + 3) },
    ],
    [
      'an atomic at nowhere',
      'M',
      (p) => p.li(a0, NOWHERE).op('amoadd.w', { rd: a1, rs1: a0 }),
      { cause: CAUSE.storeAccess, tval: BigInt(NOWHERE) },
    ],
    [
      'lr from nowhere',
      'M',
      (p) => p.li(a0, NOWHERE).op('lr.d', { rd: a1, rs1: a0 }),
      { cause: CAUSE.loadAccess, tval: BigInt(NOWHERE) },
    ],
    [
      'a misaligned atomic',
      'M',
      (p) => p.li(a0, DATA + 4).op('amoswap.d', { rd: a1, rs1: a0 }),
      { cause: CAUSE.storeMisaligned, tval: BigInt(DATA + 4) },
    ],
    [
      'a misaligned lr',
      'M',
      (p) => p.li(a0, DATA + 2).op('lr.w', { rd: a1, rs1: a0 }),
      { cause: CAUSE.loadMisaligned, tval: BigInt(DATA + 2) },
    ],
    [
      'a misaligned sc',
      'M',
      (p) => p.li(a0, DATA + 2).op('sc.w', { rd: a1, rs1: a0 }),
      { cause: CAUSE.storeMisaligned, tval: BigInt(DATA + 2) },
    ],
  ];
  test.each(cases)('%s', async (_name, mode, code, { cause, tval }) => {
    const p = new TrapProgram();
    let at = 0;
    p.inMode(mode, () => {
      // The last instruction of the case is the one that traps.
      code(p);
      at = p.here;
    }).end();
    const { traps } = await runHere(bare, p);
    expect(traps).toHaveLength(1);
    expect(traps[0]).toMatchObject({ mode: 'M', cause, tval });
    const length = cause === CAUSE.illegal && (tval & 3n) !== 3n ? 2 : 4;
    expect(traps[0]!.epc).toBe(BigInt(at - length));
  });

  test('ebreak, with its own address as tval, in both lengths', async () => {
    const p = new TrapProgram();
    p.inMode('U', () => p.op('ebreak'))
      .inMode('U', () => p.op('c.ebreak'))
      .end();
    const { traps } = await runHere(bare, p);
    expect(traps.map((t) => t.cause)).toEqual([CAUSE.breakpoint, CAUSE.breakpoint]);
    for (const t of traps) expect(t.tval).toBe(t.epc);
  });

  test('a fetch from nowhere: epc and tval are the target, and the jump has linked', async () => {
    const p = new TrapProgram();
    p.inMode('S', () => p.li(a0, NOWHERE).op('jalr', { rd: a1, rs1: a0 }).label('link'));
    p.keep(a1).end();
    const { traps, kept } = await runHere(bare, p);
    expect(traps[0]).toMatchObject({ cause: CAUSE.fetchAccess, epc: BigInt(NOWHERE), tval: BigInt(NOWHERE) });
    expect(kept).toEqual([BigInt(p.address('link'))]);
  });

  test('an instruction that faults changes no register', async () => {
    const p = new TrapProgram();
    p.li(a1, 77);
    p.inMode('M', () => p.li(a0, NOWHERE).op('ld', { rd: a1, rs1: a0 }));
    p.inMode('M', () => p.li(a0, NOWHERE).op('amoadd.d', { rd: a1, rs1: a0 }));
    p.inMode('M', () => p.op('csrrw', { rd: a1, rs1: a0, imm: 0x7c0 }));
    p.keep(a1).end();
    expect((await runHere(bare, p)).kept).toEqual([77n]);
  });
});

describe('a guest that does nothing but trap can still be parked', () => {
  const loops: [string, (p: TrapProgram) => void][] = [
    ['a handler that faults', (p) => p.csrwi('mtvec', NOWHERE).op('ecall')],
    [
      'a handler whose first instruction is illegal',
      (p) => p.la(t0, 'bad').csrw('mtvec', t0).align(4).label('bad').word(0),
    ],
    [
      'mret and ecall',
      (p) => p.la(t0, 'back').csrw('mtvec', t0).align(4).label('call').op('ecall').align(4).label('back').op('mret'),
    ],
  ];
  test.each(loops)('%s', async (_name, code) => {
    const p = new TrapProgram();
    code(p);
    await expect(runHere(bare, p, undefined, 100)).rejects.toThrow('has not ended');
  });
});

describe('delegation', () => {
  test('goes to S from U and S, never from M', async () => {
    const p = new TrapProgram();
    p.csrwi('medeleg', 1n << CAUSE.breakpoint);
    for (const mode of ['U', 'S', 'M'] as const) p.inMode(mode, () => p.op('ebreak'));
    p.end();
    const { traps } = await runHere(bare, p);
    expect(traps.map((t) => [t.mode, t.cause])).toEqual([
      ['S', 3n],
      ['S', 3n],
      ['M', 3n],
    ]);
    // SPP tells where each came from.
    expect(traps[0]!.status & MS.SPP).toBe(0n);
    expect(traps[1]!.status & MS.SPP).toBe(MS.SPP);
    expect(traps[2]!.status & MS.MPP).toBe(MS.MPP);
  });

  test('only of the causes named', async () => {
    const p = new TrapProgram();
    p.csrwi('medeleg', ~((1n << CAUSE.illegal) | (1n << CAUSE.ecallS)));
    p.inMode('U', () => p.op('ecall'))
      .inMode('U', () => p.word(0))
      .end();
    expect((await runHere(bare, p)).traps.map((t) => [t.mode, t.cause])).toEqual([
      ['S', CAUSE.ecallU],
      ['M', CAUSE.illegal],
    ]);
  });

  test('what cannot be delegated does not stick', async () => {
    const p = new TrapProgram();
    p.csrwi('medeleg', -1).keepCsr('medeleg').csrwi('mideleg', -1).keepCsr('mideleg').end();
    // ecall from M, reserved causes 10 and 14; of the interrupts, those of S-mode may.
    expect((await runHere(bare, p)).kept).toEqual([0xb3ffn, 0x222n]);
  });
});

describe('the stack of modes and interrupt enables', () => {
  test('a trap into M saves MIE and the mode, mret restores them', async () => {
    const p = new TrapProgram();
    p.csrsi('mstatus', MS.MPIE);
    p.inMode('S', () => p.op('ebreak'));
    p.keepCsr('mstatus').end();
    const { traps, kept } = await runHere(bare, p);
    // mret set MIE from MPIE; the trap then put it into MPIE and cleared it.
    expect(traps[0]!.status & (MS.MIE | MS.MPIE | MS.MPP)).toBe(MS.MPIE | (1n << 11n));
    expect(kept[0]! & MS.MIE).toBe(0n);
  });

  test('mret leaves MPP at U and MPIE set', async () => {
    const p = new TrapProgram();
    p.la(t0, 'next').csrw('mepc', t0).csrsi('mstatus', MS.MPP).csrci('mstatus', MS.MPIE).op('mret');
    p.label('next').keepCsr('mstatus').end();
    const { kept } = await runHere(bare, p);
    expect(kept[0]! & (MS.MIE | MS.MPIE | MS.MPP)).toBe(MS.MPIE);
  });

  test('sret goes to SPP, leaves it U, and clears MPRV', async () => {
    const p = new TrapProgram();
    p.la(t0, 'in U')
      .csrw('sepc', t0)
      .csrsi('mstatus', MS.MPRV)
      .csrci('sstatus', MS.SPP | MS.SPIE | MS.SIE);
    p.la(reg.s11, 'after').op('sret').label('in U').op('ecall').label('after');
    p.end();
    const { traps } = await runHere(bare, p);
    expect(traps[0]!.cause).toBe(CAUSE.ecallU);
    expect(traps[0]!.status & (MS.MPRV | MS.SPIE | MS.SPP | MS.SIE)).toBe(MS.SPIE);
  });

  test('mret to M keeps MPRV, to S clears it', async () => {
    const p = new TrapProgram();
    p.csrsi('mstatus', MS.MPRV | MS.MPP)
      .la(t0, 'same')
      .csrw('mepc', t0)
      .op('mret')
      .label('same')
      .keepCsr('mstatus');
    p.inMode('S', () => p.op('ecall')).end();
    const { kept, traps } = await runHere(bare, p);
    expect(kept[0]! & MS.MPRV).toBe(MS.MPRV);
    expect(traps[0]!.status & MS.MPRV).toBe(0n);
  });

  test('epc and vectors lose their low bit', async () => {
    const p = new TrapProgram();
    p.csrwi('mepc', 0x80001235n).keepCsr('mepc').csrwi('sepc', -1).keepCsr('sepc');
    p.csrr(t1, 'mtvec');
    // Mode 2 is reserved: direct and vectored are all there is.
    for (const value of [0x80001001n, 0x80001000n, 0x80001002n, 0x80001003n]) p.csrwi('mtvec', value).keepCsr('mtvec');
    p.csrw('mtvec', t1).end();
    const { kept } = await runHere(bare, p);
    expect(kept.slice(0, 4)).toEqual([0x80001234n, 0xfffffffffffffffen, 0x80001001n, 0x80001000n]);
    for (const value of kept.slice(4)) expect(value & 2n).toBe(0n);
  });
});

describe('mstatus.TVM, TW and TSR make S-mode instructions illegal', () => {
  const cases: [string, bigint, (p: TrapProgram) => void][] = [
    ['TVM sfence.vma', MS.TVM, (p) => p.op('sfence.vma')],
    ['TVM sinval.vma', MS.TVM, (p) => p.op('sinval.vma')],
    ['TVM satp read', MS.TVM, (p) => p.csrr(t0, 'satp')],
    ['TVM satp write', MS.TVM, (p) => p.csrw('satp', zero)],
    ['TW wfi', MS.TW, (p) => p.op('wfi')],
    ['TSR sret', MS.TSR, (p) => p.op('sret')],
  ];
  test.each(cases)('%s', async (_name, bit, code) => {
    const p = new TrapProgram();
    p.csrsi('mstatus', bit)
      .inMode('S', () => code(p))
      .csrr(t0, 'satp')
      .op('sfence.vma')
      .end();
    const { traps } = await runHere(bare, p);
    expect(traps.map((t) => t.cause)).toEqual([CAUSE.illegal]);
  });

  test('without them they are legal', async () => {
    const p = new TrapProgram();
    p.inMode('S', () =>
      p
        .op('sfence.vma')
        .op('sinval.vma')
        .op('sfence.w.inval')
        .op('sfence.inval.ir')
        .csrr(t0, 'satp')
        .csrw('satp', zero),
    );
    p.end();
    expect((await runHere(bare, p)).traps.map((t) => t.cause)).toEqual([CAUSE.ecallS]);
  });
});

describe('floating-point state', () => {
  const FS = (n: bigint): bigint => n << 13n;
  test('is illegal to touch when FS is off', async () => {
    const p = new TrapProgram();
    p.csrci('mstatus', FS(3n)).li(a0, DATA);
    p.inMode('U', () => p.op('fadd.s'));
    p.inMode('U', () => p.op('flw', { rs1: a0 }));
    p.inMode('M', () => p.op('fsd', { rs1: a0 }));
    p.inMode('M', () => p.op('fmv.x.d', { rd: a0 }));
    for (const csr of ['fflags', 'frm', 'fcsr']) p.inMode('M', () => p.csrr(t0, csr));
    p.keepCsr('mstatus').end();
    const { traps, kept } = await runHere(bare, p);
    expect(traps.map((t) => t.cause)).toEqual(Array(7).fill(CAUSE.illegal));
    expect(kept[0]! & (FS(3n) | MS.SD)).toBe(0n);
  });

  test('becomes dirty when written, and SD says so', async () => {
    const p = new TrapProgram();
    const clean = (): void => void p.csrci('mstatus', FS(3n)).csrsi('mstatus', FS(1n));
    clean();
    p.keepCsr('mstatus').li(a0, DATA).op('fsd', { rs1: a0 }).keepCsr('mstatus');
    p.op('fld', { rd: 1, rs1: a0 }).keepCsr('mstatus');
    clean();
    p.csrw('fflags', zero).keepCsr('mstatus');
    clean();
    p.csrr(t0, 'fcsr').keepCsr('mstatus').end();
    const { kept } = await runHere(bare, p);
    expect(kept.map((v) => v & (FS(3n) | MS.SD))).toEqual([FS(1n), FS(1n), FS(3n) | MS.SD, FS(3n) | MS.SD, FS(1n)]);
  });

  test('a rounding mode that does not exist is illegal, in the instruction and in frm', async () => {
    const p = new TrapProgram();
    for (const rm of [5, 6]) p.inMode('M', () => p.word((encode('fadd.d', { rm: 0 }) | (rm << 12)) >>> 0));
    for (const frm of [5, 6, 7]) {
      p.csrwi('frm', frm);
      p.inMode('M', () => p.op('fadd.d', { rm: 7 }));
      p.inMode('M', () => p.op('fadd.d', { rm: 1 }));
    }
    p.keepCsr('frm').end();
    const { traps, kept } = await runHere(bare, p);
    const { illegal, ecallM } = CAUSE;
    expect(traps.map((t) => t.cause)).toEqual([illegal, illegal, illegal, ecallM, illegal, ecallM, illegal, ecallM]);
    expect(kept).toEqual([7n]);
  });
});
