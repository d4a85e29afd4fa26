/**
 * In place of the interrupt controller: levels and rising edges of each source, inputs of the INTx lines, and the last
 * messages (MSI), as words in the PLIC's own part of shared memory.
 */
import { PCIE_IRQ } from '../../core/machine/virt-map.ts';
import { INTX_INPUT, INTX_LINE_INPUTS, INTX_LINES } from '../../core/pci/intx.ts';
import { DEVICE_BASE, DEV_PLIC } from '../../core/worker/layout.ts';
import type { InterruptSink } from '../../core/virtio/transport/interrupt.ts';

const SOURCES = 96;
/** Messages that are kept. */
const MESSAGES = 256;

export interface MsiMessage {
  readonly address: number;
  readonly data: number;
}

export class IrqDouble implements InterruptSink {
  readonly #levels: Int32Array<SharedArrayBuffer>;
  readonly #edges: Int32Array<SharedArrayBuffer>;
  readonly #inputs: Int32Array<SharedArrayBuffer>;
  /** A counter, then address (low, high) and data of each message. */
  readonly #messages: Int32Array<SharedArrayBuffer>;

  constructor(memory: WebAssembly.Memory) {
    const buffer = memory.buffer as SharedArrayBuffer;
    let at = DEVICE_BASE + DEV_PLIC;
    const words = (count: number): Int32Array<SharedArrayBuffer> => {
      at += 4 * count;
      return new Int32Array(buffer, at - 4 * count, count);
    };
    this.#levels = words(SOURCES);
    this.#edges = words(SOURCES);
    this.#inputs = words(INTX_LINES * INTX_LINE_INPUTS);
    this.#messages = words(1 + 3 * MESSAGES);
  }

  setIrq(irq: number, level: number): void {
    if (irq < INTX_INPUT) {
      if (Atomics.exchange(this.#levels, irq, level) === 0 && level === 1) Atomics.add(this.#edges, irq, 1);
      return;
    }
    Atomics.store(this.#inputs, irq - INTX_INPUT, level);
    const line = Math.floor((irq - INTX_INPUT) / INTX_LINE_INPUTS);
    const inputs = this.#inputs.subarray(line * INTX_LINE_INPUTS, (line + 1) * INTX_LINE_INPUTS);
    this.setIrq(PCIE_IRQ + line, inputs.some((input) => input !== 0) ? 1 : 0);
  }

  writeMsi(address: number, data: number): void {
    const at = 1 + 3 * (Atomics.load(this.#messages, 0) % MESSAGES);
    this.#messages[at] = address | 0;
    this.#messages[at + 1] = Math.floor(address / 2 ** 32);
    this.#messages[at + 2] = data | 0;
    Atomics.add(this.#messages, 0, 1);
  }

  /** Messages so far. */
  get messages(): number {
    return Atomics.load(this.#messages, 0);
  }

  level(irq: number): number {
    return Atomics.load(this.#levels, irq);
  }

  edges(irq: number): number {
    return Atomics.load(this.#edges, irq);
  }

  /** Messages sent since the last call, oldest first; at most the last 256. From one thread at a time they are in order. */
  takeMessages(): MsiMessage[] {
    const count = Math.min(Atomics.exchange(this.#messages, 0, 0), MESSAGES);
    return Array.from({ length: count }, (_, i) => {
      const [low, high, data] = this.#messages.subarray(1 + 3 * i, 4 + 3 * i);
      return { address: high * 2 ** 32 + (low >>> 0), data: data >>> 0 };
    });
  }
}
