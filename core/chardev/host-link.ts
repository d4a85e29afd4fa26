/**
 * The host's side of a character device: a file, a socket, a pseudo-terminal. What is on the other side is a guest's device
 * (link-pump.ts) or a monitor (link-stream.ts), one of them at a time.
 */
import type { Duplex } from 'node:stream';
import type { FileSink } from './file-sink.ts';
import { streamsOf } from './link-stream.ts';
import type { LinkUser } from './link-user.ts';

/** Bytes that wait in a link for somebody who does not read before it says that it has enough. */
export const LINK_BACKLOG = 256 * 1024;

const NOBODY: LinkUser = { data() {}, opened() {}, drained() {}, break() {} };

export abstract class HostLink {
  /** What "info chardev" says of it. */
  abstract readonly filename: string;
  /** Said once when the machine takes it up, e.g. where a pseudo-terminal is; null: nothing. */
  readonly announcement: string | null = null;
  /** The machine is not to start before somebody is there. */
  readonly waits: boolean = false;

  #user: LinkUser = NOBODY;
  #open = false;
  #attached = false;
  #held = false;
  #log: FileSink | null = null;
  #waiting: (() => void)[] = [];

  /** Everything that is written goes into it too. */
  set log(sink: FileSink) {
    this.#log = sink;
  }

  /** Whether somebody is there. */
  get open(): boolean {
    return this.#open;
  }

  /** From now on bytes are taken from the host. */
  attach(user: LinkUser): void {
    this.#user = user;
    this.#attached = true;
    this.#held = false;
    user.opened(this.#open);
    this.flow(true);
  }

  /** Nobody takes what comes from the host: it waits there. */
  detach(): void {
    this.#user = NOBODY;
    this.#attached = false;
    this.flow(false);
  }

  /** Takes no more bytes from the host, until release(). */
  hold(): void {
    this.#held = true;
    this.flow(false);
  }

  release(): void {
    this.#held = false;
    if (this.#attached) this.flow(true);
  }

  /** Whether bytes from the host are wanted now. */
  protected get wanted(): boolean {
    return this.#attached && !this.#held;
  }

  /**
   * All of the bytes are taken; where nobody is, they are dropped.
   *
   * @returns false: enough is waiting; drained() tells when it is less
   */
  write(bytes: Uint8Array): boolean {
    this.#log?.write(bytes);
    return this.send(bytes);
  }

  /** Resolves when somebody is there. */
  async whenOpen(): Promise<void> {
    if (!this.#open) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /**
   * Serves whoever comes, one after the other or several at once, by streams of their own. The link is used up: nothing else
   * may have it.
   */
  streams(accept: (stream: Duplex) => void): void {
    streamsOf(this, accept);
  }

  /** Sends away who is there, where that is possible. */
  hangUp(): void {}

  /** What is waiting is given a moment. Nothing is left open then. May be called twice. */
  async close(): Promise<void> {
    this.detach();
    await this.end();
    await this.#log?.close();
  }

  protected received(bytes: Uint8Array): void {
    this.#user.data(bytes);
  }

  protected breakReceived(): void {
    this.#user.break();
  }

  protected drained(): void {
    this.#user.drained();
  }

  protected setOpen(open: boolean): void {
    if (this.#open === open) return;
    this.#open = open;
    if (open) for (const resolve of this.#waiting.splice(0)) resolve();
    this.#user.opened(open);
  }

  protected abstract send(bytes: Uint8Array): boolean;
  /** Bytes from the host are wanted, or not. Only what comes while they are is to be received(). */
  protected abstract flow(wanted: boolean): void;
  protected abstract end(): void | Promise<void>;
}
