/**
 * The guest catalogue: systems to boot that are put together on this computer from a Debian mirror's signed packages.
 * What is fetched stays usable without a network.
 */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { RingsideError } from '../../core/errors.ts';
import { defaultCacheDir } from './cache.ts';
import { downloadPackage, openArchive, readIndex } from './debian/archive.ts';
import type { ArchiveIndex, ArchiveRelease } from './debian/archive.ts';
import type { ArchiveKey } from './debian/archive-keys.ts';
import { mirrorCandidates } from './debian/mirror.ts';
import type { DebianPackage } from './debian/packages.ts';
import { withLock } from './lock.ts';
import { fileError } from './net/download.ts';
import { shownUrl } from './net/http.ts';
import type { GuestRecipe } from './recipe.ts';
import { debianInstallerGuest } from './recipes/debian-installer.ts';
import { debianGuest } from './recipes/debian.ts';
import type { GuestFiles, GuestInfo, GuestProgress, GuestRecord } from './schema.ts';
import { GuestStore } from './store.ts';

export type { GuestFiles, GuestInfo, GuestProgress } from './schema.ts';
export { guestFiles, guestInfo, guestProgress } from './schema.ts';

const RECIPES: readonly GuestRecipe[] = [debianGuest, debianInstallerGuest];

export interface GuestOptions {
  /** Folder for downloads and guests; RINGSIDE_CACHE or the user's cache folder by default. */
  readonly cacheDir?: string;
}

export interface FetchOptions extends GuestOptions {
  /** Base address of a Debian mirror; RINGSIDE_MIRROR, apt's own or a public one by default. */
  readonly mirror?: string;
  /** Ask the mirror for a newer version even when the guest is here already. */
  readonly update?: boolean;
  readonly onProgress?: (progress: GuestProgress) => void;
  readonly signal?: AbortSignal;
  /** Whose signature counts, for tests. */
  readonly keys?: readonly ArchiveKey[];
  /** Before the first retry of a download, ms. */
  readonly firstDelayMs?: number;
}

/**
 * Removes what an unfinished download has left; the guest, when there is one, stays.
 * @throws RingsideError 'not-found' for an id that is not in the catalogue.
 */
export async function discardDownloads(
  id: string,
  options: GuestOptions & { signal?: AbortSignal } = {},
): Promise<void> {
  recipeOf(id);
  const store = storeOf(id, options);
  await locked(store, options, () => store.clearDownloads());
}

/** All catalogue entries, fetched or not. */
export async function listGuests(options: GuestOptions = {}): Promise<GuestInfo[]> {
  return Promise.all(
    RECIPES.map(async ({ id, title, description, downloadSize }) => {
      const store = storeOf(id, options);
      const [record, downloaded] = await Promise.all([store.current(), store.downloaded()]);
      return {
        id,
        title,
        description,
        downloadSize,
        size: record === null ? null : record.kernelSize + record.initrdSize,
        fetched: record !== null,
        version: record?.version ?? null,
        fetchedAt: record?.fetchedAt ?? null,
        downloaded,
      };
    }),
  );
}

/**
 * The files of a fetched guest; null when it is not (or not wholly) here. Never touches the network. The paths hold until
 * the guest is next updated or removed: keep the id in a VM's configuration, not the paths.
 * @throws RingsideError 'not-found' for an id that is not in the catalogue.
 */
export async function guestPaths(id: string, options: GuestOptions = {}): Promise<GuestFiles | null> {
  recipeOf(id);
  const store = storeOf(id, options);
  const record = await store.current();
  return record === null ? null : store.files(record);
}

/**
 * Removes a guest and whatever of it was downloaded.
 * @returns whether there was anything usable
 */
export async function removeGuest(id: string, options: GuestOptions & { signal?: AbortSignal } = {}): Promise<boolean> {
  recipeOf(id);
  const store = storeOf(id, options);
  return locked(store, options, async () => {
    const fetched = (await store.current()) !== null;
    await store.removeAll();
    return fetched;
  });
}

/**
 * Makes sure that a guest is here, and with `update` that it is the mirror's newest. Without `update`, a guest that is
 * here needs no network. Interrupted downloads are resumed by the next call; several processes may call at once.
 * @throws RingsideError 'not-found' (no such guest), 'bad-option' (mirror), 'network', 'bad-signature', 'bad-image',
 * 'no-space', 'permission', 'io'; an AbortError when `signal` fires.
 */
export async function fetchGuest(id: string, options: FetchOptions = {}): Promise<GuestFiles> {
  const recipe = recipeOf(id);
  const store = storeOf(id, options);
  const report = (phase: GuestProgress['phase'], message: string, done?: number, total?: number): void =>
    options.onProgress?.({ guest: id, phase, message, done, total });
  const usable = async (): Promise<GuestRecord | null> => {
    const record = await store.current();
    return record !== null && !options.update && isUpToDate(recipe, record) ? record : null;
  };
  const ready = await usable();
  if (ready !== null) return store.files(ready);
  const onWait = (): void => report('wait', 'waiting for another download of this guest');
  return locked(store, { ...options, onWait }, async () => {
    // Another process may have just done it.
    const record = (await usable()) ?? (await refresh(recipe, store, options, report));
    return store.files(record);
  });
}

type Report = (phase: GuestProgress['phase'], message: string, done?: number, total?: number) => void;

/** Brings the guest up to date, under its lock. */
async function refresh(
  recipe: GuestRecipe,
  store: GuestStore,
  options: FetchOptions,
  report: Report,
): Promise<GuestRecord> {
  await store.prepare();
  const old = await store.current();
  if (old !== null && !options.update && old.recipe === recipeHash(recipe)) return renewOverlay(recipe, store, old);
  try {
    return await fetchFromMirrors(recipe, store, old, options, report);
  } catch (error) {
    // One that an earlier version of this program made still boots.
    if (old === null || options.update || !(error instanceof RingsideError) || error.kind !== 'network') throw error;
    report('build', `no newer version can be had (${error.message}); using the one from ${old.fetchedAt}`);
    return old;
  }
}

async function fetchFromMirrors(
  recipe: GuestRecipe,
  store: GuestStore,
  old: GuestRecord | null,
  options: FetchOptions,
  report: Report,
): Promise<GuestRecord> {
  const failures: RingsideError[] = [];
  await store.makeDownloads();
  for (const mirror of await mirrorCandidates(options.mirror)) {
    try {
      return await fetchFrom(mirror, recipe, store, old, options, report);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof RingsideError) || !MIRROR_FAULTS.has(error.kind)) throw error;
      failures.push(error);
      report('index', `${shownUrl(mirror)} cannot be used: ${error.message}`);
    }
  }
  // A mirror that hands out what Debian did not sign is worse news than one that is away.
  throw failures.find(({ kind }) => kind !== 'network') ?? failures[0];
}

/** What another mirror may do better. */
const MIRROR_FAULTS: ReadonlySet<string> = new Set(['network', 'bad-signature', 'bad-image', 'not-found', 'too-large']);

async function fetchFrom(
  mirror: string,
  recipe: GuestRecipe,
  store: GuestStore,
  old: GuestRecord | null,
  options: FetchOptions,
  report: Report,
): Promise<GuestRecord> {
  const { signal, keys, firstDelayMs } = options;
  report('index', `asking ${shownUrl(mirror)}`);
  const notBefore = old === null ? undefined : new Date(old.release.date);
  const archive = await openArchive(mirror, { signal, keys, firstDelayMs, notBefore });
  const sameRecipe = old !== null && old.recipe === recipeHash(recipe);
  // The same Release names the same packages.
  if (sameRecipe && archive.release.date.getTime() === notBefore?.getTime()) return keep(recipe, store, old, archive);
  const index = await readIndex(archive, store.downloads, (name) => recipe.wants(name), {
    signal,
    firstDelayMs,
    onProgress: (done, total) => report('index', 'downloading the package index', done, total),
  });
  const chosen = recipe.select(index.packages);
  const record = describe(recipe, index, chosen);
  if (sameRecipe && samePackages(old, record)) return keep(recipe, store, old, archive);

  const debs = new Map<string, string>();
  const total = [...chosen.values()].reduce((sum, { size }) => sum + size, 0);
  let before = 0;
  for (const [role, wanted] of chosen) {
    const onProgress = (done: number): void => report('download', `downloading ${wanted.name}`, before + done, total);
    debs.set(role, await downloadPackage(index, wanted, store.downloads, { signal, firstDelayMs, onProgress }));
    before += wanted.size;
  }
  const onProgress = (message: string, done?: number, size?: number): void => report('build', message, done, size);
  const { kernel, base } = await recipe.build({ debs, signal, onProgress });
  const overlay = recipe.overlay?.() ?? new Uint8Array(0);
  const sizes = { kernelSize: kernel.length, baseSize: base.length, initrdSize: base.length + overlay.length };
  const saved: GuestRecord = { ...record, ...sizes };
  signal?.throwIfAborted();
  await store.save(saved, kernel, [base, overlay]);
  await store.clearDownloads();
  return saved;
}

/** Keeps a guest whose packages are the newest, but remembers the Release which says so. */
async function keep(
  recipe: GuestRecipe,
  store: GuestStore,
  old: GuestRecord,
  archive: ArchiveRelease,
): Promise<GuestRecord> {
  await store.clearDownloads();
  const record = { ...old, release: releaseOf(archive) };
  await store.saveRecord(record);
  return renewOverlay(recipe, store, record);
}

function releaseOf({ release }: ArchiveRelease): GuestRecord['release'] {
  return { version: release.version, date: release.date.toISOString() };
}

/** The record of a guest to be made; its sizes are not known yet. */
function describe(recipe: GuestRecipe, index: ArchiveIndex, chosen: ReadonlyMap<string, DebianPackage>): GuestRecord {
  const packages = [...chosen.values()].map(({ name, version, sha256 }) => ({ name, version, sha256 }));
  const about = {
    schema: 1 as const,
    id: recipe.id,
    version: `${packages[0].version} (Debian ${index.release.version})`,
    recipe: recipeHash(recipe),
    overlay: overlayHash(recipe),
    append: recipe.append,
    packages,
  };
  return {
    ...about,
    folder: folderName(about),
    baseSize: 0,
    kernelSize: 0,
    initrdSize: 0,
    release: releaseOf(index),
    mirror: shownUrl(index.mirror),
    fetchedAt: new Date().toISOString(),
  };
}

/** Gives a guest this program's own part of the initrd where it has another version's. */
async function renewOverlay(recipe: GuestRecipe, store: GuestStore, old: GuestRecord): Promise<GuestRecord> {
  if (isUpToDate(recipe, old)) return old;
  const overlay = recipe.overlay?.() ?? new Uint8Array(0);
  const about = { ...old, overlay: overlayHash(recipe), append: recipe.append };
  const record = { ...about, folder: folderName(about), initrdSize: old.baseSize + overlay.length };
  await store.saveOverlay(old, record, overlay);
  return record;
}

function isUpToDate(recipe: GuestRecipe, record: GuestRecord): boolean {
  return (
    record.recipe === recipeHash(recipe) && record.overlay === overlayHash(recipe) && record.append === recipe.append
  );
}

function samePackages(a: GuestRecord, b: GuestRecord): boolean {
  return JSON.stringify(a.packages) === JSON.stringify(b.packages);
}

function recipeHash(recipe: GuestRecipe): string {
  return sha256(JSON.stringify(recipe.inputs));
}

function overlayHash(recipe: GuestRecipe): string | null {
  return recipe.overlay === undefined ? null : sha256(recipe.overlay());
}

/** A name for exactly these inputs: the same ones always give the same folder. */
function folderName(about: Pick<GuestRecord, 'recipe' | 'overlay' | 'append' | 'packages'>): string {
  return sha256(JSON.stringify([about.recipe, about.overlay, about.append, about.packages])).slice(0, 16);
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function recipeOf(id: string): GuestRecipe {
  const recipe = RECIPES.find((candidate) => candidate.id === id);
  if (recipe === undefined) {
    const known = RECIPES.map((candidate) => candidate.id).join(', ');
    throw new RingsideError('not-found', `there is no guest ${JSON.stringify(id)}; the catalogue has: ${known}`);
  }
  return recipe;
}

function storeOf(id: string, options: GuestOptions): GuestStore {
  return new GuestStore(options.cacheDir ?? defaultCacheDir(), id);
}

async function locked<T>(
  store: GuestStore,
  options: { signal?: AbortSignal; onWait?: () => void },
  action: () => Promise<T>,
): Promise<T> {
  const guests = dirname(store.lock);
  await mkdir(guests, { recursive: true }).catch((error: unknown) => {
    throw fileError(guests, error);
  });
  return withLock(store.lock, action, options);
}
