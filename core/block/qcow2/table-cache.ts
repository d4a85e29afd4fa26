/** Parts of L2 tables and refcount blocks, held in memory and written back in an order that their owner decides. */
import type { ImageFile } from '../image-file.ts';

/** Bytes of a part at most: little is read, and little written, for a change. */
const SLICE_BYTES = 4096;

export interface Slice {
  /** Where it is in the file. */
  readonly offset: number;
  readonly view: DataView<ArrayBuffer>;
  dirty: boolean;
}

export class TableCache {
  /** Bytes of a slice: a power of 2, at most a cluster. */
  readonly sliceBytes: number;
  readonly #file: ImageFile;
  readonly #max: number;
  readonly #makeClean: () => void;
  /** Least recently used first. */
  readonly #slices = new Map<number, Slice>();
  #dirty = 0;
  #last: Slice | null = null;

  /**
   * @param bytes of memory, at least; 16 slices it has in any case
   * @param makeClean writes what is dirty (write()) after whatever must be in the file before it
   */
  constructor(file: ImageFile, clusterSize: number, bytes: number, makeClean: () => void) {
    this.#file = file;
    this.sliceBytes = Math.min(clusterSize, SLICE_BYTES);
    this.#max = Math.max(16, Math.floor(bytes / this.sliceBytes));
    this.#makeClean = makeClean;
  }

  get dirty(): boolean {
    return this.#dirty > 0;
  }

  /** @param offset a multiple of sliceBytes */
  get(offset: number): Slice {
    if (this.#last?.offset === offset) return this.#last;
    let slice = this.#slices.get(offset);
    if (slice) {
      this.#slices.delete(offset);
    } else {
      this.#makeRoom();
      slice = { offset, view: new DataView(this.#file.read(this.sliceBytes, offset).buffer), dirty: false };
    }
    this.#slices.set(offset, slice);
    return (this.#last = slice);
  }

  /** To be called with every change. */
  touch(slice: Slice): void {
    if (slice.dirty) return;
    slice.dirty = true;
    this.#dirty++;
  }

  /** The range of the file is something else now: what is here of it is dropped, unwritten. */
  forget(offset: number, length: number): void {
    this.#last = null;
    if (length / this.sliceBytes > this.#slices.size) {
      for (const at of [...this.#slices.keys()]) if (at >= offset && at < offset + length) this.#drop(at);
      return;
    }
    for (let at = offset; at < offset + length; at += this.sliceBytes) this.#drop(at);
  }

  /** Forgets everything, changes too. */
  clear(): void {
    this.#slices.clear();
    this.#dirty = 0;
    this.#last = null;
  }

  /** Writes all changes, in the order of the file. What cannot be written stays changed. */
  write(): void {
    if (this.#dirty === 0) return;
    const changed = [...this.#slices.values()].filter(({ dirty }) => dirty).sort((a, b) => a.offset - b.offset);
    for (let first = 0, next; first < changed.length; first = next) {
      next = first + 1;
      while (next < changed.length && next - first < 256 && follows(changed[next - 1], changed[next])) next++;
      const run = changed.slice(first, next);
      this.#file.writev(
        run.map(({ view }) => new Uint8Array(view.buffer)),
        run[0].offset,
      );
      for (const slice of run) slice.dirty = false;
      this.#dirty -= run.length;
    }
  }

  #drop(offset: number): void {
    const slice = this.#slices.get(offset);
    if (!slice) return;
    if (slice.dirty) this.#dirty--;
    this.#slices.delete(offset);
  }

  #makeRoom(): void {
    if (this.#slices.size < this.#max) return;
    const oldest = this.#slices.values().next().value;
    if (!oldest) return;
    if (oldest.dirty) this.#makeClean();
    if (!oldest.dirty) this.#slices.delete(oldest.offset);
  }
}

function follows(before: Slice, after: Slice): boolean {
  return before.offset + before.view.byteLength === after.offset;
}
