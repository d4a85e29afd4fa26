/**
 * A lock file between processes. It spares two of them the same work; it is not what keeps the cache whole: everything
 * there is verified and then renamed into place, so even a wrongly broken lock harms nothing.
 */
import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileError } from './net/download.ts';

/** The holder renews the file so often; one that is this stale has no holder. */
const RENEW_MS = 5_000;
const STALE_MS = 60_000;
const POLL_MS = 200;

/**
 * Runs `action` while holding the lock.
 * @param onWait called once when another process (or another call in this one) holds it
 */
export async function withLock<T>(
  path: string,
  action: () => Promise<T>,
  options: { signal?: AbortSignal; onWait?: () => void } = {},
): Promise<T> {
  const token = `${process.pid} ${hostname()} ${randomUUID()}\n`;
  let waited = false;
  while (!(await acquire(path, token))) {
    if (!waited) options.onWait?.();
    waited = true;
    await sleep(POLL_MS, undefined, { signal: options.signal });
  }
  const renew = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, RENEW_MS);
  renew.unref();
  try {
    return await action();
  } finally {
    clearInterval(renew);
    // Unless somebody took this process for dead.
    if ((await contentOf(path)) === token) await rm(path, { force: true });
  }
}

async function acquire(path: string, token: string): Promise<boolean> {
  try {
    await writeFile(path, token, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError(path, error);
    await breakIfStale(path);
    return false;
  }
}

async function breakIfStale(path: string): Promise<void> {
  const content = await contentOf(path);
  if (content === null || !(await isStale(path, content))) return;
  // Another process may have broken it and taken a new one in between: that one is put back.
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  if ((await contentOf(aside)) !== content) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

async function isStale(path: string, content: string): Promise<boolean> {
  const renewed = await stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => Date.now(),
  );
  if (Date.now() - renewed > STALE_MS) return true;
  const [pid, host] = content.split(/\s/);
  return host === hostname() && /^\d+$/.test(pid) && !isAlive(Number(pid));
}

async function contentOf(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
