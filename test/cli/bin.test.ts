/** What runs before anything is installed: main/bin. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { filesUnder, importsOf } from '../../main/bin/lib/stamps.mjs';
import { parseServeArguments } from '../../main/cli/serve.ts';

const bin = (name: string) => path.join(import.meta.dirname, '../../main/bin', name);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ringside-bin-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(script: string, args: string[], env: Record<string, string | undefined> = {}) {
  const child = spawn(process.execPath, [bin(script), ...args], { cwd: folder, env: { ...process.env, ...env } });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  const ended = once(child, 'close').then(([code]) => code as number);
  return { child: child as ChildProcess, ended, output: () => output };
}

describe('knowing what a step is made from', () => {
  test('imports are followed, with extensions and without', () => {
    const files = importsOf('core/build.ts', 'core/engine.as.ts');
    expect(files).toContain('core/build.ts');
    expect(files).toContain('core/worker/layout.ts');
    expect(files).toContain('core/cpu/isa/table.ts');
    expect(files).toContain('core/cpu/hart.as.ts');
    expect(files.some((file) => file.startsWith('test/'))).toBe(false);
  });

  test('folders are listed without what is built', () => {
    const files = filesUnder('core', 'package.json', 'nowhere');
    expect(files).toContain('core/errors.ts');
    expect(files).toContain('package.json');
    expect(files.some((file) => /generated|\.wasm$/.test(file))).toBe(false);
  });
});

describe('ringside', () => {
  test('passes arguments and the exit status, from any folder', async () => {
    const version = run('ringside.mjs', ['version']);
    expect(await version.ended).toBe(0);
    expect(version.output()).toMatch(/^ringside \d+\.\d+\.\d+\n$/);
    const wrong = run('ringside.mjs', ['run', '-kernel', 'no such, file']);
    expect(await wrong.ended).toBe(1);
    expect(wrong.output()).toContain('no such, file');
  });
});

// A stand-in for Electron: what it is started with, and what happens when it ends badly, is ours.
describe.skipIf(process.platform === 'win32')('npm start', () => {
  const fakeElectron = (text: string) => {
    const file = path.join(folder, process.platform === 'darwin' ? 'Electron.app/Contents/MacOS/Electron' : 'electron');
    writeFileSync(file, `#!/bin/sh\n${text}\n`);
    chmodSync(file, 0o755);
    return { ELECTRON_OVERRIDE_DIST_PATH: folder };
  };

  test.runIf(process.platform === 'linux')('starts Electron on the project and ends as it does', async () => {
    const { ended, output } = run('start.mjs', ['--flag'], fakeElectron('echo "started: $1 $2"'));
    expect(await ended).toBe(0);
    expect(output()).toContain(`started: ${path.resolve(import.meta.dirname, '../..')} --flag`);
  });

  test.runIf(process.platform === 'linux').each([
    ['without a display', () => ({ DISPLAY: undefined, WAYLAND_DISPLAY: undefined }), 'there is no display'],
    [
      'when Electron cannot run',
      () => fakeElectron('echo "no libnss3.so" >&2; exit 127'),
      'Electron ended at once (status 127)',
    ],
    [
      'when there is no Electron',
      () => ({ ELECTRON_OVERRIDE_DIST_PATH: path.join(folder, 'none') }),
      'has no electron',
    ],
  ])('serves the workstation %s, and says why', async (_, env, reason) => {
    const home = path.join(folder, 'home');
    const { child, ended, output } = run('start.mjs', [], {
      ELECTRON_OVERRIDE_DIST_PATH: undefined,
      ...env(),
      RINGSIDE_HOME: home,
    });
    while (!/http:\/\/127\.0\.0\.1:\d+\/#token=/.test(output())) {
      if (child.exitCode !== null) throw new Error(output());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(output()).toContain(reason);
    const [url] = /http:\S+/.exec(output())!;
    const page = await fetch(url);
    expect(page.status).toBe(200);
    child.kill('SIGINT');
    expect(await ended).toBe(130);
  });
});

describe('ringside serve', () => {
  test('reads its options', () => {
    expect(parseServeArguments(['--port', '8080', '--host=::1'])).toEqual({ port: 8080, host: '::1' });
    expect(parseServeArguments([])).toEqual({});
    expect(parseServeArguments(['--help'])).toBeNull();
  });

  test.each([
    [['--prot', '1'], '--prot: unknown option (did you mean --port?); allowed: --port, --host, --home'],
    [['--port'], '--port: it needs a value: --port N'],
    [['--port', '99999'], '--port: "99999" is not a number from 0 to 65535'],
    [['8080'], '8080: unknown option; allowed: --port, --host, --home'],
  ])('%j is refused', (args, message) => {
    expect(() => parseServeArguments(args)).toThrow(message);
  });
});
