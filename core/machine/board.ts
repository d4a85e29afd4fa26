/** The board's own objects in the tree: what is on it before -device adds to it, where QEMU's `virt` has it. */
import type { AiaKind } from '../api/machine.ts';
import { QomBus, QomObject } from '../qom/object.ts';
import type { PropertyValues } from '../qom/property.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { pciAddressText } from '../pci/address.ts';
import type { VirtioMmioBus } from '../virtio/mmio-bus.ts';
import { VirtioOnPci } from '../virtio/pci-bus.ts';
import type { VirtioPciSlots } from '../virtio/pci-bus.ts';
import { VIRTIO_SLOTS } from './virt-map.ts';

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
  const system = unattached.addChild('sysbus', new QomBus(types.get('System')));
  const put = async (device: QomObject, values: PropertyValues = {}): Promise<QomObject> => {
    for (const [name, value] of Object.entries(values)) device.assign(name, value);
    system.put(device);
    await add(device);
    return device;
  };
  const place = (type: string, values: PropertyValues = {}): Promise<QomObject> => {
    const device = new QomObject(types.get(type));
    tree.addNumbered(unattached, device);
    return put(device, values);
  };
  const ofHarts = { 'num-harts': harts };
  const soc = await put(machine.addChild('soc0', new QomObject(types.get('riscv.hart_array'))), ofHarts);
  const all = Array.from({ length: harts }, (_, hart) => hart);
  for (const hart of all) soc.addChild(`harts[${hart}]`, new QomObject(types.get('rv64-riscv-cpu')));
  for (const type of ['riscv.aclint.swi', 'riscv.aclint.mtimer']) await place(type, ofHarts);
  if (aia === 'none') await place('riscv.sifive.plic', { 'hart-config': all.map(() => 'MS').join(',') });
  else {
    const msimode = aia === 'aplic-imsic';
    // For each hart a file of M-mode and one of S-mode; the root domain and that of S-mode.
    for (const mmode of [true, false]) {
      for (const hartid of msimode ? all : []) await place('riscv.imsic', { mmode, hartid });
    }
    for (const mmode of [true, false]) await place('riscv.aplic', { msimode, mmode, 'num-harts': msimode ? 0 : harts });
  }
  await place('riscv.sifive.test');
  for (let slot = 0; slot < VIRTIO_SLOTS; slot++) {
    const device = await place('virtio-mmio');
    const implementation = mmio.slotBus(slot, () => device.value<boolean>('force-legacy'));
    const bus = new QomBus(types.get('virtio-mmio-bus'), { capacity: 1, implementation });
    device.addChild(`virtio-mmio-bus.${slot}`, bus);
  }
  const bridge = await place('gpex-pcihost');
  bridge.instance = pci.host;
  const implementation = new VirtioOnPci(pci.host.root, pci);
  const bus = bridge.addChild(pci.host.root.name, new QomBus(types.get('PCIE'), { implementation }));
  const root = bridge.addChild('gpex_root', new QomObject(types.get('gpex-root')));
  root.assign('addr', pciAddressText({ slot: 0, function: 0 }));
  bus.put(root);
  await add(root);
  for (const type of ['serial-mm', 'goldfish_rtc']) await place(type);
}
