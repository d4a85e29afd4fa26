/** Debian on qcow2 disks: what it has written is there for QEMU's tools, and the images are clean. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { MIB, Running, debianFiles, noAddon, tempFolder } from '../harness/debian.ts';

const debian = await debianFiles();
const folder = tempFolder();

function qemuImg(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('qemu-img', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`qemu-img ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

test('an overlay and an image of its own, filled, trimmed and powered off', { timeout: 360_000 }, async (context) => {
  if ('reason' in debian) return context.skip(debian.reason);
  if (spawnSync('qemu-img', ['--version']).error) return context.skip('qemu-img is not installed');
  const [base, overlay, plain, raw] = ['base', 'overlay', 'plain', 'raw'].map((name) => join(folder, name));
  qemuImg('create', '-q', '-f', 'qcow2', base, '64M');
  qemuImg('create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', overlay);
  qemuImg('create', '-q', '-f', 'qcow2', '-o', 'extended_l2=on', plain, '256M');
  const untouched = readFileSync(base);

  const sums: string[] = [];
  {
    await using guest = await Running.boot(debian.files, {
      harts: 2,
      drives: [
        { id: 'plain', file: plain, format: 'qcow2' },
        { id: 'overlay', file: overlay, format: 'auto', backing: 'trust' },
      ],
    });
    const { shell } = guest;
    // Slots are taken from the highest one down: which is which, its size tells.
    const name = async (sectors: number): Promise<string> =>
      (await shell.ok(`grep -l '^${sectors}$' /sys/block/vd?/size`)).split('/')[3];
    const small = await name((64 * MIB) / 512);
    const large = await name((256 * MIB) / 512);
    for (const [disk, size] of [
      [small, 24],
      [large, 100],
    ] as const) {
      await shell.ok(`mkfs.ext4 -q /dev/${disk} && mount /dev/${disk} /mnt`);
      await shell.ok(`dd if=/dev/urandom of=/mnt/random bs=1M count=${size} conv=fsync`);
      sums.push((await shell.ok('sha256sum </mnt/random')).split(' ')[0]);
      await shell.ok(`dd if=/dev/zero of=/mnt/waste bs=1M count=${size} conv=fsync && rm /mnt/waste && sync`);
      await shell.ok('fstrim /mnt && umount /mnt');
      sums.push((await shell.ok(`sha256sum </dev/${disk}`)).split(' ')[0]);
    }
    expect(await guest.shutDown()).toEqual({ reason: 'guest-poweroff', code: 0 });
    expect(guest.messages).toEqual([]);
  }

  for (const [image, sum] of [
    [overlay, sums[1]],
    [plain, sums[3]],
  ]) {
    qemuImg('check', '-q', '-f', 'qcow2', image);
    qemuImg('convert', '-f', 'qcow2', '-O', 'raw', image, raw);
    expect(createHash('sha256').update(readFileSync(raw)).digest('hex')).toBe(sum);
  }
  expect(readFileSync(base).equals(untouched)).toBe(true);
  // What was trimmed is the host's again.
  if (noAddon === null) expect(statSync(plain).blocks * 512).toBeLessThan(150 * MIB);
});
