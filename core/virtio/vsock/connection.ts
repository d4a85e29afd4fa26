/** A stream connection between the driver and a slot, as the device's side keeps it (section 5.10.6). */
import { FLAG_DEAF, RING_BYTES } from './shared-slots.ts';
import type { Slot } from './shared-slots.ts';

/** Ports by which the driver knows a connection: (its own, the host's). */
export type ConnectionKey = string;
export const connectionKey = (guestPort: number, hostPort: number): ConnectionKey => `${guestPort}:${hostPort}`;

/**
 * requested: the driver's REQUEST waits for the host. calling: our REQUEST waits for the driver. open. closing: our
 * SHUTDOWN of both directions waits for the driver's RST.
 */
export type ConnectionState = 'requested' | 'calling' | 'open' | 'closing';

/** Credit that is given back at the latest when so much has been read. */
const CREDIT_STEP = RING_BYTES / 4;

export class Connection {
  readonly slot: Slot;
  readonly guestPort: number;
  readonly hostPort: number;
  state: ConnectionState;
  /** Milliseconds: when it is given up. */
  deadline = Infinity;

  /** Operations to be sent, besides data. */
  sendRequest = false;
  sendResponse = false;
  sendCredit = false;
  /** VIRTIO_VSOCK_SHUTDOWN_F_*, 0 for nothing; and what has been sent already. */
  sendShutdown = 0;
  sentShutdown = 0;

  /** The driver's buffer, and what it has taken out of it. */
  peerAlloc = 0;
  peerForwarded = 0;
  /** Bytes sent to the driver, modulo 2^32. */
  sent = 0;
  /** What the driver was last told that the host has read. */
  #toldForwarded = 0;

  constructor(slot: Slot, guestPort: number, hostPort: number, state: ConnectionState) {
    this.slot = slot;
    this.guestPort = guestPort;
    this.hostPort = hostPort;
    this.state = state;
  }

  get key(): ConnectionKey {
    return connectionKey(this.guestPort, this.hostPort);
  }

  /** Bytes that the driver has room for. A driver that takes credit back gets nothing. */
  get credit(): number {
    const inFlight = (this.sent - this.peerForwarded) >>> 0;
    return Math.max(0, this.peerAlloc - inFlight);
  }

  /** Bytes that the host has read, to be told in every packet. */
  tellForwarded(): number {
    this.#toldForwarded = this.slot.toHost.tail;
    this.sendCredit = false;
    return this.#toldForwarded;
  }

  /** Whether the driver is to be told of room: it may be waiting for it. */
  get owesCredit(): boolean {
    const { tail, length } = this.slot.toHost;
    const untold = (tail - this.#toldForwarded) >>> 0;
    return untold >= CREDIT_STEP || (untold > 0 && length === 0);
  }

  /** Bytes of the host for a driver that takes them. */
  get pending(): number {
    return (this.slot.own & FLAG_DEAF) === 0 ? this.slot.toGuest.length : 0;
  }

  /** Whether there is anything to send to the driver now. */
  get hasToSend(): boolean {
    if (this.sendRequest || this.sendResponse || this.sendCredit || this.sendShutdown !== 0) return true;
    return this.state === 'open' && this.pending > 0 && this.credit > 0;
  }
}
