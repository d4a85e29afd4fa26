/**
 * The terminal that `ringside run` was started on: raw while the guest has it, and as it was before whenever this process
 * ends, stops (SIGTSTP) or is stopped.
 */
import type { EventEmitter } from 'node:events';

/** What is used of process.stdin. */
export interface TerminalInput {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
}

/** What is used of process. */
export type ProcessEvents = Pick<EventEmitter, 'on' | 'removeListener'>;

export class Terminal {
  #input: TerminalInput;
  #events: ProcessEvents;
  #stop: () => void;
  #raw = false;
  #wanted = false;

  /** @param stop stops this process until SIGCONT */
  constructor(input: TerminalInput, events: ProcessEvents, stop: () => void) {
    this.#input = input;
    this.#events = events;
    this.#stop = stop;
  }

  /** Raw mode on. Does nothing when stdin is not a terminal. */
  enter(): void {
    if (!this.#input.isTTY || this.#wanted) return;
    this.#wanted = true;
    this.#events.on('exit', this.#restore);
    this.#events.on('SIGTSTP', this.#suspend);
    this.#events.on('SIGCONT', this.#continue);
    this.#set(true);
  }

  /** As it was before. May be called at any time, any number of times. */
  leave(): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#events.removeListener('exit', this.#restore);
    this.#events.removeListener('SIGTSTP', this.#suspend);
    this.#events.removeListener('SIGCONT', this.#continue);
    this.#restore();
  }

  #set(raw: boolean): void {
    if (this.#raw === raw) return;
    try {
      this.#input.setRawMode?.(raw);
      this.#raw = raw;
    } catch {
      // The terminal has gone (hang-up): there is nothing to restore.
    }
  }

  #restore = (): void => this.#set(false);

  #suspend = (): void => {
    this.#set(false);
    this.#stop();
  };

  #continue = (): void => {
    // Whoever had the terminal meanwhile may have changed it, also when no SIGTSTP came first (SIGSTOP).
    this.#set(false);
    this.#set(true);
  };
}
