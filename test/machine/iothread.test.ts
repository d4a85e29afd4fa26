/** Devices of one guest on I/O workers of their own. */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { GuestFiles } from '../../main/guests/index.ts';
import { MIB, Running, debianFiles, tempFolder } from '../harness/debian.ts';

const BOOT_MS = 120_000;
const debian = await debianFiles();
const folder = tempFolder();
let files: GuestFiles;

beforeEach((context) => {
  if ('reason' in debian) return context.skip(debian.reason);
  files = debian.files;
});

function image(name: string): string {
  const file = join(folder, name);
  writeFileSync(file, '');
  truncateSync(file, 32 * MIB);
  return file;
}

test(
  'two disks, one with a worker for each queue and one that shares one of them, copied at the same time',
  { timeout: 2 * BOOT_MS },
  async () => {
    const drives = ['a', 'b'].map((id) => ({ id, file: image(`${id}.raw`), if: 'none' as const }));
    await using guest = await Running.boot(files, {
      harts: 2,
      drives,
      objects: [
        { type: 'iothread', id: 'io0' },
        { type: 'iothread', id: 'io1' },
      ],
      devices: [
        {
          driver: 'virtio-blk-device',
          id: 'disk0',
          drive: 'a',
          serial: 'A',
          'iothread-vq-mapping': [{ iothread: 'io0' }, { iothread: 'io1' }],
          'num-queues': 2,
        },
        { driver: 'virtio-blk-device', id: 'disk1', drive: 'b', serial: 'B', iothread: 'io1', packed: 'on' },
      ],
    });
    const { machine, shell } = guest;
    expect(machine.qom.get('/machine/peripheral/disk1').get('iothread')).toBe('io1');
    expect(machine.qom.get('/machine/peripheral/disk0').get('iothread-vq-mapping')).toEqual([
      { iothread: 'io0' },
      { iothread: 'io1' },
    ]);
    // The first device has the highest slot, which Linux finds first.
    const shown = 'echo $(cat /sys/block/vda/serial) $(cat /sys/block/vdb/serial) $(ls /sys/block/vda/mq)';
    expect(await shell.ok(shown)).toBe('A B 0 1');

    await shell.ok('dd if=/dev/urandom of=/tmp/data bs=1M count=16');
    await shell.ok('for d in vda vdb; do dd if=/tmp/data of=/dev/$d bs=64k conv=fsync & done; wait');
    await shell.ok('echo 3 > /proc/sys/vm/drop_caches');
    await shell.ok('for d in vda vdb; do dd if=/dev/$d bs=64k count=256 | cmp - /tmp/data || exit 1; done');

    for (const hart of ['1', '2'])
      await shell.ok(`taskset ${hart} dd if=/dev/vda of=/dev/null bs=4k count=64 iflag=direct`);
    const { queues } = machine.snapshot().virtio.find(({ id }) => id === 'disk0')!;
    for (const { counters } of queues) expect(counters.used).toBeGreaterThan(0);
    for (const id of ['io0', 'io1'])
      await expect(machine.objectDel('object', id)).rejects.toMatchObject({ kind: 'in-use' });
    await machine.pause();
    await machine.resume();
    await shell.ok('dd if=/dev/vdb bs=1M count=16 | cmp - /tmp/data');
    expect(await guest.shutDown()).toEqual({ reason: 'guest-poweroff', code: 0 });
    expect(guest.messages).toEqual([]);
  },
);
