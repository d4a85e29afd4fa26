/** The disk as the guest sees it: requests and bytes a second of a program in the guest (guest/blk.c). */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchNumbers, runBoard } from '../lib/emulators.ts';
import type { Figure } from '../lib/report.ts';
import { type Context, compile, initrdWith, interleaved } from '../lib/suite.ts';

const MIB = 2 ** 20;
const DISK_MIB = 256;
/** Seconds a pattern. */
const DURATION = 2;

const PATTERNS = [
  { name: 'guest-4k-qd1', unit: 'IOPS' },
  { name: 'guest-4k-qd32', unit: 'IOPS' },
  { name: 'randwrite-4k-qd1', unit: 'IOPS' },
  { name: 'guest-1m-qd4', unit: 'MiB/s' },
  { name: 'read-1m', unit: 'MiB/s' },
  { name: 'write-1m', unit: 'MiB/s' },
];

export async function blk(context: Context): Promise<Figure[]> {
  const { kernel, initrd: base, append } = await context.guest();
  const program = path.join(context.scratch, 'blk');
  compile(['-O2', '-static', '-pthread', fileURLToPath(new URL('../guest/blk.c', import.meta.url)), '-o', program]);
  const initrd = initrdWith(context, base, [
    { type: 'file', name: 'bench-blk', data: readFileSync(program), mode: 0o755 },
  ]);
  const disk = path.join(context.scratch, 'disk.raw');
  writeFileSync(disk, Buffer.alloc(DISK_MIB * MIB, 0x5a));

  const board = {
    memory: 1024,
    bios: 'default' as const,
    kernel,
    initrd,
    append: `${append} ringside.exec="/bench-blk /dev/vda ${DURATION}"`,
    disk,
  };
  const figures = PATTERNS.map(({ name, unit }): Figure => ({
    name: `blk-${name}`,
    unit,
    better: 'more',
    ours: [],
    peer: [],
  }));
  await interleaved(context, 'blk', async (emulator) => {
    const { output } = await runBoard(emulator, board, [`bench ${PATTERNS.at(-1)!.name}=`], 300);
    const numbers = benchNumbers(output);
    figures.forEach((figure, i) => figure[emulator.name].push(numbers.get(PATTERNS[i].name)!));
  });
  return figures;
}
