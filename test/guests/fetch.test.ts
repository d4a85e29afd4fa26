/** Fetching guests from a mirror that does as it should: the guest made, kept up to date, mended, shared, removed. */
import { fork } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, get as httpGet } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fetchGuest, guestFiles, guestInfo, guestPaths, listGuests, removeGuest } from '../../main/guests/index.ts';
import type { GuestFiles, GuestProgress } from '../../main/guests/index.ts';
import { cpioNames, fetchFixture } from './doubles/fetch-fixture.ts';
import { KERNEL_PACKAGE, KERNEL_VERSION, guestPackages } from './doubles/mirror.ts';

const fixture = fetchFixture();
const { fetchDebian, fetchInChild, debianPaths, cached } = fixture;

describe('a good mirror', () => {
  test('gives a kernel and an initramfs', async () => {
    const files = await fetchDebian();
    expect(guestFiles.parse(files)).toMatchObject({
      id: 'debian',
      append: 'console=ttyS0',
      version: '6.12.1-1 (Debian 13.9)',
    });
    expect(readFileSync(files.kernel).toString('latin1')).toContain('kernel of revision 1');
    expect(await debianPaths()).toEqual(files);
    const folder = files.kernel.split('/').at(-2);
    expect(cached()).toEqual([`debian/${folder}/initrd`, `debian/${folder}/kernel`, 'debian/guest.json']);
  });

  test('the initramfs has what was asked for and what that needs, and nothing else', async () => {
    const names = cpioNames((await fetchDebian()).initrd);
    const modules = `usr/lib/modules/${KERNEL_VERSION}`;
    const parts = names.join('\n').split('\nTRAILER!!!');
    expect(names).toEqual(
      expect.arrayContaining([
        'dev/console',
        'usr/bin/busybox',
        'usr/bin/sh',
        'usr/sbin/mke2fs',
        `${modules}/modules.dep`,
        `${modules}/kernel/drivers/block/virtio_blk.ko`,
        `${modules}/kernel/fs/ext4/ext4.ko`,
        `${modules}/kernel/fs/jbd2/jbd2.ko`,
        // Seldom loaded, so left packed.
        `${modules}/kernel/fs/xfs/xfs.ko.xz`,
      ]),
    );
    expect(names.filter((name) => /unwanted|gconv|usr\/bin\/su$|usr\/share/.test(name))).toEqual([]);
    // Our own part comes last, in an archive of its own.
    expect(parts[1].trim().split('\n')[0]).toBe('init');
    // Every folder comes before what is in it.
    names.forEach((name, index) => {
      const parent = name.includes('/') ? name.slice(0, name.lastIndexOf('/')) : name;
      expect(names.indexOf(parent), name).toBeLessThanOrEqual(index);
    });
  });

  test('gives the installer as well', async () => {
    const files = await fetchGuest('debian-installer', {
      cacheDir: fixture.cacheDir,
      mirror: fixture.mirror.address,
      keys: [fixture.key],
    });
    expect(readFileSync(files.initrd, 'utf8')).toBe('installer initrd');
    expect(readFileSync(files.kernel).toString('latin1')).toContain('installer');
  });

  test('is seen in the catalogue', async () => {
    await fetchDebian();
    const guests = (await listGuests({ cacheDir: fixture.cacheDir })).map((guest) => guestInfo.parse(guest));
    expect(guests.map(({ id, fetched }) => [id, fetched])).toEqual([
      ['debian', true],
      ['debian-installer', false],
    ]);
    expect(guests[0].size).toBe(
      statSync((await fetchDebian()).kernel).size + statSync((await fetchDebian()).initrd).size,
    );
  });

  test('reports its progress', async () => {
    const seen: GuestProgress[] = [];
    await fetchDebian({ onProgress: (progress) => seen.push(progress) });
    expect(new Set(seen.map(({ phase }) => phase))).toEqual(new Set(['index', 'download', 'build']));
    const downloads = seen.filter(({ phase }) => phase === 'download').map(({ done }) => done!);
    expect(downloads).toEqual(downloads.toSorted((a, b) => a - b));
    expect(seen.filter(({ phase }) => phase === 'download').at(-1)).toMatchObject({ done: downloads.at(-1) });
    expect(seen.filter(({ phase }) => phase === 'download').at(-1)?.total).toBe(downloads.at(-1));
  });

  test('is asked only once: what is here needs no network', async () => {
    const files = await fetchDebian();
    const before = fixture.mirror.requests.length;
    expect(await fetchDebian()).toEqual(files);
    expect(fixture.mirror.requests.length).toBe(before);
    await fixture.mirror.close();
    expect(await fetchDebian()).toEqual(files);
  });

  test('index by hash is preferred, where the archive has that', async () => {
    await fixture.mirror.publish(guestPackages(), { fields: { 'Acquire-By-Hash': 'yes' } });
    await fetchDebian();
    expect(fixture.mirror.requests[1]).toMatch(/by-hash\/SHA256\/[0-9a-f]{64}$/);
    // It was not there, and the plain name served.
    expect(fixture.mirror.requests[2]).toBe('dists/trixie/main/binary-riscv64/Packages.xz');
  });

  test('redirects are followed, but not to other protocols', async () => {
    fixture.mirror.intercept = (path, _request, response) => {
      if (!path.startsWith('pool/')) return false;
      response.writeHead(302, { location: `/debian/moved/${path}` }).end();
      return true;
    };
    for (const [path, data] of [...fixture.mirror.files]) fixture.mirror.files.set(`moved/${path}`, data);
    await fetchDebian();

    fixture.mirror.intercept = (_path, _request, response) => {
      response.writeHead(302, { location: 'file:///etc/passwd' }).end();
      return true;
    };
    await expect(fetchDebian({ update: true })).rejects.toMatchObject({ kind: 'network' });
  });

  test('an endless redirect ends', async () => {
    fixture.mirror.intercept = (path, _request, response) => {
      response.writeHead(302, { location: `/debian/${path}` }).end();
      return true;
    };
    await expect(fetchDebian()).rejects.toMatchObject({ message: expect.stringContaining('redirects too often') });
  });
});

test('a proxy of the environment is used', async () => {
  const seen: string[] = [];
  const proxy = createServer((request, response) => {
    const target = new URL(request.url!);
    seen.push(target.host);
    httpGet(`${fixture.mirror.address}${target.pathname.replace(/^\/debian/, '')}`, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  const files = await fetchInChild('http://mirror.invalid/debian', { http_proxy: `http://127.0.0.1:${port}` });
  proxy.closeAllConnections();
  proxy.close();
  expect(existsSync(files.kernel)).toBe(true);
  expect(new Set(seen)).toEqual(new Set(['mirror.invalid']));
});

describe('updates', () => {
  test('a new kernel replaces the old one', async () => {
    const old = await fetchDebian();
    await fixture.mirror.publish(guestPackages(2), { fields: { Date: 'Sun, 13 Sep 2026 07:55:41 UTC' } });
    expect(await fetchDebian()).toEqual(old);
    const fresh = await fetchDebian({ update: true });
    expect(fresh.version).toBe('6.12.1-2 (Debian 13.9)');
    expect(existsSync(old.kernel)).toBe(false);
    expect(cached()).toHaveLength(3);
  });

  test('nothing new: the Release alone is asked for', async () => {
    const files = await fetchDebian();
    fixture.mirror.requests.length = 0;
    expect(await fetchDebian({ update: true })).toEqual(files);
    expect(fixture.mirror.requests).toEqual(['dists/trixie/InRelease']);
  });

  test('a newer Release with the same packages: no package is downloaded', async () => {
    const files = await fetchDebian();
    await fixture.mirror.publish(guestPackages(), { fields: { Date: 'Sun, 13 Sep 2026 07:55:41 UTC' } });
    fixture.mirror.requests.length = 0;
    expect(await fetchDebian({ update: true })).toEqual(files);
    expect(fixture.mirror.requests.some((path) => path.startsWith('pool/'))).toBe(false);
    // And that Release is now the oldest one that is taken.
    await fixture.mirror.publish();
    await expect(fetchDebian({ update: true })).rejects.toMatchObject({
      message: expect.stringContaining('out of date'),
    });
    expect(await debianPaths()).toEqual(files);
  });

  test('a mirror that fails leaves the guest as it was', async () => {
    const files = await fetchDebian();
    fixture.mirror.files.clear();
    await expect(fetchDebian({ update: true })).rejects.toMatchObject({ kind: 'network' });
    expect(await debianPaths()).toEqual(files);
    expect(existsSync(files.kernel)).toBe(true);
  });

  test('our own part of another version of this program is replaced, with no network', async () => {
    const { initrd } = await fetchDebian();
    const good = readFileSync(initrd);
    const recordFile = join(fixture.cacheDir, 'guests/debian/guest.json');
    const record = JSON.parse(readFileSync(recordFile, 'utf8'));
    writeFileSync(initrd, Buffer.concat([good.subarray(0, record.baseSize), Buffer.from('an older init')]));
    const older = { ...record, overlay: '0'.repeat(64), initrdSize: record.baseSize + 13, append: 'old' };
    writeFileSync(recordFile, JSON.stringify(older));
    await fixture.mirror.close();
    const files = await fetchDebian();
    expect(readFileSync(files.initrd).equals(good)).toBe(true);
    expect(files.append).toBe('console=ttyS0');
  });

  test('a guest made by an older recipe is made anew, or used as it is when there is no network', async () => {
    await fetchDebian();
    const recordFile = join(fixture.cacheDir, 'guests/debian/guest.json');
    const record = JSON.parse(readFileSync(recordFile, 'utf8'));
    writeFileSync(recordFile, JSON.stringify({ ...record, recipe: '0'.repeat(64) }));
    fixture.mirror.intercept = (_path, request) => {
      request.socket.destroy();
      return true;
    };
    const seen: string[] = [];
    const old = await fetchDebian({ onProgress: ({ message }) => seen.push(message) });
    expect(existsSync(old.kernel)).toBe(true);
    expect(seen.at(-1)).toContain('no newer version can be had');
    fixture.mirror.intercept = undefined;
    await fetchDebian();
    expect(JSON.parse(readFileSync(recordFile, 'utf8')).recipe).toBe(record.recipe);
  });
});

describe('a damaged cache', () => {
  test.each<[string, (files: GuestFiles) => void]>([
    ['a truncated initrd', ({ initrd }) => truncateSync(initrd, 10)],
    ['a missing kernel', ({ kernel }) => rmSync(kernel)],
    ['a record that is no JSON', () => writeFileSync(join(fixture.cacheDir, 'guests/debian/guest.json'), '{')],
    [
      'a record that points elsewhere',
      () => {
        const path = join(fixture.cacheDir, 'guests/debian/guest.json');
        writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), folder: '../../../etc' }));
      },
    ],
  ])('%s is fetched again', async (_, damage) => {
    const files = await fetchDebian();
    damage(files);
    expect(await debianPaths()).toBeNull();
    expect(await fetchDebian()).toEqual(files);
    expect(readFileSync(files.kernel).toString('latin1')).toContain('kernel of revision 1');
  });
});

describe('several at once', () => {
  test('calls in one process share one download', async () => {
    const all = await Promise.all([fetchDebian(), fetchDebian(), fetchDebian()]);
    expect(new Set(all.map(({ kernel }) => kernel)).size).toBe(1);
    expect(fixture.mirror.requests.filter((path) => path === fixture.mirror.pool(KERNEL_PACKAGE))).toHaveLength(1);
  });

  test('processes wait for one another', async () => {
    const [one, two] = await Promise.all([fetchInChild(fixture.mirror.address), fetchInChild(fixture.mirror.address)]);
    expect(one).toEqual(two);
    expect(fixture.mirror.requests.filter((path) => path === fixture.mirror.pool(KERNEL_PACKAGE))).toHaveLength(1);
    expect(cached()).toHaveLength(3);
  });

  test('a lock whose holder died is broken', async () => {
    const dead = fork(join(import.meta.dirname, 'doubles/nothing.ts'), { execArgv: [] });
    await new Promise((resolve) => dead.once('exit', resolve));
    const lock = join(fixture.cacheDir, 'guests/debian.lock');
    await removeGuest('debian', { cacheDir: fixture.cacheDir });
    writeFileSync(lock, `${dead.pid} ${hostname()}\n`);
    await fetchDebian();
    expect(existsSync(lock)).toBe(false);
  });

  test('waiting for a lock can be given up', async () => {
    await removeGuest('debian', { cacheDir: fixture.cacheDir });
    writeFileSync(join(fixture.cacheDir, 'guests/debian.lock'), `${process.pid} elsewhere\n`);
    const seen: string[] = [];
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 300);
    const waiting = fetchDebian({ signal: abort.signal, onProgress: ({ phase }) => seen.push(phase) });
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
    expect(seen).toEqual(['wait']);
  });
});

describe('removal', () => {
  test('leaves nothing', async () => {
    await fetchDebian();
    expect(await removeGuest('debian', { cacheDir: fixture.cacheDir })).toBe(true);
    expect(cached()).toEqual([]);
    expect(await debianPaths()).toBeNull();
    expect(await removeGuest('debian', { cacheDir: fixture.cacheDir })).toBe(false);
  });

  test('of what is not in the catalogue is an error, as all else is', async () => {
    const expected = { kind: 'not-found', message: expect.stringContaining('debian, debian-installer') };
    await expect(removeGuest('../../etc')).rejects.toMatchObject(expected);
    await expect(fetchGuest('constructor')).rejects.toMatchObject(expected);
    await expect(guestPaths('')).rejects.toMatchObject(expected);
  });
});

test('a cache that cannot be written says so', async () => {
  const file = join(fixture.cacheDir, 'a-file');
  writeFileSync(file, '');
  await expect(fetchDebian({ cacheDir: file })).rejects.toMatchObject({
    kind: 'io',
    message: expect.stringContaining(file),
  });
});
