/** What the guest's programs get of the CPU: a row for each kind of work (guest/cpu), in the Debian guest. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Board, type Emulator, benchChecks, benchNumbers, runBoard } from '../lib/emulators.ts';
import type { Figure } from '../lib/report.ts';
import { type Context, compile, initrdWith, interleaved } from '../lib/suite.ts';

interface Row {
  name: string;
  unit: string;
  better: Figure['better'];
}

const INIT = 'Run /init as init process';
const BEGAN = 'bench began=';
const ENDED = 'bench ended=';
/** Seconds for a board, for a machine twenty times slower than the peer. */
const LIMIT = 900;

/** Those but the last two are rows of the guest's program. */
export const CPU_ROWS: readonly Row[] = [
  { name: 'integer', unit: 's', better: 'less' },
  { name: 'calls', unit: 'Mcall/s', better: 'more' },
  { name: 'indirect-calls', unit: 's', better: 'less' },
  { name: 'fp-double', unit: 's', better: 'less' },
  { name: 'pointer-chase', unit: 'ns', better: 'less' },
  { name: 'memcpy', unit: 'GB/s', better: 'more' },
  { name: 'syscall', unit: 'ns', better: 'less' },
  { name: 'page-fault', unit: 'ns', better: 'less' },
  { name: 'pipe', unit: 'us', better: 'less' },
  { name: 'fork-exec', unit: 'ms', better: 'less' },
  { name: 'gzip-sha256', unit: 's', better: 'less' },
  { name: 'boot', unit: 's', better: 'less' },
  { name: 'smp2', unit: 'x', better: 'more' },
];

/**
 * Whether seconds between two lines on the console are the same for the guest as for its host: figures by a clock that is
 * not right would be worth nothing. A line takes its time to get out on a busy host.
 */
export function clocksAgree(host: number, guest: number): boolean {
  return Math.abs(host - guest) < 0.5 + 0.02 * host;
}

const SOURCES = ['main.c', 'integer.c', 'calls.c', 'fp.c', 'memory.c', 'kernel.c', 'gzip.c'];

export async function cpu(context: Context): Promise<Figure[]> {
  const wanted = CPU_ROWS.filter(({ name }) => context.only.length === 0 || context.only.includes(name));
  const figures = new Map(wanted.map((row): [string, Figure] => [row.name, { ...row, ours: [], peer: [] }]));
  // Two harts are compared with what one of them did in the other machine of the same sample.
  const programRows = wanted.map(({ name }) => name).filter((name) => name !== 'boot' && name !== 'smp2');
  if (figures.has('smp2') && !figures.has('integer')) programRows.unshift('integer');
  const board = await makeBoard(context);
  const checks = new Map<string, string>();

  /** Boots once and runs rows of the program. */
  async function run(emulator: Emulator, names: readonly string[], harts: number) {
    const append = `${board.append} ringside.exec="/bench/run ${names.join(' ')}"`;
    const result = await runBoard(emulator, { ...board, harts, append }, [INIT, BEGAN, ENDED], LIMIT);
    const numbers = benchNumbers(result.output);
    const [host, guest] = [
      result.seconds.get(ENDED)! - result.seconds.get(BEGAN)!,
      numbers.get('ended')! - numbers.get('began')!,
    ];
    if (!clocksAgree(host, guest)) {
      throw new Error(`${emulator.name}: the guest's clock counted ${guest} s where ${host} s had passed`);
    }
    const found = benchChecks(result.output);
    for (const name of names) {
      const check = found.get(name);
      if (check === undefined || !numbers.has(name)) {
        throw new Error(`${emulator.name}: no figure for ${name}:\n${result.output.slice(-2000)}`);
      }
      const before = checks.get(name);
      if (before !== undefined && before !== check) {
        throw new Error(`${name}: results differ: ${emulator.name} computed ${check}, an earlier run ${before}`);
      }
      checks.set(name, check);
    }
    return { numbers, boot: result.seconds.get(INIT)! };
  }

  await interleaved(context, 'cpu', async (emulator) => {
    const one = await run(emulator, programRows, 1);
    for (const name of programRows) figures.get(name)?.[emulator.name].push(one.numbers.get(name)!);
    figures.get('boot')?.[emulator.name].push(one.boot);
    if (context.parts) addParts(figures, programRows, emulator, one.numbers);
    if (!figures.has('smp2')) return;
    const two = await run(emulator, ['smp2'], 2);
    const speedUp = (2 * one.numbers.get('integer.total')!) / two.numbers.get('smp2')!;
    figures.get('smp2')![emulator.name].push(speedUp);
  });
  return [...figures.values()];
}

/** Adds the times of a row's parts, behind the rows. */
function addParts(
  figures: Map<string, Figure>,
  rows: readonly string[],
  emulator: Emulator,
  numbers: ReadonlyMap<string, number>,
): void {
  for (const [name, seconds] of numbers) {
    const [row, part] = name.split('.');
    if (part === undefined || part === 'total' || !rows.includes(row) || !figures.has(row)) continue;
    const figure = figures.get(name) ?? { name, unit: 's', better: 'less', ours: [], peer: [] };
    figures.set(name, figure);
    figure[emulator.name].push(seconds);
  }
}

/** The Debian guest with our programs in /bench. */
async function makeBoard(context: Context): Promise<Board> {
  const { kernel, initrd, append } = await context.guest();
  const source = (name: string) => fileURLToPath(new URL(`../guest/cpu/${name}`, import.meta.url));
  const built = (name: string, args: string[]) => {
    const file = path.join(context.scratch, name);
    compile(['-O2', '-static', ...args, '-o', file]);
    return { type: 'file' as const, name: `bench/${name}`, data: readFileSync(file), mode: 0o755 };
  };
  const files = [
    { type: 'directory' as const, name: 'bench', mode: 0o755 },
    { type: 'file' as const, name: 'bench/run', data: readFileSync(source('run.sh')), mode: 0o755 },
    built('cpu', ['-pthread', ...SOURCES.map(source), '-lm']),
    built('nothing', ['-nostdlib', source('nothing.c')]),
  ];
  return { memory: 1024, bios: 'default', kernel, initrd: initrdWith(context, initrd, files), append };
}
