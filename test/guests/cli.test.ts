/** `ringside guest` as a program: what it prints where, and with which status. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { guestInfo } from '../../main/guests/index.ts';
import { FakeMirror, makeKey } from './doubles/mirror.ts';

let cacheDir: string;

beforeEach(() => {
  cacheDir = mkdtempSync(join(tmpdir(), 'ringside-guest-cli-'));
});
afterEach(() => rmSync(cacheDir, { recursive: true, force: true }));

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

function ringside(
  args: string[],
  options: { env?: Record<string, string>; interruptOn?: string } = {},
): Promise<Ended> {
  const main = join(import.meta.dirname, '../../main/cli/main.ts');
  const child = spawn(process.execPath, [main, 'guest', ...args], {
    env: { ...process.env, RINGSIDE_CACHE: cacheDir, ...options.env },
  });
  let interrupt = options.interruptOn;
  const ended: Ended = { status: null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (ended.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => {
    ended.stderr += chunk.toString();
    if (interrupt !== undefined && ended.stderr.includes(interrupt)) {
      interrupt = undefined;
      child.kill('SIGINT');
    }
  });
  return new Promise((resolve) => child.once('close', (status) => resolve({ ...ended, status })));
}

test('list is for people, and with --json for programs', async () => {
  const text = await ringside(['list']);
  expect(text).toMatchObject({ status: 0, stderr: '' });
  expect(text.stdout).toMatch(/^debian +Debian 13 .*not here: about \d+ MiB to download/);
  const json = await ringside(['list', '--json']);
  expect(
    z
      .array(guestInfo)
      .parse(JSON.parse(json.stdout))
      .map(({ id }) => id),
  ).toEqual(['debian', 'debian-installer']);
});

test('help goes to stdout when it is asked for', async () => {
  expect(await ringside(['help'])).toMatchObject({ status: 0, stderr: '' });
  expect((await ringside(['fetch', '--help'])).stdout).toContain('--mirror URL');
  expect(await ringside([])).toMatchObject({ status: 1, stdout: '' });
});

test.each([
  [['fetch'], 'say which guest'],
  [['fetch', 'debain'], 'the catalogue has: debian, debian-installer'],
  [['fetch', '--mirror', 'ftp://x.test/', 'debian'], 'is not an http or https address'],
  [['fetch', '--miror', 'x', 'debian'], "Unknown option '--miror'"],
  [['remove', '--json', 'debian'], '--json is not for this action'],
  [['list', 'debian'], 'unexpected "debian"'],
  [['lsit'], 'did you mean list?'],
])('%j is one line that says what to do', async (args, message) => {
  const { status, stdout, stderr } = await ringside(args);
  expect(stderr).toMatch(/^ringside: [^\n]+\n$/);
  expect(stderr).toContain(message);
  expect([status, stdout]).toEqual([1, '']);
});

test('remove says whether there was anything', async () => {
  expect(await ringside(['remove', 'debian'])).toEqual({
    status: 0,
    stdout: '',
    stderr: 'ringside: debian was not here\n',
  });
});

describe('fetch from a mirror that is not Debian', () => {
  let mirror: FakeMirror;

  beforeEach(async () => {
    mirror = await FakeMirror.start(await makeKey('nobody'));
    await mirror.publish();
  });
  afterEach(() => mirror.close());

  test('is refused', async () => {
    const { status, stdout, stderr } = await ringside(['fetch', 'debian'], {
      env: { RINGSIDE_MIRROR: mirror.address },
    });
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr.trim().split('\n').at(-1)).toMatch(/^ringside: .*is not signed with Debian's archive key; choose/);
  });

  test('can be interrupted', async () => {
    mirror.intercept = () => true;
    const { status, stderr } = await ringside(['fetch', '--mirror', mirror.address, 'debian'], {
      interruptOn: 'asking',
    });
    expect(status).toBe(130);
    expect(stderr).toContain('interrupted');
  });
});
