/** A machine being watched: its snapshot, kept current by deltas, and how fast its counters move. */
import { patch } from '../../../main/ipc/contract/delta.ts';
import type { MachineSnapshot } from '../../../main/ipc/contract.ts';
import { app } from './app.svelte.ts';
import { lineOf, toasts } from './toasts.svelte.ts';

/** Rates are means over this long, ms; and so many of them are kept for the graphs. */
const RATE_MS = 1000;
const HISTORY = 60;

export type QueueCounters = MachineSnapshot['virtio'][number]['queues'][number]['counters'];

export interface QueueRates {
  /** Per second. */
  now: QueueCounters;
  /** Requests per second, oldest first. */
  history: number[];
}

const STILL: QueueCounters = { popped: 0, used: 0, notifications: 0, interrupts: 0, suppressed: 0 };

export class MachineWatch {
  snapshot = $state.raw<MachineSnapshot | null>(null);
  /** By device id and queue index: "drive0/0". */
  rates = $state.raw<Readonly<Record<string, QueueRates>>>({});
  loaded = $state(false);

  readonly #id: string;
  readonly #stops: (() => void)[] = [];
  #seq = 0;
  #before: { at: number; counters: Record<string, QueueCounters> } | null = null;

  constructor(id: string) {
    this.#id = id;
    this.#stops.push(
      app.client.on('machine.delta', ({ id: whose, seq, ops }) => {
        if (whose !== this.#id) return;
        if (seq !== this.#seq + 1) {
          if (seq > this.#seq) void this.#begin();
          return;
        }
        this.#seq = seq;
        try {
          this.snapshot = patch(this.snapshot, ops) as MachineSnapshot | null;
        } catch {
          void this.#begin();
        }
      }),
    );
    const timer = setInterval(() => this.#measure(), RATE_MS);
    this.#stops.push(() => clearInterval(timer));
    void this.#begin();
  }

  stop(): void {
    for (const stop of this.#stops) stop();
    app.client.call('vm.unwatch', { id: this.#id }).catch(() => undefined);
  }

  async #begin(): Promise<void> {
    try {
      const { snapshot, seq } = await app.client.call('vm.watch', { id: this.#id });
      this.snapshot = snapshot;
      this.#seq = seq;
      this.loaded = true;
      this.#measure();
    } catch (error) {
      toasts.show('error', lineOf(error));
    }
  }

  #measure(): void {
    const at = performance.now();
    const counters: Record<string, QueueCounters> = {};
    for (const device of this.snapshot?.virtio ?? []) {
      for (const queue of device.queues) counters[`${device.id}/${queue.index}`] = queue.counters;
    }
    const before = this.#before;
    this.#before = { at, counters };
    if (before === null || at - before.at < RATE_MS / 2) return;
    const seconds = (at - before.at) / 1000;
    const rates: Record<string, QueueRates> = {};
    for (const [key, counts] of Object.entries(counters)) {
      const earlier = before.counters[key] ?? counts;
      // A queue that was reset begins again at 0.
      const rate = (name: keyof QueueCounters) => Math.max(0, counts[name] - earlier[name]) / seconds;
      const now = { ...STILL };
      for (const name of Object.keys(now) as (keyof QueueCounters)[]) now[name] = rate(name);
      const history = this.rates[key]?.history ?? new Array<number>(HISTORY).fill(0);
      rates[key] = { now, history: [...history.slice(1), now.used] };
    }
    this.rates = rates;
  }
}
