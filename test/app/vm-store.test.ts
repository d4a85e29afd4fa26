/** The library on disk: atomic, and not to be led astray by what it finds there. */
import { randomUUID } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { writeFileAtomic } from '../../main/app/atomic-file.ts';
import { dataHome, shownPath, userPath } from '../../main/app/paths.ts';
import { VmStore } from '../../main/app/vm-store.ts';
import { settings } from './doubles/app.ts';

let home: string;
let store: VmStore;
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'ringside-store-'));
  store = new VmStore(home);
});
afterEach(() => rm(home, { recursive: true, force: true }));

const vm = (id: string = randomUUID()) => ({ id, created: 1000, modified: 2000, settings: settings() });

test('what is saved is loaded', async () => {
  const saved = await store.save(vm());
  expect(await store.load()).toEqual({ vms: [saved], problems: [] });
  expect(await store.stamp(saved.id)).toBe(saved.stamp);
  const changed = await store.save({ ...saved, settings: settings({ name: 'other' }) });
  expect(changed.stamp).not.toBe(saved.stamp);
  expect((await store.load()).vms[0].settings.name).toBe('other');
});

test('a file of the first Ringside, which knew only disks, is loaded', async () => {
  const id = randomUUID();
  const old = {
    ringside: 1,
    id,
    created: 1000,
    modified: 2000,
    settings: {
      memory: 256 * 2 ** 20,
      harts: 1,
      bios: 'default',
      drives: [{ id: 'drive0', file: '/images/a.raw', format: 'raw' }],
      console: true,
      rng: true,
      forceLegacy: false,
      name: 'old',
      boot: { source: 'guest', guest: 'debian' },
    },
  };
  await mkdir(path.join(home, 'vms', id), { recursive: true });
  await writeFile(path.join(home, 'vms', id, 'vm.json'), JSON.stringify(old));
  const { vms, problems } = await store.load();
  expect(problems).toEqual([]);
  expect(vms[0].settings).toMatchObject({ ...old.settings, aia: 'none', accel: 'jit', devices: [], netdevs: [] });
});

test('files are private, and nothing is left beside them', async () => {
  const { id } = await store.save(vm());
  await store.save(vm(id));
  const folder = path.join(home, 'vms', id);
  expect(await readdir(folder)).toEqual(['vm.json']);
  expect((await stat(path.join(folder, 'vm.json'))).mode & 0o777).toBe(0o600);
});

test('a VM that is removed is gone; what else was in its folder is not', async () => {
  const { id } = await store.save(vm());
  const other = await store.save(vm());
  const folder = path.join(home, 'vms', id);
  await writeFile(path.join(folder, 'disk.raw'), 'precious');
  await store.remove(id);
  expect((await store.load()).vms.map((each) => each.id)).toEqual([other.id]);
  expect((await store.load()).problems).toEqual([]);
  expect(await readFile(path.join(folder, 'disk.raw'), 'utf8')).toBe('precious');
  await store.remove(id);
  await store.remove(other.id);
  expect(await readdir(path.join(home, 'vms'))).toEqual([id]);
});

describe('what cannot be read is reported and left as it is', () => {
  const put = async (content: string | object, id: string = randomUUID()) => {
    const folder = path.join(home, 'vms', id);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'vm.json'), typeof content === 'string' ? content : JSON.stringify(content));
    return id;
  };
  const good = (id: string) => ({ ringside: 1, ...vm(id) });

  test.each([
    ['cut short', '{"ringside": 1, "id"', 'not JSON'],
    ['empty', '', 'not JSON'],
    ['something else', '[1, 2]', ''],
    ['nothing', 'null', ''],
    ['of a newer Ringside', { ...good(randomUUID()), ringside: 2 }, 'made by a newer Ringside'],
    ['of another folder', good(randomUUID()), 'its id is not the name of its folder'],
    [
      'a memory size of text',
      { ...good(randomUUID()), settings: { ...settings(), memory: 'lots' } },
      'settings.memory',
    ],
    [
      'a device with a wrong property',
      { ...good(randomUUID()), settings: settings({ devices: [{ driver: 'virtio-rng-pci', id: 'r', perod: 1 }] }) },
      'device r (virtio-rng-pci): unknown "perod" (did you mean period?)',
    ],
    [
      'a device of no type',
      { ...good(randomUUID()), settings: { ...settings(), devices: [{ id: 'r' }] } },
      'settings.devices.0.driver: must be the name of a device type',
    ],
    ['fields that we do not know', { ...good(randomUUID()), run: 'rm -rf' }, 'run'],
    ['deeply nested', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, ''],
  ])('%s', async (_, content, message) => {
    const fine = await store.save(vm());
    const id = await put(content);
    const before = await readFile(path.join(home, 'vms', id, 'vm.json'), 'utf8');
    const { vms, problems } = await store.load();
    expect(vms.map((each) => each.id)).toEqual([fine.id]);
    expect(problems).toEqual([
      { file: path.join(home, 'vms', id, 'vm.json'), message: expect.stringContaining(message) },
    ]);
    expect(problems[0].message).not.toContain('\n');
    expect(await readFile(path.join(home, 'vms', id, 'vm.json'), 'utf8')).toBe(before);
  });

  test('a file of many gigabytes is not read', async () => {
    const id = await put('');
    await truncate(path.join(home, 'vms', id, 'vm.json'), 2 ** 35);
    expect((await store.load()).problems[0].message).toContain('far too long');
  });

  test('a directory, or a pipe that nobody writes to', async () => {
    await mkdir(path.join(home, 'vms', randomUUID(), 'vm.json'), { recursive: true });
    const id = randomUUID();
    await mkdir(path.join(home, 'vms', id));
    execFileSync('mkfifo', [path.join(home, 'vms', id, 'vm.json')]);
    const { problems } = await store.load();
    expect(problems.map((problem) => problem.message)).toEqual(['not a file', 'not a file']);
  });

  test('what is not a VM’s folder is none of our business', async () => {
    await mkdir(path.join(home, 'vms', 'notes'), { recursive: true });
    await writeFile(path.join(home, 'vms', '.DS_Store'), 'x');
    expect(await store.load()).toEqual({ vms: [], problems: [] });
  });
});

test('a failed write leaves the old file and no other', async () => {
  const file = path.join(home, 'file');
  await writeFileAtomic(file, 'old');
  // A directory in its place makes the last step fail.
  await mkdir(path.join(home, 'taken', 'full'), { recursive: true });
  await expect(writeFileAtomic(path.join(home, 'taken'), 'new')).rejects.toThrow();
  expect((await readdir(home)).sort()).toEqual(['file', 'taken']);
  expect(await readFile(file, 'utf8')).toBe('old');
});

test('a folder that may not be written to is a clear error', async ({ skip }) => {
  skip(process.getuid?.() === 0, 'root may write anywhere');
  await chmod(home, 0o500);
  await expect(store.save(vm())).rejects.toMatchObject({ kind: 'permission' });
  await chmod(home, 0o700);
});

describe('paths', () => {
  test('the library is where the platform keeps data, or where RINGSIDE_HOME says', () => {
    expect(dataHome({}, 'linux', '/home/u')).toBe('/home/u/.local/share/ringside');
    expect(dataHome({ XDG_DATA_HOME: '/data' }, 'linux', '/home/u')).toBe('/data/ringside');
    expect(dataHome({ XDG_DATA_HOME: 'relative' }, 'linux', '/home/u')).toBe('/home/u/.local/share/ringside');
    expect(dataHome({}, 'darwin', '/Users/u')).toBe('/Users/u/Library/Application Support/Ringside');
    expect(dataHome({ RINGSIDE_HOME: '/elsewhere', XDG_DATA_HOME: '/data' }, 'linux', '/home/u')).toBe('/elsewhere');
  });

  test('what a person types', () => {
    expect(userPath('~/disk.raw', '/home/u')).toBe('/home/u/disk.raw');
    expect(userPath('/a//b/../c')).toBe('/a/c');
    expect(() => userPath('disk.raw')).toThrow('give the whole path');
    expect(shownPath('/home/u/a', '/home/u')).toBe('~/a');
    expect(shownPath('/home/user2/a', '/home/u')).toBe('/home/user2/a');
  });
});
