/**
 * A function's MSI-X vectors as words that threads share (PCI 3.0, section 6.8.2): the control thread writes the table and
 * the enable bits, whoever has an event for the driver fires a vector, and a vector that is masked is left pending.
 */
import type { MsiSink } from '../virtio/transport/interrupt.ts';
import { MSIX_BASE, MSIX_MAX_VECTORS, MSIX_PBA, MSIX_STATE, MSIX_STRIDE } from '../worker/layout.ts';
import { MSIX_ENTRY_ADDRESS, MSIX_ENTRY_CONTROL, MSIX_ENTRY_DATA, MSIX_ENTRY_MASKED, MSIX_ENTRY_SIZE } from './spec.ts';

/** The MSI-X Enable bit. */
export const MSIX_ENABLED = 1;
/** The Function Mask bit. */
export const MSIX_FUNCTION_MASK = 2;
/** The function may write to memory (Bus Master Enable). */
export const MSIX_BUS_MASTER = 4;

const CAN_SEND = MSIX_ENABLED | MSIX_BUS_MASTER;

export class MsixVectors {
  readonly #words: Int32Array<SharedArrayBuffer | ArrayBuffer>;
  readonly #sink: MsiSink;

  /** Over a block of MSIX_STRIDE bytes. */
  constructor(words: Int32Array<SharedArrayBuffer | ArrayBuffer>, sink: MsiSink) {
    this.#words = words;
    this.#sink = sink;
  }

  /** Those of a virtio slot. */
  static ofSlot(memory: WebAssembly.Memory, slot: number, sink: MsiSink): MsixVectors {
    const buffer = memory.buffer as SharedArrayBuffer;
    return new MsixVectors(new Int32Array(buffer, MSIX_BASE + slot * MSIX_STRIDE, MSIX_STRIDE / 4), sink);
  }

  /** Those of a function that only the control thread knows. */
  static own(sink: MsiSink): MsixVectors {
    return new MsixVectors(new Int32Array(MSIX_STRIDE / 4), sink);
  }

  /** MSIX_* bits. */
  get state(): number {
    return Atomics.load(this.#words, MSIX_STATE / 4);
  }

  set state(bits: number) {
    Atomics.store(this.#words, MSIX_STATE / 4, bits);
    if (bits & MSIX_ENABLED && !(bits & MSIX_FUNCTION_MASK)) {
      for (let vector = 0; vector < MSIX_MAX_VECTORS; vector++) this.#deliverPending(vector);
    }
  }

  get enabled(): boolean {
    return (this.state & MSIX_ENABLED) !== 0;
  }

  /** A word of the table; `offset` a multiple of 4. */
  readTable(offset: number): number {
    return Atomics.load(this.#words, offset / 4) >>> 0;
  }

  writeTable(offset: number, value: number): void {
    const isControl = offset % MSIX_ENTRY_SIZE === MSIX_ENTRY_CONTROL;
    Atomics.store(this.#words, offset / 4, isControl ? value & MSIX_ENTRY_MASKED : value | 0);
    if (isControl) this.#deliverPending(Math.floor(offset / MSIX_ENTRY_SIZE));
  }

  /** A word of the pending bits. */
  readPending(offset: number): number {
    return Atomics.load(this.#words, (MSIX_PBA + offset) / 4) >>> 0;
  }

  /** Sends the vector's message, or leaves it pending. Any thread. A vector that there is not is no vector. */
  fire(vector: number): void {
    if (vector >= MSIX_MAX_VECTORS || (this.state & CAN_SEND) !== CAN_SEND) return;
    if (!this.#isMasked(vector) && this.#send(vector)) return;
    Atomics.or(this.#words, MSIX_PBA / 4 + (vector >>> 5), 1 << (vector & 31));
    // Who unmasked it meanwhile may have looked before the bit was set.
    this.#deliverPending(vector);
  }

  /** Drops a pending message (a vector that is no longer used). */
  clearPending(vector: number): void {
    if (vector < MSIX_MAX_VECTORS) Atomics.and(this.#words, MSIX_PBA / 4 + (vector >>> 5), ~(1 << (vector & 31)));
  }

  /** All vectors masked, none pending, nothing enabled. */
  reset(): void {
    for (let word = 0; word < this.#words.length; word++) Atomics.store(this.#words, word, 0);
    for (let vector = 0; vector < MSIX_MAX_VECTORS; vector++) {
      Atomics.store(this.#words, (vector * MSIX_ENTRY_SIZE + MSIX_ENTRY_CONTROL) / 4, MSIX_ENTRY_MASKED);
    }
  }

  #isMasked(vector: number): boolean {
    return (
      (this.state & MSIX_FUNCTION_MASK) !== 0 || (this.#entry(vector, MSIX_ENTRY_CONTROL) & MSIX_ENTRY_MASKED) !== 0
    );
  }

  #deliverPending(vector: number): void {
    const bit = 1 << (vector & 31);
    const word = MSIX_PBA / 4 + (vector >>> 5);
    if (!(Atomics.load(this.#words, word) & bit) || this.#isMasked(vector)) return;
    if ((Atomics.and(this.#words, word, ~bit) & bit) === 0) return;
    if (!this.#send(vector)) Atomics.or(this.#words, word, bit);
  }

  /** False: the vector was masked while its message was being read, and might have been half rewritten. */
  #send(vector: number): boolean {
    const low = this.#entry(vector, MSIX_ENTRY_ADDRESS);
    const high = this.#entry(vector, MSIX_ENTRY_ADDRESS + 4);
    const data = this.#entry(vector, MSIX_ENTRY_DATA);
    if (this.#isMasked(vector)) return false;
    this.#sink.writeMsi(high * 2 ** 32 + low, data);
    return true;
  }

  #entry(vector: number, offset: number): number {
    return Atomics.load(this.#words, (vector * MSIX_ENTRY_SIZE + offset) / 4) >>> 0;
  }
}
