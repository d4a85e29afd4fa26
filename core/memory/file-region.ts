/**
 * Files as guest memory: behind RAM in linear memory, in a part that createMachineMemory has kept for them, and at the same
 * distance from RAM in guest physical memory. The device tree does not list them; a device (virtio-pmem) tells of them.
 *
 * Where the host can, the file is mapped there. Where it cannot, it is read in, and what differs from it is written back when
 * it is flushed and when it is closed.
 */
import { openError } from '../block/errors.ts';
import { lockImage } from '../block/lock.ts';
import type { ImageLock } from '../block/lock.ts';
import { errorLine, RingsideError } from '../errors.ts';
import type { FileInfo, Host } from '../host/host.ts';
import { isHostError } from '../host/host.ts';
import { RAM_OFFSET } from '../worker/layout.ts';
import { RAM_BASE } from './guest-memory.ts';
import type { GuestMemory } from './guest-memory.ts';

const MIB = 2 ** 20;
/** Linux maps device memory in pieces of this size and boundary. */
export const REGION_ALIGN = 2 * MIB;
/** Compared with the file, and written back, in pieces of this size. */
const CHUNK = 64 * 1024;

export interface FileRegionOptions {
  /** Host path. Made, of `size` bytes, when it is not there. */
  file: string;
  /** Bytes: a multiple of REGION_ALIGN, at most the size of the file. */
  size: number;
  /** What the guest writes goes to the file; else it is lost when the region is closed. */
  share: boolean;
}

/** How the bytes get to the file. */
export type RegionMode = 'mapped' | 'copied' | 'private';

/** What another thread needs to flush a region; survives structured clone. */
export interface FileRegionHandle {
  readonly fd: number;
  readonly mode: RegionMode;
  /** Offset in linear memory. */
  readonly linear: number;
  readonly size: number;
}

/** Bytes that regions of these sizes need behind RAM of `ramSize` bytes. */
export function regionSpace(ramSize: number, sizes: readonly number[]): number {
  if (sizes.length === 0) return 0;
  return sizes.reduce((end, size) => end + alignUp(size), alignUp(ramSize)) - ramSize;
}

/** The part of linear memory that is kept for regions. */
export class FileRegions {
  readonly #guest: GuestMemory;
  readonly #taken = new Set<FileRegion>();

  constructor(guest: GuestMemory) {
    this.#guest = guest;
  }

  /**
   * Opens and locks a file and puts it into guest memory.
   *
   * @throws RingsideError 'bad-option', 'not-found', 'in-use', 'too-large', or what the host says
   */
  open(host: Host, options: FileRegionOptions): FileRegion {
    const { size } = options;
    if (!Number.isSafeInteger(size) || size <= 0 || size % REGION_ALIGN !== 0) {
      throw new RingsideError('bad-option', `size must be a multiple of ${REGION_ALIGN / MIB} MiB, not ${size} bytes.`);
    }
    const start = this.#place(size);
    const region = openRegion(host, this.#guest, start, options, () => this.#taken.delete(region));
    this.#taken.add(region);
    return region;
  }

  /** The first gap: an offset from the start of RAM. */
  #place(size: number): number {
    let start = alignUp(this.#guest.ramSize);
    const taken = [...this.#taken].toSorted((a, b) => a.address - b.address);
    for (const region of taken) {
      const at = region.address - RAM_BASE;
      if (start + size <= at) break;
      start = at + region.size;
    }
    if (start + size <= this.#guest.size) return start;
    const message =
      `there is no room for ${size / MIB} MiB behind the machine's RAM: memory that files back is set aside when the ` +
      'machine starts. Name the file in an -object of the command line or the VM.';
    throw new RingsideError('too-large', message);
  }
}

export class FileRegion {
  /** Guest physical. */
  readonly address: number;
  readonly size: number;
  readonly file: string;
  readonly handle: FileRegionHandle;
  /** What the user should know, one line each. */
  readonly warnings: readonly string[];
  readonly #host: Host;
  readonly #guest: GuestMemory;
  readonly #closed: () => void;
  #open = true;

  constructor(
    host: Host,
    guest: GuestMemory,
    handle: FileRegionHandle,
    file: string,
    warnings: readonly string[],
    closed: () => void,
  ) {
    this.#host = host;
    this.#guest = guest;
    this.handle = handle;
    this.address = handle.linear - RAM_OFFSET + RAM_BASE;
    this.size = handle.size;
    this.file = file;
    this.warnings = warnings;
    this.#closed = closed;
  }

  /**
   * Brings what the guest wrote to the file, and takes the region out of guest memory, which reads as zero there then. May be
   * called twice.
   *
   * @throws the host's error when not all could be written; it is closed all the same
   */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    const { fd, mode, linear, size } = this.handle;
    try {
      flushRegion(this.#host, this.#guest.memory, this.handle);
    } finally {
      if (mode === 'mapped' || this.#host.sharedMemory.available) {
        this.#host.unmapSharedMemory(this.#guest.memory, linear, size);
      } else {
        new Uint8Array(this.#guest.memory.buffer, linear, size).fill(0);
      }
      this.#host.close(fd);
      this.#closed();
    }
  }
}

function openRegion(
  host: Host,
  guest: GuestMemory,
  start: number,
  { file, size, share }: FileRegionOptions,
  closed: () => void,
): FileRegion {
  const { fd, info } = openFile(host, file, size, share);
  let lock: ImageLock | null = null;
  try {
    lock = lockImage(host, fd, info, file, !share, 'auto');
    const linear = RAM_OFFSET + start;
    let mode: RegionMode = share ? 'copied' : 'private';
    const warnings = lock.state.locked
      ? []
      : [`"${file}" is not locked: ${lock.state.reason}. Take care that nothing else writes to it.`];
    if (host.sharedMemory.available) {
      host.mapFile(guest.memory, linear, size, fd, share);
      if (share) mode = 'mapped';
    } else {
      readIn(host, guest.memory, linear, size, fd);
    }
    const { release } = lock;
    return new FileRegion(host, guest, { fd, mode, linear, size }, file, warnings, () => {
      release();
      closed();
    });
  } catch (error) {
    lock?.release();
    host.close(fd);
    if (!isHostError(error)) throw error;
    throw new RingsideError('io', `"${file}" cannot be used as memory: ${errorLine(error)}.`, { cause: error });
  }
}

function openFile(host: Host, file: string, size: number, share: boolean): { fd: number; info: FileInfo } {
  let fd: number | null = null;
  try {
    let found;
    try {
      found = host.inspect(file);
    } catch (error) {
      if (!isHostError(error) || error.code !== 'ENOENT') throw error;
      host.createSparse(file, size);
      found = host.inspect(file);
    }
    // Looked at before it is opened: opening a FIFO would wait for its other end.
    if (found.kind !== 'file') throw new RingsideError('not-a-file', `"${file}" is no regular file. Name one.`);
    fd = host.open(file, { write: share });
    const info = host.inspectOpen(fd);
    if (info.kind !== 'file') throw new RingsideError('not-a-file', `"${file}" is no regular file. Name one.`);
    if (info.size < size) {
      const remedy = `Make it larger with "truncate -s ${size} FILE", or give a smaller size.`;
      throw new RingsideError(
        'bad-image',
        `"${file}" has ${info.size} bytes, which is less than size=${size}. ${remedy}`,
      );
    }
    return { fd, info };
  } catch (error) {
    if (fd !== null) host.close(fd);
    throw openError(file, !share, error);
  }
}

function readIn(host: Host, memory: WebAssembly.Memory, linear: number, size: number, fd: number): void {
  for (let done = 0; done < size;) {
    const count = host.readv(fd, [new Uint8Array(memory.buffer, linear + done, size - done)], done);
    if (count === 0) break;
    done += count;
  }
}

/**
 * When it returns, what the guest had written before is on stable storage. In any thread.
 *
 * @throws the host's error
 */
export function flushRegion(
  host: Host,
  memory: WebAssembly.Memory,
  { fd, mode, linear, size }: FileRegionHandle,
): void {
  if (mode === 'private') return;
  if (mode === 'copied') writeBack(host, new Uint8Array(memory.buffer, linear, size), fd);
  host.fdatasync(fd);
}

function writeBack(host: Host, bytes: Uint8Array, fd: number): void {
  const old = new Uint8Array(CHUNK);
  for (let start = 0; start < bytes.length; start += CHUNK) {
    const chunk = bytes.subarray(start, start + CHUNK);
    readFully(host, fd, old.subarray(0, chunk.length), start);
    if (Buffer.compare(chunk, old.subarray(0, chunk.length)) === 0) continue;
    for (let done = 0; done < chunk.length;) done += host.writev(fd, [chunk.subarray(done)], start + done);
  }
}

/** Behind the end of a file that somebody has made shorter there are zeroes. */
function readFully(host: Host, fd: number, target: Uint8Array, position: number): void {
  for (let done = 0; done < target.length;) {
    const count = host.readv(fd, [target.subarray(done)], position + done);
    if (count === 0) {
      target.fill(0, done);
      return;
    }
    done += count;
  }
}

function alignUp(size: number): number {
  return Math.ceil(size / REGION_ALIGN) * REGION_ALIGN;
}
