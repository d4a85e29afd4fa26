/**
 * Which queue pair a flow belongs to without RSS: that on which the driver last sent a packet of it (virtio 1.3, section
 * 5.1.6.5.6.1, automatic receive steering).
 */
import { parseIp } from '../../net/packet.ts';

const SLOTS = 4096;
const MULTIPLIER = 0x9e37_79b1;

export class FlowTable {
  readonly #pairs = new Uint8Array(SLOTS);

  learn(frame: Uint8Array, pair: number): void {
    const flow = flowOf(frame);
    if (flow !== null) this.#pairs[flow] = pair;
  }

  /** 0 for what was never seen, or is of no flow. */
  pairOf(frame: Uint8Array): number {
    const flow = flowOf(frame);
    return flow === null ? 0 : this.#pairs[flow];
  }
}

/** The same for both directions of a flow; null for what is no IP packet. */
function flowOf(frame: Uint8Array): number | null {
  const packet = parseIp(frame);
  if (!packet) return null;
  const { version, ip, transport, end, fragment, protocol } = packet;
  const first = ip + (version === 4 ? 12 : 8);
  const bytes = version === 4 ? 4 : 16;
  let mixed = protocol;
  for (let i = 0; i < bytes; i++) {
    mixed = (Math.imul(mixed, MULTIPLIER) ^ (frame[first + i] + frame[first + bytes + i])) | 0;
  }
  if (!fragment && transport + 4 <= end) {
    mixed = Math.imul(mixed, MULTIPLIER) ^ (frame[transport] + frame[transport + 2]);
    mixed = Math.imul(mixed, MULTIPLIER) ^ (frame[transport + 1] + frame[transport + 3]);
  }
  return (Math.imul(mixed, MULTIPLIER) >>> 16) & (SLOTS - 1);
}
