/** The type virtio-balloon (QEMU: hw/virtio/virtio-balloon.c). */
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_BALLOON } from '../spec/device-ids.ts';
import { BalloonDevice } from './device.ts';

export const BALLOON_TYPE: VirtioDeviceType = {
  base: 'virtio-balloon',
  virtioId: VIRTIO_ID_BALLOON,
  description: 'takes memory from the guest and gives it back',
  category: 'misc',
  pciClass: 0x00ff,
  transitionalId: 0x1002,
  vectors: () => 0,
  properties: [
    { name: 'deflate-on-oom', kind: 'bit', default: false, description: 'deflate when the guest runs out of memory' },
    { name: 'free-page-hint', kind: 'bit', default: false, description: 'the guest can be asked for its free pages' },
    { name: 'free-page-reporting', kind: 'bit', default: false, description: 'the guest gives free pages to the host' },
    { name: 'page-poison', kind: 'bit', default: true, description: 'the guest says what it fills free pages with' },
  ],
  create(id, values, { memory, warn }) {
    return new BalloonDevice({
      id,
      ramSize: memory.ramSize,
      deflateOnOom: values['deflate-on-oom'] as boolean,
      freePageHint: values['free-page-hint'] as boolean,
      freePageReporting: values['free-page-reporting'] as boolean,
      pagePoison: values['page-poison'] as boolean,
      warn,
    });
  },
};
