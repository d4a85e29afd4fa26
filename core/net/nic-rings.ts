/** What a network card and the network worker share. */
import { createFrameRing } from './frame-ring.ts';

/** Survives structured clone. */
export interface NicRings {
  readonly fromNic: SharedArrayBuffer;
  readonly toNic: SharedArrayBuffer;
  /** Where the network worker sleeps: WAKE and SLEEPING, i32 atomic. */
  readonly doorbell: SharedArrayBuffer;
}

const WAKE = 0;
const SLEEPING = 1;

export function createNicRings(doorbell: SharedArrayBuffer): NicRings {
  return { fromNic: createFrameRing(), toNic: createFrameRing(), doorbell };
}

export function createDoorbell(): SharedArrayBuffer {
  return new SharedArrayBuffer(8);
}

/** Wakes the network worker; any thread may have one. */
export class Doorbell {
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  ring(): void {
    Atomics.add(this.#words, WAKE, 1);
    if (Atomics.load(this.#words, SLEEPING) !== 0) Atomics.notify(this.#words, WAKE);
  }

  /** To be read before looking for work. */
  get count(): number {
    return Atomics.load(this.#words, WAKE);
  }

  /** Resolves when it has been rung since `count` was read. */
  async rung(count: number): Promise<void> {
    Atomics.store(this.#words, SLEEPING, 1);
    const wait = Atomics.waitAsync(this.#words, WAKE, count);
    if (wait.async) await wait.value;
    Atomics.store(this.#words, SLEEPING, 0);
  }
}
