/** The control thread's view of the machine's shared control words and hart blocks (core/worker/layout.ts). */
import * as L from '../worker/layout.ts';

export class ControlPage {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly #data: DataView<SharedArrayBuffer>;

  constructor(memory: WebAssembly.Memory) {
    const buffer = memory.buffer as SharedArrayBuffer;
    // The core's own state only: guest RAM is looked at through GuestMemory.
    this.words = new Int32Array(buffer, 0, L.RAM_OFFSET >> 2);
    this.#data = new DataView(buffer, 0, L.RAM_OFFSET);
  }

  /** i32 words, atomically, by linear address. */
  load(address: number): number {
    return Atomics.load(this.words, address >> 2);
  }
  store(address: number, value: number): void {
    Atomics.store(this.words, address >> 2, value);
  }
  bump(address: number): void {
    Atomics.add(this.words, address >> 2, 1);
    Atomics.notify(this.words, address >> 2);
  }

  getU64(address: number): bigint {
    return this.#data.getBigUint64(address, true);
  }
  setU64(address: number, value: bigint): void {
    this.#data.setBigUint64(address, value, true);
  }
  setF64(address: number, value: number): void {
    this.#data.setFloat64(address, value, true);
  }

  /** RUN_*: what harts are to do. Wakes parked harts. */
  setRun(state: number): void {
    this.store(L.CONTROL_BASE + L.CTL_RUN, state);
    Atomics.notify(this.words, (L.CONTROL_BASE + L.CTL_RUN) >> 2);
    this.bump(L.CONTROL_BASE + L.CTL_CLOCK_WAKE);
  }

  /** The clock reads 0 at this reading of the host's monotonic clock, ms. Only while no hart runs. */
  setClockBase(milliseconds: number): void {
    this.setF64(L.CONTROL_BASE + L.CTL_CLOCK_BASE, milliseconds);
  }

  hart(index: number): number {
    return L.HART_BASE + index * L.HART_STRIDE;
  }
}
