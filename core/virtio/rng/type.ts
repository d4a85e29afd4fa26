/** The type virtio-rng (QEMU: hw/virtio/virtio-rng.c). */
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_ENTROPY } from '../spec/device-ids.ts';
import { RngDevice } from './device.ts';
import type { RngSource } from './source.ts';

/** QEMU's: no limit worth the name. */
const NO_LIMIT = 0x7fff_ffff_ffff_ffffn;

export const RNG_TYPE: VirtioDeviceType = {
  base: 'virtio-rng',
  virtioId: VIRTIO_ID_ENTROPY,
  description: 'entropy from the host',
  category: 'misc',
  pciClass: 0x00ff,
  transitionalId: 0x1005,
  vectors: () => 2,
  properties: [
    {
      name: 'rng',
      kind: 'link',
      target: 'rng-backend',
      default: null,
      description: "ID of the -object that gives the entropy; without it this process's generator",
    },
    {
      name: 'max-bytes',
      kind: 'u64',
      default: NO_LIMIT,
      min: 1n,
      unit: 'bytes',
      description: 'bytes in a period at most',
    },
    { name: 'period', kind: 'u32', default: 1 << 16, min: 1, unit: 'ms', description: 'the period, milliseconds' },
  ],
  create(id, values, { backend, warn }) {
    const maxBytes = values['max-bytes'] as bigint;
    const name = values['rng'] as string | null;
    return new RngDevice({
      id,
      warn,
      ...(name === null ? {} : { source: backend<RngSource>('object', name) }),
      ...(maxBytes === NO_LIMIT ? {} : { limit: { maxBytes: Number(maxBytes), period: values['period'] as number } }),
    });
  },
};
