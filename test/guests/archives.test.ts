/** The archive formats of Debian packages and of the initramfs, against our own builders and the real tools. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readAr } from '../../main/guests/archive/ar.ts';
import { writeCpio } from '../../main/guests/archive/cpio.ts';
import { decompressBytes } from '../../main/guests/archive/decompress.ts';
import { readDeb } from '../../main/guests/archive/deb.ts';
import { readTar } from '../../main/guests/archive/tar.ts';
import type { TarEntry } from '../../main/guests/archive/tar.ts';
import { makeAr, makeDeb, makeTar, makeXz, padded, tarHeader, withChecksum } from './doubles/archives.ts';
import type { TarItem } from './doubles/archives.ts';

const LIMITS = { total: 2 ** 20, entry: 2 ** 16 };
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringside-archives-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function hasTool(name: string): boolean {
  return spawnSync(name, ['--version']).error === undefined;
}

function inFolder(name: string, data: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, data);
  return path;
}

async function* chunks(data: Uint8Array, size = 100): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

async function untar(data: Uint8Array, options: { chunk?: number; limit?: number } = {}): Promise<TarEntry[]> {
  return all(readTar(chunks(data, options.chunk), () => true, options.limit ?? LIMITS.entry));
}

async function arMembers(data: Uint8Array): Promise<{ name: string; text: string }[]> {
  const file = await open(inFolder('test.ar', data));
  try {
    const members = await readAr(file);
    return members.map(({ name, offset, size }) => ({
      name,
      text: Buffer.from(data.subarray(offset, offset + size)).toString(),
    }));
  } finally {
    await file.close();
  }
}

async function debFiles(data: Uint8Array, limits = LIMITS): Promise<Record<string, string>> {
  const path = inFolder('test.deb', data);
  const entries = await all(readDeb(path, ({ type }) => type === 'file', limits));
  return Object.fromEntries(entries.map(({ name, data: content }) => [name, Buffer.from(content).toString()]));
}

describe('decompression', () => {
  const text = Buffer.from('Ringside '.repeat(20_000));

  test.each([
    ['xz', makeXz(text)],
    ['gz', gzipSync(text)],
    ['zst', zstdCompressSync(text)],
    ['none', text],
  ] as const)('%s', async (compression, packed) => {
    expect(await decompressBytes(packed, compression, text.length, 'x')).toEqual(text);
  });

  test.skipIf(!hasTool('xz')).each(['--check=crc32', '--check=crc64', '--check=none', '--block-size=1000'])(
    'what xz %s makes',
    async (option) => {
      const packed = execFileSync('xz', ['-c', option], { input: text });
      expect(await decompressBytes(packed, 'xz', text.length, 'x')).toEqual(text);
    },
  );

  test.each(['xz', 'gz', 'zst'] as const)('truncated or damaged %s is refused', async (compression) => {
    const packed = { xz: makeXz, gz: gzipSync, zst: zstdCompressSync }[compression](text);
    const damaged = Buffer.from(packed);
    damaged.fill(0xff, packed.length >> 1);
    for (const bad of [packed.subarray(0, packed.length >> 1), damaged, Buffer.from('not compressed at all')]) {
      await expect(decompressBytes(bad, compression, 2 ** 20, 'x')).rejects.toMatchObject({ kind: 'bad-image' });
    }
  });

  test.each(['xz', 'gz', 'zst'] as const)('more than the limit of %s is refused', async (compression) => {
    const packed = { xz: makeXz, gz: gzipSync, zst: zstdCompressSync }[compression](text);
    await expect(decompressBytes(packed, compression, text.length - 1, 'x')).rejects.toMatchObject({
      kind: 'bad-image',
      message: expect.stringContaining('unpacks to more than'),
    });
  });
});

describe('ar', () => {
  test('lists members, odd and even', async () => {
    const members = [
      { name: 'odd', data: 'abc' },
      { name: 'even', data: 'abcd' },
      { name: 'gnu/', data: '' },
    ];
    expect(await arMembers(makeAr(members))).toEqual([
      { name: 'odd', text: 'abc' },
      { name: 'even', text: 'abcd' },
      { name: 'gnu', text: '' },
    ]);
  });

  test.skipIf(!hasTool('ar'))('reads what ar makes', async () => {
    const one = inFolder('one', Buffer.from('first'));
    const two = inFolder('two', Buffer.from('second!'));
    execFileSync('ar', ['rc', join(folder, 'real.ar'), one, two]);
    expect(await arMembers(readFileSync(join(folder, 'real.ar')))).toEqual([
      { name: 'one', text: 'first' },
      { name: 'two', text: 'second!' },
    ]);
  });

  test.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['no magic', Buffer.from('PK\x03\x04 and so on')],
    ['a member longer than the file', makeAr([{ name: 'x', data: 'abc', size: 4000 }])],
    ['a negative size', makeAr([{ name: 'x', data: 'abc', size: -5 }])],
    [
      'a size that is no number',
      Buffer.from(
        makeAr([{ name: 'x', data: 'abc' }])
          .toString()
          .replace(/3 {9}/, '0x3       '),
      ),
    ],
    ['half a header', makeAr([{ name: 'x', data: 'abc' }]).subarray(0, 40)],
    [
      'a header with no end mark',
      Buffer.from(
        makeAr([{ name: 'x', data: 'abc' }])
          .toString()
          .replace('`', '!'),
      ),
    ],
    ['a great many members', makeAr(Array.from({ length: 1000 }, () => ({ name: 'x', data: '' })))],
  ])('refuses %s', async (_, data) => {
    await expect(arMembers(data)).rejects.toMatchObject({ kind: 'bad-image' });
  });
});

describe('tar', () => {
  const items: TarItem[] = [
    { name: './', type: '5', mode: 0o755 },
    { name: './usr/bin/tool', data: 'binary', mode: 0o4755 },
    { name: './usr/bin/link', type: '2', linkname: 'tool' },
    { name: './usr/bin/hard', type: '1', linkname: './usr/bin/tool' },
    { name: './big', data: 'x'.repeat(5000) },
    { name: './empty' },
  ];

  test.each([1, 511, 512, 100_000])('reads entries however they are cut (%i bytes)', async (chunk) => {
    const entries = await untar(makeTar(items), { chunk });
    expect(entries.map(({ name, type, mode, linkname, data }) => [name, type, mode, linkname, data.length])).toEqual([
      ['', 'directory', 0o755, '', 0],
      ['usr/bin/tool', 'file', 0o4755, '', 6],
      ['usr/bin/link', 'symlink', 0o644, 'tool', 0],
      ['usr/bin/hard', 'hardlink', 0o644, './usr/bin/tool', 0],
      ['big', 'file', 0o644, '', 5000],
      ['empty', 'file', 0o644, '', 0],
    ]);
  });

  test('long names: GNU, pax and ustar prefix', async () => {
    const long = `${'deep/'.repeat(40)}file`;
    const record = ` path=${long}\n`;
    const pax = `${record.length + 3}${record}`;
    const prefixed = tarHeader({ name: 'file', data: '3' });
    prefixed.write('some/prefix', 345);
    const archive = Buffer.concat([
      makeTar([
        { name: '././@LongLink', type: 'L', data: `${long}\0` },
        { name: 'short', data: '1' },
        { name: 'pax', type: 'x', data: pax },
        { name: 'short', data: '2' },
      ]).subarray(0, -1024),
      withChecksum(prefixed),
      padded('3'),
      Buffer.alloc(1024),
    ]);
    const entries = await untar(archive);
    expect(entries.map(({ name, data }) => [name, Buffer.from(data).toString()])).toEqual([
      [long, '1'],
      [long, '2'],
      ['some/prefix/file', '3'],
    ]);
  });

  test.skipIf(!hasTool('tar')).each(['gnu', 'pax', 'ustar'])('reads what tar makes (%s)', async (format) => {
    const name = `${'d'.repeat(60)}/${'f'.repeat(60)}`;
    execFileSync('mkdir', ['-p', join(folder, 'tree', name, '..')]);
    writeFileSync(join(folder, 'tree', name), 'content');
    const archive = execFileSync('tar', [`--format=${format}`, '-C', join(folder, 'tree'), '-c', '.']);
    const files = (await untar(archive)).filter(({ type }) => type === 'file');
    expect(files.map((file) => [file.name, Buffer.from(file.data).toString()])).toEqual([[name, 'content']]);
  });

  test.each<[string, Buffer]>([
    ['a name that climbs out', makeTar([{ name: '../../etc/passwd', data: 'x' }])],
    ['a name that climbs out further in', makeTar([{ name: './usr/../../x', data: 'x' }])],
    ['an absolute name', makeTar([{ name: '/etc/passwd', data: 'x' }])],
    ['a name with a backslash', makeTar([{ name: 'a\\..\\b', data: 'x' }])],
    ['a long name that climbs out', makeTar([{ name: 'L', type: 'L', data: '../x\0' }, { name: 'y' }])],
    ['a pax name that climbs out', makeTar([{ name: 'x', type: 'x', data: '13 path=../x\n' }, { name: 'y' }])],
    ['a pax record that is too long', makeTar([{ name: 'x', type: 'x', data: '999 path=x\n' }, { name: 'y' }])],
    ['a pax record with no length', makeTar([{ name: 'x', type: 'x', data: 'path=x\n' }, { name: 'y' }])],
    ['a pax size that is no number', makeTar([{ name: 'x', type: 'x', data: '11 size=-5\n' }, { name: 'y' }])],
    ['a member larger than allowed', makeTar([{ name: 'x', data: 'x'.repeat(LIMITS.entry + 1) }])],
    ['a claim of a huge member', makeTar([{ name: 'x', data: 'x', size: 2 ** 32 }])],
    ['a claim of a huge long name', makeTar([{ name: 'x', type: 'L', data: 'x', size: 2 ** 30 }])],
    ['a truncated member', makeTar([{ name: 'x', data: 'x'.repeat(2000) }]).subarray(0, 1024)],
    ['a truncated header', makeTar([{ name: 'x' }]).subarray(0, 100)],
    ['a wrong checksum', Buffer.concat([makeTar([{ name: 'x' }]).fill('y', 3, 5)])],
  ])('refuses %s', async (_, archive) => {
    await expect(untar(archive)).rejects.toMatchObject({ kind: 'bad-image' });
  });

  test('skips what is not wanted without keeping it, whatever its size', async () => {
    const archive = makeTar([
      { name: 'skip', data: 'x'.repeat(LIMITS.entry * 2) },
      { name: 'keep', data: 'y' },
    ]);
    const entries = await all(readTar(chunks(archive), ({ name }) => name === 'keep', LIMITS.entry));
    expect(entries.map(({ name }) => name)).toEqual(['keep']);
  });

  test('a base-256 size that is no safe number is refused', async () => {
    const header = tarHeader({ name: 'x' });
    header.fill(0xff, 124, 136);
    header[124] = 0x80;
    await expect(untar(withChecksum(header))).rejects.toMatchObject({ kind: 'bad-image' });
  });
});

describe('deb', () => {
  test('reads the data archive', async () => {
    expect(
      await debFiles(
        makeDeb([
          { name: './a', data: 'one' },
          { name: './b/c', data: 'two' },
        ]),
      ),
    ).toEqual({
      a: 'one',
      'b/c': 'two',
    });
  });

  test.skipIf(!hasTool('dpkg-deb')).each(['xz', 'gzip', 'zstd', 'none'])(
    'reads what dpkg-deb -Z%s makes',
    async (type) => {
      const root = join(folder, `deb-${type}`);
      execFileSync('mkdir', ['-p', join(root, 'DEBIAN'), join(root, 'usr/bin')]);
      writeFileSync(
        join(root, 'DEBIAN/control'),
        'Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n',
      );
      writeFileSync(join(root, 'usr/bin/tool'), 'a tool');
      const made = spawnSync('dpkg-deb', ['--root-owner-group', `-Z${type}`, '-b', root, join(folder, 'made.deb')]);
      // Old versions of dpkg know no zstd.
      if (made.status !== 0) return;
      expect(await debFiles(readFileSync(join(folder, 'made.deb')))).toEqual({ 'usr/bin/tool': 'a tool' });
    },
  );

  test.each<[string, Buffer]>([
    ['an ar file that is no package', makeAr([{ name: 'x', data: 'y' }])],
    ['a package with no data', makeAr([{ name: 'debian-binary', data: '2.0\n' }])],
    [
      'a package with empty data',
      makeAr([
        { name: 'debian-binary', data: '2.0\n' },
        { name: 'data.tar.xz', data: '' },
      ]),
    ],
    [
      'data in a compression nobody knows',
      makeAr([
        { name: 'debian-binary', data: '2.0\n' },
        { name: 'data.tar.lzma', data: 'x' },
      ]),
    ],
  ])('refuses %s', async (_, data) => {
    await expect(debFiles(data)).rejects.toMatchObject({ kind: 'bad-image' });
  });

  test('a decompression bomb is stopped at the limit', async () => {
    const bomb = makeDeb(Array.from({ length: 100 }, (_, n) => ({ name: `./${n}`, data: Buffer.alloc(60_000) })));
    expect(bomb.length).toBeLessThan(2 ** 16);
    await expect(debFiles(bomb)).rejects.toMatchObject({
      kind: 'bad-image',
      message: expect.stringContaining('unpacks to more than 1 MiB'),
    });
  });
});

describe('cpio', () => {
  const entries = [
    { type: 'directory', name: 'dev' },
    { type: 'char', name: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { type: 'directory', name: 'usr', mode: 0o700 },
    { type: 'file', name: 'usr/tool', data: Buffer.from('a tool'), mode: 0o755 },
    { type: 'file', name: 'usr/odd', data: Buffer.from('abc') },
    { type: 'symlink', name: 'bin', target: 'usr/bin' },
  ] as const;

  test('is padded to 512 bytes and the same every time', () => {
    const archive = writeCpio(entries);
    expect(archive.length % 512).toBe(0);
    expect(writeCpio(entries)).toEqual(archive);
  });

  test.skipIf(!hasTool('cpio'))('is what cpio reads', () => {
    const listing = execFileSync('cpio', ['-itv', '--quiet', '--numeric-uid-gid'], { input: writeCpio(entries) });
    const lines = listing.toString().trim().split('\n');
    expect(lines.map((line) => line.replace(/\s+/g, ' ').replace(/ Jan 1 1970/, ''))).toEqual([
      'drwxr-xr-x 2 0 0 0 dev',
      'crw------- 1 0 0 5, 1 dev/console',
      'drwx------ 2 0 0 0 usr',
      '-rwxr-xr-x 1 0 0 6 usr/tool',
      '-rw-r--r-- 1 0 0 3 usr/odd',
      'lrwxrwxrwx 1 0 0 7 bin -> usr/bin',
    ]);
  });

  test.skipIf(!hasTool('cpio'))('has its contents where cpio looks for them', () => {
    const content = execFileSync('cpio', ['-i', '--quiet', '--to-stdout', 'usr/*'], { input: writeCpio(entries) });
    expect(content.toString()).toBe('a toolabc');
  });
});
