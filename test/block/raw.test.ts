/** Reading, writing, flushing, discarding and zeroing raw disks, against what plain files and qemu-io say. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { describe, expect, it } from 'vitest';

import { createRaw } from '../../core/block/create.ts';
import { DiskError } from '../../core/block/errors.ts';
import { diskFromHandle } from '../../core/block/open.ts';
import type { Disk } from '../../core/block/disk.ts';
import { createMachineMemory } from '../../core/memory/create.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import {
  bareHost,
  expectBytes,
  host,
  hostError,
  hostWith,
  KIB,
  makeImage,
  MIB,
  missing,
  pattern,
  run,
  tempFolder,
  withDisk,
} from './tools.ts';

const folder = tempFolder();
let count = 0;
const fresh = (bytes: Uint8Array | number = MIB) => makeImage(join(folder, `disk${count++}.raw`), bytes);
const contents = (file: string) => new Uint8Array(readFileSync(file));
const bytesOf = (disk: Disk, offset: number, length: number) => {
  const bytes = new Uint8Array(length).fill(0x5a);
  disk.readv([bytes], offset);
  return bytes;
};

describe('reading and writing', () => {
  it('reads into many views, in order, whatever their sizes', () => {
    const bytes = pattern(MIB);
    withDisk({ file: fresh(bytes) }, ({ disk }) => {
      const views = [1, 0, 511, 4096, 3, 100_000].map((length) => new Uint8Array(length));
      disk.readv(views, 512);
      expectBytes(Buffer.concat(views), bytes.subarray(512, 512 + 104_611));
    });
  });

  it('writes many views, and nothing beside them', () => {
    const file = fresh(pattern(MIB));
    const expected = pattern(MIB);
    const data = pattern(8192, 99);
    expected.set(data, 4096);
    withDisk({ file }, ({ disk }) => {
      disk.writev([data.subarray(0, 5), data.subarray(5, 5), data.subarray(5, 5000), data.subarray(5000)], 4096);
      disk.flush();
    });
    expectBytes(contents(file), expected);
  });

  it('takes more views than one system call does', () => {
    const file = fresh(pattern(4 * MIB));
    withDisk({ file }, ({ disk }) => {
      const views = Array.from({ length: 3000 }, () => new Uint8Array(512));
      disk.readv(views, 0);
      expectBytes(Buffer.concat(views), pattern(4 * MIB).subarray(0, 3000 * 512));
      disk.writev(views, MIB);
    });
    expectBytes(contents(file).subarray(MIB, MIB + 3000 * 512), pattern(3000 * 512));
  });

  it('reaches to the last byte of a disk beyond 4 GiB', () => {
    const file = join(folder, 'large.raw');
    const size = 6 * 2 ** 30;
    createRaw(host, file, size);
    withDisk({ file }, ({ disk }) => {
      const data = pattern(1024);
      disk.writev([data], size - 1024);
      disk.writev([data], 2 ** 32 - 512);
      expectBytes(bytesOf(disk, size - 1024, 1024), data);
      expectBytes(bytesOf(disk, 2 ** 32 - 512, 1024), data);
      expectBytes(bytesOf(disk, 0, 512), new Uint8Array(512));
    });
  });

  it('moves data straight in and out of guest RAM', () => {
    const bytes = pattern(64 * KIB);
    const memory = createMachineMemory({ ramSize: 16 * MIB, host });
    const { guest } = memory;
    const file = fresh(bytes);
    withDisk({ file }, ({ disk }) => {
      disk.readv([guest.view(RAM_BASE + 100, 4096), guest.view(RAM_BASE + 15 * MIB, 4096)], 8192);
      expectBytes(guest.read(RAM_BASE + 15 * MIB, 4096), bytes.subarray(12288, 16384));
      disk.writev([guest.view(RAM_BASE + 15 * MIB, 4096), guest.view(RAM_BASE + 100, 4096)], 8192);
    });
    expectBytes(contents(file).subarray(8192, 12288), bytes.subarray(12288, 16384));
    memory.close();
  });

  it('goes on after short transfers and interruptions', () => {
    const some = (views: readonly NodeJS.ArrayBufferView[]) => {
      // Seven bytes of the first view that has any: no call moves all there is.
      const view = views.find(({ byteLength }) => byteLength > 0)!;
      return [new Uint8Array(view.buffer, view.byteOffset, Math.min(7, view.byteLength))];
    };
    let calls = 0;
    const interrupt = () => {
      if (calls++ % 3 === 0) throw hostError('EINTR');
    };
    const grudging = hostWith({
      readv: (fd, views, position) => (interrupt(), host.readv(fd, some(views), position)),
      writev: (fd, views, position) => (interrupt(), host.writev(fd, some(views), position)),
    });
    const file = fresh(pattern(4096));
    // The image is opened by a well-behaved host: only transfers are to be short.
    withDisk({ file }, ({ disk: opened }) => {
      const disk = diskFromHandle(opened.handle, grudging);
      const views = [new Uint8Array(10), new Uint8Array(600), new Uint8Array(3486)];
      disk.readv(views, 0);
      expectBytes(Buffer.concat(views), pattern(4096));
      disk.writev(views.toReversed(), 0);
    });
    const [a, b, c] = [pattern(4096).subarray(0, 10), pattern(4096).subarray(10, 610), pattern(4096).subarray(610)];
    expectBytes(contents(file), Buffer.concat([c, b, a]));
  });

  it.each<[string, (disk: Disk) => void]>([
    ['a read at the end', (disk) => disk.readv([new Uint8Array(1)], MIB)],
    ['a read across the end', (disk) => disk.readv([new Uint8Array(512), new Uint8Array(1)], MIB - 512)],
    ['a write across the end', (disk) => disk.writev([new Uint8Array(1024)], MIB - 512)],
    ['a negative offset', (disk) => disk.writev([new Uint8Array(512)], -512)],
    ['no number', (disk) => disk.readv([new Uint8Array(512)], NaN)],
    ['a discard across the end', (disk) => disk.discard(512, MIB)],
    ['zeroes across the end', (disk) => disk.writeZeroes(MIB - 512, 1024, true)],
    ['a negative length', (disk) => disk.writeZeroes(MIB, -512, false)],
    ['a length that would wrap', (disk) => disk.discard(512, 2 ** 64)],
  ])('refuses %s', (_what, act) => {
    const file = fresh();
    withDisk({ file }, ({ disk }) => expect(() => act(disk)).toThrow(expect.objectContaining({ code: 'EINVAL' })));
    expect(statSync(file).size).toBe(MIB);
  });

  it('takes an empty transfer anywhere on the disk, its end included', () => {
    withDisk({ file: fresh() }, ({ disk }) => {
      disk.readv([], MIB);
      disk.writev([new Uint8Array(0)], MIB);
      disk.writeZeroes(MIB, 0, true);
    });
  });

  it('never writes read-only', () => {
    const file = fresh(pattern(MIB));
    withDisk({ file, readonly: true }, ({ disk }) => {
      const readOnly = expect.objectContaining({ name: 'DiskError', code: 'EROFS' });
      expect(() => disk.writev([new Uint8Array(512)], 0)).toThrow(readOnly);
      expect(() => disk.writeZeroes(0, 512, false)).toThrow(readOnly);
      expect(() => disk.discard(0, 512)).toThrow(readOnly);
      disk.flush();
      expectBytes(bytesOf(disk, 0, MIB), pattern(MIB));
    });
  });

  it('does nothing once closed', () => {
    withDisk({ file: fresh() }, ({ disk }) => {
      disk.close();
      const closed = expect.objectContaining({ code: 'EBADF' });
      expect(() => disk.readv([new Uint8Array(512)], 0)).toThrow(closed);
      expect(() => disk.writev([new Uint8Array(512)], 0)).toThrow(closed);
      expect(() => disk.flush()).toThrow(closed);
      expect(() => disk.discard(0, 512)).toThrow(closed);
    });
  });

  it('is handed to a worker, which leaves the file to its owner', async () => {
    const file = fresh();
    await withOpen(file, async (disk) => {
      const worker = new Worker(
        `import { workerData } from 'node:worker_threads';
         const { createHost } = await import(workerData.host);
         const { diskFromHandle } = await import(workerData.open);
         const disk = diskFromHandle(workerData.handle, createHost(workerData.spec));
         disk.writev([new Uint8Array(512).fill(7)], 1024);
         disk.flush();
         disk.close();`,
        {
          eval: true,
          workerData: {
            host: new URL('../../core/host/node-host.ts', import.meta.url).href,
            open: new URL('../../core/block/open.ts', import.meta.url).href,
            spec: hostSpec,
            handle: disk.handle,
          },
        },
      );
      await once(worker, 'exit');
      expectBytes(bytesOf(disk, 1024, 512), new Uint8Array(512).fill(7));
    });
  });

  const whyNoQemu = missing('qemu-io') ?? missing('qemu-img');
  it.skipIf(whyNoQemu)('agrees with qemu-io on every byte', () => {
    const file = fresh(4 * MIB);
    const commands = ['write -P 0x11 64k 64k', 'write -P 0x22 1M 512', 'write -z 96k 4k'].flatMap((text) => [
      '-c',
      text,
    ]);
    execFileSync('qemu-io', ['-f', 'raw', ...commands, file]);
    withDisk({ file }, ({ disk }) => {
      expectBytes(bytesOf(disk, 64 * KIB, 32 * KIB), new Uint8Array(32 * KIB).fill(0x11));
      expectBytes(bytesOf(disk, 96 * KIB, 4 * KIB), new Uint8Array(4 * KIB));
      expectBytes(bytesOf(disk, MIB, 512), new Uint8Array(512).fill(0x22));
      disk.writev([new Uint8Array(1024).fill(0x33)], 2 * MIB - 512);
      disk.writeZeroes(64 * KIB, 16 * KIB, true);
      disk.flush();
    });
    const checks = ['read -P 0x33 2096640 1024', 'read -P 0 64k 16k', 'read -P 0x11 80k 16k', 'read -P 0 2097664 512'];
    const said = run('qemu-io', ['-f', 'raw', '-r', ...checks.flatMap((text) => ['-c', text]), file]);
    expect(said.text).not.toMatch(/failed/i);
    expect(said.status).toBe(0);
  });
});

describe('discarding and zeroing', () => {
  const blocksOf = (file: string) => statSync(file).blocks * 512;

  it.skipIf(whyNoAddon)('frees what is discarded, as qemu-img sees it', () => {
    const file = fresh(pattern(4 * MIB));
    withDisk({ file }, ({ disk }) => {
      expect(disk.canDiscard).toBe(true);
      disk.flush();
      const before = blocksOf(file);
      disk.discard(MIB, 2 * MIB);
      disk.flush();
      expect(before - blocksOf(file)).toBe(2 * MIB);
      expectBytes(bytesOf(disk, 3 * MIB, MIB), pattern(4 * MIB).subarray(3 * MIB));
    });
    expect(statSync(file).size).toBe(4 * MIB);
    if (missing('qemu-img')) return;
    const map = JSON.parse(run('qemu-img', ['map', '-f', 'raw', '--output=json', file]).text) as { start: number }[];
    expect(map).toMatchObject([
      { start: 0, length: MIB, data: true },
      { start: MIB, length: 2 * MIB, data: false, zero: true },
      { start: 3 * MIB, length: MIB, data: true },
    ]);
  });

  it.skipIf(whyNoAddon)('gives space back with unmap, and keeps it without', () => {
    const file = fresh(pattern(MIB));
    withDisk({ file }, ({ disk }) => {
      disk.flush();
      const full = blocksOf(file);
      disk.writeZeroes(0, 256 * KIB, false);
      expect(blocksOf(file)).toBe(full);
      disk.writeZeroes(0, 256 * KIB, true);
      expect(full - blocksOf(file)).toBe(256 * KIB);
      expectBytes(bytesOf(disk, 0, 256 * KIB), new Uint8Array(256 * KIB));
    });
  });

  it.skipIf(whyNoAddon)('keeps the space with discard=ignore', () => {
    const file = fresh(pattern(MIB));
    withDisk({ file, discard: 'ignore' }, ({ disk }) => {
      disk.flush();
      const full = blocksOf(file);
      disk.writeZeroes(0, 256 * KIB, true);
      expect(blocksOf(file)).toBe(full);
      expect(() => disk.discard(0, 512)).toThrow(expect.objectContaining({ code: 'ENOTSUP' }));
    });
  });

  const refusing = hostWith({
    punchHole: () => {
      throw hostError('EOPNOTSUPP');
    },
    zeroRange: () => {
      throw hostError('EOPNOTSUPP');
    },
  });
  it.each([
    ['with the means of this host', host],
    ['without the addon', bareHost],
    ['on a file system that has no holes', refusing],
  ])('zeroes exactly the range, %s', (_what, using) => {
    const file = fresh(pattern(4 * MIB));
    const expected = pattern(4 * MIB).fill(0, 512, 512 + 2 * MIB + 1024);
    expected.fill(0, 3 * MIB, 3 * MIB + 512);
    withDisk({ file, host: using }, ({ disk }) => {
      disk.writeZeroes(512, 2 * MIB + 1024, true);
      disk.writeZeroes(3 * MIB, 512, false);
    });
    expectBytes(contents(file), expected);
  });

  it('has a discard succeed that the file system turns out not to know', () => {
    let asked = 0;
    const once = hostWith({
      punchHole: () => {
        // Yes when the disk is opened, no afterwards.
        if (asked++ > 0) throw hostError('EOPNOTSUPP');
      },
      holes: { available: true },
    });
    const file = fresh(pattern(MIB));
    withDisk({ file, host: once }, ({ disk }) => {
      disk.discard(0, MIB);
      disk.discard(0, MIB);
      expect(asked).toBe(2);
      expectBytes(bytesOf(disk, 0, MIB), pattern(MIB));
    });
  });
});

describe('when the host fails', () => {
  const failing = (code: string) => () => {
    throw hostError(code);
  };

  it.each(['ENOSPC', 'EDQUOT', 'EIO', 'EFBIG', 'ESTALE'])('says %s of a write', (code) => {
    withDisk({ file: fresh(), host: hostWith({ writev: failing(code) }) }, ({ disk }) => {
      const failure = attempt(() => disk.writev([new Uint8Array(512)], 0));
      expect(failure).toMatchObject({ code, operation: 'write', outOfSpace: code === 'ENOSPC' || code === 'EDQUOT' });
      expect(failure.message).toMatch(/^cannot write ".*disk\d+\.raw": /);
    });
  });

  it('says ENOSPC of zeroes that need space', () => {
    withDisk(
      { file: fresh(), host: hostWith({ zeroRange: failing('ENOSPC'), holes: { available: true } }) },
      ({ disk }) => {
        expect(attempt(() => disk.writeZeroes(0, 512, false))).toMatchObject({ code: 'ENOSPC' });
      },
    );
  });

  it('never flushes again on any thread after a flush has failed on one', () => {
    let flushes = 0;
    const broken = hostWith({
      fdatasync() {
        if (flushes++ === 0) throw hostError('EIO');
      },
    });
    withDisk({ file: fresh() }, ({ disk }) => {
      const [one, other] = [diskFromHandle(disk.handle, broken), diskFromHandle(disk.handle, broken)];
      expect(attempt(() => one.flush())).toMatchObject({ code: 'EIO' });
      expect(attempt(() => other.flush())).toMatchObject({
        code: 'EIO',
        message: expect.stringContaining('an earlier flush has failed') as string,
      });
      expect(flushes).toBe(1);
    });
  });

  it('never flushes again after a flush has failed', () => {
    let flushes = 0;
    const lossy = hostWith({
      fdatasync: () => {
        if (flushes++ === 0) throw hostError('EIO');
      },
    });
    withDisk({ file: fresh(), host: lossy }, ({ disk }) => {
      expect(attempt(() => disk.flush())).toMatchObject({ code: 'EIO', operation: 'flush' });
      expect(attempt(() => disk.flush())).toMatchObject({ code: 'EIO' });
      expect(flushes).toBe(1);
    });
  });

  it('fails to read what somebody has cut off, and reads the rest', () => {
    const file = fresh(pattern(MIB));
    withDisk({ file }, ({ disk }) => {
      truncateSync(file, 64 * KIB);
      expectBytes(bytesOf(disk, 0, 64 * KIB), pattern(MIB).subarray(0, 64 * KIB));
      const failure = attempt(() => disk.readv([new Uint8Array(1024)], 64 * KIB - 512));
      expect(failure).toMatchObject({ code: 'EIO', message: expect.stringMatching(/Somebody has truncated it/) });
      expect(attempt(() => disk.readv([new Uint8Array(512)], MIB - 512))).toMatchObject({ code: 'EIO' });
    });
  });

  it('passes on what is a bug and no failure of the host', () => {
    const buggy = hostWith({
      fdatasync: () => {
        throw new TypeError('a bug');
      },
    });
    withDisk({ file: fresh(), host: buggy }, ({ disk }) => expect(() => disk.flush()).toThrow(TypeError));
  });
});

function attempt(act: () => void): DiskError {
  try {
    act();
  } catch (error) {
    if (error instanceof DiskError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

async function withOpen(file: string, use: (disk: Disk) => Promise<void>): Promise<void> {
  const { openDisk } = await import('../../core/block/open.ts');
  const { disk } = openDisk({ file, host });
  try {
    await use(disk);
  } finally {
    disk.close();
  }
}
