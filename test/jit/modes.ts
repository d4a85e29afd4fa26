/** Bare-metal programs that must do the same whether they are interpreted or translated. */
import { csrNumber } from '../../core/cpu/isa/csr-names.ts';
import { CLINT_PHYS, RAM_PHYS, TEST_PHYS } from '../../core/machine/virt-map.ts';
import { Program, X } from '../harness/asm.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import type { BareMetalOptions } from '../harness/bare-metal.ts';

export const COLD: BareMetalOptions = { accel: 'interp' };
/** Whatever is jumped to is translated before it is executed, with what follows it. */
export const HOT: BareMetalOptions = { accel: 'jit', jit: { threshold: 1, eager: true, synchronous: true } };
/** What has been executed is translated when it is jumped to again: regions are cut where nothing has gone before. */
export const LAZY: BareMetalOptions = { accel: 'jit', jit: { threshold: 2, synchronous: true } };
/** As a machine does it, only sooner. */
export const WARM: BareMetalOptions = { accel: 'jit', jit: { threshold: 20 } };
export const MODES = { interpreted: COLD, 'translated at once': HOT, 'translated when executed': LAZY, warm: WARM };

/** Where programs write what is compared. */
export const LOG = RAM_PHYS + 0x400000;
export const LOG_SIZE = 0x400000;
/** Free for programs. */
export const DATA = RAM_PHYS + 0x800000;
export const PASS = 0x5555;
export const MSIP = CLINT_PHYS;
export const MTIMECMP = CLINT_PHYS + 0x4000;
export const MTIME = CLINT_PHYS + 0xbff8;

export const reg = X as Readonly<Record<string, number>> &
  Readonly<Record<'ra' | 'sp' | 't0' | 't1' | 't2' | 't3' | 't4' | 't5' | 't6', number>> &
  Readonly<Record<'a0' | 'a1' | 'a2' | 'a3' | 'a4' | 'a5' | 'a6' | 'a7', number>> &
  Readonly<Record<'s0' | 's1' | 's2' | 's3' | 's4' | 's5' | 's6' | 's7' | 's8' | 's9' | 's10' | 's11', number>>;

/** A program that begins in M-mode at the start of RAM with a0 = hart id. */
export class Code extends Program {
  constructor(origin = RAM_PHYS) {
    super(origin);
  }
  csrr(rd: number, name: string): this {
    return this.op('csrrs', { rd, imm: csrNumber(name)! });
  }
  csrw(name: string, rs1: number): this {
    return this.op('csrrw', { rs1, imm: csrNumber(name)! });
  }
  csrs(name: string, rs1: number): this {
    return this.op('csrrs', { rs1, imm: csrNumber(name)! });
  }
  csrc(name: string, rs1: number): this {
    return this.op('csrrc', { rs1, imm: csrNumber(name)! });
  }
  /** Writes a constant, by way of t0. */
  csrwi(name: string, value: number | bigint): this {
    return this.li(reg.t0, value).csrw(name, reg.t0);
  }
  mv(rd: number, rs1: number): this {
    return this.op('addi', { rd, rs1 });
  }
  jump(label: string): this {
    return this.op('jal', {}, label);
  }
  call(label: string): this {
    return this.op('jal', { rd: reg.ra }, label);
  }
  callAt(rs1: number): this {
    return this.op('jalr', { rd: reg.ra, rs1 });
  }
  ret(): this {
    return this.op('jalr', { rs1: reg.ra });
  }
  /** Appends registers to the log at s11. */
  note(...registers: number[]): this {
    registers.forEach((rs2, i) => this.op('sd', { rs1: reg.s11, rs2, imm: i * 8 }));
    return this.op('addi', { rd: reg.s11, rs1: reg.s11, imm: registers.length * 8 });
  }
  /** Floating point on, all of memory open to other modes, traps to the label `trap` if there is to be one. */
  setUp(trap?: string): this {
    this.li(reg.t0, 3 << 13).csrs('mstatus', reg.t0);
    this.csrwi('pmpaddr0', -1).csrwi('pmpcfg0', 0x1f);
    if (trap !== undefined) this.la(reg.t0, trap).csrw('mtvec', reg.t0);
    return this.li(reg.s11, LOG);
  }
  /** Goes on in a mode (0, 1, 3) at the next instruction. */
  to(mode: 0 | 1): this {
    const here = `mode ${this.here}`;
    this.li(reg.t0, 3 << 11).csrc('mstatus', reg.t0);
    this.li(reg.t0, mode << 11).csrs('mstatus', reg.t0);
    return this.la(reg.t0, here).csrw('mepc', reg.t0).op('mret').label(here);
  }
  /** Ends the program with what is in a register, or PASS. Other modes than M and memory that is not mapped cannot. */
  finish(value?: number): this {
    if (value === undefined) this.li(reg.t1, PASS);
    else this.mv(reg.t1, value);
    this.li(reg.t0, TEST_PHYS).op('fence').op('sw', { rs1: reg.t0, rs2: reg.t1 });
    const stop = `stop ${this.here}`;
    return this.label(stop).op('wfi').jump(stop);
  }
}

export interface Run {
  value: number;
  log: bigint[];
  /** What was asked for. */
  data: bigint[];
  /** Instructions retired in regions. */
  translated: number;
  flushes: number;
}

export interface RunOptions {
  options: BareMetalOptions;
  harts?: number;
  /** Fills memory. */
  prepare?: (bare: BareMetal) => void;
  /** ms. */
  limit?: number;
  /** Doublewords of the log. */
  words?: number;
  /** Other memory to be looked at: guest physical address, doublewords. */
  data?: [number, number];
}

export async function run(
  program: Program,
  { options, harts = 1, prepare, limit = 30_000, words = 4096, data = [LOG, 0] }: RunOptions,
): Promise<Run> {
  await using bare = await BareMetal.create({ ...options, harts });
  bare.load(program.origin, program.assemble());
  prepare?.(bare);
  const value = await bare.run(limit);
  if (bare.messages.length > 0) throw new Error(bare.messages.join('; '));
  const log = Array.from({ length: words }, (_, i) => bare.readU64(LOG + i * 8));
  const statistics = bare.statistics();
  return {
    value,
    log,
    data: Array.from({ length: data[1] }, (_, i) => bare.readU64(data[0] + i * 8)),
    translated: statistics?.harts.reduce((sum, hart) => sum + hart.retired, 0) ?? 0,
    flushes: statistics?.flushes ?? 0,
  };
}

/** Where two logs differ first, as text; null when nowhere. */
export function firstDifference(a: readonly bigint[], b: readonly bigint[], record = 1): string | null {
  const at = a.findIndex((value, i) => value !== b[i]);
  if (at < 0) return null;
  return `word ${at % record} of record ${Math.floor(at / record)}: 0x${a[at]!.toString(16)} and 0x${b[at]!.toString(16)}`;
}
