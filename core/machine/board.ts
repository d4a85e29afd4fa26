/** The board's own objects in the tree: what is on it before -device adds to it, where QEMU's `virt` has it. */
import type { AiaKind } from '../api/machine.ts';
import { QomBus, QomObject } from '../qom/object.ts';
import type { TypeInfo } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';
import type { PciHost } from '../pci/host.ts';
import type { VirtioMmioBus } from '../virtio/mmio-bus.ts';
import { VirtioOnPci } from '../virtio/pci-bus.ts';
import type { VirtioPciSlots } from '../virtio/pci-bus.ts';
import { VIRTIO_SLOTS } from './virt-map.ts';

const internal = (name: string): TypeInfo => ({ name, parent: 'sys-bus-device', internal: true });

export const BOARD_TYPES: readonly TypeInfo[] = [
  { name: 'virt-machine', parent: 'object', internal: true },
  { name: 'riscv.hart_array', parent: 'object', internal: true },
  { name: 'rv64-riscv-cpu', parent: 'object', internal: true },
  internal('riscv.aclint.swi'),
  internal('riscv.aclint.mtimer'),
  internal('riscv.sifive.plic'),
  internal('riscv.aplic'),
  internal('riscv.imsic'),
  internal('riscv.sifive.test'),
  internal('serial-mm'),
  { ...internal('gpex-pcihost'), reset: async (object) => (object.instance as PciHost).reset() },
  internal('goldfish_rtc'),
  {
    ...internal('virtio-mmio'),
    properties: [
      {
        name: 'force-legacy',
        kind: 'bool',
        default: false,
        description: 'a device in the slot speaks version 1 (legacy) instead of 2',
      },
    ],
  },
];

/** Makes them. `add` brings up a device that hangs in the tree. */
export async function buildBoard(
  tree: ObjectTree,
  { harts, aia = 'none', mmio, pci }: { harts: number; aia?: AiaKind; mmio: VirtioMmioBus; pci: VirtioPciSlots },
  add: (device: QomObject) => Promise<void>,
): Promise<void> {
  const { types } = tree;
  const machine = tree.root.addChild('machine', new QomObject(types.get('virt-machine')));
  const unattached = tree.container('/machine/unattached');
  tree.container('/machine/peripheral');
  tree.container('/machine/peripheral-anon');
  const soc = machine.addChild('soc0', new QomObject(types.get('riscv.hart_array')));
  for (let hart = 0; hart < harts; hart++) {
    soc.addChild(`harts[${hart}]`, new QomObject(types.get('rv64-riscv-cpu')));
  }
  const system = unattached.addChild('sysbus', new QomBus(types.get('System')));
  const place = async (type: string): Promise<QomObject> => {
    const device = new QomObject(types.get(type));
    tree.addNumbered(unattached, device);
    system.put(device);
    await add(device);
    return device;
  };
  for (const type of ['riscv.aclint.swi', 'riscv.aclint.mtimer']) await place(type);
  // For each hart a file of M-mode and one of S-mode; the root domain and that of S-mode.
  const imsics = aia === 'aplic-imsic' ? new Array<string>(2 * harts).fill('riscv.imsic') : [];
  const wired = aia === 'none' ? ['riscv.sifive.plic'] : ['riscv.aplic', 'riscv.aplic'];
  for (const type of [...imsics, ...wired, 'riscv.sifive.test']) await place(type);
  for (let slot = 0; slot < VIRTIO_SLOTS; slot++) {
    const device = await place('virtio-mmio');
    const implementation = mmio.slotBus(slot, () => device.value<boolean>('force-legacy'));
    const bus = new QomBus(types.get('virtio-mmio-bus'), { capacity: 1, implementation });
    device.addChild(`virtio-mmio-bus.${slot}`, bus);
  }
  const bridge = await place('gpex-pcihost');
  bridge.instance = pci.host;
  const implementation = new VirtioOnPci(pci.host.root, pci);
  bridge.addChild(pci.host.root.name, new QomBus(types.get('PCIE'), { implementation }));
  for (const type of ['serial-mm', 'goldfish_rtc']) await place(type);
}
