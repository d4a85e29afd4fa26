/** A slot's words in shared memory, which harts and I/O workers use without asking the control thread (VQ_* in layout.ts). */
import {
  IOT_SLEEPING,
  IOT_WAKE,
  VIRTIO_BASE,
  VIRTIO_STRIDE,
  VQ_CONFIG_GENERATION,
  VQ_DOORBELL,
  VQ_DOORBELL_IOTHREAD,
  VQ_IRQ,
  VQ_NOTIFY_DATA,
  VQ_NUM_QUEUES,
  VQ_PRESENT,
} from '../../worker/layout.ts';

export class HotWords {
  readonly #memory: Int32Array<SharedArrayBuffer>;
  readonly #base: number;

  constructor(memory: WebAssembly.Memory, slot: number) {
    this.#memory = new Int32Array(
      memory.buffer as SharedArrayBuffer,
      0,
      (VIRTIO_BASE + (slot + 1) * VIRTIO_STRIDE) / 4,
    );
    this.#base = VIRTIO_BASE + slot * VIRTIO_STRIDE;
  }

  /** @param waitBlocks of the workers that serve the queues, by queue; 0 for none */
  plug(irq: number, waitBlocks: readonly number[]): void {
    this.#store(VQ_IRQ, irq);
    this.#store(VQ_CONFIG_GENERATION, 0);
    for (const [queue, waitBlock] of waitBlocks.entries()) this.#store(VQ_DOORBELL_IOTHREAD + 4 * queue, waitBlock);
    this.#store(VQ_NUM_QUEUES, waitBlocks.length);
    this.#store(VQ_PRESENT, 1);
  }

  /** Whether harts serve the registers that they can serve by themselves; else all accesses come to the control thread. */
  serve(served: boolean): void {
    if (this.#load(VQ_NUM_QUEUES) > 0) this.#store(VQ_PRESENT, served ? 1 : 0);
  }

  unplug(): void {
    this.#store(VQ_PRESENT, 0);
    this.#store(VQ_NUM_QUEUES, 0);
  }

  get configGeneration(): number {
    return this.#load(VQ_CONFIG_GENERATION) >>> 0;
  }

  nextConfigGeneration(): void {
    Atomics.add(this.#memory, this.#word(VQ_CONFIG_GENERATION), 1);
  }

  /** Counts a queue's notifications, modulo 2^32. */
  doorbell(queue: number): number {
    return this.#load(VQ_DOORBELL + 4 * queue);
  }

  /** All notifications of the first `queues` queues, modulo 2^32. */
  doorbells(queues: number): number {
    let all = 0;
    for (let queue = 0; queue < queues; queue++) all = (all + this.doorbell(queue)) | 0;
    return all >>> 0;
  }

  /**
   * Notifies a queue, as a hart does it (mmio-hot.as.ts).
   *
   * @param value what the driver wrote; with VIRTIO_F_NOTIFICATION_DATA the upper half is the position in the ring
   */
  notify(value: number, queue = value & 0xffff): void {
    if (queue >= this.#load(VQ_NUM_QUEUES)) return;
    this.#store(VQ_NOTIFY_DATA + 4 * queue, value | 0);
    Atomics.add(this.#memory, this.#word(VQ_DOORBELL + 4 * queue), 1);
    const waitBlock = this.#load(VQ_DOORBELL_IOTHREAD + 4 * queue);
    if (waitBlock === 0) return;
    Atomics.add(this.#memory, (waitBlock + IOT_WAKE) / 4, 1);
    if (Atomics.load(this.#memory, (waitBlock + IOT_SLEEPING) / 4) !== 0) {
      Atomics.notify(this.#memory, (waitBlock + IOT_WAKE) / 4);
    }
  }

  /** What the driver last wrote to QueueNotify for a queue: its position in the upper half (section 2.9). */
  notifyData(queue: number): number {
    return this.#load(VQ_NOTIFY_DATA + 4 * queue) >>> 0;
  }

  #word(offset: number): number {
    return (this.#base + offset) / 4;
  }

  #load(offset: number): number {
    return Atomics.load(this.#memory, this.#word(offset));
  }

  #store(offset: number, value: number): void {
    Atomics.store(this.#memory, this.#word(offset), value);
  }
}
