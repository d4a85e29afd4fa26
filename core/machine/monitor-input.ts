/** Keyboards, mice and tablets, as the monitor gives them events (QEMU: ui/input.c, hw/input/virtio-input-hid.c). */
import { noHandler } from '../monitor/errors.ts';
import type { InputButton, InputControl, InputEvent, MouseInfo } from '../monitor/target.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { InputDevice } from '../virtio/input/device.ts';
import type { InputEvent as EvdevEvent } from '../virtio/input/device.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import * as spec from '../virtio/spec/input.ts';
import { STATUS_DRIVER_OK } from '../virtio/spec/status.ts';

const BUTTONS: Partial<Record<InputButton, number>> = {
  left: spec.BTN_LEFT,
  right: spec.BTN_RIGHT,
  middle: spec.BTN_MIDDLE,
  side: spec.BTN_SIDE,
  extra: spec.BTN_EXTRA,
  touch: spec.BTN_TOUCH,
  // Where the wheel presses buttons.
  'wheel-up': spec.BTN_GEAR_UP,
  'wheel-down': spec.BTN_GEAR_DOWN,
};
/** Where it turns an axis. */
const WHEEL: Partial<Record<InputButton, number>> = { 'wheel-up': 1, 'wheel-down': -1 };

/** @param running whether the machine is */
export function inputControl(tree: ObjectTree, running: () => boolean): InputControl {
  return {
    get mice(): MouseInfo[] {
      const pointers = inputDevices(tree).filter(({ kind }) => kind !== 'keyboard');
      return pointers.map((device, place) => ({
        name: device.name,
        index: pointers.length - place,
        current: place === 0,
        absolute: device.kind === 'tablet',
      }));
    },
    accepts: (event) => place(inputDevices(tree), event) !== null,
    send(events) {
      const devices = inputDevices(tree);
      const wanted = new Map<InputDevice, EvdevEvent[]>();
      for (const event of events) {
        const found = place(devices, event);
        if (found === null) throw noHandler(event.type);
        const [device, evdev] = found;
        wanted.set(device, [...(wanted.get(device) ?? []), ...evdev]);
      }
      if (running()) for (const [device, evdev] of wanted) device.send(evdev);
    },
  };
}

/** Those that a driver has before the others, the newest first. */
function inputDevices(tree: ObjectTree): InputDevice[] {
  const found: { device: InputDevice; driven: boolean }[] = [];
  const objects = [...tree.root.walk()].filter(({ type }) => type.isA('virtio-device'));
  for (const object of objects.sort((a, b) => b.order - a.order)) {
    const instance = virtioInstance(object);
    if (!(instance?.device instanceof InputDevice)) continue;
    found.push({ device: instance.device, driven: (instance.plug.transport.status & STATUS_DRIVER_OK) !== 0 });
  }
  return [...found.filter(({ driven }) => driven), ...found.filter(({ driven }) => !driven)].map(
    ({ device }) => device,
  );
}

/** The device that gets an event, and what the event is there: nothing for the release of a wheel that is an axis. */
function place(devices: readonly InputDevice[], event: InputEvent): [InputDevice, EvdevEvent[]] | null {
  for (const device of devices) {
    const evdev = translate(device, event);
    if (evdev !== null) return [device, evdev];
  }
  return null;
}

function translate(device: InputDevice, event: InputEvent): EvdevEvent[] | null {
  const one = (type: number, code: number | undefined, value: number): EvdevEvent[] | null =>
    code !== undefined && device.has(type, code) ? [{ type, code, value }] : null;
  switch (event.type) {
    case 'key':
      return one(spec.EV_KEY, event.key, Number(event.down));
    case 'btn': {
      const turn = WHEEL[event.button];
      if (turn !== undefined && device.has(spec.EV_REL, spec.REL_WHEEL)) {
        return event.down ? one(spec.EV_REL, spec.REL_WHEEL, turn) : [];
      }
      return one(spec.EV_KEY, BUTTONS[event.button], Number(event.down));
    }
    case 'rel':
      return one(spec.EV_REL, event.axis === 'x' ? spec.REL_X : spec.REL_Y, event.value);
    case 'abs':
      return one(spec.EV_ABS, event.axis === 'x' ? spec.ABS_X : spec.ABS_Y, event.value);
  }
}
