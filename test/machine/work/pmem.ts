import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { MIB } from '../../harness/debian.ts';
import type { Work } from './work.ts';

/** It holds a file system, and the host has what the guest wrote. */
export const pmem: Work = {
  name: 'persistent memory: mkfs, files, fsck, checksums on both sides',
  config: ({ folder, device }) => ({
    objects: [{ type: 'memory-backend-file', id: 'mem0', 'mem-path': join(folder, 'pmem'), size: '64M', share: true }],
    devices: [device('virtio-pmem', 'pmem0', { memdev: 'mem0' })],
  }),
  async work({ shell }, { folder }) {
    expect(Number(await shell.ok('cat /sys/class/block/pmem0/size'))).toBe((64 * MIB) / 512);
    await shell.ok('mkfs.ext4 -q -b 4096 /dev/pmem0 && mkdir -p /mnt/p && mount -t ext4 /dev/pmem0 /mnt/p');
    await shell.ok('dd if=/dev/urandom of=/mnt/p/data bs=1M count=20 && sync');
    await shell.ok('umount /mnt/p && e2fsck -fn /dev/pmem0');
    const sum = await shell.ok("sha256sum /dev/pmem0 | cut -d' ' -f1");
    await shell.ok('blockdev --flushbufs /dev/pmem0; sync');
    const bytes = readFileSync(join(folder, 'pmem'));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(sum);
    expect(bytes.readUInt16LE(1024 + 56)).toBe(0xef53);
    expect(statSync(join(folder, 'pmem')).size).toBe(64 * MIB);
  },
};
