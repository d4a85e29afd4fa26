/** A console of the machine as programs see it: the control thread's end of a chardev, with listeners. */
import type { Chardev } from '../chardev/chardev.ts';

export class MachineConsole {
  readonly #chardev: Chardev;
  /** Sends a break; absent where the guest's device knows none (virtio-console). */
  readonly sendBreak?: () => void;

  constructor(chardev: Chardev, sendBreak?: () => void) {
    this.#chardev = chardev;
    if (sendBreak !== undefined) this.sendBreak = sendBreak;
  }

  /** Input for the guest. Returns how many bytes were taken, from the front; the rest may be offered again at onRoom. */
  write(bytes: Uint8Array): number {
    return this.#chardev.write(bytes);
  }

  /** Who is told when there is room again after a write that was not taken whole. One listener; the last one counts. */
  onRoom(listener: () => void): void {
    this.#chardev.onRoom = listener;
  }

  /** Who gets the guest's output; without a listener the output waits. One listener; the bytes are its to keep. */
  onData(listener: (bytes: Uint8Array) => void): void {
    this.#chardev.onData = listener;
  }

  /** Whether the guest has its side open; only ports of a virtio-serial device with max_ports > 1 can tell. */
  get guestOpen(): boolean {
    return this.#chardev.guestOpen;
  }

  /** Who is told when the guest opens or closes its side. One listener; the last one counts. */
  onGuestOpen(listener: (open: boolean) => void): void {
    this.#chardev.onGuestOpen = listener;
  }

  /** Tells such a guest that the host's side is connected, as it is from the beginning, or not. */
  setConnected(open: boolean): void {
    this.#chardev.setConnected(open);
  }

  /**
   * Tells the guest the size of the terminal, in characters, 1 to 65535.
   *
   * @returns false where its device cannot be told (a UART)
   */
  resize(cols: number, rows: number): boolean {
    if (this.#chardev.onResize === null) return false;
    this.#chardev.onResize(cols, rows);
    return true;
  }

  /** Whether resize() reaches the guest. */
  get resizable(): boolean {
    return this.#chardev.onResize !== null;
  }

  /** Holds the guest's output back until resume(). */
  pause(): void {
    this.#chardev.pause();
  }
  resume(): void {
    this.#chardev.resume();
  }
}
