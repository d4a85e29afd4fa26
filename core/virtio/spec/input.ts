/** Input device (virtio 1.3, section 5.8), and what it takes from Linux's evdev interface (input-event-codes.h). */

// Virtqueues (section 5.8.2).
export const INPUT_EVENTQ = 0;
export const INPUT_STATUSQ = 1;

// struct virtio_input_config (section 5.8.4): offsets.
export const INPUT_CONFIG_SELECT = 0;
export const INPUT_CONFIG_SUBSEL = 1;
export const INPUT_CONFIG_SIZE = 2;
/** The union of string, bitmap, absinfo and devids. */
export const INPUT_CONFIG_UNION = 8;
export const INPUT_CONFIG_UNION_BYTES = 128;
export const INPUT_CONFIG_BYTES = INPUT_CONFIG_UNION + INPUT_CONFIG_UNION_BYTES;

// enum virtio_input_config_select.
export const VIRTIO_INPUT_CFG_UNSET = 0x00;
export const VIRTIO_INPUT_CFG_ID_NAME = 0x01;
export const VIRTIO_INPUT_CFG_ID_SERIAL = 0x02;
export const VIRTIO_INPUT_CFG_ID_DEVIDS = 0x03;
export const VIRTIO_INPUT_CFG_PROP_BITS = 0x10;
export const VIRTIO_INPUT_CFG_EV_BITS = 0x11;
export const VIRTIO_INPUT_CFG_ABS_INFO = 0x12;

/** struct virtio_input_event: le16 type, le16 code, le32 value (section 5.8.6). */
export const INPUT_EVENT_SIZE = 8;
export const INPUT_EVENT_TYPE = 0;
export const INPUT_EVENT_CODE = 2;
export const INPUT_EVENT_VALUE = 4;

// Event types.
export const EV_SYN = 0x00;
export const EV_KEY = 0x01;
export const EV_REL = 0x02;
export const EV_ABS = 0x03;
export const EV_LED = 0x11;
export const EV_SND = 0x12;
export const EV_REP = 0x14;

export const SYN_REPORT = 0;

// Keys and buttons that are named somewhere; the others go by number.
export const KEY_ESC = 1;
export const KEY_MICMUTE = 248;
export const BTN_LEFT = 0x110;
export const BTN_RIGHT = 0x111;
export const BTN_MIDDLE = 0x112;
export const BTN_SIDE = 0x113;
export const BTN_EXTRA = 0x114;
export const BTN_TOUCH = 0x14a;
export const BTN_GEAR_DOWN = 0x150;
export const BTN_GEAR_UP = 0x151;

export const REL_X = 0x00;
export const REL_Y = 0x01;
export const REL_WHEEL = 0x08;

export const ABS_X = 0x00;
export const ABS_Y = 0x01;

export const LED_NUML = 0x00;
export const LED_CAPSL = 0x01;
export const LED_SCROLLL = 0x02;

export const BUS_VIRTUAL = 0x06;
