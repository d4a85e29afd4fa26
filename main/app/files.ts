/** The host's files, for the file browser and for new disks. Only ever reached by the person whose files they are. */
import { constants } from 'node:fs';
import type { Stats } from 'node:fs';
import { access, lstat, mkdir, open, readdir, stat, unlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { HINT_BYTES, looksLike } from '../../core/block/format-hint.ts';
import { errorLine, RingsideError } from '../../core/errors.ts';
import type { FileEntry, FileListing, FileStatus } from '../ipc/contract.ts';
import { writeFileAtomic } from './atomic-file.ts';
import { fileError } from './fs-errors.ts';
import { imageFormat } from './image-format.ts';
import { userPath } from './paths.ts';

/** Entries of a directory that are shown; the listing says when there are more. */
const MAX_ENTRIES = 5000;
/** stat(2) calls under way at once. */
const STAT_BATCH = 64;
/** stat(2) counts allocated space in these, whatever the file system's block size. */
const STAT_BLOCK = 512;

export class HostFiles {
  readonly #disks: string;

  /** @param disks where new disks go unless told otherwise */
  constructor(disks: string) {
    this.#disks = disks;
  }

  /** A directory with all that is in it, hidden files too: directories first, then by name. */
  async browse(where: string | undefined): Promise<FileListing> {
    const directory = where === undefined ? homedir() : userPath(where);
    let names: Buffer[];
    try {
      // As bytes: a name need not be UTF-8, and one that is not must be shown, not lost.
      names = await readdir(directory, { encoding: 'buffer' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') {
        throw new RingsideError('not-a-file', `${directory}: not a directory`, { cause: error });
      }
      throw fileError(error, directory);
    }
    const total = names.length;
    names.sort(Buffer.compare);
    const entries: FileEntry[] = [];
    for (let at = 0; at < Math.min(total, MAX_ENTRIES); at += STAT_BATCH) {
      const batch = names.slice(at, Math.min(at + STAT_BATCH, MAX_ENTRIES));
      entries.push(...(await Promise.all(batch.map((name) => describe(directory, name)))));
    }
    const rank = (entry: FileEntry) => (entry.type === 'directory' ? 0 : 1);
    entries.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name, 'en', { numeric: true }));
    const parent = path.dirname(directory);
    return {
      path: directory,
      parent: parent === directory ? null : parent,
      entries,
      total,
      places: await this.#places(),
    };
  }

  /** What is at a path, for checking a path field as it is typed. An absent file is no error. */
  async status(where: string): Promise<FileStatus> {
    const file = userPath(where);
    let info: Stats;
    try {
      info = await stat(file);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'ENOENT' && code !== 'ENOTDIR') throw fileError(error, file);
      return { path: file, type: 'absent', size: 0, allocated: 0, readable: false, writable: false, looksLike: null };
    }
    const readable = await may(file, constants.R_OK);
    return {
      path: file,
      type: typeOf(info),
      size: info.size,
      allocated: (info.blocks ?? 0) * STAT_BLOCK,
      readable,
      writable: await may(file, constants.W_OK),
      looksLike: readable && info.isFile() ? await imageFormat(file) : null,
    };
  }

  /**
   * The text of a file of at most `most` bytes.
   * @throws not-found, permission, not-a-file, too-large
   */
  async readText(where: string, most: number): Promise<string> {
    const file = userPath(where);
    try {
      // Non-blocking: opening a named pipe would wait for its writer.
      const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
      try {
        const info = await handle.stat();
        if (!info.isFile()) throw new RingsideError('not-a-file', `${file}: not a file`);
        if (info.size > most) throw new RingsideError('too-large', `${file}: far too long for the description of a VM`);
        return await handle.readFile('utf8');
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw fileError(error, file);
    }
  }

  /** Text into a file whose overwriting the person has agreed to. */
  async writeText(where: string, text: string): Promise<void> {
    const file = userPath(where);
    await writeFileAtomic(file, text).catch((error: unknown) => Promise.reject(fileError(error, file)));
  }

  /**
   * A new raw image of `size` bytes, all holes. Never overwrites; leaves nothing behind when it fails.
   * @throws bad-option (it exists, not absolute), not-found (its folder), no-space, too-large, permission
   */
  async createDisk(where: string, size: number): Promise<FileStatus> {
    const file = userPath(where);
    const folder = path.dirname(file);
    try {
      if (folder === this.#disks) await mkdir(folder, { recursive: true });
      const info = await stat(folder);
      if (!info.isDirectory()) throw new RingsideError('not-found', `${folder}: not a directory`);
    } catch (error) {
      throw fileError(error, folder);
    }
    const handle = await open(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600).catch(
      (error: unknown) => Promise.reject(fileError(error, file)),
    );
    try {
      try {
        await handle.truncate(size);
        await handle.sync();
      } finally {
        await handle.close();
      }
    } catch (error) {
      await unlink(file).catch(() => undefined);
      throw fileError(error, file);
    }
    return this.status(file);
  }

  /**
   * Makes a raw image larger; what is new reads as zeroes and takes no space yet. Harmless while a machine has it open: that goes on
   * with the size that it has found.
   * @throws bad-option (it would be smaller), not-found, not-a-file, no-space, too-large, permission
   */
  async growDisk(where: string, size: number): Promise<FileStatus> {
    const file = userPath(where);
    try {
      const info = await stat(file);
      if (!info.isFile()) throw new RingsideError('not-a-file', `${file}: only image files can be made larger`);
      const handle = await open(file, constants.O_RDWR);
      try {
        const { size: now } = await handle.stat();
        const head = new Uint8Array(HINT_BYTES);
        const { bytesRead } = await handle.read(head, 0, HINT_BYTES, 0);
        const found = looksLike(head.subarray(0, bytesRead));
        if (found !== null) {
          const other = found.name === 'QCOW' ? '; "ringside img resize" makes a qcow2 image larger' : '';
          throw new RingsideError(
            'bad-image',
            `${file} looks like a ${found.name} file: only raw images are made larger here${other}`,
          );
        }
        if (size <= now) {
          const message = `${file} has ${now} bytes: an image is only ever made larger, or what is at its end would be lost`;
          throw new RingsideError('bad-option', message);
        }
        await handle.truncate(size);
        await handle.sync();
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw fileError(error, file);
    }
    return this.status(file);
  }

  async #places(): Promise<{ name: string; path: string }[]> {
    const home = homedir();
    const places = [
      { name: 'Home', path: home },
      { name: 'Ringside disks', path: this.#disks },
      { name: 'Downloads', path: path.join(home, 'Downloads') },
      { name: 'File system', path: path.parse(home).root },
    ];
    const there = await Promise.all(places.map((place) => may(place.path, constants.R_OK)));
    return places.filter((_, at) => there[at]);
  }
}

async function describe(directory: string, rawName: Buffer): Promise<FileEntry> {
  const name = rawName.toString('utf8');
  const entry: FileEntry = { name, type: 'unreadable', link: false, size: 0, modified: 0, problem: null };
  const raw = Buffer.concat([Buffer.from(directory + (directory.endsWith(path.sep) ? '' : path.sep)), rawName]);
  try {
    const own = await lstat(raw);
    const info = own.isSymbolicLink() ? await stat(raw) : own;
    entry.link = own.isSymbolicLink();
    entry.type = typeOf(info);
    entry.size = info.size;
    entry.modified = info.mtimeMs;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    entry.problem =
      code === 'ENOENT' ? 'a link to nothing' : code === 'EACCES' ? 'you may not access this' : errorLine(error);
    return entry;
  }
  if (!Buffer.from(name, 'utf8').equals(rawName)) {
    entry.type = 'unreadable';
    entry.problem = 'its name is not UTF-8: rename it to use it';
  }
  return entry;
}

function typeOf(info: Stats): 'file' | 'directory' | 'other' {
  return info.isFile() ? 'file' : info.isDirectory() ? 'directory' : 'other';
}

async function may(file: string, mode: number): Promise<boolean> {
  return access(file, mode).then(
    () => true,
    () => false,
  );
}
