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

/** Where addresses are noted: their number, then as many doublewords. */
export const LOG = RAM_PHYS + 0x100000;
/** Number of timer interrupts that an image had. */
export const INTERRUPTIONS = LOG - 48;
/** Registers in which cause, epc and tval are left at the end. */
export const X_CAUSE = X['s1']!;
export const X_EPC = X['s2']!;
export const X_TVAL = X['s3']!;

/** Registers that the timer's handler uses are kept here. */
const SAVED = LOG - 64;
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

export function monitor(entry: number, mode: MonitorMode, tables: number): Uint8Array {
  const p = new Program(RAM_PHYS);
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
    write('mscratch', SAVED);
    write('mie', MTIE);
    p.li(t0, MTIMECMP).op('sd', { rs1: t0 });
  }
  write('mepc', entry).op('mret');

  p.align(4).label('trap');
  if (mode === 'interrupted') {
    const csr = (rd: number, name: string, rs1: number): Program => p.op('csrrw', { rd, rs1, imm: csrNumber(name)! });
    csr(t0, 'mscratch', t0).op('sd', { rs1: t0, rs2: t1 }).op('sd', { rs1: t0, rs2: t2, imm: 8 });
    p.op('csrrs', { rd: t1, imm: csrNumber('mcause')! }).op('bge', { rs1: t1 }, 'exception');
    p.li(t1, MTIME).op('ld', { rd: t1, rs1: t1 }).op('addi', { rd: t1, rs1: t1, imm: PERIOD });
    p.li(t2, MTIMECMP).op('sd', { rs1: t2, rs2: t1 });
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
  p.label('end').li(t0, TEST_PHYS).op('sw', { rs1: t0, rs2: X_CAUSE });
  p.label('stop').op('jal', {}, 'stop');

  p.label('illegal')
    .li(t0, LOG)
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
