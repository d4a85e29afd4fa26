/** A hart's registers for people, by the names of the manuals. Exact for parked harts. */
import type { HartRegisters } from '../monitor/target.ts';
import * as L from '../worker/layout.ts';
import type { ControlPage } from './control-page.ts';

/** In the order of QEMU's "info registers". */
const CSRS: readonly [string, number][] = [
  ['mstatus', L.H_MSTATUS],
  ['mip', L.H_MIP],
  ['mie', L.H_MIE],
  ['mideleg', L.H_MIDELEG],
  ['medeleg', L.H_MEDELEG],
  ['mtvec', L.H_MTVEC],
  ['stvec', L.H_STVEC],
  ['mepc', L.H_MEPC],
  ['sepc', L.H_SEPC],
  ['mcause', L.H_MCAUSE],
  ['scause', L.H_SCAUSE],
  ['mtval', L.H_MTVAL],
  ['stval', L.H_STVAL],
  ['mscratch', L.H_MSCRATCH],
  ['sscratch', L.H_SSCRATCH],
  ['satp', L.H_SATP],
];

const REGISTERS = 32;

export function hartRegisters(control: ControlPage, index: number): HartRegisters {
  const block = control.hart(index);
  const word = (offset: number): bigint => control.getU64(block + offset);
  const bank = (offset: number): bigint[] => Array.from({ length: REGISTERS }, (_, i) => word(offset + i * 8));
  const csrs = new Map<string, bigint>([['mhartid', BigInt(index)]]);
  for (const [name, offset] of CSRS) csrs.set(name, word(offset));
  // Lines of the interrupt controllers and timers are kept apart from what software writes.
  csrs.set('mip', csrs.get('mip')! | BigInt(control.load(block + L.H_IRQ) >>> 0));
  return {
    pc: word(L.H_PC),
    privilege: control.load(block + L.H_PRIV),
    csrs,
    x: bank(L.H_X),
    f: bank(L.H_F),
  };
}
