/** Which CSRs exist in which mode, and what sticks in them; compared with QEMU's virt board where that is installed. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { csrName } from '../../core/cpu/isa/csr-names.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { DATA, reg, runHere, runInQemu, TrapProgram, whyNoQemuSystem } from '../harness/trap-program.ts';
import type { ModeName } from '../harness/trap-program.ts';

let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create();
});
afterAll(() => bare[Symbol.asyncDispose]());

const { a0, a1, t0, t1, s0, s1 } = reg;
const CSRS = 4096;
const MODES: readonly ModeName[] = ['U', 'S', 'M'];
const STCE = 1n << 63n;

/** Reads all CSRs in each mode; one byte each in DATA: 1 if that is illegal. */
function readAll(): TrapProgram {
  const p = new TrapProgram();
  p.csrwi('mcounteren', -1).csrwi('scounteren', -1).csrsi('menvcfg', STCE);
  MODES.forEach((mode, i) => {
    p.li(s0, DATA + i * CSRS).la(s1, `read${i}`);
    p.la(t0, 'skip').csrw('mtvec', t0);
    p.inMode(mode, () => {
      p.label(`read${i}`);
      for (let csr = 0; csr < CSRS; csr++) p.csrr(0, csr);
      p.la(a0, 'mtrap');
    });
  });
  p.la(t0, 'mtrap').csrw('mtvec', t0).end();
  p.align(64).label('skip').csrr(t0, 'mcause').op('addi', { rd: t0, rs1: t0, imm: -2 }).op('bne', { rs1: t0 }, 'other');
  p.csrr(t0, 'mepc')
    .op('sub', { rd: t1, rs1: t0, rs2: s1 })
    .op('srli', { rd: t1, rs1: t1, imm: 2 })
    .op('add', { rd: t1, rs1: t1, rs2: s0 });
  p.li(a1, 1).op('sb', { rs1: t1, rs2: a1 }).op('addi', { rd: t0, rs1: t0, imm: 4 }).csrw('mepc', t0).op('mret');
  p.label('other').jump('mtrap');
  return p;
}

const nameOf = (csr: number): string => csrName(csr) ?? `0x${csr.toString(16)}`;
function legal(bytes: Uint8Array): Record<ModeName, Set<string>> {
  const of = (i: number): Set<string> =>
    new Set(
      Array.from({ length: CSRS }, (_, c) => c)
        .filter((c) => bytes[i * CSRS + c] === 0)
        .map(nameOf),
    );
  return { U: of(0), S: of(1), M: of(2) };
}

describe('reading CSRs', () => {
  let here: Record<ModeName, Set<string>>;
  let program: TrapProgram;
  beforeAll(async () => {
    program = readAll();
    bare.ram(DATA, 3 * CSRS).fill(0);
    await runHere(bare, program);
    here = legal(bare.ram(DATA, 3 * CSRS));
  });

  test('U has floating point and counters', () => {
    const counters = Array.from({ length: 29 }, (_, i) => `hpmcounter${i + 3}`);
    expect([...here.U].sort()).toEqual(['fflags', 'frm', 'fcsr', 'cycle', 'time', 'instret', ...counters].sort());
  });

  test('S has those and its own', () => {
    const own = 'sstatus sie stvec scounteren senvcfg sscratch sepc scause stval sip stimecmp satp'.split(' ');
    expect([...here.S].filter((name) => !here.U.has(name)).sort()).toEqual(own.sort());
  });

  test.skipIf(whyNoQemuSystem() !== undefined)('M has what QEMU has, but for what belongs to other extensions', () => {
    bare.ram(DATA, 3 * CSRS).fill(0);
    const { ram } = runInQemu(bare, program, { cpu: 'rv64,h=off,v=off,sstc=on,pmu-num=29' });
    const there = legal(ram.subarray(DATA - 0x80000000));
    for (const mode of MODES) {
      expect(
        [...here[mode]].filter((name) => !there[mode].has(name)),
        `only here, ${mode}`,
      ).toEqual([]);
      // QEMU 7.2 shows vstimecmp though the hypervisor extension is off.
      expect(
        [...there[mode]].filter((name) => !here[mode].has(name) && name !== '0x24d'),
        `only in QEMU, ${mode}`,
      ).toEqual([]);
    }
  });
});

describe('what sticks', () => {
  const patterns = [
    0n,
    2n ** 64n - 1n,
    0x5555555555555555n,
    0xaaaaaaaaaaaaaaaan,
    0x0123456789abcdefn,
    0xfedcba9876543210n,
  ];
  const FS = 3n << 13n;
  const SD = 1n << 63n;
  const MPP = 3n << 11n;
  const dirty = (v: bigint): bigint => v | ((v & FS) === FS ? SD : 0n);
  const mask =
    (m: bigint) =>
    (v: bigint): bigint =>
      v & m;
  const all = mask(2n ** 64n - 1n);
  const vector = (v: bigint): bigint => ((v & 2n) === 0n ? v : v & ~3n);
  const SSTATUS = 0xc6122n;
  const MISA = (2n << 62n) | [...'acdfimsu'].reduce((m, letter) => m | (1n << BigInt(letter.charCodeAt(0) - 97)), 0n);
  const FCSR = 0xffn;

  /** What a register reads after a write of v. */
  const registers: Record<string, (v: bigint) => bigint> = {
    // MPP 2 is no mode: it stays what it was, 0 here.
    mstatus: (v) => dirty((v & (SSTATUS | 0x720088n | ((v & MPP) === 2n << 11n ? 0n : MPP))) | 0xa00000000n),
    sstatus: (v) => dirty((v & SSTATUS) | 0x200000000n),
    misa: () => MISA,
    medeleg: mask(0xb3ffn),
    mideleg: mask(0x222n),
    mie: mask(0xaaan),
    sie: mask(0x222n),
    mip: mask(0x222n),
    sip: mask(0x2n),
    mtvec: vector,
    stvec: vector,
    mcounteren: mask(0xffffffffn),
    scounteren: mask(0xffffffffn),
    mcountinhibit: mask(5n),
    menvcfg: mask(0xe0000000000000f1n),
    senvcfg: mask(0xf1n),
    mscratch: all,
    sscratch: all,
    mepc: mask(2n ** 64n - 2n),
    sepc: mask(2n ** 64n - 2n),
    mcause: all,
    scause: all,
    mtval: all,
    stval: all,
    pmpaddr0: mask(2n ** 54n - 1n),
    mhpmevent3: () => 0n,
    mhpmcounter31: () => 0n,
    fflags: mask(31n),
    frm: mask(7n),
    fcsr: mask(FCSR),
  };

  test.each(Object.keys(registers))('in %s', async (name) => {
    const p = new TrapProgram();
    p.csrwi('mideleg', -1).csrci('mstatus', MPP).csrr(s0, name).csrr(s1, 'mstatus');
    for (const value of patterns) p.csrwi(name, value).csrr(a0, name).csrw(name, s0).csrw('mstatus', s1).keep(a0);
    const { kept } = await runHere(bare, p.end());
    expect(kept.map((v) => v.toString(16))).toEqual(patterns.map((v) => registers[name]!(v).toString(16)));
  });

  test('in satp: Bare, Sv39, Sv48 and Sv57 with 16 bits of ASID and 44 of page number; other modes change nothing', async () => {
    const p = new TrapProgram();
    const rest = 0xfff_ffff_ffff_ffffn;
    for (let mode = 0n; mode < 16n; mode++)
      p.csrwi('satp', 0x8000_0000_0000_1234n)
        .csrwi('satp', (mode << 60n) | rest)
        .csrr(a0, 'satp')
        .csrw('satp', 0)
        .keep(a0);
    const { kept } = await runHere(bare, p.end());
    kept.forEach((value, i) => {
      const mode = BigInt(i);
      const valid = mode >= 8n && mode <= 10n;
      if (mode !== 0n) expect(value).toBe(valid ? (mode << 60n) | rest : 0x8000_0000_0000_1234n);
      else expect(value >> 60n).toBe(0n);
    });
  });
});
