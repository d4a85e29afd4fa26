/** Kernel modules, the kernel itself, and our init's scripts. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readSections, stripModule } from '../../main/guests/initramfs/elf.ts';
import { INIT_FILES } from '../../main/guests/initramfs/init-script.ts';
import { isRiscvImage, toRiscvImage } from '../../main/guests/initramfs/kernel-image.ts';
import {
  moduleName,
  modulesAlias,
  modulesDep,
  parseBuiltin,
  readModinfo,
  resolveModules,
} from '../../main/guests/initramfs/modules.ts';
import type { KernelModule } from '../../main/guests/initramfs/modules.ts';
import { makeImage, makeModule, makeXz } from './doubles/archives.ts';

const GCC = 'riscv64-linux-gnu-gcc';
const READELF = 'riscv64-linux-gnu-readelf';
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringside-modules-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function hasTool(name: string): boolean {
  return spawnSync(name, ['--version']).error === undefined;
}

describe('modules', () => {
  const available = new Map<string, Uint8Array>([
    ['kernel/fs/ext4/ext4.ko.xz', makeXz(makeModule(['depends=jbd2,mb-cache', 'softdep=pre: crc32c post: nothing']))],
    ['kernel/fs/jbd2/jbd2.ko', makeModule(['depends=', 'alias=fs-jbd2'])],
    ['kernel/fs/mb-cache.ko.gz', gzipSync(makeModule(['depends=jbd2']))],
    ['kernel/crypto/crc32c.ko', makeModule(['alias=crypto-crc32c'])],
    ['kernel/lonely.ko', makeModule(['depends=virtio'])],
    ['kernel/orphan.ko', makeModule(['depends=missing'])],
    ['kernel/ring-a.ko', makeModule(['depends=ring_b'])],
    ['kernel/ring-b.ko', makeModule(['depends=ring-a'])],
    ['kernel/broken.ko', Buffer.from('not an ELF file')],
  ]);
  const resolve = (required: string[], optional: string[] = []): Promise<KernelModule[]> =>
    resolveModules(available, required, optional, new Set(['virtio']));
  const names = (modules: KernelModule[]): string[] => modules.map(({ name }) => name);

  test('come with what they depend on, each after it', async () => {
    expect(names(await resolve(['ext4'], ['jbd2', 'nowhere']))).toEqual(['crc32c', 'jbd2', 'mb_cache', 'ext4']);
  });

  test('may be built into the kernel, and so may what they need', async () => {
    expect(names(await resolve(['virtio', 'lonely']))).toEqual(['lonely']);
  });

  test.each([
    ['a required module that is not there', ['nowhere'], 'nowhere'],
    ['a missing dependency', ['orphan'], 'orphan -> missing'],
    ['a circle', ['ring_a'], 'circle'],
    ['a file that is no module', ['broken'], 'not a kernel module'],
  ])('refuse %s', async (_, required, why) => {
    await expect(resolve(required)).rejects.toMatchObject({ kind: 'bad-image', message: expect.stringContaining(why) });
  });

  test('modules.dep and modules.alias are what modprobe reads', async () => {
    const modules = await resolve(['ext4']);
    expect(modulesDep(modules, ({ path, suffix }) => path + suffix).split('\n')).toEqual([
      'kernel/crypto/crc32c.ko:',
      'kernel/fs/jbd2/jbd2.ko:',
      'kernel/fs/mb-cache.ko.gz: kernel/fs/jbd2/jbd2.ko',
      // What is to be loaded first comes last.
      'kernel/fs/ext4/ext4.ko.xz: kernel/fs/mb-cache.ko.gz kernel/fs/jbd2/jbd2.ko',
      '',
    ]);
    expect(modulesAlias(modules)).toContain('alias crypto-crc32c crc32c\nalias fs-jbd2 jbd2\n');
  });

  test('a line break in an alias does not forge another', () => {
    expect(readModinfo(makeModule(['alias=a\nalias b evil', 'alias=good']), 'x').aliases).toEqual(['good']);
  });

  test('names', () => {
    expect(moduleName('kernel/nls/nls_iso8859-1.ko.xz')).toBe('nls_iso8859_1');
    expect(parseBuiltin('kernel/a/b-c.ko\nkernel/d.ko\n')).toEqual(new Set(['b_c', 'd']));
  });
});

describe('ELF', () => {
  test.each<[string, (elf: Buffer) => void]>([
    ['a 32-bit file', (elf) => elf.writeUInt8(1, 4)],
    ['a big-endian file', (elf) => elf.writeUInt8(2, 5)],
    ['a section table past the end', (elf) => elf.writeBigUInt64LE(2n ** 40n, 40)],
    ['too many sections', (elf) => elf.writeUInt16LE(0xff00, 60)],
    ['odd section headers', (elf) => elf.writeUInt16LE(1, 58)],
    ['names in no section', (elf) => elf.writeUInt16LE(99, 62)],
    ['a section past the end', (elf) => elf.writeBigUInt64LE(2n ** 62n, elf.length - 64 + 24)],
    ['a section of endless length', (elf) => elf.writeBigUInt64LE(2n ** 63n, elf.length - 64 + 32)],
  ])('%s is refused', (_, spoil) => {
    const elf = makeModule(['depends=']);
    spoil(elf);
    expect(() => readModinfo(elf, 'x')).toThrow(expect.objectContaining({ kind: 'bad-image' }));
  });

  test('every truncation is refused', () => {
    const elf = makeModule(['depends=a']);
    for (let length = 0; length < elf.length; length++) {
      expect(() => readModinfo(elf.subarray(0, length), 'x')).toThrow(expect.objectContaining({ kind: 'bad-image' }));
    }
  });

  test('a module with no symbols stays as it is', () => {
    const elf = makeModule(['depends=']);
    expect(stripModule(elf, 'x')).toBe(elf);
  });

  describe.skipIf(!hasTool(GCC) || !hasTool(READELF))('stripping what gcc compiles', () => {
    const SOURCE = `
      static const char *names[] = { "one", "two" };
      static int hidden(int n) { return n > 3 ? names[n & 1][0] : n * 2; }
      int table[4] = { 1, 2, 3, 4 };
      extern int elsewhere(int);
      int visible(int n) { for (int i = 0; i < n; i++) table[i & 3] += elsewhere(hidden(i)); return table[n & 3]; }
      __asm__(".text\\n.Lidle_label_a:\\n nop\\nidle_label_b:\\n nop\\n");`;
    let before: Buffer;
    let after: Uint8Array;

    beforeAll(() => {
      writeFileSync(join(folder, 'm.c'), SOURCE);
      // Labels are kept as in Debian's modules, where linker relaxation needs them.
      execFileSync(GCC, ['-O1', '-fno-inline', '-g', '-Wa,-L', '-c', join(folder, 'm.c'), '-o', join(folder, 'm.o')]);
      before = Buffer.concat([readFileSync(join(folder, 'm.o')), Buffer.from('~Module signature appended~\n')]);
      after = stripModule(before, 'm.o');
      writeFileSync(join(folder, 'stripped.o'), after);
    });

    const readelf = (option: string, file: string): string =>
      execFileSync(READELF, ['-W', option, join(folder, file)]).toString();
    const symbols = (file: string): string[] =>
      readelf('-s', file)
        .split('\n')
        .filter((line) => /^\s*\d+:/.test(line))
        .map((line) => line.trim().split(/\s+/).slice(1).join(' '));

    test('takes only local labels that nothing refers to', () => {
      const gone = symbols('m.o').filter((symbol) => !symbols('stripped.o').includes(symbol));
      expect(gone.length).toBeGreaterThan(2);
      expect(gone.every((symbol) => symbol.includes(' NOTYPE LOCAL '))).toBe(true);
      expect(symbols('stripped.o').join('\n')).toMatch(/FUNC LOCAL .* hidden[^]*FUNC GLOBAL .* visible/);
      expect(symbols('stripped.o').join('\n')).not.toContain('idle_label');
    });

    test('leaves every relocation with the same symbol, and every section with the same bytes', () => {
      const relocations = (file: string): string[] =>
        readelf('-r', file)
          .split('\n')
          .filter((line) => /R_RISCV/.test(line))
          // Without the second column, which holds the symbol's number.
          .map((line) =>
            line
              .trim()
              .split(/\s+/)
              .filter((_, column) => column !== 1)
              .join(' '),
          );
      expect(relocations('stripped.o').length).toBeGreaterThan(10);
      expect(relocations('stripped.o')).toEqual(relocations('m.o'));
      const contents = (elf: Uint8Array): [string, string][] =>
        readSections(elf, 'x')
          .filter(({ name }) => !/^\.(rela|symtab|strtab)/.test(name))
          .map(({ name, bytes }) => [name, Buffer.from(bytes).toString('hex')]);
      expect(contents(after)).toEqual(contents(before));
    });

    test('drops the signature, which no longer matches', () => {
      expect(Buffer.from(after).includes('~Module signature appended~')).toBe(false);
      expect(readelf('-h', 'stripped.o')).toContain('RISC-V');
    });

    test('a relocation of a symbol that is not there is refused', () => {
      const elf = Buffer.from(before);
      const { bytes } = readSections(elf, 'x').find(({ name }) => name === '.rela.text')!;
      elf.writeUInt32LE(0xffff_0000, bytes.byteOffset - elf.byteOffset + 12);
      expect(() => stripModule(elf, 'x')).toThrow(expect.objectContaining({ kind: 'bad-image' }));
    });
  });
});

describe('the kernel', () => {
  const image = makeImage();
  const zboot = (name: string, payload: Uint8Array): Buffer => {
    const header = Buffer.alloc(64);
    header.write('MZ\0\0zimg', 0, 'latin1');
    header.writeUInt32LE(64, 8);
    header.writeUInt32LE(payload.length, 12);
    header.write(name, 24);
    return Buffer.concat([header, payload]);
  };

  test.each<[string, Uint8Array]>([
    ['an Image', image],
    ['a gzipped Image', gzipSync(image)],
    ['an EFI zboot program, gzip', zboot('gzip', gzipSync(image))],
    ['an EFI zboot program, zstd', zboot('zstd', zstdCompressSync(image))],
  ])('comes out of %s', async (_, data) => {
    expect(Buffer.from(await toRiscvImage(data)).equals(image)).toBe(true);
  });

  test.each<[string, Uint8Array, string]>([
    ['nothing', Buffer.alloc(0), 'bad-kernel'],
    ['another architecture', Buffer.alloc(200, 1), 'bad-kernel'],
    ['gzip of something else', gzipSync(Buffer.alloc(200)), 'bad-kernel'],
    ['zboot in an unknown compression', zboot('lzo', image), 'bad-image'],
    ['zboot with a payload past the end', zboot('gzip', gzipSync(image)).subarray(0, 80), 'bad-image'],
  ])('is not %s', async (_, data, kind) => {
    expect(isRiscvImage(data)).toBe(false);
    await expect(toRiscvImage(data)).rejects.toMatchObject({ kind });
  });
});

describe('our scripts', () => {
  const scripts = INIT_FILES.filter(({ text }) => text.startsWith('#!'));

  test.skipIf(process.platform === 'win32').each(scripts)('$name parses', ({ text }) => {
    expect(spawnSync('sh', ['-n'], { input: text })).toMatchObject({ status: 0 });
  });

  test.skipIf(!hasTool('shellcheck')).each(scripts)('$name passes shellcheck', ({ text }) => {
    // SC2164: /root is ours. SC2013, SC2086: words are split on purpose; SC2154: udhcpc and uevent set variables.
    const options = ['-s', 'dash', '-e', 'SC2013,SC2086,SC2154,SC2164', '-'];
    const { stdout, status } = spawnSync('shellcheck', options, { input: text });
    expect(stdout.toString()).toBe('');
    expect(status).toBe(0);
  });
});
