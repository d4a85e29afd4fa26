/** The types virtio-serial, virtconsole and virtserialport (QEMU: hw/char/virtio-serial-bus.c, virtio-console.c). */
import type { Chardev } from '../../chardev/chardev.ts';
import type { TypeInfo } from '../../qom/object.ts';
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_CONSOLE } from '../spec/device-ids.ts';
import { ConsoleDevice, SERIAL_PORTS_MAX } from './device.ts';

const BUS = 'virtio-serial-bus';
/** `nr` that was not said: QEMU's. */
const NR_AUTO = 0xffff_ffff;

export const CONSOLE_TYPE: VirtioDeviceType = {
  base: 'virtio-serial',
  virtioId: VIRTIO_ID_CONSOLE,
  description: 'a bus of consoles and ports',
  category: 'input',
  pciClass: 0x0780,
  transitionalId: 0x1003,
  bus: BUS,
  vectors: (queues) => (queues > 2 ? SERIAL_PORTS_MAX + 1 : 2),
  properties: [
    {
      name: 'max_ports',
      kind: 'u32',
      default: SERIAL_PORTS_MAX,
      min: 1,
      max: SERIAL_PORTS_MAX,
      description: 'ports that it can have, port 0 included; 1: no other',
    },
    { name: 'emergency-write', kind: 'bit', default: true, description: 'output of a character at any time' },
  ],
  create(id, values) {
    return new ConsoleDevice({
      id,
      maxPorts: values['max_ports'] as number,
      emergencyWrite: values['emergency-write'] as boolean,
    });
  },
};

function portType(name: string, isConsole: boolean, description: string): TypeInfo {
  return {
    name,
    parent: 'virtio-serial-port',
    category: 'input',
    description,
    async realize(object, environment) {
      const id = object.value<string | null>('chardev');
      const chardev = id === null ? null : environment.backend<Chardev>(object, 'chardev', id);
      const nr = object.value<number>('nr');
      const port = await (object.bus!.instance as ConsoleDevice).addPort({
        ...(nr === NR_AUTO ? {} : { nr }),
        isConsole,
        name: object.value<string | null>('name') ?? '',
        chardev,
      });
      object.assign('nr', port.nr);
      // A worker that is gone has let go by itself.
      object.onClose(() => port.remove().catch(() => {}));
      object.instance = port;
    },
  };
}

/** Base types first. */
export const SERIAL_BUS_TYPES: readonly TypeInfo[] = [
  { name: BUS, parent: 'bus', internal: true },
  {
    name: 'virtio-serial-port',
    parent: 'device',
    abstract: true,
    bus: BUS,
    properties: [
      {
        name: 'chardev',
        kind: 'link',
        target: 'chardev',
        default: null,
        description: 'ID of the -chardev that it is connected to; without it output is dropped',
      },
      { name: 'nr', kind: 'u32', default: NR_AUTO, description: 'number of the port; by default the first free one' },
      { name: 'name', kind: 'string', default: null, maxBytes: 255, description: 'its name in /dev/virtio-ports' },
    ],
  },
  portType('virtconsole', true, 'a console (hvc0) on a virtio-serial device'),
  portType('virtserialport', false, 'a port on a virtio-serial device'),
];
