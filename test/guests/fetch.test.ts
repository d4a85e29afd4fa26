/** Fetching guests from a mirror of our own, which behaves well or badly. */
import { fork } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, get as httpGet } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { fetchGuest, guestFiles, guestInfo, guestPaths, listGuests, removeGuest } from '../../main/guests/index.ts';
import type { FetchOptions, GuestFiles, GuestProgress } from '../../main/guests/index.ts';
import { makeDeb, makeXz } from './doubles/archives.ts';
import { FakeMirror, KERNEL_VERSION, guestPackages, makeKey, sha256 } from './doubles/mirror.ts';
import type { SigningKey } from './doubles/mirror.ts';

const KERNEL = `linux-image-${KERNEL_VERSION}`;
let key: SigningKey;
let stranger: SigningKey;
let mirror: FakeMirror;
let cacheDir: string;

beforeAll(async () => {
  [key, stranger] = await Promise.all([makeKey('archive'), makeKey('stranger')]);
});
beforeEach(async () => {
  cacheDir = mkdtempSync(join(tmpdir(), 'ringside-guests-'));
  mirror = await FakeMirror.start(key);
  await mirror.publish();
});
afterEach(async () => {
  await mirror.close();
  rmSync(cacheDir, { recursive: true, force: true });
});

function fetchDebian(options: FetchOptions = {}): Promise<GuestFiles> {
  return fetchGuest('debian', { cacheDir, mirror: mirror.address, keys: [key], firstDelayMs: 1, ...options });
}

/** Fetches in a process of its own, which may have another environment. */
function fetchInChild(address: string, env: Record<string, string> = {}): Promise<GuestFiles> {
  const { privateKey: _, ...publicKey } = key;
  const options = JSON.stringify({ cacheDir, mirror: address, keys: [publicKey] });
  return new Promise((resolve, reject) => {
    const script = join(import.meta.dirname, 'doubles/fetch-child.ts');
    const child = fork(script, [options], { execArgv: [], env: { ...process.env, ...env } });
    child.once('message', (files) => resolve(files as GuestFiles));
    child.once('exit', (code) => reject(new Error(`the child ended with ${code}`)));
  });
}

/** Everything in the cache, relative to its folder of guests. */
function cached(): string[] {
  const names = readdirSync(join(cacheDir, 'guests'), { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(cacheDir, 'guests').length + 1))
    .sort();
}

/** Fails a test when anything but parts to be resumed is left. */
function expectNothingLeft(): void {
  expect(cached().filter((name) => !/^debian\/downloads\/[^/]+\.(part|deb|xz)$/.test(name))).toEqual([]);
}

function cpioNames(path: string): string[] {
  const bytes = readFileSync(path);
  const names: string[] = [];
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] === 0) {
      at += 4;
      continue;
    }
    const field = (index: number): number =>
      parseInt(bytes.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16);
    const [size, nameSize] = [field(6), field(11)];
    names.push(bytes.toString('latin1', at + 110, at + 110 + nameSize - 1));
    at += ((110 + nameSize + 3) & ~3) + ((size + 3) & ~3);
  }
  return names;
}

describe('a good mirror', () => {
  test('gives a kernel and an initramfs', async () => {
    const files = await fetchDebian();
    expect(guestFiles.parse(files)).toMatchObject({
      id: 'debian',
      append: 'console=ttyS0',
      version: '6.12.1-1 (Debian 13.9)',
    });
    expect(readFileSync(files.kernel).toString('latin1')).toContain('kernel of revision 1');
    expect(await guestPaths('debian', { cacheDir })).toEqual(files);
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
    const files = await fetchGuest('debian-installer', { cacheDir, mirror: mirror.address, keys: [key] });
    expect(readFileSync(files.initrd, 'utf8')).toBe('installer initrd');
    expect(readFileSync(files.kernel).toString('latin1')).toContain('installer');
  });

  test('is seen in the catalogue', async () => {
    await fetchDebian();
    const guests = (await listGuests({ cacheDir })).map((guest) => guestInfo.parse(guest));
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
    const before = mirror.requests.length;
    expect(await fetchDebian()).toEqual(files);
    expect(mirror.requests.length).toBe(before);
    await mirror.close();
    expect(await fetchDebian()).toEqual(files);
  });

  test('index by hash is preferred, where the archive has that', async () => {
    await mirror.publish(guestPackages(), { fields: { 'Acquire-By-Hash': 'yes' } });
    await fetchDebian();
    expect(mirror.requests[1]).toMatch(/by-hash\/SHA256\/[0-9a-f]{64}$/);
    // It was not there, and the plain name served.
    expect(mirror.requests[2]).toBe('dists/trixie/main/binary-riscv64/Packages.xz');
  });

  test('redirects are followed, but not to other protocols', async () => {
    mirror.intercept = (path, _request, response) => {
      if (!path.startsWith('pool/')) return false;
      response.writeHead(302, { location: `/debian/moved/${path}` }).end();
      return true;
    };
    for (const [path, data] of [...mirror.files]) mirror.files.set(`moved/${path}`, data);
    await fetchDebian();

    mirror.intercept = (_path, _request, response) => {
      response.writeHead(302, { location: 'file:///etc/passwd' }).end();
      return true;
    };
    await expect(fetchDebian({ update: true })).rejects.toMatchObject({ kind: 'network' });
  });

  test('an endless redirect ends', async () => {
    mirror.intercept = (path, _request, response) => {
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
    httpGet(`${mirror.address}${target.pathname.replace(/^\/debian/, '')}`, (answer) => {
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
    await mirror.publish(guestPackages(2), { fields: { Date: 'Sun, 13 Sep 2026 07:55:41 UTC' } });
    expect(await fetchDebian()).toEqual(old);
    const fresh = await fetchDebian({ update: true });
    expect(fresh.version).toBe('6.12.1-2 (Debian 13.9)');
    expect(existsSync(old.kernel)).toBe(false);
    expect(cached()).toHaveLength(3);
  });

  test('nothing new: the Release alone is asked for', async () => {
    const files = await fetchDebian();
    mirror.requests.length = 0;
    expect(await fetchDebian({ update: true })).toEqual(files);
    expect(mirror.requests).toEqual(['dists/trixie/InRelease']);
  });

  test('a newer Release with the same packages: no package is downloaded', async () => {
    const files = await fetchDebian();
    await mirror.publish(guestPackages(), { fields: { Date: 'Sun, 13 Sep 2026 07:55:41 UTC' } });
    mirror.requests.length = 0;
    expect(await fetchDebian({ update: true })).toEqual(files);
    expect(mirror.requests.some((path) => path.startsWith('pool/'))).toBe(false);
    // And that Release is now the oldest one that is taken.
    await mirror.publish();
    await expect(fetchDebian({ update: true })).rejects.toMatchObject({
      message: expect.stringContaining('out of date'),
    });
    expect(await guestPaths('debian', { cacheDir })).toEqual(files);
  });

  test('a mirror that fails leaves the guest as it was', async () => {
    const files = await fetchDebian();
    mirror.files.clear();
    await expect(fetchDebian({ update: true })).rejects.toMatchObject({ kind: 'network' });
    expect(await guestPaths('debian', { cacheDir })).toEqual(files);
    expect(existsSync(files.kernel)).toBe(true);
  });

  test('our own part of another version of this program is replaced, with no network', async () => {
    const { initrd } = await fetchDebian();
    const good = readFileSync(initrd);
    const recordFile = join(cacheDir, 'guests/debian/guest.json');
    const record = JSON.parse(readFileSync(recordFile, 'utf8'));
    writeFileSync(initrd, Buffer.concat([good.subarray(0, record.baseSize), Buffer.from('an older init')]));
    const older = { ...record, overlay: '0'.repeat(64), initrdSize: record.baseSize + 13, append: 'old' };
    writeFileSync(recordFile, JSON.stringify(older));
    await mirror.close();
    const files = await fetchDebian();
    expect(readFileSync(files.initrd).equals(good)).toBe(true);
    expect(files.append).toBe('console=ttyS0');
  });

  test('a guest made by an older recipe is made anew, or used as it is when there is no network', async () => {
    await fetchDebian();
    const recordFile = join(cacheDir, 'guests/debian/guest.json');
    const record = JSON.parse(readFileSync(recordFile, 'utf8'));
    writeFileSync(recordFile, JSON.stringify({ ...record, recipe: '0'.repeat(64) }));
    mirror.intercept = (_path, request) => {
      request.socket.destroy();
      return true;
    };
    const seen: string[] = [];
    const old = await fetchDebian({ onProgress: ({ message }) => seen.push(message) });
    expect(existsSync(old.kernel)).toBe(true);
    expect(seen.at(-1)).toContain('no newer version can be had');
    mirror.intercept = undefined;
    await fetchDebian();
    expect(JSON.parse(readFileSync(recordFile, 'utf8')).recipe).toBe(record.recipe);
  });
});

describe('a damaged cache', () => {
  test.each<[string, (files: GuestFiles) => void]>([
    ['a truncated initrd', ({ initrd }) => truncateSync(initrd, 10)],
    ['a missing kernel', ({ kernel }) => rmSync(kernel)],
    ['a record that is no JSON', () => writeFileSync(join(cacheDir, 'guests/debian/guest.json'), '{')],
    [
      'a record that points elsewhere',
      () => {
        const path = join(cacheDir, 'guests/debian/guest.json');
        writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), folder: '../../../etc' }));
      },
    ],
  ])('%s is fetched again', async (_, damage) => {
    const files = await fetchDebian();
    damage(files);
    expect(await guestPaths('debian', { cacheDir })).toBeNull();
    expect(await fetchDebian()).toEqual(files);
    expect(readFileSync(files.kernel).toString('latin1')).toContain('kernel of revision 1');
  });
});

describe('a bad line', () => {
  test('a download that breaks off is resumed where it stopped', async () => {
    const path = mirror.pool(KERNEL);
    const size = mirror.files.get(path)!.length;
    let broken = 0;
    mirror.intercept = (asked, request, response, body) => {
      if (asked !== path || broken++ >= 2) return false;
      const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(start > 0 ? 206 : 200, {
        'content-length': size - start,
        ...(start > 0 && { 'content-range': `bytes ${start}-${size - 1}/${size}` }),
      });
      response.write(body!.subarray(start, start + 100), () => setTimeout(() => response.destroy(), 50));
      return true;
    };
    await fetchDebian();
    expect(mirror.requests.filter((request) => request.startsWith(path))).toEqual([
      path,
      `${path} bytes=100-`,
      `${path} bytes=200-`,
    ]);
  });

  test('a fetch that was given up is resumed by the next one', async () => {
    const path = mirror.pool(KERNEL);
    mirror.intercept = (asked, _request, response, body) => {
      if (asked !== path) return false;
      response.writeHead(200, { 'content-length': body!.length });
      response.write(body!.subarray(0, 300));
      return true;
    };
    const abort = new AbortController();
    const fetching = fetchDebian({
      signal: abort.signal,
      onProgress: ({ message, done = 0 }) => {
        if (message.includes(KERNEL) && done >= 300) abort.abort();
      },
    });
    await expect(fetching).rejects.toMatchObject({ name: 'AbortError' });
    expectNothingLeft();
    expect(cached().some((name) => name.endsWith('.part'))).toBe(true);

    mirror.intercept = undefined;
    await fetchDebian();
    expect(mirror.requests).toContain(`${path} bytes=300-`);
    expect(cached()).toHaveLength(3);
  });

  test('a server that cannot resume is asked for the whole', async () => {
    const path = mirror.pool(KERNEL);
    let first = true;
    mirror.intercept = (asked, _request, response, body) => {
      if (asked !== path) return false;
      response.writeHead(200, { 'content-length': body!.length });
      if (first) response.write(body!.subarray(0, 100), () => setTimeout(() => response.destroy(), 50));
      else response.end(body);
      first = false;
      return true;
    };
    await fetchDebian();
  });

  test('a part that begins with something else is downloaded anew', async () => {
    const path = mirror.pool('busybox-static');
    const deb = mirror.files.get(path)!;
    let first = true;
    mirror.intercept = (asked, _request, response) => {
      if (asked !== path || !first) return false;
      first = false;
      response.writeHead(200, { 'content-length': deb.length });
      response.write(Buffer.alloc(50, 'x'), () => setTimeout(() => response.destroy(), 50));
      return true;
    };
    await fetchDebian();
    expect(mirror.requests.filter((request) => request.startsWith(path))).toEqual([path, `${path} bytes=50-`, path]);
  });

  test('failures that may pass are waited out; others are not asked again', async () => {
    let failures = 0;
    mirror.intercept = (path, _request, response) => {
      if (!path.endsWith('Packages.xz') || failures++ >= 3) return false;
      response.writeHead(503).end();
      return true;
    };
    await fetchDebian();
    expect(failures).toBe(4);

    mirror.requests.length = 0;
    mirror.intercept = (_path, _request, response) => {
      response.writeHead(403).end();
      return true;
    };
    await expect(fetchDebian({ update: true })).rejects.toMatchObject({
      kind: 'network',
      message: expect.stringContaining('answers 403'),
    });
    expect(mirror.requests).toHaveLength(1);
  });

  test('a server that is down, and one whose name does not exist', async () => {
    await mirror.close();
    await expect(fetchDebian()).rejects.toMatchObject({
      kind: 'network',
      message: expect.stringContaining('refuses connections'),
    });
    await expect(fetchDebian({ mirror: 'http://mirror.invalid/debian' })).rejects.toMatchObject({
      kind: 'network',
      message: expect.stringContaining('mirror.invalid is not known'),
    });
    expectNothingLeft();
  });

  test('an abort before the start, and one while waiting for a mirror that says nothing', async () => {
    await expect(fetchDebian({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
    mirror.intercept = () => true;
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 100);
    await expect(fetchDebian({ signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' });
    expectNothingLeft();
  });
});

describe('a hostile mirror', () => {
  /** Every path that leads to a fetched guest is closed, and nothing of it stays. */
  async function expectRefused(kind: string, message: string): Promise<void> {
    await expect(fetchDebian()).rejects.toMatchObject({ kind, message: expect.stringContaining(message) });
    expect(await guestPaths('debian', { cacheDir })).toBeNull();
    expectNothingLeft();
    expect(cached().filter((name) => name.endsWith('.part'))).toEqual([]);
  }

  test('with a Release signed by somebody else', async () => {
    await mirror.publish(guestPackages(), { signer: stranger });
    await expectRefused('bad-signature', "not signed with Debian's archive key");
    expect(mirror.requests).toEqual(['dists/trixie/InRelease']);
  });

  test("cannot pass without Debian's real key", async () => {
    await expect(fetchDebian({ keys: undefined })).rejects.toMatchObject({ kind: 'bad-signature' });
  });

  test('with a Release that never ends', async () => {
    mirror.intercept = (_path, _request, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (response.write(Buffer.alloc(2 ** 20)));
        response.once('drain', more);
      };
      more();
      return true;
    };
    await expectRefused('too-large', 'larger than it can rightly be');
  });

  test('with another package index', async () => {
    const path = 'dists/trixie/main/binary-riscv64/Packages.xz';
    mirror.files.set(path, Buffer.alloc(mirror.files.get(path)!.length, 'x'));
    await expectRefused('bad-signature', 'is not the file that Debian signed');
  });

  test('with another package of the same size', async () => {
    const path = mirror.pool(KERNEL);
    const changed = Buffer.from(mirror.files.get(path)!);
    changed[changed.length - 10] ^= 1;
    mirror.files.set(path, changed);
    await expectRefused('bad-signature', 'is not the file that Debian signed');
  });

  test.each([
    ['shorter', -1],
    ['longer', 1],
  ])('with a %s package, announced', async (_, by) => {
    const path = mirror.pool(KERNEL);
    const deb = mirror.files.get(path)!;
    mirror.files.set(path, by < 0 ? deb.subarray(0, by) : Buffer.concat([deb, Buffer.alloc(by)]));
    await expectRefused('bad-signature', 'is not the file that Debian signed');
  });

  test('with a package that never ends, unannounced', async () => {
    const path = mirror.pool(KERNEL);
    mirror.intercept = (asked, _request, response, body) => {
      if (asked !== path) return false;
      response.writeHead(200);
      response.write(body);
      const more = (): void => {
        while (response.write(Buffer.alloc(2 ** 16)));
        response.once('drain', more);
      };
      more();
      return true;
    };
    await expect(fetchDebian()).rejects.toMatchObject({ kind: 'bad-signature' });
    expectNothingLeft();
    expect(cached().filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  test('with an index that unpacks to more than was signed', async () => {
    await mirror.publishIndex(makeXz(Buffer.alloc(2 ** 20, 'x\n')), Buffer.alloc(1000));
    await expect(fetchDebian()).rejects.toMatchObject({
      kind: 'bad-image',
      message: expect.stringContaining('unpacks'),
    });
    expectNothingLeft();
  });

  test.each([
    ['climbs out of its folder', '../../../../tmp/evil'],
    ['is absolute', '/etc/evil'],
  ])('with a signed package where a name %s', async (_, name) => {
    const packages = guestPackages();
    packages['busybox-static'].files.push({ name, data: 'evil' });
    await mirror.publish(packages);
    await expect(fetchDebian()).rejects.toMatchObject({
      kind: 'bad-image',
      message: expect.stringContaining('unsafe name'),
    });
    expectNothingLeft();
    expect(existsSync('/tmp/evil')).toBe(false);
  });

  test.each<[string, (packages: ReturnType<typeof guestPackages>) => void, string]>([
    ['no kernel in the kernel package', (packages) => void packages[KERNEL].files.shift(), 'has no kernel'],
    [
      'a kernel for another machine',
      (packages) => void (packages[KERNEL].files[0].data = Buffer.alloc(999)),
      'no RISC-V Image',
    ],
    ['no module that the disk needs', (packages) => void packages[KERNEL].files.splice(1, 1), 'virtio_blk'],
    ['no busybox', (packages) => void (packages['busybox-static'].files = []), 'busybox-static'],
    ['no kernel named', (packages) => void (packages['linux-image-riscv64'].depends = 'nothing'), 'names no kernel'],
    ['no metapackage', (packages) => void delete packages['linux-image-riscv64'], 'no package linux-image-riscv64'],
  ])('with %s', async (_, spoil, message) => {
    const packages = guestPackages();
    spoil(packages);
    await mirror.publish(packages);
    await expect(fetchDebian()).rejects.toMatchObject({ message: expect.stringContaining(message) });
    expectNothingLeft();
  });

  test('with a link that points out of the guest: it is only ever a link inside', async () => {
    const packages = guestPackages();
    packages.e2fsprogs.files.push({ name: './usr/sbin/fsck', type: '2', linkname: '../../../../../../etc/passwd' });
    await mirror.publish(packages);
    const { initrd } = await fetchDebian();
    expect(cpioNames(initrd)).toContain('usr/sbin/fsck');
    expect(statSync(initrd).isFile()).toBe(true);
  });

  test('a damaged package that was signed is said to be damaged', async () => {
    const deb = makeDeb([{ name: './x', data: 'y' }]).subarray(0, 150);
    const stanza = (name: string): string =>
      `Package: ${name}\nFilename: pool/x.deb\nSize: ${deb.length}\nSHA256: ${sha256(deb)}\nDepends: ${KERNEL}\n`;
    const index = Buffer.from(Object.keys(guestPackages()).map(stanza).join('\n'));
    mirror.files.set('pool/x.deb', deb);
    await mirror.publishIndex(makeXz(index), index);
    await expect(fetchDebian()).rejects.toMatchObject({ kind: 'bad-image' });
    expectNothingLeft();
  });
});

describe('several at once', () => {
  test('calls in one process share one download', async () => {
    const all = await Promise.all([fetchDebian(), fetchDebian(), fetchDebian()]);
    expect(new Set(all.map(({ kernel }) => kernel)).size).toBe(1);
    expect(mirror.requests.filter((path) => path === mirror.pool(KERNEL))).toHaveLength(1);
  });

  test('processes wait for one another', async () => {
    const [one, two] = await Promise.all([fetchInChild(mirror.address), fetchInChild(mirror.address)]);
    expect(one).toEqual(two);
    expect(mirror.requests.filter((path) => path === mirror.pool(KERNEL))).toHaveLength(1);
    expect(cached()).toHaveLength(3);
  });

  test('a lock whose holder died is broken', async () => {
    const dead = fork(join(import.meta.dirname, 'doubles/nothing.ts'), { execArgv: [] });
    await new Promise((resolve) => dead.once('exit', resolve));
    const lock = join(cacheDir, 'guests/debian.lock');
    await removeGuest('debian', { cacheDir });
    writeFileSync(lock, `${dead.pid} ${hostname()}\n`);
    await fetchDebian();
    expect(existsSync(lock)).toBe(false);
  });

  test('waiting for a lock can be given up', async () => {
    await removeGuest('debian', { cacheDir });
    writeFileSync(join(cacheDir, 'guests/debian.lock'), `${process.pid} elsewhere\n`);
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
    expect(await removeGuest('debian', { cacheDir })).toBe(true);
    expect(cached()).toEqual([]);
    expect(await guestPaths('debian', { cacheDir })).toBeNull();
    expect(await removeGuest('debian', { cacheDir })).toBe(false);
  });

  test('of what is not in the catalogue is an error, as all else is', async () => {
    const expected = { kind: 'not-found', message: expect.stringContaining('debian, debian-installer') };
    await expect(removeGuest('../../etc')).rejects.toMatchObject(expected);
    await expect(fetchGuest('constructor')).rejects.toMatchObject(expected);
    await expect(guestPaths('')).rejects.toMatchObject(expected);
  });
});

test('a cache that cannot be written says so', async () => {
  const file = join(cacheDir, 'a-file');
  writeFileSync(file, '');
  await expect(fetchDebian({ cacheDir: file })).rejects.toMatchObject({
    kind: 'io',
    message: expect.stringContaining(file),
  });
});
