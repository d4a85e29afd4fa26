/** The type virtio-pmem (QEMU: hw/virtio/virtio-pmem.c). */
import type { FileRegion } from '../../memory/file-region.ts';
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_PMEM } from '../spec/device-ids.ts';
import { PmemDevice } from './device.ts';

export const PMEM_TYPE: VirtioDeviceType = {
  base: 'virtio-pmem',
  virtioId: VIRTIO_ID_PMEM,
  description: 'a file as persistent memory',
  category: 'storage',
  pciClass: 0x00ff,
  transitionalId: null,
  vectors: () => 2,
  properties: [
    {
      name: 'memdev',
      kind: 'link',
      target: 'memory-backend-file',
      default: null,
      required: true,
      description: 'the file',
    },
  ],
  create(id, values, { backend, warn }) {
    return new PmemDevice({ id, region: backend<FileRegion>('object', values['memdev'] as string), warn });
  },
};
