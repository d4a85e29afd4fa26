/** A link as a stream for a monitor: one for each time that somebody is there. */
import { Duplex } from 'node:stream';
import type { LinkUser, UsedLink } from './link-user.ts';

/** Bytes typed ahead that are taken. */
const TYPED_AHEAD = 64 * 1024;

export class LinkStream extends Duplex {
  readonly #link: UsedLink;
  #writing: (() => void) | null = null;
  #left = false;

  constructor(link: UsedLink) {
    super({ readableHighWaterMark: TYPED_AHEAD });
    this.#link = link;
  }

  override _read(): void {
    this.#link.release();
  }

  /** From the host. */
  fill(bytes: Uint8Array): void {
    if (!this.push(bytes)) this.#link.hold();
  }

  /** Nobody is there any more. */
  leave(): void {
    this.#left = true;
    this.push(null);
    this.drained();
    this.destroy();
  }

  drained(): void {
    const done = this.#writing;
    this.#writing = null;
    done?.();
  }

  /** Whoever serves it has ended it. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#left) this.#link.hangUp();
    done(error);
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    // Streams may use the memory of a chunk again.
    if (this.#link.write(Buffer.from(chunk))) done();
    else this.#writing = done;
  }
}

/** Gives `accept` a stream whenever somebody comes. */
export function streamsOf(link: UsedLink, accept: (stream: Duplex) => void): void {
  let stream: LinkStream | null = null;
  const user: LinkUser = {
    opened(open) {
      stream?.leave();
      stream = open ? new LinkStream(link) : null;
      if (stream !== null) accept(stream);
    },
    data: (bytes) => stream?.fill(bytes),
    drained: () => stream?.drained(),
    break() {},
  };
  link.attach(user);
}
