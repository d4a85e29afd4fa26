/**
 * What core asks of the machine it runs on, beyond what the language gives. Implemented by node:fs, and by the native
 * addon where it is there (createHost in node-host.ts). Every call is synchronous: hart and I/O workers are threads
 * that may wait.
 *
 * Calls throw errors shaped like node:fs's: `code` ("ENOSPC"), negative `errno`, `syscall`. What the host cannot do
 * throws `code` "ENOTSUP" with the capability's reason as its message.
 */
import type { FolderCalls } from './folder-calls.ts';

/** Something the host can do, or the reason (one line, for a person) why it cannot. */
export type Capability = { available: true } | { available: false; reason: string };

/** Enough to make the same Host in another thread; survives structured clone. */
export interface HostSpec {
  /** The native addon's file, or why there is none. */
  readonly addon: { path: string } | { reason: string };
}

/** The means of letting another process see guest RAM: a memfd mapped over a part of linear memory. */
export interface MemorySharing {
  readonly sharedMemory: Capability;

  /**
   * A new memfd of `size` bytes, all zero, close-on-exec, sealed against shrinking, growing and further seals, so that
   * no process it is passed to can make an access of ours fault.
   *
   * @param name shown in /proc/PID/maps, at most 200 bytes
   * @returns the file descriptor, owned by the caller
   */
  createSharedMemory(name: string, size: number): number;

  /**
   * Replaces the pages of `memory` at [offset, offset + length) by those of `fd` from its start. What the range held is
   * lost. The mapping keeps the file alive by itself.
   *
   * @param offset bytes, a multiple of the host's page size
   * @param length bytes, a multiple of the host's page size, at most the size of the file
   */
  mapSharedMemory(memory: WebAssembly.Memory, offset: number, length: number, fd: number): void;

  /**
   * Replaces the pages of `memory` at [offset, offset + length) by those of a regular file from its start.
   *
   * @param offset bytes, a multiple of the host's page size
   * @param length bytes, a multiple of the host's page size, at most the size of the file. If the file is made shorter
   *   later, an access behind its end kills the process: keep it locked
   * @param shared what is written goes to the file; else it stays here
   */
  mapFile(memory: WebAssembly.Memory, offset: number, length: number, fd: number, shared: boolean): void;

  /** Replaces the range by private zero pages, which gives its memory back to the host. Undoes mapSharedMemory and mapFile. */
  unmapSharedMemory(memory: WebAssembly.Memory, offset: number, length: number): void;

  /** What releaseMemory works in, bytes: a power of 2; 0 when this host releases nothing. */
  readonly releaseGranularity: number;

  /**
   * Gives the pages of `memory` at [offset, offset + length) back to the host, out of the memfd too if one is mapped there.
   * They read as zero until they are written.
   *
   * @param offset bytes, a multiple of releaseGranularity
   * @param length bytes, a multiple of releaseGranularity
   */
  releaseMemory(memory: WebAssembly.Memory, offset: number, length: number): void;

  /** Asks for huge pages behind the range. Never fails: it is advice, and many hosts take none. */
  adviseHugePages(memory: WebAssembly.Memory, offset: number, length: number): void;

  close(fd: number): void;
}

export type FileKind = 'file' | 'block-device' | 'directory' | 'other';

export interface FileInfo {
  readonly kind: FileKind;
  /** Bytes; of a block device too, where the host can tell (else 0). */
  readonly size: number;
  /** Together these name the file, whatever its paths. */
  readonly device: bigint;
  readonly inode: bigint;
  /** What the file system or device likes to be given at a time, bytes. */
  readonly preferredBlockSize: number;
}

/** Files and block devices by descriptor. Views may lie in shared memory; data goes straight in and out of them. */
export interface HostFiles {
  /** OFD locks (fcntl F_OFD_SETLK), by which QEMU and we keep off one another's images. */
  readonly fileLocks: Capability;
  /** punchHole, zeroRange and discardDevice; a file system may still say EOPNOTSUPP. */
  readonly holes: Capability;

  /** What is at `path`, symbolic links followed. Opens nothing, so that a FIFO cannot block it. */
  inspect(path: string): FileInfo;
  /** What `fd` is open on. */
  inspectOpen(fd: number): FileInfo;
  /**
   * Opens an existing file, close-on-exec.
   * @param exclusive of a block device: fail with EBUSY when the host uses it (a mounted file system, say). Linux only.
   */
  open(path: string, options: { write: boolean; exclusive?: boolean }): number;
  /** Makes a file of `size` bytes that takes no space; fails with EEXIST when there is one. */
  createSparse(path: string, size: number): void;
  close(fd: number): void;

  /**
   * One preadv: bytes read from `position` on, fewer than asked for at the end of the file or by chance, 0 at the end.
   */
  readv(fd: number, views: readonly NodeJS.ArrayBufferView[], position: number): number;
  /** One pwritev: bytes written, maybe fewer than asked for. */
  writev(fd: number, views: readonly NodeJS.ArrayBufferView[], position: number): number;
  /** All that was written, and the size, are on stable storage when it returns. */
  fdatasync(fd: number): void;

  /** Makes the file so many bytes long: what is added reads as zero and takes no space. */
  truncate(fd: number, size: number): void;

  /** The range reads as zero and takes no space; the file keeps its size. */
  punchHole(fd: number, offset: number, length: number): void;
  /** The range reads as zero and stays allocated; the file keeps its size. */
  zeroRange(fd: number, offset: number, length: number): void;
  /** Tells a block device that a range is not needed; it reads as anything afterwards. */
  discardDevice(fd: number, offset: number, length: number): void;
  /** Where the next data at or behind `offset` begins, -1 when there is none. */
  seekData(fd: number, offset: number): number;
  /** Where the next hole (or the end of the file) at or behind `offset` is, -1 when `offset` is not inside the file. */
  seekHole(fd: number, offset: number): number;

  /**
   * Takes an OFD lock without waiting; false when another open file has one in the way. It goes when the file is
   * closed.
   */
  lock(fd: number, start: number, length: number, exclusive: boolean): boolean;
  unlock(fd: number, start: number, length: number): void;
  /** Whether `lock` would succeed now. */
  testLock(fd: number, start: number, length: number, exclusive: boolean): boolean;
  /** The locks that anyone holds on the file, where the host lists them (Linux's /proc/locks); else none. */
  listLocks(file: FileInfo): { start: number; end: number }[];
}

/** One descriptor of HostEvents.poll: fd, POLL* bits wanted, POLL* bits that are so. */
export const POLL_WORDS = 3;
export const POLLIN = 0x1;
export const POLLOUT = 0x4;
export const POLLERR = 0x8;
export const POLLHUP = 0x10;
export const POLLNVAL = 0x20;

/** Doorbells shared with other processes. */
export interface HostEvents {
  readonly eventFds: Capability;
  /** An eventfd, counter 0, non-blocking, close-on-exec. */
  createEvent(): number;
  /** Takes the counter, leaving 0; 0n when nobody has rung. */
  readEvent(fd: number): bigint;
  /** Adds 1 to the counter. A full counter stays as it is: whoever reads it has been rung. */
  ringEvent(fd: number): void;
  /**
   * Waits until one of the descriptors is ready; nothing but its descriptors or the timeout ends the wait, so keep an
   * eventfd among them for whoever wants the thread to stop.
   *
   * @param entries POLL_WORDS words a descriptor, at most 1024 of them; a negative fd is passed over
   * @param timeout ms, -1 for ever
   * @returns how many are ready; may be 0 before the timeout
   */
  poll(entries: Int32Array, timeout: number): number;
}

/** A unix stream socket's messages with file descriptors (vhost-user). All descriptors are close-on-exec. */
export interface HostSockets {
  readonly descriptorPassing: Capability;
  /** A non-blocking socket that listens at `path`, which must be free (else EADDRINUSE), at most 107 bytes. */
  listenUnix(path: string, backlog: number): number;
  /** The next who has connected, non-blocking; null when there is none. */
  acceptUnix(fd: number): number | null;
  /** Connected and non-blocking. ENOENT, ECONNREFUSED: nobody listens; EAGAIN: too many wait. */
  connectUnix(path: string): number;
  /**
   * One sendmsg. The descriptors, at most 64, go with the first byte; the caller still owns them.
   *
   * @returns bytes sent, maybe fewer than given; null when the socket is full. EPIPE: the other side is gone
   */
  sendMessage(fd: number, bytes: Uint8Array, descriptors: Int32Array): number | null;
  /**
   * One recvmsg.
   *
   * @param descriptors gets the number of those that came, then them, which are the caller's; -1 for more than fit in, which
   *   are closed. At most 65 words
   * @returns bytes received, 0 when the other side has closed; null when there is nothing
   */
  receiveMessage(fd: number, bytes: Uint8Array, descriptors: Int32Array): number | null;
  /** Reads and writes of what `fd` is open on never wait from now on, in whatever process: for what others have given us. */
  setNonBlocking(fd: number): void;
}

/** Memory that another process has given us, and whose file it may make shorter at any time. */
export interface GuardedMappings {
  /**
   * The pages of `memory` at [offset, offset + length) become those of `fd` from `fileOffset` on, shared. What the file
   * loses later reads as zeroes.
   *
   * @param offset, length, fileOffset bytes, multiples of the host's page size
   * @returns a number for the mapping
   */
  mapGuarded(memory: WebAssembly.Memory, offset: number, length: number, fd: number, fileOffset: number): number;
  /** Whether something was touched that the file had lost. */
  guardFaulted(mapping: number): boolean;
  /** Its range is private zero pages again. */
  unmapGuarded(mapping: number): void;
}

/** Folders of the host, a step at a time and with no symbolic link followed (core/hostfs). */
export interface HostFolders {
  readonly folders: Capability;
  /** @throws HostError ENOTSUP where there are none */
  readonly folderCalls: FolderCalls;
}

/** Pseudo-terminals, for programs of the host to open. */
export interface HostTerminals {
  /**
   * A raw terminal: the descriptor of its master, which does not block, that of its slave, and the slave's path.
   *
   * @throws HostError ENOTSUP where there are none
   */
  openPty(): { master: number; slave: number; path: string };
}

export interface Host
  extends MemorySharing, HostFiles, HostEvents, HostSockets, GuardedMappings, HostFolders, HostTerminals {
  /** Makes the same host in another thread. */
  readonly spec: HostSpec;
}

/** An error of the host: node:fs's and the addon's have this shape. */
export interface HostError extends Error {
  code: string;
  errno?: number;
  syscall?: string;
}

/** False for Node's ERR_* too: those say that the call was wrong, not the host. */
export function isHostError(error: unknown): error is HostError {
  const code = error instanceof Error ? (error as Partial<HostError>).code : undefined;
  return typeof code === 'string' && !code.startsWith('ERR_');
}
