/** In place of the PLIC: levels and rising edges of each source as words in the PLIC's own part of shared memory. */
import { DEVICE_BASE, DEV_PLIC } from '../../core/worker/layout.ts';
import type { IrqSink } from '../../core/virtio/transport/interrupt.ts';

const SOURCES = 96;

export class IrqDouble implements IrqSink {
  readonly #levels: Int32Array<SharedArrayBuffer>;
  readonly #edges: Int32Array<SharedArrayBuffer>;

  constructor(memory: WebAssembly.Memory) {
    const buffer = memory.buffer as SharedArrayBuffer;
    this.#levels = new Int32Array(buffer, DEVICE_BASE + DEV_PLIC, SOURCES);
    this.#edges = new Int32Array(buffer, DEVICE_BASE + DEV_PLIC + 4 * SOURCES, SOURCES);
  }

  setIrq(irq: number, level: number): void {
    if (Atomics.exchange(this.#levels, irq, level) === 0 && level === 1) Atomics.add(this.#edges, irq, 1);
  }

  level(irq: number): number {
    return Atomics.load(this.#levels, irq);
  }

  edges(irq: number): number {
    return Atomics.load(this.#edges, irq);
  }
}
