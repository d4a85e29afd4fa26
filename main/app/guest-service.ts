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
  files: GuestFiles | null;
}

/** What the app needs of the catalogue (main/guests); the tests bring their own. */
export interface GuestCatalogue {
  list(): Promise<CatalogueGuest[]>;
  /** Rejects with an AbortError when `signal` is aborted; what was downloaded so far is kept for the next attempt. */
  fetch(id: string, options: { onProgress(progress: GuestProgress): void; signal: AbortSignal }): Promise<unknown>;
  remove(id: string): Promise<void>;
}

/** Progress events of one download, at most this often. */
const PROGRESS_MS = 200;

interface Download {
  abort: AbortController;
  progress: GuestProgress;
  announced: number;
}

export class GuestService {
  readonly #catalogue: GuestCatalogue;
  readonly #changed: (guest: GuestInfo) => void;
  readonly #inUse: (guest: string) => { settings: { name: string } } | null;
  readonly #downloads = new Map<string, Download>();
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

  /** Begins a download; one that is under way is left to go on. */
  async fetch(id: string): Promise<GuestInfo> {
    const guest = await this.#find(id);
    if (this.#downloads.has(id)) return this.#info(guest);
    const download: Download = {
      abort: new AbortController(),
      progress: { step: 'Contacting the mirror', received: 0, total: guest.downloadSize },
      announced: 0,
    };
    this.#downloads.set(id, download);
    this.#errors.delete(id);
    void this.#run(guest, download);
    return this.#info(guest);
  }

  async cancel(id: string): Promise<GuestInfo> {
    this.#downloads.get(id)?.abort.abort();
    return this.#info(await this.#find(id));
  }

  async remove(id: string): Promise<GuestInfo> {
    await this.#find(id);
    const user = this.#inUse(id);
    if (user !== null) {
      throw new RingsideError('in-use', `the VM “${user.settings.name}” runs this guest: power it off first`);
    }
    if (this.#downloads.has(id)) throw new RingsideError('bad-state', 'it is being downloaded: cancel that first');
    await this.#catalogue.remove(id);
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
    } catch (error) {
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

  #info(guest: CatalogueGuest): GuestInfo {
    const download = this.#downloads.get(guest.id);
    const { id, name, description, files } = guest;
    return {
      id,
      name,
      description,
      state: download !== undefined ? 'fetching' : files !== null ? 'ready' : 'absent',
      version: files?.version ?? null,
      size: files?.size ?? guest.downloadSize,
      append: files?.append ?? null,
      progress: download?.progress ?? null,
      error: this.#errors.get(id) ?? null,
    };
  }
}
