#!/usr/bin/env node
/**
 * `npm test`: set-up, then every check of the sources, then the tests. The last line is the count of all of them.
 * `npm test -- FILTER...` runs only the tests whose file matches, without the checks.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { run } from './lib/processes.mjs';
import { SetupError, inProject, say } from './lib/project.mjs';
import { setUp } from './setup.mjs';

/** Folders that dependency-cruiser looks at. */
const SOURCES = ['core', 'main', 'native', 'renderer', 'test'].filter((folder) => existsSync(inProject(folder)));

/** Programs of the dependencies, by the file that node runs. */
const CHECKS = [
  { name: 'prettier', program: 'prettier/bin/prettier.cjs', args: ['--check', '--log-level', 'warn', '.'] },
  { name: 'eslint', program: 'eslint/bin/eslint.js', args: ['--max-warnings', '0', '.'] },
  { name: 'tsc', program: 'typescript/bin/tsc', args: ['-p', 'tsconfig.json'] },
  {
    name: 'svelte-check',
    program: 'svelte-check/bin/svelte-check',
    args: ['--workspace', 'renderer', '--tsconfig', 'tsconfig.json', '--fail-on-warnings', '--output', 'human'],
  },
  {
    name: 'dependency-cruiser',
    program: 'dependency-cruiser/bin/dependency-cruise.mjs',
    args: ['--config', '.dependency-cruiser.mjs', ...SOURCES],
  },
];

const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

const total = { passed: 0, failed: 0, skipped: 0 };
const skips = [];

async function check(node, { name, program, args }) {
  const began = Date.now();
  const { status, output } = await run(node, [inProject('node_modules', program), ...args], {
    env: { FORCE_COLOR: undefined, NO_COLOR: '1' },
  });
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds(began)})`);
  if (status === 0) total.passed++;
  else {
    total.failed++;
    console.log(stripVTControlCharacters(output).trimEnd());
  }
}

async function tests(node, filters) {
  const results = inProject('test', 'out', `results.${process.pid}.json`);
  mkdirSync(path.dirname(results), { recursive: true });
  const vitest = inProject('node_modules', 'vitest', 'vitest.mjs');
  const reporter = inProject('main', 'bin', 'lib', 'vitest-reporter.mjs');
  const args = [vitest, 'run', '--reporter=default', `--reporter=${reporter}`, ...filters];
  const { status } = await run(node, args, { show: true, env: { RINGSIDE_TEST_RESULTS: results } });
  let summary;
  try {
    summary = JSON.parse(readFileSync(results, 'utf8'));
  } catch {
    console.log(`FAILED vitest ended with status ${status} and no results`);
    total.failed++;
    return;
  } finally {
    rmSync(results, { force: true });
  }
  total.passed += summary.passed;
  total.failed += summary.failed;
  total.skipped += summary.skipped;
  // Whatever vitest counts as a failure is one, also when no single test is to blame.
  if (status !== 0 && summary.failed === 0) total.failed++;
  for (const [reason, count] of Object.entries(summary.skips)) skips.push(`${count} x ${reason}`);
}

const filters = process.argv.slice(2);
let node;
try {
  node = await setUp();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  console.log('0 passed, 1 failed, 0 skipped');
  process.exit(1);
}
if (filters.length === 0) for (const one of CHECKS) await check(node, one);
await tests(node, filters);
if (skips.length > 0) console.log(`Skipped:\n${skips.map((line) => `  ${line}`).join('\n')}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 ? 0 : 1;
