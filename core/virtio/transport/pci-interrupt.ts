/** How a virtio-pci device interrupts: by the MSI-X vector of the queue, or by INTx and ISR status (virtio 1.3, 4.1.5). */
import { MsixVectors } from '../../pci/msix-vectors.ts';
import {
  VIRTIO_BASE,
  VIRTIO_STRIDE,
  VQ_CONFIG_VECTOR,
  VQ_INTX_GATE,
  VQ_ISR,
  VQ_QUEUE_VECTOR,
} from '../../worker/layout.ts';
import { ISR_CONFIG_CHANGE, ISR_USED_BUFFER } from '../spec/mmio.ts';
import { InterruptLine } from './interrupt.ts';
import type { InterruptSink } from './interrupt.ts';

export class PciInterrupt extends InterruptLine {
  readonly vectors: MsixVectors;
  readonly #vectors: Uint16Array<SharedArrayBuffer>;
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** @param irq the INTx input */
  constructor(memory: WebAssembly.Memory, slot: number, irq: number, sink: InterruptSink) {
    super(memory, slot, irq, sink);
    const buffer = memory.buffer as SharedArrayBuffer;
    const base = VIRTIO_BASE + slot * VIRTIO_STRIDE;
    this.vectors = MsixVectors.ofSlot(memory, slot, sink);
    this.#words = new Int32Array(buffer, base, VIRTIO_STRIDE / 4);
    this.#vectors = new Uint16Array(buffer, base, VIRTIO_STRIDE / 2);
  }

  get configVector(): number {
    return Atomics.load(this.#words, VQ_CONFIG_VECTOR / 4);
  }

  set configVector(vector: number) {
    Atomics.store(this.#words, VQ_CONFIG_VECTOR / 4, vector);
  }

  queueVector(queue: number): number {
    return Atomics.load(this.#vectors, VQ_QUEUE_VECTOR / 2 + queue);
  }

  setQueueVector(queue: number, vector: number): void {
    Atomics.store(this.#vectors, VQ_QUEUE_VECTOR / 2 + queue, vector);
  }

  /** Whether ISR status may assert INTx: MSI-X is not enabled, nor is the pin disabled. */
  set intxGate(open: boolean) {
    Atomics.store(this.#words, VQ_INTX_GATE / 4, open ? 1 : 0);
    this.follow();
  }

  /** Reads ISR status, which clears it. */
  take(): number {
    const bits = Atomics.exchange(this.#words, VQ_ISR / 4, 0);
    if (bits !== 0) this.follow();
    return bits;
  }

  override usedBuffer(queue: number): void {
    if (this.vectors.enabled) this.vectors.fire(this.queueVector(queue));
    else this.raise(ISR_USED_BUFFER);
  }

  override configChange(): void {
    // Section 4.1.4.5.1: the bit is set whether or not there are vectors.
    this.raise(ISR_CONFIG_CHANGE);
    if (this.vectors.enabled) this.vectors.fire(this.configVector);
  }

  protected override level(): number {
    return this.status !== 0 && Atomics.load(this.#words, VQ_INTX_GATE / 4) !== 0 ? 1 : 0;
  }
}
