/** The input devices that there are: QEMU's (hw/input/virtio-input-hid.c), whose names guests may know. */
import {
  ABS_X,
  ABS_Y,
  BTN_EXTRA,
  BTN_GEAR_DOWN,
  BTN_GEAR_UP,
  BTN_LEFT,
  BTN_MIDDLE,
  BTN_RIGHT,
  BTN_SIDE,
  BTN_TOUCH,
  EV_ABS,
  EV_KEY,
  EV_LED,
  EV_REL,
  EV_REP,
  KEY_ESC,
  KEY_MICMUTE,
  LED_CAPSL,
  LED_NUML,
  LED_SCROLLL,
  REL_WHEEL,
  REL_X,
  REL_Y,
} from '../spec/input.ts';

/** struct virtio_input_absinfo. */
export interface AbsInfo {
  readonly min: number;
  readonly max: number;
  readonly fuzz: number;
  readonly flat: number;
  readonly res: number;
}

export interface InputModel {
  /** At most 128 bytes. */
  readonly name: string;
  readonly product: number;
  readonly version: number;
  /** Codes by event type (EV_*). A type without codes is there all the same (EV_REP). */
  readonly codes: ReadonlyMap<number, readonly number[]>;
  /** By ABS_*, for each code of EV_ABS. */
  readonly axes: ReadonlyMap<number, AbsInfo>;
}

export type InputKind = 'keyboard' | 'mouse' | 'tablet';

/** QEMU's INPUT_EVENT_ABS_MAX: tablets count from 0 to this, whatever the size of the screen. */
export const TABLET_AXIS_MAX = 0x7fff;

const KEYS = Array.from({ length: KEY_MICMUTE - KEY_ESC + 1 }, (_, i) => KEY_ESC + i);
const BUTTONS = [BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA, BTN_GEAR_DOWN, BTN_GEAR_UP];
const AXIS: AbsInfo = { min: 0, max: TABLET_AXIS_MAX, fuzz: 0, flat: 0, res: 0 };

/** @param wheelAxis the wheel turns an axis (REL_WHEEL) instead of pressing buttons; not for keyboards */
export function inputModel(kind: InputKind, wheelAxis: boolean): InputModel {
  const wheel = wheelAxis ? [REL_WHEEL] : [];
  const version = wheelAxis ? 2 : 1;
  switch (kind) {
    case 'keyboard':
      return {
        name: 'QEMU Virtio Keyboard',
        product: 1,
        version: 1,
        codes: new Map([
          [EV_KEY, KEYS],
          [EV_REP, []],
          [EV_LED, [LED_NUML, LED_CAPSL, LED_SCROLLL]],
        ]),
        axes: new Map(),
      };
    case 'mouse':
      return {
        name: 'QEMU Virtio Mouse',
        product: 2,
        version,
        codes: new Map([
          [EV_KEY, BUTTONS],
          [EV_REL, [REL_X, REL_Y, ...wheel]],
        ]),
        axes: new Map(),
      };
    case 'tablet':
      return {
        name: 'QEMU Virtio Tablet',
        product: 3,
        version,
        codes: new Map([
          [EV_KEY, [...BUTTONS, BTN_TOUCH]],
          [EV_ABS, [ABS_X, ABS_Y]],
          ...(wheelAxis ? ([[EV_REL, wheel]] as const) : []),
        ]),
        axes: new Map([
          [ABS_X, AXIS],
          [ABS_Y, AXIS],
        ]),
      };
  }
}
