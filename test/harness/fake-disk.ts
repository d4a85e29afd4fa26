/** A disk in shared memory that fails and waits as the test says, from whichever thread it is used. */
import type { Disk, RawHandle } from '../../core/block/disk.ts';
import { DiskError } from '../../core/block/errors.ts';
import type { DiskOperation } from '../../core/block/errors.ts';
import { createFlushState } from '../../core/block/shared-flush.ts';

// Control words.
const FAILURES = 0;
const FAIL_CODE = 1;
const FAIL_OPERATION = 2;
/** 1: operations wait until it is 0. */
const GATE = 3;
const WAITING = 4;
const COUNT = 5;

const CODES = ['EIO', 'ENOSPC', 'EDQUOT'] as const;
const OPERATIONS: readonly DiskOperation[] = ['read', 'write', 'flush', 'discard', 'write zeroes to'];

export interface FakeDiskHandle extends RawHandle {
  readonly fake: { data: SharedArrayBuffer; control: SharedArrayBuffer };
}

export interface FakeDiskOptions {
  size?: number;
  readonly?: boolean;
}

export class FakeDisk implements Disk {
  readonly handle: FakeDiskHandle;
  readonly file = 'fake.img';
  readonly size: number;
  readonly readonly: boolean;
  readonly canDiscard: boolean;
  readonly canWriteZeroes: boolean;
  readonly blockSize = 512;
  readonly discardGranularity = 4096;
  /** The bytes of the disk. */
  readonly data: Uint8Array<SharedArrayBuffer>;
  readonly #control: Int32Array<SharedArrayBuffer>;

  static create({ size = 1 << 20, readonly = false }: FakeDiskOptions = {}): FakeDisk {
    return new FakeDisk({
      format: 'raw',
      file: 'fake.img',
      fd: -1,
      kind: 'file',
      size,
      readonly,
      discard: !readonly,
      discardGranularity: 4096,
      flushState: createFlushState(),
      fake: { data: new SharedArrayBuffer(size), control: new SharedArrayBuffer(4 * (COUNT + OPERATIONS.length)) },
    });
  }

  constructor(handle: FakeDiskHandle) {
    this.handle = handle;
    this.size = handle.size;
    this.readonly = handle.readonly;
    this.canDiscard = handle.discard;
    this.canWriteZeroes = !handle.readonly;
    this.data = new Uint8Array(handle.fake.data);
    this.#control = new Int32Array(handle.fake.control);
  }

  // ---- what tests do ------------------------------------------------------------------------------------------------

  /** The next `times` operations of the kind fail. */
  fail(operation: DiskOperation, code: (typeof CODES)[number], times = 1): void {
    Atomics.store(this.#control, FAIL_OPERATION, OPERATIONS.indexOf(operation));
    Atomics.store(this.#control, FAIL_CODE, CODES.indexOf(code));
    Atomics.store(this.#control, FAILURES, times);
  }

  /** Makes operations wait inside the disk. */
  shutGate(): void {
    Atomics.store(this.#control, GATE, 1);
  }

  openGate(): void {
    Atomics.store(this.#control, GATE, 0);
    Atomics.notify(this.#control, GATE);
  }

  /** An operation waits at the gate. */
  get waiting(): boolean {
    return Atomics.load(this.#control, WAITING) > 0;
  }

  /** How many operations of the kind there were, failed ones included. */
  count(operation: DiskOperation): number {
    return Atomics.load(this.#control, COUNT + OPERATIONS.indexOf(operation));
  }

  // ---- Disk ---------------------------------------------------------------------------------------------------------

  readv(views: readonly Uint8Array[], offset: number): void {
    this.#enter('read');
    let at = offset;
    for (const view of views) {
      view.set(this.data.subarray(at, at + view.length));
      at += view.length;
    }
  }

  writev(views: readonly Uint8Array[], offset: number): void {
    this.#enter('write');
    let at = offset;
    for (const view of views) {
      this.data.set(view, at);
      at += view.length;
    }
  }

  flush(): void {
    this.#enter('flush');
  }

  discard(offset: number, length: number): void {
    this.#enter('discard');
    this.data.fill(0xdd, offset, offset + length);
  }

  writeZeroes(offset: number, length: number, _unmap: boolean): void {
    this.#enter('write zeroes to');
    this.data.fill(0, offset, offset + length);
  }

  close(): void {}

  #enter(operation: DiskOperation): void {
    const kind = OPERATIONS.indexOf(operation);
    Atomics.add(this.#control, COUNT + kind, 1);
    Atomics.add(this.#control, WAITING, 1);
    while (Atomics.load(this.#control, GATE) === 1) Atomics.wait(this.#control, GATE, 1);
    Atomics.sub(this.#control, WAITING, 1);
    if (Atomics.load(this.#control, FAIL_OPERATION) !== kind || Atomics.load(this.#control, FAILURES) === 0) return;
    Atomics.sub(this.#control, FAILURES, 1);
    const code = CODES[Atomics.load(this.#control, FAIL_CODE)];
    throw new DiskError(operation, this.file, code, `the test says ${code}`);
  }
}
