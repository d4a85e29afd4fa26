/** Bytes between the terminal's streams and a console device, in order, with nothing lost and nothing piling up. */
import type { Readable, Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { MachineConsole } from '../../core/machine/console.ts';

/** What is used of a console of the machine. */
export type ConsoleDevice = Pick<MachineConsole, 'write' | 'onRoom' | 'onData' | 'pause' | 'resume'>;

/** From stdin to the guest. What the guest has no room for waits here, and in the pipe behind stdin. */
export class InputPump {
  #device: ConsoleDevice;
  #source: Readable;
  #limit: number;
  #queue: Uint8Array[] = [];
  #backlog = 0;

  /** @param limit bytes waiting at which no more is read from `source` */
  constructor(device: ConsoleDevice, source: Readable, limit: number) {
    this.#device = device;
    this.#source = source;
    this.#limit = limit;
    device.onRoom(() => this.#flush());
  }

  push(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    this.#backlog += bytes.length;
    this.#flush();
    if (this.#backlog >= this.#limit) this.#source.pause();
  }

  #flush(): void {
    const before = this.#backlog;
    while (this.#queue.length > 0) {
      const [first] = this.#queue;
      const taken = this.#device.write(first);
      this.#backlog -= taken;
      if (taken < first.length) {
        this.#queue[0] = first.subarray(taken);
        break;
      }
      this.#queue.shift();
    }
    if (before >= this.#limit && this.#backlog < this.#limit) this.#source.resume();
  }
}

/** From the guest to stdout. While stdout is busy the device is paused, and so, in the end, is the guest's writing. */
export class OutputPump {
  #device: ConsoleDevice;
  #target: Writable;
  #received = 0;
  #pending = 0;
  #failed = false;
  #waiters: (() => void)[] = [];

  /** @param onError called once, with what made stdout unusable (EPIPE: its reader has gone) */
  constructor(device: ConsoleDevice, target: Writable, onError: (error: NodeJS.ErrnoException) => void) {
    this.#device = device;
    this.#target = target;
    target.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#failed) return;
      this.#failed = true;
      this.#device.resume();
      this.#wake();
      onError(error);
    });
    target.on('drain', () => this.#device.resume());
    device.onData((bytes) => this.#write(bytes));
  }

  #write(bytes: Uint8Array): void {
    this.#received += bytes.length;
    if (this.#failed) return;
    this.#pending++;
    const more = this.#target.write(bytes, () => {
      this.#pending--;
      if (this.#pending === 0) this.#wake();
    });
    if (!more) this.#device.pause();
  }

  /** Resolves when all that the guest has written has left this process, or cannot. For when the guest has ended. */
  async finish(): Promise<void> {
    for (let before = -1; before !== this.#received && !this.#failed;) {
      before = this.#received;
      await this.#flushed();
      this.#device.resume();
      // What the device held back comes in a turn of its own.
      await nextTurn();
      await nextTurn();
    }
    await this.#flushed();
  }

  #flushed(): Promise<void> {
    if (this.#pending === 0 || this.#failed) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }
}

/** Takes what the guest writes to a device that is connected to nothing, so that the guest does not wait. */
export function discardOutput(device: ConsoleDevice): void {
  device.onData(() => {});
}
