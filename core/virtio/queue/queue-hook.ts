/**
 * Where somebody who watches a running queue comes in between the ring and the device's back end. A queue that nobody watches
 * has no hook, and pays one branch that is always the same.
 */
import type { DescriptorChain } from './descriptor-chain.ts';

/** The queue as its hook sees it. */
export interface HookedQueue {
  readonly index: number;
  readonly size: number;
  /** The ring's own pop(). */
  take(): DescriptorChain | null;
  /** The ring's own push(). */
  put(chain: DescriptorChain, written: number): void;
  /** Makes the chain that was taken last available again: as if it had never been. */
  putBack(chain: DescriptorChain): void;
}

export interface QueueHook {
  /** In the place of RunningQueue.pop(). */
  pop(): DescriptorChain | null;
  /** In the place of RunningQueue.push(). */
  push(chain: DescriptorChain, written: number): void;
  /** Whether pop() gives nothing, whatever is in the ring. */
  readonly closed: boolean;
  /** The device has seen that the driver made ring entries available. */
  available(position: number, entries: number): void;
  /**
   * Used buffers are with the driver.
   *
   * @param wanted whether it wants to be told
   * @returns whether it is to be told
   */
  published(count: number, wanted: boolean): boolean;
  notified(count: number): void;
  /** With VIRTIO_F_EVENT_IDX: the device has asked for a notification of the buffer at an index of the available ring. */
  armed(position: number): void;
  failed(code: number): void;
}
