/** Image locks: QEMU's programs, other processes of ours and other machines of this process refuse one another. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { openDisk } from '../../core/block/open.ts';
import { parseLocks } from '../../core/host/proc.ts';
import type { Host } from '../../core/host/host.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import {
  bareHost,
  heldBy,
  host,
  hostError,
  hostWith,
  makeImage,
  MIB,
  missing,
  openedBy,
  QEMU_IO,
  QEMU_SYSTEM,
  run,
  tempFolder,
  withDisk,
} from './tools.ts';

const folder = tempFolder();
const image = makeImage(join(folder, 'disk.raw'), MIB);
const inUse = expect.objectContaining({ name: 'RingsideError', kind: 'in-use' });
const tryOpen = (readonly: boolean, using: Host = host) =>
  openDisk({ file: image, readonly, host: using }).disk.close();

const hosts: [string, Host, string | null][] = [
  ['with OFD locks', host, whyNoAddon],
  ['without the addon', bareHost, null],
];

describe.each(hosts)('two machines of one process, %s', (_what, using, why) => {
  const test = it.skipIf(why);

  test('may not both write', () => {
    withDisk({ file: image, host: using }, () => expect(() => tryOpen(false, using)).toThrow(inUse));
    tryOpen(false, using);
  });

  test('may not write what another reads, nor read what another writes', () => {
    withDisk({ file: image, host: using, readonly: true }, () => expect(() => tryOpen(false, using)).toThrow(inUse));
    withDisk({ file: image, host: using }, () => expect(() => tryOpen(true, using)).toThrow(inUse));
  });

  test('may both read', () => {
    withDisk({ file: image, host: using, readonly: true }, () => {
      tryOpen(true, using);
      expect(() => tryOpen(false, using)).toThrow(inUse);
    });
    tryOpen(false, using);
  });

  test('may do as they like with locking off', () => {
    withDisk({ file: image, host: using }, () =>
      withDisk({ file: image, host: using, locking: 'off' }, ({ lock, warnings }) => {
        expect(lock).toEqual({ locked: false, reason: 'locking is off' });
        expect(warnings).toEqual([]);
      }),
    );
  });
});

describe.skipIf(whyNoAddon)('another process of ours', () => {
  /** Opens the image in a new process, which prints the error's kind or "opened". */
  function elsewhere(readonly: boolean): string {
    const script = `
      const [hostModule, openModule, spec, file, readonly] = process.argv.slice(1);
      const { createHost } = await import(hostModule);
      const { openDisk } = await import(openModule);
      try {
        openDisk({ file, readonly: readonly === 'true', host: createHost(JSON.parse(spec)) });
        console.log('opened');
      } catch (error) {
        console.log(error.kind);
      }`;
    const modules = ['host/node-host.ts', 'block/open.ts'].map(
      (name) => new URL(`../../core/${name}`, import.meta.url).href,
    );
    const args = ['--input-type=module', '-e', script, ...modules, JSON.stringify(hostSpec), image, String(readonly)];
    return spawnSync(process.execPath, args, { encoding: 'utf8' }).stdout.trim();
  }

  it('is kept off, and let in when the disk is closed', () => {
    withDisk({ file: image }, () => expect([elsewhere(false), elsewhere(true)]).toEqual(['in-use', 'in-use']));
    withDisk({ file: image, readonly: true }, () =>
      expect([elsewhere(false), elsewhere(true)]).toEqual(['in-use', 'opened']),
    );
    expect(elsewhere(false)).toBe('opened');
  });
});

describe.each([QEMU_IO, QEMU_SYSTEM])('$program', (qemu) => {
  const why = missing(qemu.program);
  const test = it.skipIf(why ?? whyNoAddon);
  // qemu-io shares everything with everybody; a machine's disk does not.
  const strict = qemu === QEMU_SYSTEM;

  test('is refused what we write to', () => {
    withDisk({ file: image }, () => {
      expect(openedBy(qemu, image, false)).toMatchObject({
        status: 1,
        text: expect.stringMatching(/Failed to get "write" lock/),
      });
      if (strict) expect(openedBy(qemu, image, true).text).toMatch(/Failed to get shared "write" lock/);
    });
    expect(openedBy(qemu, image, false).status).toBe(0);
  });

  test('may read what we read, and not write it', () => {
    withDisk({ file: image, readonly: true }, () => {
      expect(openedBy(qemu, image, false).text).toMatch(/Failed to get "write" lock/);
      expect(openedBy(qemu, image, true).status).toBe(0);
    });
  });

  test('keeps us off what it writes to', async () => {
    await heldBy(qemu, image, false, () => {
      expect(() => tryOpen(false)).toThrow(inUse);
      expect(() => tryOpen(true)).toThrow(inUse);
    });
    tryOpen(false);
  });

  test('lets us read what it reads, and not write it', async () => {
    await heldBy(qemu, image, true, () => {
      if (strict) expect(() => tryOpen(false)).toThrow(inUse);
      tryOpen(true);
    });
  });

  it.skipIf(why ?? process.platform !== 'linux')('is noticed without the addon too', async () => {
    await heldBy(qemu, image, false, () => {
      // /proc/locks has the number of the file system, which some (btrfs, overlayfs) do not give in stat.
      if (bareHost.listLocks(bareHost.inspect(image)).length === 0) return;
      expect(() => tryOpen(false, bareHost)).toThrow(inUse);
      expect(() => tryOpen(true, bareHost)).toThrow(inUse);
    });
    tryOpen(false, bareHost);
  });
});

describe('qemu-img', () => {
  it.skipIf(missing('qemu-img') ?? whyNoAddon)('may not resize a disk in use', () => {
    withDisk({ file: image }, () => {
      const said = run('qemu-img', ['resize', '-f', 'raw', image, '2M']);
      expect(said).toMatchObject({ status: 1, text: expect.stringMatching(/Failed to get "write" lock/) });
    });
  });
});

describe('a file system that has no locks', () => {
  const lockless = hostWith({
    fileLocks: { available: true },
    lock: () => {
      throw hostError('ENOLCK');
    },
  });

  it('is used with a warning', () => {
    withDisk({ file: image, host: lockless }, ({ lock, warnings }) => {
      expect(lock).toEqual({ locked: false, reason: 'its file system has no locks (ENOLCK)' });
      expect(warnings).toHaveLength(1);
      expect(() => tryOpen(false, lockless)).toThrow(inUse);
    });
  });

  it('is refused with locking=on', () => {
    expect(() => openDisk({ file: image, host: lockless, locking: 'on' })).toThrow(
      expect.objectContaining({ kind: 'unsupported' }),
    );
  });
});

describe('/proc/locks', () => {
  const text = [
    '1: OFDLCK ADVISORY  READ -1 fe:00:1234 100 101',
    '1: -> OFDLCK ADVISORY  WRITE -1 fe:00:1234 200 200',
    '2: POSIX  ADVISORY  WRITE 77 fe:00:1235 0 EOF',
    '3: FLOCK  ADVISORY  WRITE 78 fe:01:1234 0 EOF',
    '',
  ].join('\n');

  it('is read for one file, without those who wait', () => {
    expect(parseLocks(text, { device: 0xfe00n, inode: 1234n })).toEqual([{ start: 100, end: 101 }]);
    expect(parseLocks(text, { device: 0xfe00n, inode: 1235n })).toEqual([{ start: 0, end: Infinity }]);
    expect(parseLocks(text, { device: 0xfe01n, inode: 1234n })).toEqual([{ start: 0, end: Infinity }]);
    expect(parseLocks('nonsense', { device: 0xfe00n, inode: 1n })).toEqual([]);
  });
});
