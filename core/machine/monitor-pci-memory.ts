/** The memory regions of PCI for "info mtree", with QEMU's names: the bridge's windows, BARs, and what is in them. */
import type { AddressSpace, MemoryRegion } from '../monitor/target.ts';
import * as pci from '../pci/spec.ts';
import type { QomObject } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import {
  PCI_COMMON_OFFSET,
  PCI_DEVICE_OFFSET,
  PCI_ISR_OFFSET,
  PCI_NOTIFY_OFFSET,
  PCI_STRUCTURE_SIZE,
} from '../virtio/transport/pci-layout.ts';
import { bridgeInfo, functionName } from './monitor-pci.ts';
import type { ShownBus, ShownFunction } from './monitor-pci.ts';
import { ownerOf, region, WHOLE } from './monitor-region.ts';
import {
  PCIE_ECAM_PHYS,
  PCIE_ECAM_SIZE,
  PCIE_HIGH_MMIO_PHYS,
  PCIE_HIGH_MMIO_SIZE,
  PCIE_MMIO_PHYS,
  PCIE_MMIO_SIZE,
  PCIE_PIO_PHYS,
  PCIE_PIO_SIZE,
} from './virt-map.ts';

const HOST_BRIDGE = 'gpex-pcihost';
/** The parts of a virtio device's BAR 4. */
const STRUCTURES = [
  ['common', PCI_COMMON_OFFSET],
  ['isr', PCI_ISR_OFFSET],
  ['device', PCI_DEVICE_OFFSET],
  ['notify', PCI_NOTIFY_OFFSET],
] as const;
/** Capabilities that are looked at: a list that leads in a circle ends. */
const CAPABILITIES = 48;
const PENDING_BYTES = 8;
/** Bits of a capability's table register that are the number of a BAR. */
const BAR_NUMBER = 7;
const MSIX_SIZE_MASK = 0x7ff;

export interface PciMemory {
  /** What the board has of it. */
  readonly regions: readonly MemoryRegion[];
  /** Memory as each function sees it. */
  readonly spaces: readonly AddressSpace[];
}

/** @param system root of the address space "memory", for functions that are bus masters */
export function pciMemory(tree: ObjectTree, system: MemoryRegion): PciMemory {
  const host = [...tree.root.walk()].find(({ type, instance }) => type.name === HOST_BRIDGE && instance !== null);
  if (host === undefined) return { regions: [], spaces: [] };
  const { root } = host.instance as { root: ShownBus };
  const owner = ownerOf(host);
  const devices = new Map(
    [...tree.root.walk()].filter(({ type }) => type.isA('pci-device')).map((one) => [functionName(one), one]),
  );
  const bars = busRegions(root, devices);
  const within = (space: 'io' | 'mem'): MemoryRegion[] =>
    bars.filter((one) => one.space === space).map((one) => one.region);

  const ports = region('gpex_ioport', 0n, BigInt(PCIE_PIO_SIZE), { kind: 'container', owner, children: within('io') });
  const portWindow = { kind: 'i/o' as const, owner, children: [ports] };
  const memory = region('gpex_mmio', 0n, WHOLE, { kind: 'container', owner, children: within('mem') });
  const window = region('gpex_mmio_window', 0n, WHOLE, { owner, children: [memory] });
  const ecam = region('pcie-mmcfg-mmio', 0n, BigInt(PCIE_ECAM_SIZE), { owner });
  const alias = (name: string, at: number, size: number, target: MemoryRegion, offset: number): MemoryRegion =>
    region(name, BigInt(at), BigInt(size), { owner, alias: { target, offset: BigInt(offset) } });
  return {
    regions: [
      region('gpex_ioport_window', BigInt(PCIE_PIO_PHYS), BigInt(PCIE_PIO_SIZE), portWindow),
      alias('pcie-ecam', PCIE_ECAM_PHYS, PCIE_ECAM_SIZE, ecam, 0),
      alias('pcie-mmio', PCIE_MMIO_PHYS, PCIE_MMIO_SIZE, window, PCIE_MMIO_PHYS),
      alias('pcie-mmio-high', PCIE_HIGH_MMIO_PHYS, PCIE_HIGH_MMIO_SIZE, window, PCIE_HIGH_MMIO_PHYS),
    ],
    spaces: masters(root, devices, system, host),
  };
}

/** All functions of a bus and of those behind it. */
function* functions(bus: ShownBus): Generator<ShownFunction> {
  for (const one of bus.functions) {
    yield one;
    if (one.bridge !== null) yield* functions(one.bridge.bus);
  }
}

function masters(
  root: ShownBus,
  devices: ReadonlyMap<string, QomObject>,
  system: MemoryRegion,
  host: QomObject,
): AddressSpace[] {
  return [...functions(root)].map((one) => {
    const device = devices.get(one.name);
    const owner = ownerOf(device ?? host);
    const enabled = (one.config.read(pci.PCI_COMMAND, 2) & pci.PCI_COMMAND_MASTER) !== 0;
    const alias = region('bus master', 0n, WHOLE, { owner, alias: { target: system, offset: 0n }, enabled });
    const container = region('bus master container', 0n, WHOLE, { kind: 'container', owner, children: [alias] });
    return { name: device?.type.name ?? 'gpex-root', root: container };
  });
}

interface Placed {
  readonly space: 'io' | 'mem';
  readonly region: MemoryRegion;
}

/** What the functions of a bus decode, where the guest has put it. */
function busRegions(bus: ShownBus, devices: ReadonlyMap<string, QomObject>): Placed[] {
  return bus.functions.flatMap((one) => {
    const device = devices.get(one.name) ?? null;
    const bars = one.bars.flatMap((bar): Placed[] =>
      bar.address === null ? [] : [{ space: bar.kind === 'io' ? 'io' : 'mem', region: barRegion(one, device, bar) }],
    );
    return one.bridge === null ? bars : [...bars, ...windows(one, device, one.bridge.bus, devices)];
  });
}

type Bar = ShownFunction['bars'][number];

function barRegion(one: ShownFunction, device: QomObject | null, bar: Bar): MemoryRegion {
  const owner = device === null ? '' : ownerOf(device);
  const at = BigInt(bar.address!);
  const size = BigInt(bar.size);
  const msix = msixParts(one, bar.index, owner);
  if (msix !== null) {
    const name = `${device?.type.name ?? one.name}-msix`;
    return region(name, at, size, { priority: 1, kind: 'container', owner, children: msix });
  }
  const virtio = device === null ? null : virtioInstance(device);
  if (virtio === null) return region(`${one.name}-bar${bar.index}`, at, size, { priority: 1, owner });
  if (bar.kind === 'io') return region('virtio-pci', at, size, { priority: 1, owner });
  const children = STRUCTURES.map(([name, offset]) =>
    region(`virtio-pci-${name}-${virtio.device.type}`, BigInt(offset), BigInt(PCI_STRUCTURE_SIZE), { owner }),
  );
  return region('virtio-pci', at, size, { priority: 1, kind: 'container', owner, children });
}

/** Table and pending bits, if they are in this BAR (PCI 3.0, section 6.8.2). */
function msixParts({ config }: ShownFunction, bar: number, owner: string): MemoryRegion[] | null {
  const at = capability(config, pci.PCI_CAP_ID_MSIX);
  if (at === 0) return null;
  const table = config.read(at + pci.PCI_MSIX_TABLE, 4);
  const pending = config.read(at + pci.PCI_MSIX_PBA, 4);
  if ((table & BAR_NUMBER) !== bar) return null;
  const vectors = (config.read(at + pci.PCI_MSIX_FLAGS, 2) & MSIX_SIZE_MASK) + 1;
  const place = (word: number): bigint => BigInt((word & ~BAR_NUMBER) >>> 0);
  return [
    region('msix-table', place(table), BigInt(vectors * pci.MSIX_ENTRY_SIZE), { owner }),
    region('msix-pba', place(pending), BigInt(Math.ceil(vectors / 64) * PENDING_BYTES), { owner }),
  ];
}

/** Offset of the first capability of a kind; 0: there is none. */
function capability(config: ShownFunction['config'], id: number): number {
  let at = config.read(pci.PCI_CAPABILITY_LIST, 1);
  for (let seen = 0; at !== 0 && seen < CAPABILITIES; seen++) {
    if (config.read(at, 1) === id) return at;
    at = config.read(at + 1, 1);
  }
  return 0;
}

/** A bridge's windows onto the bus behind it. */
function windows(
  one: ShownFunction,
  device: QomObject | null,
  bus: ShownBus,
  devices: ReadonlyMap<string, QomObject>,
): Placed[] {
  const owner = device === null ? '' : ownerOf(device);
  const behind = busRegions(bus, devices);
  const inside = (space: Placed['space']): MemoryRegion[] =>
    behind.filter((placed) => placed.space === space).map((placed) => placed.region);
  const io = region('pci_bridge_io', 0n, 2n ** 32n, { kind: 'container', owner, children: inside('io') });
  const memory = region('pci_bridge_pci', 0n, WHOLE, { kind: 'container', owner, children: inside('mem') });
  const info = bridgeInfo(one, bus);
  const window = (
    space: Placed['space'],
    name: string,
    { base, limit }: { base: bigint; limit: bigint },
    target: MemoryRegion,
  ): Placed[] =>
    base > limit
      ? []
      : [
          {
            space,
            region: region(name, base, limit - base + 1n, { priority: 1, owner, alias: { target, offset: base } }),
          },
        ];
  return [
    ...window('io', 'pci_bridge_io', info.io, io),
    ...window('mem', 'pci_bridge_mem', info.memory, memory),
    ...window('mem', 'pci_bridge_pref_mem', info.prefetchable, memory),
  ];
}
