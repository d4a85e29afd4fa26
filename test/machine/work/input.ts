import { expect } from 'vitest';
import type { InputDevice } from '../../../core/virtio/input/device.ts';
import * as ev from '../../../core/virtio/spec/input.ts';
import { until } from '../../harness/virtio-bench.ts';
import { deviceOf } from './work.ts';
import type { Work } from './work.ts';

const KEY_A = 30;
const LIMIT = 60_000;

/** Keys and pointer come to evdev; lights come from it. */
export const input: Work = {
  name: 'a keyboard and a tablet',
  config: ({ device }) => ({
    devices: [device('virtio-keyboard', 'kbd0', { serial: 'key-7' }), device('virtio-tablet', 'tablet0')],
  }),
  async work(running) {
    const { shell } = running;
    const names = await shell.ok('cat /sys/class/input/event*/device/name');
    expect(names.split('\n').sort()).toEqual(['QEMU Virtio Keyboard', 'QEMU Virtio Tablet']);
    const find = (name: string) =>
      shell.ok(`basename $(dirname $(dirname $(grep -l "${name}" /sys/class/input/event*/device/name)))`);
    const [keyboard, tablet] = [await find('Keyboard'), await find('Tablet')];
    expect(await shell.ok(`cat /sys/class/input/${keyboard}/device/uniq`)).toBe('key-7');
    const [kbd0, tablet0] = ['kbd0', 'tablet0'].map((id) => deviceOf<InputDevice>(running, id));

    /** Type, code and value of the next four events of a device, while `act` goes on. */
    const events = async (from: string, act: () => void): Promise<number[][]> => {
      const opened = `until ls -l /proc/$n/fd | grep -q ${from}; do usleep 1000; done; echo it is op''en`;
      const read = `(dd if=/dev/input/${from} of=/tmp/events bs=24 count=4 2>/dev/null & n=$!; ${opened}; wait $n)`;
      const reading = await shell.begin(`${read} && od -A n -v -t u2 -w24 /tmp/events`);
      await shell.until(/it is open\r*\n/);
      act();
      const { text } = await reading.end();
      return text.split('\n').map((line) => line.trim().split(/\s+/).map(Number).slice(8, 11));
    };
    expect(await events(keyboard, () => kbd0.press(KEY_A))).toEqual([
      [ev.EV_KEY, KEY_A, 1],
      [ev.EV_SYN, 0, 0],
      [ev.EV_KEY, KEY_A, 0],
      [ev.EV_SYN, 0, 0],
    ]);
    const move = () =>
      tablet0.send([
        { type: ev.EV_ABS, code: ev.ABS_X, value: 1234 },
        { type: ev.EV_ABS, code: ev.ABS_Y, value: 0x7fff },
        { type: ev.EV_KEY, code: ev.BTN_LEFT, value: 1 },
      ]);
    expect(await events(tablet, move)).toEqual([
      [ev.EV_ABS, ev.ABS_X, 1234],
      [ev.EV_ABS, ev.ABS_Y, 0x7fff],
      [ev.EV_KEY, ev.BTN_LEFT, 1],
      [ev.EV_SYN, 0, 0],
    ]);
    // A LED is switched by an event written to the device: a timeval, then type, code and value.
    const led = `\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\x11\\0\\x01\\0\\x01\\0\\0\\0`;
    await shell.ok(`printf '${led}' >/dev/input/${keyboard}`);
    await until(() => kbd0.leds.has(ev.LED_CAPSL), 'the LED', LIMIT);
  },
};
