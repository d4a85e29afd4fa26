/** What a person has chosen to see of a queue's requests. */
import { SvelteSet } from 'svelte/reactivity';
import type { Filter } from './model.ts';

export class FilterChoice {
  /** Types, by code. */
  readonly hidden = new SvelteSet<number>();
  /** µs. */
  slowerThan = $state<number | null>(null);
  detailFrom = $state<number | null>(null);
  detailTo = $state<number | null>(null);
  errorsOnly = $state(false);

  readonly filter = $derived<Filter>({
    hidden: [...this.hidden],
    slowerThan: (this.slowerThan ?? 0) * 1000,
    detail:
      this.detailFrom === null && this.detailTo === null
        ? null
        : { from: this.detailFrom ?? 0, to: this.detailTo ?? Infinity },
    errorsOnly: this.errorsOnly,
  });
  readonly active = $derived(
    this.hidden.size > 0 ||
      this.slowerThan !== null ||
      this.detailFrom !== null ||
      this.detailTo !== null ||
      this.errorsOnly,
  );

  clear(): void {
    this.hidden.clear();
    this.slowerThan = this.detailFrom = this.detailTo = null;
    this.errorsOnly = false;
  }
}
