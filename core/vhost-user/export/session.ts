/**
 * One frontend's connection: obeys its messages, in order. Everything that it says is checked; what is wrong ends the
 * connection, with one line that says why.
 */
import type { Host } from '../../host/host.ts';
import { isHostError } from '../../host/host.ts';
import type { IoThreadHandle } from '../../worker/iothread-handle.ts';
import { VhostUserChannel } from '../channel.ts';
import type { VhostUserMessage } from '../channel.ts';
import { VhostUserError } from '../error.ts';
import {
  BACKEND_REQUEST,
  CONFIG_BYTES_MAX,
  CONFIG_HEADER_BYTES,
  FLAG_REPLY,
  MEMORY_HEADER_BYTES,
  MEMORY_SLOTS_MAX,
  PROTOCOL_F,
  REGIONS_MAX,
  REGION_BYTES,
  REQUEST,
  SINGLE_REGION_PADDING,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VRING_STATE_BYTES,
  requestName,
} from '../spec.ts';
import type { InflightRegion } from './inflight-region.ts';
import { createInflight, describeInflight, inflightOf, readInflight } from './inflight-region.ts';
import type { MemoryMap, Region } from './memory-map.ts';
import { Payload } from './payload.ts';
import { Rings } from './rings.ts';
import type { VhostUserTransport } from './transport.ts';

const PROTOCOL_FEATURES = [
  PROTOCOL_F.MQ,
  PROTOCOL_F.REPLY_ACK,
  PROTOCOL_F.BACKEND_REQ,
  PROTOCOL_F.CONFIG,
  PROTOCOL_F.INFLIGHT_SHMFD,
  PROTOCOL_F.RESET_DEVICE,
  PROTOCOL_F.CONFIGURE_MEM_SLOTS,
].reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);

export interface SessionOptions {
  host: Host;
  /** A connected socket, the session's from now on. */
  fd: number;
  transport: VhostUserTransport;
  worker: IoThreadHandle;
  memory: MemoryMap;
  /** Something the user should know, one line. */
  log(message: string): void;
}

type Handler = (payload: Payload, fds: Fds) => Reply | Promise<Reply>;

/** Bytes, with a descriptor that goes with them; nothing: the message has no reply of its own. */
type Reply = Uint8Array | { bytes: Uint8Array; fd: number } | void;

/** Descriptors of a message. What nobody takes is closed. */
class Fds {
  readonly #host: Host;
  #left: number[];

  constructor(host: Host, fds: readonly number[]) {
    this.#host = host;
    this.#left = [...fds];
  }

  get count(): number {
    return this.#left.length;
  }

  /** @throws VhostUserError when there is none (left) */
  take(): number {
    const fd = this.#left.shift();
    if (fd === undefined) throw new VhostUserError('protocol', 'a file descriptor is missing');
    return fd;
  }

  close(): void {
    for (const fd of this.#left) this.#host.close(fd);
    this.#left = [];
  }
}

export class Session {
  readonly #o: SessionOptions;
  readonly #channel: VhostUserChannel;
  readonly #rings: Rings;
  #backend: VhostUserChannel | null = null;
  #protocolFeatures = 0n;
  #inflight: InflightRegion | null = null;
  #ended = false;

  constructor(options: SessionOptions) {
    this.#o = options;
    this.#channel = new VhostUserChannel(options.host, options.fd);
    this.#rings = new Rings(options);
    options.transport.onConfigChange = () => this.#configChanged();
  }

  get fd(): number {
    return this.#channel.fd;
  }

  /**
   * Obeys what has come.
   *
   * @returns whether there is something that the socket did not take: to be called again when it does
   * @throws VhostUserError: the session is to be ended
   */
  async obey(): Promise<boolean> {
    let unsent = !this.#channel.flush();
    for (let message = this.#channel.receive(); message; message = this.#channel.receive()) {
      await this.#handle(message);
      unsent = !this.#channel.flush();
    }
    if (this.#o.memory.faulted) {
      throw new VhostUserError('protocol', 'the frontend has made the file of a memory region shorter');
    }
    return unsent;
  }

  async #handle({ request, needReply, payload, fds: received }: VhostUserMessage): Promise<void> {
    const fds = new Fds(this.#o.host, received);
    try {
      const handler = this.#handlers[request] as Handler | undefined;
      if (!handler) throw new VhostUserError('protocol', 'we do not know it, or have not offered it');
      const reply = await handler(new Payload(payload), fds);
      if (reply) this.#reply(request, reply);
      else if (needReply && this.#has(PROTOCOL_F.REPLY_ACK)) this.#reply(request, new Uint8Array(8));
    } catch (error) {
      if (!(error instanceof VhostUserError) || error.kind === 'closed') throw error;
      if (needReply && this.#has(PROTOCOL_F.REPLY_ACK)) this.#reply(request, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
      throw new VhostUserError(error.kind, `${requestName(request)}: ${error.message}`, { cause: error });
    } finally {
      fds.close();
    }
  }

  #reply(request: number, reply: Exclude<Reply, void>): void {
    if (reply instanceof Uint8Array) return this.#channel.send(request, reply, FLAG_REPLY);
    this.#channel.send(request, reply.bytes, FLAG_REPLY, [reply.fd]);
  }

  #has(feature: number): boolean {
    return ((this.#protocolFeatures >> BigInt(feature)) & 1n) === 1n;
  }

  readonly #handlers: Readonly<Record<number, Handler>> = {
    [REQUEST.GET_FEATURES]: () => u64(this.#o.transport.features),
    [REQUEST.SET_FEATURES]: (payload) => this.#setFeatures(payload.u64Only()),
    [REQUEST.SET_OWNER]: () => {},
    [REQUEST.RESET_OWNER]: () => this.#reset(),
    [REQUEST.GET_PROTOCOL_FEATURES]: () => u64(PROTOCOL_FEATURES),
    [REQUEST.SET_PROTOCOL_FEATURES]: (payload) => {
      const bits = payload.u64Only();
      const unknown = bits & ~PROTOCOL_FEATURES;
      if (unknown !== 0n) throw new VhostUserError('protocol', `bits 0x${unknown.toString(16)} were not offered`);
      this.#protocolFeatures = bits;
    },
    [REQUEST.GET_QUEUE_NUM]: () => u64(BigInt(this.#o.transport.queues.length)),
    [REQUEST.GET_MAX_MEM_SLOTS]: () => u64(BigInt(MEMORY_SLOTS_MAX)),
    [REQUEST.SET_MEM_TABLE]: (payload, fds) => this.#setMemory(payload, fds),
    [REQUEST.ADD_MEM_REG]: (payload, fds) => this.#addMemory(payload, fds),
    [REQUEST.REM_MEM_REG]: (payload) => this.#removeMemory(payload),
    [REQUEST.SET_VRING_NUM]: (payload) => {
      const { index, number } = payload.vringState();
      this.#rings.setSize(index, number);
    },
    [REQUEST.SET_VRING_ADDR]: (payload) => this.#rings.setAddresses(payload.vringAddress()),
    [REQUEST.SET_VRING_BASE]: (payload) => {
      const { index, number } = payload.vringState();
      this.#rings.setBase(index, number);
    },
    [REQUEST.GET_VRING_BASE]: async (payload) => {
      const { index } = payload.vringState();
      const reply = new DataView(new ArrayBuffer(VRING_STATE_BYTES));
      reply.setUint32(0, index, true);
      reply.setUint32(4, await this.#rings.stop(index), true);
      return new Uint8Array(reply.buffer);
    },
    [REQUEST.SET_VRING_KICK]: (payload, fds) => {
      const { index, withFd } = payload.vringFd();
      return this.#rings.setKick(index, withFd ? fds.take() : null, this.#inflightOf(index));
    },
    [REQUEST.SET_VRING_CALL]: (payload, fds) => {
      const { index, withFd } = payload.vringFd();
      return this.#rings.setCall(index, withFd ? fds.take() : null);
    },
    [REQUEST.SET_VRING_ERR]: (payload, fds) => {
      const { index, withFd } = payload.vringFd();
      this.#rings.setError(index, withFd ? fds.take() : null);
    },
    [REQUEST.SET_VRING_ENABLE]: (payload) => {
      const { index, number } = payload.vringState();
      return this.#rings.enable(index, number !== 0);
    },
    [REQUEST.GET_CONFIG]: (payload) => this.#getConfig(payload),
    [REQUEST.SET_CONFIG]: (payload) => this.#setConfig(payload),
    [REQUEST.SET_BACKEND_REQ_FD]: (_payload, fds) => {
      const fd = fds.take();
      this.#backend?.close();
      this.#backend = new VhostUserChannel(this.#o.host, fd);
      this.#o.host.setNonBlocking(fd);
    },
    [REQUEST.GET_INFLIGHT_FD]: (payload) => this.#getInflight(payload),
    [REQUEST.SET_INFLIGHT_FD]: (payload, fds) => {
      const wanted = payload.inflight();
      const fd = fds.take();
      try {
        this.#replaceInflight(readInflight(this.#o.host, wanted, fd));
      } finally {
        this.#o.host.close(fd);
      }
    },
    [REQUEST.RESET_DEVICE]: () => this.#reset(),
  };

  // ---- features, reset ----------------------------------------------------------------------------------------------

  async #setFeatures(bits: bigint): Promise<void> {
    await this.#o.transport.negotiate(bits);
    // Without protocol features there is no SET_VRING_ENABLE.
    const extended = ((bits >> BigInt(VHOST_USER_F_PROTOCOL_FEATURES)) & 1n) === 1n;
    if (!extended) await this.#rings.enableAll();
  }

  async #reset(): Promise<void> {
    await this.#rings.stopAll();
    await this.#o.transport.reset();
  }

  // ---- memory -------------------------------------------------------------------------------------------------------

  async #setMemory(payload: Payload, fds: Fds): Promise<void> {
    const count = payload.u32(0);
    if (count > REGIONS_MAX) throw new VhostUserError('protocol', `${count} regions, and ${REGIONS_MAX} is the most`);
    const regions = Array.from({ length: count }, (_, i) => payload.region(MEMORY_HEADER_BYTES + i * REGION_BYTES));
    if (fds.count !== count) {
      throw new VhostUserError('protocol', `${count} regions with ${fds.count} file descriptors`);
    }
    await this.#whileStill(() => {
      this.#o.memory.clear();
      for (const region of regions) this.#map(region, fds.take());
    });
  }

  #addMemory(payload: Payload, fds: Fds): void {
    this.#map(payload.region(SINGLE_REGION_PADDING), fds.take());
  }

  #map(region: Region, fd: number): void {
    try {
      this.#o.memory.add(region, fd);
    } finally {
      this.#o.host.close(fd);
    }
  }

  async #removeMemory(payload: Payload): Promise<void> {
    await this.#whileStill(() => this.#o.memory.remove(payload.region(SINGLE_REGION_PADDING)));
  }

  /** Changes the memory while no ring is served; those that are then not inside any more stop. */
  async #whileStill(change: () => void): Promise<void> {
    await this.#o.worker.quiesce();
    try {
      change();
      await this.#rings.checkMemory();
    } finally {
      await this.#o.worker.resume();
    }
  }

  // ---- configuration space ------------------------------------------------------------------------------------------

  #getConfig(payload: Payload): Uint8Array {
    const { offset, size } = configRange(payload);
    const reply = payload.bytes(0, CONFIG_HEADER_BYTES + size).slice();
    reply.set(this.#o.transport.configBytes(offset, size), CONFIG_HEADER_BYTES);
    return reply;
  }

  async #setConfig(payload: Payload): Promise<void> {
    const { offset, size } = configRange(payload);
    await this.#o.transport.setConfig(offset, payload.bytes(CONFIG_HEADER_BYTES, size));
  }

  #configChanged(): void {
    if (!this.#backend || !this.#has(PROTOCOL_F.CONFIG)) return;
    try {
      this.#backend.send(BACKEND_REQUEST.CONFIG_CHANGE_MSG, new Uint8Array(0));
    } catch (error) {
      if (!(error instanceof VhostUserError)) throw error;
      this.#o.log(`the frontend cannot be told of a configuration change: ${error.message}`);
      this.#backend.close();
      this.#backend = null;
    }
  }

  // ---- requests in flight -------------------------------------------------------------------------------------------

  #getInflight(payload: Payload): { bytes: Uint8Array; fd: number } {
    const { queues, queueSize } = payload.inflight();
    this.#replaceInflight(createInflight(this.#o.host, this.#o.transport, queues, queueSize));
    return describeInflight(this.#inflight!);
  }

  #replaceInflight(region: InflightRegion): void {
    this.#inflight?.close();
    this.#inflight = region;
  }

  #inflightOf(index: number) {
    return this.#inflight ? inflightOf(this.#inflight, index) : null;
  }

  // ---- the end ------------------------------------------------------------------------------------------------------

  /** A queue's kick descriptor is of no use. */
  kickLost(queue: number, why: string): VhostUserError {
    return new VhostUserError('protocol', `the kick descriptor of ring ${queue} cannot be used: ${why}`);
  }

  /** Stops the rings, forgets the memory, closes every descriptor. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const { transport, memory } = this.#o;
    transport.onConfigChange = null;
    await this.#rings.stopAll();
    await transport.reset();
    await this.#rings.close();
    memory.clear();
    this.#inflight?.close();
    for (const channel of [this.#backend, this.#channel]) {
      try {
        channel?.close();
      } catch (error) {
        if (!isHostError(error)) throw error;
      }
    }
  }
}

function configRange(payload: Payload): { offset: number; size: number } {
  const offset = payload.u32(0);
  const size = payload.u32(4);
  if (offset + size > CONFIG_BYTES_MAX || payload.length !== CONFIG_HEADER_BYTES + size) {
    throw new VhostUserError('protocol', `${size} bytes of configuration space from ${offset} on`);
  }
  return { offset, size };
}

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}
