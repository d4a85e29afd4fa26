/**
 * A device's interrupt: the InterruptStatus word, which harts read and acknowledge themselves, and the line of the
 * interrupt controller that follows it (virtio 1.3, sections 4.2.2 and 4.2.3.4). Any thread may have its own instance.
 */
import { VIRTIO_BASE, VIRTIO_STRIDE, VQ_ISR } from '../../worker/layout.ts';

/** The interrupt controller: drives source `irq` to `level` (0 or 1). */
export interface IrqSink {
  setIrq(irq: number, level: number): void;
}

export class InterruptLine {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #irq: number;
  readonly #sink: IrqSink;

  constructor(memory: WebAssembly.Memory, slot: number, irq: number, sink: IrqSink) {
    this.#words = new Int32Array(
      memory.buffer as SharedArrayBuffer,
      VIRTIO_BASE + slot * VIRTIO_STRIDE,
      VIRTIO_STRIDE / 4,
    );
    this.#irq = irq;
    this.#sink = sink;
  }

  /** InterruptStatus. */
  get status(): number {
    return Atomics.load(this.#words, VQ_ISR / 4);
  }

  /** Sets ISR_* bits and so asserts the line. */
  raise(bits: number): void {
    const before = Atomics.or(this.#words, VQ_ISR / 4, bits);
    // Whoever set the first bit has driven the line, or is about to.
    if (before === 0) this.#follow();
  }

  /** InterruptACK. */
  acknowledge(bits: number): void {
    Atomics.and(this.#words, VQ_ISR / 4, ~bits);
    this.#follow();
  }

  clear(): void {
    Atomics.store(this.#words, VQ_ISR / 4, 0);
    this.#follow();
  }

  /**
   * Drives the line as the word says, and again when the word has changed meanwhile: others raise and acknowledge at the
   * same time, and the last to drive the line must have seen the last value.
   */
  #follow(): void {
    let level: number;
    do {
      level = this.status === 0 ? 0 : 1;
      this.#sink.setIrq(this.#irq, level);
    } while ((this.status === 0 ? 0 : 1) !== level);
  }
}
