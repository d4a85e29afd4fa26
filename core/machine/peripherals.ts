/** The machine's virtio devices, the workers that serve them and the disks behind them. */
import type { MachineConfig, VirtioDeviceSnapshot } from '../api/machine.ts';
import { openDisk } from '../block/open.ts';
import type { OpenDisk } from '../block/open.ts';
import type { Chardev } from '../chardev/chardev.ts';
import type { Engine } from '../engine.ts';
import { errorLine, RingsideError } from '../errors.ts';
import type { HostSpec } from '../host/host.ts';
import { createHost } from '../host/node-host.ts';
import { interruptSink } from '../irqchip/interrupt-sink.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { IoErrorEvent } from '../virtio/backend/backend.ts';
import { BlkDevice } from '../virtio/blk/device.ts';
import { ConsoleDevice } from '../virtio/console/device.ts';
import { VirtioMmioBus } from '../virtio/mmio-bus.ts';
import { RngDevice } from '../virtio/rng/device.ts';
import { IoThreadHandle } from '../worker/iothread-handle.ts';
import { VIRTIO_SLOTS } from './virt-map.ts';

/** Ids of the devices that are no drives. */
const CONSOLE_ID = 'console0';
const RNG_ID = 'rng0';

export interface PeripheralsOptions {
  config: MachineConfig;
  guest: GuestMemory;
  /** The engine's compiled module. */
  module: WebAssembly.Module;
  host: HostSpec;
  /** The control thread's instance. */
  engine: Engine;
  /** Behind virtio-console; null when there is none. */
  chardev: Chardev | null;
  /** Something the user should know, one line. */
  onMessage: (text: string) => void;
  /** The VM must be paused, and why. */
  onStop: (reason: string) => void;
}

export class Peripherals {
  /** What the user should know about the disks, one line each. */
  readonly warnings: string[] = [];
  readonly #disks: OpenDisk[] = [];
  readonly #iothreads: IoThreadHandle[] = [];
  readonly #bus: VirtioMmioBus;
  readonly #o: PeripheralsOptions;
  /** Of an I/O worker that is gone, and with it the devices: only a reset of the app's VM brings them back. */
  #crash: RingsideError | null = null;

  /** @throws RingsideError; nothing is left open then */
  static async create(options: PeripheralsOptions): Promise<Peripherals> {
    const peripherals = new Peripherals(options);
    try {
      await peripherals.#plug();
      return peripherals;
    } catch (error) {
      await peripherals.close();
      throw error;
    }
  }

  private constructor(options: PeripheralsOptions) {
    this.#o = options;
    const { guest, engine, module, host, config } = options;
    this.#iothreads.push(
      new IoThreadHandle({
        guest: guest.handle,
        index: 0,
        engine: module,
        host,
        onCrash: (error) => this.#lost(error),
      }),
    );
    this.#bus = new VirtioMmioBus({
      memory: guest,
      engine: interruptSink(engine),
      iothreads: this.#iothreads,
      legacy: config.forceLegacy,
      onIoError: (device, event) => this.#ioError(device, event),
      onNote: (device, message) => options.onMessage(`${device}: ${message}`),
    });
  }

  async #plug(): Promise<void> {
    const { config, chardev, host } = this.#o;
    const own = [...(chardev === null ? [] : [CONSOLE_ID]), ...(config.rng ? [RNG_ID] : [])];
    const wanted = config.drives.length + own.length;
    if (wanted > VIRTIO_SLOTS) {
      const remedy = 'Remove drives, the console or the rng.';
      throw new RingsideError(
        'too-large',
        `the board has ${VIRTIO_SLOTS} virtio slots, and this VM wants ${wanted}. ${remedy}`,
      );
    }
    const ids = new Set<string>(own);
    for (const { id, file, format, readonly, discard, serial, werror, rerror, slot, legacy } of config.drives) {
      if (ids.has(id))
        throw new RingsideError('bad-option', `two devices have the id "${id}". Give the drive another.`);
      ids.add(id);
      const opened = openDisk({ file, format, readonly, discard, host: createHost(host) });
      this.#disks.push(opened);
      this.warnings.push(...opened.warnings);
      const device = new BlkDevice({
        id,
        disk: opened.disk,
        werror,
        rerror,
        ...(serial === undefined ? {} : { serial }),
      });
      await this.#bus.attach(device, { ...(slot === undefined ? {} : { slot }), ...(legacy ? { legacy } : {}) });
    }
    if (chardev !== null) await this.#bus.attach(new ConsoleDevice({ id: CONSOLE_ID, chardev }));
    if (config.rng) await this.#bus.attach(new RngDevice({ id: RNG_ID }));
  }

  #ioError(device: string, event: IoErrorEvent): void {
    const more = event.unreported > 0 ? ` (and ${event.unreported} more)` : '';
    const text = `${device}: ${event.message}${more}`;
    if (event.action === 'stop') this.#o.onStop(`${text} The VM is paused; resume it to try again.`);
    else this.#o.onMessage(text);
  }

  #lost(error: RingsideError): void {
    this.#crash = error;
    this.#o.onStop(`${error.message} The VM is paused; its disks hold all that was flushed.`);
  }

  /** @throws RangeError where no register takes such an access */
  read(address: number, size: number): number | Promise<number> {
    if (!this.#bus.accepts(address, size)) throw new RangeError('no register takes this access');
    return this.#bus.read(address, size);
  }

  write(address: number, size: number, value: bigint): void | Promise<void> {
    if (!this.#bus.accepts(address, size)) throw new RangeError('no register takes this access');
    return this.#bus.write(address, size, Number(value));
  }

  /** @throws the crash of an I/O worker: its devices cannot go on */
  #check(): void {
    if (this.#crash !== null) throw this.#crash;
  }

  async reset(): Promise<void> {
    this.#check();
    await this.#bus.reset();
  }

  /** When it resolves no device touches guest RAM, until resume(). */
  async pause(): Promise<void> {
    if (this.#crash === null) await this.#bus.pause();
  }

  async resume(): Promise<void> {
    this.#check();
    await this.#bus.resume();
  }

  /** Stops the workers, which flush the disks, and closes them. May be called twice. */
  async close(): Promise<void> {
    if (this.#crash === null) await this.#bus.close().catch(() => {});
    await Promise.all(this.#iothreads.map((iothread) => iothread.close()));
    for (const { disk } of this.#disks.splice(0)) {
      try {
        disk.close();
      } catch (error) {
        // Closed all the same; some file systems report here what they could not write.
        this.#o.onMessage(`"${disk.file}" was not closed cleanly: ${errorLine(error)}.`);
      }
    }
  }

  snapshot(): VirtioDeviceSnapshot[] {
    return this.#bus.snapshot();
  }
}
