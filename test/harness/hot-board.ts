/** A board's object model with PCI, on a PciBench: devices come and go as device_add and device_del have it. */
import { createHost } from '../../core/host/node-host.ts';
import { buildBoard } from '../../core/machine/board.ts';
import type { DeviceName } from '../../core/machine/device-removal.ts';
import { ObjectModel } from '../../core/machine/object-model.ts';
import type { DeviceInput } from '../../core/machine/object-model.ts';
import { machineTypes } from '../../core/machine/types.ts';
import type { PcieRootPort } from '../../core/pci/root-port.ts';
import type { QomObject } from '../../core/qom/object.ts';
import { VirtioMmioBus } from '../../core/virtio/mmio-bus.ts';
import type { VirtioPciPlug } from '../../core/virtio/pci-bus.ts';
import { virtioInstance } from '../../core/virtio/proxy.ts';
import { HOST } from './guest.ts';
import type { PciBench } from './pci-bench.ts';
import type { PciDriverOptions, PciMockDriver } from './pci-mock-driver.ts';
import { PortDriver } from './port-driver.ts';

/** However busy the host is. */
const NEVER = 3_600_000;

export class HotBoard {
  readonly model: ObjectModel;
  readonly bench: PciBench;
  readonly deleted: DeviceName[] = [];
  readonly kept: DeviceName[] = [];
  readonly warnings: string[] = [];
  /** As the machine's: one operation after the other. */
  #queue: Promise<unknown> = Promise.resolve();

  static async create(bench: PciBench): Promise<HotBoard> {
    const board = new HotBoard(bench);
    const mmio = new VirtioMmioBus({
      memory: bench.memory,
      engine: bench.irq,
      iothreads: [bench.iothread],
      legacy: false,
    });
    const { model } = board;
    await buildBoard(model.tree, { harts: 1, mmio, pci: bench.slots }, (device) => model.addBoardDevice(device));
    return board;
  }

  private constructor(bench: PciBench) {
    this.bench = bench;
    this.model = new ObjectModel({
      types: machineTypes(),
      services: {
        host: createHost(HOST),
        harts: 1,
        memory: bench.memory,
        workers: { main: bench.iothread, add: () => Promise.reject(new Error('no iothread here')) as never },
        // No device of these tests asks for them.
        regions: null!,
        chardevs: null!,
        network: null!,
        note: (device, message) => void bench.notes.push(`${device}: ${message}`),
        ioError: (_device, event) => void bench.ioErrors.push(event),
        warn: (message) => void this.warnings.push(message),
      },
      onDeviceDeleted: (device) => void this.deleted.push(device),
      onDeviceKept: (device) => void this.kept.push(device),
      later: (operation) => void this.run(operation),
      patience: { again: NEVER, answer: NEVER },
    });
  }

  run<T>(operation: () => T | Promise<T>): Promise<T> {
    const run = this.#queue.then(operation);
    this.#queue = run.catch(() => {});
    return run;
  }

  /** Resolves when all operations are done that have been asked for. */
  async settled(): Promise<void> {
    await this.run(() => {});
  }

  /** -device, before there is a guest. */
  plug(device: Partial<DeviceInput> & { driver: string }): Promise<QomObject> {
    return this.run(() => this.model.addDevice({ properties: {}, ...device }));
  }

  /** device_add. */
  add(device: Partial<DeviceInput> & { driver: string }): Promise<QomObject> {
    return this.run(() => this.model.addDevice({ properties: {}, ...device }, { hotplugged: true }));
  }

  /** device_del. */
  del(id: string): Promise<void> {
    return this.run(() => this.model.requestRemoval(id));
  }

  async rootPort(id: string, properties: Record<string, unknown> = {}): Promise<PcieRootPort> {
    const object = await this.plug({ driver: 'pcie-root-port', id, properties });
    return object.instance as PcieRootPort;
  }

  /** A driver for the slot of a port. */
  async slotDriver({ devfn }: PcieRootPort, bus = 1): Promise<PortDriver> {
    return new PortDriver(this.bench.host, devfn, bus).enumerate();
  }

  /** A driver for a device behind a port: places its BARs. */
  cardDriver(id: string, options: PciDriverOptions = {}, bus = 1): Promise<PciMockDriver> {
    const instance = virtioInstance(this.model.tree.get(`/machine/peripheral/${id}`))!;
    return this.bench.driver(instance.plug as VirtioPciPlug, options, bus);
  }

  get ids(): string[] {
    return [...this.model.tree.container('/machine/peripheral').children.keys()];
  }

  async close(): Promise<void> {
    await this.settled();
    await this.model.close();
    await this.bench.clear();
  }
}
