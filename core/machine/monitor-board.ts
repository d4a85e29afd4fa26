/** The board's buses and what sits on them, for "info qtree". */
import type { BusNode, DeviceNode } from '../monitor/target.ts';
import type { QomBus, QomObject } from '../qom/object.ts';
import type { Json } from '../monitor/qmp/json.ts';
import { pciLines } from './monitor-pci.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { placesOf } from './monitor-memory.ts';

export function busTree(tree: ObjectTree): BusNode {
  const [system] = tree.buses().filter(({ type }) => type.isA('System'));
  return { ...busNode(system), name: 'main-system-bus' };
}

function busNode(bus: QomBus): BusNode {
  // The newest first, as in QEMU.
  return { name: bus.name, type: bus.type.name, devices: bus.devices.toReversed().map(deviceNode) };
}

function deviceNode(device: QomObject): DeviceNode {
  const properties = [...device.type.ownProperties.values()].map((spec) => ({
    name: spec.name,
    value: device.value(spec.name) as Json,
    kind: spec.kind,
  }));
  const buses = device.buses.map(busNode);
  // The device in a PCI function hangs on a bus of its own, which has no other use.
  const { forward } = device;
  const own = forward === null ? [] : [{ name: 'virtio-bus', type: 'virtio-pci-bus', devices: [deviceNode(forward)] }];
  return {
    driver: device.type.name,
    id: device.id ?? '',
    gpio: [],
    properties,
    busLines: pciLines(device),
    mmio: placesOf(device),
    buses: buses.length > 0 ? buses : own,
  };
}
