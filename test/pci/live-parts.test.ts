/** What the interface sees of slots and of what sits in them, while a driver does its part. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { liveParts } from '../../core/machine/live-parts.ts';
import * as exp from '../../core/pci/express.ts';
import { HotBoard } from '../harness/hot-board.ts';
import { PciBench } from '../harness/pci-bench.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringside-live-'));
const image = join(folder, 'disk.img');
writeFileSync(image, new Uint8Array(2 ** 20));

const bench = new PciBench();
let board: HotBoard;
beforeEach(async () => {
  board = await HotBoard.create(bench);
});
afterEach(() => board.close());
afterAll(async () => {
  await bench.close();
  rmSync(folder, { recursive: true, force: true });
});

const parts = () => liveParts(board.model.tree);
const device = (id: string) => parts().devices.find((one) => one.id === id);

it('a port says where it is, who serves it, and what is in it', async () => {
  const port = await board.rootPort('rp0', { addr: '03' });
  await board.rootPort('fixed', { slot: 9, hotplug: false });
  expect(parts().ports).toEqual([
    {
      id: 'rp0',
      bus: 'rp0',
      address: '0000:00:03.0',
      // docs/pci.md has it for those who do the guest's part by hand.
      slotControl: 0x6c,
      secondary: null,
      devices: [],
      served: false,
      powered: false,
      busy: false,
    },
  ]);
  const slot = await board.slotDriver(port);
  await slot.enableEvents();
  expect(parts().ports[0]).toMatchObject({ secondary: 1, served: true });

  await board.model.addBackend('drive', 'drive', 'd0', { file: image }, { withDevice: true });
  await board.add({ driver: 'virtio-blk-pci', id: 'disk', bus: 'rp0', properties: { drive: 'd0' } });
  expect(parts().ports[0]).toMatchObject({ devices: ['disk'], powered: false });
  expect(device('disk')).toEqual({
    id: 'disk',
    driver: 'virtio-blk-pci',
    bus: 'rp0',
    busKind: 'port',
    hotplugged: true,
    removable: true,
    address: '0000:01:00.0',
    ready: false,
    link: null,
    disk: { drive: 'd0', file: image, format: 'raw', size: 2 ** 20, writeCache: true, readonly: false },
  });
  await slot.powerOn();
  await (await board.cardDriver('disk', { interrupts: 'msix' })).init();
  expect(parts().ports[0]).toMatchObject({ powered: true, busy: false });
  expect(device('disk')).toMatchObject({ ready: true });

  await board.del('disk');
  await slot.indicate(exp.PCI_EXP_SLTCTL_PIC_BLINK);
  expect(parts().ports[0]).toMatchObject({ busy: true });
  await slot.powerOff();
  await board.settled();
  expect(parts().ports[0]).toMatchObject({ devices: [], powered: false });
  expect(device('disk')).toBeUndefined();
});

it('what sits elsewhere stays, and says where it sits', async () => {
  await board.plug({ driver: 'virtio-rng-device', id: 'mmio' });
  await board.plug({ driver: 'virtio-rng-pci', id: 'root', properties: { addr: '07.0' } });
  await board.rootPort('fixed', { slot: 9, hotplug: false });
  await board.plug({ driver: 'virtio-rng-pci', id: 'behind', bus: 'fixed' });
  expect(device('mmio')).toMatchObject({ busKind: 'virtio-mmio', removable: false, address: null, hotplugged: false });
  expect(device('root')).toMatchObject({ busKind: 'pci', removable: false, address: '0000:00:07.0' });
  expect(device('behind')).toMatchObject({ busKind: 'port', removable: false, address: null });
  expect(device('fixed')).toMatchObject({ busKind: 'pci', removable: false, ready: null });
});

it('a serial port comes and goes by messages of its device, without a guest that agrees', async () => {
  await board.plug({ driver: 'virtio-serial-device', id: 'serial' });
  await board.add({
    driver: 'virtserialport',
    id: 'agent',
    bus: 'serial.0',
    properties: { name: 'org.example.agent' },
  });
  expect(device('agent')).toMatchObject({ busKind: 'serial', removable: true, hotplugged: true });
  await board.del('agent');
  await board.settled();
  expect(device('agent')).toBeUndefined();
  expect(board.deleted).toEqual([{ id: 'agent', path: '/machine/peripheral/agent' }]);
  // Its number and name are free.
  await board.add({
    driver: 'virtserialport',
    id: 'next',
    bus: 'serial.0',
    properties: { nr: 1, name: 'org.example.agent' },
  });
});
