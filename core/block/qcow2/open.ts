/** Opening qcow2 images, and the files that they name where the user allows it. */
import { dirname, isAbsolute, join } from 'node:path';

import { RingsideError } from '../../errors.ts';
import type { Host } from '../../host/host.ts';
import type { Disk, DiskFormat, DiskHandle, Qcow2Handle } from '../disk.ts';
import type { FileHandle } from '../image-file.ts';
import { ImageFile } from '../image-file.ts';
import type { Locking } from '../lock.ts';
import { canPunch, openFile } from '../open-file.ts';
import type { OpenFile } from '../open-file.ts';
import type { DiskOptions, OpenDisk, Trust } from '../options.ts';
import { createFlushState } from '../shared-flush.ts';
import { checkImage } from './check.ts';
import { Qcow2Disk } from './disk.ts';
import { HEADER_READ_BYTES, parseHeader } from './header.ts';
import type { Qcow2Header } from './header.ts';
import { Qcow2Image } from './image.ts';
import * as q from './layout.ts';
import { readSnapshots } from './snapshot-table.ts';

/** Images behind one another at most; more are a loop, or a mistake. */
const CHAIN_MAX = 64;

type OpenAny = (options: DiskOptions) => OpenDisk;

/** Opens the image in `open`, which it then owns. What it opens beside that is closed when it throws. */
export function openQcow2(
  open: OpenFile,
  options: DiskOptions,
  openAny: OpenAny,
): { disk: Qcow2Disk; warnings: string[] } {
  const { readonly = false, discard = 'unmap', locking = 'auto', host } = options;
  if (open.info.size === 0) {
    throw new RingsideError('bad-image', `"${open.file}" is empty: make an image with "ringside img create".`);
  }
  const warnings: string[] = [];
  const image = fileHandle(open, !readonly, host);
  const header = parseHead(open.file, image, host);
  const others: { close(): void }[] = [];
  try {
    const data = openData(open, header, options);
    if (data) others.push(data);
    const handle: Omit<Qcow2Handle, 'backing'> = {
      format: 'qcow2',
      file: open.file,
      readonly,
      discard: discard === 'unmap' && !readonly,
      image,
      data: data && fileHandle(data, !readonly, host),
    };
    const state = imageFromHandle({ ...handle, backing: null }, host);
    prepareImage(state, warnings);
    const backing = openBacking(
      open,
      header,
      { locking, host, trust: options.backing ?? 'refuse', chain: options.chain },
      openAny,
    );
    if (backing) others.push(backing.disk);
    warnings.push(...(backing?.warnings ?? []));
    const full: Qcow2Handle = { ...handle, backing: backing?.disk.handle ?? null };
    const release = () => {
      data?.close();
      open.close();
    };
    return { disk: new Qcow2Disk(full, state, backing?.disk ?? null, release), warnings };
  } catch (error) {
    for (const other of others) other.close();
    throw error;
  }
}

export function diskFromQcow2Handle(
  handle: Qcow2Handle,
  host: Host,
  fromHandle: (handle: DiskHandle, host: Host) => Disk,
): Qcow2Disk {
  const backing = handle.backing && fromHandle(handle.backing, host);
  return new Qcow2Disk(handle, imageFromHandle(handle, host), backing, null);
}

function imageFromHandle(handle: Qcow2Handle, host: Host): Qcow2Image {
  const data = handle.data && new ImageFile(handle.data, host);
  const image = new Qcow2Image(new ImageFile(handle.image, host), { data, discard: handle.discard });
  const { header } = image;
  for (const snapshot of readSnapshots(image.file, header).snapshots) {
    image.reserve(`the L1 table of snapshot ${snapshot.id}`, snapshot.l1Offset, snapshot.l1Size * q.ENTRY_BYTES);
  }
  if (header.snapshotCount > 0) image.reserve('the snapshot table', header.snapshotsOffset, 1);
  return image;
}

/** What an image that was not closed, or is damaged, needs before it is used. */
function prepareImage(image: Qcow2Image, warnings: string[]): void {
  const { file } = image.file;
  if ((image.header.incompatible & q.INCOMPAT_CORRUPT) !== 0n) {
    if (image.writable) {
      const remedy = 'Repair it with "ringside img check -r all", or attach it read-only to save what can be read.';
      throw new RingsideError('bad-image', `"${file}" is marked as damaged. ${remedy}`);
    }
    warnings.push(`"${file}" is marked as damaged: not all of it may be right.`);
  }
  if (!image.dirty || !image.writable) return;
  const result = checkImage(image, 'all');
  if (result.corruptions > result.corruptionsFixed || result.checkErrors > 0) {
    throw new RingsideError('bad-image', `"${file}" was not closed, and cannot be repaired. Try "ringside img check".`);
  }
  image.mark(q.INCOMPAT_DIRTY, false);
  image.dropCaches();
  image.refcounts.reload();
  warnings.push(`"${file}" was not closed properly; its reference counts have been repaired.`);
}

function parseHead(file: string, handle: FileHandle, host: Host): Qcow2Header {
  const image = new ImageFile(handle, host);
  return parseHeader(file, image.read(Math.min(HEADER_READ_BYTES, image.size), 0));
}

function fileHandle({ file, fd, info }: OpenFile, writable: boolean, host: Host): FileHandle {
  const holes = writable && info.kind === 'file' && canPunch(host, fd, info);
  return { file, fd, writable, holes, flushState: createFlushState() };
}

function openData(open: OpenFile, header: Qcow2Header, options: DiskOptions): OpenFile | null {
  if ((header.incompatible & q.INCOMPAT_DATA_FILE) === 0n) return null;
  const { file } = open;
  if (header.dataFile === null) {
    throw new RingsideError('bad-image', `"${file}" has its data in another file and does not say in which.`);
  }
  const path = namedPath(file, header.dataFile, 'data');
  if (options.backing !== 'trust') throw refused(file, `has its data in "${path}"`);
  return openFile(path, options.readonly ?? false, options.locking ?? 'auto', options.host);
}

interface BackingOptions {
  readonly locking: Locking;
  readonly host: Host;
  readonly trust: Trust;
  readonly chain?: readonly string[];
}

function openBacking(
  open: OpenFile,
  header: Qcow2Header,
  { locking, host, trust, chain = [] }: BackingOptions,
  openAny: OpenAny,
): OpenDisk | null {
  if (header.backingFile === null) return null;
  const { file } = open;
  const path = namedPath(file, header.backingFile, 'backing');
  if (trust !== 'trust') throw refused(file, `has the backing file "${path}"`);
  const key = `${open.info.device}:${open.info.inode}`;
  if (chain.includes(key)) throw new RingsideError('bad-image', `The backing files of "${file}" are a loop.`);
  if (chain.length >= CHAIN_MAX) {
    throw new RingsideError('bad-image', `"${file}" has more than ${CHAIN_MAX} backing files behind one another.`);
  }
  const format = backingFormat(file, header.backingFormat);
  return openAny({ file: path, format, readonly: true, locking, backing: trust, host, chain: [...chain, key] });
}

function backingFormat(file: string, format: string | null): DiskFormat {
  if (format === 'raw' || format === 'qcow2') return format;
  if (format === null) {
    const remedy = 'Say it: ringside img rebase -u -b FILE -F raw|qcow2.';
    throw new RingsideError('bad-image', `"${file}" does not say which format its backing file has. ${remedy}`);
  }
  const remedy = 'Convert it with "qemu-img convert".';
  throw new RingsideError(
    'unsupported',
    `The backing file of "${file}" has format "${format}", not raw or qcow2. ${remedy}`,
  );
}

/** The path of a file that an image names. Relative ones are beside the image. */
export function namedPath(image: string, name: string, what: string): string {
  const plain = name.startsWith('file:') ? name.slice('file:'.length) : name;
  // As QEMU: what has a protocol is no file.
  if (/^[a-z0-9+.-]+:/i.test(plain)) {
    throw new RingsideError('unsupported', `"${image}" has the ${what} file "${name}", which is no path of a file.`);
  }
  return isAbsolute(plain) ? plain : join(dirname(image), plain);
}

function refused(file: string, what: string): RingsideError {
  const remedy = 'If you trust the image to name files of yours, say so: backing=trust.';
  return new RingsideError('bad-option', `"${file}" ${what}. ${remedy}`);
}
