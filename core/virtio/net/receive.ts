/** Frames from the network into the driver's receive buffers (virtio 1.3, sections 5.1.6.3 and 5.1.6.4). */
import { ETHERNET_HEADER_BYTES, Frame } from '../../net/frame.ts';
import type { FrameRingReader } from '../../net/frame-ring.ts';
import { adapt } from '../../net/offload.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import { HASH_REPORT_NONE } from '../spec/net.ts';
import { wants } from './filter.ts';
import type { FlowTable } from './flows.ts';
import { FlowHasher } from './hash.ts';
import type { FlowHash } from './hash.ts';
import { NetHeader } from './header.ts';
import { RSS_STEERS } from './state.ts';
import type { NetState } from './state.ts';

const TURN_FRAMES = 64;
/** What waits for the buffers of one queue while frames for others go on, at most: bytes of frames. */
const WAITING_BYTES = 256 * 1024;

export interface ReceiverOptions {
  readonly ring: FrameRingReader;
  readonly state: NetState;
  readonly flows: FlowTable;
  /** There is room in the ring for a writer that waits for it. */
  readonly wakeWriter: () => void;
}

/** A frame as the driver can take it, and its hash. */
interface Delivery {
  /** Those that are not in buffers yet. */
  readonly pieces: Frame[];
  readonly hash: FlowHash;
}

interface ReceiveQueue {
  readonly queue: RunningQueue;
  /** Frames set aside, oldest first, and the bytes of them. */
  readonly waiting: Delivery[];
  waitingBytes: number;
  /** Buffers taken for a frame, not enough for it yet. */
  readonly held: DescriptorChain[];
  /** Bytes in them. */
  capacity: number;
}

export class Receiver {
  readonly #o: ReceiverOptions;
  readonly #hasher = new FlowHasher();
  readonly #header = new NetHeader();
  readonly #frame = new Frame();
  /** By queue pair. */
  readonly #queues = new Map<number, ReceiveQueue>();
  #headerBytes = 0;
  #mergeable = false;
  /** The ring's first frame and the pair that it goes to; null when it is yet to be looked at. */
  #next: Delivery | null = null;
  #pair = 0;
  /** There are no buffers for it: the queue's notification will say when. */
  #starved = false;

  constructor(options: ReceiverOptions) {
    this.#o = options;
  }

  start(pair: number, queue: RunningQueue): void {
    this.#queues.set(pair, { queue, waiting: [], waitingBytes: 0, held: [], capacity: 0 });
    this.#starved = false;
  }

  configure(headerBytes: number, mergeable: boolean): void {
    this.#headerBytes = headerBytes;
    this.#mergeable = mergeable;
  }

  /** Frames that it waits for buffers for are lost, as all are that come while no queue runs. */
  stop(pair: number): void {
    if (!this.#queues.delete(pair)) return;
    this.#starved = false;
    if (this.#queues.size > 0) return;
    this.#next = null;
    if (this.#o.ring.close()) this.#o.wakeWriter();
  }

  get isDue(): boolean {
    return !this.#starved && !this.#o.ring.isEmpty;
  }

  /** The queue that is asked whether anything is due. */
  isFirst(pair: number): boolean {
    for (const first of this.#queues.keys()) return first === pair;
    return false;
  }

  /**
   * @returns whether there is more to do at once
   * @throws QueueFault
   */
  serve(): boolean {
    const { ring } = this.#o;
    this.#starved = false;
    for (const rx of this.#queues.values()) this.#deliverWaiting(rx);
    let more = true;
    for (let turn = 0; more && turn < TURN_FRAMES; turn++) {
      this.#next ??= this.#look();
      if (this.#next === null) {
        more = false;
      } else if (this.#place(this.#next)) {
        this.#next = null;
        ring.release();
      } else {
        this.#starved = true;
        more = false;
      }
    }
    for (const { queue, waiting } of this.#queues.values()) {
      // Buffers are of no interest until there are frames for them.
      if (this.#next === null && waiting.length === 0) queue.disableNotifications();
      queue.flush();
    }
    if (ring.takeWantRoom()) this.#o.wakeWriter();
    return more;
  }

  /** Looks at the ring's frames until one is wanted. */
  #look(): Delivery | null {
    const { ring, state } = this.#o;
    const frame = this.#frame;
    while (ring.peek(frame)) {
      const { data } = frame;
      if (state.linkUp && data.length >= ETHERNET_HEADER_BYTES && wants(state, data)) {
        this.#pair = this.#steer(data);
        const pieces = adapt(frame, state.offloads);
        if (pieces.length > 0) return { pieces, hash: this.#hasher.result };
      }
      ring.release();
    }
    return null;
  }

  /** Deals with the ring's first frame: delivers it, sets it aside or drops it. False when it must wait where it is. */
  #place(delivery: Delivery): boolean {
    const rx = this.#queues.get(this.#pair);
    if (!rx) return true;
    if (rx.waiting.length === 0 && this.#deliver(rx, delivery)) return true;
    // One queue: the ring is as good a place as any, and holds up whoever sends.
    if (this.#isOnly) return false;
    // Others must not wait for a driver that does not look after this one.
    const bytes = bytesOf(delivery);
    if (rx.waitingBytes + bytes > WAITING_BYTES) return true;
    rx.waiting.push({ pieces: delivery.pieces.map((piece) => piece.copy()), hash: { ...delivery.hash } });
    rx.waitingBytes += bytes;
    return true;
  }

  /** Which queue pair a frame goes to; its hash is the hasher's result. */
  #steer(data: Uint8Array): number {
    const { state, flows } = this.#o;
    const { value, report } = this.#hasher.hash(data, state.hashTypes, state.rssKey);
    let pair = 0;
    if (state.flags & RSS_STEERS) {
      pair = report === HASH_REPORT_NONE ? state.rssUnclassified : state.rssQueue(value);
    } else if (state.queuePairs > 1) {
      pair = flows.pairOf(data);
    }
    return pair < state.queuePairs && this.#queues.has(pair) ? pair : 0;
  }

  /** Whether all frames go to one queue. */
  get #isOnly(): boolean {
    const { state } = this.#o;
    return this.#queues.size === 1 || (state.queuePairs === 1 && (state.flags & RSS_STEERS) === 0);
  }

  #deliverWaiting(rx: ReceiveQueue): void {
    const { waiting } = rx;
    while (waiting.length > 0) {
      const before = bytesOf(waiting[0]);
      const done = this.#deliver(rx, waiting[0]);
      rx.waitingBytes -= before - bytesOf(waiting[0]);
      if (!done) return;
      waiting.shift();
    }
  }

  /** Puts the pieces that are left into buffers; false when buffers are missing. */
  #deliver(rx: ReceiveQueue, { pieces, hash }: Delivery): boolean {
    for (; pieces.length > 0; pieces.shift()) {
      const room = this.#gather(rx, this.#headerBytes + pieces[0].data.length);
      if (room === 'later') return false;
      if (room === 'enough') this.#fill(rx, pieces[0], hash);
    }
    return true;
  }

  /**
   * Takes buffers until there are enough for so many bytes. 'never' when all that the driver could give would be too small:
   * the frame is to be dropped.
   */
  #gather(rx: ReceiveQueue, need: number): 'enough' | 'later' | 'never' {
    const { queue, held } = rx;
    while (rx.capacity < need) {
      const most = this.#mergeable ? queue.size : 1;
      if (held.length >= most) return 'never';
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return 'later';
        continue;
      }
      const { length } = chain.writable;
      if (length === 0 || (held.length === 0 && length < this.#headerBytes)) {
        throw new QueueFault('bad-request', `chain ${chain.head}: receive buffer of ${length} bytes (5.1.6.3.1)`);
      }
      held.push(chain);
      rx.capacity += length;
    }
    return 'enough';
  }

  #fill(rx: ReceiveQueue, frame: Frame, hash: FlowHash): void {
    const { queue, held } = rx;
    const { state } = this.#o;
    const { data } = frame;
    const total = this.#headerBytes + data.length;
    let buffers = 0;
    for (let bytes = 0; bytes < total; buffers++) bytes += held[buffers].writable.length;
    this.#header.write(frame, state.offloads, buffers, hash);
    let done = 0;
    for (let i = 0; i < buffers; i++) {
      const chain = held[i];
      const before = i === 0 ? chain.writable.copyIn(0, this.#header.bytes, this.#headerBytes) : 0;
      const count = chain.writable.copyIn(before, done === 0 ? data : data.subarray(done));
      done += count;
      rx.capacity -= chain.writable.length;
      queue.push(chain, before + count);
    }
    held.splice(0, buffers);
  }
}

function bytesOf({ pieces }: Delivery): number {
  return pieces.reduce((sum, { data }) => sum + data.length, 0);
}
