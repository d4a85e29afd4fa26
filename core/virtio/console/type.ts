/** The type virtio-serial (QEMU: hw/char/virtio-serial-bus.c), and what goes on its bus. */
import type { Chardev } from '../../chardev/chardev.ts';
import { RingsideError } from '../../errors.ts';
import type { TypeInfo } from '../../qom/object.ts';
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_CONSOLE } from '../spec/device-ids.ts';
import { ConsoleDevice } from './device.ts';

export const CONSOLE_TYPE: VirtioDeviceType = {
  base: 'virtio-serial',
  virtioId: VIRTIO_ID_CONSOLE,
  description: 'a console controller, with a bus for one virtconsole',
  category: 'input',
  pciClass: 0x0780,
  transitionalId: 0x1003,
  vectors: () => 2,
  bus: 'virtio-serial-bus',
  properties: [
    { name: 'emergency-write', kind: 'bit', default: true, description: 'output of a character at any time' },
  ],
  create(id, values) {
    return new ConsoleDevice({ id, emergencyWrite: values['emergency-write'] as boolean });
  },
};

export const SERIAL_BUS_TYPES: readonly TypeInfo[] = [
  { name: 'virtio-serial-bus', parent: 'bus', internal: true },
  {
    name: 'virtconsole',
    parent: 'device',
    bus: 'virtio-serial-bus',
    category: 'input',
    description: 'a console, hvc0 in the guest',
    properties: [
      {
        name: 'chardev',
        kind: 'link',
        target: 'chardev',
        default: null,
        description: 'ID of the -chardev that it is connected to; without it output is dropped',
      },
    ],
    async realize(object, environment) {
      const { bus } = object;
      if (bus!.devices.length > 1) {
        throw new RingsideError('bad-option', `bus ${bus!.name} has a console already, and room for one`);
      }
      const controller = bus!.instance as ConsoleDevice;
      const id = object.value<string | null>('chardev');
      await controller.connect(id === null ? null : environment.backend<Chardev>(object, 'chardev', id));
      // A worker that is gone has let go by itself.
      object.onClose(() => controller.connect(null).catch(() => {}));
    },
  },
];
