/**
 * Machine snapshots for those who watch: taken at most 10 times a second, only while someone does, once for all
 * watchers of a machine, and sent as differences. A watcher whose link is full misses a turn and gets the sum later.
 */
import type { MachineSnapshot } from '../../core/api/machine.ts';
import { diff } from '../ipc/contract/delta.ts';
import type { DeltaOp } from '../ipc/contract/delta.ts';
import type { Session } from '../ipc/dispatcher.ts';

export const SNAPSHOT_INTERVAL_MS = 100;

export interface Watcher {
  session: Pick<Session, 'id' | 'emit' | 'congested' | 'onClose'>;
  /** What the watcher has; every delta is relative to it. */
  base: MachineSnapshot | null;
  seq: number;
}

export class SnapshotFeed {
  readonly #take: (id: string) => MachineSnapshot | null;
  readonly #watched = new Map<string, Map<string, Watcher>>();
  readonly #timers = new Map<string, NodeJS.Timeout>();

  /** @param take the present snapshot of a VM; null while it has no machine */
  constructor(take: (id: string) => MachineSnapshot | null) {
    this.#take = take;
  }

  /** Begins, or begins anew, to send `machine.delta` events to a session. */
  watch(id: string, session: Watcher['session']): { snapshot: MachineSnapshot | null; seq: number } {
    const watchers = this.#watched.get(id) ?? new Map<string, Watcher>();
    this.#watched.set(id, watchers);
    const known = watchers.has(session.id);
    const watcher: Watcher = { session, base: this.#now(id), seq: 0 };
    watchers.set(session.id, watcher);
    if (!known) session.onClose(() => this.unwatch(id, session.id));
    if (!this.#timers.has(id)) {
      const timer = setInterval(() => this.#tick(id), SNAPSHOT_INTERVAL_MS);
      timer.unref();
      this.#timers.set(id, timer);
    }
    return { snapshot: watcher.base, seq: watcher.seq };
  }

  unwatch(id: string, sessionId: string): void {
    const watchers = this.#watched.get(id);
    watchers?.delete(sessionId);
    if (watchers === undefined || watchers.size > 0) return;
    this.#watched.delete(id);
    clearInterval(this.#timers.get(id));
    this.#timers.delete(id);
  }

  /** VMs that are being watched. */
  get watched(): string[] {
    return [...this.#watched.keys()];
  }

  close(): void {
    for (const timer of this.#timers.values()) clearInterval(timer);
    this.#timers.clear();
    this.#watched.clear();
  }

  #tick(id: string): void {
    const now = this.#now(id);
    // Watchers that are in step share one difference.
    const diffs = new Map<MachineSnapshot | null, DeltaOp[]>();
    for (const watcher of this.#watched.get(id)?.values() ?? []) {
      if (watcher.session.congested) continue;
      let ops = diffs.get(watcher.base);
      if (ops === undefined) diffs.set(watcher.base, (ops = diff(watcher.base, now)));
      watcher.base = now;
      if (ops.length === 0) continue;
      watcher.seq++;
      watcher.session.emit('machine.delta', { id, seq: watcher.seq, ops });
    }
  }

  #now(id: string): MachineSnapshot | null {
    try {
      return this.#take(id);
    } catch {
      // The VM has been removed, or its machine is on its way out: there is nothing to show.
      return null;
    }
  }
}
