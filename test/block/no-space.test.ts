/** A host that runs out of space, and one that limits file sizes: real ones. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { createRaw } from '../../core/block/create.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import { expectBytes, host, MIB, pattern, tempFolder, withDisk } from './tools.ts';

const folder = tempFolder();

/** A file system of 4 MiB at `where`, or why there is none. */
function mountSmall(where: string): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  mkdirSync(where);
  return spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', where]).status === 0
    ? null
    : 'mount is not allowed';
}

const small = join(folder, 'small');
const whyNoMount = mountSmall(small);
afterAll(() => {
  if (!whyNoMount) execFileSync('umount', [small]);
});

describe.skipIf(whyNoMount)(`a full file system${whyNoMount ? ` (skipped: ${whyNoMount})` : ''}`, () => {
  it('fails the write with ENOSPC, keeps what was there, and takes the write once there is room', () => {
    const file = join(small, 'disk.raw');
    const ballast = join(small, 'ballast');
    createRaw(host, file, 8 * MIB);
    writeFileSync(ballast, new Uint8Array(MIB));
    withDisk({ file }, ({ disk }) => {
      const data = pattern(MIB);
      disk.writev([data], 0);
      expect(() => {
        for (let at = MIB; at < 8 * MIB; at += MIB) disk.writev([data], at);
      }).toThrow(expect.objectContaining({ code: 'ENOSPC', outOfSpace: true }));

      const kept = new Uint8Array(MIB);
      disk.readv([kept], 0);
      expectBytes(kept, data);

      rmSync(ballast);
      disk.writev([data.subarray(0, MIB / 2)], 3 * MIB);
      disk.flush();
      disk.readv([kept.subarray(0, MIB / 2)], 3 * MIB);
      expectBytes(kept.subarray(0, MIB / 2), data.subarray(0, MIB / 2));
    });
    expect(statSync(file).size).toBe(8 * MIB);
    rmSync(file);
  });

  it.skipIf(whyNoAddon)('has room again after a discard', () => {
    const file = join(small, 'disk.raw');
    createRaw(host, file, 8 * MIB);
    withDisk({ file }, ({ disk }) => {
      const data = pattern(3 * MIB);
      disk.writev([data], 0);
      expect(() => disk.writev([data], 4 * MIB)).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
      disk.discard(0, 8 * MIB);
      disk.writev([data], 4 * MIB);
    });
    rmSync(file);
  });
});

describe.skipIf(whyNoAddon)('a limit on file sizes', () => {
  it('fails the write with EFBIG and does not end the process', () => {
    const file = join(folder, 'limited.raw');
    createRaw(host, file, 8 * MIB);
    const script = `
      const [hostModule, openModule, spec, file] = process.argv.slice(1);
      const { createHost } = await import(hostModule);
      const { openDisk } = await import(openModule);
      const { disk } = openDisk({ file, host: createHost(JSON.parse(spec)) });
      try {
        disk.writev([new Uint8Array(512)], 4 * 1024 * 1024);
      } catch (error) {
        console.log(error.code);
      }`;
    const modules = ['host/node-host.ts', 'block/open.ts'].map(
      (name) => new URL(`../../core/${name}`, import.meta.url).href,
    );
    const args = ['--input-type=module', '-e', script, ...modules, JSON.stringify(hostSpec), file];
    // In units of 512 bytes (dash) or 1 KiB (bash): at most 2 MiB.
    const shell = ['-c', 'ulimit -f 2048 && exec "$0" "$@"', process.execPath, ...args];
    expect(spawnSync('sh', shell, { encoding: 'utf8' })).toMatchObject({ stdout: 'EFBIG\n', status: 0, signal: null });
  });
});
