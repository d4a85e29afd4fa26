/** Copies of disk images. */
import { constants } from 'node:fs';
import { mkdir, open, unlink } from 'node:fs/promises';
import path from 'node:path';
import { fileError } from './fs-errors.ts';

const BLOCK = 2 ** 20;

export interface CopyOptions {
  /** Aborting it ends the copy, which then leaves nothing. */
  signal?: AbortSignal;
  /** Bytes of the image that have been looked at since the last call. */
  onProgress?: (bytes: number) => void;
}

/**
 * A copy that takes no more space than what is not zero in the image. Never overwrites; leaves nothing when it fails.
 * @throws not-found, permission, no-space, bad-option (it exists); the signal's reason
 */
export async function copyDisk(from: string, to: string, options: CopyOptions = {}): Promise<void> {
  const source = await open(from, 'r').catch((error: unknown) => Promise.reject(fileError(error, from)));
  try {
    await mkdir(path.dirname(to), { recursive: true });
    const target = await open(to, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600).catch(
      (error: unknown) => Promise.reject(fileError(error, to)),
    );
    try {
      try {
        const { size } = await source.stat();
        await target.truncate(size);
        const block = Buffer.alloc(BLOCK);
        for (let at = 0; at < size;) {
          options.signal?.throwIfAborted();
          const { bytesRead } = await source.read(block, 0, BLOCK, at);
          if (bytesRead === 0) break;
          const part = block.subarray(0, bytesRead);
          if (!isZero(part)) await target.write(part, 0, bytesRead, at);
          at += bytesRead;
          options.onProgress?.(bytesRead);
        }
        await target.sync();
      } finally {
        await target.close();
      }
    } catch (error) {
      await unlink(to).catch(() => undefined);
      options.signal?.throwIfAborted();
      throw fileError(error, to);
    }
  } finally {
    await source.close();
  }
}

const ZEROS = Buffer.alloc(BLOCK);

function isZero(bytes: Buffer): boolean {
  return bytes.equals(ZEROS.subarray(0, bytes.length));
}
