/**
 * Devices that come and go behind root ports in a running Debian. Its kernel has no driver for slots (CONFIG_HOTPLUG_PCI is
 * not set), so the guest's part is done by hand, as docs/pci.md says.
 */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MonitorTarget } from '../../core/monitor/target.ts';
import { debianFiles, MIB, Running, tempFolder } from '../harness/debian.ts';
import type { GuestShell } from '../harness/guest-shell.ts';

const debian = await debianFiles();
const folder = tempFolder();
let disks = 0;

function image(): string {
  const file = join(folder, `disk${disks++}.img`);
  writeFileSync(file, '');
  truncateSync(file, 64 * MIB);
  return file;
}

/** Root port N is 00:N.0, and its Slot Control is at 0x6c. */
const slotControl = (port: number, control: string) =>
  `printf '${control}' | dd of=/sys/bus/pci/devices/0000:00:0${port}.0/config bs=1 seek=108 conv=notrunc 2>/dev/null`;
const powerOn = (port: number) => slotControl(port, '\\300\\001');
const powerOff = (port: number) => slotControl(port, '\\300\\007');
const rescan = 'echo 1 > /sys/bus/pci/rescan';
const remove = (port: number) => `echo 1 > /sys/bus/pci/devices/0000:0${port}:00.0/remove`;

const FILE_SYSTEM_WORK = [
  'mkfs.ext4 -q /dev/vda',
  'mount /dev/vda /mnt',
  'dd if=/dev/urandom of=/mnt/noise bs=1M count=8 2>/dev/null',
  'sum=$(sha256sum < /mnt/noise)',
  'umount /mnt && fsck.ext4 -fn /dev/vda >/dev/null',
  'mount /dev/vda /mnt',
  '[ "$sum" = "$(sha256sum < /mnt/noise)" ]',
  'umount /mnt',
].join(' && ');

/** Ids of DEVICE_DELETED, and when there is the next one. */
class Deletions {
  readonly ids: string[] = [];
  #arrived: () => void = () => {};

  constructor(target: MonitorTarget) {
    target.onEvent((name, data) => {
      const { device } = data as { device?: string };
      if (name !== 'DEVICE_DELETED' || device === undefined) return;
      this.ids.push(device);
      this.#arrived();
    });
  }

  async until(id: string): Promise<void> {
    while (!this.ids.includes(id)) await new Promise<void>((resolve) => (this.#arrived = resolve));
  }
}

async function until(shell: GuestShell, command: string): Promise<void> {
  await shell.ok(`while ! { ${command}; }; do usleep 100000; done`, 120_000);
}

describe.skipIf('reason' in debian).each([
  ['a PLIC', 'none'],
  ['an APLIC and IMSICs', 'aplic-imsic'],
] as const)('with %s', (_what, aia) => {
  it('a disk, a network card and an entropy source come and go', { timeout: 300_000 }, async () => {
    if ('reason' in debian) return;
    await using running = await Running.boot(debian.files, {
      harts: 2,
      aia,
      rng: false,
      devices: [1, 2, 3].map((chassis) => ({ driver: 'pcie-root-port', id: `rp${chassis}`, chassis })),
    });
    const { shell, machine } = running;
    const target = machine.monitor();
    const deleted = new Deletions(target);
    const file = image();

    await target.addDrive('d0', { file }, { withDevice: true });
    await target.addDevice('virtio-blk-pci', { id: 'disk', bus: 'rp1', drive: 'd0', serial: 'hot', 'num-queues': 2 });
    await shell.ok(`${powerOn(1)} && ${rescan}`);
    await until(shell, '[ "$(cat /sys/block/vda/serial 2>/dev/null)" = hot ]');
    await shell.ok(FILE_SYSTEM_WORK, 120_000);
    // Which queue has how many is the scheduler's affair.
    const { queues } = machine.snapshot().virtio.find(({ id }) => id === 'disk')!;
    const used = queues.map(({ counters }) => counters.used);
    expect(used.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(50);

    // Nobody in this guest answers; that harms nothing.
    await target.removeDevice('disk');
    await shell.ok('dd if=/dev/vda of=/dev/null bs=1M count=8 2>/dev/null');
    // Under load: its driver lets go in the middle of it.
    await shell.ok('{ (while dd if=/dev/vda of=/dev/null bs=64k count=64 2>/dev/null; do :; done) & }');
    await shell.ok(remove(1), 120_000);
    await until(shell, '[ ! -e /sys/block/vda ]');
    await shell.ok(powerOff(1));
    await deleted.until('disk');
    expect(target.blocks).toEqual([]);
    await shell.ok('wait');

    // The image is free, and so is the slot.
    await target.addDrive('d0', { file }, { withDevice: true });
    await target.addNetdev('hubport', 'n0', { hubid: 0 });
    await target.addDevice('virtio-blk-pci', { id: 'again', bus: 'rp1', drive: 'd0' });
    await target.addDevice('virtio-net-pci', { id: 'nic', bus: 'rp2', netdev: 'n0', mac: '52:54:00:aa:bb:cc' });
    await target.addDevice('virtio-rng-pci', { id: 'entropy', bus: 'rp3' });
    await shell.ok(`${powerOn(1)} && ${powerOn(2)} && ${powerOn(3)} && ${rescan}`);
    await until(shell, '[ -e /sys/block/vda ] && grep -q 52:54:00:aa:bb:cc /sys/class/net/*/address');
    await until(shell, 'grep -q virtio_rng /sys/class/misc/hw_random/rng_current');
    await shell.ok('fsck.ext4 -fn /dev/vda >/dev/null');
    expect(await shell.ok('dd if=/dev/hwrng bs=1024 count=4 2>/dev/null | wc -c')).toBe('4096');

    await target.removeDevice('nic');
    await shell.ok(`${remove(2)} && ${powerOff(2)}`);
    await deleted.until('nic');
    await target.removeNetdev('n0');
    await shell.ok('! grep -q 52:54:00:aa:bb:cc /sys/class/net/*/address');

    // A reset lets go of everything.
    await target.removeDevice('entropy');
    await machine.reset();
    await deleted.until('entropy');
    expect(deleted.ids).toEqual(['disk', 'nic', 'entropy']);
    expect(running.messages.filter((text) => !text.includes('has not let go'))).toEqual([]);
    await shell.ready();
    await shell.ok('fsck.ext4 -fn /dev/vda >/dev/null');
  });
});
