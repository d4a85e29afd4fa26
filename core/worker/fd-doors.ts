/**
 * Descriptors that an I/O worker sleeps on instead of its wait word: kicks of queues whose driver is in another process, and
 * sockets that the control thread wants to be told of.
 */
import type { Host } from '../host/host.ts';
import { POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLL_WORDS } from '../host/host.ts';
import { isHostError } from '../host/host.ts';

export interface FdDoorsListener {
  /** A queue was kicked so often. */
  kicked(slot: number, queue: number, count: number): void;
  /** A kick descriptor is of no use and is not looked at any more; one line says why. */
  lost(slot: number, queue: number, why: string): void;
  /** A descriptor that was watched is ready, or broken. It is not watched any more. */
  ready(fd: number): void;
}

interface Kick {
  readonly slot: number;
  readonly queue: number;
  readonly fd: number;
  /** Times in a row that it was ready and had nothing. */
  empty: number;
}

/** So often in a row no eventfd is ready with nothing in it: who else reads it takes it now and then. */
const EMPTY_MAX = 64;
/** The eventfd by which other threads wake this one. */
const WAKE = 0;
const BROKEN = POLLERR | POLLHUP | POLLNVAL;

export class FdDoors {
  readonly #host: Host;
  readonly #wakeFd: number;
  readonly #listener: FdDoorsListener;
  #kicks: Kick[] = [];
  readonly #watched = new Map<number, number>();
  /** The wake descriptor, then kicks, then those watched. */
  #entries = new Int32Array(0);

  constructor(host: Host, wakeFd: number, listener: FdDoorsListener) {
    this.#host = host;
    this.#wakeFd = wakeFd;
    this.#listener = listener;
    this.#rebuild();
  }

  /** @param fd null: there is none */
  setKick(slot: number, queue: number, fd: number | null): void {
    this.#kicks = this.#kicks.filter((kick) => kick.slot !== slot || kick.queue !== queue);
    if (fd !== null) this.#kicks.push({ slot, queue, fd, empty: 0 });
    this.#rebuild();
  }

  /** Tells once when `fd` can be read, or, with `write`, when it can be written too. */
  watch(fd: number, write: boolean): void {
    this.#watched.set(fd, write ? POLLIN | POLLOUT : POLLIN);
    this.#rebuild();
  }

  unwatch(fd: number): void {
    if (this.#watched.delete(fd)) this.#rebuild();
  }

  #rebuild(): void {
    this.#entries = Int32Array.from([
      ...[this.#wakeFd, POLLIN, 0],
      ...this.#kicks.flatMap(({ fd }) => [fd, POLLIN, 0]),
      ...[...this.#watched].flatMap(([fd, events]) => [fd, events, 0]),
    ]);
  }

  /** Waits until one of them is ready, at most `timeout` ms (-1: for ever), and tells of all that are. */
  look(timeout: number): void {
    const entries = this.#entries;
    if (this.#host.poll(entries, timeout) === 0) return;
    if (entries[WAKE + 2] !== 0) this.#host.readEvent(this.#wakeFd);
    const kicks = this.#kicks;
    for (const [i, kick] of kicks.entries()) {
      if (entries[(1 + i) * POLL_WORDS + 2] !== 0) this.#take(kick);
    }
    const watched = [...this.#watched.keys()];
    for (const [i, fd] of watched.entries()) {
      const events = entries[(1 + kicks.length + i) * POLL_WORDS + 2];
      if (events === 0) continue;
      this.unwatch(fd);
      this.#listener.ready(fd);
    }
  }

  #take(kick: Kick): void {
    const { slot, queue, fd } = kick;
    let why = 'it is closed';
    try {
      const count = this.#host.readEvent(fd);
      if (count > 0n) {
        kick.empty = 0;
        return this.#listener.kicked(slot, queue, Number(BigInt.asUintN(31, count)) || 1);
      }
      if ((this.#stateOf(fd) & BROKEN) === 0) {
        if (++kick.empty < EMPTY_MAX) return;
        why = 'it is no eventfd';
      }
    } catch (error) {
      if (!isHostError(error)) throw error;
      why = error.message;
    }
    this.setKick(slot, queue, null);
    this.#listener.lost(slot, queue, why);
  }

  /** What poll(2) says of one descriptor now. */
  #stateOf(fd: number): number {
    const entry = Int32Array.of(fd, POLLIN, 0);
    this.#host.poll(entry, 0);
    return entry[2];
  }
}
