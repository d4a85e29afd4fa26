/**
 * Which buffers of a split queue the device has, in memory that outlives the process: after a crash the next one takes them
 * again, each once, in the order in which they were taken (vhost-user: "Inflight I/O tracking", struct QueueRegionSplit).
 */

/** Where the log of a queue is; survives structured clone. */
export interface InflightSpec {
  readonly memory: WebAssembly.Memory;
  /** Of the queue's part, bytes; a multiple of 64. */
  readonly offset: number;
}

const VERSION = 1;
// struct QueueRegionSplit, in 16-bit words: u64 features, then these, then the entries.
const H_VERSION = 4;
const H_DESC_NUM = 5;
const H_LAST_BATCH_HEAD = 6;
const H_USED_IDX = 7;
const HEADER_BYTES = 16;
// struct DescStateSplit: a byte, padding, u16 next, u64 counter.
const ENTRY_BYTES = 16;
const E_INFLIGHT = 0;
const E_NEXT = 6;
const E_COUNTER = 8;
const ALIGNMENT = 64;

/** Bytes for a queue of `size` entries. */
export function inflightBytes(size: number): number {
  return Math.ceil((HEADER_BYTES + size * ENTRY_BYTES) / ALIGNMENT) * ALIGNMENT;
}

export class InflightLog {
  readonly #size: number;
  readonly #header: Uint16Array;
  readonly #entries: DataView;
  #counter = 0n;
  /** Heads of the buffers that were used since the last publish. */
  #batch: number[] = [];

  constructor({ memory, offset }: InflightSpec, size: number) {
    const { buffer } = memory;
    this.#size = size;
    this.#header = new Uint16Array(buffer, offset, HEADER_BYTES / 2);
    this.#entries = new DataView(buffer, offset + HEADER_BYTES, size * ENTRY_BYTES);
  }

  /**
   * What an earlier process had taken and not used.
   *
   * @param usedIdx of the used ring as it is
   * @returns heads in the order in which they were taken; the device has them again
   */
  recover(usedIdx: number): number[] {
    const header = this.#header;
    if (header[H_VERSION] !== VERSION || header[H_DESC_NUM] !== this.#size) {
      this.#begin(usedIdx);
      return [];
    }
    // The driver has been shown a batch, and the log does not know yet.
    let left = Math.min((usedIdx - header[H_USED_IDX]) & 0xffff, this.#size);
    for (let head = header[H_LAST_BATCH_HEAD]; left > 0 && head < this.#size; left--) {
      this.#entries.setUint8(head * ENTRY_BYTES + E_INFLIGHT, 0);
      head = this.#entries.getUint16(head * ENTRY_BYTES + E_NEXT, true);
    }
    header[H_USED_IDX] = usedIdx;
    const found: { head: number; counter: bigint }[] = [];
    for (let head = 0; head < this.#size; head++) {
      if (this.#entries.getUint8(head * ENTRY_BYTES + E_INFLIGHT) === 0) continue;
      found.push({ head, counter: this.#entries.getBigUint64(head * ENTRY_BYTES + E_COUNTER, true) });
    }
    found.sort((a, b) => (a.counter < b.counter ? -1 : 1));
    this.#counter = (found.at(-1)?.counter ?? 0n) + 1n;
    return found.map(({ head }) => head);
  }

  #begin(usedIdx: number): void {
    const header = this.#header;
    new Uint8Array(this.#entries.buffer, this.#entries.byteOffset, this.#entries.byteLength).fill(0);
    header[H_DESC_NUM] = this.#size;
    header[H_LAST_BATCH_HEAD] = 0;
    header[H_USED_IDX] = usedIdx;
    header[H_VERSION] = VERSION;
  }

  /** The device has a buffer. */
  taken(head: number): void {
    this.#entries.setBigUint64(head * ENTRY_BYTES + E_COUNTER, this.#counter++, true);
    this.#entries.setUint8(head * ENTRY_BYTES + E_INFLIGHT, 1);
  }

  /** It has given it back unused. */
  returned(head: number): void {
    this.#entries.setUint8(head * ENTRY_BYTES + E_INFLIGHT, 0);
  }

  /** A used entry has been written, which the driver cannot see yet. */
  using(head: number): void {
    this.#entries.setUint16(head * ENTRY_BYTES + E_NEXT, this.#header[H_LAST_BATCH_HEAD], true);
    this.#header[H_LAST_BATCH_HEAD] = head;
    this.#batch.push(head);
  }

  /** The driver sees all that were used. */
  published(usedIdx: number): void {
    for (const head of this.#batch) this.#entries.setUint8(head * ENTRY_BYTES + E_INFLIGHT, 0);
    this.#batch = [];
    this.#header[H_USED_IDX] = usedIdx;
  }
}
