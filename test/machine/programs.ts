/** Bare-metal guests: a few instructions that keep harts busy, for when no operating system is needed. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RAM_PHYS, RTC_PHYS, UART_PHYS } from '../../core/machine/virt-map.ts';
import { Program, X } from '../harness/asm.ts';

/** Loops between two dots of hart 0. */
const LOOPS = 2 ** 18;

/**
 * All harts count without end; hart 0 writes a dot to the UART now and then.
 * @param what 'counting': nothing else. 'asking': each round reads the RTC, which the control thread serves.
 */
export function busyProgram(what: 'counting' | 'asking'): Uint8Array {
  const { a0, t0, t1, t2, s0, s1, zero } = X;
  const loops = what === 'counting' ? LOOPS : 64;
  const program = new Program(RAM_PHYS).li(s0, UART_PHYS).li(s1, RTC_PHYS).li(t2, '.'.charCodeAt(0));
  program.label('round').li(t0, loops);
  program.label('loop');
  if (what === 'asking') program.op('lw', { rd: t1, rs1: s1 });
  program.op('addi', { rd: t0, rs1: t0, imm: -1 }).op('bne', { rs1: t0, rs2: zero }, 'loop');
  program.op('bne', { rs1: a0, rs2: zero }, 'round');
  program.op('sb', { rs1: s0, rs2: t2 }).op('jal', { rd: zero }, 'round');
  return program.assemble();
}

/** A file that `-bios none` starts. */
export function kernelFile(folder: string, name: string, program: Uint8Array): string {
  const file = join(folder, name);
  writeFileSync(file, program);
  return file;
}
