/** The Host of a thread of Node's: node:fs, with the native addon for what that cannot do. */
import * as fs from 'node:fs';

import { loadAddon } from './addon.ts';
import type { NativeAddon } from './addon.ts';
import type { FolderCalls } from './folder-calls.ts';
import type { Capability, FileInfo, FileKind, Host, HostError, HostSpec } from './host.ts';
import { deviceNumbers, parseLocks } from './proc.ts';

/** Sectors of /sys/dev/block/M:N/size, whatever the device's own. */
const SYSFS_SECTOR = 512;

/** The host as this thread sees it. Workers get `host.spec` and make their own. */
export function createHost(spec: HostSpec): Host {
  const loaded = 'path' in spec.addon ? loadAddon(spec.addon.path) : { addon: null, reason: spec.addon.reason };
  return new NodeHost(spec, loaded.addon, 'reason' in loaded ? loaded.reason : '');
}

class NodeHost implements Host {
  readonly spec: HostSpec;
  readonly sharedMemory: Capability;
  readonly fileLocks: Capability;
  readonly holes: Capability;
  readonly eventFds: Capability;
  readonly descriptorPassing: Capability;
  readonly releaseGranularity: number;
  readonly folders: Capability;
  readonly #addon: NativeAddon | null;
  readonly #reason: string;

  constructor(spec: HostSpec, addon: NativeAddon | null, reason: string) {
    this.spec = spec;
    this.#addon = addon;
    this.#reason = reason;
    const capability: Capability = addon ? { available: true } : { available: false, reason };
    this.sharedMemory = capability;
    this.fileLocks = capability;
    this.holes = capability;
    this.eventFds = capability;
    this.descriptorPassing = capability;
    this.releaseGranularity = addon?.pageSize() ?? 0;
    this.folders = capability;
  }

  #native(): NativeAddon {
    if (this.#addon) return this.#addon;
    const error = new Error(this.#reason) as HostError;
    error.code = 'ENOTSUP';
    throw error;
  }

  // ---- shared memory ------------------------------------------------------------------------------------------------

  createSharedMemory(name: string, size: number): number {
    return this.#native().memfdCreate(name, size);
  }

  mapSharedMemory(memory: WebAssembly.Memory, offset: number, length: number, fd: number): void {
    this.#native().mapMemfd(sharedBytes(memory), offset, length, fd);
  }

  mapFile(memory: WebAssembly.Memory, offset: number, length: number, fd: number, shared: boolean): void {
    this.#native().mapFile(sharedBytes(memory), offset, length, fd, shared);
  }

  unmapSharedMemory(memory: WebAssembly.Memory, offset: number, length: number): void {
    this.#native().unmapMemfd(sharedBytes(memory), offset, length);
  }

  releaseMemory(memory: WebAssembly.Memory, offset: number, length: number): void {
    this.#native().releasePages(sharedBytes(memory), offset, length);
  }

  adviseHugePages(memory: WebAssembly.Memory, offset: number, length: number): void {
    this.#addon?.adviseHugePages(sharedBytes(memory), offset, length);
  }

  // ---- files --------------------------------------------------------------------------------------------------------

  inspect(path: string): FileInfo {
    return this.#info(fs.statSync(path, { bigint: true }), null);
  }

  inspectOpen(fd: number): FileInfo {
    return this.#info(fs.fstatSync(fd, { bigint: true }), fd);
  }

  #info(stat: fs.BigIntStats, fd: number | null): FileInfo {
    const kind = fileKind(stat);
    return {
      kind,
      size: kind === 'block-device' ? this.#deviceSize(stat.rdev, fd) : Number(stat.size),
      device: stat.dev,
      inode: stat.ino,
      // Windows gives undefined for what it does not know.
      preferredBlockSize: Number(stat.blksize ?? 4096n) || 4096,
    };
  }

  #deviceSize(device: bigint, fd: number | null): number {
    if (this.#addon && fd !== null) return this.#addon.blockDeviceSize(fd);
    const { major, minor } = deviceNumbers(device);
    try {
      return Number(fs.readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * SYSFS_SECTOR;
    } catch {
      return 0;
    }
  }

  open(path: string, { write, exclusive = false }: { write: boolean; exclusive?: boolean }): number {
    // Without O_CREAT, O_EXCL has a meaning for block devices on Linux only, and is undefined elsewhere.
    const guard = exclusive && process.platform === 'linux' ? fs.constants.O_EXCL : 0;
    return fs.openSync(path, (write ? fs.constants.O_RDWR : fs.constants.O_RDONLY) | guard);
  }

  createSparse(path: string, size: number): void {
    const fd = fs.openSync(path, 'wx');
    try {
      fs.ftruncateSync(fd, size);
    } catch (error) {
      fs.rmSync(path, { force: true });
      throw error;
    } finally {
      fs.closeSync(fd);
    }
  }

  close(fd: number): void {
    fs.closeSync(fd);
  }

  readv(fd: number, views: readonly NodeJS.ArrayBufferView[], position: number): number {
    return fs.readvSync(fd, views, position);
  }

  writev(fd: number, views: readonly NodeJS.ArrayBufferView[], position: number): number {
    return fs.writevSync(fd, views, position);
  }

  fdatasync(fd: number): void {
    fs.fdatasyncSync(fd);
  }

  truncate(fd: number, size: number): void {
    fs.ftruncateSync(fd, size);
  }

  punchHole(fd: number, offset: number, length: number): void {
    this.#native().punchHole(fd, offset, length);
  }

  zeroRange(fd: number, offset: number, length: number): void {
    this.#native().zeroRange(fd, offset, length);
  }

  discardDevice(fd: number, offset: number, length: number): void {
    this.#native().blockDeviceDiscard(fd, offset, length);
  }

  seekData(fd: number, offset: number): number {
    return this.#native().seekData(fd, offset);
  }

  seekHole(fd: number, offset: number): number {
    return this.#native().seekHole(fd, offset);
  }

  lock(fd: number, start: number, length: number, exclusive: boolean): boolean {
    return this.#native().lock(fd, start, length, exclusive);
  }

  unlock(fd: number, start: number, length: number): void {
    this.#native().unlock(fd, start, length);
  }

  testLock(fd: number, start: number, length: number, exclusive: boolean): boolean {
    return this.#native().testLock(fd, start, length, exclusive);
  }

  listLocks(file: FileInfo): { start: number; end: number }[] {
    let text;
    try {
      text = fs.readFileSync('/proc/locks', 'utf8');
    } catch {
      return [];
    }
    return parseLocks(text, file);
  }

  // ---- folders ------------------------------------------------------------------------------------------------------

  get folderCalls(): FolderCalls {
    return this.#native();
  }

  // ---- events -------------------------------------------------------------------------------------------------------

  createEvent(): number {
    return this.#native().eventfdCreate();
  }

  readEvent(fd: number): bigint {
    return this.#native().eventfdRead(fd);
  }

  ringEvent(fd: number): void {
    this.#native().eventfdWrite(fd, 1n);
  }

  poll(entries: Int32Array, timeout: number): number {
    return this.#native().poll(entries, timeout);
  }

  // ---- sockets and other processes' memory --------------------------------------------------------------------------

  listenUnix(path: string, backlog: number): number {
    return this.#native().unixListen(path, backlog);
  }

  acceptUnix(fd: number): number | null {
    return orNull(this.#native().unixAccept(fd));
  }

  connectUnix(path: string): number {
    return this.#native().unixConnect(path);
  }

  sendMessage(fd: number, bytes: Uint8Array, descriptors: Int32Array): number | null {
    return orNull(this.#native().sendMessage(fd, bytes, descriptors));
  }

  receiveMessage(fd: number, bytes: Uint8Array, descriptors: Int32Array): number | null {
    return orNull(this.#native().receiveMessage(fd, bytes, descriptors));
  }

  setNonBlocking(fd: number): void {
    this.#native().setNonBlocking(fd);
  }

  mapGuarded(memory: WebAssembly.Memory, offset: number, length: number, fd: number, fileOffset: number): number {
    return this.#native().mapGuarded(sharedBytes(memory), offset, length, fd, fileOffset);
  }

  guardFaulted(mapping: number): boolean {
    return this.#native().guardFaulted(mapping);
  }

  unmapGuarded(mapping: number): void {
    this.#native().unmapGuarded(mapping);
  }

  // ---- terminals ----------------------------------------------------------------------------------------------------

  openPty(): { master: number; slave: number; path: string } {
    return this.#native().ptyOpen();
  }
}

/** The addon says -1 where nothing can be had at once. */
function orNull(result: number): number | null {
  return result < 0 ? null : result;
}

/** All of a shared memory. Mapping over any other kind would pull pages out from under V8's heap. */
function sharedBytes(memory: WebAssembly.Memory): Uint8Array {
  if (!(memory.buffer instanceof SharedArrayBuffer)) throw new TypeError('the memory is not a shared one');
  return new Uint8Array(memory.buffer);
}

function fileKind(stat: fs.BigIntStats): FileKind {
  if (stat.isFile()) return 'file';
  if (stat.isBlockDevice()) return 'block-device';
  return stat.isDirectory() ? 'directory' : 'other';
}
