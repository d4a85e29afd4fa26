/** Speed of guest code: instructions a second on a bare-metal program (guest/mips.c). */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchNumbers, runBoard } from '../lib/emulators.ts';
import type { Figure } from '../lib/report.ts';
import { type Context, compile, interleaved } from '../lib/suite.ts';

const guest = (name: string) => fileURLToPath(new URL(`../guest/${name}`, import.meta.url));
/** mtime's unit, seconds. */
const TICK = 1e-7;

export async function mips(context: Context): Promise<Figure[]> {
  const kernel = path.join(context.scratch, 'mips.elf');
  const target = ['-march=rv64gc', '-mabi=lp64d', '-mcmodel=medany', '-O2', '-ffreestanding', '-nostdlib', '-static'];
  compile([...target, '-no-pie', '-Wl,--build-id=none', `-Wl,-T,${guest('mips.ld')}`, guest('mips.c'), '-o', kernel]);

  const seconds = { ours: [] as number[], peer: [] as number[] };
  const checks = new Set<string>();
  let instructions = 0;
  await interleaved(context, 'mips', async (emulator) => {
    const { output } = await runBoard(emulator, { memory: 128, bios: 'none', kernel }, ['bench mips '], 300);
    const numbers = benchNumbers(output);
    seconds[emulator.name].push(numbers.get('ticks')! * TICK);
    checks.add(/check=(\w+)/.exec(output)![1]);
    // QEMU's minstret counts host time; it is the same program, so the number is the same.
    if (emulator.name === 'ours') instructions = numbers.get('instructions')!;
  });
  if (checks.size !== 1) throw new Error(`the machines computed different results: ${[...checks].join(', ')}`);
  const rates = (times: number[]) => times.map((time) => instructions / time / 1e6);
  return [{ name: 'mips', unit: 'MIPS', better: 'more', ours: rates(seconds.ours), peer: rates(seconds.peer) }];
}
