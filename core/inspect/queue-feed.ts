/** One queue that somebody watches, on the control thread: its event ring, and what was made of it so far. */
import type { QueueBatch } from '../api/inspect.ts';
import { monotonicNow } from '../engine.ts';
import { readQueueStats } from '../virtio/queue/queue-stats.ts';
import { VIRTIO_F_IN_ORDER, hasFeature } from '../virtio/spec/features.ts';
import type { VirtioTransport } from '../virtio/transport/transport.ts';
import { eventClock } from './clock.ts';
import { DEFAULT_CAPACITY, EventReader, createEventRing } from './event-ring.ts';
import type { RingEvent } from './event-ring.ts';
import { RequestLog } from './request-log.ts';

export interface FeedOptions {
  readonly transport: VirtioTransport;
  readonly queue: number;
  readonly buffer: SharedArrayBuffer;
  /** Events in the ring; a power of 2. */
  readonly capacity?: number;
}

export class QueueFeed {
  /** ms since 1970 at which the times of the batches are 0. */
  readonly epoch: number;
  readonly #options: FeedOptions;
  readonly #reader: EventReader;
  readonly #log: RequestLog;
  readonly #clock: () => number;
  #seq = 0;
  #from = 0;

  /** @throws RingsideError when the queue's server is gone */
  static async open(options: FeedOptions): Promise<QueueFeed> {
    const ring = createEventRing(options.capacity ?? DEFAULT_CAPACITY);
    const epoch = monotonicNow();
    const feed = new QueueFeed(options, ring, epoch);
    await options.transport.observeQueue(options.queue, { ring, epoch });
    return feed;
  }

  private constructor(options: FeedOptions, ring: SharedArrayBuffer, epoch: number) {
    this.#options = options;
    this.#reader = new EventReader(ring);
    this.#clock = eventClock(epoch);
    this.epoch = performance.timeOrigin + performance.now() - this.#clock() / 1e6;
    const { transport } = options;
    this.#log = new RequestLog(() => hasFeature(transport.negotiated, VIRTIO_F_IN_ORDER));
  }

  /**
   * What has happened since the last call.
   *
   * @param each told of each event first; the object is reused
   */
  poll(each: (event: RingEvent) => void = () => {}): QueueBatch {
    const log = this.#log;
    const to = this.#clock();
    this.#reader.read(
      (event) => {
        each(event);
        log.add(event);
      },
      (count) => log.lose(count, to),
    );
    const { transport, queue, buffer } = this.#options;
    const { popped, used, notifications, interrupts, suppressed, inFlight } = readQueueStats(
      buffer,
      transport.slot,
      queue,
    );
    const from = this.#from;
    this.#from = to;
    return {
      seq: this.#seq++,
      from,
      to,
      ...log.take(),
      counters: { popped, used, notifications, interrupts, suppressed, inFlight },
      histogram: log.histogram.slice(),
    };
  }

  /** Nobody watches any more. Never rejected: a server that is gone does not watch either. */
  async close(): Promise<void> {
    const { transport, queue } = this.#options;
    await transport.observeQueue(queue, null).catch(() => {});
  }
}
