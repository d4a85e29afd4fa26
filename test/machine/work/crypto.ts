import { createCipheriv } from 'node:crypto';
import { expect } from 'vitest';
import { noPrograms } from '../../harness/guest-programs.ts';
import type { Work } from './work.ts';

/** The kernel's self-tests, and a program's data. */
export const crypto: Work = {
  name: 'cryptography: self-tests of the kernel, data of a program',
  config: ({ device }) => ({
    objects: [{ type: 'cryptodev-backend-builtin', id: 'crypt0', queues: 2 }],
    devices: [device('virtio-crypto', 'crypto0', { cryptodev: 'crypt0' })],
  }),
  async work({ shell }) {
    const tested = (driver: string) =>
      `grep -A 4 '^driver *: ${driver}$' /proc/crypto | grep -A 3 'module *: virtio_crypto' | grep -q 'selftest *: passed'`;
    for (const driver of ['virtio_crypto_aes_cbc', 'virtio-crypto-rsa']) {
      await shell.ok(
        `n=0; until ${tested(driver)}; do n=$((n+1)); [ $n -lt 50 ] || break; sleep 1; done; ${tested(driver)}`,
      );
    }
    expect(await shell.ok('dmesg')).not.toMatch(/alg: .*virtio.*(failed|wrong)/i);
    if (noPrograms !== null) return;
    await shell.ok('modprobe algif_skcipher');
    const text = await shell.ok('/programs/alg-encrypt >/tmp/out && base64 /tmp/out | tr -d "\\n"');
    const expected = [0, 1, 2].map((round) => {
      const cipher = createCipheriv('aes-256-cbc', Buffer.alloc(32, 7), Buffer.alloc(16, 9)).setAutoPadding(false);
      return Buffer.concat([cipher.update(Buffer.alloc(4096, round)), cipher.final()]);
    });
    expect(Buffer.from(text, 'base64').equals(Buffer.concat(expected))).toBe(true);
  },
};
