/**
 * Keys as QEMU's monitor names them (QKeyCode of qapi/ui.json), as Linux's KEY_* (input-event-codes.h), which virtio-input
 * uses (section 5.8).
 */

/** KEY_ESC, which is 1, and the keys behind it, in the order of their numbers. */
const FIRST = [
  'esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y u i o p bracket_left bracket_right ret',
  'ctrl a s d f g h j k l semicolon apostrophe grave_accent shift backslash z x c v b n m comma dot',
  'slash shift_r asterisk alt spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock kp_7',
  'kp_8 kp_9 kp_subtract kp_4 kp_5 kp_6 kp_add kp_1 kp_2 kp_3 kp_0 kp_decimal',
]
  .join(' ')
  .split(' ');

/** The others. */
const OTHERS: Readonly<Record<string, number>> = {
  kp_multiply: 55,
  less: 86,
  f11: 87,
  f12: 88,
  ro: 89,
  hiragana: 91,
  henkan: 92,
  katakanahiragana: 93,
  muhenkan: 94,
  kp_enter: 96,
  ctrl_r: 97,
  kp_divide: 98,
  sysrq: 99,
  print: 99,
  alt_r: 100,
  lf: 101,
  home: 102,
  up: 103,
  pgup: 104,
  left: 105,
  right: 106,
  end: 107,
  down: 108,
  pgdn: 109,
  insert: 110,
  delete: 111,
  audiomute: 113,
  volumedown: 114,
  volumeup: 115,
  power: 116,
  kp_equals: 117,
  pause: 119,
  kp_comma: 121,
  lang1: 122,
  lang2: 123,
  yen: 124,
  meta_l: 125,
  meta_r: 126,
  compose: 127,
  stop: 128,
  again: 129,
  props: 130,
  undo: 131,
  front: 132,
  copy: 133,
  open: 134,
  paste: 135,
  find: 136,
  cut: 137,
  help: 138,
  menu: 139,
  calculator: 140,
  sleep: 142,
  wake: 143,
  mail: 155,
  ac_bookmarks: 156,
  computer: 157,
  ac_back: 158,
  ac_forward: 159,
  audionext: 163,
  audioplay: 164,
  audioprev: 165,
  audiostop: 166,
  ac_home: 172,
  ac_refresh: 173,
  mediaselect: 226,
};

/** KEY_F13 to KEY_F24. */
const F13 = 183;
const LATER_F_KEYS = 12;

/** KEY_* by QKeyCode. */
export const QCODES: ReadonlyMap<string, number> = new Map([
  ...FIRST.map((name, index) => [name, index + 1] as const),
  ...Object.entries(OTHERS),
  ...Array.from({ length: LATER_F_KEYS }, (_, index) => [`f${13 + index}`, F13 + index] as const),
]);

/** Scancodes of set 1 up to this are KEY_* as they stand. */
const SCANCODE_PLAIN_MAX = 0x58;
/** Those with 0xe0 before them, which are written with bit 7 set. */
const EXTENDED: Readonly<Record<number, string>> = {
  0x9c: 'kp_enter',
  0x9d: 'ctrl_r',
  0xb5: 'kp_divide',
  0xb7: 'sysrq',
  0xb8: 'alt_r',
  0xc6: 'pause',
  0xc7: 'home',
  0xc8: 'up',
  0xc9: 'pgup',
  0xcb: 'left',
  0xcd: 'right',
  0xcf: 'end',
  0xd0: 'down',
  0xd1: 'pgdn',
  0xd2: 'insert',
  0xd3: 'delete',
  0xdb: 'meta_l',
  0xdc: 'meta_r',
  0xdd: 'compose',
};

/** KEY_* of a PC's scancode (set 1); null when no key has it. */
export function keyOfScancode(scancode: number): number | null {
  if (scancode >= 1 && scancode <= SCANCODE_PLAIN_MAX) return scancode;
  return scancode in EXTENDED ? QCODES.get(EXTENDED[scancode])! : null;
}
