/**
 * How a device interrupts its driver. Any thread may have its own instance over the same shared words: I/O workers raise,
 * harts and the control thread acknowledge.
 */
import { VIRTIO_BASE, VIRTIO_STRIDE, VQ_ISR } from '../../worker/layout.ts';
import { ISR_CONFIG_CHANGE, ISR_USED_BUFFER } from '../spec/mmio.ts';

/** The wires of the interrupt controller. */
export interface IrqSink {
  /** Drives input `irq` to `level`, 0 or 1. */
  setIrq(irq: number, level: number): void;
}

/** Who receives message-signalled interrupts. */
export interface MsiSink {
  /** A device's write of 32-bit `data` to guest physical `address`; dropped where no interrupt controller is. */
  writeMsi(address: number, data: number): void;
}

export type InterruptSink = IrqSink & MsiSink;

/** What an I/O worker makes a device's Interrupt of; survives structured clone. */
export interface InterruptSpec {
  /**
   * line: high while InterruptStatus is not 0. pci: MSI-X vectors, or else INTx. call: eventfds, for a driver in another
   * process.
   */
  readonly kind: 'line' | 'pci' | 'call';
  /** The input of the interrupt controller; 0 for calls. */
  readonly irq: number;
}

export interface Interrupt {
  /** ISR_* bits. */
  readonly status: number;
  /** Used buffer notification (section 2.3) of a queue. */
  usedBuffer(queue: number): void;
  /** Configuration change notification. */
  configChange(): void;
  /** Clears ISR_* bits. */
  acknowledge(bits: number): void;
  clear(): void;
}

/** A slot's InterruptStatus word and a line that follows it (virtio 1.3, sections 4.2.2 and 4.2.3.4). */
export class InterruptLine implements Interrupt {
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

  get status(): number {
    return Atomics.load(this.#words, VQ_ISR / 4);
  }

  usedBuffer(_queue: number): void {
    this.raise(ISR_USED_BUFFER);
  }

  configChange(): void {
    this.raise(ISR_CONFIG_CHANGE);
  }

  /** Sets ISR_* bits and so asserts the line. */
  raise(bits: number): void {
    const before = Atomics.or(this.#words, VQ_ISR / 4, bits);
    // Whoever set the first bit has driven the line, or is about to.
    if (before === 0) this.follow();
  }

  acknowledge(bits: number): void {
    Atomics.and(this.#words, VQ_ISR / 4, ~bits);
    this.follow();
  }

  clear(): void {
    Atomics.store(this.#words, VQ_ISR / 4, 0);
    this.follow();
  }

  /** What the line is to be now. */
  protected level(): number {
    return this.status === 0 ? 0 : 1;
  }

  /**
   * Drives the line as the words say, and again when they have changed meanwhile: others raise and acknowledge at the
   * same time, and the last to drive the line must have seen the last value.
   */
  follow(): void {
    let level: number;
    do {
      level = this.level();
      this.#sink.setIrq(this.#irq, level);
    } while (this.level() !== level);
  }
}
