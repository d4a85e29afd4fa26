/**
 * A lock file between processes. It spares two of them the same work; it is not what keeps the cache whole: everything
 * there is verified and then renamed into place, so even a wrongly broken lock harms nothing.
 */
import { open, readFile, rm, stat, utimes } from 'node:fs/promises';
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
  let waited = false;
  while (!(await acquire(path))) {
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
    await rm(path, { force: true });
  }
}

async function acquire(path: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx');
    await file.writeFile(`${process.pid} ${hostname()}\n`);
    await file.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError(path, error);
    if (await isStale(path)) await rm(path, { force: true });
    return false;
  }
}

async function isStale(path: string): Promise<boolean> {
  try {
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > STALE_MS) return true;
    const [pid, host] = (await readFile(path, 'utf8')).trim().split(' ');
    return host === hostname() && /^\d+$/.test(pid) && !isAlive(Number(pid));
  } catch {
    // Gone in between: whoever comes first has it.
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
