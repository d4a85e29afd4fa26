/** The types of the board's own devices, with the properties that QEMU's have; their values say what the board is. */
import type { PciHost } from '../pci/host.ts';
import type { TypeInfo } from '../qom/object.ts';
import type { PropertySpec } from '../qom/property.ts';
import {
  APLIC_SIZE,
  APLIC_SOURCES,
  IMSIC_IDS,
  MROM_PHYS,
  PLIC_SIZE,
  PLIC_SOURCES,
  TIMEBASE_FREQUENCY,
} from './virt-map.ts';

const u32 = (name: string, value: number, description: string): PropertySpec => ({
  name,
  kind: 'u32',
  default: value,
  description,
});
const text = (name: string, value: string, description: string): PropertySpec => ({
  name,
  kind: 'string',
  default: value,
  description,
});
const flag = (name: string, description: string): PropertySpec => ({ name, kind: 'bool', default: false, description });

const HARTID_BASE = u32('hartid-base', 0, 'mhartid of the first hart');
const NUM_HARTS = u32('num-harts', 0, 'harts');

const internal = (name: string, ...properties: PropertySpec[]): TypeInfo => ({
  name,
  parent: 'sys-bus-device',
  internal: true,
  properties,
});

export const BOARD_TYPES: readonly TypeInfo[] = [
  { name: 'virt-machine', parent: 'object', internal: true },
  internal(
    'riscv.hart_array',
    NUM_HARTS,
    HARTID_BASE,
    text('cpu-type', 'rv64-riscv-cpu', 'type of the harts'),
    u32('resetvec', MROM_PHYS, 'where harts come out of reset'),
  ),
  { name: 'rv64-riscv-cpu', parent: 'object', internal: true },
  internal('riscv.aclint.swi', HARTID_BASE, NUM_HARTS, u32('sswi', 0, '1: of S-mode')),
  internal(
    'riscv.aclint.mtimer',
    HARTID_BASE,
    NUM_HARTS,
    u32('timecmp-base', 0, 'offset of the first mtimecmp'),
    u32('time-base', 0x7ff8, 'offset of mtime'),
    u32('aperture-size', 0x8000, 'bytes of the registers'),
    u32('timebase-freq', TIMEBASE_FREQUENCY, 'ticks of mtime a second'),
  ),
  internal(
    'riscv.sifive.plic',
    text('hart-config', '', 'modes of the harts that are interrupted'),
    HARTID_BASE,
    u32('num-sources', PLIC_SOURCES, 'interrupt sources, with source 0'),
    u32('num-priorities', 7, 'the highest priority'),
    u32('priority-base', 4, 'offset of the priorities'),
    u32('pending-base', 0x1000, 'offset of the pending bits'),
    u32('enable-base', 0x2000, 'offset of the enable bits'),
    u32('enable-stride', 0x80, 'bytes of the enable bits of a context'),
    u32('context-base', 0x20_0000, 'offset of the first context'),
    u32('context-stride', 0x1000, 'bytes of a context'),
    u32('aperture-size', PLIC_SIZE, 'bytes of the registers'),
  ),
  internal(
    'riscv.aplic',
    u32('aperture-size', APLIC_SIZE, 'bytes of the registers'),
    HARTID_BASE,
    NUM_HARTS,
    u32('iprio-mask', 7, 'the highest priority'),
    u32('num-irqs', APLIC_SOURCES, 'interrupt sources, with source 0'),
    flag('msimode', 'interrupts are sent as messages'),
    flag('mmode', 'of M-mode'),
  ),
  internal(
    'riscv.imsic',
    flag('mmode', 'of M-mode'),
    u32('hartid', 0, 'mhartid of its hart'),
    u32('num-pages', 1, 'interrupt files, with those of guests'),
    u32('num-irqs', IMSIC_IDS + 1, 'interrupt identities, with identity 0'),
  ),
  internal('riscv.sifive.test'),
  internal('serial-mm'),
  { ...internal('gpex-pcihost'), reset: async (object) => (object.instance as PciHost).reset() },
  { name: 'gpex-root', parent: 'pci-device', internal: true },
  internal('goldfish_rtc'),
  internal('virtio-mmio', flag('force-legacy', 'a device in the slot speaks version 1 (legacy) instead of 2')),
];
