import { expect } from 'vitest';
import type { Work } from './work.ts';

/** It is the source of /dev/hwrng, and no two reads are alike. */
export const rng: Work = {
  name: 'entropy',
  config: ({ device }) => ({ devices: [device('virtio-rng', 'entropy')] }),
  async work({ shell }) {
    expect(await shell.ok('cat /sys/class/misc/hw_random/rng_current')).toMatch(/^virtio_rng/);
    const read = 'dd if=/dev/hwrng bs=4096 count=1 iflag=fullblock 2>/dev/null | sha256sum';
    const sums = (await shell.ok(`for i in 1 2 3; do ${read}; done`)).split('\n');
    expect(new Set(sums).size).toBe(3);
  },
};
