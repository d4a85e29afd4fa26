/** The machine's devices and what is behind them: the object model, filled from the configuration, and its I/O workers. */
import type { BackendConfig, DriveConfig, MachineConfig, VirtioDeviceSnapshot } from '../api/machine.ts';
import type { Engine } from '../engine.ts';
import { RingsideError } from '../errors.ts';
import type { HostSpec } from '../host/host.ts';
import { createHost } from '../host/node-host.ts';
import { interruptSink } from '../irqchip/interrupt-sink.ts';
import type { FileRegions } from '../memory/file-region.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { Network } from '../net/network.ts';
import type { IoErrorEvent } from '../virtio/backend/backend.ts';
import { PciHost } from '../pci/host.ts';
import type { Trace } from '../trace/trace.ts';
import type { VirtioTransport } from '../virtio/transport/transport.ts';
import { VirtioMmioBus } from '../virtio/mmio-bus.ts';
import { VirtioPciSlots } from '../virtio/pci-bus.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import { deviceSnapshot } from '../virtio/snapshot.ts';
import { buildBoard } from './board.ts';
import type { Chardevs } from './chardevs.ts';
import type { DeviceName } from './device-removal.ts';
import { IoWorkers } from './io-workers.ts';
import { ObjectModel } from './object-model.ts';
import type { DeviceInput } from './object-model.ts';
import { machineTypes } from './types.ts';
import { VIRTIO_SLOTS } from './virt-map.ts';

/** Ids of the devices that the configuration asks for by a switch. */
const CONSOLE_ID = 'console0';
const RNG_ID = 'rng0';

export interface PeripheralsOptions {
  config: MachineConfig;
  guest: GuestMemory;
  /** Files as guest memory. */
  regions: FileRegions;
  /** The engine's compiled module. */
  module: WebAssembly.Module;
  host: HostSpec;
  /** The control thread's instance. */
  engine: Engine;
  trace: Trace;
  chardevs: Chardevs;
  /** Something the user should know, one line. */
  onMessage: (text: string) => void;
  /** The VM must be paused, and why. */
  onStop: (reason: string) => void;
  onDeviceDeleted: (device: DeviceName) => void;
  /** The guest was asked to let go of it, and does not. */
  onDeviceKept: (device: DeviceName) => void;
  /** Runs an operation on the devices when no other is under way. */
  later: (operation: () => Promise<void>) => void;
  /** A request of a disk has failed. Comes before onMessage or onStop. */
  onIoError: (device: string, error: IoErrorEvent) => void;
}

/** A device of the configuration. */
interface Wanted extends DeviceInput {
  /** Virtio-mmio version 1 for its slot. */
  readonly legacy?: boolean;
}

export class Peripherals {
  readonly model: ObjectModel;
  readonly #workers: IoWorkers;
  readonly #bus: VirtioMmioBus;
  readonly #pci: VirtioPciSlots;
  readonly #network: Network;
  readonly #o: PeripheralsOptions;
  /** Of an I/O worker that is gone, and with it the devices: only a reset of the app's VM brings them back. */
  #crash: RingsideError | null = null;

  /** @throws RingsideError; nothing is left open then */
  static async create(options: PeripheralsOptions): Promise<Peripherals> {
    const workers = new IoWorkers({
      guest: options.guest.handle,
      engine: options.module,
      host: options.host,
      onCrash: (error) => peripherals?.lost(error),
    });
    let peripherals: Peripherals | null = null;
    try {
      peripherals = new Peripherals(options, workers);
      await peripherals.#plug();
      return peripherals;
    } catch (error) {
      await peripherals?.close();
      await workers.close();
      throw error;
    }
  }

  private constructor(options: PeripheralsOptions, workers: IoWorkers) {
    this.#o = options;
    this.#workers = workers;
    const { guest, engine, host, config, chardevs, onMessage, trace } = options;
    const sink = interruptSink(engine);
    this.#pci = new VirtioPciSlots({ memory: guest, host: new PciHost(), sink, trace });
    this.#bus = new VirtioMmioBus({
      memory: guest,
      engine: sink,
      iothreads: [workers.main],
      legacy: config.forceLegacy,
      trace,
    });
    this.#network = new Network({
      memory: guest.memory,
      onEvent: (_id, event) => event.kind === 'note' && onMessage(event.message),
      onCrash: (error) => onMessage(error.message),
    });
    const forceLegacy = { driver: 'virtio-mmio', property: 'force-legacy', value: 'on' };
    this.model = new ObjectModel({
      types: machineTypes(),
      services: {
        host: createHost(host),
        harts: config.harts,
        memory: guest,
        regions: options.regions,
        workers,
        chardevs,
        network: this.#network,
        note: (device, message) => onMessage(`${device}: ${message}`),
        ioError: (device, event) => this.#ioError(device, event),
        warn: onMessage,
      },
      globals: [...(config.forceLegacy ? [forceLegacy] : []), ...config.globals],
      onDeviceDeleted: options.onDeviceDeleted,
      onDeviceKept: options.onDeviceKept,
      later: options.later,
    });
  }

  async #plug(): Promise<void> {
    const { config } = this.#o;
    const { model } = this;
    await buildBoard(model.tree, { harts: config.harts, aia: config.aia, mmio: this.#bus, pci: this.#pci }, (device) =>
      model.addBoardDevice(device),
    );
    const wanted = wantedDevices(config);
    this.#check(wanted);
    const chardevs = [...config.chardevs, ...(config.console ? [{ type: 'program', id: CONSOLE_ID }] : [])];
    const kinds: [Parameters<ObjectModel['addBackend']>[0], readonly BackendConfig[]][] = [
      ['chardev', chardevs],
      ['object', config.objects],
      ['drive', config.drives.map(driveBackend)],
      ['netdev', config.netdevs],
      ['fsdev', config.fsdevs],
    ];
    for (const [kind, backends] of kinds) {
      const options = { withDevice: kind === 'drive' };
      for (const { type, id, ...properties } of backends) await model.addBackend(kind, type, id, properties, options);
    }
    if (config.serial !== undefined) {
      // The UART has it for good.
      model.environment.backend({ onClose() {} }, 'chardev', config.serial);
    }
    for (const { legacy = false, ...device } of wanted) {
      await model.addDevice(device, { onBus: (bus) => legacy && bus.parent?.assign('force-legacy', true) });
    }
  }

  /** What would be found out one by one is said at once. */
  #check(wanted: readonly Wanted[]): void {
    const { types } = this.model.tree;
    const ids = new Set<string>();
    for (const { id } of wanted) {
      if (id === undefined) continue;
      if (ids.has(id)) {
        throw new RingsideError('bad-option', `two devices have the id "${id}". Give the drive another.`);
      }
      ids.add(id);
    }
    const slots = wanted.filter(({ driver }) => types.find(driver)?.bus === 'virtio-bus').length;
    if (slots <= VIRTIO_SLOTS) return;
    const remedy = 'Remove drives, the console or the rng.';
    const message = `the board has ${VIRTIO_SLOTS} virtio slots, and this VM wants ${slots}. ${remedy}`;
    throw new RingsideError('too-large', message);
  }

  #ioError(device: string, event: IoErrorEvent): void {
    this.#o.onIoError(device, event);
    const more = event.unreported > 0 ? ` (and ${event.unreported} more)` : '';
    const text = `${device}: ${event.message}${more}`;
    if (event.action === 'stop') this.#o.onStop(`${text} The VM is paused; resume it to try again.`);
    else this.#o.onMessage(text);
  }

  /** An I/O worker has crashed. */
  lost(error: RingsideError): void {
    this.#crash = error;
    this.#o.onStop(`${error.message} The VM is paused; its disks hold all that was flushed.`);
  }

  /** Whether an access reaches a register of the virtio-mmio slots or of PCI. */
  accepts(address: number, size: number): boolean {
    return this.#bus.accepts(address, size) || this.#pci.host.accepts(address, size);
  }

  /** Only for what accepts() takes. */
  read(address: number, size: number): number | Promise<number> {
    const bus = this.#bus.accepts(address, size) ? this.#bus : this.#pci.host;
    return bus.read(address, size);
  }

  write(address: number, size: number, value: bigint): void | Promise<void> {
    const bus = this.#bus.accepts(address, size) ? this.#bus : this.#pci.host;
    return bus.write(address, size, Number(value));
  }

  /** Whether harts serve what they can of virtio-mmio by themselves. */
  serveHot(served: boolean): void {
    this.#bus.serveHot(served);
  }

  /** The virtio-mmio devices, by slot. */
  get slots(): readonly VirtioTransport[] {
    return this.#bus.transports;
  }

  /** The PCI host bridge, for the inspector and the monitor. */
  get pci(): PciHost {
    return this.#pci.host;
  }

  /** @throws the crash of an I/O worker: its devices cannot go on */
  #checkWorkers(): void {
    if (this.#crash !== null) throw this.#crash;
  }

  async reset(): Promise<void> {
    this.#checkWorkers();
    await this.model.reset();
  }

  /** When it resolves no device touches guest RAM, until resume(). */
  async pause(): Promise<void> {
    if (this.#crash === null) await this.#workers.pause();
  }

  async resume(): Promise<void> {
    this.#checkWorkers();
    await this.#workers.resume();
  }

  /** Stops the workers, which flush the disks, and closes them. May be called twice. */
  async close(): Promise<void> {
    await this.model.close();
    await this.#network.close();
    await this.#workers.close();
  }

  /** Of the slots, the first one first; then of others, in the order in which they came. */
  snapshot(): VirtioDeviceSnapshot[] {
    const found: VirtioDeviceSnapshot[] = [];
    for (const object of this.model.tree.root.walk()) {
      if (object.type.isA('virtio-device')) {
        const instance = virtioInstance(object);
        if (instance) found.push(deviceSnapshot(instance.plug.transport, this.#o.guest));
      }
    }
    const place = ({ transport }: VirtioDeviceSnapshot): number =>
      transport.name === 'virtio-mmio' ? transport.slot : VIRTIO_SLOTS;
    return found.sort((a, b) => place(a) - place(b));
  }
}

/** -device first, as QEMU has it, then what the drives and switches stand for. */
function wantedDevices(config: MachineConfig): Wanted[] {
  const wanted: Wanted[] = config.devices.map(({ driver, id, bus, ...properties }) => ({
    driver,
    id,
    bus,
    properties,
  }));
  for (const drive of config.drives) if (drive.if !== 'none') wanted.push(driveDevice(drive));
  if (config.console) {
    wanted.push({ driver: 'virtio-serial-device', id: CONSOLE_ID, properties: { max_ports: 1 } });
    wanted.push({ driver: 'virtconsole', bus: `${CONSOLE_ID}.0`, properties: { chardev: CONSOLE_ID } });
  }
  if (config.rng) wanted.push({ driver: 'virtio-rng-device', id: RNG_ID, properties: {} });
  return wanted;
}

function driveDevice({ id, slot, legacy }: DriveConfig): Wanted {
  return {
    driver: 'virtio-blk-device',
    id,
    bus: slot === undefined ? undefined : `virtio-mmio-bus.${slot}`,
    properties: { drive: id },
    legacy,
  };
}

function driveBackend({ id, if: _if, slot: _slot, legacy: _legacy, ...properties }: DriveConfig): BackendConfig {
  return { type: 'drive', id, ...Object.fromEntries(Object.entries(properties).filter(([, v]) => v !== undefined)) };
}
