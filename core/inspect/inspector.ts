/** What a machine shows of its queues to those who look inside, and what it lets them do there. Control thread. */
import type { PacketCapture } from '../api/capture.ts';
import type { ActiveQueue, QueueBatch, QueueCommand, QueueControl, QueueProfile } from '../api/inspect.ts';
import { monotonicNow } from '../engine.ts';
import type { LintFinding } from '../api/lint.ts';
import { MAX_ROWS } from '../api/queue-view.ts';
import type { QueueView } from '../api/queue-view.ts';
import { RingsideError } from '../errors.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Netdev } from '../net/network.ts';
import type { QomObject } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { queueDecoder } from '../virtio/decoders.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import { VIRTIO_F_RING_PACKED, hasFeature } from '../virtio/spec/features.ts';
import type { VirtioTransport } from '../virtio/transport/transport.ts';
import type { CaptureHeader } from './capture-format.ts';
import type { CaptureOptions, CaptureState } from './capture-writer.ts';
import type { RingEvent } from './event-ring.ts';
import { QueueFeed } from './queue-feed.ts';
import { SilenceLinter } from './silence.ts';
import { viewQueue } from './queue-view.ts';

/** Batches a second of a watched queue, at most. */
const BATCHES_PER_SECOND = 30;

export interface WatchListener {
  batch(batch: QueueBatch): void;
  /** Each event by itself, before the batch that it is in. The object is reused. */
  event?(event: RingEvent): void;
  /** The device is gone, or the machine: nothing comes any more. */
  ended(): void;
}

export interface QueueWatchHandle {
  readonly profile: QueueProfile;
  /** ms since 1970 at which times are 0. */
  readonly epoch: number;
  close(): void;
}

/** A queue that is watched, for all who watch it. */
interface Shared {
  readonly feed: QueueFeed;
  readonly transport: VirtioTransport;
  readonly listeners: Set<WatchListener>;
}

export class MachineInspector {
  readonly #memory: GuestMemory;
  readonly #tree: () => ObjectTree;
  readonly #shared = new Map<string, Promise<Shared>>();
  /** Captures of packets, by device: the file, and what ends it. */
  readonly #packets = new Map<string, { file: string; end: () => Promise<void> }>();
  /** Queues that somebody has controlled or captured, and that have not been seen without it since. */
  readonly #touched = new Map<string, { device: string; queue: number }>();
  readonly #silence: SilenceLinter;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  /** @param tree the machine's objects */
  constructor(memory: GuestMemory, tree: () => ObjectTree) {
    this.#memory = memory;
    this.#tree = tree;
    this.#silence = new SilenceLinter(memory.memory.buffer as SharedArrayBuffer);
  }

  /**
   * Watches a queue, whether it runs or not, until the handle is closed.
   *
   * @param device its id
   * @param capacity events that are kept between two looks, a power of 2; who watches first says it
   * @throws RingsideError 'not-found'; 'bad-state' when nothing serves the device any more
   */
  async watch(device: string, queue: number, listener: WatchListener, capacity?: number): Promise<QueueWatchHandle> {
    const { transport } = this.#find(device, queue);
    const key = `${queue} ${device}`;
    let opening = this.#shared.get(key);
    if (opening === undefined) {
      opening = this.#open(transport, queue, capacity);
      this.#shared.set(key, opening);
      opening.catch(() => this.#shared.delete(key));
    }
    const shared = await opening;
    if (this.#closed) throw new RingsideError('bad-state', 'the VM has ended. Start it anew.');
    shared.listeners.add(listener);
    this.#timer ??= setInterval(() => void this.poll(), 1000 / BATCHES_PER_SECOND);
    return {
      profile: profileOf(transport, queue),
      epoch: shared.feed.epoch,
      close: () => {
        if (!shared.listeners.delete(listener) || shared.listeners.size > 0) return;
        if (this.#shared.get(key) === opening) this.#shared.delete(key);
        void shared.feed.close();
        this.#stopIdle();
      },
    };
  }

  async #open(transport: VirtioTransport, queue: number, capacity?: number): Promise<Shared> {
    const buffer = this.#memory.memory.buffer as SharedArrayBuffer;
    const feed = await QueueFeed.open({ transport, queue, buffer, ...(capacity === undefined ? {} : { capacity }) });
    return { feed, transport, listeners: new Set() };
  }

  #stopIdle(): void {
    if (this.#shared.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Hands what has come to those who watch. The timer calls it. */
  async poll(): Promise<void> {
    const present = new Set([...this.#devices()].map(({ transport }) => transport));
    for (const [key, opening] of [...this.#shared]) {
      const shared = await opening.catch(() => null);
      if (shared === null || shared.listeners.size === 0) continue;
      if (!present.has(shared.transport)) {
        this.#shared.delete(key);
        for (const listener of shared.listeners) listener.ended();
        continue;
      }
      const { listeners } = shared;
      const wanted = [...listeners].filter(({ event }) => event !== undefined);
      const batch = shared.feed.poll((event) => wanted.forEach((listener) => listener.event!(event)));
      for (const listener of shared.listeners) listener.batch(batch);
    }
    this.#stopIdle();
  }

  /** @throws RingsideError */
  async control(device: string, queue: number, command: QueueCommand): Promise<QueueControl> {
    const { transport } = this.#find(device, queue);
    this.#touch(device, queue);
    return transport.controlQueue(queue, command);
  }

  #touch(device: string, queue: number): void {
    this.#touched.set(`${queue} ${device}`, { device, queue });
  }

  /** Queues of which anything is set, or that are being captured. Those that nobody has touched are not asked. */
  async active(): Promise<ActiveQueue[]> {
    const active: ActiveQueue[] = [];
    for (const [key, { device, queue }] of [...this.#touched]) {
      const found = await this.#look(device, queue).catch(() => null);
      if (found === null) this.#touched.delete(key);
      else active.push(found);
    }
    return active;
  }

  /** null: nothing is set on it, and nothing captures it. */
  async #look(device: string, queue: number): Promise<ActiveQueue | null> {
    const { transport } = this.#find(device, queue);
    const control = await transport.controlQueue(queue, { op: 'state' });
    const capturing = (await transport.captureQueue(queue)) !== null;
    if (!control.active && !capturing) return null;
    return { device, queue, control: control.active ? control : null, capturing };
  }

  /** Clears what is set on queues, on all of them; captures go on. */
  async clearAll(): Promise<void> {
    for (const { device, queue, control } of await this.active()) {
      // A device may have been unplugged meanwhile.
      if (control !== null) await this.control(device, queue, { op: 'clear' }).catch(() => {});
    }
  }

  /**
   * A queue as it stands now.
   *
   * @param from first row shown; at most MAX_ROWS are
   * @throws RingsideError 'not-found'; 'bad-state' when the driver has not set it up, or nothing serves it
   */
  async view(device: string, queue: number, from: number, count: number): Promise<QueueView> {
    const { transport } = this.#find(device, queue);
    const control = await transport.controlQueue(queue, { op: 'state' });
    return viewQueue({
      device,
      name: transport.queueName(queue),
      decoder: queueDecoder(transport.device.type, transport.queueName(queue)),
      control: control.active ? control : null,
      from,
      count: Math.min(count, MAX_ROWS),
      look: () => transport.inspection(queue),
    });
  }

  /**
   * Begins to write a queue's requests to a file, ends it (null), or only says how it stands.
   *
   * @returns how it stands; null when there is none
   * @throws RingsideError 'not-found'; 'io' when the file cannot be made, or is there already
   */
  async capture(
    device: string,
    queue: number,
    options?: Pick<CaptureOptions, 'file' | 'limit' | 'keep'> | null,
  ): Promise<CaptureState | null> {
    const { transport } = this.#find(device, queue);
    if (!options) return transport.captureQueue(queue, options);
    this.#touch(device, queue);
    const epoch = monotonicNow();
    const header: CaptureHeader = {
      device,
      type: transport.device.type,
      queue,
      name: transport.queueName(queue),
      epoch: Date.now(),
      ring: ringOf(transport, queue),
      profile: profileOf(transport, queue),
    };
    return transport.captureQueue(queue, { ...options, header, epoch });
  }

  /**
   * Begins to write what goes through a network card to a new pcapng file, ends it (null), or only says how it stands.
   *
   * @returns what goes on; null when nothing does
   * @throws RingsideError 'not-found', 'unsupported' of a device without a netdev, 'in-use', 'io' when the file is there
   */
  async capturePackets(device: string, file?: string | null): Promise<PacketCapture | null> {
    const { object } = this.#find(device, 0);
    const going = this.#packets.get(device);
    if (file === undefined) return going ? { device, file: going.file } : null;
    if (file === null) {
      this.#packets.delete(device);
      // A netdev that is gone has closed its captures.
      await going?.end().catch(() => {});
      return null;
    }
    if (going) throw new RingsideError('in-use', `packets of "${device}" are being captured already: end that first.`);
    const id = object.type.isA('virtio-net-device') ? object.value<string | null>('netdev') : null;
    const netdev = id === null ? null : this.#tree().find(`/netdevs/${id}`);
    if (!netdev?.realized) {
      throw new RingsideError('unsupported', `"${device}" is not a network card on a netdev: there are no packets.`);
    }
    const end = await (netdev.instance as Netdev).capture(file, { exclusive: true });
    this.#packets.set(device, { file, end });
    return { device, file };
  }

  /**
   * What the driver of a device was found to do; `clear`: and forgets it.
   *
   * @throws RingsideError 'not-found'
   */
  async findings(device: string, clear: boolean): Promise<LintFinding[]> {
    const { transport } = this.#find(device, 0);
    await this.#silence.look(transport);
    return transport.findings(clear);
  }

  /**
   * Bytes of guest RAM, as they are now.
   *
   * @throws RingsideError 'bad-option' when they are not all in RAM
   */
  bytes(address: bigint, length: number): Uint8Array {
    if (!this.#memory.contains(Number(address), length)) {
      throw new RingsideError('bad-option', `[0x${address.toString(16)}, +${length}) is not in guest RAM.`);
    }
    return this.#memory.read(Number(address), length);
  }

  /** What the device says of the queue. @throws RingsideError 'not-found' */
  profile(device: string, queue: number): QueueProfile {
    const { transport } = this.#find(device, queue);
    return profileOf(transport, queue);
  }

  /** The machine ends. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    for (const opening of this.#shared.values()) {
      void opening.then(({ listeners }) => listeners.forEach((listener) => listener.ended())).catch(() => {});
    }
    this.#shared.clear();
  }

  *#devices(): Generator<{ object: QomObject; transport: VirtioTransport }> {
    if (this.#closed) return;
    for (const object of this.#tree().root.walk()) {
      if (!object.type.isA('virtio-device')) continue;
      const instance = virtioInstance(object);
      if (instance) yield { object, transport: instance.plug.transport };
    }
  }

  #find(device: string, queue: number): { object: QomObject; transport: VirtioTransport } {
    for (const found of this.#devices()) {
      if (found.transport.device.id !== device) continue;
      if (queue < found.transport.queues.length) return found;
      throw new RingsideError('not-found', `the device "${device}" has no queue ${queue}.`);
    }
    throw new RingsideError('not-found', `there is no virtio device "${device}".`);
  }
}

function ringOf({ queues, negotiated }: VirtioTransport, index: number): CaptureHeader['ring'] {
  const { enabled, size } = queues[index];
  return enabled ? { format: hasFeature(negotiated, VIRTIO_F_RING_PACKED) ? 'packed' : 'split', size } : null;
}

function profileOf(transport: VirtioTransport, queue: number): QueueProfile {
  const { purpose, types, statuses, detail } = queueDecoder(transport.device.type, transport.queueName(queue));
  return { purpose, types: [...types], statuses: [...statuses], detail };
}
