/**
 * A machine's character devices, by id: rings in shared memory, and what is at the host's end of them: a program that runs
 * the machine (consoles), or a link (core/chardev/host-link.ts).
 */
import type { Duplex } from 'node:stream';
import { Chardev } from '../chardev/chardev.ts';
import type { HostLink } from '../chardev/host-link.ts';
import { LinkPump } from '../chardev/link-pump.ts';
import { resetChardevRings } from '../chardev/ring.ts';
import { RingsideError } from '../errors.ts';
import { MAX_CHARDEVS } from '../worker/layout.ts';
import { MachineConsole } from './console.ts';

/** The UART's end of a character device; its rings are the first, as the engine has them. */
export interface UartEnd {
  /** The character device that it has. */
  readonly id: string;
  wakeGuest(): void;
  sendBreak(): void;
}

const UART_INDEX = 0;

interface Entry {
  readonly chardev: Chardev;
  /** null: a program connects it. */
  link: HostLink | null;
  /** That is to take the link's place when it goes. */
  next: HostLink | null;
  pump: LinkPump | null;
  /** A monitor has it. */
  monitor: boolean;
}

export interface ChardevsOptions {
  readonly memory: WebAssembly.Memory;
  /** By default there is none. */
  readonly uart?: UartEnd;
  /** One line for people. */
  onMessage?(message: string): void;
}

export class Chardevs {
  /** Those that programs connect. */
  readonly consoles = new Map<string, MachineConsole>();
  readonly #memory: WebAssembly.Memory;
  readonly #uart: UartEnd | null;
  readonly #onMessage: (message: string) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #ended = Promise.withResolvers<void>();
  #kept = false;

  constructor({ memory, uart, onMessage = () => {} }: ChardevsOptions) {
    this.#memory = memory;
    this.#uart = uart ?? null;
    this.#onMessage = onMessage;
  }

  /**
   * @param link what is at the host's end; null: a program connects it. Where the id has a link, it takes its place once that
   *   is closed, and the device stays.
   * @throws RingsideError 'bad-option', 'too-large'
   */
  open(id: string, link: HostLink | null = null): Chardev {
    const known = this.#entries.get(id);
    if (known !== undefined) {
      if (known.link === null || link === null || known.next !== null) {
        throw new RingsideError('bad-option', `there is a character device ${id} already`);
      }
      known.next = link;
      return known.chardev;
    }
    const uart = id === this.#uart?.id ? this.#uart : null;
    const index = uart === null ? this.#freeIndex() : UART_INDEX;
    resetChardevRings(this.#memory.buffer as SharedArrayBuffer, index);
    const chardev = new Chardev({ memory: this.#memory, index });
    const entry: Entry = { chardev, link, next: null, pump: null, monitor: false };
    this.#entries.set(id, entry);
    if (uart !== null) chardev.wakeGuest = () => uart.wakeGuest();
    chardev.onUser = () => this.#userChanged(id, entry);
    if (uart !== null) chardev.setUser({ throttles: false });
    if (link === null) {
      this.consoles.set(id, new MachineConsole(chardev, uart === null ? undefined : () => uart.sendBreak()));
    }
    return chardev;
  }

  #freeIndex(): number {
    const taken = new Set([...this.#entries.values()].map(({ chardev }) => chardev.index));
    for (let index = UART_INDEX + 1; index < MAX_CHARDEVS; index++) if (!taken.has(index)) return index;
    throw new RingsideError('too-large', `a machine can have ${MAX_CHARDEVS} character devices. Leave some out.`);
  }

  /** A guest's device has taken it, or let it go. */
  #userChanged(id: string, entry: Entry): void {
    const { chardev, link } = entry;
    if (link === null) return;
    entry.pump?.close();
    entry.pump = null;
    if (chardev.user === null) return;
    const uart = id === this.#uart?.id ? this.#uart : null;
    const onBreak = uart === null ? undefined : () => uart.sendBreak();
    const onDrop = (): void =>
      this.#onMessage(`chardev ${id}: output is dropped, because whoever is connected does not read it.`);
    entry.pump = new LinkPump({ chardev, link, throttles: chardev.user.throttles, onBreak, onDrop });
  }

  /**
   * Nothing of the guest uses it any more; or `link` goes, and another has come for it.
   *
   * @param link that it was opened with
   */
  async close(chardev: Chardev, id: string, link: HostLink | null = null): Promise<void> {
    // The machine ends: consoles stay, so that programs can still take what is in their rings.
    if (this.#kept) return;
    const entry = this.#entries.get(id);
    if (entry?.chardev !== chardev) return;
    if (link !== null && link === entry.next) entry.next = null;
    else if (entry.next !== null) {
      chardev.drain();
      entry.pump?.close();
      entry.pump = null;
      entry.link = entry.next;
      entry.next = null;
      this.#userChanged(id, entry);
    } else {
      chardev.drain();
      entry.pump?.close();
      chardev.onData = null;
      this.#entries.delete(id);
      this.consoles.delete(id);
    }
    await link?.close();
  }

  #entry(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new RingsideError('not-found', `there is no character device ${id}`);
    return entry;
  }

  /** @throws RingsideError 'not-found' */
  link(id: string): HostLink | null {
    return this.#entry(id).link;
  }

  /**
   * A monitor has it from now on: `accept` gets a stream for each client.
   *
   * @throws RingsideError 'not-found', 'unsupported'
   */
  serve(id: string, accept: (stream: Duplex) => void): void {
    const entry = this.#entry(id);
    if (entry.link === null) throw new RingsideError('unsupported', `a program has the character device ${id}`);
    entry.monitor = true;
    entry.link.streams(accept);
  }

  /** Whether another link may take the place of that which it has. */
  changeable(id: string): boolean {
    const { link, monitor } = this.#entry(id);
    return link !== null && !monitor;
  }

  /** Sends a break. @throws RingsideError 'not-found', 'unsupported' */
  sendBreak(id: string): void {
    this.#entry(id);
    if (id !== this.#uart?.id) throw new RingsideError('unsupported', `Chardev '${id}' knows no break`);
    this.#uart.sendBreak();
  }

  /** For "info chardev". `open`: somebody is at the host's end; of what programs connect, always. */
  list(): { id: string; filename: string; open: boolean; user: 'uart' | 'monitor' | 'device' | null }[] {
    return [...this.#entries].map(([id, { chardev, link, monitor }]) => ({
      id,
      filename: link?.filename ?? id,
      open: link?.open ?? true,
      user: monitor ? 'monitor' : id === this.#uart?.id ? 'uart' : chardev.user === null ? null : 'device',
    }));
  }

  /**
   * What the machine is to wait for: that somebody is at the end of each link that says so; null: nothing.
   *
   * @throws RingsideError 'bad-state' (rejected) when the machine ends before
   */
  awaited(): Promise<void> | null {
    const links = [...this.#entries.values()].flatMap(({ link }) => (link?.waits && !link.open ? [link] : []));
    return links.length === 0 ? null : this.#await(links);
  }

  async #await(links: readonly HostLink[]): Promise<void> {
    for (const link of links) {
      if (link.open) continue;
      this.#onMessage(`waiting for connection on: ${link.filename}`);
      await Promise.race([link.whenOpen(), this.#ended.promise]);
      if (this.#kept) throw new RingsideError('bad-state', 'the VM has ended. Start it anew.');
    }
  }

  /** The machine ends: whoever is connected can still take what is in the rings. */
  keep(): void {
    this.#kept = true;
    this.#ended.resolve();
  }

  /** After keep(): closes all links. May be called twice. */
  async end(): Promise<void> {
    this.drain();
    const links = [...this.#entries.values()].flatMap(({ link, next }) => [link, next]);
    await Promise.all(links.filter((link) => link !== null).map((link) => link.close()));
  }

  /** To be called whenever CTL_ATTENTION moves. */
  drain(): void {
    for (const { chardev } of this.#entries.values()) chardev.drain();
  }
}
