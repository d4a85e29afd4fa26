/** Console device (virtio 1.3, section 5.3). */
import type { FeatureInfo } from './features.ts';

// Feature bits (section 5.3.3).
export const VIRTIO_CONSOLE_F_SIZE = 0;
export const VIRTIO_CONSOLE_F_MULTIPORT = 1;
export const VIRTIO_CONSOLE_F_EMERG_WRITE = 2;

export const CONSOLE_FEATURES: readonly FeatureInfo[] = [
  { bit: VIRTIO_CONSOLE_F_SIZE, name: 'VIRTIO_CONSOLE_F_SIZE', help: 'cols and rows give the size of the console' },
  { bit: VIRTIO_CONSOLE_F_MULTIPORT, name: 'VIRTIO_CONSOLE_F_MULTIPORT', help: 'more than one port' },
  {
    bit: VIRTIO_CONSOLE_F_EMERG_WRITE,
    name: 'VIRTIO_CONSOLE_F_EMERG_WRITE',
    help: 'single characters can be written to emerg_wr before any queue is set up',
  },
];

// Virtqueues (section 5.3.2).
export const CONSOLE_RECEIVEQ = 0;
export const CONSOLE_TRANSMITQ = 1;

// struct virtio_console_config (section 5.3.4): offsets.
export const CONSOLE_CONFIG_COLS = 0;
export const CONSOLE_CONFIG_ROWS = 2;
export const CONSOLE_CONFIG_MAX_NR_PORTS = 4;
export const CONSOLE_CONFIG_EMERG_WR = 8;
export const CONSOLE_CONFIG_BYTES = 12;
