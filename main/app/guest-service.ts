/** Catalogue guests as the windows see them: what there is, downloads under way, what is ready to boot. */
import { errorLine, RingsideError } from '../../core/errors.ts';
import type { GuestInfo, GuestProgress } from '../ipc/contract.ts';

/** What a guest boots with; paths on the host. */
export interface GuestFiles {
  kernel: string;
  initrd?: string;
  append: string;
  version: string;
  /** Bytes on disk. */
  size: number | null;
}

/** A guest of the catalogue; `files` once it is downloaded. */
export interface CatalogueGuest {
  id: string;
  name: string;
  description: string;
  /** Bytes to download, about; null when not known. */
  downloadSize: number | null;
  /** Bytes that an unfinished download has left; the next one goes on from there. */
  downloaded: number;
  files: GuestFiles | null;
}

/** What the app needs of the catalogue (main/guests); the tests bring their own. */
export interface GuestCatalogue {
  list(): Promise<CatalogueGuest[]>;
  /** Rejects with an AbortError when `signal` is aborted; what was downloaded so far is kept for the next attempt. */
  fetch(id: string, options: { onProgress(progress: GuestProgress): void; signal: AbortSignal }): Promise<unknown>;
  /** Removes what an unfinished download has left. */
  discard(id: string): Promise<void>;
  remove(id: string): Promise<void>;
}

/** Progress events of one download, at most this often. */
const PROGRESS_MS = 200;

interface Download {
  abort: AbortController;
  progress: GuestProgress;
  announced: number;
  /** Resolves when it has ended, however. */
  ended: Promise<void>;
}

export class GuestService {
  readonly #catalogue: GuestCatalogue;
  readonly #changed: (guest: GuestInfo) => void;
  readonly #inUse: (guest: string) => { settings: { name: string } } | null;
  readonly #downloads = new Map<string, Download>();
  /** How far downloads were when they were paused or broke off. */
  readonly #reached = new Map<string, GuestProgress>();
  readonly #errors = new Map<string, string>();

  constructor(
    catalogue: GuestCatalogue,
    changed: (guest: GuestInfo) => void,
    inUse: (guest: string) => { settings: { name: string } } | null,
  ) {
    this.#catalogue = catalogue;
    this.#changed = changed;
    this.#inUse = inUse;
  }

  async list(): Promise<GuestInfo[]> {
    return (await this.#catalogue.list()).map((guest) => this.#info(guest));
  }

  /** Begins a download, or goes on with one; one that is under way is left alone. */
  async fetch(id: string): Promise<GuestInfo> {
    const guest = await this.#find(id);
    if (this.#downloads.has(id)) return this.#info(guest);
    const download: Download = {
      abort: new AbortController(),
      progress: { ...this.#progressOf(guest), step: 'Contacting the mirror' },
      announced: 0,
      ended: Promise.resolve(),
    };
    this.#downloads.set(id, download);
    this.#errors.delete(id);
    download.ended = this.#run(guest, download);
    return this.#info(guest);
  }

  /** Stops a download; what has come is kept, and `fetch` goes on from there. */
  async pause(id: string): Promise<GuestInfo> {
    await this.#stop(id);
    return this.#info(await this.#find(id));
  }

  /** Ends a download for good, paused or not: what has come of it is removed. */
  async cancel(id: string): Promise<GuestInfo> {
    await this.#find(id);
    await this.#stop(id);
    // Somebody may have begun it again meanwhile.
    if (!this.#downloads.has(id)) await this.#catalogue.discard(id);
    this.#reached.delete(id);
    this.#errors.delete(id);
    return this.#announce(id);
  }

  async remove(id: string): Promise<GuestInfo> {
    await this.#find(id);
    const user = this.#inUse(id);
    if (user !== null) {
      throw new RingsideError('in-use', `the VM “${user.settings.name}” runs this guest: power it off first`);
    }
    if (this.#downloads.has(id)) throw new RingsideError('bad-state', 'it is being downloaded: cancel that first');
    await this.#catalogue.remove(id);
    this.#reached.delete(id);
    this.#errors.delete(id);
    return this.#announce(id);
  }

  /** @throws not-found when the guest is not downloaded */
  async boot(id: string): Promise<{ kernel: string; initrd?: string; append: string }> {
    const guest = await this.#find(id);
    if (guest.files === null) {
      throw new RingsideError('not-found', `the guest ${guest.name} is not downloaded: download it on the Guests page`);
    }
    const { kernel, initrd, append } = guest.files;
    return { kernel, initrd, append };
  }

  close(): void {
    for (const download of this.#downloads.values()) download.abort.abort();
  }

  async #stop(id: string): Promise<void> {
    const download = this.#downloads.get(id);
    download?.abort.abort();
    await download?.ended;
  }

  async #run(guest: CatalogueGuest, download: Download): Promise<void> {
    const { id } = guest;
    try {
      await this.#catalogue.fetch(id, {
        signal: download.abort.signal,
        onProgress: (progress) => {
          download.progress = progress;
          if (Date.now() - download.announced < PROGRESS_MS || this.#downloads.get(id) !== download) return;
          download.announced = Date.now();
          this.#changed(this.#info(guest));
        },
      });
      this.#reached.delete(id);
    } catch (error) {
      this.#reached.set(id, download.progress);
      if (!download.abort.signal.aborted) this.#errors.set(id, errorLine(error));
    } finally {
      this.#downloads.delete(id);
    }
    // It can only fail when the catalogue cannot be read; the next list says so to whoever asks.
    await this.#announce(id).catch(() => undefined);
  }

  async #announce(id: string): Promise<GuestInfo> {
    const info = this.#info(await this.#find(id));
    this.#changed(info);
    return info;
  }

  async #find(id: string): Promise<CatalogueGuest> {
    const guest = (await this.#catalogue.list()).find((candidate) => candidate.id === id);
    if (guest === undefined) throw new RingsideError('not-found', `the catalogue has no guest ${id}`);
    return guest;
  }

  /** How far a download has come; after a restart of the app as far as its files tell. */
  #progressOf({ id, downloaded, downloadSize }: CatalogueGuest): GuestProgress {
    const reached = this.#reached.get(id) ?? { received: downloaded, total: downloadSize };
    const total = reached.total === null ? null : Math.max(reached.total, reached.received);
    return { step: this.#errors.has(id) ? 'Broke off' : 'Paused', received: reached.received, total };
  }

  #info(guest: CatalogueGuest): GuestInfo {
    const download = this.#downloads.get(guest.id);
    const { id, name, description, files } = guest;
    const paused = download === undefined && files === null && guest.downloaded > 0;
    return {
      id,
      name,
      description,
      state: download !== undefined ? 'fetching' : files !== null ? 'ready' : paused ? 'paused' : 'absent',
      version: files?.version ?? null,
      size: files?.size ?? guest.downloadSize,
      append: files?.append ?? null,
      progress: download?.progress ?? (paused ? this.#progressOf(guest) : null),
      error: this.#errors.get(id) ?? null,
    };
  }
}
