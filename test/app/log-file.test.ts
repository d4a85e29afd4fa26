/** The log's files: order, bounds, and what hostile text can do in them. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LogFile } from '../../main/app/log-file.ts';

let folder: string;
beforeEach(async () => {
  folder = path.join(await mkdtemp(path.join(tmpdir(), 'ringside-log-')), 'logs');
});
afterEach(() => rm(path.dirname(folder), { recursive: true, force: true }));

const entry = (text: string, vm: string | null = null) => ({ time: 0, level: 'info' as const, vm, text });
const read = (name = 'ringside.log') => readFile(path.join(folder, name), 'utf8');

test('entries are lines, in order, for the owner only', async () => {
  const log = new LogFile(folder);
  for (let number = 0; number < 100; number++) log.add(entry(`number ${number}`));
  await log.flush();
  log.add(entry('later', 'a-vm'));
  await log.flush();
  const lines = (await read()).trimEnd().split('\n');
  expect(lines).toHaveLength(101);
  expect(lines[7]).toBe('1970-01-01T00:00:00.000Z info number 7');
  expect(lines[100]).toBe('1970-01-01T00:00:00.000Z info [a-vm] later');
  expect((await stat(path.join(folder, 'ringside.log'))).mode & 0o777).toBe(0o600);
});

test('text with line ends and escape sequences stays one harmless line', async () => {
  const log = new LogFile(folder);
  log.add(entry('a\nb\x1b[2Jc\u009bd\u007f'));
  await log.flush();
  expect(await read()).toBe('1970-01-01T00:00:00.000Z info a\\nb\\u001b[2Jc\\u009bd\\u007f\n');
});

test('files are put aside when they are full, and only so many are kept', async () => {
  const log = new LogFile(folder, { size: 200, kept: 2 });
  for (let number = 0; number < 20; number++) {
    log.add(entry(`${number} ${'x'.repeat(60)}`));
    await log.flush();
  }
  expect((await readdir(folder)).sort()).toEqual(['ringside.1.log', 'ringside.2.log', 'ringside.log']);
  expect(await read()).toContain(' 19 x');
  expect(await read('ringside.1.log')).toContain(' 17 x');
  // A new process goes on with the file that is there.
  const next = new LogFile(folder, { size: 200, kept: 2 });
  next.add(entry('from the next'));
  await next.flush();
  expect(await read()).toMatch(/ 19 x+\n.*from the next/);
});

test('more than may wait is dropped, and how much is said', async () => {
  const log = new LogFile(folder, { waiting: 500 });
  for (let number = 0; number < 100; number++) log.add(entry(`number ${number}`));
  await log.flush();
  const lines = (await read()).trimEnd().split('\n');
  expect(lines.at(-1)).toBe(`${lines.at(-1)!.split(' ')[0]} warning ${100 - (lines.length - 1)} entries were dropped`);
});

test('a folder that cannot be made is no reason to fail, and is tried again', async () => {
  await writeFile(folder, 'a file is in the way');
  const log = new LogFile(folder);
  log.add(entry('lost'));
  await log.flush();
  await rm(folder);
  log.add(entry('kept'));
  await log.flush();
  expect(await read()).toContain('kept');
});
