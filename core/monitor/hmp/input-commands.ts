/** HMP: keys and pointers. */
import { MonitorError } from '../errors.ts';
import type { InputButton, InputEvent, MonitorTarget } from '../target.ts';
import { QCODES } from '../../virtio/input/qcodes.ts';
import { takes } from './command.ts';
import type { HmpCommand } from './command.ts';

/** Bits of mouse_button. */
const BUTTON_BITS: readonly (readonly [number, InputButton])[] = [
  [1, 'left'],
  [2, 'right'],
  [4, 'middle'],
];
/** Those that mouse_button has pressed, of each machine. */
const pressed = new WeakMap<MonitorTarget, number>();

/** e.g. "ctrl-alt-f1", "0x1d-a". */
function keysOf(text: string): ({ type: 'qcode'; data: string } | { type: 'number'; data: number })[] {
  return text.split('-').map((name) => {
    const key = name === '<' ? 'less' : name;
    if (/^0x[0-9a-f]+$/i.test(key)) return { type: 'number', data: Number(key) };
    if (!QCODES.has(key)) throw new MonitorError(`invalid parameter: ${name}`);
    return { type: 'qcode', data: key };
  });
}

const number32 = (value: unknown): number => Number(BigInt.asIntN(32, value as bigint));

export const INPUT_COMMANDS: readonly HmpCommand[] = [
  {
    names: ['sendkey'],
    args: [takes('keys', 'string'), takes('hold_ms', 'int', true)],
    params: 'keys [hold_ms]',
    help: "send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)",
    async run({ qmp }, { keys, hold_ms: hold }) {
      await qmp('send-key', {
        keys: keysOf(keys as string),
        ...(hold === undefined ? {} : { 'hold-time': hold as bigint }),
      });
    },
    complete(_target, word) {
      const before = word.slice(0, word.lastIndexOf('-') + 1);
      return [...QCODES.keys()].map((name) => before + name);
    },
  },
  {
    names: ['mouse_move'],
    args: [takes('dx', 'int'), takes('dy', 'int'), takes('dz', 'int', true)],
    params: 'dx dy [dz]',
    help: 'send mouse move events',
    run({ target }, { dx, dy, dz }) {
      const wheel = dz === undefined ? 0 : number32(dz);
      const button = wheel < 0 ? 'wheel-down' : 'wheel-up';
      target.input.send([
        { type: 'rel', axis: 'x', value: number32(dx) },
        { type: 'rel', axis: 'y', value: number32(dy) },
        ...(wheel === 0 ? [] : [true, false].map((down): InputEvent => ({ type: 'btn', button, down }))),
      ]);
    },
  },
  {
    names: ['mouse_button'],
    args: [takes('state', 'int')],
    params: 'state',
    help: 'change mouse button state (1=L, 2=M, 4=R)',
    run({ target }, { state }) {
      const now = number32(state);
      const changed = now ^ (pressed.get(target) ?? 0);
      const events = BUTTON_BITS.filter(([bit]) => (changed & bit) !== 0).map(([bit, button]): InputEvent => ({
        type: 'btn',
        button,
        down: (now & bit) !== 0,
      }));
      target.input.send(events);
      pressed.set(target, now);
    },
  },
];

export const INPUT_INFO: readonly HmpCommand[] = [
  {
    names: ['mice'],
    args: [],
    params: '',
    help: 'show which guest mouse is receiving events',
    run({ target, print }) {
      const { mice } = target.input;
      if (mice.length === 0) return print('No mouse devices connected\n');
      for (const { name, index, current, absolute } of mice) {
        print(`${current ? '*' : ' '} Mouse #${index}: ${name}${absolute ? ' (absolute)' : ''}\n`);
      }
    },
  },
];
