/** Keys and pointers (qapi/ui.json). */
import { keyOfScancode, QCODES } from '../../virtio/input/qcodes.ts';
import { deviceNotFound, MonitorError, noHandler } from '../errors.ts';
import { bool, i64, list, nothing, object, oneOf, optional, str, union } from '../schema.ts';
import { INPUT_BUTTONS } from '../target.ts';
import type { InputEvent, MonitorTarget } from '../target.ts';
import type { Infer } from '../schema.ts';
import { action, query } from './command.ts';

const qcode = oneOf('QKeyCode', ['unmapped', ...QCODES.keys()]);
const keyValue = union('KeyValue', 'type', {
  number: object('KeyValueNumber', { data: i64 }),
  qcode: object('KeyValueQcode', { data: qcode }),
});
const axis = oneOf('InputAxis', ['x', 'y']);
const moveData = object('InputMoveEvent', { axis, value: i64 });
const inputEvent = union('InputEvent', 'type', {
  key: object('InputKeyEventWrapper', { data: object('InputKeyEvent', { key: keyValue, down: bool }) }),
  btn: object('InputBtnEventWrapper', {
    data: object('InputBtnEvent', { button: oneOf('InputButton', INPUT_BUTTONS), down: bool }),
  }),
  rel: object('InputRelEventWrapper', { data: moveData }),
  abs: object('InputAbsEventWrapper', { data: moveData }),
});

/** QEMU's, ms. */
const HOLD_TIME = 100;
const HOLD_TIME_MAX = 60_000;
/** Groups of keys that wait; QEMU's queue has as many events. */
const WAITING_MAX = 1024;
/** QEMU's ranges of what moves: 32 bits; QEMU: INPUT_EVENT_ABS_MAX. */
const REL_MAX = 2 ** 31 - 1;
const ABS_MAX = 0x7fff;

/** KEY_*. @throws MonitorError */
function keyNumber(value: Infer<typeof keyValue>): number {
  const key = value.type === 'qcode' ? QCODES.get(value.data) : keyOfScancode(Number(value.data));
  if (key === undefined || key === null) throw new MonitorError(`there is no key ${String(value.data)}`);
  return key;
}

function moved(type: 'rel' | 'abs', { axis: along, value }: Infer<typeof moveData>): InputEvent {
  const [min, max] = type === 'rel' ? [-REL_MAX - 1, REL_MAX] : [0, ABS_MAX];
  if (value < min || value > max) {
    throw new MonitorError(`Parameter 'value' expects a value between ${min} and ${max}`);
  }
  return { type, axis: along, value: Number(value) };
}

function eventOf(event: Infer<typeof inputEvent>): InputEvent {
  switch (event.type) {
    case 'key':
      return { type: 'key', key: keyNumber(event.data.key), down: event.data.down };
    case 'btn':
      return { type: 'btn', button: event.data.button, down: event.data.down };
    case 'rel':
    case 'abs':
      return moved(event.type, event.data);
  }
}

/** Keys of each machine that are yet to be pressed or released: how many groups, and the end of the last. */
const pressing = new WeakMap<MonitorTarget, { waiting: number; last: Promise<void> }>();

/**
 * Presses them in their order, and releases them in the other after the time, behind those that came before.
 *
 * @throws MonitorError when there is no keyboard for them, or too many wait
 */
function press(target: MonitorTarget, keys: readonly number[], holdTime: number): void {
  const down = keys.map((key): InputEvent => ({ type: 'key', key, down: true }));
  const up = keys.toReversed().map((key): InputEvent => ({ type: 'key', key, down: false }));
  if (down.some((event) => !target.input.accepts(event))) throw noHandler('key');
  const queue = pressing.get(target) ?? { waiting: 0, last: Promise.resolve() };
  if (queue.waiting >= WAITING_MAX) throw new MonitorError('Too many keys are yet to be pressed: wait');
  pressing.set(target, queue);
  // A keyboard may go away meanwhile.
  const give = (event: InputEvent): void => {
    if (target.input.accepts(event)) target.input.send([event]);
  };
  queue.waiting++;
  queue.last = queue.last.then(async () => {
    down.forEach(give);
    await new Promise<void>((resolve) => void setTimeout(resolve, holdTime).unref());
    up.forEach(give);
    queue.waiting--;
  });
}

export const INPUT_COMMANDS = [
  action('send-key', {
    help: 'presses keys of the keyboard together, and releases them',
    args: object('send-key-arg', { keys: list(keyValue), 'hold-time': optional(i64) }),
    run({ target }, { keys, 'hold-time': holdTime = HOLD_TIME }) {
      const numbers = keys.map(keyNumber);
      if (holdTime < 0 || holdTime > HOLD_TIME_MAX) {
        throw new MonitorError(`Parameter 'hold-time' expects a value between 0 and ${HOLD_TIME_MAX}`);
      }
      press(target, numbers, Number(holdTime));
    },
  }),
  action('input-send-event', {
    help: 'gives events to the keyboard, mouse or tablet',
    args: object('input-send-event-arg', {
      device: optional(str),
      head: optional(i64),
      events: list(inputEvent),
    }),
    run({ target }, { device, events }) {
      // The display that they are for: there is none.
      if (device !== undefined) throw deviceNotFound(device);
      target.input.send(events.map(eventOf));
    },
  }),
  query('query-mice', {
    help: 'mice and tablets',
    args: nothing,
    returns: list(object('MouseInfo', { name: str, index: i64, current: bool, absolute: bool })),
    run: ({ target }) =>
      target.input.mice.map(({ name, index, current, absolute }) => ({ name, index, current, absolute })),
  }),
];
