/** The test in the place of the network worker: the other ends of a network card's two rings. */
import { Frame } from '../../core/net/frame.ts';
import type { FrameMeta } from '../../core/net/frame.ts';
import { FrameRingReader, FrameRingWriter } from '../../core/net/frame-ring.ts';
import { createDoorbell, createNicRings } from '../../core/net/nic-rings.ts';
import type { NicRings } from '../../core/net/nic-rings.ts';
import { until } from './virtio-bench.ts';

export class NetWire {
  readonly rings: NicRings = createNicRings(createDoorbell());
  readonly toNic = new FrameRingWriter(this.rings.toNic);
  readonly fromNic = new FrameRingReader(this.rings.fromNic);
  readonly #wake: () => void;

  /** @param wake wakes the I/O worker */
  constructor(wake: () => void) {
    this.#wake = wake;
    this.fromNic.open();
  }

  /** A frame for the card; whether there was room. */
  send(bytes: Uint8Array, meta: Partial<FrameMeta> = {}): boolean {
    const frame = new Frame(bytes);
    Object.assign(frame, meta);
    const sent = this.toNic.write(frame);
    this.#wake();
    return sent;
  }

  /** The next frame from the card, if there is one. */
  take(): Frame | null {
    const frame = new Frame();
    if (!this.fromNic.peek(frame)) return null;
    const copy = frame.copy();
    this.fromNic.release();
    if (this.fromNic.takeWantRoom()) this.#wake();
    return copy;
  }

  async next(): Promise<Frame> {
    let frame: Frame | null = null;
    await until(() => (frame = this.take()) !== null, 'a frame from the card');
    return frame!;
  }
}
