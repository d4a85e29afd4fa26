/** Root ports: as QEMU 7.2 shows them, bus numbers and windows, and the slot's registers. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import { PCIE_ECAM_PHYS, PCIE_HIGH_MMIO_PHYS, PCIE_IRQ, PCIE_MMIO_PHYS } from '../../core/machine/virt-map.ts';
import * as exp from '../../core/pci/express.ts';
import * as pci from '../../core/pci/spec.ts';
import { COMMON_NUM_QUEUES } from '../../core/virtio/spec/pci.ts';
import { HotBoard } from '../harness/hot-board.ts';
import { PciBench } from '../harness/pci-bench.ts';
import { BarSpace, PciAccess } from '../harness/pci-enumerator.ts';
import { MSI_ADDRESS, MSI_DATA } from '../harness/pci-mock-driver.ts';
import { QEMU_ROOT_PORTS, QEMU_ROOT_PORT_WRITABLE } from './qemu-root-port.ts';

const RNG = 'virtio-rng-pci';
const ALL_ONES = 0xffff_ffff;

const bench = new PciBench();
let board: HotBoard;
beforeEach(async () => {
  board = await HotBoard.create(bench);
});
afterEach(() => board.close());
afterAll(() => bench.close());

async function rows(access: PciAccess): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (let offset = 0; offset < 256; offset += 16) {
    const bytes = await Promise.all(Array.from({ length: 16 }, (_, i) => access.read(offset + i, 1)));
    const text = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    if (bytes.some((byte) => byte !== 0)) found[offset.toString(16).padStart(2, '0')] = text;
  }
  return found;
}

describe("QEMU's bytes", () => {
  it.each(QEMU_ROOT_PORTS)('$name', async ({ properties, card, config }) => {
    const port = await board.rootPort('rp0', properties);
    if (card) await board.plug({ driver: RNG, bus: 'rp0' });
    const access = new PciAccess(bench.host, 0, port.devfn);
    expect(await rows(access)).toEqual(config);
    await bench.host.reset();
    expect(await rows(access)).toEqual(config);
  });

  it('can be written where they can there', async () => {
    const access = new PciAccess(bench.host, 0, (await board.rootPort('rp0')).devfn);
    const found: Record<string, string> = {};
    for (let offset = 0; offset < 256; offset += 4) {
      const before = await access.read(offset, 4);
      await access.write(offset, 4, ALL_ONES);
      const ones = await access.read(offset, 4);
      await access.write(offset, 4, 0);
      const zeros = await access.read(offset, 4);
      await access.write(offset, 4, before);
      const changed = (ones & ~zeros) >>> 0;
      if (changed !== 0) found[offset.toString(16)] = changed.toString(16);
    }
    expect(found).toEqual(QEMU_ROOT_PORT_WRITABLE);
    // No extended capability.
    expect(await access.read(0x100, 4)).toBe(0);
  });
});

describe('properties', () => {
  it.each([
    [{ driver: 'pcie-root-port', properties: { chassis: 1, slot: 2 } }, /rp0 has chassis 1, slot 2 already/],
    [{ driver: 'pcie-root-port', bus: 'rp0', properties: {} }, /belongs on the root bus: give .* bus=pcie\.0/],
    [{ driver: 'pcie-root-port', properties: { slot: 8192 } }, /slot: "8192" is not from 0 to 8191/],
    [{ driver: 'pcie-root-port', properties: { slot: 3, 'mem-reserve': '4G' } }, /mem-reserve: "4294967296" is 4 GiB/],
    [{ driver: 'pcie-root-port', properties: { slot: 3, addr: '20' } }, /addr: "20" is not a slot/],
    [{ driver: RNG, bus: 'rp0', properties: { addr: '1' } }, /use slots 0 to 0/],
  ])('%o is refused', async (device, message) => {
    await board.rootPort('rp0', { chassis: 1, slot: 2 });
    const before = bench.host.functions.length;
    await expect(board.plug(device)).rejects.toThrow(message);
    expect(bench.host.functions).toHaveLength(before);
    // Nothing stays taken.
    await board.rootPort('rp1', { chassis: 1, slot: 3, addr: '1f' });
  });

  it('name the bus behind it by the id, or in turn', async () => {
    await board.rootPort('rp0', { slot: 1 });
    await board.plug({ driver: 'pcie-root-port', properties: { slot: 2 } });
    await board.plug({ driver: 'pcie-root-port', properties: { slot: 3 } });
    const names = board.model.tree
      .buses()
      .filter(({ type }) => type.isA('PCI'))
      .map(({ name }) => name);
    expect(names).toEqual(['pcie.0', 'rp0', 'pcie.1', 'pcie.2']);
    await board.plug({ driver: RNG, bus: 'pcie.2', id: 'a' });
    // Without a bus devices go to the root bus, as in QEMU.
    await board.plug({ driver: RNG, id: 'b' });
    expect(board.model.tree.get('/machine/peripheral/b').bus!.name).toBe('pcie.0');
  });

  it('take one card each', async () => {
    await board.rootPort('rp0');
    await board.plug({ driver: RNG, bus: 'rp0', id: 'a', properties: { multifunction: true } });
    await board.plug({ driver: RNG, bus: 'rp0', id: 'b', properties: { addr: '0.1' } });
    await expect(board.plug({ driver: RNG, bus: 'rp0' })).rejects.toThrow(/No slot of rp0 is left.*taken by a/);
  });
});

describe('bus numbers', () => {
  it('lead to what is behind it', async () => {
    const port = await board.rootPort('rp0', { slot: 1 });
    const other = await board.rootPort('rp1', { slot: 2 });
    await board.plug({ driver: RNG, bus: 'rp0' });
    const behind = (bus: number) => new PciAccess(bench.host, bus, 0).present();
    expect(await behind(1)).toBe(false);
    await board.slotDriver(port, 7);
    await board.slotDriver(other, 5);
    expect(await Promise.all([0, 1, 5, 7, 8].map(behind))).toEqual([true, false, false, true, false]);
    // A link has one device.
    expect(await new PciAccess(bench.host, 7, 1 << 3).present()).toBe(false);
    expect(await bench.host.read(PCIE_ECAM_PHYS + 7 * 2 ** 20 + 1, 1)).toBe(pci.PCI_VENDOR_ID_REDHAT_QUMRANET >>> 8);
    await bench.host.reset();
    expect(await behind(7)).toBe(false);
  });

  it.each([0x000000, 0xff0000, 0xff00ff, 0x0001ff, 0x020203, 0xffffff])('may be nonsense: %s', async (numbers) => {
    for (const id of ['rp0', 'rp1']) {
      const port = await board.rootPort(id, { slot: Number(id.at(-1)) });
      await board.plug({ driver: RNG, bus: id });
      await new PciAccess(bench.host, 0, port.devfn).write(pci.PCI_PRIMARY_BUS, 4, numbers);
    }
    for (const bus of [0, 1, 2, 0xff]) await bench.host.read(PCIE_ECAM_PHYS + bus * 2 ** 20, 4);
    expect(bench.host.functions).toHaveLength(5);
  });
});

describe('windows', () => {
  it('pass accesses on, of the space and to the addresses that they are for', async () => {
    const port = await board.rootPort('rp0');
    await board.plug({ driver: RNG, bus: 'rp0', id: 'rng', properties: { 'disable-legacy': 'off' } });
    const slot = await board.slotDriver(port);
    await slot.card.placeBars(new BarSpace());
    const queues = () => slot.card.readBar(4, COMMON_NUM_QUEUES, 2);
    const legacySize = () => slot.card.readBar(0, 12, 2);
    const vectorControl = () => slot.card.readBar(1, 12, 4);
    expect([await queues(), await legacySize(), await vectorControl()]).toEqual([1, 1024, 1]);

    await slot.setPrefetchableWindow(PCIE_HIGH_MMIO_PHYS + 2 ** 20, PCIE_HIGH_MMIO_PHYS + 2 ** 21 - 1);
    expect([await queues(), await legacySize(), await vectorControl()]).toEqual([0xffff, 1024, 1]);
    await slot.setPrefetchableWindow(PCIE_HIGH_MMIO_PHYS, PCIE_HIGH_MMIO_PHYS);
    await slot.setIoWindow(0x2000, 0x1000);
    expect([await queues(), await legacySize(), await vectorControl()]).toEqual([1, 0xffff, 1]);
    await slot.setMemoryWindow(PCIE_MMIO_PHYS + 2 ** 20, PCIE_MMIO_PHYS);
    expect([await queues(), await vectorControl()]).toEqual([1, ALL_ONES]);
    await slot.setMemoryWindow(PCIE_MMIO_PHYS, PCIE_MMIO_PHYS);
    await slot.setIoWindow(0x1000, 0x1000);

    await slot.port.command(0, pci.PCI_COMMAND_MEMORY);
    expect([await queues(), await legacySize(), await vectorControl()]).toEqual([0xffff, 1024, ALL_ONES]);
    await slot.port.command(pci.PCI_COMMAND_MEMORY, pci.PCI_COMMAND_IO);
    expect([await queues(), await legacySize(), await vectorControl()]).toEqual([1, 0xffff, 1]);
  });

  it('are what harts ring doorbells through: a card behind it works like any', async () => {
    const port = await board.rootPort('rp0');
    await board.plug({ driver: RNG, bus: 'rp0', id: 'rng' });
    const slot = await board.slotDriver(port);
    for (const interrupts of ['intx', 'msix'] as const) {
      const driver = await (await board.cardDriver('rng', { interrupts })).init();
      const address = bench.allocator.alloc(64);
      const { length } = await driver.submit(driver.queues[0], [{ address, length: 64, writable: true }]);
      expect(length).toBe(64);
      await driver.reset();
    }
    expect(bench.notes).toEqual([]);
    const card = port.bus.at(0)!;
    expect(bench.host.placeOf(card, 4)).not.toBeNull();
    await slot.setPrefetchableWindow(PCIE_HIGH_MMIO_PHYS + 2 ** 30, PCIE_HIGH_MMIO_PHYS);
    expect(bench.host.placeOf(card, 4)).toBeNull();
  });

  it("swizzle the card's INTx pin by its slot", async () => {
    const port = await board.rootPort('rp0', { addr: '6' });
    await board.plug({ driver: RNG, bus: 'rp0', id: 'rng' });
    // INTA of slot 0 behind slot 6: 6 % 4 = 2.
    expect(port.bus.line(0, 1)).toBe(2);
    await board.slotDriver(port);
    expect((await board.cardDriver('rng')).irq).toBe(PCIE_IRQ + 2);
  });
});

describe('the secondary bus reset', () => {
  it('resets what is behind it', async () => {
    const port = await board.rootPort('rp0');
    await board.plug({ driver: RNG, bus: 'rp0', id: 'rng' });
    const slot = await board.slotDriver(port);
    const driver = await (await board.cardDriver('rng')).init();
    expect(await driver.status()).not.toBe(0);
    await slot.port.write(pci.PCI_BRIDGE_CONTROL, 2, pci.PCI_BRIDGE_CTL_BUS_RESET);
    expect(await slot.card.read(pci.PCI_COMMAND, 2)).toBe(0);
    await slot.port.write(pci.PCI_BRIDGE_CONTROL, 2, 0);
    expect(await slot.card.present()).toBe(true);
    await (await board.cardDriver('rng')).init();
  });
});

describe('the slot', () => {
  it.each([false, true])('interrupts for events that are enabled (MSI-X: %s)', async (msix) => {
    const port = await board.rootPort('rp0', { addr: '3' });
    const slot = await board.slotDriver(port);
    const irq = PCIE_IRQ + 3;
    if (msix) {
      const at = await slot.port.capability(pci.PCI_CAP_ID_MSIX);
      await slot.port.placeBars(new BarSpace(), 2);
      await slot.port.command(pci.PCI_COMMAND_MASTER);
      for (const [offset, word] of [MSI_ADDRESS, 0, MSI_DATA, 0].entries()) {
        await slot.port.writeBar(0, 4 * offset, 4, word);
      }
      await slot.port.write(at + pci.PCI_MSIX_FLAGS, 2, pci.PCI_MSIX_FLAGS_ENABLE);
    }
    await board.add({ driver: RNG, id: 'a', bus: 'rp0' });
    // Nothing is enabled yet; the pin's state shows in the status register.
    expect([bench.irq.level(irq), bench.irq.messages]).toEqual([0, 0]);
    await slot.writeControl((await slot.control()) | exp.PCI_EXP_SLT_ABP | exp.PCI_EXP_SLTCTL_HPIE);
    expect([bench.irq.level(irq), bench.irq.messages]).toEqual(msix ? [0, 1] : [1, 0]);
    expect((await slot.port.read(pci.PCI_STATUS, 2)) & pci.PCI_STATUS_INTERRUPT).toBe(
      msix ? 0 : pci.PCI_STATUS_INTERRUPT,
    );
    await slot.port.command(pci.PCI_COMMAND_INTX_DISABLE);
    expect(bench.irq.level(irq)).toBe(0);
    await slot.port.command(0, pci.PCI_COMMAND_INTX_DISABLE);
    expect(bench.irq.level(irq)).toBe(msix ? 0 : 1);
    // It is PDC that is not enabled.
    await slot.writeStatus(exp.PCI_EXP_SLT_ABP);
    expect([bench.irq.level(irq), bench.irq.messages]).toEqual([0, msix ? 1 : 0]);
    expect((await slot.status()) & exp.PCI_EXP_SLT_PDC).toBe(exp.PCI_EXP_SLT_PDC);
    await slot.writeControl((await slot.control()) | exp.PCI_EXP_SLT_PDC);
    expect([bench.irq.level(irq), bench.irq.messages]).toEqual(msix ? [0, 2] : [1, 0]);
    await bench.host.reset();
    expect(bench.irq.level(irq)).toBe(0);
  });

  it('keeps events that the driver has not seen when it clears all of them', async () => {
    const slot = await board.slotDriver(await board.rootPort('rp0'));
    await board.add({ driver: RNG, id: 'a', bus: 'rp0' });
    const events = exp.PCI_EXP_SLT_ABP | exp.PCI_EXP_SLT_PDC | exp.PCI_EXP_SLTSTA_PDS;
    expect(await slot.status()).toBe(events);
    await slot.writeStatus(0xffff);
    expect(await slot.status()).toBe(events);
    await slot.writeStatus(events);
    expect(await slot.status()).toBe(exp.PCI_EXP_SLTSTA_PDS);
  });

  it('takes writes of any width to its registers', async () => {
    const slot = await board.slotDriver(await board.rootPort('rp0'));
    await board.add({ driver: RNG, id: 'a', bus: 'rp0' });
    const at = (await slot.port.capability(pci.PCI_CAP_ID_EXP)) + exp.PCI_EXP_SLTCTL;
    // The upper byte of Slot Control alone is a command as well.
    await slot.port.write(at + 1, 1, exp.PCI_EXP_SLTCTL_PIC_ON >>> 8);
    expect(await slot.card.present()).toBe(true);
    expect((await slot.status()) & exp.PCI_EXP_SLT_CC).toBe(exp.PCI_EXP_SLT_CC);
    // Status by its own byte, and both registers at once.
    await slot.port.write(at + 2, 1, exp.PCI_EXP_SLT_CC);
    expect((await slot.status()) & exp.PCI_EXP_SLT_CC).toBe(0);
    await slot.writeBoth(exp.PCI_EXP_SLTCTL_PIC_ON | ((exp.PCI_EXP_SLT_ABP | exp.PCI_EXP_SLT_PDC) << 16));
    expect(await slot.status()).toBe(exp.PCI_EXP_SLT_CC | exp.PCI_EXP_SLTSTA_PDS);
  });
});
