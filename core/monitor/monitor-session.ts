/**
 * HMP for a page of the app: bytes of a terminal in, bytes for a terminal out, editing, history and completion included. It
 * has the shape of a console's device, so that a ConsolePort can be connected to it:
 *
 *     const monitor = new Monitor({ target: machine.monitor(name), version });
 *     const session = monitor.session();
 *     port.connect(session);                                   // main/app/console-port.ts
 *     monitor.traffic.subscribe((entry) => ...);               // the log of QMP: traffic.ts
 *     await monitor.execute({ execute: 'query-status' });      // QMP's answer, { return } or { error }
 *     monitor.close();                                         // with the machine
 */
import { Duplex } from 'node:stream';

/** Bytes typed ahead that are taken. */
const TYPED_AHEAD = 64 * 1024;

export class MonitorSession {
  readonly #stream: Duplex;
  #onData: (bytes: Uint8Array) => void = () => {};
  #onRoom: () => void = () => {};
  #early: Uint8Array[] = [];
  #listened = false;
  #refused = false;

  /** @param serve makes something that serves HMP on a stream */
  constructor(serve: (stream: Duplex) => void) {
    this.#stream = new Duplex({
      readableHighWaterMark: TYPED_AHEAD,
      read: () => this.#wanted(),
      write: (chunk: Buffer, _encoding, done) => {
        this.#show(chunk);
        done();
      },
    });
    serve(this.#stream);
  }

  /** What was shown before there was a listener comes first. */
  onData(listener: (bytes: Uint8Array) => void): void {
    this.#onData = listener;
    this.#listened = true;
    for (const bytes of this.#early.splice(0)) listener(bytes);
  }

  /** Called when there is room again after a write that was not taken whole. */
  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  /**
   * What somebody types.
   *
   * @returns bytes taken, from the front; all of them once it is closed
   */
  write(bytes: Uint8Array): number {
    if (this.#stream.destroyed || this.#stream.readableEnded) return bytes.length;
    const count = Math.min(bytes.length, TYPED_AHEAD - this.#stream.readableLength);
    this.#refused = count < bytes.length;
    if (count > 0) this.#stream.push(bytes.slice(0, count));
    return count;
  }

  close(): void {
    this.#stream.destroy();
  }

  #wanted(): void {
    if (!this.#refused) return;
    this.#refused = false;
    // Not from inside of the stream's own work.
    queueMicrotask(() => this.#onRoom());
  }

  #show(bytes: Uint8Array): void {
    if (this.#listened) this.#onData(bytes);
    else this.#early.push(bytes);
  }
}
