/** Makes a running queue of what the control thread has configured. */
import type { QueueOptions } from './base-queue.ts';
import { PackedQueue } from './packed-queue.ts';
import type { RunningQueue } from './running-queue.ts';
import { SplitQueue } from './split-queue.ts';

export function createRunningQueue(options: QueueOptions): RunningQueue {
  return options.config.packed ? new PackedQueue(options) : new SplitQueue(options);
}
