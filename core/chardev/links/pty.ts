/** A pseudo-terminal of the host: screen, minicom and the like open its other end. Linux, with the native addon. */
import { close, closeSync, read, write } from 'node:fs';
import { setTimeout as setTimeoutPromise } from 'node:timers/promises';
import { errorLine, RingsideError } from '../../errors.ts';
import { POLLERR, POLLHUP, POLLIN } from '../../host/host.ts';
import type { Host } from '../../host/host.ts';
import { HostLink, LINK_BACKLOG } from '../host-link.ts';

/** How often it is looked whether somebody has opened it, ms. */
const LOOK_MS = 100;
/** A terminal that is not read, or that nobody types on, is asked again after this, ms; after a second of nothing less often. */
const RETRY_MS = 10;
const IDLE_RETRY_MS = 50;
const IDLE_AFTER_MS = 1000;
const READ_BYTES = 4096;

/** How long a program has to read what was written last when the terminal ends, ms. */
const CLOSE_LIMIT = 500;

type PtyHost = Pick<Host, 'openPty' | 'poll'>;

export class PtyLink extends HostLink {
  /** e.g. /dev/pts/3. */
  readonly path: string;
  override readonly announcement: string;
  readonly #host: PtyHost;
  readonly #master: number;
  readonly #timer: NodeJS.Timeout;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #full = false;
  #reading = false;
  #lastInput = 0;
  #writing = false;
  #ending = false;
  #closed = false;

  /**
   * @param name of the character device
   * @throws RingsideError 'unsupported' where the host gives none
   */
  constructor(host: PtyHost, name: string) {
    super();
    this.#host = host;
    const { master, slave, path } = open(host);
    // The terminal stays raw for as long as the master is there. Without a slave of ours it is seen whether anybody has it open.
    closeSync(slave);
    this.#master = master;
    this.path = path;
    this.announcement = `char device redirected to ${path} (label ${name})`;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#timer.unref();
  }

  get filename(): string {
    return `pty:${this.path}`;
  }

  /** Events of the master. */
  #poll(): number {
    const entry = Int32Array.of(this.#master, POLLIN, 0);
    this.#host.poll(entry, 0);
    return entry[2];
  }

  #look(): void {
    if (this.#closed) return;
    const events = this.#poll();
    const gone = (events & (POLLHUP | POLLERR)) !== 0;
    // Whoever was quick may have written and gone again.
    if (gone && (events & POLLIN) === 0) this.#left();
    else {
      this.setOpen(true);
      this.#read();
    }
  }

  #left(): void {
    this.#queue = [];
    this.#queued = 0;
    this.#full = false;
    this.setOpen(false);
  }

  #read(): void {
    if (this.#closed || this.#reading || !this.wanted || !this.open) return;
    this.#reading = true;
    const buffer = new Uint8Array(READ_BYTES);
    read(this.#master, buffer, (error, count) => {
      this.#reading = false;
      if (this.#closed) return this.#finish();
      if (error === null && count > 0) {
        this.#lastInput = Date.now();
        this.received(buffer.subarray(0, count));
        this.#read();
      } else if (error?.code === 'EAGAIN') {
        const idle = Date.now() - this.#lastInput > IDLE_AFTER_MS;
        setTimeout(() => this.#read(), idle ? IDLE_RETRY_MS : RETRY_MS).unref();
      } else {
        // EIO: the last one has closed it.
        this.#left();
      }
    });
  }

  protected flow(wanted: boolean): void {
    if (wanted) this.#read();
  }

  protected send(bytes: Uint8Array): boolean {
    if (!this.open || this.#closed) return true;
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    this.#full = this.#queued >= LINK_BACKLOG;
    this.#write();
    return !this.#full;
  }

  #write(): void {
    const [bytes] = this.#queue;
    if (this.#writing || bytes === undefined || this.#closed) return;
    this.#writing = true;
    write(this.#master, bytes, (error, count) => {
      this.#writing = false;
      if (this.#closed) return this.#finish();
      if (error?.code === 'EAGAIN') {
        setTimeout(() => this.#write(), RETRY_MS).unref();
        return;
      }
      if (error !== null) return this.#left();
      this.#written(bytes, count);
      this.#write();
    });
  }

  #written(bytes: Uint8Array, count: number): void {
    // It may have been emptied meanwhile.
    if (this.#queue[0] !== bytes) return;
    if (count === bytes.length) this.#queue.shift();
    else this.#queue[0] = bytes.subarray(count);
    this.#queued -= count;
    if (!this.#full || this.#queued >= LINK_BACKLOG) return;
    this.#full = false;
    this.drained();
  }

  protected async end(): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    for (const limit = Date.now() + CLOSE_LIMIT; this.open && this.#queued > 0 && Date.now() < limit;) {
      await setTimeoutPromise(RETRY_MS);
    }
    this.#closed = true;
    clearInterval(this.#timer);
    this.#finish();
  }

  /** Closes the terminal once no call is under way on it. */
  #finish(): void {
    if (!this.#reading && !this.#writing) close(this.#master);
  }
}

function open(host: PtyHost): ReturnType<PtyHost['openPty']> {
  try {
    return host.openPty();
  } catch (error) {
    throw new RingsideError('unsupported', `this computer gives no pseudo-terminal: ${errorLine(error)}`, {
      cause: error,
    });
  }
}
