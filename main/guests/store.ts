/** A guest's folder in the cache: guest.json says which version is current; versions are switched by one rename. */
import { randomBytes } from 'node:crypto';
import {
  copyFile,
  link,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from './net/download.ts';
import { guestRecord } from './schema.ts';
import type { GuestFiles, GuestRecord } from './schema.ts';

const RECORD = 'guest.json';
const KERNEL = 'kernel';
const INITRD = 'initrd';
const TEMPORARY = 'new-';

export class GuestStore {
  readonly id: string;
  readonly folder: string;
  readonly downloads: string;
  readonly lock: string;

  constructor(cacheDir: string, id: string) {
    const guests = join(cacheDir, 'guests');
    this.id = id;
    this.folder = join(guests, id);
    this.downloads = join(this.folder, 'downloads');
    this.lock = join(guests, `${id}.lock`);
  }

  /** Makes the guest's folder, and clears away what an interrupted run left half-made there. */
  async prepare(): Promise<void> {
    await this.#guarded(async () => {
      await mkdir(this.folder, { recursive: true });
      const names = await readdir(this.folder);
      await Promise.all(
        names.filter((name) => name.startsWith(TEMPORARY)).map((name) => this.#remove(join(this.folder, name))),
      );
    });
  }

  /** What is fetched and whole; null when nothing is. */
  async current(): Promise<GuestRecord | null> {
    try {
      const record = guestRecord.parse(JSON.parse(await readFile(join(this.folder, RECORD), 'utf8')));
      const { kernel, initrd } = this.files(record);
      const sizes = await Promise.all([stat(kernel), stat(initrd)]);
      return sizes[0].size === record.kernelSize && sizes[1].size === record.initrdSize ? record : null;
    } catch {
      // Absent, damaged, or of another version of this program: it is fetched again.
      return null;
    }
  }

  files(record: GuestRecord): GuestFiles {
    const folder = join(this.folder, record.folder);
    const { id, append, version } = record;
    return { id, kernel: join(folder, KERNEL), initrd: join(folder, INITRD), append, version };
  }

  /** Stores a new version and makes it the current one. */
  async save(record: GuestRecord, kernel: Uint8Array, initrd: readonly Uint8Array[]): Promise<void> {
    await this.#replace(record, async (folder) => {
      await writeDurably(join(folder, KERNEL), [kernel]);
      await writeDurably(join(folder, INITRD), initrd);
    });
  }

  /** Makes a new version out of the current one by giving its initrd another last part. */
  async saveOverlay(old: GuestRecord, record: GuestRecord, overlay: Uint8Array): Promise<void> {
    const files = this.files(old);
    await this.#replace(record, async (folder) => {
      const kernel = join(folder, KERNEL);
      await link(files.kernel, kernel).catch(() => copyFile(files.kernel, kernel));
      const initrd = join(folder, INITRD);
      await copyFile(files.initrd, initrd);
      await truncate(initrd, old.baseSize);
      await writeFile(initrd, overlay, { flag: 'a', flush: true });
    });
  }

  /** Changes what is noted of the current version. */
  async saveRecord(record: GuestRecord): Promise<void> {
    await this.#guarded(async () => {
      const file = join(this.folder, `${TEMPORARY}${randomBytes(6).toString('hex')}.json`);
      await writeDurably(file, [recordText(record)]);
      await rename(file, join(this.folder, RECORD));
    });
  }

  async makeDownloads(): Promise<void> {
    await this.#guarded(() => mkdir(this.downloads, { recursive: true }));
  }

  /** Bytes of downloads that have not become a guest yet. */
  async downloaded(): Promise<number> {
    const names = await readdir(this.downloads).catch(() => []);
    const sizes = await Promise.all(
      names.map((name) =>
        stat(join(this.downloads, name)).then(
          (info) => (info.isFile() ? info.size : 0),
          () => 0,
        ),
      ),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  /** Removes the downloads, which are of no use once the guest is made. */
  async clearDownloads(): Promise<void> {
    await this.#guarded(() => this.#remove(this.downloads));
  }

  async removeAll(): Promise<void> {
    await this.#guarded(() => this.#remove(this.folder));
  }

  async #replace(record: GuestRecord, fill: (folder: string) => Promise<void>): Promise<void> {
    await this.#guarded(async () => {
      const suffix = randomBytes(6).toString('hex');
      const made = join(this.folder, `${TEMPORARY}${suffix}`);
      const recordFile = join(this.folder, `${TEMPORARY}${suffix}.json`);
      try {
        await mkdir(made);
        await fill(made);
        await writeDurably(recordFile, [recordText(record)]);
        // A damaged folder of the same name may be in the way.
        await this.#remove(join(this.folder, record.folder));
        await rename(made, join(this.folder, record.folder));
        await rename(recordFile, join(this.folder, RECORD));
      } finally {
        await this.#remove(made);
        await this.#remove(recordFile);
      }
      const names = await readdir(this.folder);
      const old = names.filter((name) => /^[0-9a-f]{16}$/.test(name) && name !== record.folder);
      await Promise.all(old.map((name) => this.#remove(join(this.folder, name))));
    });
  }

  async #remove(path: string): Promise<void> {
    await rm(path, { recursive: true, force: true });
  }

  async #guarded<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw fileError(this.folder, error);
    }
  }
}

function recordText(record: GuestRecord): Uint8Array {
  return Buffer.from(`${JSON.stringify(record, null, 2)}\n`);
}

async function writeDurably(path: string, parts: readonly Uint8Array[]): Promise<void> {
  const file = await open(path, 'wx');
  try {
    for (const part of parts) await file.writeFile(part);
    await file.sync();
  } finally {
    await file.close();
  }
}
