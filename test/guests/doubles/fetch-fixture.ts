/** What the tests of fetching share: before each a cache folder of its own and a mirror that serves the guests. */
import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { fetchGuest, guestPaths } from '../../../main/guests/index.ts';
import type { FetchOptions, GuestFiles } from '../../../main/guests/index.ts';
import { FakeMirror, makeKey } from './mirror.ts';
import type { SigningKey } from './mirror.ts';

export interface FetchFixture {
  /** Signs what the mirror has; fetchDebian and fetchInChild trust it alone. */
  readonly key: SigningKey;
  /** A key that nobody trusts. */
  readonly stranger: SigningKey;
  /** This test's mirror, which behaves well until told otherwise. */
  readonly mirror: FakeMirror;
  /** This test's cache folder. */
  readonly cacheDir: string;
  fetchDebian(options?: FetchOptions): Promise<GuestFiles>;
  /** Fetches Debian in a process of its own, which may have another environment. */
  fetchInChild(address: string, env?: Record<string, string>): Promise<GuestFiles>;
  /** What is fetched of Debian, or null. */
  debianPaths(): Promise<GuestFiles | null>;
  /** Every file in the cache, relative to its folder of guests. */
  cached(): string[];
  /** Fails a test when anything but parts to be resumed is left. */
  expectNothingLeft(): void;
}

/**
 * Registers the hooks of a test file. What changes from test to test is read off the object; its functions may be taken
 * out of it.
 */
export function fetchFixture(): FetchFixture {
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

  const cached = (): string[] => {
    const guests = join(cacheDir, 'guests');
    return readdirSync(guests, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(guests.length + 1))
      .sort();
  };

  return {
    get key() {
      return key;
    },
    get stranger() {
      return stranger;
    },
    get mirror() {
      return mirror;
    },
    get cacheDir() {
      return cacheDir;
    },
    fetchDebian: (options = {}) =>
      fetchGuest('debian', { cacheDir, mirror: mirror.address, keys: [key], firstDelayMs: 1, ...options }),
    fetchInChild: (address, env = {}) => {
      const { privateKey: _, ...publicKey } = key;
      const options = JSON.stringify({ cacheDir, mirror: address, keys: [publicKey] });
      return new Promise((resolve, reject) => {
        const script = join(import.meta.dirname, 'fetch-child.ts');
        const child = fork(script, [options], { execArgv: [], env: { ...process.env, ...env } });
        child.once('message', (files) => resolve(files as GuestFiles));
        child.once('exit', (code) => reject(new Error(`the child ended with ${code}`)));
      });
    },
    debianPaths: () => guestPaths('debian', { cacheDir }),
    cached,
    expectNothingLeft: () =>
      expect(cached().filter((name) => !/^debian\/downloads\/[^/]+\.(part|deb|xz)$/.test(name))).toEqual([]),
  };
}

/** The names in an initramfs, in order; an archive ends with "TRAILER!!!", and another may follow. */
export function cpioNames(path: string): string[] {
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
