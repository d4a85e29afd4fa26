/** One connection on the host's side: a unix socket between the rings of a slot. */
import type { Socket } from 'node:net';

import { CLOSED, FLAG_DEAF, FLAG_EOF, OPEN, RING_BYTES, STATE_MASK } from './shared-slots.ts';
import type { SharedSlots, Slot } from './shared-slots.ts';

export class HostSocket {
  readonly #socket: Socket;
  readonly #slot: Slot;
  readonly #shared: SharedSlots;
  /** Bytes that the ring had no room for; nothing more is read meanwhile. */
  #left: Uint8Array;
  #open = false;
  #ended = false;
  #closed = false;
  /** The socket has bytes enough to write. */
  #busy = false;
  /** What the guest had to say was written; the guest is gone. */
  #finishing = false;
  #gone = false;
  /** This end has said CLOSED. */
  #done = false;
  /** Says that a slot was marked. */
  readonly #changed: () => void;

  /**
   * @param socket paused
   * @param early bytes that have come already
   */
  constructor(
    socket: Socket,
    slot: Slot,
    shared: SharedSlots,
    changed: () => void,
    early: Uint8Array = new Uint8Array(0),
  ) {
    this.#socket = socket;
    this.#slot = slot;
    this.#shared = shared;
    this.#changed = changed;
    this.#left = early;
    socket.on('data', (bytes) => {
      this.#left = bytes;
      socket.pause();
      this.update();
    });
    socket.on('end', () => {
      this.#ended = true;
      this.update();
    });
    socket.on('drain', () => {
      this.#busy = false;
      this.update();
    });
    // What went wrong is told by the end of the connection.
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#closed = true;
      this.update();
    });
  }

  /** Both sides have said yes. */
  opened(): void {
    this.#open = true;
    this.update();
  }

  abort(): void {
    this.#socket.destroy();
  }

  /** Moves what can be moved, and says what has changed. */
  update(): void {
    // The slot may be another's by now.
    if (this.#done) return;
    const { own } = this.#slot;
    if (this.#open) this.#toGuest();
    else if (this.#closed) this.#slot.own = CLOSED;
    if (!this.#closed) this.#toHost();
    this.#done = (this.#slot.own & STATE_MASK) === CLOSED;
    if (this.#slot.own !== own) this.#mark();
  }

  #mark(): void {
    this.#shared.mark(this.#slot);
    this.#changed();
  }

  #toGuest(): void {
    const slot = this.#slot;
    // Who reads no more gets no more.
    const { other } = slot;
    const deaf = (other & STATE_MASK) === CLOSED || (other & FLAG_DEAF) !== 0;
    if (this.#left.length > 0) {
      const taken = deaf ? this.#left.length : slot.toGuest.write(this.#left);
      this.#left = this.#left.subarray(taken);
      if (taken > 0) this.#mark();
    }
    if (this.#left.length > 0) return;
    if (this.#closed) slot.own = CLOSED;
    else if (this.#ended) slot.own |= FLAG_EOF;
    else this.#socket.resume();
  }

  #toHost(): void {
    const slot = this.#slot;
    const { other } = slot;
    while (this.#open && !this.#busy && slot.toHost.length > 0) {
      const bytes = new Uint8Array(Math.min(slot.toHost.length, RING_BYTES));
      slot.toHost.read(bytes);
      this.#mark();
      this.#busy = !this.#socket.write(bytes);
    }
    if (this.#open && slot.toHost.length > 0) return;
    if ((other & STATE_MASK) === CLOSED) {
      if (this.#gone) return;
      this.#gone = true;
      // What is left is not for the guest; the socket is gone when all was written.
      this.#left = new Uint8Array(0);
      this.#socket.resume();
      this.#socket.destroySoon();
    } else if ((other & FLAG_EOF) !== 0 && this.#open && !this.#finishing) {
      this.#finishing = true;
      this.#socket.end();
    }
  }

  /** Says something to the host's program before the guest's bytes. */
  greet(text: string): void {
    this.#socket.write(text);
    this.#slot.own = OPEN;
  }
}
