/** The type virtio-serial (QEMU: hw/char/virtio-serial-bus.c), with one port, which is a console. */
import type { Chardev } from '../../chardev/chardev.ts';
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_CONSOLE } from '../spec/device-ids.ts';
import { ConsoleDevice } from './device.ts';

export const CONSOLE_TYPE: VirtioDeviceType = {
  base: 'virtio-serial',
  virtioId: VIRTIO_ID_CONSOLE,
  description: 'a console',
  category: 'input',
  pciClass: 0x0780,
  transitionalId: 0x1003,
  vectors: () => 2,
  properties: [
    {
      name: 'chardev',
      kind: 'link',
      target: 'chardev',
      default: null,
      required: true,
      description: 'ID of the -chardev that it is connected to',
    },
  ],
  create(id, values, context) {
    return new ConsoleDevice({ id, chardev: context.backend<Chardev>('chardev', values.chardev as string) });
  },
};
