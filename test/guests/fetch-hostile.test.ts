/** Fetching guests over a bad line, and from a mirror that means harm. */
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { discardDownloads, listGuests } from '../../main/guests/index.ts';
import { makeDeb, makeXz } from './doubles/archives.ts';
import { cpioNames, fetchFixture } from './doubles/fetch-fixture.ts';
import { KERNEL_PACKAGE, guestPackages, sha256 } from './doubles/mirror.ts';

const fixture = fetchFixture();
const { fetchDebian, debianPaths, cached, expectNothingLeft } = fixture;

describe('a bad line', () => {
  test('a download that breaks off is resumed where it stopped', async () => {
    const path = fixture.mirror.pool(KERNEL_PACKAGE);
    const size = fixture.mirror.files.get(path)!.length;
    let broken = 0;
    fixture.mirror.intercept = (asked, request, response, body) => {
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
    expect(fixture.mirror.requests.filter((request) => request.startsWith(path))).toEqual([
      path,
      `${path} bytes=100-`,
      `${path} bytes=200-`,
    ]);
  });

  test('a fetch that was given up is resumed by the next one', async () => {
    const path = fixture.mirror.pool(KERNEL_PACKAGE);
    fixture.mirror.intercept = (asked, _request, response, body) => {
      if (asked !== path) return false;
      response.writeHead(200, { 'content-length': body!.length });
      response.write(body!.subarray(0, 300));
      return true;
    };
    const abort = new AbortController();
    const fetching = fetchDebian({
      signal: abort.signal,
      onProgress: ({ message, done = 0 }) => {
        if (message.includes(KERNEL_PACKAGE) && done >= 300) abort.abort();
      },
    });
    await expect(fetching).rejects.toMatchObject({ name: 'AbortError' });
    expectNothingLeft();
    expect(cached().some((name) => name.endsWith('.part'))).toBe(true);
    const [{ downloaded }] = await listGuests({ cacheDir: fixture.cacheDir });
    expect(downloaded).toBeGreaterThanOrEqual(300);

    fixture.mirror.intercept = undefined;
    await fetchDebian();
    expect(fixture.mirror.requests).toContain(`${path} bytes=300-`);
    expect(cached()).toHaveLength(3);
  });

  test('what a download has left can be removed, without the guest', async () => {
    await fetchDebian();
    const before = cached();
    const partial = join(fixture.cacheDir, 'guests/debian/downloads');
    mkdirSync(partial, { recursive: true });
    writeFileSync(join(partial, 'x.deb.part'), 'half of it');
    expect((await listGuests({ cacheDir: fixture.cacheDir }))[0]).toMatchObject({ downloaded: 10, fetched: true });
    await discardDownloads('debian', { cacheDir: fixture.cacheDir });
    expect((await listGuests({ cacheDir: fixture.cacheDir }))[0]).toMatchObject({ downloaded: 0, fetched: true });
    expect(cached()).toEqual(before);
  });

  test('a server that cannot resume is asked for the whole', async () => {
    const path = fixture.mirror.pool(KERNEL_PACKAGE);
    let first = true;
    fixture.mirror.intercept = (asked, _request, response, body) => {
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
    const path = fixture.mirror.pool('busybox-static');
    const deb = fixture.mirror.files.get(path)!;
    let first = true;
    fixture.mirror.intercept = (asked, _request, response) => {
      if (asked !== path || !first) return false;
      first = false;
      response.writeHead(200, { 'content-length': deb.length });
      response.write(Buffer.alloc(50, 'x'), () => setTimeout(() => response.destroy(), 50));
      return true;
    };
    await fetchDebian();
    expect(fixture.mirror.requests.filter((request) => request.startsWith(path))).toEqual([
      path,
      `${path} bytes=50-`,
      path,
    ]);
  });

  test('failures that may pass are waited out; others are not asked again', async () => {
    let failures = 0;
    fixture.mirror.intercept = (path, _request, response) => {
      if (!path.endsWith('Packages.xz') || failures++ >= 3) return false;
      response.writeHead(503).end();
      return true;
    };
    await fetchDebian();
    expect(failures).toBe(4);

    fixture.mirror.requests.length = 0;
    fixture.mirror.intercept = (_path, _request, response) => {
      response.writeHead(403).end();
      return true;
    };
    await expect(fetchDebian({ update: true })).rejects.toMatchObject({
      kind: 'network',
      message: expect.stringContaining('answers 403'),
    });
    expect(fixture.mirror.requests).toHaveLength(1);
  });

  test('a server that is down, and one whose name does not exist', async () => {
    await fixture.mirror.close();
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
    fixture.mirror.intercept = () => true;
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
    expect(await debianPaths()).toBeNull();
    expectNothingLeft();
    expect(cached().filter((name) => name.endsWith('.part'))).toEqual([]);
  }

  test('with a Release signed by somebody else', async () => {
    await fixture.mirror.publish(guestPackages(), { signer: fixture.stranger });
    await expectRefused('bad-signature', "not signed with Debian's archive key");
    expect(fixture.mirror.requests).toEqual(['dists/trixie/InRelease']);
  });

  test("cannot pass without Debian's real key", async () => {
    await expect(fetchDebian({ keys: undefined })).rejects.toMatchObject({ kind: 'bad-signature' });
  });

  test('with a Release that never ends', async () => {
    fixture.mirror.intercept = (_path, _request, response) => {
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
    fixture.mirror.files.set(path, Buffer.alloc(fixture.mirror.files.get(path)!.length, 'x'));
    await expectRefused('bad-signature', 'is not the file that Debian signed');
  });

  test('with another package of the same size', async () => {
    const path = fixture.mirror.pool(KERNEL_PACKAGE);
    const changed = Buffer.from(fixture.mirror.files.get(path)!);
    changed[changed.length - 10] ^= 1;
    fixture.mirror.files.set(path, changed);
    await expectRefused('bad-signature', 'is not the file that Debian signed');
  });

  test.each([
    ['shorter', -1],
    ['longer', 1],
  ])('with a %s package, announced', async (_, by) => {
    const path = fixture.mirror.pool(KERNEL_PACKAGE);
    const deb = fixture.mirror.files.get(path)!;
    fixture.mirror.files.set(path, by < 0 ? deb.subarray(0, by) : Buffer.concat([deb, Buffer.alloc(by)]));
    await expectRefused('bad-signature', 'is not the file that Debian signed');
  });

  test('with a package that never ends, unannounced', async () => {
    const path = fixture.mirror.pool(KERNEL_PACKAGE);
    fixture.mirror.intercept = (asked, _request, response, body) => {
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
    await fixture.mirror.publishIndex(makeXz(Buffer.alloc(2 ** 20, 'x\n')), Buffer.alloc(1000));
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
    await fixture.mirror.publish(packages);
    await expect(fetchDebian()).rejects.toMatchObject({
      kind: 'bad-image',
      message: expect.stringContaining('unsafe name'),
    });
    expectNothingLeft();
    expect(existsSync('/tmp/evil')).toBe(false);
  });

  test.each<[string, (packages: ReturnType<typeof guestPackages>) => void, string]>([
    ['no kernel in the kernel package', (packages) => void packages[KERNEL_PACKAGE].files.shift(), 'has no kernel'],
    [
      'a kernel for another machine',
      (packages) => void (packages[KERNEL_PACKAGE].files[0].data = Buffer.alloc(999)),
      'no RISC-V Image',
    ],
    ['no module that the disk needs', (packages) => void packages[KERNEL_PACKAGE].files.splice(1, 1), 'virtio_blk'],
    ['no busybox', (packages) => void (packages['busybox-static'].files = []), 'busybox-static'],
    ['no kernel named', (packages) => void (packages['linux-image-riscv64'].depends = 'nothing'), 'names no kernel'],
    ['no metapackage', (packages) => void delete packages['linux-image-riscv64'], 'no package linux-image-riscv64'],
  ])('with %s', async (_, spoil, message) => {
    const packages = guestPackages();
    spoil(packages);
    await fixture.mirror.publish(packages);
    await expect(fetchDebian()).rejects.toMatchObject({ message: expect.stringContaining(message) });
    expectNothingLeft();
  });

  test('with a link that points out of the guest: it is only ever a link inside', async () => {
    const packages = guestPackages();
    packages.e2fsprogs.files.push({ name: './usr/sbin/fsck', type: '2', linkname: '../../../../../../etc/passwd' });
    await fixture.mirror.publish(packages);
    const { initrd } = await fetchDebian();
    expect(cpioNames(initrd)).toContain('usr/sbin/fsck');
    expect(statSync(initrd).isFile()).toBe(true);
  });

  test('a damaged package that was signed is said to be damaged', async () => {
    const deb = makeDeb([{ name: './x', data: 'y' }]).subarray(0, 150);
    const stanza = (name: string): string =>
      `Package: ${name}\nFilename: pool/x.deb\nSize: ${deb.length}\nSHA256: ${sha256(deb)}\nDepends: ${KERNEL_PACKAGE}\n`;
    const index = Buffer.from(Object.keys(guestPackages()).map(stanza).join('\n'));
    fixture.mirror.files.set('pool/x.deb', deb);
    await fixture.mirror.publishIndex(makeXz(index), index);
    await expect(fetchDebian()).rejects.toMatchObject({ kind: 'bad-image' });
    expectNothingLeft();
  });
});
