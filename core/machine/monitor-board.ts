/** The board for "info qtree" and "info mtree": its buses, and its memory regions with QEMU's names. */
import type { MachineConfig } from '../api/machine.ts';
import type { AddressSpace, BusNode, DeviceNode, MemoryRegion } from '../monitor/target.ts';
import { MMIO_SIZE } from '../virtio/spec/mmio.ts';
import { MROM_SIZE } from '../worker/layout.ts';
import type { QomBus, QomObject } from '../qom/object.ts';
import type { Json } from '../monitor/qmp/json.ts';
import type { ObjectTree } from '../qom/tree.ts';
import {
  CLINT_PHYS,
  CLINT_SIZE,
  MROM_PHYS,
  PLIC_PHYS,
  PLIC_SIZE,
  RAM_PHYS,
  RTC_PHYS,
  RTC_SIZE,
  TEST_PHYS,
  TEST_SIZE,
  UART_PHYS,
  UART_SIZE,
  VIRTIO_PHYS,
  VIRTIO_SLOTS,
  VIRTIO_SLOT_SIZE,
} from './virt-map.ts';

/** The ACLINT's software interrupts come first, its timer behind. */
const SWI_SIZE = 0x4000;
const WHOLE = 2n ** 64n;

interface Place {
  /** The type of the board's device that it belongs to, and which of several. */
  readonly device: string;
  readonly number?: number;
  /** Name of the region. */
  readonly name: string;
  readonly at: number;
  readonly size: number;
}

const PLACES: readonly Place[] = [
  { device: 'riscv.sifive.test', name: 'riscv.sifive.test', at: TEST_PHYS, size: TEST_SIZE },
  { device: 'goldfish_rtc', name: 'goldfish_rtc', at: RTC_PHYS, size: RTC_SIZE },
  { device: 'riscv.aclint.swi', name: 'riscv.aclint.swi', at: CLINT_PHYS, size: SWI_SIZE },
  {
    device: 'riscv.aclint.mtimer',
    name: 'riscv.aclint.mtimer',
    at: CLINT_PHYS + SWI_SIZE,
    size: CLINT_SIZE - SWI_SIZE,
  },
  { device: 'riscv.sifive.plic', name: 'riscv.sifive.plic', at: PLIC_PHYS, size: PLIC_SIZE },
  { device: 'serial-mm', name: 'serial', at: UART_PHYS, size: UART_SIZE },
  ...Array.from({ length: VIRTIO_SLOTS }, (_, number) => ({
    device: 'virtio-mmio',
    number,
    name: 'virtio-mmio',
    at: VIRTIO_PHYS + number * VIRTIO_SLOT_SIZE,
    size: MMIO_SIZE,
  })),
];

/** The board's devices of a type, in the order in which they were made. */
function boardDevices(tree: ObjectTree, type: string): QomObject[] {
  const unattached = tree.find('/machine/unattached');
  return [...(unattached?.children.values() ?? [])].filter((object) => object.type.name === type);
}

export function machineAddressSpaces({ memory, harts }: MachineConfig, tree: ObjectTree): AddressSpace[] {
  const plain = { priority: 0, children: [] };
  const unowned = 'parent:{obj path=/machine/unattached}';
  const regions: MemoryRegion[] = [
    {
      ...plain,
      name: 'riscv_virt_board.mrom',
      offset: BigInt(MROM_PHYS),
      size: BigInt(MROM_SIZE),
      kind: 'rom',
      owner: unowned,
    },
    {
      ...plain,
      name: 'riscv_virt_board.ram',
      offset: BigInt(RAM_PHYS),
      size: BigInt(memory),
      kind: 'ram',
      owner: unowned,
    },
  ];
  for (const { device, number = 0, name, at, size } of PLACES) {
    const owner = boardDevices(tree, device)[number];
    if (owner === undefined) continue;
    regions.push({
      ...plain,
      name,
      offset: BigInt(at),
      size: BigInt(size),
      kind: 'i/o',
      owner: `owner:{dev path=${owner.path}}`,
    });
  }
  const system: MemoryRegion = {
    name: 'system',
    offset: 0n,
    size: WHOLE,
    priority: 0,
    kind: 'container',
    owner: unowned,
    children: regions,
  };
  const spaces = ['memory', ...Array.from({ length: harts }, (_, hart) => `cpu-memory-${hart}`)];
  return spaces.map((name) => ({ name, root: system }));
}

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
    busLines: [],
    mmio: mmioOf(device),
    buses: buses.length > 0 ? buses : own,
  };
}

function mmioOf(device: QomObject): DeviceNode['mmio'] {
  const peers = [...(device.parent?.children.values() ?? [])].filter(({ type }) => type === device.type);
  const number = peers.indexOf(device);
  return PLACES.filter((place) => place.device === device.type.name && (place.number ?? 0) === number).map(
    ({ at, size }) => ({ address: BigInt(at), size: BigInt(size) }),
  );
}
