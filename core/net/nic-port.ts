/** A network card as the network worker sees it: two rings, one from and one to the I/O worker that serves the card. */
import { IOT_SLEEPING, IOT_WAKE } from '../worker/layout.ts';
import type { Capture } from './capture.ts';
import { NetEndpoint } from './endpoint.ts';
import { Frame, OFFLOAD_ALL } from './frame.ts';
import { FrameRingReader, FrameRingWriter } from './frame-ring.ts';
import { Doorbell } from './nic-rings.ts';
import type { NicRings } from './nic-rings.ts';

/** Frames moved before others have their turn. */
const TURN_FRAMES = 256;

export class NicPort extends NetEndpoint {
  /** The card adapts frames itself to what its driver can do. */
  readonly offloads = OFFLOAD_ALL;
  readonly #fromNic: FrameRingReader;
  readonly #toNic: FrameRingWriter;
  /** Of the network worker itself. */
  readonly #doorbell: Doorbell;
  /** Of the machine's memory. */
  readonly #words: Int32Array;
  readonly #frame = new Frame();
  readonly #captures = new Set<Capture>();
  /** The peer has refused a frame. */
  #held = false;
  /** The peer was refused one. */
  #full = false;
  #linkUp = true;
  #wrote = false;

  /** @param memory the machine's linear memory, in which I/O workers sleep */
  constructor({ fromNic, toNic, doorbell }: NicRings, memory: WebAssembly.Memory) {
    super();
    this.#fromNic = new FrameRingReader(fromNic);
    this.#toNic = new FrameRingWriter(toNic);
    this.#doorbell = new Doorbell(doorbell);
    this.#words = new Int32Array(memory.buffer);
    this.#fromNic.open();
  }

  /** A link that is down loses all frames, both ways (QEMU: set_link of the netdev). */
  set linkUp(up: boolean) {
    this.#linkUp = up;
  }

  addCapture(capture: Capture): void {
    this.#captures.add(capture);
  }

  removeCapture(capture: Capture): void {
    this.#captures.delete(capture);
  }

  /**
   * Moves what the card has sent, and tells the peer of room.
   *
   * @returns whether there is more to do at once
   */
  turn(): boolean {
    if (this.#full && !this.#toNic.waits) {
      this.#full = false;
      this.peer?.resume();
    }
    if (this.#held) return false;
    const frame = this.#frame;
    let moved = 0;
    while (!this.#held && moved < TURN_FRAMES && this.#fromNic.peek(frame)) {
      moved++;
      if (this.#linkUp) {
        for (const capture of this.#captures) capture.frame(frame, 'out');
        this.#held = !this.give(frame);
      }
      this.#fromNic.release();
    }
    if (moved === 0) return false;
    this.peer?.flush();
    for (const capture of this.#captures) capture.flush();
    if (this.#fromNic.takeWantRoom()) this.#wakeNic(this.#fromNic.waitBlock);
    return !this.#held && !this.#fromNic.isEmpty;
  }

  send(frame: Frame): boolean {
    if (!this.#linkUp || !this.#toNic.isOpen) return true;
    while (!this.#toNic.write(frame)) {
      if (this.#toNic.wantRoom()) continue;
      this.#full = true;
      this.flush();
      // The card may be shut by now, and nobody would wake us.
      if (this.#toNic.isOpen) return false;
      this.#full = false;
      return true;
    }
    this.#wrote = true;
    for (const capture of this.#captures) capture.frame(frame, 'in');
    return true;
  }

  override flush(): void {
    if (!this.#wrote) return;
    this.#wrote = false;
    this.#wakeNic(this.#toNic.waitBlock);
    for (const capture of this.#captures) capture.flush();
  }

  protected flow(): void {
    this.#held = false;
    this.#doorbell.ring();
  }

  /** The card is gone: nobody reads or writes the rings any more. */
  close(): void {
    this.connect(null);
    for (const capture of this.#captures) capture.close();
    this.#captures.clear();
  }

  #wakeNic(waitBlock: number): void {
    if (waitBlock === 0) return;
    Atomics.add(this.#words, (waitBlock + IOT_WAKE) / 4, 1);
    if (Atomics.load(this.#words, (waitBlock + IOT_SLEEPING) / 4) !== 0) {
      Atomics.notify(this.#words, (waitBlock + IOT_WAKE) / 4);
    }
  }
}
