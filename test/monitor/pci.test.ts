import { describe, expect, it } from 'vitest';
import { pciDevices } from '../../core/machine/monitor-pci.ts';
import type { ShownBus, ShownFunction } from '../../core/machine/monitor-pci.ts';
import * as pci from '../../core/pci/spec.ts';
import { DoubleTarget, hmp } from './client.ts';

/** A function whose configuration space has these words. */
function fn(
  name: string,
  slot: number,
  words: [number, number, number][],
  more: Partial<ShownFunction> = {},
): ShownFunction {
  const space = new DataView(new ArrayBuffer(256));
  for (const [offset, size, value] of words) {
    if (size === 1) space.setUint8(offset, value);
    else if (size === 2) space.setUint16(offset, value, true);
    else space.setUint32(offset, value, true);
  }
  const read = (offset: number, size: number): number =>
    size === 1 ? space.getUint8(offset) : size === 2 ? space.getUint16(offset, true) : space.getUint32(offset, true);
  return { name, slot, function: 0, pin: 0, config: { read }, bars: [], bridge: null, ...more };
}

const identity = (vendor: number, device: number, classCode: number): [number, number, number][] => [
  [pci.PCI_VENDOR_ID, 2, vendor],
  [pci.PCI_DEVICE_ID, 2, device],
  [pci.PCI_CLASS_DEVICE, 2, classCode],
  [pci.PCI_SUBSYSTEM_VENDOR_ID, 2, 0x1af4],
  [pci.PCI_SUBSYSTEM_ID, 2, 0x1100],
];

/** What QEMU's sample has: a host bridge, and a root port, here with a device behind it. */
const BEHIND: ShownBus = { functions: [fn('hot0', 0, identity(0x1af4, 0x1044, 0x00ff))] };
const ROOT: ShownBus = {
  functions: [
    fn('the host bridge', 0, identity(0x1b36, 8, 0x0600)),
    fn(
      'rp0',
      6,
      [
        [pci.PCI_VENDOR_ID, 2, 0x1b36],
        [pci.PCI_DEVICE_ID, 2, 0x000c],
        [pci.PCI_CLASS_DEVICE, 2, 0x0604],
        [pci.PCI_HEADER_TYPE, 1, pci.PCI_HEADER_TYPE_BRIDGE],
        [pci.PCI_INTERRUPT_LINE, 1, 12],
        [pci.PCI_SECONDARY_BUS, 1, 1],
        [pci.PCI_SUBORDINATE_BUS, 1, 1],
        [pci.PCI_IO_BASE, 1, 0x11],
        [pci.PCI_IO_LIMIT, 1, 0x11],
        [pci.PCI_MEMORY_BASE, 2, 0x4000],
        [pci.PCI_MEMORY_LIMIT, 2, 0x4010],
        [pci.PCI_PREF_MEMORY_BASE, 2, 0x0001],
        [pci.PCI_PREF_MEMORY_LIMIT, 2, 0x0011],
        [pci.PCI_PREF_BASE_UPPER32, 4, 4],
        [pci.PCI_PREF_LIMIT_UPPER32, 4, 4],
      ],
      {
        pin: 1,
        bars: [{ index: 0, kind: 'mem32', size: 0x1000, address: 0x40205000 }],
        bridge: { bus: BEHIND },
      },
    ),
  ],
};

describe('PCI in the monitor', () => {
  it('is read from configuration space, and printed as QEMU does', async () => {
    const target = new DoubleTarget();
    target.pci = [{ bus: 0, devices: pciDevices(ROOT, 0) }];
    expect(await hmp(target, 'info pci')).toBe(`  Bus  0, device   0, function 0:
    Host bridge: PCI device 1b36:0008
      PCI subsystem 1af4:1100
      id ""
  Bus  0, device   6, function 0:
    PCI bridge: PCI device 1b36:000c
      IRQ 12, pin A
      BUS 0.
      secondary bus 1.
      subordinate bus 1.
      IO range [0x1000, 0x1fff]
      memory range [0x40000000, 0x401fffff]
      prefetchable memory range [0x400000000, 0x4001fffff]
      BAR0: 32 bit memory at 0x40205000 [0x40205fff].
      id "rp0"
  Bus  1, device   0, function 0:
    Class 0255: PCI device 1af4:1044
      PCI subsystem 1af4:1100
      id "hot0"
`);
  });

  it('shows BARs that are nowhere', () => {
    const bar = { index: 4, kind: 'mem64', size: 0x4000, prefetch: true, address: null };
    const [device] = pciDevices({ functions: [fn('x', 1, identity(0x1af4, 0x1042, 0x0100), { bars: [bar] })] }, 0);
    expect(device.regions).toEqual([
      { bar: 4, type: 'memory', address: 2n ** 64n - 1n, size: 0x4000n, prefetch: true, mem64: true },
    ]);
  });
});
