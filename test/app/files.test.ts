/** The host's files as the file browser sees them, new disks, and the catalogue's downloads. */
import { execFileSync } from 'node:child_process';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { GuestInfo } from '../../main/ipc/contract.ts';
import { settings, TestApp, until } from './doubles/app.ts';
import type { TestClient } from './doubles/app.ts';

const MIB = 2 ** 20;

let app: TestApp;
let client: TestClient;
let folder: string;
beforeEach(async () => {
  app = await TestApp.create();
  client = app.connect();
  folder = path.join(app.home, 'folder');
  await mkdir(folder);
});
afterEach(() => app.close());

const refusal = (call: Promise<unknown>) =>
  call.then(
    () => 'done',
    (error: Error & { kind: string }) => `${error.kind}: ${error.message.replaceAll(app.home, 'HOME')}`,
  );

describe('browsing', () => {
  const browse = async () => (await client.call('files.browse', { path: folder })).entries;

  test('shows everything: hidden files, links, devices, what cannot be read', async () => {
    await writeFile(path.join(folder, '.hidden'), 'abc');
    await writeFile(path.join(folder, 'file10'), '');
    await writeFile(path.join(folder, 'file9'), '');
    await mkdir(path.join(folder, 'z-dir'));
    await symlink('z-dir', path.join(folder, 'link'));
    await symlink('nowhere', path.join(folder, 'dangling'));
    await symlink('loop', path.join(folder, 'loop'));
    execFileSync('mkfifo', [path.join(folder, 'pipe')]);
    await writeFile(Buffer.concat([Buffer.from(`${folder}/latin-`), Buffer.from([0xe9])]), '');
    expect((await browse()).map(({ name, type, link, problem }) => [name, type, link, problem])).toEqual([
      ['link', 'directory', true, null],
      ['z-dir', 'directory', false, null],
      ['.hidden', 'file', false, null],
      ['dangling', 'unreadable', false, 'a link to nothing'],
      ['file9', 'file', false, null],
      ['file10', 'file', false, null],
      ['latin-\ufffd', 'unreadable', false, 'its name is not UTF-8: rename it to use it'],
      ['loop', 'unreadable', false, expect.stringContaining('ELOOP')],
      ['pipe', 'other', false, null],
    ]);
    expect((await browse()).find(({ name }) => name === '.hidden')?.size).toBe(3);
  });

  test('a directory that is too long is cut, and says so', async () => {
    await Promise.all(Array.from({ length: 5100 }, (_, at) => writeFile(path.join(folder, String(at)), '')));
    const listing = await client.call('files.browse', { path: folder });
    expect([listing.entries.length, listing.total]).toEqual([5000, 5100]);
  });

  test('begins at home, ends at the root, offers places', async () => {
    const start = await client.call('files.browse', {});
    expect(start.places.map(({ name }) => name)).toEqual(expect.arrayContaining(['Home', 'File system']));
    expect((await client.call('files.browse', { path: '/' })).parent).toBeNull();
    expect((await client.call('files.browse', { path: '~' })).path).toBe(start.path);
    expect((await client.call('files.browse', { path: `${folder}/..` })).path).toBe(app.home);
  });

  test('errors are clear', async () => {
    await writeFile(path.join(folder, 'file'), '');
    expect(await refusal(client.call('files.browse', { path: `${folder}/none` }))).toBe(
      'not-found: HOME/folder/none: there is no such file or directory',
    );
    expect(await refusal(client.call('files.browse', { path: `${folder}/file` }))).toBe(
      'not-a-file: HOME/folder/file: not a directory',
    );
    expect(await refusal(client.call('files.browse', { path: 'relative' }))).toContain(
      'bad-option: relative: give the whole path',
    );
    expect(await refusal(client.call('files.browse', { path: '/a\0b' }))).toBe('bad-option: path: not a path');
  });

  test('there is no native dialog without a desktop', async () => {
    expect(await refusal(client.call('files.pick', { kind: 'open', title: 'x' }))).toContain('unsupported');
    expect((await client.call('app.info', {})).nativeDialogs).toBe(false);
  });
});

describe('what is at a path', () => {
  test('file, directory, nothing', async () => {
    await writeFile(path.join(folder, 'file'), 'abc');
    const at = (name: string) => client.call('files.stat', { path: path.join(folder, name) });
    expect(await at('file')).toMatchObject({ type: 'file', size: 3, readable: true, writable: true });
    expect(await at('')).toMatchObject({ type: 'directory' });
    expect(await at('none')).toMatchObject({ type: 'absent' });
    expect(await at('file/below')).toMatchObject({ type: 'absent' });
  });
});

describe('a new disk', () => {
  const grow = (name: string, size: number) => client.call('disks.grow', { path: path.join(folder, name), size });
  const create = (name: string, size: number) => client.call('disks.create', { path: path.join(folder, name), size });

  test('has its size and takes no space', async () => {
    expect(await create('a.raw', 10 * 2 ** 30)).toMatchObject({ type: 'file', size: 10 * 2 ** 30, allocated: 0 });
    expect((await stat(path.join(folder, 'a.raw'))).mode & 0o777).toBe(0o600);
  });

  test('never replaces anything', async () => {
    await writeFile(path.join(folder, 'a.raw'), 'precious');
    expect(await refusal(create('a.raw', MIB))).toBe(
      'bad-option: HOME/folder/a.raw: it exists already: choose another name',
    );
    expect((await stat(path.join(folder, 'a.raw'))).size).toBe(8);
    await symlink('elsewhere', path.join(folder, 'link.raw'));
    expect(await refusal(create('link.raw', MIB))).toContain('it exists already');
    expect(await readdir(folder)).toEqual(['a.raw', 'link.raw']);
  });

  test('an image is made larger, never smaller, and only a raw one', async () => {
    await create('a.raw', MIB);
    await writeFile(path.join(folder, 'a.raw'), 'kept', { flag: 'r+' });
    expect(await grow('a.raw', 4 * MIB)).toMatchObject({ size: 4 * MIB });
    expect((await readFile(path.join(folder, 'a.raw'))).subarray(0, 5).toString()).toBe('kept\0');
    expect(await refusal(grow('a.raw', 2 * MIB))).toContain('only ever made larger');
    expect(await refusal(grow('a.raw', 4 * MIB))).toContain('only ever made larger');
    expect(await refusal(grow('none.raw', MIB))).toContain('not-found');
    expect(await refusal(grow('.', MIB))).toContain('not-a-file');
    await writeFile(path.join(folder, 'b.qcow2'), Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), Buffer.alloc(600)]));
    expect(await refusal(grow('b.qcow2', MIB))).toContain('looks like a QCOW file');
  });

  test('the disks folder is made, no other is', async () => {
    await client.call('disks.create', { path: path.join(app.home, 'disks', 'a.raw'), size: MIB });
    expect(await refusal(create('none/a.raw', MIB))).toBe(
      'not-found: HOME/folder/none: there is no such file or directory',
    );
    await writeFile(path.join(folder, 'file'), '');
    expect(await refusal(create('file/a.raw', MIB))).toBe('not-found: HOME/folder/file: not a directory');
  });

  test('a size that no disk has is refused', async () => {
    for (const size of [0, 511, 513, -512, 2 ** 51, 1.5, NaN]) {
      expect(await refusal(create('a.raw', size)), String(size)).toContain('bad-option');
    }
    expect(await readdir(folder)).toEqual([]);
  });

  test('one that the file system cannot hold leaves nothing behind', async () => {
    const result = await refusal(create('a.raw', 2 ** 50));
    // Some file systems can.
    if (result === 'done') return;
    expect(result).toMatch(/^(too-large|no-space|bad-option|io): HOME\/folder\/a\.raw/);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('catalogue guests', () => {
  const last = (id: string) =>
    client.events
      .filter(({ name }) => name === 'guest.changed')
      .map(({ payload }) => payload as GuestInfo)
      .findLast((guest) => guest.id === id);

  test('are downloaded with progress that everybody sees', async () => {
    app.catalogue.duration = 700;
    const other = app.connect();
    expect(await client.call('guests.fetch', { id: 'debian' })).toMatchObject({ state: 'fetching' });
    // A second call joins the first.
    expect(await other.call('guests.fetch', { id: 'debian' })).toMatchObject({ state: 'fetching' });
    await until(() => last('debian')?.state === 'ready');
    const events = other.events.filter(({ name }) => name === 'guest.changed').length;
    expect(events).toBeGreaterThan(1);
    expect(events).toBeLessThan(8);
    const { guests } = await client.call('guests.list', {});
    expect(guests.map(({ id, state }) => [id, state])).toEqual([
      ['debian', 'ready'],
      ['debian-installer', 'absent'],
    ]);
  });

  test('can be cancelled, and a failure is told and can be tried again', async () => {
    app.catalogue.duration = 2000;
    await client.call('guests.fetch', { id: 'debian' });
    expect(await refusal(client.call('guests.remove', { id: 'debian' }))).toContain('bad-state');
    await client.call('guests.cancel', { id: 'debian' });
    await until(() => last('debian')?.state === 'absent');
    expect(last('debian')?.error).toBeNull();
    app.catalogue.duration = 10;
    app.catalogue.error = new Error('the mirror is away');
    await client.call('guests.fetch', { id: 'debian' });
    await until(() => last('debian')?.error === 'the mirror is away');
    app.catalogue.error = null;
    await client.call('guests.fetch', { id: 'debian' });
    await until(() => last('debian')?.state === 'ready');
    expect(last('debian')?.error).toBeNull();
  });

  test('can be paused, and go on where they were', async () => {
    app.catalogue.duration = 4000;
    await client.call('guests.fetch', { id: 'debian' });
    const half = await until(() => {
      const guest = last('debian');
      return guest?.progress && guest.progress.received > 0 ? guest : null;
    });
    const paused = await client.call('guests.pause', { id: 'debian' });
    expect(paused).toMatchObject({ state: 'paused', error: null });
    expect(paused.progress!.received).toBeGreaterThanOrEqual(half.progress!.received);
    expect(last('debian')?.state).toBe('paused');
    // What is there after a restart of the app says how far it was.
    const { guests } = await client.call('guests.list', {});
    expect(guests[0]).toMatchObject({ state: 'paused', progress: paused.progress });
    const resumed = await client.call('guests.fetch', { id: 'debian' });
    expect(resumed.progress!.received).toBe(paused.progress!.received);
    await client.call('guests.cancel', { id: 'debian' });
    expect(last('debian')).toMatchObject({ state: 'absent', progress: null });
    // A paused one can be cancelled too, and what is not under way cannot be paused.
    await client.call('guests.fetch', { id: 'debian' });
    await until(() => (last('debian')?.progress?.received ?? 0) > 0);
    await client.call('guests.pause', { id: 'debian' });
    expect(await client.call('guests.cancel', { id: 'debian' })).toMatchObject({ state: 'absent' });
    expect(await client.call('guests.pause', { id: 'debian' })).toMatchObject({ state: 'absent' });
  });

  test('are not removed from under a VM', async () => {
    app.catalogue.install('debian');
    const vm = await client.call('vm.create', {
      settings: settings({ name: 'box', boot: { source: 'guest', guest: 'debian' } }),
    });
    await client.call('vm.start', { id: vm.id });
    expect(await refusal(client.call('guests.remove', { id: 'debian' }))).toBe(
      'in-use: the VM “box” runs this guest: power it off first',
    );
    await client.call('vm.powerOff', { id: vm.id });
    expect(await client.call('guests.remove', { id: 'debian' })).toMatchObject({ state: 'absent' });
  });

  test('that are in no catalogue are not found', async () => {
    expect(await refusal(client.call('guests.fetch', { id: 'windows' }))).toBe(
      'not-found: the catalogue has no guest windows',
    );
  });
});
