/** Virtio over PCI (virtio 1.3, section 4.1). */

/** Device id of a modern device: this plus the virtio device id (section 4.1.2). */
export const PCI_DEVICE_ID_MODERN = 0x1040;
export const PCI_REVISION_MODERN = 1;

/** PCI device ids of transitional devices, by virtio device id (section 4.1.2.1). */
export const PCI_TRANSITIONAL_IDS: Readonly<Record<number, number>> = {
  1: 0x1000,
  2: 0x1001,
  5: 0x1002,
  3: 0x1003,
  8: 0x1004,
  4: 0x1005,
  9: 0x1009,
};

// Structures that vendor-specific capabilities point to (section 4.1.4).
export const VIRTIO_PCI_CAP_COMMON_CFG = 1;
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2;
export const VIRTIO_PCI_CAP_ISR_CFG = 3;
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4;
export const VIRTIO_PCI_CAP_PCI_CFG = 5;

// The capability: offsets and sizes.
export const PCI_VIRTIO_CAP_LEN = 2;
export const PCI_VIRTIO_CAP_TYPE = 3;
export const PCI_VIRTIO_CAP_BAR = 4;
export const PCI_VIRTIO_CAP_OFFSET = 8;
export const PCI_VIRTIO_CAP_LENGTH = 12;
export const PCI_VIRTIO_CAP_SIZE = 16;
/** Behind a notification capability. */
export const PCI_VIRTIO_NOTIFY_MULTIPLIER = 16;
/** Behind a PCI configuration access capability. */
export const PCI_VIRTIO_CFG_DATA = 16;
export const PCI_VIRTIO_CAP_SIZE_LONG = 20;

// Common configuration structure (section 4.1.4.3).
export const COMMON_DEVICE_FEATURE_SELECT = 0x00;
export const COMMON_DEVICE_FEATURE = 0x04;
export const COMMON_DRIVER_FEATURE_SELECT = 0x08;
export const COMMON_DRIVER_FEATURE = 0x0c;
export const COMMON_CONFIG_MSIX_VECTOR = 0x10;
export const COMMON_NUM_QUEUES = 0x12;
export const COMMON_DEVICE_STATUS = 0x14;
export const COMMON_CONFIG_GENERATION = 0x15;
export const COMMON_QUEUE_SELECT = 0x16;
export const COMMON_QUEUE_SIZE = 0x18;
export const COMMON_QUEUE_MSIX_VECTOR = 0x1a;
export const COMMON_QUEUE_ENABLE = 0x1c;
export const COMMON_QUEUE_NOTIFY_OFF = 0x1e;
export const COMMON_QUEUE_DESC = 0x20;
export const COMMON_QUEUE_DRIVER = 0x28;
export const COMMON_QUEUE_DEVICE = 0x30;
export const COMMON_QUEUE_NOTIF_CONFIG_DATA = 0x38;
export const COMMON_QUEUE_RESET = 0x3a;
/** Bytes of the structure. */
export const COMMON_SIZE = 0x40;

/** Width of each register of it; 64-bit ones are accessed in halves (section 4.1.3.1). */
export const COMMON_WIDTH: Readonly<Record<number, number>> = {
  [COMMON_DEVICE_FEATURE_SELECT]: 4,
  [COMMON_DEVICE_FEATURE]: 4,
  [COMMON_DRIVER_FEATURE_SELECT]: 4,
  [COMMON_DRIVER_FEATURE]: 4,
  [COMMON_CONFIG_MSIX_VECTOR]: 2,
  [COMMON_NUM_QUEUES]: 2,
  [COMMON_DEVICE_STATUS]: 1,
  [COMMON_CONFIG_GENERATION]: 1,
  [COMMON_QUEUE_SELECT]: 2,
  [COMMON_QUEUE_SIZE]: 2,
  [COMMON_QUEUE_MSIX_VECTOR]: 2,
  [COMMON_QUEUE_ENABLE]: 2,
  [COMMON_QUEUE_NOTIFY_OFF]: 2,
  [COMMON_QUEUE_DESC]: 4,
  [COMMON_QUEUE_DESC + 4]: 4,
  [COMMON_QUEUE_DRIVER]: 4,
  [COMMON_QUEUE_DRIVER + 4]: 4,
  [COMMON_QUEUE_DEVICE]: 4,
  [COMMON_QUEUE_DEVICE + 4]: 4,
  [COMMON_QUEUE_NOTIF_CONFIG_DATA]: 2,
  [COMMON_QUEUE_RESET]: 2,
};

/** Section 4.1.5.1.2.1. */
export const VIRTIO_MSI_NO_VECTOR = 0xffff;

// Legacy interface: registers in I/O BAR 0 (section 4.1.4.10). Queue notify and ISR status: core/virtio/transport/pci-layout.ts.
export const LEGACY_DEVICE_FEATURES = 0;
export const LEGACY_DRIVER_FEATURES = 4;
export const LEGACY_QUEUE_ADDRESS = 8;
export const LEGACY_QUEUE_SIZE = 12;
export const LEGACY_QUEUE_SELECT = 14;
export const LEGACY_DEVICE_STATUS = 18;
/** While MSI-X is enabled; else the device's configuration begins here. */
export const LEGACY_CONFIG_VECTOR = 20;
export const LEGACY_QUEUE_VECTOR = 22;
/** Bytes before the device's configuration without MSI-X, and with. */
export const LEGACY_HEADER = 20;
export const LEGACY_HEADER_MSIX = 24;
/** Queue addresses are in units of this; so is the used ring aligned (section 4.1.5.1.3.1). */
export const LEGACY_QUEUE_PAGE = 4096;
