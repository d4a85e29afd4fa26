/** The device status field (virtio 1.3, section 2.1). */

export const STATUS_ACKNOWLEDGE = 1;
export const STATUS_DRIVER = 2;
export const STATUS_DRIVER_OK = 4;
export const STATUS_FEATURES_OK = 8;
export const STATUS_DEVICE_NEEDS_RESET = 64;
export const STATUS_FAILED = 128;

export interface StatusBit {
  /** Bit number. */
  readonly bit: number;
  readonly mask: number;
  readonly name: string;
  readonly help: string;
}

/** In the order in which a driver sets them. */
export const STATUS_BITS: readonly StatusBit[] = [
  { bit: 0, mask: STATUS_ACKNOWLEDGE, name: 'ACKNOWLEDGE', help: 'the guest has found the device' },
  { bit: 1, mask: STATUS_DRIVER, name: 'DRIVER', help: 'the guest has a driver for the device' },
  { bit: 3, mask: STATUS_FEATURES_OK, name: 'FEATURES_OK', help: 'feature negotiation is complete' },
  { bit: 2, mask: STATUS_DRIVER_OK, name: 'DRIVER_OK', help: 'the driver is set up and the device is live' },
  { bit: 6, mask: STATUS_DEVICE_NEEDS_RESET, name: 'DEVICE_NEEDS_RESET', help: 'the device waits for a reset' },
  { bit: 7, mask: STATUS_FAILED, name: 'FAILED', help: 'the guest has given up on the device' },
];

/** e.g. "ACKNOWLEDGE | DRIVER"; unknown bits as a number; "0" for none. */
export function statusNames(status: number): string {
  const names = STATUS_BITS.filter(({ mask }) => status & mask).map(({ name }) => name);
  const unknown = STATUS_BITS.reduce((rest, { mask }) => rest & ~mask, status);
  if (unknown !== 0) names.push(`0x${unknown.toString(16)}`);
  return names.join(' | ') || '0';
}
