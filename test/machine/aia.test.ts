/** Debian with an APLIC, wired or with IMSICs, in place of the PLIC: its drivers, a disk's work, under both firmwares. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { GuestFiles } from '../../main/guests/index.ts';
import { MIB, Running, debianFiles, tempFolder } from '../harness/debian.ts';

/** Of Debian's package opensbi. */
const OPENSBI = '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin';
const BOOT_MS = 150_000;

const debian = await debianFiles();
const folder = tempFolder();
let files: GuestFiles;

beforeEach((context) => {
  if ('reason' in debian) return context.skip(debian.reason);
  files = debian.files;
});

/** Interrupts that each hart has taken from a device, and the line of /proc/interrupts. */
async function interrupts({ shell }: Running, device: string): Promise<{ harts: number[]; line: string }> {
  const line = await shell.ok(`grep -w ${device} /proc/interrupts`);
  const numbers = /^\d+: +(\d+) +(\d+) /.exec(line.trim());
  if (numbers === null) throw new Error(`no interrupts of ${device} in "${line}"`);
  return { harts: [Number(numbers[1]), Number(numbers[2])], line };
}

const KINDS = [
  { aia: 'aplic', chip: /APLIC-DIRECT +\d+ Level/, driver: /riscv-aplic.*interrupts directly connected to 2 CPUs/ },
  { aia: 'aplic-imsic', chip: /APLIC-MSI-d000000\.aplic +\d+ Level/, driver: /riscv-aplic.*forwarded to MSI base/ },
] as const;

describe.each(KINDS)('with aia=$aia', ({ aia, chip, driver }) => {
  test.each(['default', OPENSBI])('and -bios %s two harts use a disk', { timeout: 2 * BOOT_MS }, async (bios) => {
    if (bios !== 'default' && !existsSync(bios))
      return console.log(`${bios} is not installed (Debian package opensbi)`);
    const disk = join(folder, `${aia}-${bios === 'default' ? 'sbi' : 'opensbi'}.raw`);
    writeFileSync(disk, '');
    truncateSync(disk, 128 * MIB);
    await using guest = await Running.boot(files, {
      aia,
      bios,
      harts: 2,
      drives: [{ id: 'disk0', file: disk, serial: 'aia' }],
    });
    const { shell } = guest;
    expect(await shell.ok('nproc')).toBe('2');
    expect((await interrupts(guest, 'ttyS0')).line).toMatch(chip);
    const log = await shell.ok('dmesg');
    expect(log).toMatch(driver);
    if (aia === 'aplic-imsic') {
      expect(log).toMatch(/local interrupts mapped using AIA/);
      expect(log).toMatch(/riscv-imsic: imsics@28000000: providing IPIs/);
    }

    await shell.ok('dd if=/dev/urandom of=/tmp/data bs=1M count=24 && dd if=/tmp/data of=/dev/vda bs=64k conv=fsync');
    const sum = (await shell.ok('sha256sum </tmp/data')).split(' ')[0];
    await shell.ok('echo 3 >/proc/sys/vm/drop_caches');
    expect((await shell.ok('dd if=/dev/vda bs=1M count=24 | sha256sum')).split('\n').join(' ')).toContain(sum);

    // The disk's interrupts go to whichever hart they are told to go to.
    const device = await shell.ok('basename $(readlink -f /sys/block/vda/device)');
    for (const hart of [1, 0]) {
      const before = await interrupts(guest, device);
      const number = before.line.trim().split(':')[0];
      await shell.ok(`echo ${hart} >/proc/irq/${number}/smp_affinity_list`);
      await shell.ok('dd if=/dev/vda of=/dev/null bs=4k count=256 iflag=direct');
      const { harts } = await interrupts(guest, device);
      expect(harts[hart]! - before.harts[hart]!, `interrupts on hart ${hart}`).toBeGreaterThan(50);
      expect(harts[1 - hart]! - before.harts[1 - hart]!, `and on the other`).toBeLessThan(20);
    }
    expect(await shell.ok('dmesg | grep -ciE "BUG:|Oops|Call Trace|WARNING:" || true')).toBe('0');
    expect(await guest.shutDown()).toEqual({ reason: 'guest-poweroff', code: 0 });
    expect(guest.messages).toEqual([]);
    const written = createHash('sha256')
      .update(readFileSync(disk).subarray(0, 24 * MIB))
      .digest('hex');
    expect(written).toBe(sum);
  });

  test('a hart goes off line and comes back; a reset boots anew', { timeout: 2 * BOOT_MS }, async () => {
    await using guest = await Running.boot(files, { aia, harts: 2 });
    const { shell } = guest;
    await shell.ok('echo 0 >/sys/devices/system/cpu/cpu1/online');
    expect(await shell.ok('nproc')).toBe('1');
    await shell.ok('echo 1 >/sys/devices/system/cpu/cpu1/online');
    expect(await shell.ok('nproc')).toBe('2');
    await shell.write('reboot -f\n');
    await shell.until(/Restarting system/);
    await shell.ready();
    expect(await shell.ok('nproc')).toBe('2');
    expect((await interrupts(guest, 'ttyS0')).line).toMatch(chip);
  });
});
