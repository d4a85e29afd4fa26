/** `ringside img` beside qemu-img: the same images, the same answers. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { beforeAll, describe, expect, it, vi } from 'vitest';

import { imgCommand } from '../../main/cli/img/index.ts';
import { MIB, missing, pattern, tempFolder } from '../block/tools.ts';

const folder = tempFolder();
const at = (name: string) => join(folder, name);

function img(...args: string[]): { status: number; text: string } {
  let text = '';
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  try {
    const status = imgCommand(args);
    return { status, text };
  } finally {
    spy.mockRestore();
  }
}

function qemu(...args: string[]): { status: number | null; text: string } {
  const done = spawnSync('qemu-img', args, { encoding: 'utf8' });
  return { status: done.status, text: done.stdout ?? '' };
}

/** The words are those of one version: newer ones say more. */
const words = qemu('--version').text.includes('version 7.2.');

describe.skipIf(missing('qemu-img') ?? missing('qemu-io'))('ringside img', () => {
  const base = at('base.qcow2');
  const overlay = at('overlay.qcow2');
  const raw = at('raw.img');

  beforeAll(() => {
    const io = (image: string, ...commands: string[]) =>
      expect(
        spawnSync('qemu-io', [...commands.flatMap((command) => ['-c', command]), '-f', 'qcow2', image]).status,
      ).toBe(0);
    qemu('create', '-f', 'qcow2', base, '3M');
    io(base, 'write -P 3 64k 100k');
    qemu('snapshot', '-c', 'one', base);
    io(base, 'write -P 4 64k 4k');
    qemu('create', '-f', 'qcow2', '-b', base, '-F', 'qcow2', '-o', 'extended_l2=on,lazy_refcounts=on', overlay);
    io(overlay, 'write -P 5 1M 10k', 'write -z 2M 64k');
    writeFileSync(raw, '');
    truncateSync(raw, 3 * MIB);
    writeFileSync(raw, pattern(MIB), { flag: 'r+' });
  });

  it.each([
    ['a plain image', '', '1G'],
    ['of version 2', 'compat=0.10,cluster_size=4k', '10M'],
    ['with subclusters, zstd, other refcounts', 'extended_l2=on,compression_type=zstd,refcount_bits=64', '5T'],
    ['with an odd size', 'lazy_refcounts=on', '1000000'],
  ])('create makes %s, with the words of qemu-img', (_, options, size) => {
    const [ours, theirs] = [at('ours.qcow2'), at('theirs.qcow2')];
    for (const file of [ours, theirs]) spawnSync('rm', ['-f', file]);
    const more = options ? ['-o', options] : [];
    const made = img('create', '-f', 'qcow2', ...more, ours, size);
    const expected = qemu('create', '-f', 'qcow2', ...more, theirs, size);
    if (words) expect(made).toEqual({ status: 0, text: expected.text.replace(theirs, ours) });
    expect(qemu('check', ours).status).toBe(0);
    const facts = (file: string) =>
      qemu('info', file)
        .text.split('\n')
        .filter((line) => !/^(image|disk size)/.test(line));
    expect(facts(ours)).toEqual(facts(theirs));
    // Nothing is overwritten.
    expect(() => img('create', '-f', 'qcow2', ours, size)).toThrow(/exists already/);
  });

  it('create takes the size of the backing file, and its format must be said', () => {
    const file = at('child.qcow2');
    expect(img('create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', file)).toEqual({ status: 0, text: '' });
    expect(qemu('compare', base, file).text).toBe('Images are identical.\n');
    expect(() => img('create', '-f', 'qcow2', '-b', base, at('other.qcow2'))).toThrow(/-F raw or -F qcow2|size/);
  });

  it.skipIf(!words)('info says the same', () => {
    for (const file of [base, overlay]) {
      expect(img('info', file).text).toBe(qemu('info', '-f', 'qcow2', file).text);
      const theirs = JSON.parse(qemu('info', '-f', 'qcow2', '--output=json', file).text) as unknown;
      expect(JSON.parse(img('info', '--output=json', file).text)).toEqual(theirs);
    }
    expect(img('info', raw).text).toBe(qemu('info', '-f', 'raw', raw).text);
  });

  it.skipIf(!words)('map says the same', () => {
    for (const file of [base, overlay, raw]) {
      const format = file === raw ? 'raw' : 'qcow2';
      expect(img('map', '--backing=trust', file).text).toBe(qemu('map', '-f', format, file).text);
      const theirs = JSON.parse(qemu('map', '-f', format, '--output=json', file).text) as unknown;
      expect(JSON.parse(img('map', '--backing=trust', '--output=json', file).text)).toEqual(theirs);
    }
  });

  it('check says the same, and with -r repairs', () => {
    expect(img('check', base)).toEqual(qemu('check', base));
    expect(JSON.parse(img('check', '--output=json', base).text)).toEqual(
      JSON.parse(qemu('check', '--output=json', base).text),
    );
    // Refcount block 0 follows the refcount table: a cluster that is used and not counted, one counted and not used.
    const damaged = at('damaged.qcow2');
    copyFileSync(base, damaged);
    const bytes = readFileSync(damaged);
    const block = Number(bytes.readBigUInt64BE(Number(bytes.readBigUInt64BE(48))));
    bytes.writeUInt16BE(0, block + 2 * 3);
    bytes.writeUInt16BE(1, block + 2 * 60);
    writeFileSync(damaged, bytes);
    expect(img('check', damaged).status).toBe(2);
    expect(img('check', '-r', 'leaks', damaged).status).toBe(2);
    expect(img('check', '-r', 'all', damaged).status).toBe(0);
    expect(qemu('check', damaged).status).toBe(0);
    // All counts lost.
    bytes.writeBigUInt64BE(12345n, Number(bytes.readBigUInt64BE(48)));
    writeFileSync(damaged, bytes);
    expect(img('check', '-r', 'all', damaged).status).toBe(0);
    expect(qemu('check', damaged).status).toBe(0);
    expect(qemu('compare', base, damaged).status).toBe(0);
  });

  it('compare', () => {
    expect(img('compare', base, base)).toEqual(qemu('compare', base, base));
    expect(img('compare', '--backing=trust', base, overlay)).toEqual(qemu('compare', base, overlay));
    expect(img('compare', '-q', '--backing=trust', base, overlay)).toEqual({ status: 1, text: '' });
  });

  it.each([
    ['raw', []],
    ['qcow2', []],
    ['qcow2', ['-c']],
    ['qcow2', ['-c', '-o', 'compression_type=zstd,cluster_size=4k']],
    ['qcow2', ['-c', '-o', 'refcount_bits=1,cluster_size=2M']],
  ])('convert to %s %j, which QEMU reads', (format, more) => {
    const target = at('target');
    for (const source of [overlay, raw]) {
      spawnSync('rm', ['-f', target]);
      expect(img('convert', '-q', '--backing=trust', '-O', format, ...more, source, target).status).toBe(0);
      expect(qemu('compare', '-f', source === raw ? 'raw' : 'qcow2', '-F', format, source, target).status).toBe(0);
      if (format === 'qcow2') expect(qemu('check', target).status).toBe(0);
    }
  });

  it('reads what qemu-img has compressed', () => {
    for (const type of ['zlib', 'zstd']) {
      const target = at(`packed.${type}`);
      qemu('convert', '-f', 'raw', '-O', 'qcow2', '-c', '-o', `compression_type=${type}`, raw, target);
      expect(img('compare', raw, target)).toEqual({ status: 0, text: 'Images are identical.\n' });
    }
  });

  it('says how far it is with -p', () => {
    expect(img('convert', '-p', base, at('shown.raw')).text).toMatch(
      /^ {4}\(0\.00\/100%\)\r.* {4}\(100\.00\/100%\)\r\n$/s,
    );
  });

  it('resize: larger with zeroes, smaller only when told so', () => {
    const file = at('sized.qcow2');
    qemu('convert', '-f', 'raw', '-O', 'qcow2', '-o', 'cluster_size=512', raw, file);
    expect(img('resize', file, '+1G')).toEqual({ status: 0, text: 'Image resized.\n' });
    expect(qemu('check', file).status).toBe(0);
    expect(qemu('compare', '-f', 'raw', '-F', 'qcow2', raw, file).status).toBe(0);
    expect(() => img('resize', file, '1000k')).toThrow(/--shrink/);
    expect(img('resize', '-q', '--shrink', file, '1000k').status).toBe(0);
    expect(img('resize', '-q', file, '2M').status).toBe(0);
    expect(qemu('check', file).status).toBe(0);
    const cut = at('cut.raw');
    writeFileSync(cut, pattern(MIB).subarray(0, 1000 * 1024));
    truncateSync(cut, 2 * MIB);
    expect(qemu('compare', '-f', 'raw', '-F', 'qcow2', cut, file).text).toBe('Images are identical.\n');
  });

  it.each(['cluster_size=64k', 'compat=0.10,cluster_size=4k', 'cluster_size=16k,extended_l2=on', 'cluster_size=512'])(
    'snapshots are made, gone back to and deleted, with QEMU in between: %s',
    (options) => {
      const file = at('snapshots.qcow2');
      qemu('convert', '-f', 'raw', '-O', 'qcow2', '-o', options, raw, file);
      const write = (byte: number) =>
        spawnSync('qemu-io', ['-f', 'qcow2', '-c', `write -P ${byte} 100k 700k`, '-c', `write -P ${byte} 2M 3k`, file]);
      const states: Buffer[] = [];
      const contents = () => {
        expect(img('convert', '-q', file, at('contents')).status).toBe(0);
        const bytes = readFileSync(at('contents'));
        rmSync(at('contents'));
        return bytes;
      };
      for (const name of ['a', 'b', 'c']) {
        states.push(contents());
        expect(img('snapshot', '-c', name, file).status).toBe(0);
        expect(qemu('check', '-f', 'qcow2', file)).toMatchObject({ status: 0 });
        write(name.charCodeAt(0));
      }
      expect(() => img('snapshot', '-c', 'b', file)).toThrow(/has a snapshot "b" already/);
      expect(img('snapshot', '-l', file).text).toBe(qemu('snapshot', '-l', file).text);
      for (const [i, name] of [...'bacb'].entries()) {
        if (i === 2) qemu('snapshot', '-a', name, file);
        else expect(img('snapshot', '-a', name, file).status).toBe(0);
        expect(qemu('check', '-f', 'qcow2', file)).toMatchObject({ status: 0 });
        expect(contents().equals(states['abc'.indexOf(name)])).toBe(true);
        write(i + 1);
      }
      for (const name of 'bac') {
        expect(img('snapshot', '-d', name, file).status).toBe(0);
        expect(qemu('check', '-f', 'qcow2', file)).toMatchObject({ status: 0 });
      }
      expect(img('snapshot', '-l', file).text).toBe('');
      expect(() => img('snapshot', '-d', 'b', file)).toThrow(/has no snapshot "b"/);
    },
  );

  it('opens nothing that an image names, and says how', () => {
    expect(() => img('convert', overlay, at('none'))).toThrow(/backing file.*backing=trust/);
    expect(existsSync(at('none'))).toBe(false);
    expect(() => img('crate', at('x'))).toThrow(/did you mean create/);
    expect(() => img('info', '--nonsense', base)).toThrow(/unknown option "--nonsense"/);
  });
});
