/**
 * Bare-metal programs about privilege: pieces of code run in a mode, end in a trap, and what the trap handler saw is noted.
 * The same program can be run by our harts and by qemu-system-riscv64.
 *
 * s8 .. s11 belong to the harness, t6 is its scratch register. Everything else keeps its value across modes.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AiaKind } from '../../core/api/machine.ts';
import { csrNumber } from '../../core/cpu/isa/csr-names.ts';
import { RAM_PHYS, TEST_PHYS } from '../../core/machine/virt-map.ts';
import { Program, X } from './asm.ts';
import type { BareMetal } from './bare-metal.ts';

export const reg = X as Readonly<
  Record<
    | 'zero'
    | 'ra'
    | 'sp'
    | 'gp'
    | 'tp'
    | 't0'
    | 't1'
    | 't2'
    | 's0'
    | 's1'
    | 'a0'
    | 'a1'
    | 'a2'
    | 'a3'
    | 'a4'
    | 'a5'
    | 'a6'
    | 'a7'
    | 's2'
    | 's3'
    | 's4'
    | 's5'
    | 's6'
    | 's7'
    | 's8'
    | 's9'
    | 's10'
    | 's11'
    | 't3'
    | 't4'
    | 't5'
    | 't6',
    number
  >
>;

/** Where the handlers note traps: five doublewords each. */
const LOG = RAM_PHYS + 0x80000;
/** Where kept registers go. */
const KEPT = RAM_PHYS + 0x90000;
/** Number of traps and of kept registers, stored at the end. */
const COUNTS = RAM_PHYS + 0x7ff00;
/** Free for programs: from here on, up to the end of RAM. */
export const DATA = RAM_PHYS + 0x100000;
const FINISHER_PASS = 0x5555;
const FINISHER_FAIL = 0x13333;
const MIB = 2 ** 20;
const RAM_SIZE = 32 * MIB;

const PMP_ALL = 0x1f;
const MS_FS = 3n << 13n;
const MS_MPP_SHIFT = 11;
const MPP = { U: 0, S: 1, M: 3 } as const;
export type ModeName = keyof typeof MPP;

/** Exception codes (privileged manual, table "mcause values after trap"). */
export const CAUSE = {
  fetchAccess: 1n,
  illegal: 2n,
  breakpoint: 3n,
  loadMisaligned: 4n,
  loadAccess: 5n,
  storeMisaligned: 6n,
  storeAccess: 7n,
  ecallU: 8n,
  ecallS: 9n,
  ecallM: 11n,
  fetchPage: 12n,
  loadPage: 13n,
  storePage: 15n,
} as const;
export const INTERRUPT = 1n << 63n;

export interface Trap {
  /** The mode that took it. */
  mode: 'S' | 'M';
  cause: bigint;
  epc: bigint;
  tval: bigint;
  /** mstatus or sstatus in the handler. */
  status: bigint;
}

export interface Result {
  traps: Trap[];
  kept: bigint[];
}

const { s8, s9, s10, s11, t6 } = reg;

function csrOf(name: string | number): number {
  const number = typeof name === 'number' ? name : csrNumber(name);
  if (number === undefined) throw new RangeError(`no CSR ${name}`);
  return number;
}

export class TrapProgram extends Program {
  #labels = 0;

  /** Starts with hart 0; other harts sleep until something sends them elsewhere, or start at `others`. */
  constructor(options: { others?: string } = {}) {
    super(RAM_PHYS);
    const { t0 } = reg;
    this.op('csrrs', { rd: t0, imm: csrOf('mhartid') }).op('beq', { rs1: t0 }, 'hart0');
    if (options.others === undefined) this.label('sleep').op('wfi').op('jal', {}, 'sleep');
    else this.jump(options.others);
    this.label('hart0');
    this.li(s10, LOG).li(s9, KEPT).la(s11, 'unexpected');
    this.setUp();
    this.op('jal', {}, 'begin');
    this.#handlers();
    // A trap that no inMode() waits for.
    this.label('unexpected').#stop(FINISHER_FAIL);
    this.label('begin');
  }

  /** Trap vectors, PMP's last entry open, floating point on: what every hart needs. Clobbers t0. */
  setUp(): this {
    const { t0 } = reg;
    this.la(t0, 'mtrap').csrw('mtvec', t0);
    this.la(t0, 'strap').csrw('stvec', t0);
    this.li(t0, -1).csrw('pmpaddr15', t0);
    this.li(t0, BigInt(PMP_ALL) << 56n).csrw('pmpcfg2', t0);
    return this.li(t0, MS_FS).csrs('mstatus', t0);
  }

  #handlers(): void {
    const note = (p: string, mode: number): void => {
      this.li(t6, mode).op('sd', { rs1: s10, rs2: t6, imm: 0 });
      [`${p}cause`, `${p}epc`, `${p}tval`, `${p}status`].forEach((name, i) => {
        this.csrr(t6, name).op('sd', { rs1: s10, rs2: t6, imm: 8 + i * 8 });
      });
      this.op('addi', { rd: s10, rs1: s10, imm: 40 });
    };
    this.align(64).label('mtrap');
    // The return to M-mode by the ecall of an S-mode handler is no news.
    this.op('beq', { rs1: s8 }, 'note').op('addi', { rd: s8 }).op('jalr', { rs1: s11 });
    this.label('note');
    note('m', 3);
    this.op('jalr', { rs1: s11 });
    this.align(64).label('strap');
    note('s', 1);
    this.op('addi', { rd: s8, imm: 1 }).op('ecall');
  }

  unique(prefix: string): string {
    return `${prefix}.${this.#labels++}`;
  }

  /** Jumps however far. */
  jump(label: string): this {
    return this.la(t6, label).op('jalr', { rs1: t6 });
  }

  csrr(rd: number, csr: string | number): this {
    return this.op('csrrs', { rd, imm: csrOf(csr) });
  }
  csrw(csr: string | number, rs1: number): this {
    return this.op('csrrw', { rs1, imm: csrOf(csr) });
  }
  csrs(csr: string | number, rs1: number): this {
    return this.op('csrrs', { rs1, imm: csrOf(csr) });
  }
  csrc(csr: string | number, rs1: number): this {
    return this.op('csrrc', { rs1, imm: csrOf(csr) });
  }
  /** Writes a constant; clobbers t6. */
  csrwi(csr: string | number, value: number | bigint): this {
    return this.li(t6, value).csrw(csr, t6);
  }
  csrsi(csr: string | number, value: number | bigint): this {
    return this.li(t6, value).csrs(csr, t6);
  }
  csrci(csr: string | number, value: number | bigint): this {
    return this.li(t6, value).csrc(csr, t6);
  }

  /**
   * Code that runs in a mode and ends with its first trap, which is noted; then the program goes on in M-mode. Code that
   * comes to its end makes an ecall.
   * @param at where to run it, when not in place: a virtual address for the code that the label inside `code` has
   */
  inMode(mode: ModeName, code: (p: this) => void): this {
    const start = this.unique('code');
    const after = this.unique('after');
    this.la(t6, start).enter(mode, t6, after);
    this.label(start);
    code(this);
    this.op('ecall').label(after);
    return this.la(s11, 'unexpected');
  }

  /** Runs what is at an address (in a register) in a mode; the first trap leads to `after`. */
  enter(mode: ModeName, address: number, after: string): this {
    this.csrw('mepc', address);
    this.csrci('mstatus', MPP.M << MS_MPP_SHIFT);
    if (mode !== 'U') this.csrsi('mstatus', MPP[mode] << MS_MPP_SHIFT);
    return this.op('addi', { rd: s8 }).la(s11, after).op('mret');
  }

  /** Runs what is at a virtual address; it must end in a trap. */
  call(mode: ModeName, address: number | bigint): this {
    const after = this.unique('after');
    this.li(t6, address).enter(mode, t6, after).label(after);
    return this.la(s11, 'unexpected');
  }

  /** Notes a register's value. */
  keep(...registers: number[]): this {
    registers.forEach((r, i) => this.op('sd', { rs1: s9, rs2: r, imm: i * 8 }));
    return this.op('addi', { rd: s9, rs1: s9, imm: registers.length * 8 });
  }
  /** Notes a CSR's value; clobbers t6. */
  keepCsr(csr: string | number): this {
    return this.csrr(t6, csr).keep(t6);
  }

  /** Ends the program. */
  end(): this {
    return this.#stop(FINISHER_PASS);
  }

  #stop(code: number): this {
    const { t0 } = reg;
    this.li(t6, COUNTS).op('sd', { rs1: t6, rs2: s10 }).op('sd', { rs1: t6, rs2: s9, imm: 8 });
    this.op('fence');
    this.li(t6, TEST_PHYS).li(t0, code).op('sw', { rs1: t6, rs2: t0 });
    const stop = this.unique('stop');
    return this.label(stop).op('jal', {}, stop);
  }
}

/** Something that shows RAM at guest physical addresses. */
type ReadU64 = (address: number) => bigint;

function collect(read: ReadU64): Result {
  const traps: Trap[] = [];
  for (let at = LOG; at < Number(read(COUNTS)); at += 40) {
    traps.push({
      mode: read(at) === 3n ? 'M' : 'S',
      cause: read(at + 8),
      epc: read(at + 16),
      tval: read(at + 24),
      status: read(at + 32),
    });
  }
  const kept: bigint[] = [];
  for (let at = KEPT; at < Number(read(COUNTS + 8)); at += 8) kept.push(read(at));
  return { traps, kept };
}

/** Runs a program on our harts. RAM that `prepare` fills is kept; the rest is what it was. */
export async function runHere(
  bare: BareMetal,
  program: TrapProgram,
  prepare?: (bare: BareMetal) => void,
  limit?: number,
): Promise<Result> {
  bare.reset();
  bare.load(RAM_PHYS, program.assemble());
  bare.writeU64(COUNTS, 0n);
  prepare?.(bare);
  const value = await bare.run(limit);
  const result = collect((address) => bare.readU64(address));
  if (value !== FINISHER_PASS) throw new Error(`the program ended with 0x${value.toString(16)}${lastTrap(result)}`);
  return result;
}

function lastTrap({ traps }: Result): string {
  const last = traps.at(-1);
  return last === undefined
    ? ''
    : `; cause ${last.cause} at 0x${last.epc.toString(16)}, tval 0x${last.tval.toString(16)}`;
}

const QEMU = 'qemu-system-riscv64';
/** Why programs cannot be run there, or undefined. */
export const whyNoQemuSystem = (): string | undefined =>
  spawnSync(QEMU, ['--version']).status === 0 ? undefined : `${QEMU} is not installed`;

/** Runs a program on qemu-system-riscv64's virt board, with the RAM that our harts would see. */
export function runInQemu(
  bare: BareMetal,
  program: TrapProgram,
  options: { harts?: number; cpu?: string; aia?: AiaKind } = {},
): Result & { ram: Buffer } {
  const folder = mkdtempSync(join(tmpdir(), 'ringside-system-'));
  try {
    const file = join(folder, 'ram');
    const ram = Buffer.from(bare.ram(RAM_PHYS, RAM_SIZE));
    ram.set(program.assemble());
    writeFileSync(file, ram);
    const { status, stderr, signal } = spawnSync(
      QEMU,
      [
        '-M',
        `virt,memory-backend=ram,aia=${options.aia ?? 'none'}`,
        '-object',
        `memory-backend-file,id=ram,size=${RAM_SIZE},mem-path=${file},share=on`,
        '-m',
        `${RAM_SIZE / MIB}M`,
        '-smp',
        String(options.harts ?? 1),
        '-cpu',
        options.cpu ?? 'rv64,svnapot=true,svpbmt=true',
        '-bios',
        'none',
        '-display',
        'none',
        '-serial',
        'none',
        '-monitor',
        'none',
        '-no-reboot',
      ],
      { timeout: 20_000 },
    );
    if (status !== 0) throw new Error(`${QEMU}: status ${status}, signal ${signal}: ${stderr.toString()}`);
    const after = readFileSync(file);
    return { ...collect((address) => after.readBigUInt64LE(address - RAM_PHYS)), ram: after };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
