/**
 * The device tree of the board: QEMU's `virt` (hw/riscv/virt.c) in node names, compatible strings, phandles and order,
 * less what the board does not have yet (flash, fw_cfg, platform bus), and with the ISA also in the newer
 * riscv,isa-base and riscv,isa-extensions (Linux Documentation/devicetree/bindings/riscv/extensions.yaml).
 */
import type { AiaKind } from '../api/machine.ts';
import { cells64, fdtNode, type FdtNode, type FdtValue, writeFdt } from '../firmware/fdt.ts';
import {
  APLIC_M_PHYS,
  APLIC_S_PHYS,
  APLIC_SIZE,
  APLIC_SOURCES,
  CLINT_PHYS,
  CLINT_SIZE,
  IMSIC_FILE_SIZE,
  IMSIC_IDS,
  IMSIC_M_PHYS,
  IMSIC_S_PHYS,
  PCIE_ECAM_PHYS,
  PCIE_ECAM_SIZE,
  PCIE_HIGH_MMIO_PHYS,
  PCIE_HIGH_MMIO_SIZE,
  PCIE_IRQ,
  PCIE_MMIO_PHYS,
  PCIE_MMIO_SIZE,
  PCIE_PIO_PHYS,
  PCIE_PIO_SIZE,
  PLIC_PHYS,
  PLIC_SIZE,
  PLIC_SOURCES,
  RAM_PHYS,
  RTC_IRQ,
  RTC_PHYS,
  TEST_PHYS,
  TEST_SIZE,
  TIMEBASE_FREQUENCY,
  UART_CLOCK,
  UART_IRQ,
  UART_PHYS,
  VIRTIO_IRQ,
  VIRTIO_PHYS,
  VIRTIO_SLOT_SIZE,
  VIRTIO_SLOTS,
} from './virt-map.ts';

/** What the harts implement, single letters first, then in the ISA manual's canonical order. */
export const isaExtensions = (aia: AiaKind = 'none'): string[] => [
  ...['i', 'm', 'a', 'f', 'd', 'c'],
  ...['zicbom', 'zicboz', 'zicntr', 'zicond', 'zicsr', 'zifencei', 'zihpm'],
  ...['zfa', 'zba', 'zbb', 'zbc', 'zbs'],
  ...(aia === 'aplic-imsic' ? ['smaia', 'ssaia'] : []),
  ...['sstc', 'svadu', 'svinval', 'svnapot', 'svpbmt'],
];

const CACHE_BLOCK_SIZE = 64;

/** Interrupt numbers at a hart's own controller (mcause, scause). */
const IRQ_M_SOFT = 3;
const IRQ_M_TIMER = 7;
const IRQ_S_EXTERNAL = 9;
const IRQ_M_EXTERNAL = 11;

/** Second cell of an interrupt at an APLIC: level-sensitive, high (Linux Documentation, riscv,aplic.yaml). */
const IRQ_LEVEL_HIGH = 4;
/** The identity that S-mode may keep for inter-processor interrupts. */
const IMSIC_IPI_ID = 1;

/** Values of the test finisher. */
const FINISHER_PASS = 0x5555;
const FINISHER_RESET = 0x7777;

export interface VirtFdtOptions {
  /** Number of harts, 1..8. */
  harts: number;
  /** Bytes of RAM. */
  memory: number;
  /** Kernel command line. */
  append: string;
  /** Guest physical range of the initial ramdisk. */
  initrd?: { start: number; end: number } | undefined;
  /** 32 random bytes for the kernel's random number generator. */
  rngSeed: Uint8Array;
  /** The interrupt controllers; default: none, which is a PLIC. */
  aia?: AiaKind;
  /** Machine-level controllers are the firmware's, and no kernel is to touch them: the built-in SBI has no say of its own. */
  hideMachineLevel?: boolean;
}

/** How devices refer to the interrupt controllers. */
export interface InterruptParents {
  /** phandle of what wired interrupts go to: the PLIC, or the APLIC's supervisor-level domain. */
  wired: number;
  /** The cells that name a source there. */
  cells(source: number): number[];
  /** phandle of what messages go to, a msi-parent; null without IMSICs. */
  msi: number | null;
}

const hex = (value: number): string => value.toString(16);

function isaString(extensions: readonly string[]): string {
  const single = extensions.filter((name) => name.length === 1).join('');
  return [`rv64${single}`, ...extensions.filter((name) => name.length > 1)].join('_');
}

// Phandles are numbered as QEMU does: harts from the last to the first, each with its controller, then the interrupt
// controllers, then the test finisher.
const cpuPhandle = (harts: number, id: number): number => (harts - 1 - id) * 2 + 1;
const intcPhandle = (harts: number, id: number): number => cpuPhandle(harts, id) + 1;

/** phandles of the interrupt controllers that there are, and the next free one. */
type Controllers = { plic: number; next: number } | Record<'imsicM' | 'imsicS' | 'aplicM' | 'aplicS' | 'next', number>;

function controllerPhandles(harts: number, aia: AiaKind): Controllers {
  const first = harts * 2 + 1;
  if (aia === 'none') return { plic: first, next: first + 1 };
  const aplic = aia === 'aplic' ? first : first + 2;
  return { imsicM: first, imsicS: first + 1, aplicM: aplic, aplicS: aplic + 1, next: aplic + 2 };
}

/** What a device's node needs to say where its interrupts go. */
export function interruptParents(harts: number, aia: AiaKind): InterruptParents {
  const phandles = controllerPhandles(harts, aia);
  if ('plic' in phandles) return { wired: phandles.plic, cells: (source) => [source], msi: null };
  return {
    wired: phandles.aplicS,
    cells: (source) => [source, IRQ_LEVEL_HIGH],
    msi: aia === 'aplic-imsic' ? phandles.imsicS : null,
  };
}

/** A device of /soc: reg, and its one wired interrupt if it has one. */
function device(
  name: string,
  address: number,
  size: number,
  properties: Record<string, FdtValue>,
  irq?: { parents: InterruptParents; source: number },
): FdtNode {
  return fdtNode(`${name}@${hex(address)}`, {
    ...(irq && { interrupts: irq.parents.cells(irq.source), 'interrupt-parent': [irq.parents.wired] }),
    reg: [...cells64(address), ...cells64(size)],
    ...properties,
  });
}

const hartIds = (harts: number): number[] => Array.from({ length: harts }, (_, id) => id);

/** References to an interrupt of every hart. */
const everyHart = (harts: number, ...irqs: number[]): number[] =>
  hartIds(harts).flatMap((id) => irqs.flatMap((irq) => [intcPhandle(harts, id), irq]));

function plicNode(harts: number, phandle: number): FdtNode {
  return device('plic', PLIC_PHYS, PLIC_SIZE, {
    phandle: [phandle],
    // The highest source number; QEMU before 8.0 gave one too many here.
    'riscv,ndev': [PLIC_SOURCES - 1],
    'interrupts-extended': everyHart(harts, IRQ_M_EXTERNAL, IRQ_S_EXTERNAL),
    'interrupt-controller': true,
    compatible: ['sifive,plic-1.0.0', 'riscv,plic0'],
    '#address-cells': [0],
    '#interrupt-cells': [1],
  });
}

function aiaNodes(harts: number, aia: AiaKind, hideMachineLevel: boolean): FdtNode[] {
  const phandles = controllerPhandles(harts, aia);
  if ('plic' in phandles) return [];
  const { imsicM, imsicS, aplicM, aplicS } = phandles;
  const hidden: Record<string, FdtValue> = hideMachineLevel ? { status: 'disabled' } : {};
  const imsics = aia === 'aplic-imsic';
  const last = APLIC_SOURCES - 1;
  const aplic = (address: number, phandle: number, imsic: number, irq: number, more: Record<string, FdtValue>) =>
    device('aplic', address, APLIC_SIZE, {
      phandle: [phandle],
      'riscv,num-sources': [last],
      ...(imsics ? { 'msi-parent': [imsic] } : { 'interrupts-extended': everyHart(harts, irq) }),
      'interrupt-controller': true,
      '#interrupt-cells': [2],
      compatible: 'riscv,aplic',
      ...more,
    });
  const imsic = (address: number, phandle: number, irq: number, more: Record<string, FdtValue>) =>
    device('imsics', address, harts * IMSIC_FILE_SIZE, {
      phandle: [phandle],
      'riscv,ipi-id': [IMSIC_IPI_ID],
      'riscv,num-ids': [IMSIC_IDS],
      'interrupts-extended': everyHart(harts, irq),
      'msi-controller': true,
      'interrupt-controller': true,
      '#interrupt-cells': [0],
      compatible: 'riscv,imsics',
      ...more,
    });
  const delegation = [aplicS, 1, last];
  return [
    aplic(APLIC_S_PHYS, aplicS, imsicS, IRQ_S_EXTERNAL, {}),
    aplic(APLIC_M_PHYS, aplicM, imsicM, IRQ_M_EXTERNAL, {
      'riscv,children': [aplicS],
      // An early name, which is what QEMU 7.2 says and OpenSBI 1.1 knows, and the one that Linux settled on.
      'riscv,delegate': delegation,
      'riscv,delegation': delegation,
      ...hidden,
    }),
    ...(imsics
      ? [imsic(IMSIC_S_PHYS, imsicS, IRQ_S_EXTERNAL, {}), imsic(IMSIC_M_PHYS, imsicM, IRQ_M_EXTERNAL, hidden)]
      : []),
  ];
}

// PCI bus binding (IEEE 1275): the first cell of an address.
const PCI_SPACE_IO = 0x100_0000;
const PCI_SPACE_MEM32 = 0x200_0000;
const PCI_SPACE_MEM64 = 0x300_0000;
/** Shift of the slot in it. */
const PCI_SLOT_SHIFT = 11;
const PCI_LINES = 4;

function pciNode(parents: InterruptParents): FdtNode {
  // INTA to INTD of a slot, swizzled: the map repeats every four slots.
  const lines = Array.from({ length: PCI_LINES }, (_, line) => line);
  const map = lines.flatMap((slot) =>
    lines.flatMap((pin) => [
      ...[slot << PCI_SLOT_SHIFT, 0, 0, pin + 1, parents.wired],
      ...parents.cells(PCIE_IRQ + ((slot + pin) % PCI_LINES)),
    ]),
  );
  const range = (space: number, bus: number, address: number, size: number): number[] => [
    space,
    ...cells64(bus),
    ...cells64(address),
    ...cells64(size),
  ];
  return fdtNode(`pci@${hex(PCIE_ECAM_PHYS)}`, {
    'interrupt-map-mask': [(PCI_LINES - 1) << PCI_SLOT_SHIFT, 0, 0, 7],
    'interrupt-map': map,
    ranges: [
      ...range(PCI_SPACE_IO, 0, PCIE_PIO_PHYS, PCIE_PIO_SIZE),
      ...range(PCI_SPACE_MEM32, PCIE_MMIO_PHYS, PCIE_MMIO_PHYS, PCIE_MMIO_SIZE),
      ...range(PCI_SPACE_MEM64, PCIE_HIGH_MMIO_PHYS, PCIE_HIGH_MMIO_PHYS, PCIE_HIGH_MMIO_SIZE),
    ],
    reg: [...cells64(PCIE_ECAM_PHYS), ...cells64(PCIE_ECAM_SIZE)],
    ...(parents.msi !== null && { 'msi-parent': [parents.msi] }),
    'dma-coherent': true,
    'bus-range': [0, 0xff],
    'linux,pci-domain': [0],
    device_type: 'pci',
    compatible: 'pci-host-ecam-generic',
    '#size-cells': [2],
    '#interrupt-cells': [1],
    '#address-cells': [3],
  });
}

/** The board's tree as nodes. */
export function virtTree(options: VirtFdtOptions): FdtNode {
  const { harts, aia = 'none' } = options;
  const phandles = controllerPhandles(harts, aia);
  const parents = interruptParents(harts, aia);
  const test = phandles.next;
  const extensions = isaExtensions(aia);

  const cpu = (id: number): FdtNode =>
    fdtNode(
      `cpu@${id}`,
      {
        phandle: [cpuPhandle(harts, id)],
        device_type: 'cpu',
        reg: [id],
        status: 'okay',
        compatible: 'riscv',
        'riscv,cboz-block-size': [CACHE_BLOCK_SIZE],
        'riscv,cbom-block-size': [CACHE_BLOCK_SIZE],
        'riscv,isa-extensions': extensions,
        'riscv,isa-base': 'rv64i',
        'riscv,isa': isaString(extensions),
        'mmu-type': 'riscv,sv57',
      },
      [
        fdtNode('interrupt-controller', {
          '#interrupt-cells': [1],
          'interrupt-controller': true,
          compatible: 'riscv,cpu-intc',
          phandle: [intcPhandle(harts, id)],
        }),
      ],
    );

  const cpus = fdtNode(
    'cpus',
    { '#address-cells': [1], '#size-cells': [0], 'timebase-frequency': [TIMEBASE_FREQUENCY] },
    [
      ...hartIds(harts).map(cpu),
      fdtNode('cpu-map', {}, [
        fdtNode(
          'cluster0',
          {},
          hartIds(harts).map((id) => fdtNode(`core${id}`, { cpu: [cpuPhandle(harts, id)] })),
        ),
      ]),
    ],
  );

  const pci = pciNode(parents);

  // Slots from the last to the first, as QEMU: a guest that numbers disks in tree order meets the last slot first.
  const virtio = Array.from({ length: VIRTIO_SLOTS }, (_, n) => VIRTIO_SLOTS - 1 - n).map((slot) =>
    device(
      'virtio_mmio',
      VIRTIO_PHYS + slot * VIRTIO_SLOT_SIZE,
      VIRTIO_SLOT_SIZE,
      { compatible: 'virtio,mmio' },
      { parents, source: VIRTIO_IRQ + slot },
    ),
  );

  const soc = fdtNode('soc', { '#address-cells': [2], '#size-cells': [2], compatible: 'simple-bus', ranges: true }, [
    device('rtc', RTC_PHYS, 0x1000, { compatible: 'google,goldfish-rtc' }, { parents, source: RTC_IRQ }),
    device(
      'serial',
      UART_PHYS,
      0x100,
      { 'clock-frequency': [UART_CLOCK], compatible: 'ns16550a' },
      { parents, source: UART_IRQ },
    ),
    device('test', TEST_PHYS, TEST_SIZE, {
      phandle: [test],
      compatible: ['sifive,test1', 'sifive,test0', 'syscon'],
    }),
    pci,
    ...virtio,
    ...('plic' in phandles
      ? [plicNode(harts, phandles.plic)]
      : aiaNodes(harts, aia, options.hideMachineLevel ?? false)),
    device('clint', CLINT_PHYS, CLINT_SIZE, {
      'interrupts-extended': everyHart(harts, IRQ_M_SOFT, IRQ_M_TIMER),
      compatible: ['sifive,clint0', 'riscv,clint0'],
    }),
  ]);

  const syscon = (name: string, value: number): FdtNode =>
    fdtNode(name, { value: [value], offset: [0], regmap: [test], compatible: `syscon-${name}` });

  return fdtNode(
    '',
    { '#address-cells': [2], '#size-cells': [2], compatible: 'riscv-virtio', model: 'riscv-virtio,qemu' },
    [
      fdtNode('chosen', {
        ...(options.initrd && {
          'linux,initrd-end': cells64(options.initrd.end),
          'linux,initrd-start': cells64(options.initrd.start),
        }),
        'rng-seed': options.rngSeed,
        bootargs: options.append,
        'stdout-path': `/soc/serial@${hex(UART_PHYS)}`,
      }),
      syscon('poweroff', FINISHER_PASS),
      syscon('reboot', FINISHER_RESET),
      fdtNode(`memory@${hex(RAM_PHYS)}`, {
        device_type: 'memory',
        reg: [...cells64(RAM_PHYS), ...cells64(options.memory)],
      }),
      cpus,
      soc,
    ],
  );
}

/** The board's tree as a blob. */
export function buildVirtFdt(options: VirtFdtOptions): Uint8Array {
  return writeFdt(virtTree(options));
}
