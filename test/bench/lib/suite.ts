/** What a suite is given, and how it takes its samples. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type CpioEntry, writeCpio } from '../../../main/guests/archive/cpio.ts';
import { type Emulator, OURS, PEER } from './emulators.ts';
import type { Figure } from './report.ts';

export interface Context {
  /** Samples to take of each. */
  samples: number;
  /** Whether qemu-system-riscv64 is there to compare with. */
  peer: boolean;
  /** Rows to measure, all of them when empty. For suites whose rows can be had one by one. */
  only: readonly string[];
  /** Whether the parts of a row are rows too. */
  parts: boolean;
  /** A folder that is deleted afterwards. */
  scratch: string;
  guest(): Promise<{ kernel: string; initrd: string; append: string }>;
  /** Says what is going on. */
  progress(message: string): void;
}

export type Suite = (context: Context) => Promise<Figure[]>;

/** Takes samples by turns, so that whatever else the host does hits both alike. */
export async function interleaved(
  { samples, peer, progress }: Context,
  what: string,
  sample: (emulator: Emulator) => Promise<void>,
): Promise<void> {
  for (let i = 1; i <= samples; i++) {
    for (const emulator of peer ? [OURS, PEER] : [OURS]) {
      progress(`${what}: ${emulator.name} ${i}/${samples}`);
      await sample(emulator);
    }
  }
}

export const CROSS_COMPILER = 'riscv64-linux-gnu-gcc';

export function compile(args: string[]): void {
  const done = spawnSync(CROSS_COMPILER, args, { encoding: 'utf8' });
  if (done.error)
    throw new Error(`${CROSS_COMPILER} is not installed (apt install gcc-riscv64-linux-gnu libc6-dev-riscv64-cross)`);
  if (done.status !== 0) throw new Error(`${CROSS_COMPILER} failed:\n${done.stderr}`);
}

/** Writes an initrd with files of ours behind another one's, and gives its path: the kernel unpacks them in that order. */
export function initrdWith(context: Context, base: string, files: readonly CpioEntry[]): string {
  const initrd = path.join(context.scratch, 'initrd');
  writeFileSync(initrd, Buffer.concat([readFileSync(base), writeCpio(files)]));
  return initrd;
}
