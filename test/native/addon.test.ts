/** The addon's own behaviour: what it refuses, what its errors look like, and the calls nothing else tests yet. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';

import { afterAll, describe, expect, it } from 'vitest';

import { loadAddon } from '../../core/host/addon.ts';
import type { NativeAddon } from '../../core/host/addon.ts';
import { POLLIN, POLLNVAL } from '../../core/host/host.ts';
import { createHost } from '../../core/host/node-host.ts';
import { addonPath, loadNative, nativeHostSpec } from '../../native/index.ts';
import { addon as loaded, hostSpec, whyNoAddon } from './addon.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringside-native-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PAGE = 65536;
/** A descriptor that is open on nothing. */
const NO_FD = 2 ** 31 - 1;

describe.skipIf(whyNoAddon)(`the addon${whyNoAddon ? ` (skipped: ${whyNoAddon})` : ''}`, () => {
  const addon = loaded as NativeAddon;
  const bytes = () => new Uint8Array(new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true }).buffer);

  function withFile(use: (fd: number, path: string) => void): void {
    const path = join(folder, 'file');
    writeFileSync(path, new Uint8Array(256 * 1024).fill(1));
    const fd = openSync(path, 'r+');
    try {
      use(fd, path);
    } finally {
      closeSync(fd);
    }
  }

  describe('arguments', () => {
    it.each<[string, () => unknown]>([
      ['no arguments', () => Reflect.apply(addon.memfdCreate, undefined, [])],
      ['a string for a number', () => addon.memfdCreate('x', '1' as unknown as number)],
      ['a number for a string', () => addon.memfdCreate(1 as unknown as string, 1)],
      ['too long a name', () => addon.memfdCreate('x'.repeat(201), 1)],
      ['a name with NUL', () => addon.memfdCreate('a\0b', 1)],
      ['a buffer for a view', () => addon.unmapMemfd(new ArrayBuffer(PAGE) as unknown as Uint8Array, 0, PAGE)],
      ['another typed array', () => addon.unmapMemfd(new Int32Array(PAGE) as unknown as Uint8Array, 0, PAGE)],
      ['a number for a boolean', () => addon.lock(0, 0, 1, 1 as unknown as boolean)],
      ['a number for a bigint', () => addon.eventfdWrite(0, 1 as unknown as bigint)],
    ])('refuses %s with a TypeError', (_what, call) => expect(call).toThrow(TypeError));

    it.each<[string, () => unknown]>([
      ['a negative descriptor', () => addon.punchHole(-1, 0, 1)],
      ['a descriptor beyond int', () => addon.punchHole(2 ** 31, 0, 1)],
      ['half a descriptor', () => addon.punchHole(0.5, 0, 1)],
      ['NaN', () => addon.punchHole(0, NaN, 1)],
      ['a negative offset', () => addon.punchHole(0, -1, 1)],
      ['an offset beyond 2^53', () => addon.punchHole(0, 2 ** 53, 1)],
      ['a range beyond 2^53', () => addon.punchHole(0, 2 ** 53 - 2, 2)],
      ['infinity', () => addon.seekData(0, Infinity)],
      ['a lock of nothing', () => addon.lock(0, 0, 0, false)],
      ['a bigint beyond 64 bits', () => addon.eventfdWrite(0, 2n ** 64n)],
      ['a negative bigint', () => addon.eventfdWrite(0, -1n)],
      ['half an entry to poll', () => addon.poll(new Int32Array(4), 0)],
      ['too many entries to poll', () => addon.poll(new Int32Array(3 * 1025), 0)],
      ['too early a timeout', () => addon.poll(new Int32Array(3), -2)],
      ['a map outside the view', () => addon.unmapMemfd(bytes(), 3 * PAGE, 2 * PAGE)],
      ['a map behind the view', () => addon.unmapMemfd(bytes(), 4 * PAGE, PAGE)],
      ['a map that would wrap', () => addon.unmapMemfd(bytes(), PAGE, 2 ** 53 - 1 - PAGE)],
      ['a map of nothing', () => addon.unmapMemfd(bytes(), 0, 0)],
      ['a map of part of a page', () => addon.unmapMemfd(bytes(), 0, 100)],
      ['a map from inside a page', () => addon.unmapMemfd(bytes(), 100, PAGE)],
      ['a view from inside a page', () => addon.unmapMemfd(bytes().subarray(16), 0, PAGE)],
    ])('refuses %s with a RangeError', (_what, call) => expect(call).toThrow(RangeError));

    it('refuses to map a file that is too short, or could become so', () => {
      const fd = addon.memfdCreate('short', PAGE);
      expect(() => addon.mapMemfd(bytes(), 0, 2 * PAGE, fd)).toThrow(/smaller than the range/);
      closeSync(fd);
      // Some file systems know no seals at all.
      withFile((file) => expect(() => addon.mapMemfd(bytes(), 0, PAGE, file)).toThrow(/not sealed|EINVAL/));
    });
  });

  describe('errors', () => {
    it("are shaped like node:fs's", () => {
      let seen: NodeJS.ErrnoException | undefined;
      try {
        addon.punchHole(NO_FD, 0, 1);
      } catch (error) {
        seen = error as NodeJS.ErrnoException;
      }
      expect(seen).toBeInstanceOf(Error);
      expect(seen).toMatchObject({
        code: 'EBADF',
        errno: -9,
        syscall: 'fallocate(FALLOC_FL_PUNCH_HOLE)',
        message: 'EBADF: Bad file descriptor, fallocate(FALLOC_FL_PUNCH_HOLE)',
      });
    });

    it.each<[string, () => unknown, string]>([
      ['lock', () => addon.lock(NO_FD, 0, 1, false), 'EBADF'],
      ['testLock', () => addon.testLock(NO_FD, 0, 1, false), 'EBADF'],
      ['seekHole', () => addon.seekHole(NO_FD, 0), 'EBADF'],
      ['zeroRange', () => addon.zeroRange(NO_FD, 0, 1), 'EBADF'],
      ['eventfdRead', () => addon.eventfdRead(NO_FD), 'EBADF'],
      ['mapMemfd', () => addon.mapMemfd(bytes(), 0, PAGE, NO_FD), 'EBADF'],
    ])('come from %s', (_what, call, code) => {
      expect(call).toThrow(expect.objectContaining({ code: expect.stringMatching(code) }));
    });

    it('come from asking a file for its size as a block device', () => {
      withFile((fd) => {
        expect(() => addon.blockDeviceSize(fd)).toThrow(expect.objectContaining({ code: 'ENOTTY' }));
        expect(() => addon.blockDeviceDiscard(fd, 0, 512)).toThrow(expect.objectContaining({ code: 'ENOTTY' }));
      });
    });
  });

  it('releases pages, of a memfd that is mapped and of private memory', () => {
    const view = bytes();
    view.fill(1);
    addon.releasePages(view, PAGE, PAGE);
    expect([view[PAGE - 1], view[PAGE], view[2 * PAGE - 1], view[2 * PAGE]]).toEqual([1, 0, 0, 1]);
    const fd = addon.memfdCreate('released', 2 * PAGE);
    addon.mapMemfd(view, 0, 2 * PAGE, fd);
    view.fill(1);
    expect(fstatSync(fd).blocks * 512).toBe(2 * PAGE);
    addon.releasePages(view, PAGE, PAGE);
    expect(fstatSync(fd).blocks * 512).toBe(PAGE);
    expect([view[PAGE - 1], view[PAGE], view[2 * PAGE - 1]]).toEqual([1, 0, 0]);
    closeSync(fd);
    expect(() => addon.releasePages(view, 1, PAGE)).toThrow(/whole pages/);
  });

  it('finds data and holes', () => {
    withFile((fd) => {
      addon.punchHole(fd, 64 * 1024, 64 * 1024);
      expect([0, 64 * 1024, 128 * 1024].map((at) => addon.seekData(fd, at))).toEqual([0, 128 * 1024, 128 * 1024]);
      expect([0, 64 * 1024, 128 * 1024].map((at) => addon.seekHole(fd, at))).toEqual([
        64 * 1024,
        64 * 1024,
        256 * 1024,
      ]);
      expect(addon.seekData(fd, 256 * 1024)).toBe(-1);
      expect(addon.seekHole(fd, 256 * 1024)).toBe(-1);
    });
  });

  it('keeps the size of a file whose end is zeroed', () => {
    withFile((fd, path) => {
      addon.punchHole(fd, 255 * 1024, 64 * 1024);
      expect(fstatSync(fd).size).toBe(256 * 1024);
      expect(
        readFileSync(path)
          .subarray(-1024)
          .every((byte) => byte === 0),
      ).toBe(true);
      addon.punchHole(fd, 0, 0);
      expect(readFileSync(path)[0]).toBe(1);
    });
  });

  it('has locks that belong to the open file, not to the process', () => {
    withFile((fd, path) => {
      const other = openSync(path, 'r+');
      expect(addon.lock(fd, 100, 2, false)).toBe(true);
      expect(addon.lock(other, 100, 1, false)).toBe(true);
      expect(addon.lock(other, 101, 1, true)).toBe(false);
      expect(addon.testLock(other, 101, 1, true)).toBe(false);
      expect(addon.testLock(fd, 101, 1, true)).toBe(true);
      addon.unlock(fd, 101, 1);
      expect(addon.lock(other, 101, 1, true)).toBe(true);
      closeSync(other);
      expect(addon.lock(fd, 100, 2, true)).toBe(true);
    });
  });

  it('makes a memfd that is not inherited and cannot be resized', () => {
    const fd = addon.memfdCreate('test', PAGE);
    expect(spawnSync('sh', ['-c', `test -e /proc/self/fd/${fd}`]).status).toBe(1);
    expect(() => ftruncateSync(fd, 0)).toThrow(expect.objectContaining({ code: 'EPERM' }));
    expect(writeSync(fd, 'x')).toBe(1);
    closeSync(fd);
  });

  describe('events', () => {
    it('count', () => {
      const fd = addon.eventfdCreate();
      expect(addon.eventfdRead(fd)).toBe(0n);
      expect(addon.eventfdWrite(fd, 3n)).toBe(true);
      expect(addon.eventfdWrite(fd, 4n)).toBe(true);
      expect(addon.eventfdRead(fd)).toBe(7n);
      expect(addon.eventfdWrite(fd, 2n ** 64n - 2n)).toBe(true);
      expect(addon.eventfdWrite(fd, 1n)).toBe(false);
      expect(addon.eventfdRead(fd)).toBe(2n ** 64n - 2n);
      closeSync(fd);
    });

    it('are not read from anything else', () => {
      withFile((fd) => {
        ftruncateSync(fd, 3);
        expect(() => addon.eventfdRead(fd)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
      });
    });

    it('are polled', () => {
      const [quiet, rung] = [addon.eventfdCreate(), addon.eventfdCreate()];
      addon.eventfdWrite(rung, 1n);
      const entries = Int32Array.of(quiet, POLLIN, 99, -1, POLLIN, 99, rung, POLLIN, 99, NO_FD, POLLIN, 99);
      expect(addon.poll(entries, 1000)).toBe(2);
      expect([entries[2], entries[5], entries[8], entries[11]]).toEqual([0, 0, POLLIN, POLLNVAL]);
      addon.eventfdRead(rung);
      const begun = performance.now();
      expect(addon.poll(entries.subarray(0, 9), 20)).toBe(0);
      expect(performance.now() - begun).toBeGreaterThanOrEqual(19);
      expect(entries[8]).toBe(0);
      [quiet, rung].forEach(closeSync);
    });

    it('wake a worker that polls', async () => {
      const host = createHost(hostSpec);
      const [bell, answer] = [host.createEvent(), host.createEvent()];
      const worker = new Worker(
        `import { workerData } from 'node:worker_threads';
         const { createHost } = await import(workerData.module);
         const host = createHost(workerData.spec);
         const entries = Int32Array.of(workerData.bell, 1, 0);
         while (host.poll(entries, -1) === 0);
         for (let n = host.readEvent(workerData.bell); n > 0n; n--) host.ringEvent(workerData.answer);`,
        {
          eval: true,
          workerData: {
            module: new URL('../../core/host/node-host.ts', import.meta.url).href,
            spec: hostSpec,
            bell,
            answer,
          },
        },
      );
      await once(worker, 'online');
      host.ringEvent(bell);
      await once(worker, 'exit');
      expect(host.readEvent(answer)).toBe(1n);
      [bell, answer].forEach((fd) => host.close(fd));
    });
  });

  it('is loaded in many threads at once, which come and go', async () => {
    const path = addonPath();
    const start = () =>
      new Worker(
        `const { workerData } = require('node:worker_threads');
         for (let i = 0; i < 3; i++) {
           const module = { exports: {} };
           process.dlopen(module, workerData);
           if (module.exports.pageSize() < 4096) throw new Error('no page size');
         }`,
        { eval: true, workerData: path },
      );
    for (let round = 0; round < 3; round++) {
      const codes = await Promise.all([start(), start(), start(), start()].map((worker) => once(worker, 'exit')));
      expect(codes).toEqual([[0], [0], [0], [0]]);
    }
  });
});

describe('loading', () => {
  it('says why a file is no addon', () => {
    const path = join(folder, 'broken.node');
    writeFileSync(path, 'not a shared object');
    expect(loadAddon(path)).toEqual({ addon: null, reason: expect.stringMatching(/cannot be loaded: .*broken\.node/) });
    const host = createHost({ addon: { path } });
    expect(host.holes).toEqual({ available: false, reason: expect.stringMatching(/cannot be loaded/) });
    expect(() => host.punchHole(0, 0, 1)).toThrow(expect.objectContaining({ code: 'ENOTSUP' }));
    expect(() => host.createEvent()).toThrow(expect.objectContaining({ code: 'ENOTSUP' }));
  });

  it('can be turned off', () => {
    process.env.RINGSIDE_NO_ADDON = '1';
    try {
      expect(loadNative()).toMatchObject({ addon: null, reason: expect.stringMatching(/RINGSIDE_NO_ADDON/) });
      expect(nativeHostSpec()).toEqual({ addon: { reason: expect.stringMatching(/RINGSIDE_NO_ADDON/) } });
    } finally {
      delete process.env.RINGSIDE_NO_ADDON;
    }
  });
});

describe.skipIf(process.platform !== 'linux')('native/build.mjs', () => {
  const builder = fileURLToPath(new URL('../../native/build.mjs', import.meta.url));
  const build = (env: NodeJS.ProcessEnv) =>
    spawnSync(process.execPath, [builder], { encoding: 'utf8', env: { ...process.env, ...env } });

  it('says so, with a status of its own, where there is no compiler', () => {
    expect(build({ CXX: '/nonexistent/c++' })).toMatchObject({
      status: 3,
      stderr: expect.stringMatching(/no C\+\+ compiler found \(tried CXX=\/nonexistent\/c\+\+\).*Going on without/s),
    });
    expect(build({ PATH: folder, CXX: '' })).toMatchObject({
      status: 3,
      stderr: expect.stringMatching(/tried c\+\+, g\+\+ and clang\+\+/),
    });
  });

  it('fails when the compiler does, and leaves the addon that is there', () => {
    const compiler = join(folder, 'c++');
    writeFileSync(compiler, '#!/bin/sh\ntest "$1" = --version && exec echo bad 1.0\necho "it broke" >&2\nexit 1\n', {
      mode: 0o755,
    });
    const before = addonPath();
    expect(build({ CXX: compiler })).toMatchObject({ status: 1, stderr: expect.stringMatching(/it broke\n.*failed/s) });
    expect(addonPath()).toBe(before);
    if (before) expect(loadAddon(before).addon).not.toBeNull();
  });

  it('has nothing to do when the addon is up to date, silently', async () => {
    if (whyNoAddon) return;
    const again = spawn(process.execPath, [builder], { stdio: 'pipe' });
    const [status] = await once(again, 'exit');
    expect([status, again.stdout.read(), again.stderr.read()]).toEqual([0, null, null]);
  });
});
