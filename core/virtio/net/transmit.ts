/** Frames from the driver's transmit buffers to the network (virtio 1.3, section 5.1.6.2). */
import { ETHERNET_HEADER_BYTES, FRAME_MAX, Frame } from '../../net/frame.ts';
import type { FrameRingWriter } from '../../net/frame-ring.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import type { FlowTable } from './flows.ts';
import { NetHeader } from './header.ts';
import type { NetState } from './state.ts';

const TURN_FRAMES = 64;

export interface TransmitterOptions {
  readonly ring: FrameRingWriter;
  readonly state: NetState;
  readonly flows: FlowTable;
  readonly wakeReader: () => void;
}

export class Transmitter {
  readonly #o: TransmitterOptions;
  readonly #header = new NetHeader();
  readonly #frame = new Frame();
  /** By queue pair, with the buffer for which the ring had no room. */
  readonly #queues = new Map<number, { readonly queue: RunningQueue; held: DescriptorChain | null }>();
  #headerBytes = 0;
  #features = 0n;

  constructor(options: TransmitterOptions) {
    this.#o = options;
  }

  start(pair: number, queue: RunningQueue): void {
    this.#queues.set(pair, { queue, held: null });
  }

  configure(headerBytes: number, features: bigint): void {
    this.#headerBytes = headerBytes;
    this.#features = features;
  }

  stop(pair: number): void {
    this.#queues.delete(pair);
  }

  isDue(pair: number): boolean {
    const tx = this.#queues.get(pair);
    return tx !== undefined && tx.held !== null && !this.#o.ring.waits;
  }

  /**
   * @returns whether there is more to do at once
   * @throws QueueFault
   */
  serve(pair: number): boolean {
    const tx = this.#queues.get(pair);
    if (!tx) return false;
    const { queue } = tx;
    const { ring, wakeReader } = this.#o;
    queue.disableNotifications();
    let more = true;
    let sent = false;
    for (let turn = 0; more && turn < TURN_FRAMES; turn++) {
      const chain = tx.held ?? queue.pop();
      tx.held = null;
      if (!chain) {
        queue.flush();
        more = queue.enableNotifications();
        if (more) queue.disableNotifications();
      } else if (this.#send(chain, pair)) {
        sent = true;
        queue.push(chain, 0);
      } else {
        tx.held = chain;
        more = ring.wantRoom();
      }
    }
    if (sent) wakeReader();
    queue.flush();
    return more;
  }

  /** False when the ring has no room now. What makes no sense is dropped: the driver is told no more than that it is done. */
  #send({ head, readable }: DescriptorChain, pair: number): boolean {
    const { ring, state, flows } = this.#o;
    const skip = this.#headerBytes;
    if (readable.length < skip) {
      throw new QueueFault('bad-request', `chain ${head}: ${readable.length} bytes, no packet header (5.1.6.2.1)`);
    }
    const length = readable.length - skip;
    if (!ring.isOpen || !state.linkUp || length < ETHERNET_HEADER_BYTES || length > FRAME_MAX) return true;
    readable.copyOut(0, this.#header.bytes, skip);
    if (!this.#header.read(this.#frame, this.#features, length)) return true;
    const bytes = ring.reserve(length);
    if (!bytes) return false;
    readable.copyOut(skip, bytes);
    if (state.queuePairs > 1) flows.learn(bytes, pair);
    ring.commit(this.#frame);
    return true;
  }
}
