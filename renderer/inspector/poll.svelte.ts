/** Something of a machine that is asked for again and again while it is looked at. */
import type { CommandName, ParamsInput, Result } from '../../main/ipc/contract.ts';
import { app } from '../lib/state/app.svelte.ts';
import { lineOf } from '../lib/state/toasts.svelte.ts';

export class Poll<K extends CommandName> {
  /** The last answer; it stays while later ones fail. */
  value = $state.raw<Result<K> | null>(null);
  /** Why the last one failed, or null. */
  error = $state<string | null>(null);
  /** Stands still at what it shows. */
  frozen = $state(false);

  readonly #ask: () => Promise<Result<K>>;
  readonly #interval: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;
  #turn = 0;

  /** @param interval ms from one answer to the next question */
  constructor(name: K, params: ParamsInput<K>, interval: number) {
    this.#ask = () => app.client.call(name, params);
    this.#interval = interval;
    void this.now();
  }

  /** Asks at once. */
  async now(): Promise<void> {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    try {
      if (!this.frozen && !document.hidden) {
        const value = await this.#ask();
        if (turn !== this.#turn || this.#stopped) return;
        if (!this.frozen) this.value = value;
        this.error = null;
      }
    } catch (error) {
      if (turn !== this.#turn || this.#stopped) return;
      this.error = lineOf(error);
    }
    this.#timer = setTimeout(() => void this.now(), this.#interval);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
