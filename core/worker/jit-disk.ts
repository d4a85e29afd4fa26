/**
 * Regions on disk: one file for each guest that is told apart (by the firmware or kernel that it boots), in a folder of the
 * user's own. What is in a file is data for the translator, never code; a region is used only where a hart has the very bytes
 * that it was made of. Whatever is wrong with a file or the folder, the machine starts cold.
 *
 * File: header of HEADER bytes (magic, u32 FORMAT, u32 TRANSLATOR_VERSION, u32 regions, u32 spare, u64 bytes that follow, sha256 of
 * all that and of what follows), then for each region, what is worth keeping most first: u32 size of its record, u32 of its starts, u32
 * of its cases, u32 content, record, starts, cases, filled up to a multiple of 4. Little-endian.
 */
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { TRANSLATOR_VERSION } from '../cpu/jit/abi.ts';
import { monotonicNow } from '../engine.ts';
import { errorLine } from '../errors.ts';
import type { JitCache } from './jit-messages.ts';
import { recordEntry, recordParts } from './jit-regions.ts';
import type { Region } from './jit-regions.ts';
import { CASE, startsSize } from './jit-shadow.ts';

const MAGIC = 'RSREGION';
const FORMAT = 1;
const HEADER = 64;
const SUM = 32;
const REGION_HEADER = 16;
/** Names of our files, and of those that are being written. */
const SUFFIX = '.regions';
const TEMPORARY = /\.regions\.[0-9a-f]{16}\.new$/;
/** A temporary file this old has been left behind, ms. */
const LEFT_BEHIND = 3600_000;
/** Written at a time: the time is looked at in between. */
const CHUNK = 2 ** 20;
/** Bytes of a file, and of all of them. */
const FILE_BYTES = 16 * 2 ** 20;
const FOLDER_BYTES = 64 * 2 ** 20;

/** Why a file is not used: something for the user to know, or null. */
class Unusable extends Error {}

export class JitDisk {
  readonly fileLimit: number;
  readonly #cache: JitCache;
  readonly #file: string;
  readonly #say: (message: string) => void;
  #said = false;
  #usable = true;

  /** @param say takes what the user should know, at most one line */
  constructor(cache: JitCache, say: (message: string) => void) {
    this.#cache = cache;
    this.#file = join(cache.folder, `${cache.guest}-${TRANSLATOR_VERSION}${SUFFIX}`);
    this.#say = say;
    this.fileLimit = cache.fileLimit ?? FILE_BYTES;
  }

  /** What is kept for the guest, in the order in which it was given; nothing when there is none or something is wrong. */
  load(): Region[] {
    try {
      this.#checkFolder();
      return readRegions(this.#file, this.fileLimit);
    } catch (error) {
      this.#complain(error, 'translated code of earlier runs is not used');
      return [];
    }
  }

  /**
   * Writes what is to be kept, as far as the file's limit goes; then sees to the folder's.
   * @param regions what is worth keeping most first; what is in the file already and not among them comes behind
   * @param limit ms that it may take; what takes longer is given up
   */
  save(regions: readonly Region[], limit: number): void {
    if (!this.#usable) return;
    const deadline = monotonicNow() + limit;
    const temporary = `${this.#file}.${randomBytes(8).toString('hex')}.new`;
    try {
      this.#checkFolder();
      let others: Region[] = [];
      try {
        // Another machine may have written since.
        others = readRegions(this.#file, this.fileLimit);
      } catch (error) {
        if (error instanceof Unusable) throw error;
      }
      const whole = writeFile(temporary, encode([...regions, ...others], this.fileLimit), deadline);
      if (whole) fs.renameSync(temporary, this.#file);
      else fs.rmSync(temporary, { force: true });
      this.#tidy();
    } catch (error) {
      try {
        fs.rmSync(temporary, { force: true });
      } catch {
        // It is not there, or cannot go.
      }
      this.#complain(error, 'translated code is not kept for later runs');
    }
  }

  /** Makes the folder. @throws Unusable when others can write to it */
  #checkFolder(): void {
    const { folder } = this.#cache;
    makeFolder(folder);
    const stat = fs.lstatSync(folder);
    if (!stat.isDirectory()) throw new Unusable(`${folder} is not a folder`);
    checkOwner(stat, folder, '700');
  }

  /** Removes what older versions and unfinished writers have left, and the files used longest ago when all are too much. */
  #tidy(): void {
    const { folder, folderLimit = FOLDER_BYTES } = this.#cache;
    const files: { path: string; size: number; time: number }[] = [];
    for (const name of fs.readdirSync(folder)) {
      const path = join(folder, name);
      const ours = name.endsWith(SUFFIX);
      if (!ours && !TEMPORARY.test(name)) continue;
      const stat = fs.lstatSync(path, { throwIfNoEntry: false });
      if (stat === undefined || !stat.isFile()) continue;
      const old = ours ? !name.endsWith(`-${TRANSLATOR_VERSION}${SUFFIX}`) : Date.now() - stat.mtimeMs > LEFT_BEHIND;
      if (old) fs.rmSync(path, { force: true });
      else if (ours) files.push({ path, size: stat.size, time: stat.mtimeMs });
    }
    files.sort((a, b) => b.time - a.time);
    let total = 0;
    for (const { path, size } of files) {
      total += size;
      if (total > folderLimit) fs.rmSync(path, { force: true });
    }
  }

  /** Marks the guest's file as used now. */
  touch(): void {
    if (!this.#usable) return;
    try {
      const now = new Date();
      fs.utimesSync(this.#file, now, now);
    } catch {
      // It has gone.
    }
  }

  #complain(error: unknown, consequence: string): void {
    this.#usable = false;
    if (this.#said) return;
    this.#said = true;
    const why = error instanceof Unusable ? error.message : errorLine(error);
    this.#say(`${consequence}: ${why}. Give another folder or switch it off (-accel jit,cache=off).`);
  }
}

/** With what is missing above it. (Node's own `recursive` never ends where a file system has no room for folders, as in /proc.) */
function makeFolder(path: string): void {
  const make = (): void => fs.mkdirSync(path, { mode: 0o700 });
  try {
    make();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path || fs.existsSync(dirname(path))) throw error;
    makeFolder(dirname(path));
    makeFolder(path);
  }
}

/** @throws Unusable when a file or folder is not this user's, or others may do something with it */
function checkOwner(stat: fs.Stats, path: string, mode: string): void {
  // Windows has access lists instead; the user's cache folder is the user's there.
  if (process.getuid === undefined) return;
  if (stat.uid !== process.getuid()) throw new Unusable(`${path} belongs to somebody else`);
  if ((stat.mode & 0o077) !== 0) throw new Unusable(`${path} is open to others (chmod ${mode} makes it yours alone)`);
}

/** @throws Unusable when it is not safe to use; another error when it cannot be read. Damaged or not there: nothing */
function readRegions(path: string, limit: number): Region[] {
  let fd;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NOFOLLOW ?? 0) | (fs.constants.O_NONBLOCK ?? 0));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  let bytes;
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) throw new Unusable(`${path} is not a file`);
    checkOwner(stat, path, '600');
    if (stat.size < HEADER || stat.size > limit) return [];
    // Not longer than it was, should somebody be writing.
    bytes = Buffer.alloc(stat.size);
    if (fs.readSync(fd, bytes, 0, bytes.length, 0) !== bytes.length) return [];
  } finally {
    fs.closeSync(fd);
  }
  return decode(bytes) ?? [];
}

function checksum(head: Uint8Array, body: Uint8Array): Buffer {
  return createHash('sha256')
    .update(head.subarray(0, HEADER - SUM))
    .update(body)
    .digest();
}

/** @returns null when it is damaged, or of another version */
export function decode(bytes: Buffer): Region[] | null {
  if (bytes.length < HEADER || bytes.toString('latin1', 0, 8) !== MAGIC) return null;
  const body = bytes.subarray(HEADER);
  if (bytes.readUInt32LE(8) !== FORMAT || bytes.readUInt32LE(12) !== TRANSLATOR_VERSION) return null;
  if (Number(bytes.readBigUInt64LE(24)) !== body.length) return null;
  if (!checksum(bytes, body).equals(bytes.subarray(HEADER - SUM, HEADER))) return null;
  const regions: Region[] = [];
  const count = bytes.readUInt32LE(16);
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + REGION_HEADER > body.length) return null;
    const [recordSize, startSize, caseSize] = [0, 4, 8].map((n) => body.readUInt32LE(at + n)) as [
      number,
      number,
      number,
    ];
    const content = body.readUInt32LE(at + 12);
    at += REGION_HEADER;
    const end = at + recordSize + startSize + caseSize;
    if (end > body.length) return null;
    // Copies: a region that stays must not keep the whole file.
    const record = new Uint8Array(body.subarray(at, at + recordSize));
    const starts = new Uint8Array(body.subarray(at + recordSize, at + recordSize + startSize));
    const cases = new Uint8Array(body.subarray(at + recordSize + startSize, end));
    const parts = recordParts(record);
    if (parts === null || startsSize(parts) !== startSize || caseSize % CASE !== 0) return null;
    const entry = parts[0]!.pa + recordEntry(record);
    regions.push({ fn: 0, entry, record, starts, cases, content, used: false });
    at = (end + 3) & ~3;
  }
  return at === body.length ? regions : null;
}

/** The first of the regions that fit into `limit` bytes, each once. */
export function encode(regions: readonly Region[], limit: number): Buffer {
  const chosen = new Map<string, Region>();
  let size = HEADER;
  for (const region of regions) {
    const { record, starts, cases } = region;
    const key = `${region.entry} ${createHash('sha1').update(record.subarray(4)).digest('base64')}`;
    const more = REGION_HEADER + ((record.length + starts.length + cases.length + 3) & ~3);
    if (chosen.has(key) || size + more > limit) continue;
    chosen.set(key, region);
    size += more;
  }
  const bytes = Buffer.alloc(size);
  bytes.write(MAGIC, 'latin1');
  bytes.writeUInt32LE(FORMAT, 8);
  bytes.writeUInt32LE(TRANSLATOR_VERSION, 12);
  bytes.writeUInt32LE(chosen.size, 16);
  bytes.writeBigUInt64LE(BigInt(size - HEADER), 24);
  let at = HEADER;
  for (const { record, starts, cases, content } of chosen.values()) {
    bytes.writeUInt32LE(record.length, at);
    bytes.writeUInt32LE(starts.length, at + 4);
    bytes.writeUInt32LE(cases.length, at + 8);
    bytes.writeUInt32LE(content, at + 12);
    bytes.set(record, at + REGION_HEADER);
    // The function's number means nothing later.
    bytes.writeUInt32LE(0, at + REGION_HEADER);
    bytes.set(starts, at + REGION_HEADER + record.length);
    bytes.set(cases, at + REGION_HEADER + record.length + starts.length);
    at += REGION_HEADER + ((record.length + starts.length + cases.length + 3) & ~3);
  }
  checksum(bytes, bytes.subarray(HEADER)).copy(bytes, HEADER - SUM);
  return bytes;
}

/** @returns false when there was no time for all of it */
function writeFile(path: string, bytes: Buffer, deadline: number): boolean {
  const fd = fs.openSync(path, 'wx', 0o600);
  try {
    for (let at = 0; at < bytes.length;) {
      if (monotonicNow() > deadline) return false;
      at += fs.writeSync(fd, bytes, at, Math.min(CHUNK, bytes.length - at));
    }
  } finally {
    fs.closeSync(fd);
  }
  return true;
}
