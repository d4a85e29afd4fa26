/**
 * `npm run bench -- [SUITE...] [OPTION...]`: our figures beside those of qemu-system-riscv64, where that is installed.
 * BENCHMARKS.md has the options.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { errorLine } from '../../core/errors.ts';
import { progressPrinter } from '../../main/cli/progress.ts';
import { fetchGuest } from '../../main/guests/index.ts';
import { peerVersion } from './lib/emulators.ts';
import { MARKDOWN_HEAD, TABLE_HEAD, lineOf, markdownLine, tableLine } from './lib/report.ts';
import type { Context, Suite } from './lib/suite.ts';
import { BLK_ROWS, blk } from './suites/blk.ts';
import { boot } from './suites/boot.ts';
import { CPU_ROWS, cpu } from './suites/cpu.ts';
import { inspect } from './suites/inspect.ts';
import { mips } from './suites/mips.ts';

/** By name. The rows of a suite are those that can be had one by one. */
const SUITES: Record<string, { run: Suite; rows: readonly string[] }> = {
  cpu: { run: cpu, rows: CPU_ROWS.map(({ name }) => name) },
  mips: { run: mips, rows: [] },
  boot: { run: boot, rows: [] },
  blk: { run: blk, rows: BLK_ROWS },
  inspect: { run: inspect, rows: [] },
};
const USAGE =
  `usage: npm run bench -- [${Object.keys(SUITES).join('|')}]... [--json|--markdown] [--samples N] [--no-peer]\n` +
  '       [--only ROW[,ROW...]] [--parts] [--kernel FILE --initrd FILE]';

function usage(problem: string): never {
  process.stderr.write(`bench: ${problem}\n${USAGE}\n`);
  process.exit(1);
}

function readArguments() {
  const options = {
    json: { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
    samples: { type: 'string', default: '5' },
    'no-peer': { type: 'boolean', default: false },
    only: { type: 'string' },
    parts: { type: 'boolean', default: false },
    kernel: { type: 'string' },
    initrd: { type: 'string' },
  } as const;
  try {
    return parseArgs({ args: process.argv.slice(2), options, allowPositionals: true });
  } catch (error) {
    return usage(errorLine(error));
  }
}

const { values, positionals } = readArguments();
const unknown = positionals.find((name) => !Object.hasOwn(SUITES, name));
if (unknown !== undefined) usage(`there is no suite "${unknown}"`);
const only = values.only?.split(',') ?? [];
const hasRow = (name: string, row: string): boolean => SUITES[name].rows.includes(row);
// Those that are named, or that have the rows that are, or all.
const suites =
  positionals.length > 0
    ? positionals
    : Object.keys(SUITES).filter((name) => only.length === 0 || only.some((row) => hasRow(name, row)));
const unknownRow = only.find((row) => !suites.some((name) => hasRow(name, row)));
if (unknownRow !== undefined) {
  const named = positionals.length > 0 ? positionals : Object.keys(SUITES);
  const rows = named.flatMap((name) => SUITES[name].rows);
  usage(`there is no row "${unknownRow}"${rows.length > 0 ? `, but ${rows.join(', ')}` : ' to be had by itself'}`);
}
const samples = Number(values.samples);
if (!Number.isInteger(samples) || samples < 1) usage(`--samples is a number above 0, not "${values.samples}"`);
if (values.json && values.markdown) usage('--json and --markdown do not go together');
if ((values.kernel === undefined) !== (values.initrd === undefined)) usage('--kernel and --initrd go together');

const peer = values['no-peer'] ? null : peerVersion();
const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: import.meta.dirname, encoding: 'utf8' });
const versions: Record<string, string> = {
  ringside: [manifest.version, commit.stdout?.trim()].filter(Boolean).join('+'),
  node: process.versions.node,
  v8: process.versions.v8,
  host: `${cpus()[0]?.model.trim() ?? process.arch}, ${cpus().length} CPUs`,
};
if (peer !== null) versions.qemu = peer;
else if (!values['no-peer'])
  process.stderr.write('bench: qemu-system-riscv64 is not installed, so there is nothing to compare with\n');

const scratch = mkdtempSync(path.join(tmpdir(), 'ringside-bench-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const printer = progressPrinter(process.stderr);

const context: Context = {
  samples,
  peer: peer !== null,
  only,
  parts: values.parts,
  scratch,
  progress: (message) => printer.show({ message }),
  async guest() {
    if (values.kernel !== undefined && values.initrd !== undefined) {
      return { kernel: path.resolve(values.kernel), initrd: path.resolve(values.initrd), append: 'console=ttyS0' };
    }
    const files = await fetchGuest('debian', { onProgress: printer.show });
    versions.guest = files.version;
    return files;
  },
};

const format = values.json ? JSON.stringify : values.markdown ? markdownLine : tableLine;
if (!values.json) process.stdout.write(`${values.markdown ? MARKDOWN_HEAD : TABLE_HEAD}\n`);
for (const name of suites) {
  try {
    const figures = await SUITES[name].run(context);
    printer.end();
    for (const figure of figures) {
      process.stdout.write(`${format(lineOf(figure, versions))}\n`);
    }
  } catch (error) {
    printer.end();
    process.stderr.write(`bench: ${name}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
