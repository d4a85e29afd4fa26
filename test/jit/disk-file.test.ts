/** The file that regions are kept in, and its folder: what is written comes back, and nothing that is wrong with them hurts. */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RECORD_BYTES, RECORD_PA, RECORD_RANGES, TRANSLATOR_VERSION } from '../../core/cpu/jit/abi.ts';
import { decode, encode, JitDisk } from '../../core/worker/jit-disk.ts';
import { RegionStore } from '../../core/worker/jit-regions.ts';
import type { Region } from '../../core/worker/jit-regions.ts';
import { Random } from '../differential/random.ts';

const MIB = 2 ** 20;
const GUEST = 'abcdef0123456789';
const NAME = `${GUEST}-${TRANSLATOR_VERSION}.regions`;
const isRoot = process.getuid?.() === 0;

/** A region of `size` bytes at an entry in the page `page`. */
function region(page: number, offset = 0, size = 40, fill = page): Region {
  const record = new Uint8Array(RECORD_BYTES + size);
  const view = new DataView(record.buffer);
  view.setUint32(4, offset, true);
  view.setUint32(8, 1, true);
  view.setBigUint64(RECORD_PA, BigInt(page * 4096), true);
  view.setUint16(RECORD_RANGES, offset, true);
  view.setUint16(RECORD_RANGES + 2, offset + size, true);
  record.fill(fill & 255, RECORD_BYTES);
  const starts = new Uint8Array(Math.ceil(size / 16)).fill(0x55);
  const cases = new Uint8Array((page % 3) * 4).fill(7);
  return { fn: 0, entry: page * 4096 + offset, record, starts, cases, content: page * 77, used: false };
}

const some = (count: number, from = 1): Region[] => Array.from({ length: count }, (_, i) => region(from + i));

let folder: string;
let messages: string[];
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'ringside-jit-'));
  messages = [];
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

function disk(options: { fileLimit?: number; folderLimit?: number; guest?: string; at?: string } = {}): JitDisk {
  const { at = folder, guest = GUEST, ...limits } = options;
  return new JitDisk({ folder: at, guest, ...limits }, (message) => messages.push(message));
}
const load = (options = {}): Region[] => disk(options).load();
const save = (regions: Region[], options = {}): void => disk(options).save(regions, 1000);

describe('the file', () => {
  test('what is saved comes back, in order', () => {
    save(some(200));
    expect(load()).toEqual(some(200));
    expect(messages).toEqual([]);
    expect(fs.readdirSync(folder)).toEqual([NAME]);
    expect(fs.statSync(join(folder, NAME)).mode & 0o777).toBe(0o600);
  });

  test('a number in the function table is not kept', () => {
    const translated = region(5);
    new DataView(translated.record.buffer).setUint32(0, 4711, true);
    save([{ ...translated, fn: 4711, used: true }]);
    expect(load()).toEqual([region(5)]);
  });

  test('flipped bits and cut ends are noticed, wherever they are', () => {
    const good = encode(some(50), MIB);
    expect(decode(good)).toEqual(some(50));
    const random = new Random(1);
    for (let i = 0; i < 300; i++) {
      const bad = Buffer.from(good);
      // The spare word of the header is summed up too.
      bad[i < 64 ? i : random.below(bad.length)]! ^= 1 << random.below(8);
      expect(decode(bad)).toBeNull();
      expect(decode(good.subarray(0, random.below(good.length)))).toBeNull();
    }
    expect(decode(Buffer.concat([good, Buffer.alloc(4)]))).toBeNull();
    expect(decode(randomBytes(5000))).toBeNull();
    expect(decode(Buffer.alloc(0))).toBeNull();
  });

  test('a damaged file is as none, and is replaced', () => {
    save(some(20));
    const path = join(folder, NAME);
    const random = new Random(2);
    for (let i = 0; i < 50; i++) {
      const bytes = fs.readFileSync(path);
      bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
      fs.writeFileSync(path, bytes);
      expect(load()).toEqual([]);
      save(some(20));
      expect(load()).toHaveLength(20);
    }
    fs.truncateSync(path, 100);
    expect(load()).toEqual([]);
    fs.truncateSync(path, 0);
    expect(load()).toEqual([]);
    expect(messages).toEqual([]);
  });

  test('a record that is none is not taken, sum or no sum', () => {
    const wrong: ((view: DataView) => void)[] = [
      (view) => view.setUint32(4, 4096, true),
      (view) => view.setUint32(8, 0, true),
      (view) => view.setUint32(8, 8, true),
      (view) => view.setUint32(8, 3, true),
      (view) => view.setUint16(RECORD_RANGES + 2, 5000, true),
      (view) => view.setUint16(RECORD_RANGES + 2, 4096, true),
      (view) => view.setUint16(RECORD_RANGES, 41, true),
      (view) => view.setBigUint64(RECORD_PA, 0xffff_ffff_ffff_f000n, true),
      (view) => view.setBigUint64(RECORD_PA, 0x8000_0010n, true),
    ];
    for (const spoil of wrong) {
      const bad = region(5);
      spoil(new DataView(bad.record.buffer));
      expect(decode(encode([region(4), bad], MIB))).toBeNull();
    }
    const short = region(5);
    expect(decode(encode([{ ...short, starts: short.starts.subarray(1) }], MIB))).toBeNull();
    expect(decode(encode([{ ...short, cases: new Uint8Array(3) }], MIB))).toBeNull();
  });

  test('another version of the translator, another format: not used, and removed', () => {
    const good = encode(some(5), MIB);
    for (const at of [8, 12]) {
      const other = Buffer.from(good);
      other.writeUInt32LE(99, at);
      expect(decode(other)).toBeNull();
    }
    const old = `${GUEST}-${TRANSLATOR_VERSION - 1}.regions`;
    fs.writeFileSync(join(folder, old), good);
    fs.writeFileSync(join(folder, 'notes.txt'), 'mine');
    save(some(5));
    expect(fs.readdirSync(folder).sort()).toEqual([NAME, 'notes.txt'].sort());
  });
});

describe('bounds', () => {
  test('a file holds what is worth most', () => {
    save(some(1000), { fileLimit: 20_000 });
    expect(fs.statSync(join(folder, NAME)).size).toBeLessThanOrEqual(20_000);
    const kept = load({ fileLimit: 20_000 });
    expect(kept.length).toBeGreaterThan(100);
    expect(kept).toEqual(some(kept.length));
  });

  test('a file that is too large is not read', () => {
    save(some(1000));
    expect(load({ fileLimit: 20_000 })).toEqual([]);
  });

  test('a folder keeps what was used last', () => {
    const guests = ['a1', 'b2', 'c3', 'd4'];
    guests.forEach((guest, i) => {
      save(some(100), { guest });
      const time = new Date(Date.now() - 1e6 + i * 1000);
      fs.utimesSync(join(folder, `${guest}-${TRANSLATOR_VERSION}.regions`), time, time);
    });
    // The oldest has been used since.
    disk({ guest: 'a1' }).touch();
    const size = fs.statSync(join(folder, `a1-${TRANSLATOR_VERSION}.regions`)).size;
    save(some(100), { guest: 'e5', folderLimit: size * 3 });
    expect(fs.readdirSync(folder).map((name) => name.slice(0, 2))).toEqual(['a1', 'd4', 'e5']);
  });

  test('what a writer that died has left goes in the end', () => {
    const left = join(folder, `${NAME}.0123456789abcdef.new`);
    fs.writeFileSync(left, 'x');
    save(some(1));
    expect(fs.existsSync(left)).toBe(true);
    fs.utimesSync(left, new Date(0), new Date(0));
    save(some(2));
    expect(fs.readdirSync(folder)).toEqual([NAME]);
  });

  test('no time: nothing is written, nothing is left', () => {
    save(some(3));
    disk().save(some(500), -1);
    expect(fs.readdirSync(folder)).toEqual([NAME]);
    expect(load()).toEqual(some(3));
  });

  test('in memory: what is translated stays, the rest goes, least used first', () => {
    const store = new RegionStore(50_000);
    for (let i = 1; i <= 2000; i++) {
      const one = region(i);
      if (i % 200 === 0) one.fn = i;
      store.add(one);
    }
    expect(store.size).toBeLessThan(200);
    for (let i = 200; i <= 2000; i += 200) expect(store.atEntry(i * 4096)).toHaveLength(1);
    expect(store.atEntry(1999 * 4096)).toHaveLength(1);
    expect(store.atEntry(4096)).toHaveLength(0);
  });
});

describe('two machines on one folder', () => {
  test('neither loses what the other has found', () => {
    const [one, two] = [disk(), disk()];
    one.load();
    two.load();
    one.save(some(10), 1000);
    two.save(some(10, 6), 1000);
    const pages = load().map(({ entry }) => entry / 4096);
    expect(pages.sort((a, b) => a - b)).toEqual(Array.from({ length: 15 }, (_, i) => i + 1));
  });

  test('one reads while the other writes: all or nothing', async () => {
    const writer = disk();
    const reader = disk();
    for (let i = 0; i < 50; i++) {
      writer.save(some(i + 1), 1000);
      expect(reader.load()).toHaveLength(i + 1);
      await Promise.resolve();
    }
  });
});

/** Nothing is loaded, nothing saved, and it is said once. */
function unusable(at: string, said: RegExp): void {
  const one = disk({ at });
  expect(one.load()).toEqual([]);
  one.save(some(3), 1000);
  one.touch();
  expect(messages).toEqual([expect.stringMatching(said)]);
}

describe('a folder that cannot be used', () => {
  test('is made when it is not there, the user’s alone', () => {
    const at = join(folder, 'a', 'b');
    save(some(3), { at });
    expect(fs.statSync(at).mode & 0o777).toBe(0o700);
    expect(load({ at })).toHaveLength(3);
  });

  test('open to others', () => {
    fs.chmodSync(folder, 0o770);
    unusable(folder, /open to others \(chmod 700/);
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  test('a file open to others', () => {
    save(some(3));
    fs.chmodSync(join(folder, NAME), 0o664);
    unusable(folder, /open to others \(chmod 600/);
  });

  test.skipIf(!isRoot)('of another user', () => {
    fs.chownSync(folder, 12345, 12345);
    unusable(folder, /belongs to somebody else/);
  });

  test.skipIf(!isRoot)('a file of another user', () => {
    save(some(3));
    fs.chownSync(join(folder, NAME), 12345, 12345);
    unusable(folder, /belongs to somebody else/);
  });

  test('a file where the folder should be', () => {
    const at = join(folder, 'file');
    fs.writeFileSync(at, '');
    unusable(at, /EEXIST|ENOTDIR|not a folder/);
  });

  test('a symbolic link to a folder, or as the file', () => {
    const real = join(folder, 'real');
    fs.mkdirSync(real, { mode: 0o700 });
    const at = join(folder, 'link');
    fs.symlinkSync(real, at);
    unusable(at, /not a folder|EEXIST/);
    messages = [];
    save(some(3), { at: real, guest: 'ee' });
    fs.symlinkSync(join(real, `ee-${TRANSLATOR_VERSION}.regions`), join(real, NAME));
    unusable(real, /ELOOP|symbolic/);
  });

  test('a folder as the file', () => {
    fs.mkdirSync(join(folder, NAME));
    unusable(folder, /not a file|EISDIR/);
  });

  test.skipIf(isRoot)('read-only', () => {
    fs.chmodSync(folder, 0o500);
    unusable(folder, /EACCES/);
    fs.chmodSync(folder, 0o700);
  });

  test.skipIf(!fs.existsSync('/proc/self'))('nothing can be made there', () => {
    unusable('/proc/self/jit', /ENOENT|EPERM|EACCES/);
  });
});
