import { createCipheriv } from 'node:crypto';

import { expect } from 'vitest';

import { CryptoDevice } from '../../../core/virtio/crypto/device.ts';
import * as spec from '../../../core/virtio/spec/crypto.ts';
import { CryptoDriver } from '../crypto-driver.ts';
import type { Exercise } from './exercise.ts';

/** A session, data there and back, and the end of the session. */
export const crypto: Exercise = {
  base: 'virtio-crypto',
  legacy: false,
  make: (bench) => ({
    device: new CryptoDevice({ id: 'crypto0' }),
    async work(driver) {
      const guest = new CryptoDriver(driver, bench.allocator);
      const [key, iv, text] = [32, 16, 512].map((length) => Buffer.alloc(length, length));
      const { id, status } = await guest.cipherSession(spec.VIRTIO_CRYPTO_CIPHER_AES_CBC, key);
      expect(status).toBe(spec.VIRTIO_CRYPTO_OK);
      const cipher = createCipheriv('aes-256-cbc', key, iv).setAutoPadding(false);
      const expected = Buffer.concat([cipher.update(text), cipher.final()]);
      for (let i = 0; i < 5; i++) {
        expect((await guest.cipher(true, id, iv, text)).data.equals(expected)).toBe(true);
        expect((await guest.cipher(false, id, iv, expected)).data.equals(text)).toBe(true);
      }
      expect(await guest.destroySession(spec.VIRTIO_CRYPTO_DESTROY_SESSION, id)).toBe(spec.VIRTIO_CRYPTO_OK);
    },
  }),
};
