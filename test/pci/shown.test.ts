/** Root ports and what is behind them, as the monitor shows them: the lines are QEMU 7.2's. */
import { afterAll, expect, it } from 'vitest';

import { busTree } from '../../core/machine/monitor-board.ts';
import { pciBusInfos } from '../../core/machine/monitor-pci.ts';
import { HotBoard } from '../harness/hot-board.ts';
import { PciBench } from '../harness/pci-bench.ts';

const bench = new PciBench();
const board = await HotBoard.create(bench);
afterAll(async () => {
  await board.close();
  await bench.close();
});

it('is in "info pci" and "info qtree"', async () => {
  const port = await board.rootPort('rp0', { chassis: 1 });
  await board.plug({ driver: 'virtio-rng-pci', id: 'rng', bus: 'rp0' });
  const root = () => busTree(board.model.tree).devices.find(({ driver }) => driver === 'gpex-pcihost')!.buses[0];
  const unmapped = 'at 0xffffffffffffffff';
  expect(root()).toMatchObject({ name: 'pcie.0', type: 'PCIE' });
  expect(root().devices.map(({ driver, id }) => [driver, id])).toEqual([
    ['pcie-root-port', 'rp0'],
    ['gpex-root', ''],
  ]);
  expect(root().devices.map(({ properties }) => properties.find(({ name }) => name === 'addr')!.value)).toEqual([
    '01.0',
    '00.0',
  ]);
  expect(root().devices[0].busLines).toEqual([
    'class PCI bridge, addr 00:01.0, pci id 1b36:000c (sub 0000:0000)',
    `bar 0: mem ${unmapped} [0xffe]`,
  ]);
  await board.slotDriver(port);
  await board.cardDriver('rng');
  const [behind] = root().devices[0].buses;
  expect(behind).toMatchObject({ name: 'rp0', type: 'PCIE', devices: [{ driver: 'virtio-rng-pci', id: 'rng' }] });
  expect(behind.devices[0].busLines).toEqual([
    'class Class 00ff, addr 01:00.0, pci id 1af4:1044 (sub 1af4:1100)',
    'bar 1: mem at 0x40000000 [0x40000fff]',
    'bar 4: mem at 0x400000000 [0x400003fff]',
  ]);
  const [, bridge] = pciBusInfos(board.model.tree)![0].devices;
  expect(bridge).toMatchObject({
    qdevId: 'rp0',
    irqPin: 1,
    bridge: {
      primary: 0,
      secondary: 1,
      subordinate: 1,
      io: { base: 0x1000n, limit: 0x1fffn },
      memory: { base: 0x4000_0000n, limit: 0x401f_ffffn },
      prefetchable: { base: 0x4_0000_0000n, limit: 0x4_001f_ffffn },
      devices: [{ bus: 1, slot: 0, qdevId: 'rng', device: 0x1044 }],
    },
  });
});
