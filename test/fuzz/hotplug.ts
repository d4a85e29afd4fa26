/**
 * Root ports against a driver gone mad: device_add and device_del while cards work, slot registers, bus numbers, windows and
 * the cards themselves written with anything, machine resets in between. A device on the root bus looks on.
 */
import { expect } from 'vitest';

import { RingsideError } from '../../core/errors.ts';
import { PCIE_ECAM_PHYS, PCIE_HIGH_MMIO_PHYS, PCIE_MMIO_PHYS } from '../../core/machine/virt-map.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import * as exp from '../../core/pci/express.ts';
import * as pci from '../../core/pci/spec.ts';
import type { VirtioPciPlug } from '../../core/virtio/pci-bus.ts';
import { virtioInstance } from '../../core/virtio/proxy.ts';
import { HotBoard } from '../harness/hot-board.ts';
import type { PciBench } from '../harness/pci-bench.ts';
import { BarSpace } from '../harness/pci-enumerator.ts';
import type { PciMockDriver } from '../harness/pci-mock-driver.ts';
import { PortDriver } from '../harness/port-driver.ts';
import { Random } from './random.ts';

const PORTS = ['rp0', 'rp1'];
/** Bus behind each. */
const BUSES = [1, 2];
/** What needs nothing of the host, and what refuses to be made. */
const CARDS = ['virtio-rng-pci', 'virtio-keyboard-pci', 'virtio-tablet-pci', 'virtio-balloon-pci', 'virtio-blk-pci'];
const ENTROPY_BYTES = 16;
/** Operations of the monitor that are under way at once. */
const PENDING_MAX = 6;
/** Offsets in a port that have to do with its slot. */
const PORT_REGISTERS = [
  pci.PCI_COMMAND,
  pci.PCI_PRIMARY_BUS,
  pci.PCI_SECONDARY_BUS,
  pci.PCI_IO_BASE,
  pci.PCI_MEMORY_BASE,
  pci.PCI_PREF_MEMORY_BASE,
  pci.PCI_BRIDGE_CONTROL,
];
const CONTROLS = [
  0,
  exp.PCI_EXP_SLTCTL_PCC,
  exp.PCI_EXP_SLTCTL_PIC_ON,
  exp.PCI_EXP_SLTCTL_PIC_BLINK,
  exp.PCI_EXP_SLTCTL_PIC_OFF,
  exp.PCI_EXP_SLTCTL_PIC_OFF | exp.PCI_EXP_SLTCTL_PCC,
  exp.PCI_EXP_SLTCTL_EIC,
  exp.PCI_EXP_SLTCTL_HPIE | exp.PCI_EXP_SLT_ABP | exp.PCI_EXP_SLT_PDC | exp.PCI_EXP_SLT_CC,
  0xffff,
];

export interface HotplugFuzzResult {
  operations: number;
  added: number;
  deleted: number;
  /** Commands that were refused. */
  refused: number;
  /** Requests of cards that were made, and those that were answered while things went on. */
  requests: number;
  answered: number;
}

export async function fuzzHotplug(bench: PciBench, seed: number, operations: number): Promise<HotplugFuzzResult> {
  return new HotplugFuzzer(bench, await HotBoard.create(bench), new Random(seed)).run(operations);
}

class HotplugFuzzer {
  readonly #bench: PciBench;
  readonly #board: HotBoard;
  readonly #random: Random;
  readonly #slots: PortDriver[] = [];
  readonly #pending = new Set<Promise<void>>();
  /** A driver that had a card at work once. */
  #card: PciMockDriver | null = null;
  #calm!: PciMockDriver;
  #calmBuffer = 0;
  #buffer = 0;
  #ids = 0;
  readonly #result: HotplugFuzzResult = {
    operations: 0,
    added: 0,
    deleted: 0,
    refused: 0,
    requests: 0,
    answered: 0,
  };

  constructor(bench: PciBench, board: HotBoard, random: Random) {
    this.#bench = bench;
    this.#board = board;
    this.#random = random;
  }

  async run(operations: number): Promise<HotplugFuzzResult> {
    const board = this.#board;
    // It comes first: where two decode an address it is the first one's.
    await board.plug({ driver: 'virtio-rng-pci', id: 'calm' });
    for (const [i, id] of PORTS.entries()) {
      const { devfn } = await board.rootPort(id, { slot: i });
      this.#slots.push(new PortDriver(this.#bench.host, devfn, BUSES[i]));
    }
    await this.#boot();
    for (; this.#result.operations < operations; this.#result.operations++) {
      await this.#step();
      if (this.#random.oneIn(50)) await this.#checkCalm();
      if (this.#random.oneIn(400)) await this.#restart();
    }
    await this.#restart();
    for (const slot of this.#slots) await this.#works(slot);
    await this.#checkCalm();
    expect(this.#bench.crashes).toEqual([]);
    this.#result.deleted = board.deleted.filter(({ id }) => id !== null).length;
    // Each has gone once, or is there.
    const gone = board.deleted.map(({ path }) => path);
    expect(new Set(gone).size).toBe(gone.length);
    expect(this.#result.added - this.#result.deleted).toBe(board.ids.length - 1 - PORTS.length);
    await board.close();
    return this.#result;
  }

  /** What firmware does. */
  async #boot(): Promise<void> {
    const bench = this.#bench;
    bench.allocator.reset();
    bench.space = new BarSpace();
    const { plug } = virtioInstance(this.#board.model.tree.get('/machine/peripheral/calm'))!;
    this.#calm = await bench.driver(plug as VirtioPciPlug);
    await this.#calm.init({ queueSize: 4 });
    this.#calmBuffer = bench.allocator.alloc(ENTROPY_BYTES);
    this.#buffer = bench.allocator.alloc(ENTROPY_BYTES);
    this.#card = null;
  }

  async #restart(): Promise<void> {
    await Promise.all(this.#pending);
    await this.#board.settled();
    await this.#board.run(() => this.#board.model.reset());
    await this.#boot();
  }

  async #checkCalm(): Promise<void> {
    const [queue] = this.#calm.queues;
    const used = await this.#calm.submit(queue, [{ address: this.#calmBuffer, length: ENTROPY_BYTES, writable: true }]);
    expect(used.length).toBe(ENTROPY_BYTES);
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const choice = random.below(20);
    if (choice < 3) this.#command(() => this.#add());
    else if (choice < 5) this.#command(() => this.#del());
    else if (choice < 10) await this.#slotWrite(random.of(this.#slots));
    else if (choice < 13) await this.#portWrite(random.of(this.#slots));
    else if (choice < 16) await this.#cardAccess(random.of(this.#slots));
    else if (choice < 17) await this.#drive();
    else await this.#request();
    if (this.#pending.size >= PENDING_MAX || random.oneIn(10)) await Promise.all(this.#pending);
  }

  // ---- the monitor --------------------------------------------------------------------------------------------------

  #command(run: () => Promise<void>): void {
    const work = run()
      .catch((error: unknown) => {
        if (!(error instanceof RingsideError)) throw error;
        expect(error.message).not.toBe('');
        this.#result.refused++;
      })
      .finally(() => this.#pending.delete(work));
    this.#pending.add(work);
  }

  async #add(): Promise<void> {
    const random = this.#random;
    const fn = random.oneIn(4) ? random.below(8) : 0;
    const properties = { addr: `0.${fn}`, multifunction: random.oneIn(3) ? 'on' : 'off' };
    const bus = random.of([...PORTS, ...PORTS, 'pcie.0']);
    await this.#board.add({ driver: random.of(CARDS), id: `card${this.#ids++}`, bus, properties });
    this.#result.added++;
  }

  async #del(): Promise<void> {
    const { ids } = this.#board;
    await this.#board.del(this.#random.oneIn(10) ? 'nobody' : this.#random.of(ids));
  }

  // ---- the driver ---------------------------------------------------------------------------------------------------

  #value(size: number): number {
    const random = this.#random;
    const likely = [...CONTROLS, 0x0001_0100, 0x0002_0200, RAM_BASE, PCIE_MMIO_PHYS, PCIE_HIGH_MMIO_PHYS % 2 ** 32];
    return (random.oneIn(2) ? random.of(likely) : random.next()) % 2 ** (8 * size);
  }

  async #slotWrite({ port }: PortDriver): Promise<void> {
    const random = this.#random;
    const at = await port.capability(pci.PCI_CAP_ID_EXP);
    const register = at + random.of([exp.PCI_EXP_SLTCTL, exp.PCI_EXP_SLTCTL, exp.PCI_EXP_SLTSTA, exp.PCI_EXP_LNKSTA]);
    const size = random.of([1, 2, 2, 2, 4]);
    await port.write(register - (register % size), size, this.#value(size));
  }

  async #portWrite({ port }: PortDriver): Promise<void> {
    const random = this.#random;
    const size = random.of([1, 2, 4]);
    const register = random.oneIn(3) ? random.below(pci.PCIE_CONFIG_SPACE_SIZE) : random.of(PORT_REGISTERS);
    const at = register - (register % size);
    await port.write(at, size, this.#value(size));
    expect(await port.read(at, size)).toBeLessThan(2 ** (8 * size));
  }

  /** Configuration space of whatever answers there, by any number that a bus may have now. */
  async #cardAccess({ bus }: PortDriver): Promise<void> {
    const random = this.#random;
    const { host } = this.#bench;
    const size = random.of([1, 2, 4]);
    const number = random.oneIn(3) ? 1 + random.below(255) : bus;
    const offset = random.below(pci.PCI_CONFIG_SPACE_SIZE / size) * size;
    const at = PCIE_ECAM_PHYS + number * 2 ** 20 + random.below(random.oneIn(4) ? 256 : 8) * 4096 + offset;
    await host.write(at, size, this.#value(size));
    expect(await host.read(at, size)).toBeLessThan(2 ** (8 * size));
  }

  /** Has the card behind the first port do something, if it can be had. */
  async #drive(): Promise<void> {
    await this.#board.settled();
    const [slot] = this.#slots;
    await slot.enumerate();
    await slot.powerOn();
    const one = this.#bench.host.functionAt(slot.bus, 0);
    const id = this.#board.ids.find((name) => name === one?.name);
    if (id === undefined) return;
    // Behind what the bystander has.
    this.#bench.space = new BarSpace();
    for (const { kind, size } of this.#calm.access.bars.values()) this.#bench.space.take(kind, size);
    const { plug } = virtioInstance(this.#board.model.tree.get(`/machine/peripheral/${id}`))!;
    const interrupts = (plug as VirtioPciPlug).function.vectors > 0 ? 'msix' : 'intx';
    const driver = await this.#board.cardDriver(id, { interrupts }, slot.bus);
    await driver.init({ queueSize: 8 });
    this.#card = driver;
  }

  /** A request that nobody waits for: its card may go, come back, or have gone long ago. */
  async #request(): Promise<void> {
    const driver = this.#card;
    const queue = driver?.queues.at(0);
    if (!driver || !queue) return;
    while (queue.takeUsed()) this.#result.answered++;
    if (queue.freeDescriptors < 1) return;
    queue.add([{ address: this.#buffer, length: ENTROPY_BYTES, writable: true }]);
    this.#result.requests++;
    await driver.notify(queue.index);
  }

  /** The slot takes a card that works, and gives it back. */
  async #works(slot: PortDriver): Promise<void> {
    const board = this.#board;
    const bus = PORTS[this.#slots.indexOf(slot)];
    await slot.enumerate();
    // Whatever is there goes.
    const there = board.model.tree
      .buses()
      .find(({ name }) => name === bus)!
      .devices.map(({ id }) => id!);
    for (const id of there)
      await board.run(() => board.model.removeDevice(board.model.tree.get(`/machine/peripheral/${id}`)));
    const id = `last-${bus}`;
    await board.add({ driver: 'virtio-rng-pci', id, bus });
    this.#result.added++;
    await slot.powerOn();
    this.#bench.space = new BarSpace();
    for (const { kind, size } of this.#calm.access.bars.values()) this.#bench.space.take(kind, size);
    const driver = await board.cardDriver(id, {}, slot.bus);
    await driver.init({ queueSize: 4 });
    const used = await driver.submit(driver.queues[0], [
      { address: this.#buffer, length: ENTROPY_BYTES, writable: true },
    ]);
    expect(used.length).toBe(ENTROPY_BYTES);
    await board.del(id);
    await slot.powerOff();
    await board.settled();
    expect(board.ids).not.toContain(id);
  }
}
