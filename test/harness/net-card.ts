/** The test in the place of a network card: the other ends of the two rings of the network worker. */
import { Frame } from '../../core/net/frame.ts';
import type { FrameMeta } from '../../core/net/frame.ts';
import { FrameRingReader, FrameRingWriter } from '../../core/net/frame-ring.ts';
import { Doorbell } from '../../core/net/nic-rings.ts';
import { NETDEV_TYPES } from '../../core/net/netdev-types.ts';
import type { Netdev, NetdevSpec, NicConnection } from '../../core/net/network.ts';
import type { PropertyValue } from '../../core/qom/property.ts';
import { until } from './virtio-bench.ts';

/** What -netdev KIND,id=ID,... says. */
export function netdevSpec(kind: string, id: string, values: Record<string, PropertyValue> = {}): NetdevSpec {
  const type = NETDEV_TYPES.find((candidate) => candidate.kind === kind)!;
  return type.spec(id, { ...Object.fromEntries(type.properties.map((p) => [p.name, p.default])), ...values });
}

export class NetCard {
  readonly nic: NicConnection;
  readonly #reader: FrameRingReader;
  readonly #writer: FrameRingWriter;
  readonly #doorbell: Doorbell;
  linkUp = true;

  constructor(netdev: Netdev) {
    this.nic = netdev.connectNic();
    this.nic.onLink = (up) => (this.linkUp = up);
    const { fromNic, toNic, doorbell } = this.nic.rings;
    this.#writer = new FrameRingWriter(fromNic);
    this.#reader = new FrameRingReader(toNic);
    this.#doorbell = new Doorbell(doorbell);
    this.#reader.open();
  }

  /** Whether the network worker takes frames of it. */
  get isPlugged(): boolean {
    return this.#writer.isOpen;
  }

  /** A frame for the network; false when there is no room now. */
  trySend(bytes: Uint8Array, meta: Partial<FrameMeta> = {}): boolean {
    const sent = this.#writer.write(Object.assign(new Frame(bytes), meta));
    this.#doorbell.ring();
    return sent;
  }

  async send(bytes: Uint8Array, meta: Partial<FrameMeta> = {}): Promise<void> {
    await until(() => this.isPlugged, 'the network worker');
    await until(() => this.trySend(bytes, meta), 'room for a frame');
  }

  /** The next frame, if there is one. */
  take(): Uint8Array | null {
    const frame = new Frame();
    if (!this.#reader.peek(frame)) return null;
    const copy = new Uint8Array(frame.data);
    this.#reader.release();
    if (this.#reader.takeWantRoom()) this.#doorbell.ring();
    return copy;
  }

  async next(milliseconds?: number): Promise<Uint8Array> {
    let frame: Uint8Array | null = null;
    await until(() => (frame = this.take()) !== null, 'a frame', milliseconds);
    return frame!;
  }
}
