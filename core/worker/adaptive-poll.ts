/**
 * How long an I/O worker looks for work before it sleeps: as QEMU's AioContext tunes itself (util/aio-posix.c,
 * adjust_polling_time), by how long the last waits were.
 */

/** What the user may set, at any time. */
export interface IoThreadTuning {
  /** The longest it polls, nanoseconds, 0 to 1e9; 0: not at all. */
  readonly pollMaxNs: number;
  /** By what the time is multiplied when it was too short; 0: 2. */
  readonly pollGrow: number;
  /** By what it is divided when waits are longer than pollMaxNs; 0: polling begins anew. */
  readonly pollShrink: number;
  /** Requests whose completion the driver is shown at once; 0: what the back end finds best. */
  readonly maxBatch: number;
}

export const DEFAULT_TUNING: IoThreadTuning = { pollMaxNs: 0, pollGrow: 0, pollShrink: 0, maxBatch: 0 };

/** Where polling begins, nanoseconds. */
const START_NS = 4000;
const DEFAULT_GROW = 2;

export type PollTuning = Omit<IoThreadTuning, 'maxBatch'>;

export class AdaptivePoll {
  #ns = 0;

  /** Nanoseconds to poll for, given what is set now. */
  nanoseconds({ pollMaxNs }: PollTuning): number {
    return (this.#ns = Math.min(this.#ns, pollMaxNs));
  }

  /** Learns from a wait that took `waitedNs` nanoseconds, polling included. */
  learn(waitedNs: number, { pollMaxNs, pollGrow, pollShrink }: PollTuning): void {
    if (waitedNs <= this.#ns) return;
    if (waitedNs > pollMaxNs) this.#ns = pollShrink === 0 ? 0 : Math.floor(this.#ns / pollShrink);
    else this.#ns = Math.min(this.#ns === 0 ? START_NS : this.#ns * (pollGrow || DEFAULT_GROW), pollMaxNs);
  }
}
