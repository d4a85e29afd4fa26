/** What happened, for people: kept in memory, sent to whoever watches. */
import type { LogEntry } from '../ipc/contract.ts';

const KEPT = 500;

export class Log {
  readonly #entries: LogEntry[] = [];
  readonly #listener: (entry: LogEntry) => void;

  constructor(listener: (entry: LogEntry) => void) {
    this.#listener = listener;
  }

  add(level: LogEntry['level'], vm: string | null, text: string): void {
    const entry = { time: Date.now(), level, vm, text };
    this.#entries.push(entry);
    if (this.#entries.length > KEPT) this.#entries.shift();
    this.#listener(entry);
  }

  /** Oldest first. */
  get entries(): LogEntry[] {
    return [...this.#entries];
  }
}
