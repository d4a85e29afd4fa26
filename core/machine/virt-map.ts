/**
 * The guest physical memory map and interrupt map of QEMU's riscv64 `virt` board. Read by TypeScript and by
 * AssemblyScript alike: nothing but integer constants. Addresses are guest physical, sizes are bytes.
 */

/** Mask ROM: harts come out of reset at its first byte. */
export const MROM_PHYS = 0x1000;
/** SiFive test finisher (syscon): power off, fail, reset. */
export const TEST_PHYS = 0x100000;
export const TEST_SIZE = 0x1000;
/** Goldfish real-time clock; the registers end at RTC_SIZE, the device tree says 4 KiB. */
export const RTC_PHYS = 0x101000;
export const RTC_SIZE = 0x24;
export const RTC_IRQ = 11;
/** ACLINT in CLINT layout. */
export const CLINT_PHYS = 0x2000000;
export const CLINT_SIZE = 0x10000;
export const PLIC_PHYS = 0xc000000;
export const PLIC_SIZE = 0x600000;
/** Interrupt sources of the PLIC, including source 0, which does not exist. */
export const PLIC_SOURCES = 96;
/** APLIC (with aia=aplic and aplic-imsic, in place of the PLIC): the root domain, of M-mode, and the S-mode domain. */
export const APLIC_M_PHYS = 0xc000000;
export const APLIC_S_PHYS = 0xd000000;
export const APLIC_SIZE = 0x8000;
/** Interrupt sources of the APLIC, including source 0, which does not exist. */
export const APLIC_SOURCES = 97;
/** IMSICs (with aia=aplic-imsic): hart h's interrupt files are at IMSIC_M_PHYS and IMSIC_S_PHYS + h * IMSIC_FILE_SIZE. */
export const IMSIC_M_PHYS = 0x24000000;
export const IMSIC_S_PHYS = 0x28000000;
export const IMSIC_FILE_SIZE = 0x1000;
/** Interrupt identities of an interrupt file: 1..IMSIC_IDS. */
export const IMSIC_IDS = 255;
/** 16550A; the registers end at UART_SIZE, the device tree says 0x100. */
export const UART_PHYS = 0x10000000;
export const UART_SIZE = 8;
export const UART_IRQ = 10;
export const UART_CLOCK = 3686400;
/** Virtio-mmio slot n is at VIRTIO_PHYS + n * VIRTIO_SLOT_SIZE and interrupts as source VIRTIO_IRQ + n. */
export const VIRTIO_PHYS = 0x10001000;
export const VIRTIO_SLOT_SIZE = 0x1000;
export const VIRTIO_SLOTS = 8;
export const VIRTIO_IRQ = 1;
/** PCI Express: configuration space of all buses, 4 KiB a function (ECAM); INTA to INTD are sources PCIE_IRQ to + 3. */
export const PCIE_ECAM_PHYS = 0x30000000;
export const PCIE_ECAM_SIZE = 0x10000000;
export const PCIE_IRQ = 32;
/** I/O ports from 0 on; memory below and above 4 GiB at its own addresses. */
export const PCIE_PIO_PHYS = 0x3000000;
export const PCIE_PIO_SIZE = 0x10000;
export const PCIE_MMIO_PHYS = 0x40000000;
export const PCIE_MMIO_SIZE = 0x40000000;
export const PCIE_HIGH_MMIO_PHYS = 0x400000000;
export const PCIE_HIGH_MMIO_SIZE = 0x400000000;
/** RAM starts here. */
export const RAM_PHYS = 0x80000000;
/** Ticks of mtime a second. */
export const TIMEBASE_FREQUENCY = 10000000;
