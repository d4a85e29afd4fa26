/** The I/O worker's half of virtio-vsock: packets of the driver to and from the slots of the socket worker. */
import type { BackendContext, VirtioBackend } from '../backend/backend.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import * as spec from '../spec/vsock.ts';
import { Connection, connectionKey } from './connection.ts';
import { parseHeader, writeHeader } from './packet.ts';
import type { VsockPacket } from './packet.ts';
import {
  CLOSED,
  FLAG_DEAF,
  FLAG_EOF,
  FREE,
  OPEN,
  REQUEST,
  RING_BYTES,
  STATE_MASK,
  SharedSlots,
} from './shared-slots.ts';
import type { Slot } from './shared-slots.ts';

export interface VsockBackendOptions {
  readonly guestCid: bigint;
  readonly shared: SharedArrayBuffer;
}

/** The control half's word that nobody serves the sockets any more. */
export interface VsockChange {
  readonly socketsLost: true;
}

/** Buffers moved before other queues and the control thread have their turn. */
const TURN_BUFFERS = 64;
/**
 * Resets that wait for the driver's buffers at most: it sends no more packets then, as section 5.10.6.1.1 has it for a device
 * that has run out of room for replies.
 */
const RESETS_MAX = 256;
/** Ports of ours when the host calls: those that nobody listens on. */
const HOST_PORT_FIRST = 0x4000_0000;
/** Milliseconds for a driver's answer to our REQUEST, and to our SHUTDOWN. */
const CALL_LIMIT = 10_000;
const CLOSE_LIMIT = 2_000;
const SHUTDOWN_BOTH = spec.VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE | spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND;

export function createVsockBackend(options: unknown, context: BackendContext): VirtioBackend {
  return new VsockBackend(options as VsockBackendOptions, context);
}

interface Reset {
  readonly srcCid: bigint;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly type: number;
}

export class VsockBackend implements VirtioBackend {
  readonly #cid: bigint;
  readonly #shared: SharedSlots;
  readonly #now: () => number;
  readonly #header = new Uint8Array(spec.VSOCK_HDR_BYTES);
  readonly #connections = new Map<string, Connection>();
  /** By slot. */
  readonly #bySlot: (Connection | null)[];
  /** Connections that may have something to send, those that waited longest first. */
  readonly #ready = new Set<Connection>();
  readonly #resets: Reset[] = [];
  #rx: RunningQueue | null = null;
  #tx: RunningQueue | null = null;
  /** There is something to send, but the driver has no buffer: its notification will say when. */
  #starved = false;
  /** Packets wait because #resets is full. */
  #stalled = false;
  #nextPort = HOST_PORT_FIRST;
  /** Something was marked for the socket worker. */
  #marked = false;

  constructor({ guestCid, shared }: VsockBackendOptions, { waitBlock, now }: BackendContext) {
    this.#cid = guestCid;
    this.#shared = new SharedSlots(shared, 'guest');
    this.#shared.waitBlock = waitBlock;
    this.#now = now;
    this.#bySlot = this.#shared.slots.map(() => null);
  }

  start(queues: readonly RunningQueue[]): void {
    for (const queue of queues) {
      if (queue.index === spec.VSOCK_RX) this.#rx = queue;
      if (queue.index === spec.VSOCK_TX) this.#tx = queue;
    }
    this.#starved = false;
  }

  stop(queues: readonly number[]): void {
    if (queues.includes(spec.VSOCK_RX)) this.#rx = null;
    if (queues.includes(spec.VSOCK_TX)) this.#tx = null;
    if (this.#rx || this.#tx) return;
    // The driver has forgotten all of them.
    for (const connection of [...this.#connections.values()]) this.#drop(connection);
    this.#resets.length = 0;
    this.#stalled = false;
    this.#wakeHost();
  }

  close(): void {
    this.stop([spec.VSOCK_RX, spec.VSOCK_TX, spec.VSOCK_EVENT]);
  }

  configure(change: unknown): void {
    if (!(change as VsockChange).socketsLost) return;
    for (const connection of [...this.#connections.values()]) this.#reset(connection);
  }

  deadline(): number {
    let deadline = Infinity;
    for (const connection of this.#connections.values()) deadline = Math.min(deadline, connection.deadline);
    return deadline;
  }

  isDue(queue: number): boolean {
    if (queue === spec.VSOCK_TX) return this.#stalled && this.#resets.length < RESETS_MAX;
    if (queue !== spec.VSOCK_RX) return false;
    return this.#shared.hasMarks || this.#hasToSend || this.deadline() <= this.#now();
  }

  get #hasToSend(): boolean {
    return !this.#starved && (this.#ready.size > 0 || this.#resets.length > 0);
  }

  serve(queue: number): boolean {
    let more = false;
    if (queue === spec.VSOCK_RX) more = this.#serveRx();
    // What a packet asks for goes out by the other queue: the worker is not to sleep now.
    if (queue === spec.VSOCK_TX) more = this.#serveTx() || this.#hasToSend;
    this.#wakeHost();
    return more;
  }

  #wakeHost(): void {
    if (!this.#marked) return;
    this.#marked = false;
    this.#shared.wakeHost();
  }

  #mark(slot: Slot): void {
    this.#shared.mark(slot);
    this.#marked = true;
  }

  // ---- the host's side ----------------------------------------------------------------------------------------------

  /** Looks at a slot that the socket worker has changed. */
  #look(slot: Slot): void {
    if (this.#shared.settle(slot)) this.#marked = true;
    const connection = this.#bySlot[slot.index];
    const other = slot.other;
    if (!connection) {
      const called = !this.#shared.owns(slot) && slot.own === FREE && (other & STATE_MASK) === REQUEST;
      if (called) this.#call(slot);
      return;
    }
    switch (other & STATE_MASK) {
      case OPEN:
        if (connection.state === 'requested') {
          connection.state = 'open';
          connection.sendResponse = true;
        }
        break;
      case CLOSED:
        if (connection.state === 'requested' || connection.state === 'calling') return this.#reset(connection);
        // What the host sent before is the guest's still.
        if (connection.pending === 0) this.#shutDown(connection, SHUTDOWN_BOTH);
        break;
    }
    if (connection.state === 'open') {
      if ((other & FLAG_EOF) !== 0 && connection.pending === 0) {
        this.#shutDown(connection, spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND);
      }
      if ((other & FLAG_DEAF) !== 0) this.#shutDown(connection, spec.VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE);
      if (connection.owesCredit) connection.sendCredit = true;
    }
    if (connection.hasToSend) this.#ready.add(connection);
  }

  /** A program of the host wants a port of the guest. */
  #call(slot: Slot): void {
    const hostPort = this.#rx && this.#tx ? this.#freePort(slot.port) : 0;
    if (hostPort === 0) {
      slot.own = CLOSED;
      this.#mark(slot);
      return;
    }
    const connection = this.#add(new Connection(slot, slot.port, hostPort, 'calling'));
    connection.sendRequest = true;
    connection.deadline = this.#now() + CALL_LIMIT;
    this.#ready.add(connection);
  }

  #freePort(guestPort: number): number {
    for (let tries = 0; tries <= this.#connections.size; tries++) {
      const port = this.#nextPort;
      this.#nextPort = port >= 0xffff_fffe ? HOST_PORT_FIRST : port + 1;
      if (!this.#connections.has(connectionKey(guestPort, port))) return port;
    }
    return 0;
  }

  #add(connection: Connection): Connection {
    this.#connections.set(connection.key, connection);
    this.#bySlot[connection.slot.index] = connection;
    return connection;
  }

  /** The driver is to send, or to wait for, no more; as far as it has not been told. */
  #shutDown(connection: Connection, flags: number): void {
    connection.sendShutdown |= flags & ~connection.sentShutdown;
    if (connection.sendShutdown !== 0) this.#ready.add(connection);
  }

  /** Ends a connection of which the driver knows already that it is over, or is told otherwise. */
  #drop(connection: Connection): void {
    this.#connections.delete(connection.key);
    this.#ready.delete(connection);
    this.#bySlot[connection.slot.index] = null;
    connection.slot.own = CLOSED;
    this.#shared.settle(connection.slot);
    this.#mark(connection.slot);
  }

  #reset(connection: Connection): void {
    this.#resets.push({
      srcCid: spec.VSOCK_HOST_CID,
      srcPort: connection.hostPort,
      dstPort: connection.guestPort,
      type: spec.VIRTIO_VSOCK_TYPE_STREAM,
    });
    this.#drop(connection);
  }

  // ---- from the driver ----------------------------------------------------------------------------------------------

  #serveTx(): boolean {
    const queue = this.#tx;
    if (!queue) return false;
    this.#stalled = false;
    queue.disableNotifications();
    for (let turn = 0; turn < TURN_BUFFERS; turn++) {
      if (this.#resets.length >= RESETS_MAX) {
        this.#stalled = true;
        queue.flush();
        return false;
      }
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        queue.disableNotifications();
        continue;
      }
      this.#packet(chain);
      queue.push(chain, 0);
    }
    queue.flush();
    return true;
  }

  #packet(chain: DescriptorChain): void {
    const { readable } = chain;
    if (readable.length < spec.VSOCK_HDR_BYTES) {
      throw new QueueFault('bad-request', `chain ${chain.head}: ${readable.length} bytes are no packet (5.10.6)`);
    }
    readable.copyOut(0, this.#header);
    const packet = parseHeader(this.#header);
    // Section 5.10.6: a driver speaks for nobody else.
    if (packet.srcCid !== this.#cid) return;
    const connection = this.#connections.get(connectionKey(packet.srcPort, packet.dstPort));
    const known = packet.dstCid === spec.VSOCK_HOST_CID && packet.type === spec.VIRTIO_VSOCK_TYPE_STREAM;
    if (!known) return this.#refuse(packet);
    if (packet.length > readable.length - spec.VSOCK_HDR_BYTES) {
      if (connection) this.#reset(connection);
      else this.#refuse(packet);
      return;
    }
    if (packet.op === spec.VIRTIO_VSOCK_OP_REQUEST) {
      if (connection) this.#reset(connection);
      else this.#accept(packet);
      return;
    }
    if (!connection) return this.#refuse(packet);
    connection.peerAlloc = packet.bufAlloc;
    connection.peerForwarded = packet.fwdCnt;
    this.#operate(connection, packet, chain);
    if (this.#connections.get(connection.key) === connection && connection.hasToSend) this.#ready.add(connection);
  }

  /** A packet that belongs to no connection (section 5.10.6.2 and following); a reset is not answered by another. */
  #refuse({ op, type, dstCid, srcPort, dstPort }: VsockPacket): void {
    if (op === spec.VIRTIO_VSOCK_OP_RST) return;
    this.#resets.push({ srcCid: dstCid, srcPort: dstPort, dstPort: srcPort, type });
  }

  #accept(packet: VsockPacket): void {
    const slot = this.#shared.allocate();
    if (!slot) return this.#refuse(packet);
    const connection = this.#add(new Connection(slot, packet.srcPort, packet.dstPort, 'requested'));
    connection.peerAlloc = packet.bufAlloc;
    connection.peerForwarded = packet.fwdCnt;
    slot.port = packet.dstPort;
    slot.own = REQUEST;
    this.#mark(slot);
  }

  #operate(connection: Connection, packet: VsockPacket, chain: DescriptorChain): void {
    const { state } = connection;
    switch (packet.op) {
      case spec.VIRTIO_VSOCK_OP_RST:
        return this.#drop(connection);
      case spec.VIRTIO_VSOCK_OP_RESPONSE:
        if (state !== 'calling') return this.#reset(connection);
        connection.state = 'open';
        connection.deadline = Infinity;
        connection.slot.port = connection.hostPort;
        connection.slot.own = OPEN;
        return this.#mark(connection.slot);
      case spec.VIRTIO_VSOCK_OP_RW:
        if (state === 'closing') return;
        if (state !== 'open') return this.#reset(connection);
        return this.#data(connection, packet, chain);
      case spec.VIRTIO_VSOCK_OP_SHUTDOWN:
        if (state === 'calling') return this.#reset(connection);
        return this.#shutDownByDriver(connection, packet.flags & SHUTDOWN_BOTH);
      case spec.VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        return;
      case spec.VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        connection.sendCredit = true;
        return;
      default:
        return this.#reset(connection);
    }
  }

  #data(connection: Connection, { length }: VsockPacket, chain: DescriptorChain): void {
    const { slot } = connection;
    // Section 5.10.6.3: a driver must not send more than there is room for, or behind the end.
    if (length > slot.toHost.room || (slot.own & FLAG_EOF) !== 0) return this.#reset(connection);
    // A host that reads no more has told so; what was on its way is dropped, but not counted as unread.
    for (const view of chain.readable.views(spec.VSOCK_HDR_BYTES, length)) slot.toHost.write(view);
    this.#mark(slot);
  }

  #shutDownByDriver(connection: Connection, flags: number): void {
    const { slot } = connection;
    const eof = (flags & spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND) !== 0 ? FLAG_EOF : 0;
    const deaf = (flags & spec.VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) !== 0 ? FLAG_DEAF : 0;
    slot.own |= eof | deaf;
    const both = FLAG_EOF | FLAG_DEAF;
    // Section 5.10.6.5: a RST confirms that the connection is over; the host gets what is in its ring all the same.
    if ((slot.own & both) === both) this.#reset(connection);
    else this.#mark(slot);
  }

  // ---- to the driver ------------------------------------------------------------------------------------------------

  #serveRx(): boolean {
    this.#shared.takeMarks((slot) => this.#look(slot));
    this.#expire();
    const queue = this.#rx;
    if (!queue) return false;
    this.#starved = false;
    for (let turn = 0; turn < TURN_BUFFERS; turn++) {
      this.#prune();
      if (!this.#hasToSend) {
        // Buffers are of no interest until there is something for them.
        queue.disableNotifications();
        queue.flush();
        return false;
      }
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (queue.enableNotifications()) continue;
        this.#starved = true;
        return false;
      }
      if (chain.writable.length < spec.VSOCK_HDR_BYTES) {
        const detail = `chain ${chain.head}: ${chain.writable.length} bytes have no room for a packet (5.10.6.1)`;
        throw new QueueFault('bad-request', detail);
      }
      queue.push(chain, this.#sendNext(chain));
    }
    queue.flush();
    return true;
  }

  #expire(): void {
    const now = this.#now();
    for (const connection of [...this.#connections.values()]) if (connection.deadline <= now) this.#reset(connection);
  }

  /** Forgets those at the front that have nothing to send after all. */
  #prune(): void {
    for (const connection of this.#ready) {
      if (connection.hasToSend) return;
      this.#ready.delete(connection);
    }
  }

  /** @returns bytes written */
  #sendNext(chain: DescriptorChain): number {
    const reset = this.#resets.shift();
    if (reset) {
      const { srcCid, srcPort, dstPort, type } = reset;
      return this.#put(chain, { ...EMPTY, srcCid, srcPort, dstPort, type, op: spec.VIRTIO_VSOCK_OP_RST });
    }
    const [connection] = this.#ready;
    this.#ready.delete(connection);
    const written = this.#send(connection, chain);
    // Behind the others.
    if (connection.hasToSend && this.#bySlot[connection.slot.index] === connection) this.#ready.add(connection);
    return written;
  }

  #send(connection: Connection, chain: DescriptorChain): number {
    if (connection.sendRequest) {
      connection.sendRequest = false;
      return this.#op(connection, chain, spec.VIRTIO_VSOCK_OP_REQUEST);
    }
    if (connection.sendResponse) {
      connection.sendResponse = false;
      return this.#op(connection, chain, spec.VIRTIO_VSOCK_OP_RESPONSE);
    }
    const { slot } = connection;
    const count = Math.min(connection.pending, connection.credit, chain.writable.length - spec.VSOCK_HDR_BYTES);
    if (connection.state === 'open' && count > 0) {
      for (const view of chain.writable.views(spec.VSOCK_HDR_BYTES, count)) slot.toGuest.read(view);
      connection.sent = (connection.sent + count) >>> 0;
      this.#mark(slot);
      // The end may have come right behind the last bytes.
      if (connection.pending === 0) this.#look(slot);
      return this.#op(connection, chain, spec.VIRTIO_VSOCK_OP_RW, { length: count });
    }
    if (connection.sendShutdown !== 0) {
      connection.sentShutdown |= connection.sendShutdown;
      connection.sendShutdown = 0;
      const flags = connection.sentShutdown;
      if (flags === SHUTDOWN_BOTH) {
        connection.state = 'closing';
        connection.deadline = this.#now() + CLOSE_LIMIT;
      }
      return this.#op(connection, chain, spec.VIRTIO_VSOCK_OP_SHUTDOWN, { flags });
    }
    // Also into a buffer that has no room for the data that there is.
    return this.#op(connection, chain, spec.VIRTIO_VSOCK_OP_CREDIT_UPDATE);
  }

  #op(connection: Connection, chain: DescriptorChain, op: number, { length = 0, flags = 0 } = {}): number {
    return this.#put(chain, {
      ...EMPTY,
      srcPort: connection.hostPort,
      dstPort: connection.guestPort,
      op,
      length,
      flags,
      bufAlloc: RING_BYTES,
      fwdCnt: connection.tellForwarded(),
    });
  }

  #put(chain: DescriptorChain, packet: VsockPacket): number {
    writeHeader(this.#header, { ...packet, dstCid: this.#cid });
    chain.writable.copyIn(0, this.#header);
    return spec.VSOCK_HDR_BYTES + packet.length;
  }
}

const EMPTY: VsockPacket = {
  srcCid: spec.VSOCK_HOST_CID,
  dstCid: 0n,
  srcPort: 0,
  dstPort: 0,
  length: 0,
  type: spec.VIRTIO_VSOCK_TYPE_STREAM,
  op: 0,
  flags: 0,
  bufAlloc: 0,
  fwdCnt: 0,
};
