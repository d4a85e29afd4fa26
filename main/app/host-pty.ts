/**
 * A console of a VM as a pseudo-terminal of the host, for screen, minicom and scripts. It is one more watcher of the console
 * port: somebody who does not read it delays nobody, and loses what does not fit.
 */
import { closeSync, write } from 'node:fs';
import { ReadStream } from 'node:tty';
import { errorLine, RingsideError } from '../../core/errors.ts';
import type { BytePort } from '../ipc/contract.ts';
import { ConsoleClient } from '../ipc/contract/console-client.ts';

/** What opens one: native/src/pty.cc. */
export interface PtyOpener {
  /** File descriptors; the terminal is raw and the master non-blocking. */
  ptyOpen(): { master: number; slave: number; path: string };
}

/** A terminal that nobody reads is offered the next bytes again after this, ms; the wait doubles up to the second. */
const RETRY_MS = 10;
const RETRY_MOST_MS = 250;

export class HostPty {
  /** The device to open, e.g. /dev/pts/3. */
  readonly path: string;
  readonly #master: number;
  readonly #slave: number;
  readonly #input: ReadStream;
  readonly #client: ConsoleClient;
  #output: { bytes: Uint8Array; shown: () => void }[] = [];
  #writing = false;
  #wait = RETRY_MS;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * @param port the console's end of a stream; closed with the terminal
   * @param onEnd the stream or the terminal ended by itself
   * @throws RingsideError 'io'
   */
  constructor(opener: PtyOpener, port: BytePort, onEnd: () => void) {
    const end = () => {
      if (this.#closed) return;
      this.close();
      onEnd();
    };
    try {
      const { master, slave, path } = opener.ptyOpen();
      this.#master = master;
      this.#slave = slave;
      this.path = path;
    } catch (error) {
      port.close();
      throw new RingsideError('io', `this computer gives no pseudo-terminal: ${errorLine(error)}`, { cause: error });
    }
    this.#input = new ReadStream(this.#master);
    // What does not fit is dropped: the guest does not read, and a terminal has nobody to tell.
    this.#input.on('data', (bytes: Buffer) => void this.#client.send(new Uint8Array(bytes)));
    this.#input.on('error', end);
    this.#client = new ConsoleClient(port, {
      data: (bytes, replay, shown) => {
        // Who connects wants what comes, not answers to what was asked long ago.
        if (replay) shown();
        else {
          this.#output.push({ bytes: bytes.slice(), shown });
          this.#flush();
        }
      },
      gap: () => {},
      reset: () => {},
      closed: end,
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#output = [];
    this.#client.close();
    // Closes the master, unless a write is still under way with it.
    if (!this.#writing) this.#end();
  }

  #end(): void {
    this.#input.destroy();
    closeSync(this.#slave);
  }

  #flush(): void {
    const [head] = this.#output;
    if (this.#closed || this.#writing || this.#timer !== undefined || head === undefined) return;
    this.#writing = true;
    write(this.#master, head.bytes, (error, written) => {
      this.#writing = false;
      if (this.#closed) {
        this.#end();
        return;
      }
      if (error !== null && error.code !== 'EAGAIN') {
        this.#input.destroy(error);
        return;
      }
      if (error !== null || written === 0) {
        this.#timer = setTimeout(() => {
          this.#timer = undefined;
          this.#flush();
        }, this.#wait);
        this.#timer.unref();
        this.#wait = Math.min(RETRY_MOST_MS, this.#wait * 2);
        return;
      }
      this.#wait = RETRY_MS;
      if (written === head.bytes.length) {
        this.#output.shift();
        head.shown();
      } else head.bytes = head.bytes.subarray(written);
      this.#flush();
    });
  }
}
