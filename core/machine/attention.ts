/** What other threads want of the control thread: served whenever CTL_ATTENTION moves, without blocking. */
import { setImmediate } from 'node:timers/promises';
import { monotonicNow } from '../engine.ts';
import * as L from '../worker/layout.ts';
import type { ControlPage } from './control-page.ts';

/** How long harts that call without a pause are served before the event loop has its turn, ms. */
const TURN = 2;

export class Attention {
  readonly #control: ControlPage;
  #stopped = false;

  constructor(control: ControlPage) {
    this.#control = control;
  }

  /** Calls `service` until stop(). */
  async serve(service: () => void): Promise<void> {
    const { words } = this.#control;
    const index = (L.CONTROL_BASE + L.CTL_ATTENTION) >> 2;
    // Keeps the event loop alive: a waiting promise does not.
    const alive = setInterval(() => {}, 2 ** 30);
    let turn = monotonicNow();
    while (!this.#stopped) {
      const seen = Atomics.load(words, index);
      service();
      const wait = Atomics.waitAsync(words, index, seen);
      if (wait.async) {
        await wait.value;
        turn = monotonicNow();
      } else if (monotonicNow() - turn > TURN) {
        // Harts that call again and again must not keep everything else waiting.
        await setImmediate();
        turn = monotonicNow();
      }
    }
    clearInterval(alive);
  }

  stop(): void {
    this.#stopped = true;
    this.#control.bump(L.CONTROL_BASE + L.CTL_ATTENTION);
  }
}
