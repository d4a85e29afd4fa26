/**
 * What frames go between, in the network worker: network cards (nic-port.ts) and back ends, in pairs of peers. Nothing here
 * ever waits: who cannot take a frame says so and tells its peer when it can again.
 */
import { adapt, canTake } from './offload.ts';
import type { Frame } from './frame.ts';

export abstract class NetEndpoint {
  /** Who takes what this one gives; without a peer it is dropped. */
  peer: NetEndpoint | null = null;
  /** Frames that the peer has refused. */
  readonly #held: Frame[] = [];

  /** OFFLOAD_* that a frame given to it may need. */
  abstract readonly offloads: number;

  /**
   * Takes a frame from the peer. Its bytes are the peer's again when this returns, changed maybe.
   *
   * @returns false when it cannot now: nothing has been taken, and peer.resume() is called when it is to be tried again
   */
  abstract send(frame: Frame): boolean;

  /** A batch of send() calls is over: what was taken should get under way. */
  flush(): void {}

  /** The peer takes frames again, and has been given those that it had refused. */
  protected abstract flow(): void;

  /**
   * Gives the peer a frame, cut up or with its checksum filled in if the peer cannot do that. The frame is dealt with when
   * this returns.
   *
   * @returns false when nothing more should be given until flow() is called
   */
  protected give(frame: Frame): boolean {
    const { peer } = this;
    if (!peer) return true;
    if (canTake(frame, peer.offloads)) {
      if (this.#held.length === 0 && peer.send(frame)) return true;
      this.#hold(frame);
      return false;
    }
    for (const piece of adapt(frame, peer.offloads)) {
      if (this.#held.length > 0 || !peer.send(piece)) this.#hold(piece);
    }
    return this.#held.length === 0;
  }

  /** The peer has refused a frame and has not taken it since. */
  protected get holds(): boolean {
    return this.#held.length > 0;
  }

  #hold(frame: Frame): void {
    this.#held.push(frame.copy());
  }

  /** The peer, which has refused a frame, may take it now. */
  resume(): void {
    let given = 0;
    while (given < this.#held.length && (this.peer === null || this.peer.send(this.#held[given]))) given++;
    this.#held.splice(0, given);
    if (this.#held.length > 0) return;
    this.flow();
    this.peer?.flush();
  }

  /** Forgets what the peer has refused: there is another peer, or none. */
  protected dropHeld(): void {
    this.#held.length = 0;
  }

  /** Makes two endpoints peers; null takes one from its peer. */
  connect(peer: NetEndpoint | null): void {
    const old = this.peer;
    if (old === peer) return;
    this.peer = null;
    old?.connect(null);
    this.dropHeld();
    this.peer = peer;
    peer?.connect(this);
    this.flow();
  }
}

/** What a back end tells the control thread. */
export type NetdevEvent =
  /** QEMU: NETDEV_STREAM_CONNECTED; `peer` is who, e.g. "127.0.0.1:4321". */
  | { kind: 'connected'; peer: string }
  | { kind: 'disconnected' }
  /** One line. */
  | { kind: 'note'; message: string };

/** What a back end may use. */
export interface NetBackendContext {
  readonly id: string;
  report(event: NetdevEvent): void;
  /** The back end with that id, for those that stand between two. */
  find(id: string): NetEndpoint | null;
}

/** What is behind a -netdev: lives in the network worker. */
export abstract class NetBackend extends NetEndpoint {
  /**
   * Resolves when it is ready: it listens, or is connected.
   *
   * @throws RingsideError
   */
  abstract open(): Promise<void>;
  abstract close(): void;
  /** One line, as QEMU's `info network` has it behind "type=...,". */
  abstract readonly info: string;
}

export type NetBackendFactory = (options: unknown, context: NetBackendContext) => NetBackend;
