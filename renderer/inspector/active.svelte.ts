/** What is set on the queues of a VM, for every page of the inspector. */
import { getContext, setContext } from 'svelte';
import type { ActiveQueue } from '../../main/ipc/contract.ts';
import { app } from '../lib/state/app.svelte.ts';
import { act } from '../lib/state/toasts.svelte.ts';
import { Poll } from './poll.svelte.ts';

const KEY = Symbol('active queues');
const INTERVAL_MS = 1000;

export class ActiveQueues {
  readonly #vm: string;
  #poll = $state.raw<Poll<'inspect.active'> | null>(null);
  readonly queues = $derived<readonly ActiveQueue[]>(this.#poll?.value?.queues ?? []);
  /** Those that are stopped or disturbed: a guest behaves otherwise because of them. */
  readonly controlled = $derived(this.queues.filter(({ control }) => control !== null));

  constructor(vm: string) {
    this.#vm = vm;
  }

  /** @returns the function that ends it */
  begin(): () => void {
    const poll = new Poll('inspect.active', { id: this.#vm }, INTERVAL_MS);
    this.#poll = poll;
    return () => poll.stop();
  }

  of(device: string): readonly ActiveQueue[] {
    return this.queues.filter((each) => each.device === device);
  }

  /** Something has been set: asks at once. */
  changed(): void {
    void this.#poll?.now();
  }

  async clearAll(): Promise<void> {
    await act(() => app.client.call('inspect.clearAll', { id: this.#vm }));
    this.changed();
  }
}

/** e.g. "paused, 2 rules"; of what captures "capturing". */
export function activeText({ control, capturing }: ActiveQueue): string {
  const rules = (control?.breakpoints.length ?? 0) + (control?.injections.length ?? 0);
  return [
    control?.paused ? (control.stop === null ? 'paused' : 'stopped') : null,
    rules > 0 ? `${rules} rule${rules === 1 ? '' : 's'}` : null,
    (control?.delayed ?? 0) > 0 ? `${control!.delayed} delayed` : null,
    capturing ? 'capturing' : null,
  ]
    .filter((text) => text !== null)
    .join(', ');
}

export const provideActive = (active: ActiveQueues): ActiveQueues => setContext(KEY, active);
/** Of the inspector around; null where there is none. */
export const activeQueues = (): ActiveQueues | null => getContext<ActiveQueues | undefined>(KEY) ?? null;
