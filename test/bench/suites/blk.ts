/** The disk: what the device itself can do, and what the guest gets of it. Images are in memory: this is not about disks. */
import { accessSync, constants, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import path from 'node:path';
import type { Figure } from '../lib/report.ts';
import type { Context } from '../lib/suite.ts';
import { BLK_DEVICE_ROWS, blkDevice } from './blk-device.ts';
import { BLK_GUEST_ROWS, blkGuest } from './blk-guest.ts';

export const BLK_ROWS: readonly string[] = [...BLK_DEVICE_ROWS, ...BLK_GUEST_ROWS];

const TMPFS = '/dev/shm';
/** Bytes that the images take, and something to spare. */
const ROOM = 2 ** 30;

export async function blk(context: Context): Promise<Figure[]> {
  const rows = new Set(BLK_ROWS.filter((name) => context.only.length === 0 || context.only.includes(name)));
  const folder = mkdtempSync(path.join(inMemory() ? TMPFS : context.scratch, 'ringside-blk-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    return [...(await blkDevice(context, rows, folder)), ...(await blkGuest(context, rows, folder))];
  } finally {
    process.removeListener('exit', remove);
    remove();
  }
}

/** Whether there is a file system in memory with room. Elsewhere it is the page cache, and writes wait for the disk. */
function inMemory(): boolean {
  try {
    accessSync(TMPFS, constants.W_OK);
    const { bavail, bsize } = statfsSync(TMPFS);
    return bavail * bsize >= ROOM;
  } catch {
    return false;
  }
}
