/** What makes a Release file trusted. */
import { beforeAll, describe, expect, test } from 'vitest';
import { readKey } from 'openpgp';
import { TRIXIE_KEYS } from '../../main/guests/debian/archive-keys.ts';
import { dependencyNames, readPackages } from '../../main/guests/debian/packages.ts';
import { readRelease } from '../../main/guests/debian/release.ts';
import type { Release, ReleaseWanted } from '../../main/guests/debian/release.ts';
import { makeKey, releaseText, signText } from './doubles/mirror.ts';
import type { ReleaseOptions, SigningKey } from './doubles/mirror.ts';

const NOW = new Date('2026-10-01T00:00:00Z');
let debian: SigningKey;
let stranger: SigningKey;

beforeAll(async () => {
  [debian, stranger] = await Promise.all([makeKey('archive'), makeKey('stranger')]);
});

async function check(inRelease: string, wanted: Partial<ReleaseWanted> = {}): Promise<Release> {
  return readRelease(inRelease, 'the mirror', {
    codename: 'trixie',
    architecture: 'riscv64',
    component: 'main',
    keys: [debian],
    ...wanted,
  });
}

async function signed(options: ReleaseOptions = {}, key = debian): Promise<string> {
  return signText(releaseText(options), key);
}

test("the keys shipped are Debian's, by fingerprint", async () => {
  const fingerprints = await Promise.all(
    TRIXIE_KEYS.map(async ({ armored }) => (await readKey({ armoredKey: armored })).getFingerprint().toUpperCase()),
  );
  expect(fingerprints).toEqual([
    '04B54C3CDCA79751B16BC6B5225629DF75B188BD',
    '41587F7DB8C774BCCF131416762F67A0B2C39DE4',
  ]);
  expect(TRIXIE_KEYS.map(({ fingerprint }) => fingerprint)).toEqual(fingerprints);
});

describe('a Release file', () => {
  test('that is signed is read', async () => {
    const index = Buffer.from('index');
    const release = await check(await signed({ files: { 'main/binary-riscv64/Packages.xz': index } }));
    expect(release).toMatchObject({ codename: 'trixie', version: '13.9', acquireByHash: false });
    expect(release.date).toEqual(new Date('2026-09-12T07:55:41Z'));
    expect(release.files.get('main/binary-riscv64/Packages.xz')).toMatchObject({ size: 5 });
  });

  test('that one of several keys signed is read', async () => {
    await expect(check(await signed(), { keys: [stranger, debian] })).resolves.toBeDefined();
  });

  test('is read as it was signed: what stands around the signed text does not count', async () => {
    const forged = `Codename: trixie\nVersion: 66.6\n\n${await signed()}\nVersion: 66.7\n`;
    const release = await check(forged).catch(() => null);
    expect(release?.version ?? '13.9').toBe('13.9');
  });

  test.each<[string, () => Promise<string>]>([
    ['is not signed', async () => releaseText()],
    ['is a web page', async () => '<html>Please log in to the network</html>'],
    ['is empty', async () => ''],
    ['is signed by somebody else', async () => signed({}, stranger)],
    ['was changed after signing', async () => (await signed()).replace('Version: 13.9', 'Version: 13.8')],
    ['has its signature cut off', async () => (await signed()).split('-----BEGIN PGP SIGNATURE')[0]],
    [
      'has the signature of another text',
      async () => {
        const [other, good] = [await signed({ fields: { Version: '1' } }), await signed()];
        return (
          other.split('-----BEGIN PGP SIGNATURE')[0] +
          '-----BEGIN PGP SIGNATURE' +
          good.split('-----BEGIN PGP SIGNATURE')[1]
        );
      },
    ],
  ])('that %s is refused', async (_, make) => {
    await expect(check(await make())).rejects.toMatchObject({
      kind: 'bad-signature',
      message: expect.stringContaining('the mirror'),
    });
  });

  test.each<[string, Record<string, string | undefined>, string]>([
    ['of another release', { Codename: 'bookworm' }, 'offers Debian bookworm'],
    ['with no codename', { Codename: undefined }, 'where Debian trixie was asked for'],
    ['of another distribution', { Origin: 'Somebody' }, 'offers Somebody trixie'],
    ['without riscv64', { Architectures: 'amd64 arm64' }, 'no riscv64'],
    ['without main', { Components: 'contrib' }, 'no component main'],
    ['without a date', { Date: 'soon' }, 'no date'],
    ['from the future', { Date: 'Sat, 12 Sep 2099 07:55:41 UTC' }, 'clock'],
    ['that has expired', { 'Valid-Until': 'Sat, 26 Sep 2020 07:55:41 UTC' }, 'expired on'],
    ['with an unreadable expiry', { 'Valid-Until': 'never' }, 'expired on'],
  ])('%s is refused', async (_, fields, why) => {
    await expect(check(await signed({ fields }))).rejects.toMatchObject({
      kind: 'bad-signature',
      message: expect.stringContaining(why),
    });
  });

  test('that is still valid is taken', async () => {
    const fields = { 'Valid-Until': 'Sat, 26 Sep 2099 07:55:41 UTC' };
    await expect(check(await signed({ fields }))).resolves.toBeDefined();
  });

  test('older than one seen before is a replay', async () => {
    const wanted = { notBefore: new Date('2026-09-13T00:00:00Z') };
    await expect(check(await signed(), wanted)).rejects.toMatchObject({
      message: expect.stringContaining('out of date'),
    });
    await expect(check(await signed(), { notBefore: new Date('2026-09-12T07:55:41Z') })).resolves.toBeDefined();
  });

  test('signed in the future of a clock that is slow says to check the clock', async () => {
    await expect(check(await signed(), { now: new Date(NOW.getTime() - 20 * 365 * 86_400_000) })).rejects.toMatchObject(
      {
        message: expect.stringContaining("this computer's clock"),
      },
    );
  });

  test('lines that are no file names are not taken for files', async () => {
    const text = `${releaseText()} ${'a'.repeat(64)} 12 ../../etc passwd\n ${'a'.repeat(63)} 12 short\n nonsense\n`;
    expect((await check(await signText(text, debian))).files.size).toBe(0);
  });
});

describe('a package index', () => {
  const HASH = 'ab'.repeat(32);
  const stanza = (name: string, filename = `pool/${name}.deb`): string =>
    `Package: ${name}\nVersion: 1\nPre-Depends: a\nDepends: b (>= 1) | c, d:any,\n e\nFilename: ${filename}\nSize: 5\nSHA256: ${HASH}\n`;

  async function* cut(text: string, size: number): AsyncGenerator<Uint8Array> {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }

  test.each([1, 7, 10_000])('gives the wanted packages, cut into %i bytes', async (size) => {
    const text = ['one', 'two', 'three'].map((name) => stanza(name)).join('\n');
    const packages = await readPackages(cut(text, size), (name) => name !== 'two');
    expect([...packages.keys()]).toEqual(['one', 'three']);
    expect(packages.get('one')).toEqual({
      name: 'one',
      version: '1',
      depends: 'a, b (>= 1) | c, d:any,\ne',
      filename: 'pool/one.deb',
      size: 5,
      sha256: HASH,
    });
  });

  test('dependencies: the first of each alternative', () => {
    expect(dependencyNames('a, b (>= 1) | c, d:any,\ne, linux-image-6.12+deb13 (= 1)')).toEqual([
      ...['a', 'b', 'd', 'e'],
      'linux-image-6.12+deb13',
    ]);
    expect(dependencyNames('')).toEqual([]);
  });

  test.each(['../../etc/x.deb', '/etc/x.deb/../..', 'pool/x.deb?y', 'pool/x', 'http://other.test/x y.deb', ''])(
    'refuses the file name %s',
    async (filename) => {
      await expect(readPackages(cut(stanza('x', filename), 99), () => true)).rejects.toMatchObject({
        kind: 'bad-image',
      });
    },
  );

  test('refuses a stanza without end', async () => {
    const endless = cut('x'.repeat(2 ** 21), 2 ** 16);
    await expect(readPackages(endless, () => true)).rejects.toMatchObject({ kind: 'bad-image' });
  });
});
