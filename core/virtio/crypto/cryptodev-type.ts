/** The type cryptodev-backend-builtin (QEMU: backends/cryptodev-builtin.c): node:crypto, for a virtio-crypto device. */
import type { TypeInfo } from '../../qom/object.ts';

/** Data queues that a device can have at most. */
export const CRYPTO_QUEUES_MAX = 8;

export interface Cryptodev {
  /** Data queues of the device. */
  readonly queues: number;
}

export const CRYPTODEV_BUILTIN_TYPE: TypeInfo = {
  name: 'cryptodev-backend-builtin',
  parent: 'user-creatable',
  description: 'the cryptography of this program, for virtio-crypto',
  properties: [
    {
      name: 'queues',
      kind: 'u32',
      default: 1,
      min: 1,
      max: CRYPTO_QUEUES_MAX,
      description: 'data queues of the device',
    },
  ],
  realize(object) {
    object.instance = { queues: object.value<number>('queues') } satisfies Cryptodev;
  },
};
