/** Moves bytes between a guest's character device and the host's side of it. */
import type { Chardev } from './chardev.ts';
import type { HostLink } from './host-link.ts';
import type { LinkUser } from './link-user.ts';

export interface LinkPumpOptions {
  readonly chardev: Chardev;
  readonly link: HostLink;
  /**
   * The guest's writer may be made to wait. A console's may not: Linux writes to consoles with locks held, and all of the guest
   * would stand still for somebody who does not read.
   */
  readonly throttles: boolean;
  /** The guest is to see a break. */
  onBreak?: (() => void) | undefined;
  /** Output was dropped for the first time since somebody came. */
  onDrop?: (() => void) | undefined;
}

export class LinkPump implements LinkUser {
  readonly #chardev: Chardev;
  readonly #link: HostLink;
  readonly #throttles: boolean;
  readonly #onBreak: () => void;
  readonly #onDrop: () => void;
  /** What the guest has no room for yet. The link is held meanwhile. */
  #pending: Uint8Array | null = null;
  #full = false;
  #dropped = false;

  constructor({ chardev, link, throttles, onBreak = () => {}, onDrop = () => {} }: LinkPumpOptions) {
    this.#chardev = chardev;
    this.#link = link;
    this.#throttles = throttles;
    this.#onBreak = onBreak;
    this.#onDrop = onDrop;
    chardev.onRoom = () => this.#offer();
    chardev.onData = (bytes) => this.#write(bytes);
    link.attach(this);
  }

  #write(bytes: Uint8Array): void {
    if (this.#full) {
      if (!this.#dropped) this.#onDrop();
      this.#dropped = true;
      return;
    }
    if (this.#link.write(bytes)) return;
    this.#full = true;
    if (this.#throttles) this.#chardev.pause();
  }

  drained(): void {
    if (!this.#full) return;
    this.#full = false;
    if (this.#throttles) this.#chardev.resume();
  }

  data(bytes: Uint8Array): void {
    if (this.#pending !== null) {
      // A link may have had something in its hands when it was held.
      this.#pending = Buffer.concat([this.#pending, bytes]);
      return;
    }
    const taken = this.#chardev.write(bytes);
    if (taken === bytes.length) return;
    this.#pending = bytes.subarray(taken);
    this.#link.hold();
  }

  #offer(): void {
    if (this.#pending === null) return;
    const taken = this.#chardev.write(this.#pending);
    this.#pending = taken === this.#pending.length ? null : this.#pending.subarray(taken);
    if (this.#pending === null) this.#link.release();
  }

  opened(open: boolean): void {
    this.#dropped = false;
    // As in QEMU a console is there whether somebody looks at it or not.
    if (this.#throttles) this.#chardev.setConnected(open);
    // What waited for somebody who is gone waits no more.
    this.drained();
  }

  break(): void {
    this.#onBreak();
  }

  /** The guest's device, or the link, goes. */
  close(): void {
    this.#link.detach();
    this.drained();
    this.#chardev.onRoom = null;
    this.#chardev.onData = null;
  }
}
