/** The type virtio-crypto (QEMU: hw/virtio/virtio-crypto.c). */
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_CRYPTO } from '../spec/device-ids.ts';
import type { Cryptodev } from './cryptodev-type.ts';
import { CryptoDevice } from './device.ts';

export const CRYPTO_TYPE: VirtioDeviceType = {
  base: 'virtio-crypto',
  virtioId: VIRTIO_ID_CRYPTO,
  description: 'ciphers, hashes and RSA of the host',
  category: 'misc',
  pciClass: 0x00ff,
  transitionalId: null,
  vectors: () => 2,
  properties: [
    {
      name: 'cryptodev',
      kind: 'link',
      target: 'cryptodev-backend-builtin',
      default: null,
      required: true,
      description: 'what does the work',
    },
  ],
  create(id, values, { backend }) {
    const { queues } = backend<Cryptodev>('object', values['cryptodev'] as string);
    return new CryptoDevice({ id, dataQueues: queues });
  },
};
