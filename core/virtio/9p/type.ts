/** The type virtio-9p (QEMU: hw/9pfs/virtio-9p-device.c). */
import { RingsideError } from '../../errors.ts';
import type { OpenSharedFolder } from '../../hostfs/open.ts';
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_9P } from '../spec/device-ids.ts';
import { P9Device } from './device.ts';

export const P9_TYPE: VirtioDeviceType = {
  base: 'virtio-9p',
  virtioId: VIRTIO_ID_9P,
  description: 'a folder of the host, by the 9P protocol',
  category: 'storage',
  pciClass: 0x0002,
  transitionalId: 0x1009,
  vectors: () => 2,
  properties: [
    { name: 'fsdev', kind: 'link', target: 'fsdev', default: null, required: true, description: 'the folder' },
    {
      name: 'mount_tag',
      kind: 'string',
      default: null,
      maxBytes: 32,
      required: true,
      description: 'name by which the guest mounts it',
    },
  ],
  create(id, values, context) {
    if (values['mount_tag'] === null) {
      throw new RingsideError('bad-option', 'mount_tag=NAME is needed: the name by which the guest mounts it');
    }
    return new P9Device({
      id,
      mountTag: values['mount_tag'] as string,
      folder: context.backend<OpenSharedFolder>('fsdev', values['fsdev'] as string).handle,
      warn: (message) => context.warn(message),
    });
  },
};
