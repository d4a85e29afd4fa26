/**
 * A root port as QEMU 7.2 has it (-device pcie-root-port,chassis=1,slot=5,port=3,addr=1 and more), read through ECAM with
 * qtest: its first 256 bytes, and in which words which bits can be written.
 */
export interface QemuRootPort {
  readonly name: string;
  readonly properties: Readonly<Record<string, unknown>>;
  /** A card is in it. */
  readonly card: boolean;
  /** By offset, 16 bytes; what is not listed is 0. */
  readonly config: Readonly<Record<string, string>>;
}

const SAME = {
  '00': '36 1b 0c 00 00 00 10 00 00 00 04 06 00 00 01 00',
  '10': '00 00 00 00 00 00 00 00 00 00 00 00 f0 00 00 00',
  '20': 'f0 ff 00 00 f1 ff 01 00 00 00 00 00 00 00 00 00',
  '30': '00 00 00 00 54 00 00 00 00 00 00 00 00 01 00 00',
  '40': '0d 00 00 00 36 1b 00 00 11 40 00 00 00 00 00 00',
  '50': '00 08 00 00 10 48 42 01 00 80 00 00 00 00 00 00',
  '60': '04 06 30 00 00 00 04 02 7b 00 02 00 c0 07 00 00',
  '70': '00 00 00 00 00 00 00 00 20 00 30 00 00 00 00 00',
  '80': '1e 00 00 00 04 00 00 00 00 00 00 00 00 00 00 00',
};

export const QEMU_ROOT_PORTS: readonly QemuRootPort[] = [
  { name: 'an empty one', properties: { chassis: 1 }, card: false, config: SAME },
  {
    name: 'one with a card',
    properties: { chassis: 1, slot: 5 },
    card: true,
    config: { ...SAME, '60': '04 06 30 00 00 00 11 20 7b 00 2a 00 c0 01 40 00' },
  },
  {
    name: 'one whose cards stay',
    properties: { hotplug: false },
    card: false,
    config: { ...SAME, '60': '04 06 30 00 00 00 04 02 1b 00 02 00 c0 07 00 00' },
  },
  {
    name: 'one with a number and other functions beside it',
    properties: { port: 3, multifunction: true },
    card: false,
    config: {
      ...SAME,
      '00': '36 1b 0c 00 00 00 10 00 00 00 04 06 00 00 81 00',
      '60': '04 06 30 03 00 00 04 02 7b 00 02 00 c0 07 00 00',
    },
  },
  {
    name: 'one that asks firmware for room',
    properties: { 'io-reserve': '4K', 'mem-reserve': '1M', 'pref64-reserve': '2M', 'bus-reserve': 2 },
    card: false,
    config: {
      ...SAME,
      '30': '00 00 00 00 90 00 00 00 00 00 00 00 00 01 00 00',
      '90': '09 54 20 01 02 00 00 00 00 10 00 00 00 00 00 00',
      a0: '00 00 10 00 ff ff ff ff 00 00 20 00 00 00 00 00',
    },
  },
];

/** Of an empty one, by word. Of 0x6c Slot Status is left out. */
export const QEMU_ROOT_PORT_WRITABLE: Readonly<Record<string, string>> = {
  4: '507',
  c: 'ff',
  10: 'fffff000',
  18: 'ffffffff',
  '1c': 'f0f0',
  20: 'fff0fff0',
  24: 'fff0fff0',
  28: 'ffffffff',
  '2c': 'ffffffff',
  '3c': '5f00ff',
  48: 'c0000000',
  '5c': 'f',
  '6c': '7f9',
  70: '7',
  '7c': '8020',
};
