/** Trace events of queues, read from the event rings of those that the machine has while one of these events is on. */
import { VIRTIO_BLK_SECTOR_SIZE, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '../virtio/spec/blk.ts';
import type { Trace, TraceName } from '../trace/trace.ts';
import { EVENT_NOTIFIED, EVENT_POPPED, EVENT_PUBLISHED, EVENT_PUSHED, INTERRUPT_SENT } from './event-ring.ts';
import type { RingEvent } from './event-ring.ts';
import type { MachineInspector, QueueWatchHandle } from './inspector.ts';

const QUEUE_EVENTS: readonly TraceName[] = [
  'virtio_queue_notify',
  'virtio_notify',
  'virtqueue_pop',
  'virtqueue_fill',
  'virtqueue_flush',
  'virtio_blk_handle_read',
  'virtio_blk_handle_write',
  'virtio_blk_req_complete',
];
/** Events of a queue's ring: those of a 30th of a second, and some. */
const RING_EVENTS = 4096;
/** Bytes of a request that are no data. */
const HEADER_AND_STATUS = 17;
/** Lines for notifications that came at once, at most. */
const NOTIFICATIONS = 64;

export interface TracedQueue {
  readonly device: string;
  /** e.g. "virtio-blk". */
  readonly type: string;
  readonly queue: number;
  readonly name: string;
}

export class QueueTrace {
  readonly #trace: Trace;
  readonly #inspector: MachineInspector;
  readonly #queues: () => readonly TracedQueue[];
  readonly #watched = new Map<string, Promise<QueueWatchHandle | null>>();

  /** @param queues all that the machine has now */
  constructor(trace: Trace, inspector: MachineInspector, queues: () => readonly TracedQueue[]) {
    this.#trace = trace;
    this.#inspector = inspector;
    this.#queues = queues;
    trace.onChange(() => this.update());
  }

  /** Watches the queues there are, or none: to be called when events or devices have changed. */
  update(): void {
    if (!QUEUE_EVENTS.some((name) => this.#trace.isOn(name))) {
      for (const opening of this.#watched.values()) void opening.then((handle) => handle?.close());
      this.#watched.clear();
      return;
    }
    for (const traced of this.#queues()) {
      const key = `${traced.queue} ${traced.device}`;
      if (!this.#watched.has(key)) this.#watched.set(key, this.#watch(key, traced));
    }
  }

  /** null: it is gone already. */
  async #watch(key: string, traced: TracedQueue): Promise<QueueWatchHandle | null> {
    const listener = {
      batch: () => {},
      event: (event: RingEvent) => this.#event(traced, event),
      ended: () => void this.#watched.delete(key),
    };
    try {
      return await this.#inspector.watch(traced.device, traced.queue, listener, RING_EVENTS);
    } catch {
      this.#watched.delete(key);
      return null;
    }
  }

  #event({ device, type, queue, name }: TracedQueue, event: RingEvent): void {
    const trace = this.#trace;
    const { head, length, code } = event;
    const vq = `${device}:${name}`;
    switch (event.type) {
      case EVENT_NOTIFIED:
        for (let i = 0; i < Math.min(length, NOTIFICATIONS); i++) {
          trace.emit('virtio_queue_notify', `vdev ${device} n ${queue} vq ${vq}`);
        }
        return;
      case EVENT_POPPED:
        trace.emit('virtqueue_pop', `vq ${vq} elem ${head} bytes ${length}`);
        if (type === 'virtio-blk') this.#block(device, event);
        return;
      case EVENT_PUSHED:
        if (type === 'virtio-blk') {
          trace.emit('virtio_blk_req_complete', `vdev ${device} req ${head} status ${code}`);
        }
        return trace.emit('virtqueue_fill', `vq ${vq} elem ${head} len ${length} idx 0`);
      case EVENT_PUBLISHED:
        trace.emit('virtqueue_flush', `vq ${vq} count ${length}`);
        if (code === INTERRUPT_SENT) trace.emit('virtio_notify', `vdev ${device} vq ${vq}`);
    }
  }

  /** The code of a taken request is its type, its detail the sector. */
  #block(device: string, { code, head, detailLow, detailHigh, length }: RingEvent): void {
    const sector = detailHigh * 2 ** 32 + detailLow;
    const sectors = Math.floor((length - HEADER_AND_STATUS) / VIRTIO_BLK_SECTOR_SIZE);
    const text = `vdev ${device} req ${head} sector ${sector} nsectors ${sectors}`;
    if (code === VIRTIO_BLK_T_IN) this.#trace.emit('virtio_blk_handle_read', text);
    else if (code === VIRTIO_BLK_T_OUT) this.#trace.emit('virtio_blk_handle_write', text);
  }
}
