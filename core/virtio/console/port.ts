/** The I/O worker's half of one port: between two queues and the two byte rings of a character device. */
import { RingReader, RingWriter, inRingBase, outRingBase } from '../../chardev/ring.ts';
import { CONTROL_BASE, CTL_ATTENTION } from '../../worker/layout.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';

/** Buffers moved before other queues and the control thread have their turn. */
const TURN_BUFFERS = 64;
/** Bytes taken from a transmit buffer at a time: a driver may offer one as large as its RAM. */
const TRANSMIT_CHUNK = 32 * 1024;

export class PortPump {
  readonly #out: RingWriter;
  readonly #in: RingReader;
  readonly #control: Int32Array<SharedArrayBuffer>;
  #receiveq: RunningQueue | null = null;
  #transmitq: RunningQueue | null = null;
  /** There is input, but the driver has no buffer for it: its notification will say when. */
  #starved = false;
  /** A transmit buffer that is not all in the ring yet, and how much of it is. */
  #sending: { chain: DescriptorChain; sent: number } | null = null;

  /** @param chardev index of the character device */
  constructor(buffer: SharedArrayBuffer, chardev: number) {
    this.#out = new RingWriter(buffer, outRingBase(chardev));
    this.#in = new RingReader(buffer, inRingBase(chardev));
    this.#control = new Int32Array(buffer, CONTROL_BASE + CTL_ATTENTION, 1);
  }

  set receiveq(queue: RunningQueue | null) {
    this.#receiveq = queue;
    this.#starved = false;
  }

  set transmitq(queue: RunningQueue | null) {
    this.#transmitq = queue;
    this.#sending = null;
  }

  get canReceive(): boolean {
    return !this.#starved && this.#in.length > 0;
  }

  get canTransmit(): boolean {
    return this.#sending !== null && this.#out.room > 0;
  }

  /**
   * Input: from the ring into the driver's buffers.
   *
   * @returns whether there is more to do at once
   */
  receive(): boolean {
    const queue = this.#receiveq;
    if (!queue) return false;
    this.#starved = false;
    for (let turn = 0; turn < TURN_BUFFERS; turn++) {
      const length = this.#in.length;
      if (length === 0) {
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
      for (const view of writable.views(0, count)) this.#in.read(view);
      queue.push(chain, count);
      if (this.#in.takeWantRoom()) this.#callControl();
    }
    queue.flush();
    return true;
  }

  /** Output: from the driver's buffers into the ring. A full ring keeps the buffer, and so the driver, waiting. */
  transmit(): boolean {
    const queue = this.#transmitq;
    if (!queue) return false;
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
      const wanted = Math.min(readable.length - sent, TRANSMIT_CHUNK);
      let moved = 0;
      for (const view of readable.views(sent, wanted)) {
        const taken = this.#out.write(view);
        moved += taken;
        if (taken < view.length) break;
      }
      this.#sending.sent += moved;
      if (moved > 0 && this.#out.takeWantData()) this.#callControl();
      if (this.#sending.sent === readable.length) {
        this.#sending = null;
        queue.push(chain, 0);
      } else if (moved < wanted && !this.#out.wantRoom()) {
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

/** Output of a port that is not there: taken, and gone. */
export function discard(queue: RunningQueue): boolean {
  queue.disableNotifications();
  for (let turn = 0; turn < TURN_BUFFERS; turn++) {
    const chain = queue.pop();
    if (chain) {
      queue.push(chain, 0);
      continue;
    }
    queue.flush();
    if (!queue.enableNotifications()) return false;
    queue.disableNotifications();
  }
  queue.flush();
  return true;
}
