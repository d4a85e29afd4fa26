/** The file of an image that is more than its sectors: it grows, and reads as zero behind its end. */
import type { Host } from '../host/host.ts';
import { isHostError } from '../host/host.ts';
import { DiskError, diskError } from './errors.ts';
import type { DiskOperation } from './errors.ts';
import { SharedFlush } from './shared-flush.ts';
import { totalLength, window } from './views.ts';

/** No more than this goes into one system call: hosts differ in what they take, and all take this. */
const MAX_TRANSFER = 2 ** 30;

/** An open file on its way to another thread; survives structured clone. */
export interface FileHandle {
  /** Host path, for messages. */
  readonly file: string;
  /** File descriptors belong to the process, not to the thread. */
  readonly fd: number;
  readonly writable: boolean;
  /** Holes can be punched. */
  readonly holes: boolean;
  /** SharedFlush. */
  readonly flushState: SharedArrayBuffer;
}

/** Calls throw DiskError with what the host said. */
export class ImageFile {
  readonly handle: FileHandle;
  readonly #host: Host;
  readonly #flushes: SharedFlush;
  /** Something was written, or a hole punched, since the last flush that succeeded. */
  #unsynced = true;
  #noPunch: boolean;
  #end: number | null = null;

  constructor(handle: FileHandle, host: Host) {
    this.handle = handle;
    this.#host = host;
    this.#flushes = new SharedFlush(handle.flushState);
    this.#noPunch = !handle.holes;
  }

  get file(): string {
    return this.handle.file;
  }

  /** Bytes; as it was when first asked, with what this object has done to it since. */
  get size(): number {
    return (this.#end ??= this.#host.inspectOpen(this.handle.fd).size);
  }

  /** Bytes that the host likes to be given at a time. */
  get preferredBlockSize(): number {
    return this.#host.inspectOpen(this.handle.fd).preferredBlockSize;
  }

  read(length: number, offset: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    this.readv([bytes], offset);
    return bytes;
  }

  readv(views: readonly Uint8Array[], offset: number): void {
    const total = totalLength(views);
    let left = total <= MAX_TRANSFER ? views : window(views, 0, MAX_TRANSFER);
    for (let done = 0; done < total; left = window(views, done, MAX_TRANSFER)) {
      const moved = this.#call('read', () => this.#host.readv(this.handle.fd, left, offset + done));
      if (moved === 0) {
        for (const view of window(views, done, total - done)) view.fill(0);
        return;
      }
      done += moved ?? 0;
      if (done === total) return;
    }
  }

  write(bytes: Uint8Array, offset: number): void {
    this.writev([bytes], offset);
  }

  writev(views: readonly Uint8Array[], offset: number): void {
    this.#checkWritable('write');
    const total = totalLength(views);
    const end = this.size;
    this.#unsynced = true;
    let left = total <= MAX_TRANSFER ? views : window(views, 0, MAX_TRANSFER);
    for (let done = 0; done < total; left = window(views, done, MAX_TRANSFER)) {
      const moved = this.#call('write', () => this.#host.writev(this.handle.fd, left, offset + done));
      if (moved === 0)
        throw new DiskError('write', this.file, 'EIO', `the host writes nothing at byte ${offset + done}.`);
      done += moved ?? 0;
      if (offset + done > end) this.#end = offset + done;
      if (done === total) return;
    }
  }

  /**
   * All that was written is on stable storage when it returns. Once it has failed it fails for good, on every thread
   * that has the file.
   */
  flush(): void {
    if (!this.handle.writable) return;
    this.#flushes.flush(this.file, () => this.#host.fdatasync(this.handle.fd));
    this.#unsynced = false;
  }

  /** A flush, if anything was written since the last. */
  barrier(): void {
    if (this.#unsynced) this.flush();
  }

  /** Gives space back: the range reads as zero. False where the host cannot. */
  punch(offset: number, length: number): boolean {
    if (this.#noPunch) return false;
    this.#checkWritable('discard');
    try {
      this.#host.punchHole(this.handle.fd, offset, length);
    } catch (error) {
      const code = isHostError(error) ? error.code : '';
      if (code !== 'EOPNOTSUPP' && code !== 'ENOSYS' && code !== 'ENOTSUP')
        throw diskError('discard', this.file, error);
      this.#noPunch = true;
      return false;
    }
    this.#unsynced = true;
    return true;
  }

  /** Where data and holes are: the first byte at or behind `offset` that may not be zero, or null when all is hole. */
  nextData(offset: number): number | null {
    if (!this.#host.holes.available) return offset;
    const found = this.#host.seekData(this.handle.fd, offset);
    return found < 0 ? null : found;
  }

  /** Where the hole at or behind `offset` begins; the end of the file is one. */
  nextHole(offset: number): number {
    if (!this.#host.holes.available) return this.size;
    const found = this.#host.seekHole(this.handle.fd, offset);
    return found < 0 ? this.size : found;
  }

  truncate(size: number): void {
    this.#checkWritable('resize');
    this.#call('resize', () => this.#host.truncate(this.handle.fd, size));
    this.#end = size;
    this.#unsynced = true;
  }

  /** undefined when a signal came in between. */
  #call<T>(operation: DiskOperation, act: () => T): T | undefined {
    try {
      return act();
    } catch (error) {
      if (isHostError(error) && error.code === 'EINTR') return undefined;
      throw diskError(operation, this.file, error);
    }
  }

  #checkWritable(operation: DiskOperation): void {
    if (!this.handle.writable) throw new DiskError(operation, this.file, 'EROFS', 'it is open read-only.');
  }
}
