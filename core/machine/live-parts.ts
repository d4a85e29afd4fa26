/** What of a machine can come and go, and the state that it is in: for the interface, which asks again and again. */
import type { HotplugPort, LiveParts, PluggedDevice } from '../api/live.ts';
import type { Drive } from '../block/drive-type.ts';
import type { PciDeviceInfo } from '../monitor/target.ts';
import { PCI_EXP_SLTCTL, PCI_EXP_SLTCTL_HPIE } from '../pci/express.ts';
import { PcieRootPort } from '../pci/root-port.ts';
import { PCI_CAP_ID_EXP } from '../pci/spec.ts';
import type { QomObject } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { NetDevice } from '../virtio/net/device.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import { BLK_CONFIG_WRITEBACK } from '../virtio/spec/blk.ts';
import { STATUS_DRIVER_OK } from '../virtio/spec/status.ts';
import { pciBusInfos } from './monitor-pci.ts';

export function liveParts(tree: ObjectTree): LiveParts {
  const functions = pciFunctions(tree);
  const ports: HotplugPort[] = [];
  const devices: PluggedDevice[] = [];
  for (const object of tree.root.walk()) {
    if (!object.type.isA('device') || !object.realized) continue;
    const { instance } = object;
    if (instance instanceof PcieRootPort && instance.hotplug) ports.push(portView(object, instance));
    if (object.id !== null) devices.push(deviceView(tree, object, functions.get(object.id)));
  }
  return { ports, devices, objects: [...(tree.find('/objects')?.children.keys() ?? [])] };
}

/** By id. */
function pciFunctions(tree: ObjectTree): Map<string, PciDeviceInfo> {
  const found = new Map<string, PciDeviceInfo>();
  const add = (devices: readonly PciDeviceInfo[]): void => {
    for (const device of devices) {
      found.set(device.qdevId, device);
      add(device.bridge?.devices ?? []);
    }
  };
  add(pciBusInfos(tree)?.[0].devices ?? []);
  return found;
}

function pciAddress(bus: number, slot: number, fn: number): string {
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  return `0000:${hex(bus)}:${hex(slot)}.${fn}`;
}

function portView(object: QomObject, port: PcieRootPort): HotplugPort {
  const { slotRegisters, config } = port;
  const [bus] = object.buses;
  return {
    id: object.id ?? object.path,
    bus: bus.name,
    address: pciAddress(0, port.slot, port.function),
    slotControl: config.findCapability(PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL,
    secondary: port.secondaryNumber === 0 ? null : port.secondaryNumber,
    devices: bus.devices.map(({ id, path }) => id ?? path),
    served: (slotRegisters.registers.control & PCI_EXP_SLTCTL_HPIE) !== 0,
    powered: slotRegisters.powered,
    busy: slotRegisters.busy,
  };
}

function deviceView(tree: ObjectTree, object: QomObject, pci: PciDeviceInfo | undefined): PluggedDevice {
  const { bus } = object;
  const port = bus?.parent?.instance;
  const behind = port instanceof PcieRootPort;
  const hotplug = bus?.hotplug ? !behind || port.hotplug : false;
  const virtio = virtioInstance(object);
  const device = virtio?.device;
  return {
    id: object.id!,
    driver: object.type.name,
    bus: bus?.name ?? null,
    busKind: busKind(object),
    hotplugged: object.hotplugged,
    removable: hotplug,
    // A bus without a number has not been found yet.
    address: pci === undefined || (behind && pci.bus === 0) ? null : pciAddress(pci.bus, pci.slot, pci.function),
    ready: virtio === null ? null : (virtio.plug.transport.status & STATUS_DRIVER_OK) !== 0,
    link: device instanceof NetDevice ? device.linkUp : null,
    disk: virtio === null ? null : diskView(tree, object),
  };
}

function busKind({ bus, type }: QomObject): PluggedDevice['busKind'] {
  if (bus === null) return 'none';
  if (type.isA('virtio-serial-port')) return 'serial';
  if (bus.parent?.instance instanceof PcieRootPort) return 'port';
  return type.isA('pci-device') ? 'pci' : 'virtio-mmio';
}

function diskView(tree: ObjectTree, object: QomObject): PluggedDevice['disk'] {
  const core = object.children.get('virtio-backend') ?? object;
  if (!core.type.isA('virtio-blk-device')) return null;
  const drive = core.value<string | null>('drive');
  const instance = drive === null ? null : (tree.find(`/drives/${drive}`)?.instance as Drive | null | undefined);
  if (drive === null || !instance) return null;
  const { config } = virtioInstance(object)!.device;
  const { file, size, readonly, handle } = instance.disk;
  return { drive, file, format: handle.format, size, readonly, writeCache: config.get(BLK_CONFIG_WRITEBACK) !== 0n };
}
