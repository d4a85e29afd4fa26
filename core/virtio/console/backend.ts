/** The I/O worker's half of virtio-console: one port between two queues and the two byte rings of a character device. */
import { RingReader, RingWriter, inRingBase, outRingBase } from '../../chardev/ring.ts';
import { CONTROL_BASE, CTL_ATTENTION } from '../../worker/layout.ts';
import type { BackendContext, VirtioBackend } from '../backend/backend.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import { CONSOLE_RECEIVEQ, CONSOLE_TRANSMITQ } from '../spec/console.ts';

export interface ConsoleBackendOptions {
  /** Index of the character device; null: the port is connected to nothing, and what the driver sends is dropped. */
  readonly chardev: number | null;
}

/** The ends of a character device's rings that belong to the guest. */
interface ConsoleRings {
  readonly out: RingWriter;
  readonly in: RingReader;
}

/** Buffers moved before other queues and the control thread have their turn. */
const TURN_BUFFERS = 64;
/** Bytes taken from a transmit buffer at a time: a driver may offer one as large as its RAM. */
const TRANSMIT_CHUNK = 32 * 1024;

export function createConsoleBackend(options: unknown, context: BackendContext): VirtioBackend {
  return new ConsoleBackend(options as ConsoleBackendOptions, context);
}

export class ConsoleBackend implements VirtioBackend {
  readonly #buffer: SharedArrayBuffer;
  #rings: ConsoleRings | null = null;
  readonly #control: Int32Array<SharedArrayBuffer>;
  #receiveq: RunningQueue | null = null;
  #transmitq: RunningQueue | null = null;
  /** There is input, but the driver has no buffer for it: its notification will say when. */
  #starved = false;
  /** A transmit buffer that is not all in the ring yet, and how much of it is. */
  #sending: { chain: DescriptorChain; sent: number } | null = null;

  constructor({ chardev }: ConsoleBackendOptions, { memory }: BackendContext) {
    this.#buffer = memory.memory.buffer as SharedArrayBuffer;
    this.#control = new Int32Array(this.#buffer, CONTROL_BASE + CTL_ATTENTION, 1);
    this.#connect(chardev);
  }

  /** Connects the port to another character device, or to nothing. */
  configure(change: unknown): void {
    this.#connect((change as ConsoleBackendOptions).chardev);
  }

  #connect(chardev: number | null): void {
    const buffer = this.#buffer;
    this.#rings =
      chardev === null
        ? null
        : { out: new RingWriter(buffer, outRingBase(chardev)), in: new RingReader(buffer, inRingBase(chardev)) };
  }

  start(queues: readonly RunningQueue[]): void {
    for (const queue of queues) {
      if (queue.index === CONSOLE_RECEIVEQ) this.#receiveq = queue;
      if (queue.index === CONSOLE_TRANSMITQ) this.#transmitq = queue;
    }
    this.#starved = false;
  }

  stop(queues: readonly number[]): void {
    if (queues.includes(CONSOLE_RECEIVEQ)) this.#receiveq = null;
    if (queues.includes(CONSOLE_TRANSMITQ)) {
      this.#transmitq = null;
      this.#sending = null;
    }
  }

  isDue(queue: number): boolean {
    const rings = this.#rings;
    if (queue === CONSOLE_RECEIVEQ) return !this.#starved && rings !== null && rings.in.length > 0;
    return this.#sending !== null && (rings === null || rings.out.room > 0);
  }

  serve(queue: number): boolean {
    if (queue === CONSOLE_RECEIVEQ) return this.#receiveq !== null && this.#receive(this.#receiveq);
    return this.#transmitq !== null && this.#transmit(this.#transmitq);
  }

  /** Input: from the ring into the driver's buffers. */
  #receive(queue: RunningQueue): boolean {
    this.#starved = false;
    for (let turn = 0; turn < TURN_BUFFERS; turn++) {
      const rings = this.#rings;
      const length = rings === null ? 0 : rings.in.length;
      if (rings === null || length === 0) {
        // Buffers are of no interest until there is input for them.
        queue.disableNotifications();
        queue.flush();
        return false;
      }
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (queue.enableNotifications()) continue;
        this.#starved = true;
        return false;
      }
      const { writable } = chain;
      if (writable.length === 0) {
        throw new QueueFault('bad-request', `chain ${chain.head}: no device-writable buffer in a receiveq (5.3.6.1)`);
      }
      const count = Math.min(length, writable.length);
      for (const view of writable.views(0, count)) rings.in.read(view);
      queue.push(chain, count);
      if (rings.in.takeWantRoom()) this.#callControl();
    }
    queue.flush();
    return true;
  }

  /** Output: from the driver's buffers into the ring. A full ring keeps the buffer, and so the driver, waiting. */
  #transmit(queue: RunningQueue): boolean {
    queue.disableNotifications();
    for (let turn = 0; turn < TURN_BUFFERS; turn++) {
      if (!this.#sending) {
        const chain = queue.pop();
        if (!chain) {
          queue.flush();
          if (!queue.enableNotifications()) return false;
          queue.disableNotifications();
          continue;
        }
        this.#sending = { chain, sent: 0 };
      }
      const { chain, sent } = this.#sending;
      const { readable } = chain;
      if (this.#rings === null) {
        this.#sending = null;
        queue.push(chain, 0);
        continue;
      }
      const { out } = this.#rings;
      const wanted = Math.min(readable.length - sent, TRANSMIT_CHUNK);
      let moved = 0;
      for (const view of readable.views(sent, wanted)) {
        const taken = out.write(view);
        moved += taken;
        if (taken < view.length) break;
      }
      this.#sending.sent += moved;
      if (moved > 0 && out.takeWantData()) this.#callControl();
      if (this.#sending.sent === readable.length) {
        this.#sending = null;
        queue.push(chain, 0);
      } else if (moved < wanted && !out.wantRoom()) {
        queue.flush();
        return false;
      }
    }
    queue.flush();
    return true;
  }

  #callControl(): void {
    Atomics.add(this.#control, 0, 1);
    Atomics.notify(this.#control, 0);
  }
}
