/**
 * The device tree of the board: QEMU's `virt` (hw/riscv/virt.c) in node names, compatible strings, phandles and order,
 * less what the board does not have yet (PCIe, flash, fw_cfg, platform bus), and with the ISA also in the newer
 * riscv,isa-base and riscv,isa-extensions (Linux Documentation/devicetree/bindings/riscv/extensions.yaml).
 */
import { cells64, fdtNode, type FdtNode, type FdtValue, writeFdt } from '../firmware/fdt.ts';
import {
  CLINT_PHYS,
  CLINT_SIZE,
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
export const ISA_EXTENSIONS: readonly string[] = [
  ...['i', 'm', 'a', 'f', 'd', 'c'],
  ...['zicbom', 'zicboz', 'zicntr', 'zicond', 'zicsr', 'zifencei', 'zihpm'],
  ...['zfa', 'zba', 'zbb', 'zbc', 'zbs'],
  ...['sstc', 'svadu', 'svinval', 'svnapot', 'svpbmt'],
];

const CACHE_BLOCK_SIZE = 64;

/** Interrupt numbers at a hart's own controller (mcause, scause). */
const IRQ_M_SOFT = 3;
const IRQ_M_TIMER = 7;
const IRQ_S_EXTERNAL = 9;
const IRQ_M_EXTERNAL = 11;

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
}

const hex = (value: number): string => value.toString(16);

function isaString(): string {
  const single = ISA_EXTENSIONS.filter((name) => name.length === 1).join('');
  return [`rv64${single}`, ...ISA_EXTENSIONS.filter((name) => name.length > 1)].join('_');
}

/** A device of /soc: reg, and its one PLIC source if it has one. */
function device(
  name: string,
  address: number,
  size: number,
  properties: Record<string, FdtValue>,
  irq?: { plic: number; source: number },
): FdtNode {
  return fdtNode(`${name}@${hex(address)}`, {
    ...(irq && { interrupts: [irq.source], 'interrupt-parent': [irq.plic] }),
    reg: [...cells64(address), ...cells64(size)],
    ...properties,
  });
}

/** The board's tree as nodes. */
export function virtTree(options: VirtFdtOptions): FdtNode {
  // Phandles are numbered as QEMU does: harts from the last to the first, each with its controller, then the others.
  const hartIds = Array.from({ length: options.harts }, (_, id) => id);
  const cpuPhandle = (id: number): number => (options.harts - 1 - id) * 2 + 1;
  const intcPhandle = (id: number): number => cpuPhandle(id) + 1;
  const plic = options.harts * 2 + 1;
  const test = plic + 1;

  const cpu = (id: number): FdtNode =>
    fdtNode(
      `cpu@${id}`,
      {
        phandle: [cpuPhandle(id)],
        device_type: 'cpu',
        reg: [id],
        status: 'okay',
        compatible: 'riscv',
        'riscv,cboz-block-size': [CACHE_BLOCK_SIZE],
        'riscv,cbom-block-size': [CACHE_BLOCK_SIZE],
        'riscv,isa-extensions': ISA_EXTENSIONS,
        'riscv,isa-base': 'rv64i',
        'riscv,isa': isaString(),
        'mmu-type': 'riscv,sv57',
      },
      [
        fdtNode('interrupt-controller', {
          '#interrupt-cells': [1],
          'interrupt-controller': true,
          compatible: 'riscv,cpu-intc',
          phandle: [intcPhandle(id)],
        }),
      ],
    );

  const cpus = fdtNode(
    'cpus',
    { '#address-cells': [1], '#size-cells': [0], 'timebase-frequency': [TIMEBASE_FREQUENCY] },
    [
      ...hartIds.map(cpu),
      fdtNode('cpu-map', {}, [
        fdtNode(
          'cluster0',
          {},
          hartIds.map((id) => fdtNode(`core${id}`, { cpu: [cpuPhandle(id)] })),
        ),
      ]),
    ],
  );

  // Slots from the last to the first, as QEMU: a guest that numbers disks in tree order meets the last slot first.
  const virtio = Array.from({ length: VIRTIO_SLOTS }, (_, n) => VIRTIO_SLOTS - 1 - n).map((slot) =>
    device(
      'virtio_mmio',
      VIRTIO_PHYS + slot * VIRTIO_SLOT_SIZE,
      VIRTIO_SLOT_SIZE,
      { compatible: 'virtio,mmio' },
      { plic, source: VIRTIO_IRQ + slot },
    ),
  );

  const soc = fdtNode('soc', { '#address-cells': [2], '#size-cells': [2], compatible: 'simple-bus', ranges: true }, [
    device('rtc', RTC_PHYS, 0x1000, { compatible: 'google,goldfish-rtc' }, { plic, source: RTC_IRQ }),
    device(
      'serial',
      UART_PHYS,
      0x100,
      { 'clock-frequency': [UART_CLOCK], compatible: 'ns16550a' },
      { plic, source: UART_IRQ },
    ),
    device('test', TEST_PHYS, TEST_SIZE, {
      phandle: [test],
      compatible: ['sifive,test1', 'sifive,test0', 'syscon'],
    }),
    ...virtio,
    device('plic', PLIC_PHYS, PLIC_SIZE, {
      phandle: [plic],
      // The highest source number; QEMU before 8.0 gave one too many here.
      'riscv,ndev': [PLIC_SOURCES - 1],
      'interrupts-extended': hartIds.flatMap((id) => [
        ...[intcPhandle(id), IRQ_M_EXTERNAL],
        ...[intcPhandle(id), IRQ_S_EXTERNAL],
      ]),
      'interrupt-controller': true,
      compatible: ['sifive,plic-1.0.0', 'riscv,plic0'],
      '#address-cells': [0],
      '#interrupt-cells': [1],
    }),
    device('clint', CLINT_PHYS, CLINT_SIZE, {
      'interrupts-extended': hartIds.flatMap((id) => [
        ...[intcPhandle(id), IRQ_M_SOFT],
        ...[intcPhandle(id), IRQ_M_TIMER],
      ]),
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
