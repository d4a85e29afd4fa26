/** Keys and pointers by way of the monitor (qapi/ui.json). */
import { expect, it } from 'vitest';
import { QCODES } from '../../core/virtio/input/qcodes.ts';
import type { InputEvent } from '../../core/monitor/target.ts';
import { DoubleTarget, execute, hmp, qmpClient } from './client.ts';

const key = (name: string, down: boolean): InputEvent => ({ type: 'key', key: QCODES.get(name)!, down });
const pressed = (...names: string[]): InputEvent[] => [
  ...names.map((name) => key(name, true)),
  ...names.toReversed().map((name) => key(name, false)),
];
const error = (desc: string, errorClass = 'GenericError'): unknown => ({ error: { class: errorClass, desc } });

it('knows keys by the names of QEMU and the numbers of Linux', () => {
  const numbers = { esc: 1, a: 30, shift: 42, spc: 57, f10: 68, kp_decimal: 83, f11: 87, kp_enter: 96, delete: 111 };
  for (const [name, number] of Object.entries({ ...numbers, f13: 183, f24: 194, mediaselect: 226 })) {
    expect([name, QCODES.get(name)]).toEqual([name, number]);
  }
  // QEMU 7.2's, without "unmapped"; and F13 to F24, which are in later ones.
  expect(QCODES.size).toBe(149 + 12);
});

it('send-key presses keys together, one group after the other', async () => {
  const target = new DoubleTarget();
  const client = await qmpClient(target);
  const keys = ['ctrl', 'alt', 'f1'].map((data) => ({ type: 'qcode', data }));
  expect(await execute(client, 'send-key', { keys, 'hold-time': 1 })).toEqual({});
  // Right Ctrl, whose scancode has 0xe0 before it.
  expect(await execute(client, 'send-key', { keys: [{ type: 'number', data: 0x9d }], 'hold-time': 0 })).toEqual({});
  await expect.poll(() => target.typed.length).toBe(8);
  expect(target.typed).toEqual([...pressed('ctrl', 'alt', 'f1'), ...pressed('ctrl_r')]);
});

it('sendkey does the same in HMP', async () => {
  const target = new DoubleTarget();
  expect(await hmp(target, 'sendkey ctrl-< 1', 'sendkey 0x1e 1')).toBe('');
  await expect.poll(() => target.typed.length).toBe(6);
  expect(target.typed).toEqual([...pressed('ctrl', 'less'), ...pressed('a')]);
  expect(await hmp(target, 'sendkey nokey')).toBe('Error: invalid parameter: nokey\n');
});

it('input-send-event gives events as they come', async () => {
  const target = new DoubleTarget();
  const client = await qmpClient(target);
  const events = [
    { type: 'abs', data: { axis: 'x', value: 0x7fff } },
    { type: 'btn', data: { button: 'left', down: true } },
    { type: 'key', data: { key: { type: 'qcode', data: 'ret' }, down: true } },
  ];
  expect(await execute(client, 'input-send-event', { events })).toEqual({});
  expect(target.typed).toEqual([
    { type: 'abs', axis: 'x', value: 0x7fff },
    { type: 'btn', button: 'left', down: true },
    key('ret', true),
  ]);
});

it.each([
  ['send-key', { keys: [{ type: 'qcode', data: 'nokey' }] }, "Parameter 'keys[0].data' does not accept value 'nokey'"],
  ['send-key', { keys: [{ type: 'qcode' }] }, "Parameter 'keys[0].data' is missing"],
  ['send-key', { keys: [{ type: 'qcode', data: 'a', down: true }] }, "Parameter 'keys[0].down' is unexpected"],
  ['send-key', { keys: [{ type: 'number', data: 0 }] }, 'there is no key 0'],
  ['send-key', { keys: [{ type: 'number', data: 2 ** 40 }] }, 'there is no key 1099511627776'],
  ['send-key', { keys: [], 'hold-time': -1 }, "Parameter 'hold-time' expects a value between 0 and 60000"],
  [
    'input-send-event',
    { events: [{ type: 'mtt', data: {} }] },
    "Parameter 'events[0].type' does not accept value 'mtt'",
  ],
  [
    'input-send-event',
    { events: [{ type: 'abs', data: { axis: 'x', value: 0x8000 } }] },
    "Parameter 'value' expects a value between 0 and 32767",
  ],
  // The double has no mouse; QEMU says the same.
  [
    'input-send-event',
    { events: [{ type: 'rel', data: { axis: 'x', value: 1 } }] },
    'Input handler not found for event type rel',
  ],
])('%s %j is refused', async (command, args, message) => {
  const target = new DoubleTarget();
  expect(await execute(await qmpClient(target), command, args)).toEqual(error(message));
  expect(target.typed).toEqual([]);
});

it('events are for no display', async () => {
  const client = await qmpClient(new DoubleTarget());
  const message = error("Device 'gpu0' not found", 'DeviceNotFound');
  expect(await execute(client, 'input-send-event', { device: 'gpu0', events: [] })).toEqual(message);
});

it('keys do not pile up without an end', async () => {
  const target = new DoubleTarget();
  const client = await qmpClient(target);
  const keys = [{ type: 'qcode', data: 'a' }];
  for (let i = 0; i < 1024; i++) await execute(client, 'send-key', { keys, 'hold-time': 60_000 });
  expect(await execute(client, 'send-key', { keys })).toEqual(error('Too many keys are yet to be pressed: wait'));
});

it('mice are listed, moved and clicked', async () => {
  const target = new DoubleTarget();
  expect(await hmp(target, 'info mice')).toBe('* Mouse #2: QEMU Virtio Tablet (absolute)\n');
  expect(await hmp(target, 'mouse_button 5', 'mouse_button 4', 'mouse_button 0')).toBe('');
  expect(target.typed.map((event) => 'button' in event && [event.button, event.down])).toEqual([
    ['left', true],
    ['middle', true],
    ['left', false],
    ['middle', false],
  ]);
  expect(await hmp(target, 'mouse_move 3 4')).toBe('Error: Input handler not found for event type rel\n');
});
