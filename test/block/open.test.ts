/** Opening and creating images: what is wrong is said at once, in words, and nothing stays behind. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { createRaw } from '../../core/block/create.ts';
import { openDisk } from '../../core/block/open.ts';
import { bareHost, host, hostError, hostWith, makeImage, MIB, missing, run, tempFolder, withDisk } from './tools.ts';

const folder = tempFolder();
const path = (name: string) => join(folder, name);
const openFiles = () => readdirSync('/proc/self/fd').length;
const linux = process.platform === 'linux';

describe('opening a raw disk', () => {
  const image = makeImage(path('good.raw'), MIB);

  it('gives its capabilities', () => {
    withDisk({ file: image }, ({ disk, warnings, lock }) => {
      expect(disk).toMatchObject({ size: MIB, readonly: false, canWriteZeroes: true, blockSize: 512, file: image });
      expect(disk.canDiscard).toBe(host.holes.available);
      expect(disk.discardGranularity % 512).toBe(0);
      expect(lock.locked).toBe(host.fileLocks.available);
      expect(warnings).toHaveLength(lock.locked ? 0 : 1);
    });
  });

  it('can do less read-only', () => {
    withDisk({ file: image, readonly: true }, ({ disk }) => {
      expect(disk).toMatchObject({ readonly: true, canDiscard: false, canWriteZeroes: false });
    });
  });

  it('can do less with discard=ignore', () => {
    withDisk({ file: image, discard: 'ignore' }, ({ disk }) => {
      expect(disk).toMatchObject({ canDiscard: false, canWriteZeroes: true });
    });
  });

  it('says what is missing without the addon', () => {
    withDisk({ file: image, host: bareHost }, ({ disk, lock, warnings }) => {
      expect(disk.canDiscard).toBe(false);
      expect(lock).toEqual({ locked: false, reason: 'no addon in this test' });
      expect(warnings).toEqual([expect.stringMatching(/is not locked: no addon in this test\. Take care/)]);
    });
  });

  it('follows symbolic links', () => {
    symlinkSync(image, path('link.raw'));
    withDisk({ file: path('link.raw') }, ({ disk }) => expect(disk.size).toBe(MIB));
  });

  it('warns of a file that looks like something else, and opens it all the same', () => {
    const file = makeImage(path('really.qcow2'), MIB);
    writeFileSync(file, new Uint8Array([0x51, 0x46, 0x49, 0xfb]), { flag: 'r+' });
    withDisk({ file, locking: 'off' }, ({ warnings }) => {
      expect(warnings).toEqual([expect.stringMatching(/attached as a raw disk but looks like a qcow2 image/)]);
    });
  });

  const xz = Buffer.concat([Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), Buffer.alloc(1000)]);
  it.each<[string, string, (file: string) => void, string, RegExp]>([
    ['a file that is not there', 'none', () => undefined, 'not-found', /does not exist. Check the path/],
    ['a file as a folder', 'good.raw/x', () => undefined, 'not-found', /not a directory/],
    ['a directory', 'folder', (file) => mkdirSync(file), 'not-a-file', /is a directory, not a disk image/],
    ['a link to itself', 'loop', (file) => symlinkSync(file, file), 'not-found', /leads to itself/],
    ['an empty file', 'empty', (file) => makeImage(file, 0), 'bad-image', /is empty. Give the disk a size first/],
    ['half a sector', 'half', (file) => makeImage(file, 1000), 'bad-image', /1000 bytes.*"truncate -s 1024 FILE"/],
    ['a packed image', 'disk.xz', (file) => makeImage(file, xz), 'bad-image', /1006 bytes.*unpack it first/],
    ['a name with NUL', 'a\0b', () => undefined, 'bad-option', /without NUL/],
    ['too long a name', 'x'.repeat(300), () => undefined, 'not-found', /too long/],
  ])('refuses %s', (_what, name, prepare, kind, message) => {
    const file = path(name);
    prepare(file);
    const before = linux ? openFiles() : 0;
    expect(() => openDisk({ file, host })).toThrow(
      expect.objectContaining({ name: 'RingsideError', kind, message: expect.stringMatching(message) }),
    );
    if (linux) expect(openFiles()).toBe(before);
  });

  it.skipIf(!linux)('refuses a FIFO without waiting for its other end, and a character device', () => {
    execFileSync('mkfifo', [path('fifo')]);
    for (const file of [path('fifo'), '/dev/full']) {
      expect(() => openDisk({ file, host })).toThrow(expect.objectContaining({ kind: 'not-a-file' }));
    }
  });

  it('refuses a file that the user may not write, and opens it read-only', () => {
    const file = makeImage(path('locked-down.raw'), MIB);
    chmodSync(file, 0o400);
    // Root may write anything, so the host is made to say what it says to others.
    const strict = hostWith({
      open: (name, options) => {
        if (options.write) throw hostError('EACCES');
        return host.open(name, options);
      },
    });
    expect(() => openDisk({ file, host: strict })).toThrow(
      expect.objectContaining({ kind: 'permission', message: expect.stringMatching(/attach it read-only/) }),
    );
    withDisk({ file, host: strict, readonly: true }, ({ disk }) => expect(disk.readonly).toBe(true));
  });

  it('closes the file when locking fails', () => {
    const file = makeImage(path('late.raw'), MIB);
    const before = linux ? openFiles() : 0;
    expect(() => openDisk({ file, host: bareHost, locking: 'on' })).toThrow(
      expect.objectContaining({ kind: 'unsupported', message: expect.stringMatching(/cannot be locked: no addon/) }),
    );
    if (linux) expect(openFiles()).toBe(before);
  });
});

const whyNoLoop =
  process.getuid?.() !== 0
    ? 'needs root'
    : (missing('losetup') ?? (run('losetup', ['-f']).status ? 'no loop devices' : null));

describe.skipIf(whyNoLoop)(`a block device${whyNoLoop ? ` (skipped: ${whyNoLoop})` : ''}`, () => {
  function withLoop(use: (device: string, backing: string) => void): void {
    const backing = makeImage(path(`loop-${Math.random()}.raw`), 8 * MIB);
    const device = execFileSync('losetup', ['-f', '--show', backing], { encoding: 'utf8' }).trim();
    try {
      use(device, backing);
    } finally {
      execFileSync('losetup', ['-d', device]);
    }
  }

  it('has a size, with and without the addon', () => {
    withLoop((device) => {
      withDisk({ file: device }, ({ disk }) => expect(disk.size).toBe(8 * MIB));
      withDisk({ file: device, host: bareHost }, ({ disk }) => expect(disk.size).toBe(8 * MIB));
    });
  });

  it('is read, written, discarded and zeroed', () => {
    withLoop((device, backing) => {
      withDisk({ file: device }, ({ disk }) => {
        disk.writev([new Uint8Array(2 * MIB).fill(0xaa)], MIB);
        disk.writeZeroes(MIB + 512, 1024, false);
        disk.writeZeroes(2 * MIB, 64 * 1024, true);
        if (disk.canDiscard) disk.discard(2 * MIB + 512 * 1024, 512 * 1024);
        disk.flush();
        const sectors = new Uint8Array(4 * 512);
        disk.readv([sectors], MIB);
        expect([0, 512, 1024, 1536].map((at) => sectors[at])).toEqual([0xaa, 0, 0, 0xaa]);
      });
      const bytes = readFileSync(backing);
      expect([MIB - 1, MIB, MIB + 512, 2 * MIB, 2 * MIB + 65536].map((at) => bytes[at])).toEqual([0, 0xaa, 0, 0, 0xaa]);
    });
  });

  it('is refused for writing while the host has it mounted', () => {
    withLoop((device) => {
      execFileSync('mkfs.ext4', ['-q', device]);
      const mountPoint = path('mnt');
      mkdirSync(mountPoint);
      execFileSync('mount', [device, mountPoint]);
      try {
        expect(() => openDisk({ file: device, host })).toThrow(
          expect.objectContaining({ kind: 'in-use', message: expect.stringMatching(/mounted/) }),
        );
      } finally {
        execFileSync('umount', [mountPoint]);
      }
      withDisk({ file: device }, ({ disk }) => expect(disk.readonly).toBe(false));
    });
  });
});

describe('creating a raw disk', () => {
  it('makes a sparse file', () => {
    const file = path('new.raw');
    createRaw(host, file, 2 ** 30);
    expect(statSync(file)).toMatchObject({ size: 2 ** 30, blocks: 0 });
    withDisk({ file }, ({ disk }) => {
      const last = new Uint8Array(512).fill(1);
      disk.readv([last], 2 ** 30 - 512);
      expect(last.every((byte) => byte === 0)).toBe(true);
    });
  });

  it('overwrites nothing', () => {
    const file = makeImage(path('precious.raw'), 512);
    expect(() => createRaw(host, file, MIB)).toThrow(
      expect.objectContaining({ kind: 'bad-option', message: expect.stringMatching(/exists already/) }),
    );
    expect(statSync(file).size).toBe(512);
  });

  it.each([
    ['an odd size', 'odd', 1000, 'bad-option', /multiple of 512/],
    ['no size', 'zero', 0, 'bad-option', /multiple of 512/],
    ['a folder that is not there', 'nowhere/new', 512, 'not-found', /folder does not exist/],
    ['more than a file system can hold', 'huge', 2 ** 53 - 512, 'too-large', /cannot be that large/],
  ])('refuses %s and leaves no file', (_what, name, size, kind, message) => {
    const file = path(name);
    expect(() => createRaw(host, file, size)).toThrow(
      expect.objectContaining({ kind, message: expect.stringMatching(message) }),
    );
    expect(() => truncateSync(file, 0)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });
});
