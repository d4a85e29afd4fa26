/** Which mirrors are asked, and through which proxy. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aptMirrors, deb822Mirrors, oneLineMirrors } from '../../main/guests/debian/apt-sources.ts';
import { parseStanzas } from '../../main/guests/debian/control.ts';
import { countryOf, mirrorCandidates } from '../../main/guests/debian/mirror.ts';
import { proxyEnvironment, shownUrl } from '../../main/guests/net/http.ts';

describe('sources.list', () => {
  test.each([
    ['deb http://deb.debian.org/debian trixie main', ['http://deb.debian.org/debian']],
    ['deb http://deb.debian.org/debian/ bookworm main contrib # mine', ['http://deb.debian.org/debian']],
    [
      'deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://mirror.test/d stable main',
      ['https://mirror.test/d'],
    ],
    ['  deb\thttp://mirror.test/debian\tsid\tmain', ['http://mirror.test/debian']],
    ['deb-src http://deb.debian.org/debian trixie main', []],
    ['# deb http://deb.debian.org/debian trixie main', []],
    ['deb http://security.debian.org/debian-security trixie-security main', []],
    ['deb https://third.party.test/linux/debian bookworm stable', []],
    ['deb http://archive.ubuntu.test/ubuntu noble main', []],
    ['deb cdrom:[Debian]/ trixie main', []],
    ['deb mirror+file:/etc/apt/mirrors trixie main', []],
    ['deb file:/srv/debian trixie main', []],
    ['deb ftp://mirror.test/debian trixie main', []],
    ['deb http://mirror.test/debian', []],
    ['', []],
  ])('%s', (line, expected) => {
    expect(oneLineMirrors(`${line}\n`)).toEqual(expected);
  });
});

describe('*.sources', () => {
  test('takes the archive, not its security updates or third parties', () => {
    const text = [
      'Types: deb deb-src',
      '# a comment',
      'URIs: http://one.test/debian/ https://two.test/debian',
      'Suites: trixie trixie-updates',
      'Components: main',
      'Signed-By:',
      ' -----BEGIN PGP PUBLIC KEY BLOCK-----',
      ' .',
      ' xyz',
      '',
      '',
      'Types: deb',
      'URIs: http://one.test/debian-security',
      'Suites: trixie-security',
      'Components: main',
      ' ',
      'Types: deb',
      'URIs: https://third.test/node_20.x',
      'Suites: nodistro',
      'Components: main',
    ].join('\n');
    expect(deb822Mirrors(text)).toEqual(['http://one.test/debian', 'https://two.test/debian']);
  });

  test.each(['Enabled: no', 'Enabled: false', 'Types: deb-src'])('leaves out a source with %s', (line) => {
    const lines = ['Types: deb', 'URIs: http://one.test/debian', 'Suites: trixie', 'Components: main', line];
    expect(deb822Mirrors(lines.join('\n'))).toEqual([]);
  });

  test('stanzas are parted by blank lines, whatever the line ends', () => {
    const stanzas = parseStanzas('A: 1\r\nB: 2\r\n\r\n \r\nA: 3\n more\nnonsense\n\n\n');
    expect(stanzas.map((stanza) => Object.fromEntries(stanza))).toEqual([{ a: '1', b: '2' }, { a: '3\nmore' }]);
  });
});

describe('mirror candidates', () => {
  let etcApt: string;

  beforeAll(() => {
    etcApt = mkdtempSync(join(tmpdir(), 'ringside-apt-'));
    mkdirSync(join(etcApt, 'sources.list.d'));
    writeFileSync(join(etcApt, 'sources.list'), 'deb http://own.test/debian trixie main\n');
    writeFileSync(join(etcApt, 'sources.list.d/b.list'), 'deb http://own.test/debian trixie main\n');
    writeFileSync(
      join(etcApt, 'sources.list.d/a.sources'),
      'Types: deb\nURIs: http://other.test/debian\nSuites: trixie\nComponents: main\n',
    );
    writeFileSync(join(etcApt, 'sources.list.d/c.disabled'), 'deb http://disabled.test/debian trixie main\n');
  });
  afterAll(() => rmSync(etcApt, { recursive: true, force: true }));

  test("apt's own come first, then the user's country, then the public ones", async () => {
    expect(await aptMirrors(etcApt)).toEqual(['http://own.test/debian', 'http://other.test/debian']);
    expect(await mirrorCandidates(undefined, { env: { LANG: 'de_AT.UTF-8' }, etcApt })).toEqual([
      'http://own.test/debian',
      'http://other.test/debian',
      'http://ftp.at.debian.org/debian',
      'http://ftp.us.debian.org/debian',
      'http://deb.debian.org/debian',
    ]);
  });

  test('without apt and without a country', async () => {
    expect(await mirrorCandidates(undefined, { env: {}, etcApt: join(etcApt, 'none'), locale: 'C' })).toEqual([
      'http://ftp.us.debian.org/debian',
      'http://deb.debian.org/debian',
    ]);
  });

  test("the user's choice stands alone, the option before the environment", async () => {
    const env = { RINGSIDE_MIRROR: 'https://env.test/debian/' };
    expect(await mirrorCandidates(undefined, { env, etcApt })).toEqual(['https://env.test/debian']);
    expect(await mirrorCandidates('http://option.test/', { env, etcApt })).toEqual(['http://option.test']);
  });

  test.each(['ftp://x.test/debian', 'nonsense', 'file:///srv', 'http://x.test/debian?a=b', 'javascript:1'])(
    'refuses %s',
    async (mirror) => {
      await expect(mirrorCandidates(mirror)).rejects.toMatchObject({ kind: 'bad-option' });
    },
  );

  test.each([
    ['de_AT.UTF-8', 'at'],
    ['en-GB', 'uk'],
    ['pt_BR', 'br'],
    ['zh-Hant-TW', 'tw'],
    ['sr_RS@latin', 'rs'],
    ['C', null],
    ['C.UTF-8', null],
    ['POSIX', null],
    ['en', null],
    ['', null],
  ])('country of %s', (locale, country) => {
    expect(countryOf(locale)).toBe(country);
  });
});

describe('proxy', () => {
  const apt = (): Promise<string> =>
    Promise.resolve('APT "";\nAcquire::http::Proxy "http://apt.test:3142";\nAcquire::https::Proxy "DIRECT";\n');
  const noApt = (): Promise<string> => Promise.reject(new Error('no such program'));

  test('of the environment, as curl takes it', async () => {
    const env = { https_proxy: 'http://env.test:8080', NO_PROXY: 'localhost', HOME: '/root', http_proxy: '' };
    expect(await proxyEnvironment(env, apt)).toEqual({ https_proxy: 'http://env.test:8080', NO_PROXY: 'localhost' });
  });

  test("of apt's configuration, where the environment has none", async () => {
    expect(await proxyEnvironment({ no_proxy: 'x' }, apt)).toEqual({
      no_proxy: 'x',
      http_proxy: 'http://apt.test:3142',
    });
  });

  test('none at all', async () => {
    expect(await proxyEnvironment({}, noApt)).toEqual({});
  });
});

test('a shown address has no password', () => {
  expect(shownUrl('https://me:secret@mirror.test/debian')).toBe('https://mirror.test/debian');
});
