/**
 * What runs in M-mode under an image on our side: it starts the image, passes over illegal instructions while noting their
 * addresses, lets rt_sigaction succeed, and ends at the first other trap with its cause.
 */
import { CLINT_PHYS, RAM_PHYS, TEST_PHYS } from '../../core/machine/virt-map.ts';
import { csrNumber } from '../../core/cpu/isa/csr-names.ts';
import { Program, X } from '../harness/asm.ts';

/**
 * 'machine': no translation. 'user': U-mode, each page of the image somewhere else in memory, so that what crosses a page
 * boundary really is in two places. 'interrupted': that, with timer interrupts all the time, which the image must not notice.
 */
export type MonitorMode = 'machine' | 'user' | 'interrupted';

/** Most harts that run images in one machine. */
export const MAX_HARTS = 2;
/** What a hart's monitor needs. */
export interface HartArea {
  /** Its code. */
  code: number;
  /** Page tables of its image. */
  tables: number;
  /** Where addresses are noted: their number, then as many doublewords. */
  log: number;
  /** Number of timer interrupts that the image had. */
  interruptions: number;
  /** minstret at the end. */
  retired: number;
}
export function hartArea(hart: number): HartArea {
  const log = RAM_PHYS + 0x100000 + hart * 0x400000;
  return {
    code: RAM_PHYS + hart * 0x4000,
    tables: RAM_PHYS + 0x40000 + hart * 0x40000,
    log,
    interruptions: log - 48,
    retired: log - 40,
  };
}
/** How many harts have come to the end. */
export const ENDED = RAM_PHYS + 0x3f000;
/** Registers in which cause, epc and tval are left at the end. */
export const X_CAUSE = X['s1']!;
export const X_EPC = X['s2']!;
export const X_TVAL = X['s3']!;

/** Registers that the timer's handler uses are kept here; it counts interrupts 16 bytes further. */
const savedAt = (area: HartArea): number => area.interruptions - 16;
const MTIMECMP = CLINT_PHYS + 0x4000;
const MTIME = CLINT_PHYS + 0xbff8;
/** Ticks of 100 ns between interrupts. */
const PERIOD = 300;
const MTIE = 1 << 7;
const CAUSE_ILLEGAL = 2;
const CAUSE_ECALL_U = 8;
const SYS_RT_SIGACTION = 134;
const MS_FS_INITIAL = 1 << 13;
const MS_MPP = 3 << 11;
const ENV_CBZE = 1 << 7;
/** All of memory, read, write and execute. */
const PMP_NAPOT_RWX = 0x1f;
const SATP_SV39 = 8n << 60n;

const { t0, t1, t2, a7 } = X as Record<'t0' | 't1' | 't2' | 'a7', number>;

/** @param harts how many run an image; the last to end ends the program */
export function monitor(entry: number, mode: MonitorMode, hart = 0, harts = 1): Uint8Array {
  const area = hartArea(hart);
  const { tables, log } = area;
  const p = new Program(area.code);
  if (hart === 0) {
    p.op('beq', { rs1: X['a0']! }, 'start');
    p.li(t0, hartArea(1).code).op('jalr', { rs1: t0 });
  }
  p.label('start');
  const write = (csr: string, value: number | bigint): Program =>
    p.li(t0, value).op('csrrw', { rs1: t0, imm: csrNumber(csr)! });
  p.la(t0, 'trap').op('csrrw', { rs1: t0, imm: csrNumber('mtvec')! });
  write('mstatus', MS_FS_INITIAL | (mode === 'machine' ? MS_MPP : 0));
  if (mode !== 'machine') {
    write('pmpaddr0', -1);
    write('pmpcfg0', PMP_NAPOT_RWX);
    write('menvcfg', ENV_CBZE);
    write('senvcfg', ENV_CBZE);
    write('satp', SATP_SV39 | (BigInt(tables) >> 12n));
  }
  if (mode === 'interrupted') {
    write('mscratch', savedAt(area));
    write('mie', MTIE);
    p.li(t0, MTIMECMP + hart * 8).op('sd', { rs1: t0 });
  }
  write('mepc', entry).op('mret');

  p.align(4).label('trap');
  if (mode === 'interrupted') {
    const csr = (rd: number, name: string, rs1: number): Program => p.op('csrrw', { rd, rs1, imm: csrNumber(name)! });
    csr(t0, 'mscratch', t0).op('sd', { rs1: t0, rs2: t1 }).op('sd', { rs1: t0, rs2: t2, imm: 8 });
    p.op('csrrs', { rd: t1, imm: csrNumber('mcause')! }).op('bge', { rs1: t1 }, 'exception');
    p.li(t1, MTIME).op('ld', { rd: t1, rs1: t1 }).op('addi', { rd: t1, rs1: t1, imm: PERIOD });
    p.li(t2, MTIMECMP + hart * 8).op('sd', { rs1: t2, rs2: t1 });
    p.op('ld', { rd: t2, rs1: t0, imm: 16 })
      .op('addi', { rd: t2, rs1: t2, imm: 1 })
      .op('sd', { rs1: t0, rs2: t2, imm: 16 });
    p.op('ld', { rd: t1, rs1: t0 }).op('ld', { rd: t2, rs1: t0, imm: 8 });
    csr(t0, 'mscratch', t0).op('mret');
    // What an exception interrupts does not go on with its registers.
    p.label('exception');
    csr(t0, 'mscratch', t0);
  }
  p.op('csrrs', { rd: X_CAUSE, imm: csrNumber('mcause')! });
  p.op('csrrs', { rd: X_EPC, imm: csrNumber('mepc')! });
  p.op('csrrs', { rd: X_TVAL, imm: csrNumber('mtval')! });
  p.li(t0, CAUSE_ILLEGAL).op('beq', { rs1: X_CAUSE, rs2: t0 }, 'illegal');
  p.li(t0, CAUSE_ECALL_U).op('bne', { rs1: X_CAUSE, rs2: t0 }, 'end');
  p.li(t0, SYS_RT_SIGACTION).op('beq', { rs1: a7, rs2: t0 }, 'skip');
  p.label('end').op('csrrs', { rd: t1, imm: csrNumber('minstret')! });
  p.li(t0, area.retired).op('sd', { rs1: t0, rs2: t1 });
  p.li(t0, ENDED).li(t1, 1).op('amoadd.d', { rd: t1, rs1: t0, rs2: t1, aqrl: 3 });
  p.li(t0, harts - 1).op('bne', { rs1: t1, rs2: t0 }, 'stop');
  p.li(t0, TEST_PHYS).op('sw', { rs1: t0, rs2: X_CAUSE });
  // Asleep, so that nothing more retires while another hart goes on.
  p.label('stop')
    .op('csrrw', { rs1: 0, imm: csrNumber('mie')! })
    .op('wfi')
    .op('jal', {}, 'stop');

  p.label('illegal')
    .li(t0, log)
    .op('ld', { rd: t1, rs1: t0 })
    .op('addi', { rd: t1, rs1: t1, imm: 1 })
    .op('sd', { rs1: t0, rs2: t1 });
  p.op('slli', { rd: t1, rs1: t1, imm: 3 }).op('add', { rd: t0, rs1: t0, rs2: t1 }).op('sd', { rs1: t0, rs2: X_EPC });
  p.label('skip')
    .op('addi', { rd: t2, rs1: X_EPC, imm: 4 })
    .op('csrrw', { rs1: t2, imm: csrNumber('mepc')! })
    .op('mret');
  return p.assemble();
}
