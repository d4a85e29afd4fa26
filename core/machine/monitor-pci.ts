/** PCI buses as the monitor shows them: read from configuration space, where the guest has set things up. */
import type { PciBridgeInfo, PciBusInfo, PciDeviceInfo, PciRegionInfo } from '../monitor/target.ts';
import { pciClass } from '../monitor/commands/pci.ts';
import { HOST_BRIDGE_NAME } from '../pci/host.ts';
import * as pci from '../pci/spec.ts';
import type { QomObject } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';

/** What is used of a function. */
export interface ShownFunction {
  readonly name: string;
  readonly slot: number;
  readonly function: number;
  /** 1 is INTA; 0: none. */
  readonly pin: number;
  readonly config: { read(offset: number, size: number): number };
  readonly bars: readonly {
    readonly index: number;
    readonly kind: string;
    readonly size: number;
    readonly prefetch?: boolean;
    /** null: not mapped. */
    readonly address: number | null;
  }[];
  readonly bridge: { readonly bus: ShownBus } | null;
}

export interface ShownBus {
  readonly functions: readonly ShownFunction[];
}

/** The type of the object whose instance is the host bridge. */
const HOST_BRIDGE = 'gpex-pcihost';
/** That of its function of the root bus. */
const HOST_BRIDGE_FUNCTION = 'gpex-root';
const UNMAPPED = 2n ** 64n - 1n;
/** Granularity of a bridge's windows (PCI-to-PCI Bridge 1.2, 3.2.5). */
const IO_WINDOW = 0x1000n;
const MEMORY_WINDOW = 0x10_0000n;
/** Bits of a window's register that are address. */
const IO_BITS = 0xf0;
const MEMORY_BITS = 0xfff0;

/** null: the machine has no PCI. */
export function pciBusInfos(tree: Pick<ObjectTree, 'root'>): PciBusInfo[] | null {
  const root = rootBus(tree);
  return root === null ? null : [{ bus: 0, devices: pciDevices(root, 0) }];
}

function rootBus(tree: Pick<ObjectTree, 'root'>): ShownBus | null {
  for (const object of tree.root.walk()) {
    if (object.type.name === HOST_BRIDGE && object.instance !== null)
      return (object.instance as { root: ShownBus }).root;
  }
  return null;
}

/** What a device's function is called in messages. */
export function functionName(device: QomObject): string {
  return device.type.name === HOST_BRIDGE_FUNCTION ? HOST_BRIDGE_NAME : (device.id ?? device.name);
}

/** What "info qtree" says of a device that is a PCI function (QEMU: pcibus_dev_print()); nothing of others. */
export function pciLines(device: QomObject): string[] {
  if (!device.type.isA('pci-device') || !device.realized) return [];
  let root = device;
  while (root.parent) root = root.parent;
  const name = functionName(device);
  const info = describe(root, name);
  return info === null ? [] : functionLines(info);
}

/** A function by the name that it has for messages. */
function describe(root: QomObject, name: string): PciDeviceInfo | null {
  const all = (devices: readonly PciDeviceInfo[]): PciDeviceInfo[] =>
    devices.flatMap((one) => [one, ...all(one.bridge?.devices ?? [])]);
  const bus = rootBus({ root });
  if (bus === null) return null;
  return all(pciDevices(bus, 0, (one) => one.name)).find(({ qdevId }) => qdevId === name) ?? null;
}

function functionLines(info: PciDeviceInfo): string[] {
  const hex = (value: number | bigint, digits: number): string => value.toString(16).padStart(digits, '0');
  const address = `${hex(info.bus, 2)}:${hex(info.slot, 2)}.${info.function}`;
  const ids = `${hex(info.vendor, 4)}:${hex(info.device, 4)}`;
  const sub = `${hex(info.subsystemVendor ?? 0, 4)}:${hex(info.subsystem ?? 0, 4)}`;
  const what = pciClass(info.classCode) ?? `Class ${hex(info.classCode, 4)}`;
  return [
    `class ${what}, addr ${address}, pci id ${ids} (sub ${sub})`,
    ...info.regions.map(({ bar, type, address: at, size }) => {
      const end = BigInt.asUintN(64, at + size - 1n);
      return `bar ${bar}: ${type === 'io' ? 'i/o' : 'mem'} at 0x${hex(at, 1)} [0x${hex(end, 1)}]`;
    }),
  ];
}

/** The user's id. What has none is called otherwise for messages: "the host bridge", "device[0]". */
const userId = ({ name }: ShownFunction): string => (/[\s[]/.test(name) ? '' : name);

export function pciDevices(bus: ShownBus, number: number, nameOf = userId): PciDeviceInfo[] {
  return bus.functions.map((one) => {
    const read = (offset: number, size: number): number => one.config.read(offset, size);
    const isBridge =
      (read(pci.PCI_HEADER_TYPE, 1) & ~pci.PCI_HEADER_TYPE_MULTI_FUNCTION) === pci.PCI_HEADER_TYPE_BRIDGE;
    return {
      bus: number,
      slot: one.slot,
      function: one.function,
      classCode: read(pci.PCI_CLASS_DEVICE, 2),
      vendor: read(pci.PCI_VENDOR_ID, 2),
      device: read(pci.PCI_DEVICE_ID, 2),
      subsystemVendor: isBridge ? null : read(pci.PCI_SUBSYSTEM_VENDOR_ID, 2),
      subsystem: isBridge ? null : read(pci.PCI_SUBSYSTEM_ID, 2),
      irq: one.pin === 0 ? null : read(pci.PCI_INTERRUPT_LINE, 1),
      irqPin: one.pin,
      qdevId: nameOf(one),
      regions: one.bars.toSorted((a, b) => a.index - b.index).map(region),
      bridge: one.bridge === null ? null : bridgeInfo(one, one.bridge.bus, nameOf),
    };
  });
}

function region({ index, kind, size, prefetch, address }: ShownFunction['bars'][number]): PciRegionInfo {
  return {
    bar: index,
    type: kind === 'io' ? 'io' : 'memory',
    address: address === null ? UNMAPPED : BigInt(address),
    size: BigInt(size),
    prefetch: prefetch ?? false,
    mem64: kind === 'mem64',
  };
}

export function bridgeInfo({ config }: ShownFunction, behind: ShownBus, nameOf = userId): PciBridgeInfo {
  const read = (offset: number, size: number): bigint => BigInt(config.read(offset, size));
  const secondary = config.read(pci.PCI_SECONDARY_BUS, 1);
  const io = (low: number, high: number): bigint => ((read(low, 1) & BigInt(IO_BITS)) << 8n) | (read(high, 2) << 16n);
  const memory = (low: number): bigint => (read(low, 2) & BigInt(MEMORY_BITS)) << 16n;
  return {
    primary: config.read(pci.PCI_PRIMARY_BUS, 1),
    secondary,
    subordinate: config.read(pci.PCI_SUBORDINATE_BUS, 1),
    io: {
      base: io(pci.PCI_IO_BASE, pci.PCI_IO_BASE_UPPER16),
      limit: io(pci.PCI_IO_LIMIT, pci.PCI_IO_LIMIT_UPPER16) | (IO_WINDOW - 1n),
    },
    memory: { base: memory(pci.PCI_MEMORY_BASE), limit: memory(pci.PCI_MEMORY_LIMIT) | (MEMORY_WINDOW - 1n) },
    prefetchable: {
      base: memory(pci.PCI_PREF_MEMORY_BASE) | (read(pci.PCI_PREF_BASE_UPPER32, 4) << 32n),
      limit: memory(pci.PCI_PREF_MEMORY_LIMIT) | (read(pci.PCI_PREF_LIMIT_UPPER32, 4) << 32n) | (MEMORY_WINDOW - 1n),
    },
    devices: pciDevices(behind, secondary, nameOf),
  };
}
