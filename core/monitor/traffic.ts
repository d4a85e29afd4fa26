/** What goes to and fro between a monitor and its clients: the last of it, and all that follows for who listens. */

/** Entries, and characters of all their texts, that are kept. */
const KEPT_ENTRIES = 1000;
const KEPT_CHARACTERS = 1 << 20;
/** Characters of one message that are kept; the rest of it is left out. */
const TEXT_LIMIT = 64 * 1024;

/**
 * connect, disconnect: a client; `text` is "qmp" or "hmp". command: a request of QMP; reply, error: the answer to it; line: a
 * line of HMP; event: an event of QMP, whether a client gets it or not. trace: a line of a trace event.
 */
export type TrafficKind = 'connect' | 'disconnect' | 'command' | 'reply' | 'error' | 'line' | 'event' | 'trace';

export interface TrafficEntry {
  /** Counts entries from 1: who has seen one knows what is new. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly kind: TrafficKind;
  /** Clients count from 1; 0 is Monitor.execute(); null for events, which are for all, and traces. */
  readonly client: number | null;
  /** JSON on one line, or HMP's line. */
  readonly text: string;
  /** Characters of `text` that were left out at its end. */
  readonly cut: number;
}

export class MonitorTraffic {
  readonly #entries: TrafficEntry[] = [];
  readonly #listeners = new Set<(entry: TrafficEntry) => void>();
  #characters = 0;
  #last = 0;

  /** The latest, oldest first. */
  get entries(): readonly TrafficEntry[] {
    return [...this.#entries];
  }

  /** @returns ends it */
  subscribe(listener: (entry: TrafficEntry) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  add(kind: TrafficKind, client: number | null, text: string): void {
    const kept = text.slice(0, TEXT_LIMIT);
    const entry = { number: ++this.#last, time: Date.now(), kind, client, text: kept, cut: text.length - kept.length };
    this.#entries.push(entry);
    this.#characters += kept.length;
    while (this.#entries.length > KEPT_ENTRIES || this.#characters > KEPT_CHARACTERS) {
      this.#characters -= this.#entries.shift()!.text.length;
    }
    for (const listener of this.#listeners) listener(entry);
  }
}
