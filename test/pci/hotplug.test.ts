/** Devices that come and go behind a root port: device_add and device_del beside a driver that does what Linux's pciehp does. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import * as exp from '../../core/pci/express.ts';
import * as pci from '../../core/pci/spec.ts';
import type { PcieRootPort } from '../../core/pci/root-port.ts';
import { VIRTIO_BLK_S_OK } from '../../core/virtio/spec/blk.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { HotBoard } from '../harness/hot-board.ts';
import { PciBench } from '../harness/pci-bench.ts';
import { BarSpace } from '../harness/pci-enumerator.ts';
import type { PortDriver } from '../harness/port-driver.ts';

const RNG = 'virtio-rng-pci';
const PRESENT = exp.PCI_EXP_SLTSTA_PDS;
const BUTTON = exp.PCI_EXP_SLT_ABP;
const PRESENCE_CHANGED = exp.PCI_EXP_SLT_PDC;

const folder = mkdtempSync(join(tmpdir(), 'ringside-hotplug-'));
const image = join(folder, 'disk.img');
writeFileSync(image, new Uint8Array(2 ** 20).fill(0x5a));

const bench = new PciBench();
let board: HotBoard;
let port: PcieRootPort;
let slot: PortDriver;
beforeEach(async () => {
  board = await HotBoard.create(bench);
  port = await board.rootPort('rp0');
  slot = await board.slotDriver(port);
  await slot.enableEvents();
});
afterEach(() => board.close());
afterAll(async () => {
  await bench.close();
  rmSync(folder, { recursive: true, force: true });
});

const present = async () => ((await slot.status()) & PRESENT) !== 0;
/** device_add, and the driver turns the power on. */
async function insert(id: string, driver = RNG, properties: Record<string, unknown> = {}): Promise<void> {
  await board.add({ driver, id, bus: 'rp0', properties });
  await slot.takeEvents();
  await slot.powerOn();
}
const gone = (id: string) => [
  { id: null, path: `/machine/peripheral/${id}/virtio-backend` },
  { id, path: `/machine/peripheral/${id}` },
];

describe('a device', () => {
  it('is announced, works, is asked for back, and leaves with its drive', async () => {
    await board.model.addBackend('drive', 'drive', 'd0', { file: image }, { withDevice: true });
    expect(await present()).toBe(false);
    await board.add({ driver: 'virtio-blk-pci', id: 'disk', bus: 'rp0', properties: { drive: 'd0' } });
    expect(await present()).toBe(true);
    expect(await slot.takeEvents()).toBe(BUTTON | PRESENCE_CHANGED);
    // The slot has no power yet.
    expect(await slot.card.present()).toBe(false);
    await slot.powerOn();
    expect(await slot.card.read(pci.PCI_DEVICE_ID, 2)).toBe(0x1042);
    expect(await slot.link()).toBe(exp.PCI_EXP_LNKSTA_DLLLA | exp.LINK_2_5GT_X1);
    const driver = await (await board.cardDriver('disk', { interrupts: 'msix' })).init();
    const disk = new BlkDriver(driver, bench.allocator);
    const { status, data } = await disk.read(0, 8);
    expect(status).toBe(VIRTIO_BLK_S_OK);
    expect(data).toEqual(new Uint8Array(4096).fill(0x5a));

    await board.del('disk');
    expect(await slot.takeEvents()).toBe(BUTTON);
    await slot.indicate(exp.PCI_EXP_SLTCTL_PIC_BLINK);
    await expect(board.del('disk')).rejects.toThrow('Device disk is already in the process of unplug');
    await driver.reset();
    await slot.powerOff();
    await board.settled();
    expect(await present()).toBe(false);
    expect(await slot.link()).toBe(0x204);
    expect(await slot.takeEvents()).toBe(PRESENCE_CHANGED);
    expect(await slot.card.present()).toBe(false);
    expect(board.deleted).toEqual(gone('disk'));
    expect(board.ids).toEqual(['rp0']);
    // Nothing has the image any more.
    expect([...board.model.tree.get('/drives').children.keys()]).toEqual([]);
    expect([board.kept, bench.notes]).toEqual([[], []]);

    await insert('next');
    expect(await slot.card.read(pci.PCI_DEVICE_ID, 2)).toBe(0x1044);
    await (await board.cardDriver('next')).init();
  });

  it('that was there from the beginning can be taken out too', async () => {
    const second = await board.rootPort('rp1', { slot: 1 });
    await board.plug({ driver: RNG, id: 'old', bus: 'rp1' });
    const driver = await board.slotDriver(second, 2);
    expect(await driver.status()).toBe(PRESENT);
    expect(await driver.card.present()).toBe(true);
    await driver.enableEvents();
    await board.del('old');
    expect(await driver.takeEvents()).toBe(BUTTON);
    await driver.powerOff();
    await board.settled();
    expect(board.deleted).toEqual(gone('old'));
  });

  it('may be let go of by a guest that nobody has asked', async () => {
    await insert('a');
    await slot.powerOff();
    await board.settled();
    expect(board.deleted).toEqual(gone('a'));
  });

  it('stays as long as only the indicator or only the power is off, and works again afterwards', async () => {
    await insert('a');
    await slot.indicate(exp.PCI_EXP_SLTCTL_PIC_OFF);
    await slot.indicate(exp.PCI_EXP_SLTCTL_PIC_ON);
    await slot.command(exp.PCI_EXP_SLTCTL_PCC);
    await board.settled();
    expect([await present(), await slot.card.present()]).toEqual([true, false]);
    await slot.powerOn();
    await (await board.cardDriver('a')).init();
    expect(board.deleted).toEqual([]);
  });

  it('is announced anew to a guest that begins with a slot that is off', async () => {
    await board.add({ driver: RNG, id: 'a', bus: 'rp0' });
    // Writing what is off already ejects nothing.
    await slot.command(0);
    await board.settled();
    expect(await present()).toBe(true);
    await bench.host.reset();
    expect(await slot.status()).toBe(PRESENT);
    expect((await slot.control()) & exp.PCI_EXP_SLTCTL_PCC).toBe(0);
  });
});

describe('a request', () => {
  it('needs no answer where the slot has no power', async () => {
    await board.add({ driver: RNG, id: 'a', bus: 'rp0' });
    await board.del('a');
    await board.settled();
    expect(board.deleted).toEqual(gone('a'));
    expect(await slot.status()).toBe(PRESENCE_CHANGED);
  });

  it('is refused by a guest that stops to blink with the power on', async () => {
    await insert('a');
    await board.del('a');
    await slot.takeEvents();
    await slot.indicate(exp.PCI_EXP_SLTCTL_PIC_BLINK);
    await slot.indicate(exp.PCI_EXP_SLTCTL_PIC_ON);
    expect(board.kept).toEqual([{ id: 'a', path: '/machine/peripheral/a' }]);
    await (await board.cardDriver('a')).init();
    await board.del('a');
    expect(await slot.takeEvents()).toBe(BUTTON);
    await slot.powerOff();
    await board.settled();
    expect(board.deleted).toEqual(gone('a'));
  });

  it('is not made while the guest is busy with the slot', async () => {
    await insert('a');
    await slot.indicate(exp.PCI_EXP_SLTCTL_PIC_BLINK);
    await expect(board.del('a')).rejects.toThrow('Hot-unplug failed: guest is busy (power indicator blinking)');
    // That was nobody's request.
    await slot.indicate(exp.PCI_EXP_SLTCTL_PIC_ON);
    expect(board.kept).toEqual([]);
  });

  it('is done by a reset of the machine', async () => {
    await insert('a');
    await board.del('a');
    await board.run(() => board.model.reset());
    expect(board.deleted).toEqual(gone('a'));
    expect(await slot.status()).toBe(0);
    expect((await slot.control()) & exp.PCI_EXP_SLTCTL_PCC).toBe(exp.PCI_EXP_SLTCTL_PCC);
  });

  it.each([
    ['on the root bus', 'pcie.0', "Bus 'pcie.0' does not support hotplugging"],
    ['behind a port whose cards stay', 'fixed', "unsupported by the port device 'fixed'"],
  ])('of a device %s is refused, and so is another one there', async (_where, bus, message) => {
    await board.rootPort('fixed', { slot: 9, hotplug: false });
    await board.plug({ driver: RNG, id: 'a', bus });
    await expect(board.del('a')).rejects.toThrow(message);
    await expect(board.add({ driver: RNG, id: 'b', bus, properties: { multifunction: true } })).rejects.toThrow(
      message,
    );
    expect(board.ids).toEqual(['rp0', 'fixed', 'a']);
  });

  it('is for PCI: virtio-mmio has no hotplug, and ports stay', async () => {
    await board.plug({ driver: 'virtio-rng-device', id: 'mmio' });
    await expect(board.del('mmio')).rejects.toThrow(/^Bus 'virtio-mmio-bus\.\d+' does not support hotplugging$/);
    await expect(board.add({ driver: 'virtio-rng-device' })).rejects.toThrow(/does not support hotplugging/);
    await expect(board.del('rp0')).rejects.toThrow("Bus 'pcie.0' does not support hotplugging");
    await expect(board.del('nothing')).rejects.toThrow("Device 'nothing' not found");
  });

  it('waits for a lock that the guest has closed', async () => {
    await slot.command(exp.PCI_EXP_SLTCTL_EIC);
    expect((await slot.status()) & exp.PCI_EXP_SLTSTA_EIS).toBe(exp.PCI_EXP_SLTSTA_EIS);
    await expect(board.add({ driver: RNG, id: 'a', bus: 'rp0' })).rejects.toThrow('slot is electromechanically locked');
    expect(board.ids).toEqual(['rp0']);
    await slot.command(exp.PCI_EXP_SLTCTL_EIC);
    await insert('a');
    await slot.command(exp.PCI_EXP_SLTCTL_EIC);
    await expect(board.del('a')).rejects.toThrow('slot is electromechanically locked');
  });
});

describe('functions of one card', () => {
  const fn1 = { driver: RNG, id: 'one', bus: 'rp0', properties: { addr: '0.1' } };
  const fn0 = { driver: RNG, id: 'zero', bus: 'rp0', properties: { multifunction: true } };

  it('are announced with function 0, and leave together', async () => {
    await board.add(fn1);
    expect(await slot.takeEvents()).toBe(0);
    await board.add(fn0);
    expect(await slot.takeEvents()).toBe(BUTTON | PRESENCE_CHANGED);
    await slot.powerOn();
    expect(await slot.function(1).present()).toBe(true);
    await board.del('one');
    await slot.powerOff();
    await board.settled();
    expect(board.deleted).toEqual([...gone('one'), ...gone('zero')]);
  });

  it('that the guest has not seen go without it', async () => {
    await board.add(fn1);
    await board.del('one');
    await board.settled();
    expect(board.deleted).toEqual(gone('one'));
    expect(await slot.takeEvents()).toBe(0);
  });
});

describe('power that is yanked', () => {
  it('ends requests in flight: the guest has its memory back, and the disk its bytes', async () => {
    await board.model.addBackend('drive', 'drive', 'd0', { file: image }, { withDevice: true });
    await insert('disk', 'virtio-blk-pci', { drive: 'd0', 'num-queues': 2 });
    const driver = await (await board.cardDriver('disk')).init();
    const disk = new BlkDriver(driver, bench.allocator);
    for (let n = 0; n < 100; n++) void disk.read(8 * n, 8).catch(() => {});
    const off = slot.writeControl((await slot.control()) | exp.PCI_EXP_SLTCTL_PCC | exp.PCI_EXP_SLTCTL_PIC_OFF);
    const request = board.del('disk').catch(() => {});
    await off;
    // All of it is the driver's again from here on.
    const { memory, allocator } = bench;
    const start = memory.end - memory.ramSize;
    memory.fill(start, allocator.mark - start, 0xa5);
    await request;
    await board.settled();
    expect(board.deleted).toEqual(gone('disk'));
    await insert('next');
    await (await board.cardDriver('next')).reset();
    expect(memory.read(start, allocator.mark - start).every((byte) => byte === 0xa5)).toBe(true);
  });
});

describe('a hostile driver', () => {
  const write = fc.record({
    // Mostly the slot's registers.
    offset: fc.oneof(fc.constantFrom(0x6c, 0x6d, 0x6e, 0x04, 0x18, 0x3e, 0x4a), fc.nat(0xfff)),
    size: fc.constantFrom(1, 2, 4),
    value: fc.oneof(fc.constantFrom(0, 0x100, 0x200, 0x300, 0x400, 0x700, 0x7f9, 0xfff), fc.nat(0xffff_ffff)),
  });
  const step = fc.oneof(
    { weight: 12, arbitrary: write },
    { weight: 2, arbitrary: fc.constantFrom('add', 'del', 'reset', 'wait') },
  );

  it('breaks neither the port nor what is behind it', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), async (steps) => {
        bench.allocator.reset();
        bench.space = new BarSpace();
        for (const one of steps) {
          if (one === 'add') await board.add({ driver: RNG, id: 'a', bus: 'rp0' }).catch(() => {});
          else if (one === 'del') await board.del('a').catch(() => {});
          else if (one === 'reset') await board.run(() => board.model.reset());
          else if (one === 'wait') await board.settled();
          else if (typeof one === 'object') {
            const at = one.offset - (one.offset % one.size);
            await slot.port.write(at, one.size, one.value % 2 ** (8 * one.size));
            await slot.card.read(0, 4);
          }
        }
        // After a reset everything works.
        await board.run(() => board.model.reset());
        await board.settled();
        await slot.enumerate();
        if (!board.ids.includes('a')) await insert('a');
        expect(await present()).toBe(true);
        await (await board.cardDriver('a')).init();
        await board.del('a').catch(() => {});
        await slot.powerOff();
        await board.settled();
        expect(board.ids).toEqual(['rp0']);
        expect([bench.crashes, board.warnings]).toEqual([[], []]);
      }),
      { numRuns: 150 },
    );
  });
});
