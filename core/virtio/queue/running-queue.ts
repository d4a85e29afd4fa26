/**
 * A queue that runs: what an I/O worker moves data with. Made from a ConfiguredQueue's RunningQueueConfig when the device
 * is activated, gone when it is deactivated. Split and packed rings are two implementations of this one interface.
 */
import type { QueueAreas } from '../spec/split-ring.ts';
import type { DescriptorChain } from './descriptor-chain.ts';

/** Where a device stands in a ring. */
export interface QueuePosition {
  /** Next entry of the available ring to look at, modulo 2^16. */
  availIdx: number;
  /** Used ring index, modulo 2^16. */
  usedIdx: number;
}

/** All that a worker needs to run a queue; survives structured clone. The areas are checked against guest RAM. */
export interface RunningQueueConfig extends QueueAreas {
  index: number;
  size: number;
  indirect: boolean;
  eventIdx: boolean;
  /** VIRTIO_F_NOTIFY_ON_EMPTY: legacy only. */
  notifyOnEmpty: boolean;
  position: QueuePosition;
  /** The doorbell word when the queue was handed over: what is rung from then on counts as a notification. */
  doorbell: number;
}

export interface RunningQueue {
  readonly index: number;
  /** Entries. */
  readonly size: number;
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
   * Records a used buffer. The driver sees it, and the chain object is reused, at any time from now on; at the latest at
   * the next flush().
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

  /** Counts notifications of the driver that were seen. */
  countNotifications(count: number): void;

  /** Publishes a fault for the inspector. */
  recordFault(code: number): void;
}
