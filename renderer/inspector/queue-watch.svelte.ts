/** A queue being watched: its batches, for as long as someone looks. */
import { watchQueue } from '../../main/ipc/contract/inspect-client.ts';
import type { QueueBatch, QueueProfile } from '../../main/ipc/contract.ts';
import { app } from '../lib/state/app.svelte.ts';
import { lineOf } from '../lib/state/toasts.svelte.ts';

export class QueueWatch {
  /** What the device says of the queue; null until the watch has begun. */
  profile = $state.raw<QueueProfile | null>(null);
  /** ms since 1970 at which times are 0. */
  epoch = $state(0);
  /** Why nothing comes, or null. */
  error = $state<string | null>(null);

  #stop: () => void = () => {};
  #stopped = false;

  constructor(id: string, device: string, queue: number, onbatch: (batch: QueueBatch) => void) {
    void this.#begin(id, device, queue, onbatch);
  }

  async #begin(id: string, device: string, queue: number, onbatch: (batch: QueueBatch) => void): Promise<void> {
    try {
      const { port, profile, epoch } = await app.client.openQueue(id, device, queue);
      this.#stop = watchQueue(port, {
        batch: onbatch,
        closed: () => (this.error = 'The watch has ended: the device or its VM is gone.'),
      });
      if (this.#stopped) return this.#stop();
      this.epoch = epoch;
      this.profile = profile;
    } catch (error) {
      if (!this.#stopped) this.error = lineOf(error);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#stop();
  }
}
