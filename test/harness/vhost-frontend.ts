/**
 * The other side of our vhost-user back end: a virtual machine's frontend, as QEMU does it, that waits for each answer. The
 * back end must be in another process.
 */
import type { Host } from '../../core/host/host.ts';
import { POLLIN } from '../../core/host/host.ts';
import { createHost } from '../../core/host/node-host.ts';
import type { HostSpec } from '../../core/host/host.ts';
import { createMachineMemory } from '../../core/memory/create.ts';
import type { MachineMemory } from '../../core/memory/create.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { VhostUserError } from '../../core/vhost-user/error.ts';
import { VhostUserChannel } from '../../core/vhost-user/channel.ts';
import type { VhostUserMessage } from '../../core/vhost-user/channel.ts';
import {
  CONFIG_HEADER_BYTES,
  FLAG_NEED_REPLY,
  INFLIGHT_BYTES,
  PROTOCOL_F,
  REQUEST,
  VHOST_USER_F_PROTOCOL_FEATURES,
} from '../../core/vhost-user/spec.ts';
import { VIRTIO_F_RING_PACKED, hasFeature } from '../../core/virtio/spec/features.ts';
import { GuestAllocator } from './guest.ts';
import { makeDriverQueue } from './mock-packed-queue.ts';
import type { Buffer, MockQueue, UsedBuffer } from './mock-queue.ts';

const MIB = 2 ** 20;
/** What the frontend calls its RAM: any number will do. */
export const USER_BASE = 0x7f00_0000_0000n;
/** Milliseconds until a back end that says nothing has failed the test. */
const PATIENCE = 20_000;

export const ALL_PROTOCOL_FEATURES = [
  PROTOCOL_F.MQ,
  PROTOCOL_F.REPLY_ACK,
  PROTOCOL_F.CONFIG,
  PROTOCOL_F.INFLIGHT_SHMFD,
  PROTOCOL_F.RESET_DEVICE,
  PROTOCOL_F.CONFIGURE_MEM_SLOTS,
].reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);

export interface Inflight {
  readonly bytes: Uint8Array;
  readonly fd: number;
}

export interface FrontendOptions {
  readonly spec: HostSpec;
  /** Guest RAM. */
  readonly mib?: number;
}

export class VhostFrontend {
  readonly host: Host;
  readonly ram: MachineMemory;
  readonly allocator: GuestAllocator;
  readonly calls: number[] = [];
  readonly kicks: number[] = [];
  queues: MockQueue[] = [];
  features = 0n;
  /** Whether messages are to be acknowledged: not without protocol features. */
  acknowledged = true;
  #channel: VhostUserChannel | null = null;

  constructor({ spec, mib = 16 }: FrontendOptions) {
    this.host = createHost(spec);
    this.ram = createMachineMemory({ ramSize: mib * MIB, host: this.host, hugePages: false });
    this.allocator = new GuestAllocator(this.ram.guest);
  }

  get memory() {
    return this.ram.guest;
  }

  connect(path: string): void {
    this.#channel = new VhostUserChannel(this.host, this.host.connectUnix(path));
  }

  get channel(): VhostUserChannel {
    if (!this.#channel) throw new Error('not connected');
    return this.#channel;
  }

  // ---- messages -----------------------------------------------------------------------------------------------------

  send(request: number, payload: Uint8Array = new Uint8Array(0), fds: readonly number[] = [], flags = 0): void {
    this.channel.send(request, payload, flags, fds);
  }

  /** Waits for what the back end says next. @throws VhostUserError 'closed' when it closes the connection */
  receive(): VhostUserMessage {
    for (;;) {
      const message = this.channel.receive();
      if (message) return message;
      const entry = Int32Array.of(this.channel.fd, POLLIN, 0);
      if (this.host.poll(entry, PATIENCE) === 0) throw new Error('the back end says nothing');
    }
  }

  ask(request: number, payload?: Uint8Array, fds?: readonly number[]): VhostUserMessage {
    this.send(request, payload, fds);
    const reply = this.receive();
    if (!reply.reply || reply.request !== request) throw new Error(`${request} was answered by ${reply.request}`);
    return reply;
  }

  askU64(request: number, payload?: Uint8Array): bigint {
    const { payload: reply } = this.ask(request, payload);
    return new DataView(reply.buffer).getBigUint64(0, true);
  }

  /** Asks for this and that until the back end has closed the connection. @throws Error when it does not */
  askUntilClosed(): void {
    const end = performance.now() + PATIENCE;
    while (performance.now() < end) {
      try {
        this.askU64(REQUEST.GET_QUEUE_NUM);
      } catch (error) {
        if (error instanceof VhostUserError && error.kind === 'closed') return;
        throw error;
      }
    }
    throw new Error('the back end does not close the connection');
  }

  /** Sends a message that is to be acknowledged. @throws when it is refused */
  tell(request: number, payload?: Uint8Array, fds?: readonly number[]): void {
    if (!this.acknowledged) return this.send(request, payload, fds);
    this.send(request, payload, fds, FLAG_NEED_REPLY);
    const { payload: reply } = this.receive();
    if (reply.some((byte) => byte !== 0)) throw new Error(`message ${request} was refused`);
  }

  // ---- as QEMU does it ----------------------------------------------------------------------------------------------

  /** Features, protocol features, owner. @param features to accept of those that are offered; default all */
  negotiate({ features, protocol = ALL_PROTOCOL_FEATURES }: { features?: bigint; protocol?: bigint } = {}): bigint {
    const offered = this.askU64(REQUEST.GET_FEATURES);
    const protocols = this.askU64(REQUEST.GET_PROTOCOL_FEATURES);
    this.send(REQUEST.SET_PROTOCOL_FEATURES, u64(protocols & protocol));
    this.send(REQUEST.SET_OWNER);
    const extended = 1n << BigInt(VHOST_USER_F_PROTOCOL_FEATURES);
    this.features = features === undefined ? offered : (offered & features) | extended;
    return offered;
  }

  /** All of it, up to rings that run: see startQueues. */
  start({
    queues = 1,
    size = 64,
    inflight = null as Inflight | null,
    positions = [] as readonly number[],
    keepQueues = false,
    enable = true,
  } = {}): void {
    this.tell(REQUEST.SET_FEATURES, u64(this.features));
    this.setMemory();
    if (inflight) this.tell(REQUEST.SET_INFLIGHT_FD, inflight.bytes, [inflight.fd]);
    this.startQueues(queues, size, { positions, keepQueues, enable });
  }

  /** @param positions where rings go on; default: at the start */
  startQueues(
    queues: number,
    size: number,
    { positions = [] as readonly number[], keepQueues = false, enable = true } = {},
  ): void {
    if (!keepQueues) {
      this.queues = Array.from({ length: queues }, (_, index) =>
        makeDriverQueue(this.allocator, this.features, { index, size }),
      );
    }
    const packed = hasFeature(this.features, VIRTIO_F_RING_PACKED);
    for (const queue of this.queues) this.startRing(queue, positions[queue.index] ?? (packed ? 0x8000_8000 : 0));
    if (!enable) return;
    for (const { index } of this.queues) this.tell(REQUEST.SET_VRING_ENABLE, state(index, 1));
  }

  setMemory(): void {
    const bytes = new DataView(new ArrayBuffer(8 + 32));
    bytes.setUint32(0, 1, true);
    region(bytes, 8, { guest: BigInt(RAM_BASE), size: BigInt(this.memory.ramSize), user: USER_BASE, offset: 0n });
    this.tell(REQUEST.SET_MEM_TABLE, new Uint8Array(bytes.buffer), [this.ram.fd!]);
  }

  startRing(queue: MockQueue, base: number): void {
    const { index } = queue;
    this.calls[index] ??= this.host.createEvent();
    this.kicks[index] ??= this.host.createEvent();
    this.tell(REQUEST.SET_VRING_NUM, state(index, queue.size));
    this.tell(REQUEST.SET_VRING_BASE, state(index, base));
    this.tell(REQUEST.SET_VRING_ADDR, this.ringAddresses(queue));
    this.tell(REQUEST.SET_VRING_CALL, u64(BigInt(index)), [this.calls[index]]);
    this.tell(REQUEST.SET_VRING_KICK, u64(BigInt(index)), [this.kicks[index]]);
  }

  ringAddresses({ index, areas }: MockQueue): Uint8Array {
    const user = (address: number): bigint => USER_BASE + BigInt(address - RAM_BASE);
    const bytes = new DataView(new ArrayBuffer(40));
    bytes.setUint32(0, index, true);
    bytes.setBigUint64(8, user(areas.descriptorArea), true);
    bytes.setBigUint64(16, user(areas.deviceArea), true);
    bytes.setBigUint64(24, user(areas.driverArea), true);
    return new Uint8Array(bytes.buffer);
  }

  getInflight(queues: number, size: number): Inflight {
    const ask = new DataView(new ArrayBuffer(INFLIGHT_BYTES));
    ask.setUint16(16, queues, true);
    ask.setUint16(18, size, true);
    const { payload, fds } = this.ask(REQUEST.GET_INFLIGHT_FD, new Uint8Array(ask.buffer));
    return { bytes: payload, fd: fds[0] };
  }

  /** Stops a ring; where it stands. */
  stopRing(index: number): number {
    const { payload } = this.ask(REQUEST.GET_VRING_BASE, state(index, 0));
    return new DataView(payload.buffer).getUint32(4, true);
  }

  config(offset: number, size: number): Uint8Array {
    const ask = new DataView(new ArrayBuffer(CONFIG_HEADER_BYTES + size));
    ask.setUint32(0, offset, true);
    ask.setUint32(4, size, true);
    return this.ask(REQUEST.GET_CONFIG, new Uint8Array(ask.buffer)).payload.subarray(CONFIG_HEADER_BYTES);
  }

  // ---- the driver ---------------------------------------------------------------------------------------------------

  kick(queue: MockQueue): void {
    if (queue.deviceWantsNotification()) this.host.ringEvent(this.kicks[queue.index]);
  }

  /** Waits for the next used buffer, by the call descriptor; null when the back end has gone first. */
  used(queue: MockQueue): UsedBuffer | null {
    const call = this.calls[queue.index];
    for (;;) {
      this.host.readEvent(call);
      if (queue.eventIdx) queue.setUsedEvent(queue.usedIdx);
      const used = queue.takeUsed();
      if (used) return used;
      const entries = Int32Array.of(call, POLLIN, 0, this.channel.fd, POLLIN, 0);
      if (this.host.poll(entries, PATIENCE) === 0) throw new Error('the back end does nothing');
      if (entries[2] === 0 && entries[5] !== 0) return queue.takeUsed();
    }
  }

  submit(queue: MockQueue, buffers: readonly Buffer[]): UsedBuffer {
    queue.add(buffers);
    this.kick(queue);
    const used = this.used(queue);
    if (!used) throw new Error('the back end has gone');
    return used;
  }

  disconnect(): void {
    this.#channel?.close();
    this.#channel = null;
  }

  /** Closes everything. */
  close(): void {
    this.disconnect();
    for (const fd of [...this.calls, ...this.kicks]) this.host.close(fd);
    this.calls.length = this.kicks.length = 0;
    this.ram.close();
  }
}

export function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}

/** struct vhost_vring_state. */
export function state(index: number, number: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setUint32(0, index, true);
  bytes.setUint32(4, number, true);
  return new Uint8Array(bytes.buffer);
}

/** Writes a memory region into a payload. */
export function region(
  into: DataView,
  at: number,
  { guest, size, user, offset }: { guest: bigint; size: bigint; user: bigint; offset: bigint },
): void {
  for (const [i, value] of [guest, size, user, offset].entries()) into.setBigUint64(at + 8 * i, value, true);
}
