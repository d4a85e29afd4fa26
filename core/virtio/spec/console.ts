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

// Control queues, and the queues of the ports behind port 0 (section 5.3.2).
export const CONSOLE_CONTROL_RECEIVEQ = 2;
export const CONSOLE_CONTROL_TRANSMITQ = 3;
/** The receiveq of a port; its transmitq is the next one. */
export function consoleReceiveq(port: number): number {
  return port === 0 ? CONSOLE_RECEIVEQ : 2 * port + 2;
}
/** The port of a queue; null for the control queues. */
export function consolePort(queue: number): number | null {
  if (queue < CONSOLE_CONTROL_RECEIVEQ) return 0;
  return queue <= CONSOLE_CONTROL_TRANSMITQ ? null : (queue >> 1) - 1;
}

// struct virtio_console_control (section 5.3.6.2): id[4] event[2] value[2].
export const CONSOLE_CONTROL_BYTES = 8;
export const VIRTIO_CONSOLE_DEVICE_READY = 0;
export const VIRTIO_CONSOLE_DEVICE_ADD = 1;
export const VIRTIO_CONSOLE_DEVICE_REMOVE = 2;
export const VIRTIO_CONSOLE_PORT_READY = 3;
export const VIRTIO_CONSOLE_CONSOLE_PORT = 4;
export const VIRTIO_CONSOLE_RESIZE = 5;
export const VIRTIO_CONSOLE_PORT_OPEN = 6;
export const VIRTIO_CONSOLE_PORT_NAME = 7;
