import { createHash } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { MIB } from '../../harness/debian.ts';
import type { Work } from './work.ts';

/** A file system that is made, filled, checked and read again after its cache is gone; the host has the same bytes. */
export const blk: Work = {
  name: 'a disk: mkfs, files, fsck, checksums on both sides',
  config({ folder, device }) {
    const file = join(folder, 'disk.raw');
    writeFileSync(file, '');
    truncateSync(file, 64 * MIB);
    return {
      drives: [{ id: 'd0', file, if: 'none' }],
      devices: [device('virtio-blk', 'disk', { drive: 'd0', serial: 'work', 'num-queues': 2 })],
    };
  },
  async work({ shell, machine }, { folder }) {
    const disk = await shell.ok("basename $(dirname $(grep -l '^work$' /sys/block/vd*/serial))");
    expect(await shell.ok(`echo $(ls /sys/block/${disk}/mq)`)).toBe('0 1');
    const file = [
      `mkfs.ext4 -q /dev/${disk}`,
      `mount /dev/${disk} /mnt`,
      'dd if=/dev/urandom of=/mnt/noise bs=1M count=16 2>/dev/null',
      'sum=$(sha256sum < /mnt/noise)',
      `umount /mnt && fsck.ext4 -fn /dev/${disk} >/dev/null`,
      'echo 3 > /proc/sys/vm/drop_caches',
      `mount /dev/${disk} /mnt`,
      '[ "$sum" = "$(sha256sum < /mnt/noise)" ]',
      'umount /mnt',
    ];
    await shell.ok(file.join(' && '), 120_000);
    const [sum] = (await shell.ok(`sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum < /dev/${disk}`)).split(' ');
    expect(
      createHash('sha256')
        .update(readFileSync(join(folder, 'disk.raw')))
        .digest('hex'),
    ).toBe(sum);
    const { queues } = machine.snapshot().virtio.find(({ id }) => id === 'disk')!;
    expect(queues.reduce((used, { counters }) => used + counters.used, 0)).toBeGreaterThan(50);
  },
};
