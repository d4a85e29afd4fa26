/** A mirror of Debian's archive: from a signed Release to verified packages on disk. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { RingsideError } from '../../../core/errors.ts';
import { decompress } from '../archive/decompress.ts';
import { bounded } from '../archive/limits.ts';
import { downloadFile, fetchBytes } from '../net/download.ts';
import type { TransferOptions } from '../net/download.ts';
import { shownUrl } from '../net/http.ts';
import { TRIXIE_KEYS } from './archive-keys.ts';
import type { ArchiveKey } from './archive-keys.ts';
import { readPackages } from './packages.ts';
import type { DebianPackage } from './packages.ts';
import { readRelease } from './release.ts';
import type { Release, ReleaseFile } from './release.ts';

const CODENAME = 'trixie';
const ARCHITECTURE = 'riscv64';
const COMPONENT = 'main';
const INDEX = `${COMPONENT}/binary-${ARCHITECTURE}/Packages`;
const MAX_INRELEASE = 8 * 2 ** 20;
const MAX_INDEX = 512 * 2 ** 20;
/** Of one package; the kernel's is some 110 MiB. */
const MAX_PACKAGE = 512 * 2 ** 20;

/** A mirror that does not answer at once is left for the next one. */
const FIRST_CONTACT = { attempts: 2, idleMs: 15_000 };

export interface ArchiveOptions extends TransferOptions {
  /** Whose signature counts. Debian's own unless a test brings others. */
  readonly keys?: readonly ArchiveKey[];
  /** Date of the newest Release seen before. */
  readonly notBefore?: Date;
}

export interface ArchiveRelease {
  readonly mirror: string;
  readonly release: Release;
}

export interface ArchiveIndex extends ArchiveRelease {
  readonly packages: ReadonlyMap<string, DebianPackage>;
}

/**
 * Fetches a mirror's Release file and verifies its signature.
 * @throws RingsideError 'network', 'bad-signature'...
 */
export async function openArchive(mirror: string, options: ArchiveOptions): Promise<ArchiveRelease> {
  const inRelease = await fetchBytes(`${mirror}/dists/${CODENAME}/InRelease`, MAX_INRELEASE, {
    ...FIRST_CONTACT,
    ...options,
  });
  const release = await readRelease(inRelease.toString('utf8'), shownUrl(mirror), {
    codename: CODENAME,
    architecture: ARCHITECTURE,
    component: COMPONENT,
    keys: options.keys ?? TRIXIE_KEYS,
    notBefore: options.notBefore,
  });
  return { mirror, release };
}

/**
 * Fetches the package index that a Release names, and verifies it.
 * @param folder where the index is downloaded to; must exist
 * @param want which packages to keep
 * @throws RingsideError 'network', 'bad-signature', 'bad-image'...
 */
export async function readIndex(
  { mirror, release }: ArchiveRelease,
  folder: string,
  want: (name: string) => boolean,
  options: TransferOptions,
): Promise<ArchiveIndex> {
  const dist = `${mirror}/dists/${CODENAME}`;
  const packed = releaseFile(release, `${INDEX}.xz`, mirror);
  const plain = releaseFile(release, INDEX, mirror);
  const path = join(folder, 'Packages.xz');
  const byHash = `${dist}/${COMPONENT}/binary-${ARCHITECTURE}/by-hash/SHA256/${packed.sha256}`;
  const urls = [...(release.acquireByHash ? [byHash] : []), `${dist}/${INDEX}.xz`];
  await downloadFile({ urls, ...packed }, path, options);
  // The signed Release also says how long the index is unpacked.
  const text = bounded(decompress(createReadStream(path, { signal: options.signal }), 'xz', INDEX), plain.size, INDEX);
  return { mirror, release, packages: await readPackages(text, want) };
}

function releaseFile(release: Release, path: string, mirror: string): ReleaseFile {
  const file = release.files.get(path);
  if (file === undefined || file.size > MAX_INDEX) {
    throw new RingsideError(
      'bad-signature',
      `${shownUrl(mirror)} has no usable ${path}; choose another mirror with --mirror`,
    );
  }
  return file;
}

/** Downloads a package into `folder` and gives its path there. */
export async function downloadPackage(
  index: ArchiveIndex,
  wanted: DebianPackage,
  folder: string,
  options: TransferOptions,
): Promise<string> {
  if (wanted.size > MAX_PACKAGE) {
    throw new RingsideError(
      'too-large',
      `package ${wanted.name} has ${wanted.size} bytes, more than it can rightly have`,
    );
  }
  // By hash, so that the name is safe and a part left over is the same file's.
  const path = join(folder, `${wanted.sha256}.deb`);
  const { sha256, size } = wanted;
  await downloadFile({ urls: [`${index.mirror}/${wanted.filename}`], size, sha256 }, path, options);
  return path;
}
