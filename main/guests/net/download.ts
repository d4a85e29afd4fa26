/**
 * Downloads that survive a bad line: bytes go to a `.part` file which is resumed, checked against the expected size and
 * SHA-256, and only then renamed to what the caller asked for.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { RingsideError } from '../../../core/errors.ts';
import { httpGet, networkError, shownUrl } from './http.ts';
import type { HttpResponse } from './http.ts';

const ATTEMPTS = 4;
const FIRST_DELAY_MS = 500;

export interface TransferOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (received: number, total: number | undefined) => void;
  /** Before the first retry, ms; doubles with each. */
  readonly firstDelayMs?: number;
  /** A connection that brings nothing for so long counts as failed, ms. */
  readonly idleMs?: number;
  /** How often a transfer that makes no progress is tried. */
  readonly attempts?: number;
}

/** The server says that there is no such file: another address may have it, a retry would not help. */
class MissingError extends RingsideError {}

/** Whether a failure means that this mirror does not carry the file. */
export function isMissing(error: unknown): boolean {
  return error instanceof MissingError;
}

/**
 * A small file, into memory.
 * @param limit bytes it may have at most
 * @throws RingsideError 'network'
 */
export async function fetchBytes(url: string, limit: number, options: TransferOptions = {}): Promise<Buffer> {
  return retrying(url, options, async () => {
    const response = await httpGet(url, options);
    if (response.status !== 200) throw refusal(url, response);
    const chunks: Buffer[] = [];
    let received = 0;
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      received += chunk.length;
      if (received > limit) throw new RingsideError('too-large', `${shownUrl(url)} is larger than it can rightly be`);
      chunks.push(chunk);
      options.onProgress?.(received, contentLength(response));
    }
    return Buffer.concat(chunks);
  });
}

export interface ExpectedFile {
  /** Addresses of the same file, the best first; the next is tried when one does not have it. */
  readonly urls: readonly string[];
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/**
 * Downloads a file of known size and hash to `target`, whose folder must exist. Does nothing when it is there and right.
 * A broken-off transfer leaves `target.part`, which the next call resumes; wrong data leaves nothing.
 * @throws RingsideError 'network', 'bad-signature' (hash), 'no-space', 'io'; an AbortError when the signal fires.
 */
export async function downloadFile(file: ExpectedFile, target: string, options: TransferOptions = {}): Promise<void> {
  if (await matches(target, file, options.signal)) return;
  let missing: unknown;
  for (const url of file.urls) {
    try {
      return await downloadFrom(url, file, target, options);
    } catch (error) {
      if (!isMissing(error)) throw error;
      missing = error;
    }
  }
  throw missing;
}

async function downloadFrom(url: string, file: ExpectedFile, target: string, options: TransferOptions): Promise<void> {
  const part = `${target}.part`;
  // What is resumed may begin with another file's bytes; a whole transfer has no such excuse.
  let resumed: boolean;
  do {
    resumed = false;
    const attempt = async (): Promise<void> => {
      if ((await sizeOf(part)) > 0) resumed = true;
      await transfer(url, part, file.size, options);
    };
    try {
      await retrying(url, options, attempt, () => sizeOf(part));
    } catch (error) {
      if (error instanceof RingsideError && error.kind === 'bad-signature') await rm(part, { force: true });
      throw error;
    }
    if (await matches(part, file, options.signal)) {
      await rename(part, target);
      return;
    }
    await rm(part, { force: true });
  } while (resumed);
  throw wrongContent(url);
}

function wrongContent(url: string): RingsideError {
  return new RingsideError(
    'bad-signature',
    `${shownUrl(url)} is not the file that Debian signed (wrong SHA-256 or size); choose another mirror with --mirror`,
  );
}

/** Appends what is missing from `part`. Resolves when the file has its full size. */
async function transfer(url: string, part: string, size: number, options: TransferOptions): Promise<void> {
  let have = await sizeOf(part);
  if (have > size) have = 0;
  if (have === size && size > 0) return;
  const headers: Record<string, string> = have > 0 ? { range: `bytes=${have}-` } : {};
  const response = await httpGet(url, { ...options, headers });
  if (response.status === 206) {
    const start = /^bytes (\d+)-/.exec(response.headers['content-range'] ?? '')?.[1];
    if (Number(start) !== have) {
      response.body.destroy();
      throw new RingsideError('network', `${shownUrl(url)} was resumed at the wrong place; use another mirror`);
    }
  } else if (response.status === 200) {
    have = 0;
  } else if (response.status === 416) {
    response.body.destroy();
    await rm(part, { force: true });
    throw new RingsideError('network', `${shownUrl(url)} cannot be resumed; try again`);
  } else {
    throw refusal(url, response);
  }
  const length = contentLength(response);
  if (length !== undefined && have + length !== size) {
    response.body.destroy();
    throw wrongContent(url);
  }
  await receive(url, response, part, have, size, options);
}

async function receive(
  url: string,
  response: HttpResponse,
  part: string,
  have: number,
  size: number,
  options: TransferOptions,
): Promise<void> {
  const file = await open(part, have > 0 ? 'r+' : 'w').catch((error: unknown) => {
    response.body.destroy();
    throw fileError(part, error);
  });
  try {
    let at = have;
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      if (at + chunk.length > size) throw wrongContent(url);
      await file.write(chunk, 0, chunk.length, at).catch((error: unknown) => {
        throw fileError(part, error);
      });
      at += chunk.length;
      options.onProgress?.(at, size);
    }
    if (at < size)
      throw new RingsideError('network', `${shownUrl(url)} broke off after ${at} of ${size} bytes; try again`);
    await file.sync();
  } finally {
    response.body.destroy();
    await file.close();
  }
}

/** Repeats after network failures, with growing pauses; starts counting anew whenever `progress` has grown. */
async function retrying<T>(
  url: string,
  options: TransferOptions,
  action: () => Promise<T>,
  progress: () => Promise<number> = async () => 0,
): Promise<T> {
  let delay = options.firstDelayMs ?? FIRST_DELAY_MS;
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted();
    const before = await progress();
    try {
      return await action();
    } catch (cause) {
      options.signal?.throwIfAborted();
      const error = networkError(url, cause);
      if (error.kind !== 'network' || error instanceof MissingError) throw error;
      if ((await progress()) > before) {
        attempt = 0;
        delay = options.firstDelayMs ?? FIRST_DELAY_MS;
      }
      if (attempt >= (options.attempts ?? ATTEMPTS) || unknownHost(error)) throw error;
      await sleep(delay, undefined, { signal: options.signal });
      delay *= 2;
    }
  }
}

/** A name that does not exist will not exist in a second either. */
function unknownHost(error: RingsideError): boolean {
  return (error.cause as { code?: string } | undefined)?.code === 'ENOTFOUND';
}

function refusal(url: string, response: HttpResponse): RingsideError {
  response.body.destroy();
  const { status } = response;
  const message = `${shownUrl(url)}: the server answers ${status}; choose another mirror with --mirror`;
  // 408, 429 and 5xx may pass; the rest will not.
  if (status === 408 || status === 429 || status >= 500) return new RingsideError('network', message);
  return new MissingError('network', message);
}

function contentLength(response: HttpResponse): number | undefined {
  const text = response.headers['content-length'];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

async function matches(path: string, file: ExpectedFile, signal: AbortSignal | undefined): Promise<boolean> {
  if ((await sizeOf(path)) !== file.size) return false;
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash, { signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    return false;
  }
  return hash.digest('hex') === file.sha256;
}

/** Names what the host's file system refused. */
export function fileError(path: string, cause: unknown): RingsideError {
  const { code, message } = cause as { code?: string; message?: string };
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new RingsideError(
      'no-space',
      `no space left for ${path}; free some, or set RINGSIDE_CACHE to another folder`,
      {
        cause,
      },
    );
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new RingsideError('permission', `cannot write ${path}; set RINGSIDE_CACHE to a folder of yours`, { cause });
  }
  return new RingsideError('io', `cannot write ${path}: ${message ?? String(cause)}`, { cause });
}
