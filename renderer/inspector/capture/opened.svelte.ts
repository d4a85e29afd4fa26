/** A capture that is looked at: what it is, and its requests as they come from the file. */
import { watchQueue } from '../../../main/ipc/contract/inspect-client.ts';
import type { CaptureInfo } from '../../../main/ipc/contract.ts';
import { app } from '../../lib/state/app.svelte.ts';
import { lineOf } from '../../lib/state/toasts.svelte.ts';
import { TimelineModel } from '../timeline/model.ts';

/** Requests that a model has room for at least: a grid and a timeline need some. */
const FEWEST = 1024;

export class OpenedCapture {
  info = $state.raw<CaptureInfo | null>(null);
  model = $state.raw(new TimelineModel(FEWEST));
  /** All of it is there. */
  loaded = $state(false);
  error = $state<string | null>(null);

  #stop: () => void = () => {};
  #stopped = false;

  constructor(file: string) {
    void this.#open(file);
  }

  async #open(file: string): Promise<void> {
    try {
      const { port, info } = await app.client.openCapture(file);
      const model = new TimelineModel(Math.max(FEWEST, 2 ** Math.ceil(Math.log2(Math.max(1, info.count)))));
      this.#stop = watchQueue(port, {
        batch: (batch) => model.add(batch),
        closed: () => {
          this.loaded = true;
          if (model.count < info.count)
            this.error = 'The file could not be read to its end: it was changed, or the connection is lost.';
        },
      });
      if (this.#stopped) return this.#stop();
      this.model = model;
      this.info = info;
    } catch (error) {
      if (!this.#stopped) this.error = lineOf(error);
    }
  }

  close(): void {
    this.#stopped = true;
    this.#stop();
  }
}
