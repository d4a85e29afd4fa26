/**
 * One of our devices, served to the virtual machines of others: we are a vhost-user back end. The device is made by the
 * object model as in a machine of ours; in place of a board's slot it is plugged into a socket.
 */
import { lstatSync, rmSync } from 'node:fs';

import { RingsideError, errorLine } from '../../errors.ts';
import type { Host, HostSpec } from '../../host/host.ts';
import { isHostError } from '../../host/host.ts';
import { createHost } from '../../host/node-host.ts';
import { Chardevs } from '../../machine/chardevs.ts';
import { ObjectModel } from '../../machine/object-model.ts';
import type { BackendKind, PropertyInputs } from '../../machine/object-model.ts';
import { machineTypes } from '../../machine/types.ts';
import { FileRegions } from '../../memory/file-region.ts';
import { Network } from '../../net/network.ts';
import { QomBus } from '../../qom/object.ts';
import type { IoErrorEvent } from '../../virtio/backend/backend.ts';
import type { PlugOptions, VirtioBus, VirtioPlug } from '../../virtio/bus.ts';
import type { VirtioDevice } from '../../virtio/device.ts';
import { IoThreadHandle } from '../../worker/iothread-handle.ts';
import type { IoThreadTuning } from '../../worker/adaptive-poll.ts';
import { CONTROL_BASE, CTL_ATTENTION } from '../../worker/layout.ts';
import { VhostUserError } from '../error.ts';
import { MemoryMap } from './memory-map.ts';
import { Session } from './session.ts';
import { VhostUserTransport } from './transport.ts';

/** Of the shared words: there is only one device. */
const SLOT = 0;
/** Who waits to be served. */
const BACKLOG = 8;
/** Only the user may connect. */
const SOCKET_UMASK = 0o177;
const BUS = 'vhost-user-bus';

export interface ExportBackend {
  readonly kind: BackendKind;
  readonly type: string;
  readonly id: string;
  readonly properties: PropertyInputs;
}

export interface ExportOptions {
  readonly host: HostSpec;
  /** Path of the socket: a stale one is replaced, one that somebody listens on is not. */
  readonly socket: string;
  /** As -device: the type ends in "-device". Those behind the first are plugged into buses that it has. */
  readonly devices: readonly { readonly driver: string; readonly id?: string; readonly properties: PropertyInputs }[];
  /** As -drive, -object, -chardev: in the order in which they are made. */
  readonly backends: readonly ExportBackend[];
  /** A frontend that comes while another is there waits (default), or is turned away. */
  readonly second?: 'wait' | 'refuse';
  readonly tuning?: Partial<IoThreadTuning>;
  /** Something the user should know, one line. */
  log(message: string): void;
}

export class VhostUserExport {
  readonly #o: ExportOptions;
  readonly #host: Host;
  readonly #memory: MemoryMap;
  readonly #wakeFd: number;
  readonly #worker: IoThreadHandle;
  readonly #model: ObjectModel;
  readonly #network: Network;
  readonly #chardevs: Chardevs;
  #transport: VhostUserTransport | null = null;
  #listener: number | null = null;
  #session: Session | null = null;
  /** What is being done about the session: one thing at a time. */
  #work: Promise<void> = Promise.resolve();
  #closed = false;
  readonly #lost: (error: RingsideError) => void;
  /** Rejected when the export cannot go on. */
  readonly failed: Promise<never>;

  /** @throws RingsideError; nothing is left then */
  static async create(options: ExportOptions): Promise<VhostUserExport> {
    const host = createHost(options.host);
    if (!host.descriptorPassing.available) {
      throw new RingsideError('unsupported', `Devices cannot be exported here: ${host.descriptorPassing.reason}.`);
    }
    const made = new VhostUserExport(options, host);
    try {
      await made.#plug();
      await made.#listen();
      return made;
    } catch (error) {
      await made.close();
      throw error;
    }
  }

  private constructor(options: ExportOptions, host: Host) {
    this.#o = options;
    this.#host = host;
    this.#memory = new MemoryMap(host);
    this.#wakeFd = host.createEvent();
    let lost!: (error: RingsideError) => void;
    this.failed = new Promise<never>((_resolve, reject) => (lost = reject));
    this.failed.catch(() => {});
    this.#lost = lost;
    const { memory } = this.#memory;
    this.#worker = new IoThreadHandle({
      guest: memory.handle,
      index: 0,
      engine: {
        wakeFd: this.#wakeFd,
        wake: () => host.ringEvent(this.#wakeFd),
        onReady: (fd) => this.#ready(fd),
        onKickLost: (_slot, queue, why) => this.#fail((session) => session.kickLost(queue, why)),
      },
      host: options.host,
      onCrash: (error) => this.#lost(error),
    });
    if (options.tuning) this.#worker.tune(options.tuning);
    this.#network = new Network({ memory: memory.memory, onEvent: () => {} });
    this.#chardevs = new Chardevs({ memory: memory.memory });
    const { log } = options;
    this.#model = new ObjectModel({
      types: machineTypes(),
      services: {
        host,
        harts: 1,
        memory,
        regions: new FileRegions(memory),
        workers: { main: this.#worker, add: () => this.#noWorkers() },
        chardevs: this.#chardevs,
        network: this.#network,
        note: (device, message) => log(`${device}: ${message}`),
        ioError: (device, event) => this.#ioError(device, event),
        warn: log,
      },
    });
    void this.#attend();
  }

  #noWorkers(): never {
    throw new RingsideError('unsupported', 'An export has one I/O worker of its own: leave out iothread.');
  }

  #ioError(device: string, { message, unreported, action }: IoErrorEvent): void {
    const more = unreported > 0 ? ` (and ${unreported} more)` : '';
    this.#o.log(`${device}: ${message}${more}`);
    // There is no VM here that could be paused: it is tried again when the frontend starts its rings the next time.
    if (action === 'stop') this.#o.log(`${device}: its requests wait until the frontend comes back`);
  }

  async #plug(): Promise<void> {
    const { tree } = this.#model;
    const implementation: VirtioBus = {
      interruptsByQueue: true,
      plug: (device, options) => this.#plugDevice(device, options),
    };
    for (const path of ['/machine/peripheral', '/machine/peripheral-anon']) tree.container(path);
    const bus = new QomBus(tree.types.get(BUS), { capacity: 1, implementation });
    tree.container('/machine/unattached').addChild(BUS, bus);
    for (const { kind, type, id, properties } of this.#o.backends) {
      await this.#model.addBackend(kind, type, id, properties);
    }
    for (const [i, device] of this.#o.devices.entries()) {
      await this.#model.addDevice({ ...device, ...(i === 0 ? { bus: BUS } : {}) });
    }
  }

  async #plugDevice(device: VirtioDevice, options: PlugOptions): Promise<VirtioPlug> {
    const transport = new VhostUserTransport({
      memory: this.#memory.memory,
      slot: SLOT,
      device,
      ...options,
      server: this.#worker,
    });
    await transport.plug();
    this.#transport = transport;
    return { transport, unplug: () => transport.unplug(), reset: () => transport.machineReset() };
  }

  /** Takes what the guest has written to consoles. */
  async #attend(): Promise<void> {
    const words = new Int32Array(
      this.#memory.memory.memory.buffer as SharedArrayBuffer,
      CONTROL_BASE + CTL_ATTENTION,
      1,
    );
    while (!this.#closed) {
      const seen = Atomics.load(words, 0);
      this.#chardevs.drain();
      await Atomics.waitAsync(words, 0, seen).value;
    }
  }

  // ---- connections --------------------------------------------------------------------------------------------------

  async #listen(): Promise<void> {
    const { socket } = this.#o;
    removeStale(this.#host, socket);
    const umask = process.umask(SOCKET_UMASK);
    try {
      this.#listener = this.#host.listenUnix(socket, BACKLOG);
    } catch (error) {
      if (!isHostError(error) && !(error instanceof TypeError)) throw error;
      const message = `"${socket}" cannot be listened on: ${errorLine(error)}. Choose another path for the socket.`;
      throw new RingsideError('io', message, { cause: error });
    } finally {
      process.umask(umask);
    }
    await this.#worker.watchFd(this.#listener);
  }

  #ready(fd: number): void {
    if (this.#closed) return;
    if (fd === this.#listener) this.#then(() => this.#accept());
    else if (fd === this.#session?.fd) this.#then(() => this.#obey());
  }

  /** Does something about the session when what is under way is done. */
  #then(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.#lost(
        error instanceof RingsideError ? error : new RingsideError('internal', errorLine(error), { cause: error }),
      );
    });
  }

  async #accept(): Promise<void> {
    const fd = this.#host.acceptUnix(this.#listener!);
    if (fd !== null && this.#session) {
      this.#host.close(fd);
      this.#o.log('a second frontend was turned away');
    } else if (fd !== null) {
      this.#o.log('a frontend has connected');
      this.#session = new Session({
        host: this.#host,
        fd,
        transport: this.#transport!,
        worker: this.#worker,
        memory: this.#memory,
        log: this.#o.log,
      });
      await this.#worker.watchFd(fd);
    }
    if (this.#session === null || this.#o.second === 'refuse') await this.#worker.watchFd(this.#listener!);
  }

  async #obey(): Promise<void> {
    const session = this.#session;
    if (!session) return;
    try {
      const unsent = await session.obey();
      await this.#worker.watchFd(session.fd, unsent);
    } catch (error) {
      if (!(error instanceof VhostUserError)) throw error;
      await this.#end(session, error);
    }
  }

  #fail(why: (session: Session) => VhostUserError): void {
    const session = this.#session;
    if (session) this.#then(() => (this.#session === session ? this.#end(session, why(session)) : Promise.resolve()));
  }

  async #end(session: Session, error: VhostUserError): Promise<void> {
    await this.#worker.unwatchFd(session.fd);
    await session.end();
    this.#session = null;
    this.#o.log(error.kind === 'closed' ? error.message : `the frontend's connection was closed: ${error.message}`);
    if (!this.#closed && this.#o.second !== 'refuse') await this.#worker.watchFd(this.#listener!);
  }

  /** Stops serving: requests under way are finished, and what was written is flushed. May be called twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#work;
    if (this.#session) await this.#session.end();
    this.#session = null;
    await this.#model.close();
    await this.#worker.close();
    await this.#network.close();
    if (this.#listener !== null) {
      this.#host.close(this.#listener);
      rmSync(this.#o.socket, { force: true });
    }
    this.#host.close(this.#wakeFd);
    const words = new Int32Array(
      this.#memory.memory.memory.buffer as SharedArrayBuffer,
      CONTROL_BASE + CTL_ATTENTION,
      1,
    );
    Atomics.add(words, 0, 1);
    Atomics.notify(words, 0);
  }
}

/** Removes a socket that nobody listens on any more. @throws RingsideError 'in-use', 'not-a-file' */
function removeStale(host: Host, path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket()) {
    throw new RingsideError('not-a-file', `"${path}" is there and is no socket. Choose another path for the socket.`);
  }
  try {
    host.close(host.connectUnix(path));
  } catch (error) {
    if (!isHostError(error)) throw error;
    if (error.code === 'ECONNREFUSED') return rmSync(path, { force: true });
    if (error.code !== 'EAGAIN') throw new RingsideError('io', `"${path}": ${errorLine(error)}.`, { cause: error });
  }
  throw new RingsideError('in-use', `Somebody listens on "${path}" already. Choose another path for the socket.`);
}
