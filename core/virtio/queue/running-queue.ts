/**
 * A queue that runs: what an I/O worker moves data with. Made from a ConfiguredQueue's RunningQueueConfig when the device
 * is activated, gone when it is deactivated. Split and packed rings are two implementations of this one interface.
 */
import { PACKED_START } from '../spec/packed-ring.ts';
import type { QueueAreas } from '../spec/split-ring.ts';
import type { DescriptorChain } from './descriptor-chain.ts';
import type { InflightSpec } from './inflight-log.ts';
import type { HookedQueue, QueueHook } from './queue-hook.ts';
import type { BufferRange } from './segments.ts';

/**
 * Where a device stands in a ring. In a split ring: indices modulo 2^16. In a packed one: offsets in bits 0 to 14, and
 * the wrap counter in bit 15 (section 2.8.1).
 */
export interface QueuePosition {
  /** What to look at next in the available ring. */
  availIdx: number;
  /** Where the next used buffer goes. */
  usedIdx: number;
}

/** Where a queue begins. */
export function startPosition(packed: boolean): QueuePosition {
  return packed ? { availIdx: PACKED_START, usedIdx: PACKED_START } : { availIdx: 0, usedIdx: 0 };
}

/** A buffer that the device has, as it was when it was taken. */
export interface HeldChain {
  /** Index of its first descriptor; in a packed ring the buffer id. */
  head: number;
  /** Where it was taken from, as in QueuePosition. */
  position: number;
  /** Descriptors of a packed ring that it takes. */
  slots: number;
  readable: BufferRange[];
  writable: BufferRange[];
}

/** All that a worker needs to run a queue; survives structured clone. The areas are checked against guest RAM. */
export interface RunningQueueConfig extends QueueAreas {
  index: number;
  /** What the device calls it, with the features that are negotiated; for who watches. */
  name?: string;
  size: number;
  packed: boolean;
  indirect: boolean;
  eventIdx: boolean;
  inOrder: boolean;
  /** VIRTIO_F_NOTIFY_ON_EMPTY: legacy only. */
  notifyOnEmpty: boolean;
  position: QueuePosition;
  /** Where a split queue keeps note of what the device has, for the next process; null: nowhere. */
  inflight?: InflightSpec | null;
  /** The doorbell word when the queue was handed over: what is rung from then on counts as a notification. */
  doorbell: number;
  /** What is negotiated; for who watches. */
  features?: bigint;
}

export interface RunningQueue extends HookedQueue {
  /** Chains popped and not yet pushed. */
  readonly inFlight: number;
  readonly position: QueuePosition;

  /**
   * The next buffer that the driver made available, parsed whole and checked; null when there is none. It is the caller's
   * until it is pushed.
   *
   * @throws QueueFault when the driver broke a rule: the queue must not be used any more
   */
  pop(): DescriptorChain | null;

  /** Whether pop() would find nothing. Looks at guest memory. */
  isEmpty(): boolean;

  /**
   * Records a used buffer, in any order. The driver sees it, and the chain object is reused, at any time from now on;
   * at the latest at the next flush(), or with VIRTIO_F_IN_ORDER at the first after all buffers before it are used.
   *
   * @param written bytes written from the start of the device-writable part; may be fewer than were written
   */
  push(chain: DescriptorChain, written: number): void;

  /** Makes all pushed buffers visible to the driver, and notifies it if it wants to know. */
  flush(): void;

  /** Tells the driver not to notify (advice: it may still). */
  disableNotifications(): void;

  /**
   * Tells the driver to notify again.
   *
   * @returns whether buffers are available already, for which no notification may come
   */
  enableNotifications(): boolean;

  /** Lets somebody watch, or nobody any more. Between calls of the back end only. */
  watch(hook: QueueHook | null): void;

  /** The buffers that the device has, in no order. */
  held(): HeldChain[];

  /** Counts notifications of the driver that were seen. */
  countNotifications(count: number): void;

  /** Publishes a fault for the inspector. */
  recordFault(code: number): void;
}
