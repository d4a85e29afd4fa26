/**
 * Where a virtio-pci device has its registers: as QEMU lays them out. Read by TypeScript and by AssemblyScript alike: nothing
 * but integer constants. Offsets into BAR 4, except those of the legacy interface.
 */

export const PCI_COMMON_OFFSET = 0x0000;
export const PCI_ISR_OFFSET = 0x1000;
export const PCI_DEVICE_OFFSET = 0x2000;
export const PCI_NOTIFY_OFFSET = 0x3000;
/** Bytes of each of these. */
export const PCI_STRUCTURE_SIZE = 0x1000;
export const PCI_MODERN_BAR_SIZE = 0x4000;
/** Queue n is notified at PCI_NOTIFY_OFFSET + n * this. */
export const PCI_NOTIFY_MULTIPLIER = 4;

/** Offsets into BAR 0, the legacy interface's. */
export const LEGACY_QUEUE_NOTIFY = 16;
export const LEGACY_ISR = 19;

/** Virtio slots from here on are PCI devices'; those before are the board's virtio-mmio slots. */
export const FIRST_PCI_SLOT = 8;

/** At DEVICE_BASE + DEV_INTX. i32 atomic: slots that may have an entry in the map. */
export const PCI_MAP_SLOTS = 0x80;
/** An entry for each virtio slot, PCI_MAP_ENTRY bytes. */
export const PCI_MAP = 0x100;
export const PCI_MAP_ENTRY = 16;
/** u64 atomic each: guest physical address of BAR 4 and of BAR 0; all ones while it is nowhere. */
export const PCI_MAP_MODERN = 0;
export const PCI_MAP_LEGACY = 8;
