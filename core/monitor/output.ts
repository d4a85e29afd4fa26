/** What a client is sent. A client that does not read is neither waited for by the machine nor given endless memory. */
import type { Duplex } from 'node:stream';

/** Bytes waiting to be read by the client at which its next command waits, too. */
const BUSY = 256 * 1024;
/** Bytes at which a client that gets events and does not read them is cut off. */
const LIMIT = 4 * 1024 * 1024;

export class MonitorOutput {
  readonly #stream: Duplex;
  #closed = false;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.once('close', () => (this.#closed = true));
  }

  write(text: string): void {
    if (this.#closed || this.#stream.writableEnded || this.#stream.destroyed) return;
    this.#stream.write(text);
    if (this.#stream.writableLength > LIMIT) this.#stream.destroy();
  }

  /** Resolves when the client has read most of what it was sent, or is gone. */
  async ready(): Promise<void> {
    const stream = this.#stream;
    if (this.#closed || stream.destroyed || stream.writableLength <= BUSY) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        stream.off('drain', done).off('close', done);
        resolve();
      };
      stream.on('drain', done).on('close', done);
    });
  }
}
