/** query-pci (qapi/pci.json). */
import { MonitorError } from '../errors.ts';
import { bool, i64, list, nothing, object, optional, str, u64 } from '../schema.ts';
import type { ObjectTypeOf } from '../schema.ts';
import type { Json } from '../qmp/json.ts';
import type { MonitorTarget, PciBusInfo, PciDeviceInfo } from '../target.ts';
import { query } from './command.ts';

/** Class codes that QEMU has words for (hw/pci/pci.c, pci_class_descriptions). */
const CLASSES: Readonly<Record<number, string>> = {
  0x0001: 'VGA controller',
  0x0100: 'SCSI controller',
  0x0101: 'IDE controller',
  0x0102: 'Floppy controller',
  0x0103: 'IPI controller',
  0x0104: 'RAID controller',
  0x0106: 'SATA controller',
  0x0107: 'SAS controller',
  0x0180: 'Storage controller',
  0x0200: 'Ethernet controller',
  0x0201: 'Token Ring controller',
  0x0280: 'Network controller',
  0x0300: 'VGA controller',
  0x0302: '3D controller',
  0x0380: 'Display controller',
  0x0400: 'Video controller',
  0x0401: 'Audio controller',
  0x0403: 'Audio controller',
  0x0480: 'Multimedia controller',
  0x0500: 'RAM controller',
  0x0501: 'Flash controller',
  0x0580: 'Memory controller',
  0x0600: 'Host bridge',
  0x0601: 'ISA bridge',
  0x0602: 'EISA bridge',
  0x0604: 'PCI bridge',
  0x0680: 'Bridge',
  0x0700: 'Serial port',
  0x0780: 'Communication controller',
  0x0900: 'Keyboard',
  0x0c03: 'USB controller',
};

export function pciClass(code: number): string | null {
  return CLASSES[code] ?? null;
}

export function pciBuses(target: MonitorTarget): readonly PciBusInfo[] {
  if (target.pci === null) throw new MonitorError('This machine has no PCI bus');
  return target.pci;
}

const range = object('PciMemoryRange', { base: u64, limit: u64 });
const bus = object('PciBusInfo', {
  number: i64,
  secondary: i64,
  subordinate: i64,
  io_range: range,
  memory_range: range,
  prefetchable_range: range,
});

/** Its bridges have devices of the same type. */
const device: ObjectTypeOf<Record<string, Json>> = object('PciDeviceInfo', {
  bus: i64,
  slot: i64,
  function: i64,
  class_info: object('PciDeviceClass', { desc: optional(str), class: i64 }),
  id: object('PciDeviceId', {
    device: i64,
    vendor: i64,
    subsystem: optional(i64),
    'subsystem-vendor': optional(i64),
  }),
  irq: optional(i64),
  irq_pin: i64,
  qdev_id: str,
  regions: list(
    object('PciMemoryRegion', {
      bar: i64,
      type: str,
      address: u64,
      size: u64,
      prefetch: optional(bool),
      mem_type_64: optional(bool),
    }),
  ),
}) as ObjectTypeOf<Record<string, Json>>;
const bridge = object('PciBridgeInfo', { bus, devices: optional(list(device)) });
(device.members as Record<string, unknown>)['pci_bridge'] = { type: bridge, optional: true };

function describe(info: PciDeviceInfo): Record<string, Json> {
  const description = pciClass(info.classCode);
  return {
    bus: info.bus,
    slot: info.slot,
    function: info.function,
    class_info: { class: info.classCode, ...(description === null ? {} : { desc: description }) },
    id: {
      device: info.device,
      vendor: info.vendor,
      ...(info.subsystem === null ? {} : { subsystem: info.subsystem }),
      ...(info.subsystemVendor === null ? {} : { 'subsystem-vendor': info.subsystemVendor }),
    },
    ...(info.irq === null ? {} : { irq: info.irq }),
    irq_pin: info.irqPin,
    qdev_id: info.qdevId,
    regions: info.regions.map(({ bar, type, address, size, prefetch, mem64 }) => ({
      bar,
      type,
      address,
      size,
      ...(type === 'memory' ? { prefetch, mem_type_64: mem64 } : {}),
    })),
    ...(info.bridge === null ? {} : { pci_bridge: describeBridge(info.bridge) }),
  };
}

function describeBridge(info: NonNullable<PciDeviceInfo['bridge']>): Json {
  return {
    bus: {
      number: info.primary,
      secondary: info.secondary,
      subordinate: info.subordinate,
      io_range: { ...info.io },
      memory_range: { ...info.memory },
      prefetchable_range: { ...info.prefetchable },
    },
    devices: info.devices.map(describe),
  };
}

export const PCI_COMMANDS = [
  query('query-pci', {
    help: 'the PCI buses and their devices',
    args: nothing,
    returns: list(object('PciInfo', { bus: i64, devices: list(device) })),
    run: ({ target }) => pciBuses(target).map((info) => ({ bus: info.bus, devices: info.devices.map(describe) })),
  }),
];
