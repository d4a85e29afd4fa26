/**
 * The control thread's end of a character device: what a terminal, a pipe or a file is connected to. The other end is
 * a UART or a virtio console. Nothing is lost either way: whoever cannot take more makes the other wait.
 */
import { RingReader, RingWriter, inRingBase, outRingBase } from './ring.ts';

/** Bytes of emergency output kept for a sink that is paused; what is beyond is dropped. */
const EMERGENCY_BYTES = 4096;
/** When to look for output that follows what has just come, ms. */
const FOLLOW_MS = 1;

export interface ChardevOptions {
  memory: WebAssembly.Memory;
  /** 0..MAX_CHARDEVS-1. */
  index: number;
  /** Makes the guest's side look at its rings: there is input, or room for output. May be set later. */
  wakeGuest?: () => void;
}

/** The guest's device that has a character device. */
export interface ChardevUser {
  /** Its driver may be made to wait when nobody takes what it writes; one that may not loses it. */
  readonly throttles: boolean;
}

export class Chardev {
  readonly index: number;
  /** The guest's device has come or gone. */
  onUser: (() => void) | null = null;
  #user: ChardevUser | null = null;
  wakeGuest: () => void;
  /** There is room for write() again. Called after a write() that took less than it was given. */
  onRoom: (() => void) | null = null;
  /** The guest has opened its side, or closed it; only where its device can tell (a port with VIRTIO_CONSOLE_F_MULTIPORT). */
  onGuestOpen: ((open: boolean) => void) | null = null;
  /** For the guest's device: connect() or disconnect() was called. */
  onConnected: ((open: boolean) => void) | null = null;
  /** For the guest's device: the terminal on the host's side has this size now, in characters. */
  onResize: ((cols: number, rows: number) => void) | null = null;
  #connected = true;
  #guestOpen = false;

  readonly #out: RingReader;
  readonly #in: RingWriter;
  #onData: ((bytes: Uint8Array) => void) | null = null;
  #paused = false;
  #waitsForRoom = false;
  #scheduled = false;
  #emergency: number[] = [];

  constructor({ memory, index, wakeGuest = () => {} }: ChardevOptions) {
    const buffer = memory.buffer as SharedArrayBuffer;
    this.index = index;
    this.wakeGuest = wakeGuest;
    this.#out = new RingReader(buffer, outRingBase(index));
    this.#in = new RingWriter(buffer, inRingBase(index));
    this.#out.wantData();
  }

  /**
   * Who takes the guest's output. Without one it waits in the ring, and the guest waits when the ring is full. The bytes
   * are the listener's to keep.
   */
  get onData(): ((bytes: Uint8Array) => void) | null {
    return this.#onData;
  }

  set onData(listener: ((bytes: Uint8Array) => void) | null) {
    this.#onData = listener;
    if (listener) this.#schedule();
  }

  /** null: no device has it. */
  get user(): ChardevUser | null {
    return this.#user;
  }

  /** For the guest's device. */
  setUser(user: ChardevUser | null): void {
    this.#user = user;
    this.onUser?.();
  }

  /** Whether the host's side is connected: it is from the beginning. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Tells the guest that somebody is there, or nobody, where its device can be told. Bytes are kept either way. */
  setConnected(open: boolean): void {
    if (this.#connected === open) return;
    this.#connected = open;
    this.onConnected?.(open);
  }

  get guestOpen(): boolean {
    return this.#guestOpen;
  }

  /** For the guest's device. */
  guestOpened(open: boolean): void {
    if (this.#guestOpen === open) return;
    this.#guestOpen = open;
    this.onGuestOpen?.(open);
  }

  /** Bytes that write() would take now. */
  get room(): number {
    return this.#in.room;
  }

  /**
   * Input for the guest.
   *
   * @returns bytes accepted, from the start; for the rest try again at onRoom
   */
  write(bytes: Uint8Array): number {
    let accepted = this.#in.write(bytes);
    while (accepted < bytes.length) {
      this.#waitsForRoom = true;
      if (!this.#in.wantRoom()) break;
      this.#waitsForRoom = false;
      accepted += this.#in.write(bytes.subarray(accepted));
    }
    if (accepted > 0) this.wakeGuest();
    return accepted;
  }

  /** Holds output back: the sink is busy. onData is not called until resume(). */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#schedule();
  }

  /**
   * Moves what the guest has written to onData and tells onRoom of room. To be called whenever CTL_ATTENTION has moved;
   * takes what is there now and leaves more for the next turn of the event loop.
   */
  drain(): void {
    if (this.#waitsForRoom && this.#in.wantRoom()) {
      this.#waitsForRoom = false;
      this.onRoom?.();
    }
    if (this.#paused || !this.#onData) return;
    this.#out.stopWantingData();
    const bytes = new Uint8Array(this.#out.length);
    this.#out.read(bytes);
    if (this.#out.takeWantRoom()) this.wakeGuest();
    if (bytes.length > 0) this.#onData(bytes);
    if (this.#emergency.length > 0) this.#onData(Uint8Array.from(this.#emergency.splice(0)));
    // More is likely to follow: it is fetched a little later, so that the guest need not wake this thread for each byte.
    if (bytes.length > 0) this.#schedule(FOLLOW_MS);
    else if (this.#out.wantData()) this.#schedule();
  }

  /** A character that does not come through the ring (virtio-console's emerg_wr), after all that does. */
  emergencyWrite(byte: number): void {
    if (this.#emergency.length < EMERGENCY_BYTES) this.#emergency.push(byte & 0xff);
    this.drain();
  }

  /** Drains by itself: at once, or some milliseconds later. */
  #schedule(delay = 0): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const drain = (): void => {
      this.#scheduled = false;
      this.drain();
    };
    if (delay === 0) setImmediate(drain);
    else setTimeout(drain, delay);
  }
}
