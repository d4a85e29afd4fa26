/** Debian's own drivers on virtio-pci devices: found, bound, and doing real work, by INTx and by MSI-X. */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { debianFiles, MIB, Running, tempFolder } from '../harness/debian.ts';

const debian = await debianFiles();
const folder = tempFolder();
let disks = 0;

function disk(): string {
  const file = join(folder, `disk${disks++}.img`);
  writeFileSync(file, '');
  truncateSync(file, 64 * MIB);
  return file;
}

/** A file system that is made, filled, checked and read again after its cache is gone. */
const FILE_SYSTEM_WORK = [
  'mkfs.ext4 -q /dev/vda',
  'mount /dev/vda /mnt',
  'dd if=/dev/urandom of=/mnt/noise bs=1M count=16 2>/dev/null',
  'sum=$(sha256sum < /mnt/noise)',
  'umount /mnt && fsck.ext4 -fn /dev/vda >/dev/null',
  'echo 3 > /proc/sys/vm/drop_caches',
  'mount /dev/vda /mnt',
  '[ "$sum" = "$(sha256sum < /mnt/noise)" ]',
  'umount /mnt',
].join(' && ');

describe.skipIf('reason' in debian).each([
  ['a PLIC, INTx', 'none', 'disable-legacy', 'auto', 'SiFive PLIC'],
  ['a PLIC, modern devices', 'none', 'disable-legacy', 'on', 'SiFive PLIC'],
  ['an APLIC and IMSICs, MSI-X', 'aplic-imsic', 'disable-legacy', 'on', 'virtio0-req.0'],
] as const)('with %s', (_what, aia, option, value, interrupts) => {
  it('Debian finds the devices and works with them', { timeout: 240_000 }, async () => {
    if ('reason' in debian) return;
    await using running = await Running.boot(debian.files, {
      harts: 2,
      aia,
      rng: false,
      drives: [{ id: 'd0', file: disk(), if: 'none' }],
      devices: [
        { driver: 'virtio-blk-pci', id: 'disk', drive: 'd0', serial: 'on-pci', [option]: value },
        { driver: 'virtio-rng-pci', id: 'entropy', addr: '05', [option]: value },
      ],
    });
    const { shell } = running;
    const list = await shell.ok(
      'cd /sys/bus/pci/devices; for d in *; do echo $d $(cat $d/vendor $d/device) $(basename $(readlink $d/driver) 2>/dev/null); done; cd',
    );
    const [blk, rng] = value === 'on' ? ['0x1042', '0x1044'] : ['0x1001', '0x1005'];
    expect(list.split('\n')).toEqual([
      '0000:00:00.0 0x1b36 0x0008',
      `0000:00:01.0 0x1af4 ${blk} virtio-pci`,
      `0000:00:05.0 0x1af4 ${rng} virtio-pci`,
    ]);
    expect(await shell.ok('cat /sys/block/vda/serial')).toBe('on-pci');
    await shell.ok(FILE_SYSTEM_WORK, 120_000);
    expect(await shell.ok('cat /sys/class/misc/hw_random/rng_current')).toMatch(/^virtio_rng/);
    expect(Number(await shell.ok('dd if=/dev/hwrng bs=1024 count=4 2>/dev/null | wc -c'))).toBe(4096);
    expect(await shell.ok('grep virtio0 /proc/interrupts')).toContain(interrupts);
    const blkSnapshot = running.machine.snapshot().virtio.find(({ id }) => id === 'disk')!;
    expect(blkSnapshot.transport).toMatchObject({ name: 'virtio-pci', version: 1 });
    expect(blkSnapshot.queues[0].counters.used).toBeGreaterThan(50);
    expect(running.messages).toEqual([]);
    await shell.write('reboot -f\n');
    await shell.ready();
    expect(await shell.ok('cat /sys/block/vda/serial')).toBe('on-pci');
    expect((await running.shutDown()).reason).toBe('guest-poweroff');
  });
});
