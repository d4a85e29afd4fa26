/** The board's memory for "info mtree": regions with QEMU's names. */
import type { MachineConfig } from '../api/machine.ts';
import type { AddressSpace, MemoryRegion } from '../monitor/target.ts';
import type { QomObject } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { MMIO_SIZE } from '../virtio/spec/mmio.ts';
import { MROM_SIZE } from '../worker/layout.ts';
import { memoryDeviceInfos } from './monitor-backends.ts';
import { pciMemory } from './monitor-pci-memory.ts';
import { ownerOf, region, WHOLE } from './monitor-region.ts';
import {
  APLIC_M_PHYS,
  APLIC_S_PHYS,
  APLIC_SIZE,
  CLINT_PHYS,
  CLINT_SIZE,
  IMSIC_FILE_SIZE,
  IMSIC_M_PHYS,
  IMSIC_S_PHYS,
  MROM_PHYS,
  PCIE_PIO_SIZE,
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

/** The ACLINT's software interrupts come first, its timer behind; the rest of its place is empty, as in QEMU. */
const SWI_SIZE = 0x4000;
const MTIMER_SIZE = 0x8000;

/** Where a device of the board has its registers. */
interface Place {
  /** Its type, and which of several. */
  readonly device: string;
  readonly number: number;
  /** Name of the region. */
  readonly name: string;
  readonly at: number;
  readonly size: number;
}

const one = (device: string, at: number, size: number, name = device): Place => ({ device, number: 0, name, at, size });

const BASE: readonly Place[] = [
  one('riscv.sifive.test', TEST_PHYS, TEST_SIZE),
  one('goldfish_rtc', RTC_PHYS, RTC_SIZE),
  one('riscv.aclint.swi', CLINT_PHYS, SWI_SIZE),
  one('riscv.aclint.mtimer', CLINT_PHYS + SWI_SIZE, Math.min(MTIMER_SIZE, CLINT_SIZE - SWI_SIZE)),
  one('serial-mm', UART_PHYS, UART_SIZE, 'serial'),
  ...Array.from({ length: VIRTIO_SLOTS }, (_, number) => ({
    device: 'virtio-mmio',
    number,
    name: 'virtio-mmio',
    at: VIRTIO_PHYS + number * VIRTIO_SLOT_SIZE,
    size: MMIO_SIZE,
  })),
];

function controllers({ aia, harts }: Pick<MachineConfig, 'aia' | 'harts'>): Place[] {
  if (aia === 'none') return [one('riscv.sifive.plic', PLIC_PHYS, PLIC_SIZE)];
  const aplic = (number: number, at: number): Place => ({ ...one('riscv.aplic', at, APLIC_SIZE), number });
  const aplics = [aplic(0, APLIC_M_PHYS), aplic(1, APLIC_S_PHYS)];
  if (aia === 'aplic') return aplics;
  // All of M-mode first: the order in which the board makes them.
  const files = [IMSIC_M_PHYS, IMSIC_S_PHYS].flatMap((base, level) =>
    Array.from({ length: harts }, (_, hart) => ({
      ...one('riscv.imsic', base + hart * IMSIC_FILE_SIZE, IMSIC_FILE_SIZE),
      number: level * harts + hart,
    })),
  );
  return [...aplics, ...files];
}

/** The board's devices of a type, in the order in which they were made. */
function boardDevices(tree: ObjectTree, type: string): QomObject[] {
  const unattached = tree.find('/machine/unattached');
  return [...(unattached?.children.values() ?? [])].filter((object) => object.type.name === type);
}

/** Where a device of the board has its registers. */
export function placesOf(device: QomObject): { address: bigint; size: bigint }[] {
  const { type, parent } = device;
  const peers = [...(parent?.children.values() ?? [])].filter((object) => object.type === type);
  const harts = peers.length / 2;
  // Whichever controllers there are tell by their types.
  const all = [...BASE, ...controllers({ aia: 'none', harts }), ...controllers({ aia: 'aplic-imsic', harts })];
  return all
    .filter((place) => place.device === type.name && place.number === peers.indexOf(device))
    .map(({ at, size }) => ({ address: BigInt(at), size: BigInt(size) }));
}

export function machineAddressSpaces(config: MachineConfig, tree: ObjectTree): AddressSpace[] {
  const owner = 'parent:{obj path=/machine/unattached}';
  const children: MemoryRegion[] = [
    region('riscv_virt_board.mrom', BigInt(MROM_PHYS), BigInt(MROM_SIZE), { kind: 'rom', owner }),
    region('riscv_virt_board.ram', BigInt(RAM_PHYS), BigInt(config.memory), { kind: 'ram', owner }),
  ];
  for (const { device, number, name, at, size } of [...BASE, ...controllers(config)]) {
    const found = boardDevices(tree, device)[number] as QomObject | undefined;
    if (found !== undefined) children.push(region(name, BigInt(at), BigInt(size), { owner: ownerOf(found) }));
  }
  for (const { address, size, memdev } of memoryDeviceInfos(tree)) {
    const object = tree.find(memdev);
    if (object !== null) children.push(region(object.name, address, size, { kind: 'ram', owner: ownerOf(object) }));
  }
  const system = region('system', 0n, WHOLE, { kind: 'container', owner, children });
  const pci = pciMemory(tree, system);
  children.push(...pci.regions);
  const ports = region('io', 0n, BigInt(PCIE_PIO_SIZE), { owner });
  const names = ['memory', ...Array.from({ length: config.harts }, (_, hart) => `cpu-memory-${hart}`)];
  return [...names.map((name) => ({ name, root: system })), { name: 'I/O', root: ports }, ...pci.spaces];
}
