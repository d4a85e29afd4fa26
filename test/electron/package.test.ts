/**
 * What Electron runs: the JavaScript in dist/ under plain Node, and the package that electron-builder makes of it. An
 * Electron dist is not needed: a file that has Electron's fuses in it stands for one.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DIST = path.join(ROOT, 'dist');
const LONG = 240_000;

interface Builder {
  build(): Promise<boolean>;
  transpile(entries: string[]): Promise<{ scripts: Map<string, Uint8Array>; assets: Set<string> }>;
}
interface Asar {
  listPackage(archive: string, options: { isPack: boolean }): string[];
}

interface Lock {
  packages: Record<string, { dependencies?: Record<string, string> }>;
}

let folder: string;
let builder: Builder;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'ringside-package-'));
  builder = (await import('../../main/build.mjs')) as Builder;
  await builder.build();
}, LONG);
afterAll(() => rm(folder, { recursive: true, force: true }));

const run = promisify(execFile);

async function filesUnder(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'))
    .sort();
}

describe('dist/', () => {
  test('holds every file that the entry points reach, and nothing that was reached before', async () => {
    const { scripts } = await builder.transpile(['main/index.ts']);
    const built = (await filesUnder(DIST)).filter((file) => /^(main|core|native)\/.*\.js$/.test(file));
    expect(built).toEqual([...scripts.keys()].sort());
    expect(built).toEqual(
      expect.arrayContaining([
        'main/index.js',
        'core/worker/hart.js',
        'core/worker/iothread.js',
        'core/worker/clock.js',
      ]),
    );
  });

  test('has no TypeScript left in it, neither files nor names of files', async () => {
    for (const file of await filesUnder(DIST)) {
      expect(file).not.toMatch(/\.ts$/);
      if (!/^(main|core|native)\//.test(file) || !file.endsWith('.js')) continue;
      const text = await readFile(path.join(DIST, file), 'utf8');
      expect(text, file).not.toMatch(/(from|import\(|new URL\()\s*["'][^"']*\.ts["']/);
      // Every relative import is there.
      for (const [, target] of text.matchAll(/(?:from|import)\s*\(?["'](\.[^"']+)["']/g)) {
        expect(existsSync(path.resolve(path.dirname(path.join(DIST, file)), target)), `${file}: ${target}`).toBe(true);
      }
    }
  });

  test('is left alone when it is up to date', async () => {
    expect(await builder.build()).toBe(false);
  });

  test('runs a machine, workers and all, under plain Node', async () => {
    // lui a0, 0x10000 (UART); li a1, 'K'; sb a1, (a0); lui a2, 0x100 (finisher); li a3, 0x5555; sw a3, (a2); j .
    const code = [0x10000537, 0x04b00593, 0x00b50023, 0x00100637, 0x000056b7, 0x55568693, 0x00d62023, 0x0000006f];
    const firmware = path.join(folder, 'firmware.bin');
    await writeFile(firmware, Buffer.from(Uint32Array.from(code).buffer));
    const script = path.join(folder, 'run.mjs');
    const dist = (file: string) => JSON.stringify(pathToFileURL(path.join(DIST, file)).href);
    await writeFile(
      script,
      `import { Machine } from ${dist('core/machine/machine.js')};
       import { nativeHostSpec } from ${dist('native/index.js')};
       import ${dist('main/app/production.js')};
       const machine = await Machine.create({ memory: 64 * 2 ** 20, bios: ${JSON.stringify(firmware)} }, { host: nativeHostSpec() });
       let output = '';
       machine.chardevs.get('serial0').onData((bytes) => (output += Buffer.from(bytes)));
       const exit = await new Promise((resolve) => { machine.on('exit', resolve); void machine.start(); });
       await machine.dispose();
       process.stdout.write(JSON.stringify({ output, reason: exit.reason }));`,
    );
    // openpgp and the like are found from where the script's imports are, so nothing but dist/ is looked at.
    const { stdout } = await run(process.execPath, [script]);
    expect(JSON.parse(stdout)).toEqual({ output: 'K', reason: 'guest-poweroff' });
  });
});

describe('the package', () => {
  /** The wire by which Electron's fuses are found in its program, version 1, with nine of them at their defaults. */
  const FUSES = 'dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX\x01\x09101001111';
  let inside: string[];
  let unpacked: string[];
  let program: string;

  beforeAll(async () => {
    const electron = path.join(folder, 'electron');
    await mkdir(path.join(electron, 'resources'), { recursive: true });
    await writeFile(path.join(electron, 'electron'), `\x7fELF ${FUSES}\n`, 'latin1');
    await chmod(path.join(electron, 'electron'), 0o755);
    await writeFile(path.join(electron, 'LICENSE'), '');
    const cli = path.join(ROOT, 'main/bin/dist.mjs');
    const out = path.join(folder, 'out');
    await run(process.execPath, [cli, '--dir', '--linux', '--publish', 'never', `-c.directories.output=${out}`], {
      cwd: ROOT,
      env: { ...process.env, ELECTRON_OVERRIDE_DIST_PATH: electron },
    });
    const app = path.join(out, 'linux-unpacked');
    // electron-builder's own reader of archives.
    const asar = createRequire(createRequire(import.meta.url).resolve('app-builder-lib'))('@electron/asar') as Asar;
    const isFile = (file: string) => /\.[a-z0-9]+$/i.test(file.split('/').at(-1)!);
    inside = asar
      .listPackage(path.join(app, 'resources/app.asar'), { isPack: false })
      .map((file) => file.replace(/^[/\\]/, '').replaceAll('\\', '/'))
      .filter(isFile)
      .sort();
    unpacked = await filesUnder(path.join(app, 'resources/app.asar.unpacked'));
    program = await readFile(path.join(app, 'ringside'), 'latin1');
  }, LONG);

  test('has all of dist/ that runs, and no more', async () => {
    const wanted = (await filesUnder(DIST)).filter((file) => !file.endsWith('.stamp') && !file.startsWith('.'));
    const own = inside.filter((file) => !file.startsWith('node_modules/'));
    expect(own).toEqual(['package.json', ...wanted.map((file) => `dist/${file}`)].sort());
  });

  test('has the dependencies and what they need, and not the Node of the clone', async () => {
    const lock = JSON.parse(await readFile(path.join(ROOT, 'package-lock.json'), 'utf8')) as Lock;
    const wanted = new Set(['node-pty']);
    const need = (name: string) => {
      if (wanted.has(name)) return;
      wanted.add(name);
      for (const next of Object.keys(lock.packages[`node_modules/${name}`].dependencies ?? {})) need(next);
    };
    for (const name of Object.keys(lock.packages[''].dependencies ?? {})) need(name);
    const packages = new Set(inside.flatMap((file) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []));
    expect([...packages].sort()).toEqual([...wanted].sort());
  });

  test('has what cannot be in an archive beside it', async () => {
    expect(unpacked).toEqual(
      expect.arrayContaining(['dist/engine.wasm', 'dist/core/worker/hart.js', 'dist/native/index.js']),
    );
    const addon = 'dist/native/build/ringside.node';
    expect(unpacked.includes(addon)).toBe(existsSync(path.join(ROOT, 'native/build/ringside.node')));
    expect(inside.filter((file) => file.endsWith('.node') && !unpacked.includes(file))).toEqual([]);
    expect(inside.filter((file) => file.startsWith('dist/core/') && !unpacked.includes(file))).toEqual([]);
  });

  test('has no secrets, tests or sources', () => {
    expect(
      inside.filter((file) => /(^|\/)(\.env|\.git|\.npmrc|test|tests)(\/|$)|\.(ts|svelte|map)$/.test(file)),
    ).toEqual([]);
  });

  test('has its fuses set: no Node mode, no debugger, only its own archive', () => {
    const at = program.indexOf('dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX') + 34;
    // RunAsNode, cookie encryption, NODE_OPTIONS, --inspect, archive integrity, only from the archive, own V8 snapshot,
    // privileges of file://, and the one that is not ours to change (trap handlers of WebAssembly).
    expect(program.slice(at, at + 9)).toBe('010011001');
  });
});
