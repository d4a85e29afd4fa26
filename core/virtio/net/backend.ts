/** The I/O worker's half of virtio-net: its queues, between guest memory and the two rings of the network worker. */
import { FrameRingReader, FrameRingWriter } from '../../net/frame-ring.ts';
import { Doorbell } from '../../net/nic-rings.ts';
import type { NicRings } from '../../net/nic-rings.ts';
import type { BackendContext, VirtioBackend } from '../backend/backend.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import { hasFeature } from '../spec/features.ts';
import { VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_MQ, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_RSS } from '../spec/net.ts';
import { executeCommand } from './control.ts';
import { FlowTable } from './flows.ts';
import { headerBytes } from './header.ts';
import { Receiver } from './receive.ts';
import { NetState, RX_FILTER_CHANGED } from './state.ts';
import { Transmitter } from './transmit.ts';

export interface NetDeviceBackendOptions {
  readonly rings: NicRings;
  /** NetState. */
  readonly state: SharedArrayBuffer;
  /** Queue pairs of the device. */
  readonly maxPairs: number;
}

export interface NetActivation {
  /** Negotiated. */
  readonly features: bigint;
}

const TURN_COMMANDS = 16;

export function createNetDeviceBackend(options: unknown, context: BackendContext): VirtioBackend {
  return new NetDeviceBackend(options as NetDeviceBackendOptions, context);
}

/** Section 5.1.2: the control queue is behind as many pairs as the driver can use. */
export function controlQueueIndex(features: bigint, maxPairs: number): number {
  const multiqueue = hasFeature(features, VIRTIO_NET_F_MQ) || hasFeature(features, VIRTIO_NET_F_RSS);
  return 2 * (multiqueue ? maxPairs : 1);
}

export class NetDeviceBackend implements VirtioBackend {
  readonly #maxPairs: number;
  readonly #state: NetState;
  readonly #receiver: Receiver;
  readonly #transmitter: Transmitter;
  readonly #flows = new FlowTable();
  readonly #news: () => void;
  #features = 0n;
  #control: RunningQueue | null = null;

  constructor({ rings, state, maxPairs }: NetDeviceBackendOptions, context: BackendContext) {
    const doorbell = new Doorbell(rings.doorbell);
    const toNic = new FrameRingReader(rings.toNic);
    const fromNic = new FrameRingWriter(rings.fromNic);
    toNic.waitBlock = fromNic.waitBlock = context.waitBlock;
    const wake = (): void => doorbell.ring();
    this.#maxPairs = maxPairs;
    this.#state = new NetState(state);
    this.#receiver = new Receiver({ ring: toNic, state: this.#state, flows: this.#flows, wakeWriter: wake });
    this.#transmitter = new Transmitter({ ring: fromNic, state: this.#state, flows: this.#flows, wakeReader: wake });
    this.#news = () => {
      if (this.#state.raiseNews()) context.report({ kind: 'device', detail: RX_FILTER_CHANGED });
    };
  }

  start(queues: readonly RunningQueue[], activation: unknown): void {
    const { features } = activation as NetActivation;
    const bytes = headerBytes(features);
    this.#features = features;
    this.#receiver.configure(bytes, hasFeature(features, VIRTIO_NET_F_MRG_RXBUF));
    this.#transmitter.configure(bytes, features);
    const control = this.#controlIndex;
    for (const queue of queues) {
      const { index } = queue;
      if (index === control) this.#control = hasFeature(features, VIRTIO_NET_F_CTRL_VQ) ? queue : null;
      else if (index > control) continue;
      else if (index % 2 === 0) this.#receiver.start(index / 2, queue);
      else this.#transmitter.start((index - 1) / 2, queue);
    }
  }

  get #controlIndex(): number {
    return controlQueueIndex(this.#features, this.#maxPairs);
  }

  stop(queues: readonly number[]): void {
    for (const index of queues) {
      if (this.#control?.index === index) this.#control = null;
      if (index % 2 === 0) this.#receiver.stop(index / 2);
      else this.#transmitter.stop((index - 1) / 2);
    }
  }

  isDue(queue: number): boolean {
    if (queue % 2 === 1) return this.#transmitter.isDue((queue - 1) / 2);
    return this.#receiver.isDue && this.#receiver.isFirst(queue / 2);
  }

  serve(queue: number): boolean {
    if (queue === this.#controlIndex) return this.#control !== null && this.#obey(this.#control);
    if (queue > this.#controlIndex) return false;
    return queue % 2 === 0 ? this.#receiver.serve() : this.#transmitter.serve((queue - 1) / 2);
  }

  #obey(queue: RunningQueue): boolean {
    for (let turn = 0; turn < TURN_COMMANDS; turn++) {
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        continue;
      }
      executeCommand(chain, {
        state: this.#state,
        features: this.#features,
        maxPairs: this.#maxPairs,
        news: this.#news,
      });
      queue.push(chain, 1);
    }
    queue.flush();
    return true;
  }

  close(): void {
    this.stop(Array.from({ length: 2 * this.#maxPairs + 1 }, (_, index) => index));
  }
}
