import { createHash } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { MIB } from '../../harness/debian.ts';
import type { Work } from './work.ts';

const SHAPE = { logical_block_size: 4096, physical_block_size: 8192, min_io_size: 16384, opt_io_size: 65536 };

/** What Linux calls them. */
const SYSFS: Record<string, string> = {
  logical_block_size: 'logical_block_size',
  physical_block_size: 'physical_block_size',
  min_io_size: 'minimum_io_size',
  opt_io_size: 'optimal_io_size',
};

/**
 * A file system that is made, filled, checked and read again after its cache is gone; the host has the same bytes. Then its limits,
 * its cache mode, and erasing.
 */
export const blk: Work = {
  name: 'a disk: mkfs, files, fsck, checksums on both sides',
  config({ folder, device }) {
    const file = join(folder, 'disk.raw');
    writeFileSync(file, '');
    truncateSync(file, 64 * MIB);
    return {
      drives: [{ id: 'd0', file, if: 'none' }],
      devices: [device('virtio-blk', 'disk', { drive: 'd0', serial: 'work', 'num-queues': 2, ...SHAPE })],
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
    const of = (names: string[]) => shell.ok(`cd /sys/block/${disk} && echo $(cat ${names.join(' ')})`);
    expect(await of(Object.keys(SHAPE).map((name) => `queue/${SYSFS[name]}`))).toBe(Object.values(SHAPE).join(' '));
    await shell.ok(`echo write through > /sys/block/${disk}/cache_type`);
    expect(await of(['queue/write_cache'])).toBe('write through');
    await shell.ok(`echo write back > /sys/block/${disk}/cache_type`);
    expect(await of(['cache_type'])).toBe('write back');
    for (const how of ['-s', '']) await shell.ok(`blkdiscard ${how} /dev/${disk}`, 60_000);
    expect(readFileSync(join(folder, 'disk.raw')).every((byte) => byte === 0)).toBe(true);
    const { queues } = machine.snapshot().virtio.find(({ id }) => id === 'disk')!;
    expect(queues.reduce((used, { counters }) => used + counters.used, 0)).toBeGreaterThan(50);
  },
};
